# Types of the compiled module `_coder` (kernels/coder).

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Ints: TypeAlias = NDArray[np.int32]
_Group: TypeAlias = tuple[
    bytes, int, int, int, int, int
]  # payload, first, sites, low, high, spacing
_Encoded: TypeAlias = tuple[list[_Group], _Ints, NDArray[np.float64], NDArray[np.int8], bytes]
_Decoded: TypeAlias = tuple[
    _Ints,
    _Ints,
    _Ints,
    _Ints,
    _Ints,
    _Ints | None,
    _Ints,
    NDArray[np.float64],
    NDArray[np.int8],
]

class Models: ...

def read_models(table: bytes, width: int, height: int, quantizer: Sequence[int]) -> Models: ...
def encode(
    width: int,
    height: int,
    quantizer: Sequence[int],
    x: _Ints,
    y: _Ints,
    log_tau: _Ints,
    log_anisotropy: _Ints,
    angle: _Ints,
    radius: _Ints | None,
    color: _Ints,
    threads: int = 1,
    groups: Sequence[int] = (1,),
    layer: _Ints | None = None,
) -> _Encoded: ...
def decode(
    payload: bytes,
    count: int,
    channels: int,
    width: int,
    height: int,
    quantizer: Sequence[int],
    threads: int = 1,
    group: tuple[int, int, int] | None = None,
    models: Models | None = None,
) -> _Decoded: ...
def residuals(
    width: int,
    height: int,
    quantizer: Sequence[int],
    x: _Ints,
    y: _Ints,
    log_tau: _Ints,
    log_anisotropy: _Ints,
    angle: _Ints,
    radius: _Ints | None,
    color: _Ints,
    threads: int = 1,
    groups: Sequence[int] = (1,),
    layer: _Ints | None = None,
) -> _Encoded: ...
def from_residuals(
    payload: bytes,
    count: int,
    channels: int,
    width: int,
    height: int,
    quantizer: Sequence[int],
    threads: int = 1,
    group: tuple[int, int, int] | None = None,
    models: Models | None = None,
) -> _Decoded: ...
def color_classes(
    x: _Ints,
    y: _Ints,
    log_tau: _Ints,
    width: int,
    height: int,
    quantizer: Sequence[int],
    threads: int = 1,
    groups: Sequence[int] = (1,),
    layer: _Ints | None = None,
) -> NDArray[np.int8]: ...
def delta(
    width: int,
    height: int,
    quantizer: Sequence[int],
    before: _Ints,
    classes: NDArray[np.int8],
    changed: NDArray[np.uint8],
    rows: _Ints,
    source: _Ints,
) -> bytes: ...
def from_delta(
    payload: bytes,
    count: int,
    width: int,
    height: int,
    quantizer: Sequence[int],
    before: _Ints,
    classes: NDArray[np.int8],
    changed: NDArray[np.uint8],
) -> tuple[_Ints, NDArray[np.int8], NDArray[np.uint8], _Ints]: ...
def angle_levels(count: int, step_log_anisotropy: int, step_angle: int) -> _Ints: ...
def analyze(
    width: int,
    height: int,
    quantizer: Sequence[int],
    x: _Ints,
    y: _Ints,
    log_tau: _Ints,
    log_anisotropy: _Ints,
    angle: _Ints,
    radius: _Ints | None,
    color: _Ints,
    threads: int = 1,
    groups: Sequence[int] = (1,),
    layer: _Ints | None = None,
) -> tuple[_Ints, _Ints]: ...
def primitives(
    quantizer: Sequence[int], rows: _Ints, before: _Ints | None = None
) -> tuple[bytes, NDArray[np.float64]]: ...
def from_primitives(
    payload: bytes, count: int, quantizer: Sequence[int], before: _Ints | None = None
) -> tuple[_Ints, NDArray[np.float64]]: ...
def primitive_directions(quantizer: Sequence[int]) -> _Ints: ...
