"""The sites that a fit starts from, placed where the image is: `initialize.py` on a CUDA device.

The sites are those of `initialize.py` up to rounding. See kernels/initialize.cu for how they are
found without sorting pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sadcodec.backends.base import Start
from sadcodec.backends.initialize import BLUR, FLOOR, blur_weights, draws, hilbert_order
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.sites import GEOMETRY_COLUMNS

__all__ = ["initialize_on_device"]

_FILE = "initialize.cu"
_SIDE = 32  # px, of the squares that the kernels work on
_SITES_PER_BLOCK = 8  # of site_rows
_TAPS = 11  # of the blur
_DEFINES = ("SAD_CHANNELS",)

_WIDTH, _HEIGHT = Scalar("width", np.int32), Scalar("height", np.int32)
_SQUARES, _COUNT = Scalar("squares", np.int32), Scalar("count", np.int32)
_START = Scalar("start", np.float64)

_DENSITY_PLANES = Kernel(
    _FILE,
    "density_planes",
    (
        Array("target", np.float32, "H", "W", "C"),
        Array("weights", np.float32, _TAPS),
        Array("planes", np.float32, 3, "H", "W", out=True),
        Array("sums", np.float64, "squares", out=True),
        _WIDTH,
        _HEIGHT,
        Scalar("floor", np.float32),
        Scalar("power", np.float32),
    ),
    threads=256,
    defines=_DEFINES,
)
_SCAN_SQUARES = Kernel(
    _FILE,
    "scan_squares",
    (
        Array("sums", np.float64, "squares"),
        Array("order", np.int32, "squares"),
        Array("before", np.float64, "squares + 1", out=True),
        Array("first", np.int32, "squares + 1", out=True),
        _SQUARES,
        _COUNT,
        _START,
    ),
    threads=256,
    defines=_DEFINES,
)
_PLACE_SITES = Kernel(
    _FILE,
    "place_sites",
    (
        Array("planes", np.float32, 3, "H", "W"),
        Array("order", np.int32, "squares"),
        Array("before", np.float64, "squares + 1"),
        Array("first", np.int32, "squares + 1"),
        Array("places", np.int32, "N", out=True),
        _WIDTH,
        _HEIGHT,
        Scalar("bits", np.int32),
        _SQUARES,
        _COUNT,
        _START,
    ),
    threads=256,
    defines=_DEFINES,
)
_SITE_ROWS = Kernel(
    _FILE,
    "site_rows",
    (
        Array("target", np.float32, "H", "W", "C"),
        Array("planes", np.float32, 3, "H", "W"),
        Array("before", np.float64, "squares + 1"),
        Array("places", np.int32, "N"),
        Array("jitter", np.float32, "N", 2),
        Array("params", np.float32, "N", "columns", out=True),
        _WIDTH,
        _HEIGHT,
        _SQUARES,
        _COUNT,
        Scalar("with_radius", np.int32),
    ),
    threads=256,
    defines=_DEFINES,
)


def initialize_on_device(launcher: Launcher, target: Any, start: Start) -> Any:
    """Place the sites of a fit on an image.

    Parameters
    ----------
    launcher : Launcher
        With ``SAD_CHANNELS`` = C.
    target : float32 [H, W, C] on the device, display-referred 0..1
    start : Start

    Returns
    -------
    float32 [start.count, 6 + C] on the device
        Rows as in `sadcodec.sites.Sites`.
    """
    cp = launcher.cp
    height, width, channels = target.shape
    count = start.count
    across, down = -(-width // _SIDE), -(-height // _SIDE)
    squares = across * down
    shift, jitter = draws(count, start.seed)
    sizes = {"width": width, "height": height}
    parts = {"squares": squares, "count": count}

    planes = cp.empty((3, height, width), np.float32)
    sums = cp.empty(squares, np.float64)
    launcher.launch(
        _DENSITY_PLANES,
        squares,
        {
            "target": target,
            "weights": cp.asarray(blur_weights(BLUR).astype(np.float32)),
            "planes": planes,
            "sums": sums,
            "floor": FLOOR,
            "power": start.power,
            **sizes,
        },
    )
    # The curve over squares is the curve over pixels, seen from afar.
    curve = {
        "order": cp.asarray(hilbert_order(across, down).astype(np.int32)),
        "before": cp.empty(squares + 1, np.float64),
        "first": cp.empty(squares + 1, np.int32),
    }
    launcher.launch(_SCAN_SQUARES, 1, {"sums": sums, **curve, **parts, "start": shift})
    places = cp.empty(count, np.int32)
    bits = max(1, (max(width, height) - 1).bit_length())
    placing = {"planes": planes, **curve, "places": places, "bits": bits, "start": shift}
    launcher.launch(_PLACE_SITES, squares, {**placing, **sizes, **parts})
    params = cp.empty((count, GEOMETRY_COLUMNS + channels), np.float32)
    launcher.launch(
        _SITE_ROWS,
        -(-count // _SITES_PER_BLOCK),
        {
            "target": target,
            "planes": planes,
            "before": curve["before"],
            "places": places,
            "jitter": cp.asarray(jitter.astype(np.float32)),
            "params": params,
            "with_radius": int(start.radius),
            **sizes,
            **parts,
        },
    )
    return params
