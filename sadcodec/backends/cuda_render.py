"""Drawing on the device, in bands where an image is large.

Memory in bytes: C, 2 C or 4 C for a pixel of a band, which has at most 2^24 of them, and at most 16
for the lists of each grid of squares; 4 (6 + C) + 100 for a site, whatever the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_lists import TILE, Region, rounding
from sadcodec.backends.cuda_picture_lists import TOTALS, PictureLists
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.backends.place import Place, Window
from sadcodec.errors import BackendError
from sadcodec.sites import Sites

__all__ = ["BAND_PIXELS", "PREPARE_EXACT", "RENDER_TILES", "render"]

BAND_PIXELS = 1 << 24

# Logits 16 under a pixel's maximum weigh 1e-7: K of them stay far under a code value.
_CUT = 16.0
_SITE_BYTES = 4 * 10 + 64 + 32 + 4
_HEAD = 8 * TOTALS  # bytes before a picture: how long the lists got
_DTYPES: dict[int | None, type[np.generic]] = {None: np.float32, 8: np.uint8, 16: np.uint16}

PREPARE_EXACT = Kernel(
    "prepare.cu",
    "prepare_exact",
    (
        Array("params", np.float32, "N", "P"),
        Array("exact", np.float64, "N", 4, out=True),
        Scalar("count", np.int32),
    ),
    128,
    ("SAD_CHANNELS",),
)
PREPARE_DRAWING = Kernel(
    "prepare.cu",
    "prepare_drawing",
    (
        Array("params", np.float32, "N", "P"),
        Array("sites", np.float32, "N", 16, out=True),
        Array("exact", np.float64, "N", 4, out=True),
        Array("ids", np.int32, "N", out=True),
        Array("offsets", np.int32, 2, out=True),
        Array("totals", np.uint64, TOTALS, out=True),
        Scalar("count", np.int32),
    ),
    128,
    ("SAD_CHANNELS",),
)
RENDER_TILES = Kernel(
    "render.cu",
    "render_tiles",
    (
        Array("params", np.float32, "N", "P"),
        Array("sites", np.float32, "N", 16),
        Array("exact_sites", np.float64, "N", 4),
        Array("offsets", np.int32, "bounds"),
        Scalar("ends", np.int32),
        Array("ids", np.int32, "capacity"),
        Array("out", np.uint8, "bytes", out=True),
        Scalar("bits", np.int32),
        Scalar("tiles_x", np.int32),
        Scalar("x0", np.int32),
        Scalar("y0", np.int32),
        Scalar("width", np.int32),
        Scalar("height", np.int32),
        Scalar("place_x", np.float64),
        Scalar("place_y", np.float64),
        Scalar("step_x", np.float64),
        Scalar("step_y", np.float64),
        Scalar("blur", np.float32),
        Scalar("cut", np.float32),
        Scalar("all_exact", np.int32),
    ),
    64,
    ("SAD_K", "SAD_CHANNELS"),
)


def render(
    launcher: Launcher,
    sites: Sites,
    window: Window,
    place: Place,
    *,
    exact: bool,
    bit_depth: int | None = None,
) -> NDArray[Any]:
    """Evaluate a diagram at a window of a raster, [rows, columns, C]: see `Backend.render`.

    Raises
    ------
    BackendError
        If the device has no memory for a band of the image and the sites.
    """
    left, top, width, height = window
    count = len(sites.params)
    dtype = np.dtype(_DTYPES[bit_depth])
    rows = min(height, max(TILE, BAND_PIXELS // width // TILE * TILE))
    bands = [(left, top + y, width, min(rows, height - y)) for y in range(0, height, rows)]
    need = PictureLists(bands[0], place, count).nbytes + count * _SITE_BYTES
    need += _HEAD + rows * width * sites.channels * dtype.itemsize
    with launcher.on_device():
        free = launcher.runtime.free_memory(need)
        if need > free:
            raise BackendError(
                f"cuda: drawing {count} sites at {width} x {height} pixels takes about"
                f" {need / 2**30:.1f} GiB of device memory, of which {free / 2**30:.1f} are free"
            )
        params = launcher.cp.asarray(np.ascontiguousarray(sites.params, np.float32))
        drawn = (_band(launcher, params, band, place, dtype, exact=exact) for band in bands)
        if len(bands) == 1:
            return next(drawn)
        image = np.empty((height, width, sites.channels), dtype)
        for part, (_, y, _, lines) in zip(drawn, bands, strict=True):
            image[y - top : y - top + lines] = part
        return image


def _band(
    launcher: Launcher,
    params: Any,
    band: Region,
    place: Place,
    dtype: np.dtype[Any],
    *,
    exact: bool,
) -> NDArray[Any]:
    cp, launch, count = launcher.cp, launcher.launch, len(params)
    x0, y0, width, height = band
    shape = (height, width, launcher.defines["SAD_CHANNELS"])
    out = cp.empty(_HEAD + height * width * shape[2] * dtype.itemsize, np.uint8)
    totals = out[:_HEAD].view(np.uint64)
    everything = {
        "sites": cp.empty((count, 16), np.float32),
        "ids": cp.empty(count, np.int32),
        "offsets": cp.empty(2, np.int32),
    }
    sites = {"params": params, "exact": cp.empty((count, 4), np.float64), "count": count}
    lists = PictureLists(band, place, count)
    while True:
        blocks = PREPARE_DRAWING.blocks(count)
        launch(PREPARE_DRAWING, blocks, {**sites, **everything, "totals": totals})
        arguments = {
            **lists.build(launcher, everything, totals, _CUT),
            "params": params,
            "sites": everything["sites"],
            "exact_sites": sites["exact"],
            "out": out[_HEAD:],
            "bits": 0 if dtype.kind == "f" else 8 * dtype.itemsize,
            "x0": x0,
            "y0": y0,
            "width": width,
            "height": height,
            "place_x": place.x,
            "place_y": place.y,
            "step_x": place.step_x,
            "step_y": place.step_y,
            "blur": rounding(band, place),
            "cut": _CUT,
            "all_exact": exact,
        }
        launch(RENDER_TILES, lists.tiles, arguments)
        found = _on_host(cp, out)
        if lists.had_room(found[:_HEAD].view(np.uint64)):
            return found[_HEAD:].view(dtype).reshape(shape)


def _on_host(cp: Any, array: Any) -> NDArray[np.uint8]:
    """Copy to memory that the device can write by itself; it lives as long as the result."""
    try:
        memory = cp.cuda.alloc_pinned_memory(array.nbytes)
    except cp.cuda.runtime.CUDARuntimeError:  # the system lends no more of it
        copy: NDArray[np.uint8] = array.get()
        return copy
    image = np.frombuffer(memory, np.uint8, array.size)
    array.get(out=image)
    return image
