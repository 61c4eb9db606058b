"""Draw a composition: at any size, any part of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sadcodec import _core
from sadcodec.compose.composition import Composition
from sadcodec.compose.quads import quads
from sadcodec.errors import LimitError, OptionError
from sadcodec.processors import default_threads

__all__ = ["BACKENDS", "Bitmaps", "bitmaps", "render"]

BACKENDS = ("cpu", "cuda")  # that draw and differentiate


class Bitmaps(Protocol):
    """Templates made ready by a backend; pictures are planes, float32 [4, H, W]."""

    def set_params(self, params: NDArray[np.float32], opacity: float, blend: float) -> None:
        """Set the primitives, float32 [N, 8], in px of the raster."""

    def set_active(self, active: NDArray[np.uint8] | None) -> None:
        """Name those that change, uint8 [N]; what none of them touches need not be drawn anew."""

    def draw(self, out: NDArray[np.float32], x0: int = 0, y0: int = 0, max_work: int = 0) -> None:
        """Draw premultiplied RGBA of a window of the raster."""

    def gradient(
        self, image: NDArray[np.float32], slopes: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return dL/d(params) from slopes = dL/d(image), image as drawn."""


def bitmaps(
    templates: NDArray[np.uint8],
    blend: float,
    *,
    blur: float = 0.0,
    backend: str = "cpu",
    threads: int = 1,
    isa: str = "",
) -> Bitmaps:
    """Make templates ready for a backend, blurred as `pyramid` says.

    They take 94,000 bytes each, with a blend 375,000.

    Raises
    ------
    OptionError
        If there is no such backend.
    BackendError
        If it is not available: for "cuda", a GPU and CuPy.
    """
    made = quads(templates, blend > 0, blur)
    if backend == "cpu":
        return _core.Bitmaps(*made, threads, isa)
    if backend != "cuda":
        raise OptionError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    from sadcodec.backends import cuda
    from sadcodec.backends.cuda_bitmaps import CudaBitmaps

    return CudaBitmaps(cuda.open_runtime(0), *made)


def render(
    composition: Composition,
    *,
    size: tuple[int, int] | None = None,
    region: tuple[int, int, int, int] | None = None,
    backend: str = "cpu",
    threads: int | None = None,
    isa: str = "",
    max_work: int = 0,
    ready: Bitmaps | None = None,
) -> NDArray[np.float32]:
    """Draw a composition, or a part of it, at a size.

    Parameters
    ----------
    composition : Composition
    size : (width, height), px, optional
        Of the whole picture; its own by default.
    region : (x, y, width, height), px, optional
        The part to draw, in pixels of the picture at that size; all of it by default. The pixels
        are those of the whole picture.
    backend : {"cpu", "cuda", "reference"}
        The native code, a GPU, or the float64 definition, which draws the whole picture always.
    threads : int, optional
        None: as many as there are processors. The pixels do not depend on it.
    isa : str
        Instruction set; the best one by default. The pixels do not depend on it.
    max_work : int, 0..2^20
        Refuse pictures whose tiles of 32 px hold more primitives than this in the mean; 0: none.
    ready : Bitmaps, optional
        Its templates as `bitmaps` gives them, for who draws one part after the other.

    Returns
    -------
    float32 [H, W, 3]
        Display-referred RGB over the background, 0..1; without a background [H, W, 4],
        premultiplied RGBA. The native code is within 1e-4 of the definition: it computes in
        float32, and leaves out what lies behind less than 2^-20 of the light.

    Raises
    ------
    OptionError
        If size, region or backend are out of range.
    LimitError
        If the picture takes more work than `max_work`, which bounds the native code only.
    BackendError
        If the backend is not available.
    """
    width, height = size or (composition.width, composition.height)
    if not (1 <= width <= 1 << 24 and 1 <= height <= 1 << 24):
        raise OptionError(f"size {width}x{height} is not in 1..2^24 px a side")
    sized = composition.at_size(width, height)
    x, y, columns, rows = region or (0, 0, width, height)
    if not (x >= 0 and y >= 0 and 1 <= columns <= width - x and 1 <= rows <= height - y):
        raise OptionError(f"region {x},{y},{columns},{rows} is not inside of {width}x{height}")
    if backend == "reference":
        from sadcodec.compose import reference

        whole = reference.render(sized)
        return np.ascontiguousarray(whole[y : y + rows, x : x + columns], np.float32)
    drawn = np.empty((4, rows, columns), np.float32)
    threads = threads or default_threads()
    used = sized.templates[: len(sized)]
    core = ready or bitmaps(used, sized.blend, backend=backend, threads=threads, isa=isa)
    core.set_params(sized.params, sized.opacity, sized.blend)
    try:
        core.draw(drawn, x, y, max_work)
    except _core.TooMuchWork:
        raise LimitError(
            f"its {len(sized)} primitives cover the picture more than {max_work} times on average"
        ) from None
    if sized.background is not None:
        drawn = drawn[:3] + (np.float32(1) - drawn[3:]) * sized.background[:, None, None]
    return np.ascontiguousarray(drawn.transpose(1, 2, 0))
