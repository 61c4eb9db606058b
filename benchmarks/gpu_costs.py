"""The least that each CUDA kernel must do: bytes that move, and operations, for benchmarks/gpu.py.

Counted from the arguments of a launch and the lengths of the lists in them, not measured. Bytes:
each input read once, each output written once, in sectors of 32 bytes. Operations: those of
kernels/*.cu in float32 that grow with pixels and lists, in the units of `UNITS`; what is done in
double or with integers is left out. Both are bounds from below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sadcodec.backends import (
    cuda_fit_kernels,
    cuda_initialize,
    cuda_lists,
    cuda_picture_lists,
    cuda_refine_kernels,
    cuda_render,
)
from sadcodec.backends.launch import Array, Kernel

__all__ = [
    "KERNELS",
    "UNITS",
    "ActiveEntries",
    "Work",
    "active_entries",
    "bytes_moved",
    "filter_pairs",
    "floor_seconds",
    "named",
    "reaching",
    "tile_pairs",
    "work_of",
]

_MODULES = (
    *(cuda_fit_kernels, cuda_initialize, cuda_lists, cuda_picture_lists, cuda_refine_kernels),
    cuda_render,
)

# Every declared kernel, by file and name.
KERNELS: dict[tuple[str, str], Kernel] = {
    (kernel.file, kernel.name): kernel
    for module in _MODULES
    for kernel in vars(module).values()
    if isinstance(kernel, Kernel)
}

TILE = cuda_lists.TILE

# Nominal float32 operations of a unit of work at K = 8; a square root, a quotient and the choice
# between two numbers count as one. benchmarks/gpu_device.py measures how many of each unit a second
# the device does, so that the floor is in the device's own instructions.
#   arithmetic  one product or sum
#   logit       distance in the site's metric and logit: 2 differences, 8 products and sums, a
#               root, 2 of the logit
#   quick_logit the same with an approximate root
#   insert      a logit into the K largest: a min and a max each
#   exp2        sad_exp2: range, 5 products and sums, scaling
UNITS = {"arithmetic": 1, "logit": 13, "quick_logit": 13, "insert": 16, "exp2": 16}

# Arithmetic beside the units, by (pixel, entry) pair or by (pixel, active entry), C channels.
_BOUNDS = 30  # of a rectangle: two distances less their roots, slack, both bounds
_FORWARD = (2, 2)  # weights: constant, for each channel
_BACKWARD = (24, 3)  # dL/dlogit, a quotient, the six geometric sums; for each channel
_EXPONENTIALS = 2  # approximate ones, forward and backward
_QUARTERS = 7  # of an entry: its bounds for four quarters of a tile, twice, by pixel
_STATISTICS = 5  # for each of K: a comparison and four choices
_RENDER_BOUND = 10  # size of the terms of the logit and of their rounding, twice
_GRADIENT_SITE = 150  # metric, exponentials and the chain rule of a site
_ADAM = 16  # of a parameter
_PREPARE = 80  # of a site, in float: metric, its root, exponential of tau

# Shares of an input that a kernel reads, where it is not all of it.
_READ_SHARES = {
    ("filter_count", "sites"): 0.5,  # the first 32 of 64 bytes
    ("filter_count_wide", "sites"): 0.5,
    ("filter_fill", "sites"): 0.5,
    ("filter_fill_wide", "sites"): 0.5,
    ("filter_lists", "sites"): 0.5,
    ("filter_lists_wide", "sites"): 0.5,
    # exact rows are needed only where float cannot decide
    ("render_tiles", "exact_sites"): 0.0,
    ("render_tiles", "params"): 0.0,
}
_PHASE_SHARE = 0.5  # of what is kept by pixel: every second row, whose sectors hold both columns

# Outputs that are read before they are written.
_UPDATED = {("adam", "params"), ("adam", "first"), ("adam", "second")}

# Inputs of which one row is read for each of the output.
_GATHERED = {("gather_rows", "in")}


@dataclass(frozen=True)
class Work:
    """How often each unit of work is done."""

    arithmetic: float = 0.0
    logit: float = 0.0
    quick_logit: float = 0.0
    insert: float = 0.0
    exp2: float = 0.0

    def __add__(self, other: Work) -> Work:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Work(**sums)

    @property
    def operations(self) -> float:
        """Nominal float32 operations."""
        return float(sum(count * getattr(self, name) for name, count in UNITS.items()))


@dataclass(frozen=True)
class ActiveEntries:
    """What reaches a pixel's top K and the cut, of the entries of its tile's list.

    Attributes
    ----------
    per_pixel : float
        Active entries of a pixel.
    warp_share : float, 0..1
        Share of the entries that are active in some pixel of a warp (four rows of a tile).
    chosen_share : float, 0..1
        Share of the entries that a quarter of the tile chooses, in the mean of the quarters.
    """

    per_pixel: float
    warp_share: float
    chosen_share: float


def host(array: Any) -> np.ndarray:
    """Return an array's values on the host."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def named(kernel: Kernel, values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the arguments of a launch by the names of their parameters."""
    return {p.name: value for p, value in zip(kernel.parameters, values, strict=True)}


