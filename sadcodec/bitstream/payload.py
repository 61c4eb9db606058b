"""The site chunk: symbols to payload bytes in either profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder
from sadcodec.errors import BitstreamError, OptionError

from . import zstd_profile
from .header import Header
from .symbols import Symbols

__all__ = [
    "CHUNK_TYPES",
    "MAX_SITES_PER_BYTE",
    "Payload",
    "coder_arguments",
    "column_names",
    "decode_payload",
    "encode_payload",
]

_Ints: TypeAlias = NDArray[np.int32]
_Arguments: TypeAlias = tuple[
    int, int, tuple[int, ...], _Ints, _Ints, _Ints, _Ints, _Ints, _Ints | None, _Ints
]

CHUNK_TYPES = {"range": b"SITE", "zstd": b"SITZ"}

# Seven bins at least a site, none under 0.0007 bit: bounds the work that a short file can ask for.
MAX_SITES_PER_BYTE = 4096


@dataclass(frozen=True)
class Payload:
    """An encoded set of sites.

    Parameters
    ----------
    data : bytes
        Content of the site chunk.
    order : int32 [N]
        order[k] is the index in the input of the k-th stored site.
    bits : float64 [5 + C]
        Cost of every column (`column_names`), without the coefficients at the start. Range
        profile: code length; zstd profile: the frame's size shared out by residual bytes.
    """

    data: bytes
    order: NDArray[np.int32]
    bits: NDArray[np.float64]


def column_names(channels: int) -> tuple[str, ...]:
    """Names of the columns in the order of `Payload.bits`."""
    colors = {
        1: ("gray",),
        2: ("gray", "alpha"),
        3: ("y", "co", "cg"),
        4: ("y", "co", "cg", "alpha"),
    }
    return ("position", "log_tau", "log_anisotropy", "angle", "radius", *colors[channels])


def coder_arguments(header: Header, symbols: Symbols) -> _Arguments:
    """Return what `_coder.encode`, `residuals` and `analyze` take first, arrays contiguous."""
    return (
        header.width,
        header.height,
        header.quantizer.as_tuple(),
        np.ascontiguousarray(symbols.x),
        np.ascontiguousarray(symbols.y),
        np.ascontiguousarray(symbols.log_tau),
        np.ascontiguousarray(symbols.log_anisotropy),
        np.ascontiguousarray(symbols.angle),
        None if symbols.radius is None else np.ascontiguousarray(symbols.radius),
        np.ascontiguousarray(symbols.color),
    )


def encode_payload(header: Header, symbols: Symbols, threads: int = 1) -> Payload:
    """Code `symbols` with the coder that `header` names; the number of threads changes no byte.

    Raises
    ------
    OptionError
        If the symbols do not match the header or lie outside their ranges.
    """
    if len(symbols) != header.site_count or symbols.color.shape[1] != header.channels:
        raise OptionError("symbols do not match the header")
    encode = _coder.encode if header.coder == "range" else _coder.residuals
    try:
        data, order, bits = encode(*coder_arguments(header, symbols), threads)
    except ValueError as error:
        raise OptionError(str(error)) from None
    if header.coder == "zstd":
        packed = zstd_profile.compress(data)
        data, bits = packed, bits * (len(packed) / max(len(data), 1))
    if header.site_count > MAX_SITES_PER_BYTE * len(data):
        raise OptionError("more sites than a payload of this size may hold")
    return Payload(data, order, bits)


def decode_payload(
    header: Header, data: bytes, threads: int = 1
) -> tuple[Symbols, NDArray[np.float64]]:
    """Symbols and column costs (as `Payload.bits`) of the content of a site chunk.

    Raises
    ------
    BitstreamError
        If no encoder writes such a payload for this header.
    """
    if header.site_count > MAX_SITES_PER_BYTE * len(data):
        raise BitstreamError("payload is too short for its number of sites")
    decode = _coder.decode
    share = 1.0
    if header.coder == "zstd":
        packed = len(data)
        data = zstd_profile.decompress(data, header.site_count, header.channels)
        decode, share = _coder.from_residuals, packed / max(len(data), 1)
    quantizer = header.quantizer.as_tuple()
    try:
        x, y, log_tau, log_anisotropy, angle, radius, color, bits, classes = decode(
            data,
            header.site_count,
            header.channels,
            header.width,
            header.height,
            quantizer,
            threads,
        )
    except ValueError as error:
        raise BitstreamError(f"damaged site data: {error}") from None
    symbols = Symbols(x, y, log_tau, log_anisotropy, angle, radius, color, classes)
    return symbols, bits * share
