"""Drawing on the device, in bands where an image is large.

Memory in bytes: 4 C for a pixel of a band and 8 for an entry of a tile's list (a band has at most
2^24 pixels), and 4 (6 + C) + 96 for a site, whatever the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_fit_kernels import PREPARE_SITES
from sadcodec.backends.cuda_lists import TILE, Region, TileLists, rounding
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.backends.place import Place, Window
from sadcodec.errors import BackendError
from sadcodec.sites import Sites

__all__ = ["BAND_PIXELS", "render"]

BAND_PIXELS = 1 << 24

# Logits 16 under a pixel's maximum weigh 1e-7: K of them stay far under a code value.
_CUT = 16.0
_PIXEL_BYTES = 4 * 4 + 32  # of a band, with lists of 256 entries a tile
_SITE_BYTES = 4 * 10 + 64 + 32 + 8

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
RENDER_TILES = Kernel(
    "render.cu",
    "render_tiles",
    (
        Array("params", np.float32, "N", "P"),
        Array("sites", np.float32, "N", 16),
        Array("exact_sites", np.float64, "N", 4),
        Array("offsets", np.int32, "ends"),
        Array("ids", np.int32, "capacity"),
        Array("out", np.float32, "H", "W", "C", out=True),
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
    launcher: Launcher, sites: Sites, window: Window, place: Place, *, exact: bool
) -> NDArray[np.float32]:
    """Evaluate a diagram at a window of a raster, float32 [rows, columns, C], not clamped.

    Raises
    ------
    BackendError
        If the device has no memory for a band of the image and the sites.
    """
    cp = launcher.cp
    left, top, width, height = window
    count, channels = len(sites.params), sites.channels
    rows = max(TILE, min(height, BAND_PIXELS // width // TILE * TILE))
    need = count * _SITE_BYTES + min(rows, height) * width * _PIXEL_BYTES
    with launcher.on_device():
        free = launcher.runtime.free_memory()
        if need > free:
            raise BackendError(
                f"cuda: drawing {count} sites at {width} x {height} pixels takes about"
                f" {need / 2**30:.1f} GiB of device memory, of which {free / 2**30:.1f} are free"
            )
        params = cp.asarray(np.ascontiguousarray(sites.params, np.float32))
        prepared = cp.empty((count, 16), np.float32)
        doubles = cp.empty((count, 4), np.float64)
        blocks = -(-count // PREPARE_SITES.threads)
        launcher.launch(
            PREPARE_SITES, blocks, {"params": params, "sites": prepared, "count": count}
        )
        launcher.launch(PREPARE_EXACT, blocks, {"params": params, "exact": doubles, "count": count})
        diagram = {"params": params, "sites": prepared, "exact_sites": doubles}
        if rows >= height:
            return _render_band(launcher, diagram, window, place, exact=exact)
        image = np.empty((height, width, channels), np.float32)
        for y0 in range(0, height, rows):
            band = (left, top + y0, width, min(rows, height - y0))
            image[y0 : y0 + rows] = _render_band(launcher, diagram, band, place, exact=exact)
        return image


def _render_band(
    launcher: Launcher, diagram: dict[str, Any], band: Region, place: Place, *, exact: bool
) -> NDArray[np.float32]:
    image: NDArray[np.float32]
    for guess in (True, False):  # to wait for the lengths of lists takes as long as to draw
        lists = TileLists(launcher, band, place)
        lists.build(diagram["sites"], launcher.defines["SAD_K"], _CUT, guess=guess)
        image = _draw(launcher, diagram, lists, band, place, exact=exact)
        if lists.complete:
            break
    return image


def _draw(
    launcher: Launcher,
    diagram: dict[str, Any],
    lists: TileLists,
    band: Region,
    place: Place,
    *,
    exact: bool,
) -> NDArray[np.float32]:
    x0, y0, width, height = band
    out = launcher.cp.empty((height, width, launcher.defines["SAD_CHANNELS"]), np.float32)
    arguments = {
        **diagram,
        "offsets": lists.offsets,
        "ids": lists.ids,
        "out": out,
        "tiles_x": lists.tiles_x,
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
    launcher.launch(RENDER_TILES, lists.tiles, arguments)
    return _on_host(launcher.cp, out)


def _on_host(cp: Any, array: Any) -> NDArray[np.float32]:
    """Copy to memory that the device can write by itself."""
    try:
        memory = cp.cuda.alloc_pinned_memory(array.nbytes)
    except cp.cuda.runtime.CUDARuntimeError:  # the system lends no more of it
        copy: NDArray[np.float32] = array.get()
        return copy
    image = np.frombuffer(memory, np.float32, array.size).reshape(array.shape)
    array.get(out=image)
    return image