def bytes_moved(kernel: Kernel, arguments: Mapping[str, Any]) -> float:
    """Return the bytes that a launch must move to and from device memory."""
    used = _used_capacity(arguments)
    total = 0.0
    for parameter in kernel.parameters:
        if not isinstance(parameter, Array):
            continue
        key = (kernel.name, parameter.name)
        size = float(arguments[parameter.name].nbytes)
        if "capacity" in parameter.shape or "Q" in parameter.shape:
            size *= used.get(parameter.name, used["capacity"])
        if key in _GATHERED:
            size = min(size, float(arguments["out"].nbytes))
        size *= _READ_SHARES.get(key, 1.0)
        if parameter.name in {"target", "weights"} and "phase" in arguments:
            size *= _PHASE_SHARE
        total += 2 * size if key in _UPDATED else size
    return total


def _used_capacity(arguments: Mapping[str, Any]) -> dict[str, float]:
    """Return which share of the arrays with a reserve is in use."""
    used = {"capacity": 1.0}
    if "offsets" in arguments and "ids" in arguments:
        used["capacity"] = lengths_of(arguments).sum() / max(1, len(arguments["ids"]))
    elif "starts" in arguments and "order" in arguments:
        used["capacity"] = host(arguments["starts"])[-1] / max(1, len(arguments["order"]))
    if "parent_offsets" in arguments:
        entries = lengths_of(arguments, "parent_").sum()
        used["parent_ids"] = entries / max(1, len(arguments["parent_ids"]))
    return used


