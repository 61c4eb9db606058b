"""Bitmap primitives on a CUDA device: the native code's `Bitmaps` by kernels/compose.cu.

Pictures and slopes come from the host and go back to it, 16 bytes a pixel each way, so that the fit
is the same code for both. Memory in bytes: 48 for a pixel, 256 for a primitive, and the templates'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.launch import Array, Blocks, Kernel, Launcher, Runtime, Scalar
from sadcodec.errors import BackendError

__all__ = ["CudaBitmaps"]

Floats = NDArray[np.float32]

_TILE = 16
_COLUMNS, _SUMS, _WORDS = 8, 8, 16
_PIXEL_BYTES, _ROW_BYTES = 48, 256

# Sums of slopes are integers of 2^-28: slopes may be some tens in pictures of 2^28 px.
_UNIT = 2.0**28

_PREPARE = Kernel(
    "compose.cu",
    "compose_prepare",
    (
        Array("params", np.float32, "N", _COLUMNS),
        Array("levels", np.int32, "P", 8, 6),
        Array("primitives", np.float32, "N", _WORDS, out=True),
        Scalar("count", np.int32),
        Scalar("templates", np.int32),
        Scalar("opacity", np.float32),
        Scalar("blend", np.float32),
    ),
    128,
)
_DRAW = Kernel(
    "compose.cu",
    "compose_draw",
    (
        Array("primitives", np.float32, "N", _WORDS),
        Array("quads", np.uint32, "M"),
        Array("out", np.float32, 4, "H", "W", out=True),
        Scalar("count", np.int32),
        Scalar("tiles_x", np.int32),
        Scalar("x0", np.int32),
        Scalar("y0", np.int32),
        Scalar("width", np.int32),
        Scalar("height", np.int32),
        Scalar("blend", np.float32),
        Scalar("blended", np.int32),
    ),
    256,
)
_GATHER = Kernel(
    "compose.cu",
    "compose_gather",
    (
        Array("primitives", np.float32, "N", _WORDS),
        Array("quads", np.uint32, "M"),
        Array("active", np.uint8, "N"),
        Array("image", np.float32, 4, "H", "W"),
        Array("slopes", np.float32, 4, "H", "W"),
        Array("sums", np.uint64, "N", _SUMS, out=True),
        Scalar("count", np.int32),
        Scalar("tiles_x", np.int32),
        Scalar("width", np.int32),
        Scalar("height", np.int32),
        Scalar("blend", np.float32),
        Scalar("blended", np.int32),
        Scalar("unit", np.float32),
    ),
    256,
)
_GRADIENT = Kernel(
    "compose.cu",
    "compose_gradient",
    (
        Array("params", np.float32, "N", _COLUMNS),
        Array("primitives", np.float32, "N", _WORDS),
        Array("sums", np.uint64, "N", _SUMS),
        Array("gradients", np.float32, "N", _COLUMNS, out=True),
        Scalar("count", np.int32),
        Scalar("blend", np.float32),
        Scalar("unit", np.float32),
    ),
    128,
)


class CudaBitmaps:
    """What `sadcodec._core.Bitmaps` does, on a device; a picture is always drawn whole.

    Parameters
    ----------
    runtime : Runtime
        Of the device, see `sadcodec.backends.cuda.open_runtime`.
    quads : uint32 [M]
    levels : int32 [P, 8, 6]
    blended : bool
        As `sadcodec.compose.quads` makes them.
    """

    def __init__(
        self,
        runtime: Runtime,
        quads: NDArray[np.uint32],
        levels: NDArray[np.int32],
        blended: bool,
    ) -> None:
        self._launcher = Launcher(runtime, {})
        self._cp = runtime.cp
        with self._launcher.on_device():
            self._quads = self._cp.asarray(quads)
            self._levels = self._cp.asarray(levels)
        self._blended = blended
        self._templates = len(levels)
        self._count = 0

    def set_params(self, params: Floats, opacity: float, blend: float) -> None:
        """Set the primitives to draw, float32 [N, 8] in px of the raster, r > 0."""
        cp = self._cp
        with self._launcher.on_device():
            self._params = cp.asarray(np.ascontiguousarray(params, np.float32))
            if len(params) != self._count:
                self._count = len(params)
                self._primitives = cp.empty((self._count, _WORDS), np.float32)
                self._gradients = cp.empty((self._count, _COLUMNS), np.float32)
                self._active = cp.ones(self._count, np.uint8)
            self._blend = blend
            arguments = {
                "params": self._params,
                "levels": self._levels,
                "primitives": self._primitives,
                "count": self._count,
                "templates": self._templates,
                "opacity": opacity,
                "blend": blend,
            }
            self._launch(_PREPARE, _PREPARE.blocks(self._count), arguments)

    def set_active(self, active: NDArray[np.uint8] | None) -> None:
        """Name the primitives that a gradient is wanted of, uint8 [N]; None: all."""
        with self._launcher.on_device():
            ones = np.ones(self._count, np.uint8)
            self._active = self._cp.asarray(ones if active is None else active)

    def draw(self, out: Floats, x0: int = 0, y0: int = 0, max_work: int = 0) -> None:
        """Draw a window of the raster into float32 [4, H, W]: premultiplied RGBA.

        `max_work` means nothing here: it bounds the native code's time.

        Raises
        ------
        BackendError
            If the device has no memory for it.
        """
        del max_work
        _, height, width = out.shape
        # Tiles start at multiples of their side, wherever the window does.
        left, top = x0 % _TILE, y0 % _TILE
        columns, rows = width + left, height + top
        with self._launcher.on_device():
            self._check_memory(columns * rows)
            drawn = self._cp.empty((4, rows, columns), np.float32)
            arguments = {
                "primitives": self._primitives,
                "quads": self._quads,
                "out": drawn,
                "count": self._count,
                "tiles_x": -(-columns // _TILE),
                "x0": x0 - left,
                "y0": y0 - top,
                "width": columns,
                "height": rows,
                "blend": self._blend,
                "blended": self._blended,
            }
            self._launch(_DRAW, -(-columns // _TILE) * -(-rows // _TILE), arguments)
            out[...] = drawn.get()[:, top:, left:]

    def gradient(self, image: Floats, slopes: Floats) -> Floats:
        """Return dL/d(params), float32 [N, 8], from slopes = dL/d(image) [4, H, W].

        The image is what `draw` gave for the whole picture. Slopes are of the order of 1.
        """
        _, height, width = image.shape
        cp = self._cp
        with self._launcher.on_device():
            self._check_memory(width * height)
            sums = cp.zeros((self._count, _SUMS), np.uint64)
            common = {"primitives": self._primitives, "sums": sums, "count": self._count}
            common |= {"blend": self._blend, "unit": _UNIT}
            arguments = {
                **common,
                "quads": self._quads,
                "active": self._active,
                "image": cp.asarray(image),
                "slopes": cp.asarray(slopes),
                "tiles_x": -(-width // _TILE),
                "width": width,
                "height": height,
                "blended": self._blended,
            }
            self._launch(_GATHER, -(-width // _TILE) * -(-height // _TILE), arguments)
            own = {"params": self._params, "gradients": self._gradients}
            self._launch(_GRADIENT, _GRADIENT.blocks(self._count), {**common, **own})
            gradients: Floats = self._gradients.get()
        return gradients

    def _launch(self, kernel: Kernel, blocks: Blocks, arguments: Mapping[str, Any]) -> None:
        self._launcher.launch(kernel, blocks, arguments)

    def _check_memory(self, pixels: int) -> None:
        need = pixels * _PIXEL_BYTES + self._count * _ROW_BYTES
        free = self._launcher.runtime.free_memory()
        if need > free:
            raise BackendError(
                f"cuda: {self._count} primitives on {pixels} pixels take about"
                f" {need / 2**30:.1f} GiB of device memory, of which {free / 2**30:.1f} are free"
            )
