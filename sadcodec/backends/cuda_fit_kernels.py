"""The kernels of a fit as the host sees them: parameters in the order of their signatures."""

from __future__ import annotations

import numpy as np

from sadcodec.backends.base import LOSSES
from sadcodec.backends.launch import Array, Kernel, Scalar

__all__ = [
    "ADAM",
    "ADAM_RATE",
    "DISTURB",
    "GATHER_ROWS",
    "GRADIENT_SITES",
    "GRADIENT_TILES",
    "GRADIENT_TILES_SAMPLED",
    "LOSS_SLOTS",
    "LOSS_UNIT",
    "MAX_COLUMNS",
    "PREPARE_FAST",
    "PREPARE_SITES",
    "STATISTICS_SITES",
    "STATISTICS_TILES",
    "STEP",
]

LOSS_SLOTS = LOSSES + 2  # one being written, one made ready
LOSS_UNIT = 2.0**28  # of the integers that losses are summed in, see kernels/gradient.cu
MAX_COLUMNS = 10  # of a parameter row

_BOTH = ("SAD_K", "SAD_CHANNELS")
_CHANNELS = ("SAD_CHANNELS",)
_LISTS = (
    Array("sites", np.float32, "N", 16),
    Array("offsets", np.int32, "ends"),
    Array("ids", np.int32, "capacity"),
    Array("target", np.float32, "H", "W", "C"),
    Array("weights", np.float32, "M"),  # M = H W, or 1: see `weight_stride` in kernels/gradient.cu
)
_WEIGHT_STRIDE = Scalar("weight_stride", np.int32)
_ENTRIES = (Array("starts", np.int32, "site_ends"), Array("order", np.int64, "capacity"))
_PREPARED = (
    Array("params", np.float32, "N", "P"),
    Array("sites", np.float32, "N", 16, out=True),
    Scalar("count", np.int32),
)
PREPARE_SITES = Kernel("prepare.cu", "prepare_sites", _PREPARED, 128, _CHANNELS)
PREPARE_FAST = Kernel("prepare.cu", "prepare_fast", _PREPARED, 128, _CHANNELS)
DISTURB = Kernel(
    "prepare.cu",
    "disturb",
    (
        Array("params", np.float32, "N", "P"),
        Array("noise", np.float32, "N", "P"),
        Array("out", np.float32, "N", "P", out=True),
        Array("sites", np.float32, "N", 16, out=True),
        Scalar("count", np.int32),
        Scalar("seed", np.uint64),
    ),
    128,
    _CHANNELS,
)
_TILES_PASS = (
    *_LISTS,
    Array("rows", np.float32, "capacity", "P", out=True),
    Array("losses", np.uint64, LOSS_SLOTS, out=True),
    _WEIGHT_STRIDE,
    Scalar("tiles", np.int32),
    Scalar("tiles_x", np.int32),
    Scalar("width", np.int32),
    Scalar("height", np.int32),
    Scalar("cut", np.float32),
    Scalar("slot", np.int32),
)
_SCALE = Scalar("scale", np.float32)
GRADIENT_TILES = Kernel(
    "gradient.cu",
    "gradient_tiles",
    (*_TILES_PASS, _SCALE),
    64,
    _BOTH,
)
GRADIENT_TILES_SAMPLED = Kernel(
    "gradient.cu",
    "gradient_tiles_sampled",
    (*_TILES_PASS, Scalar("phase", np.int32), _SCALE),
    64,
    _BOTH,
)
GRADIENT_SITES = Kernel(
    "gradient.cu",
    "gradient_sites",
    (
        Array("params", np.float32, "N", "P"),
        Array("rows", np.float32, "capacity", "P"),
        *_ENTRIES,
        Array("gradients", np.float32, "N", "P", out=True),
        Array("losses", np.uint64, LOSS_SLOTS, out=True),
        Scalar("count", np.int32),
        Scalar("next", np.int32),
    ),
    256,
    _BOTH,
)
_ADAM_TABLES = (
    Array("gradients", np.float32, "N", "P"),
    Array("params", np.float32, "N", "P", out=True),
    Array("first", np.float32, "N", "P", out=True),
    Array("second", np.float32, "N", "P", out=True),
    Array("sites", np.float32, "N", 16, out=True),
)
_IMAGE = (Scalar("count", np.int32), Scalar("width", np.float32), Scalar("height", np.float32))
STEP = ("beta1", "beta2", "epsilon", "step", "root", *(f"rate{j}" for j in range(MAX_COLUMNS)))
_STEP = tuple(Scalar(name, np.float32) for name in STEP)
ADAM = Kernel("adam.cu", "adam", (*_ADAM_TABLES, *_IMAGE, *_STEP), 128, _CHANNELS)
ADAM_RATE = Kernel(
    "adam.cu",
    "adam_rate",
    (
        *_ADAM_TABLES,
        Array("prediction", np.float32, "N", "P"),
        Array("scale", np.float32, "N", "P"),
        Array("axes", np.float32, "C", "C"),
        *_IMAGE,
        Scalar("turn", np.float32),
        Scalar("price", np.float32),
        *_STEP,
    ),
    128,
    _CHANNELS,
)
STATISTICS_TILES = Kernel(
    "statistics.cu",
    "statistics_tiles",
    (
        *_LISTS,
        Array("rows", np.float32, "capacity", 3, out=True),
        _WEIGHT_STRIDE,
        Scalar("tiles_x", np.int32),
        Scalar("width", np.int32),
        Scalar("height", np.int32),
    ),
    64,
    _BOTH,
)
STATISTICS_SITES = Kernel(
    "statistics.cu",
    "statistics_sites",
    (
        Array("rows", np.float32, "capacity", 3),
        *_ENTRIES,
        Array("sums", np.float32, 3, "N", out=True),
        Scalar("count", np.int32),
    ),
    128,
    _BOTH,
)
GATHER_ROWS = Kernel(
    "density.cu",
    "gather_rows",
    (
        Array("in", np.float32, "N", "P"),
        Array("index", np.int32, "kept"),
        Array("out", np.float32, "kept", "P", out=True),
        Scalar("kept", np.int32),
        Scalar("columns", np.int32),
    ),
    256,
)