def bounds_of(arguments: Mapping[str, Any], whose: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return where the lists of a launch begin in its ids, and where they end.

    A fit's lists follow one another, so that one ends where the next one begins. Of a picture's
    lists all ends are behind all beginnings.
    """
    offsets = host(arguments[f"{whose}offsets"])
    made = len(offsets) // 2 if "totals" in arguments else 1
    ends = int(arguments.get(f"{whose}ends", made))
    return offsets[:-ends], offsets[ends:]


def lengths_of(arguments: Mapping[str, Any], whose: str = "") -> np.ndarray:
    """Return the lengths of the lists of a launch, or those of its parents' (`parent_`)."""
    begins, ends = bounds_of(arguments, whose)
    return ends - begins


def tile_pairs(lengths: np.ndarray, tiles_x: int, width: int, height: int) -> int:
    """Return the number of (pixel, entry) pairs of a region's tiles."""
    lengths = lengths.reshape(-1, tiles_x)
    rows = np.minimum(TILE, height - TILE * np.arange(lengths.shape[0]))
    columns = np.minimum(TILE, width - TILE * np.arange(tiles_x))
    return int(np.einsum("ij,i,j->", lengths, rows, columns, dtype=np.int64))


def filter_pairs(lengths: np.ndarray, arguments: Mapping[str, Any], children: int) -> int:
    """Return the number of (square, entry of its parent's list) pairs of a filter launch."""
    side, parent_side = int(arguments["side"]), int(arguments["parent_side"])
    across, parents_x = int(arguments["children_x"]), int(arguments["parents_x"])
    child = np.arange(children)
    row, column = child // across * side // parent_side, child % across * side // parent_side
    return int(lengths[row * parents_x + column].sum(dtype=np.int64))


def reaching(
    columns: Sequence[np.ndarray], corner: tuple[float, float], k: int, cut: float
) -> np.ndarray:
    """Tell which sites a quarter of a tile chooses, as kernels/quads.cuh does but for rounding.

    Parameters
    ----------
    columns : sequence of float64 [N]
        x, y, m0, m1, m2, tau and radius of the sites.
    corner : tuple of float, px
    k : int
    cut : float

    Returns
    -------
    bool [N]
    """
    x, y, m0, m1, m2, tau, radius = columns
    half = (TILE / 2 - 1) / 2
    dx, dy = corner[0] + TILE / 4 - x, corner[1] + TILE / 4 - y
    u, v = np.abs(m0 * dx + m1 * dy), np.abs(m2 * dy)
    half_u, half_v = half * (m0 + np.abs(m1)), half * m2
    near = np.hypot(np.maximum(u - half_u, 0), np.maximum(v - half_v, 0))
    far = np.hypot(u + half_u, v + half_v)
    least = -np.sort(tau * (far - radius))[:k]
    return np.asarray(tau * (radius - near) >= max(least[-1], least[0] - cut))


def active_entries(
    arguments: Mapping[str, Any], k: int, cut: float, *, samples: int = 64
) -> ActiveEntries:
    """Estimate from some tiles what of their lists is active."""
    (begins, ends), ids = bounds_of(arguments), host(arguments["ids"])
    sites = host(arguments["sites"]).astype(np.float64)
    tiles_x, width, height = (int(arguments[n]) for n in ("tiles_x", "width", "height"))
    x0, y0 = int(arguments.get("x0", 0)), int(arguments.get("y0", 0))
    tiles = np.unique(np.linspace(0, len(begins) - 1, samples).astype(np.int64))
    active = pixels = warps = entries = chosen = 0
    for tile in tiles:
        row, column = divmod(int(tile), tiles_x)
        y, x = np.mgrid[TILE * row : TILE * row + TILE, TILE * column : TILE * column + TILE]
        inside = ((x < width) & (y < height)).reshape(-1)
        own = sites[ids[begins[tile] : ends[tile]]]
        if not len(own) or not inside.any():
            continue
        dx = x0 + x.reshape(-1, 1) + 0.5 - own[:, 0]
        dy = y0 + y.reshape(-1, 1) + 0.5 - own[:, 1]
        distance = np.hypot(own[:, 2] * dx + own[:, 3] * dy, own[:, 4] * dy)
        logits = own[:, 5] * (own[:, 6] - distance)
        best = -np.sort(-logits, axis=1)[:, :k]
        reached = logits >= np.maximum(best[:, -1], best[:, 0] - cut)[:, None]
        reached &= inside[:, None]
        active += int(reached.sum())
        pixels += int(inside.sum())
        halves = reached.reshape(2, -1, len(own)).any(axis=1)
        warps += int(halves.sum())
        entries += 2 * len(own)
        for corner in ((0, 0), (4, 0), (0, 4), (4, 4)):
            at = x0 + TILE * column + corner[0], y0 + TILE * row + corner[1]
            chosen += int(reaching(own[:, :7].T, at, k, cut).sum())
    each = max(1, entries)
    return ActiveEntries(active / max(1, pixels), warps / each, chosen / (2 * each))


def _filter(arguments: Mapping[str, Any], walks: int) -> Work:
    children = len(lengths_of(arguments) if "totals" in arguments else arguments["thresholds"])
    pairs = filter_pairs(lengths_of(arguments, "parent_"), arguments, children)
    # A bound is two distances, which count as logits, and what is around them.
    return Work(arithmetic=walks * pairs * _BOUNDS, quick_logit=2 * walks * pairs)


def _pairs(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """(pixel, entry) pairs and pixels of a launch over tiles."""
    sizes = [int(arguments[name]) for name in ("tiles_x", "width", "height")]
    return tile_pairs(lengths_of(arguments), *sizes), sizes[1] * sizes[2]


def _gradient_tiles(arguments: Mapping[str, Any], k: int, channels: int) -> Work:
    pairs, pixels = _pairs(arguments)
    found = active_entries(arguments, k, float(arguments["cut"]))
    beside = sum(_FORWARD) + (_FORWARD[1] + _BACKWARD[1]) * (channels - 1) + sum(_BACKWARD)
    active, looked_at = found.per_pixel * pixels, float(pairs)
    share, quarters = 0.25, 0.0
    if "phase" not in arguments:
        share, quarters = 1.0, float(pairs * _QUARTERS)
        looked_at *= found.chosen_share
    return Work(
        arithmetic=quarters + share * active * (beside + _EXPONENTIALS),
        quick_logit=share * (2 * looked_at + active),
        insert=share * looked_at,
    )


def _statistics_tiles(arguments: Mapping[str, Any], k: int, channels: int) -> Work:
    pairs, pixels = _pairs(arguments)
    # Of the K sites of a pixel, each is taken away in turn: K (K - 1) weights and colours.
    removal = pixels * k * (k - 1) * (1 + 2 * channels)
    return Work(arithmetic=pairs * _STATISTICS * k + removal, logit=pairs, exp2=pixels * k)


def _render_tiles(arguments: Mapping[str, Any], k: int, channels: int) -> Work:
    pairs, pixels = _pairs(arguments)
    weights = pixels * k * (_FORWARD[0] + _FORWARD[1] * channels)
    chosen = pairs * active_entries(arguments, k, float(arguments["cut"])).chosen_share
    return Work(
        arithmetic=pairs * _QUARTERS + chosen * _RENDER_BOUND + weights,
        logit=2 * chosen,
        insert=chosen,
        exp2=pixels * k,
    )


def _gradient_sites(arguments: Mapping[str, Any], _: int, channels: int) -> Work:
    entries, columns = float(host(arguments["starts"])[-1]), 6 + channels
    return Work(entries * columns + float(arguments["count"]) * _GRADIENT_SITE)


def _adam(arguments: Mapping[str, Any], *_: int) -> Work:
    return Work(float(arguments["params"].size) * _ADAM) + _prepare(arguments)


def _prepare(arguments: Mapping[str, Any], *_: int) -> Work:
    return Work(float(arguments["count"]) * _PREPARE)


_WORK: dict[str, Callable[[Mapping[str, Any], int, int], Work]] = {
    "filter_count": lambda arguments, *_: _filter(arguments, 2),
    "filter_count_wide": lambda arguments, *_: _filter(arguments, 2),
    "filter_fill": lambda arguments, *_: _filter(arguments, 1),
    "filter_fill_wide": lambda arguments, *_: _filter(arguments, 1),
    "filter_lists": lambda arguments, *_: _filter(arguments, 3),
    "filter_lists_wide": lambda arguments, *_: _filter(arguments, 3),
    "gradient_tiles": _gradient_tiles,
    "gradient_tiles_sampled": _gradient_tiles,
    "gradient_sites": _gradient_sites,
    "adam": _adam,
    "disturb": _prepare,
    "prepare_fast": _prepare,
    "statistics_tiles": _statistics_tiles,
    "render_tiles": _render_tiles,
}


def work_of(kernel: Kernel, arguments: Mapping[str, Any], k: int, channels: int) -> Work:
    """Return the counted operations of a launch; none for kernels that only move numbers."""
    count = _WORK.get(kernel.name)
    return count(arguments, k, channels) if count else Work()


def floor_seconds(
    size: float, work: Work, bytes_per_second: float, rates: Mapping[str, float]
) -> tuple[float, float]:
    """Return the seconds that the bytes need, and those that the operations need.

    Parameters
    ----------
    size : float
        Bytes.
    work : Work
    bytes_per_second : float
        Measured.
    rates : mapping
        Measured number of each unit a second; a unit that is not there counts as its operations.
    """
    plain = rates.get("arithmetic", float("inf"))
    seconds = 0.0
    for name, operations in UNITS.items():
        rate = rates.get(name, plain / operations)
        seconds += getattr(work, name) / rate
    return size / bytes_per_second, seconds
