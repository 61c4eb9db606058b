"""The kernels of the integer descent as the host sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sadcodec.backends.launch import Array, Kernel, Scalar

__all__ = [
    "COLORS_BEGIN",
    "COLORS_BLEND",
    "COLORS_GATHER",
    "COLORS_ROUND",
    "COLORS_SET",
    "COLORS_SHARES",
    "COLORS_STEP",
    "REFINE_ERROR",
    "REFINE_LISTS",
    "REFINE_REMOVAL",
    "REFINE_SWEEP",
    "REFINE_TOTAL",
    "SCHEDULE_PIXELS",
    "SCHEDULE_SITES",
]

CHANNELS = 4  # that a pixel is padded to
LENGTH = 12  # of a pixel's list
SITE_THREADS = 192  # of a block that works on one site


def _ints(names: str) -> Sequence[Scalar]:
    return [Scalar(name, np.int32) for name in names.split()]


def _lists(*, out: bool = False) -> Sequence[Array]:
    return (
        Array("list_ids", np.int32, "P", LENGTH, out=out),
        Array("list_logits", np.float32, "P", LENGTH, out=out),
    )


_SITES = Array("sites", np.float32, "N", 16)
_TARGET = Array("target", np.float32, "P", CHANNELS)
_WEIGHTS = Array("weights", np.float32, "weighed")
_COLOR_STEPS = Array("color_steps", np.float32, "N", "C")
_AXES = Array("axes", np.float32, "C", "C")
_BY_SITE = (Array("order", np.int64, "entries"), Array("starts", np.int32, "site_ends"))

REFINE_LISTS = Kernel(
    "refine_lists.cu",
    "refine_lists",
    (
        _SITES,
        Array("offsets", np.int32, "ends"),
        Array("ids", np.int32, "capacity"),
        *_lists(out=True),
        *_ints("tiles_x width height count"),
    ),
    64,
)
REFINE_ERROR = Kernel(
    "refine_lists.cu",
    "refine_error",
    (
        _SITES,
        *_lists(),
        _TARGET,
        _WEIGHTS,
        Array("partial", np.float64, "blocks", out=True),
        *_ints("pixels count k weighted"),
    ),
    256,
)
REFINE_TOTAL = Kernel(
    "refine_lists.cu",
    "refine_total",
    (
        Array("partial", np.float64, "blocks"),
        Array("total", np.float64, 1, out=True),
        *_ints("n"),
    ),
    256,
)
SCHEDULE_PIXELS = Kernel(
    "refine_schedule.cu",
    "schedule_pixels",
    (
        Array("list_ids", np.int32, "P", LENGTH),
        Array("starts", np.int32, "site_ends"),
        Array("classes", np.int32, "N"),
        Array("fresh", np.int32, "N"),
        Array("waits", np.int32, "N", out=True),
        Array("taken", np.uint32, "N", "words", out=True),
        *_ints("pixels count words round"),
    ),
    256,
)
SCHEDULE_SITES = Kernel(
    "refine_schedule.cu",
    "schedule_sites",
    (
        Array("classes", np.int32, "N", out=True),
        Array("fresh", np.int32, "N", out=True),
        Array("waits", np.int32, "N"),
        Array("taken", np.uint32, "N", "words"),
        Array("state", np.int32, 2, out=True),
        *_ints("count words round"),
    ),
    256,
)
REFINE_SWEEP = Kernel(
    "refine_sweep.cu",
    "refine_sweep",
    (
        *_BY_SITE,
        Array("visits", np.int32, "visited"),
        Array("sites", np.float32, "N", 16, out=True),
        Array("symbols", np.int32, "N", "columns", out=True),
        *_lists(out=True),
        Array("others", np.float32, "P", LENGTH, out=True),
        _TARGET,
        _WEIGHTS,
        _COLOR_STEPS,
        _AXES,
        Array("bounds", np.int32, 6, 2),
        Array("first_angle", np.int32, "anisotropies"),
        Array("prepared", np.float32, "prepared", 16),
        Array("predictions", np.int32, "columns", "N"),
        Array("places", np.int32, "columns", "N"),
        Array("reaches", np.int32, "columns"),
        Array("bits", np.float32, "tables"),
        Array("taken", np.int32, 1, out=True),
        *(Scalar(name, np.float64) for name in ("lambda", "position", "radius")),
        *_ints("first size width count k levels channels weighted geometry"),
    ),
    SITE_THREADS,
)
REFINE_REMOVAL = Kernel(
    "refine_removal.cu",
    "refine_removal",
    (
        *_BY_SITE,
        _SITES,
        *_lists(),
        _TARGET,
        _WEIGHTS,
        Array("deltas", np.float64, "N", out=True),
        *_ints("width count k channels weighted"),
    ),
    SITE_THREADS,
)
COLORS_SHARES = Kernel(
    "refine_colors.cu",
    "colors_shares",
    (
        *_BY_SITE,
        *_lists(),
        _WEIGHTS,
        Array("shares", np.float32, "entries", out=True),
        Array("diagonal", np.float32, "N", out=True),
        *_ints("count k weighted"),
    ),
    SITE_THREADS,
)
COLORS_BLEND = Kernel(
    "refine_colors.cu",
    "colors_blend",
    (
        *_lists(),
        _TARGET,
        _WEIGHTS,
        Array("colors", np.float32, "N", CHANNELS),
        Array("residual", np.float32, "P", CHANNELS, out=True),
        *_ints("pixels count k weighted less_target"),
    ),
    256,
)
COLORS_GATHER = Kernel(
    "refine_colors.cu",
    "colors_gather",
    (
        *_BY_SITE,
        Array("shares", np.float32, "entries"),
        Array("residual", np.float32, "P", CHANNELS),
        Array("sums", np.float32, "N", CHANNELS, out=True),
    ),
    SITE_THREADS,
)
_DIAGONAL = (Array("sums", np.float32, "N", CHANNELS), Array("diagonal", np.float32, "N"))
_REST = Array("rest", np.float64, "N", CHANNELS, out=True)
_DIRECTION = Array("direction", np.float32, "N", CHANNELS, out=True)
_STATE = Array("state", np.float64, 1, out=True)
COLORS_BEGIN = Kernel(
    "refine_colors.cu",
    "colors_begin",
    (*_DIAGONAL, _REST, _DIRECTION, _STATE, *_ints("count")),
    1024,
)
COLORS_STEP = Kernel(
    "refine_colors.cu",
    "colors_step",
    (
        *_DIAGONAL,
        _REST,
        _DIRECTION,
        Array("colors", np.float32, "N", CHANNELS, out=True),
        _STATE,
        *_ints("count"),
    ),
    1024,
)
COLORS_ROUND = Kernel(
    "refine_colors.cu",
    "colors_round",
    (
        Array("colors", np.float32, "N", CHANNELS),
        _COLOR_STEPS,
        _AXES,
        Array("symbols", np.int32, "N", "columns", out=True),
        *_ints("count channels"),
    ),
    128,
)
COLORS_SET = Kernel(
    "refine_colors.cu",
    "colors_set",
    (
        Array("symbols", np.int32, "N", "columns"),
        _COLOR_STEPS,
        _AXES,
        Array("sites", np.float32, "N", 16, out=True),
        Array("colors", np.float32, "N", CHANNELS, out=True),
        *_ints("count channels"),
    ),
    128,
)
