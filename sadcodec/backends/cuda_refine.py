"""The integer descent on a CUDA device: target, symbols, lists and sites all stay there.

A sweep is a launch for each class of sites that share no pixel's list (`cuda_schedule.Schedule`); a
block visits a site. The host waits for what it returns, and where lists are built. Memory in bytes:
`PIXEL_BYTES` for a pixel, `SITE_BYTES` for a site, and 64 for every direction and every log_tau
that a symbol can stand for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_fit_kernels import PREPARE_SITES
from sadcodec.backends.cuda_lists import SiteEntries, TileLists
from sadcodec.backends.cuda_ragged import MOST_ENTRIES
from sadcodec.backends.cuda_refine_colors import least_squares
from sadcodec.backends.cuda_refine_kernels import (
    CHANNELS,
    COLORS_ROUND,
    COLORS_SET,
    REFINE_ERROR,
    REFINE_LISTS,
    REFINE_REMOVAL,
    REFINE_SWEEP,
    REFINE_TOTAL,
)
from sadcodec.backends.cuda_schedule import Schedule
from sadcodec.backends.launch import Launcher, on_device
from sadcodec.backends.quantization import (
    LIST_LENGTH,
    ColumnCost,
    Quantization,
    check_cost_column,
    check_lambda,
    checked_target,
    parameters,
)
from sadcodec.backends.weights import checked_weights
from sadcodec.errors import BackendError, OptionError
from sadcodec.sites import COLOR, LOG_TAU_RANGE, RADIUS_RANGE

__all__ = ["PIXEL_BYTES", "SITE_BYTES", "CudaRefiner"]

Floats = NDArray[np.float32]

# Target and weight 20, lists 96, their order by site 96, 48 for what a sweep works with, 16 for
# colours, lists of tiles about 20; while the order is made, CuPy's sort takes some 190.
PIXEL_BYTES = 512
SITE_BYTES = 400

_LOG_TAU, _LOG_ANISOTROPY, _ANGLE = 2, 3, 4  # columns of a symbol table
_MOST = np.iinfo(np.int32).max
_EVERYTHING = 1e30  # cut: a step of a sharp site moves its logits by more than any other


class CudaRefiner:
    """`sadcodec.backends.base.Refiner` on a CUDA device.

    Parameters
    ----------
    launcher : Launcher
    target : float32 [H, W, C]
    k : int, 1..11
    weights : float32 [H, W], >= 0 with mean 1, optional
        Of each pixel's squared error.
    """

    def __init__(
        self, launcher: Launcher, target: Floats, k: int, weights: Floats | None = None
    ) -> None:
        image = checked_target(target, k)
        self._height, self._width, self._channels = image.shape
        pixels = self._height * self._width
        if pixels * LIST_LENGTH > MOST_ENTRIES:
            raise OptionError(f"{self._width} x {self._height} pixels are too many to refine")
        self._launcher, self._k = launcher, k
        self._quantization: Quantization | None = None
        self._listed = False
        self._check_memory(pixels * PIXEL_BYTES)
        every = np.zeros(1, np.float32)  # not read
        if weights is not None:
            every = checked_weights(weights, self._height, self._width).ravel()
        padded = np.zeros((pixels, CHANNELS), np.float32)
        padded[:, : self._channels] = image.reshape(pixels, -1)
        with launcher.on_device():
            cp = launcher.cp
            # Not `asarray`: that goes through pinned memory, which the process keeps.
            self._target = cp.empty((pixels, CHANNELS), np.float32)
            self._target.set(padded)
            self._pixels = {
                "list_ids": cp.empty((pixels, LIST_LENGTH), np.int32),
                "list_logits": cp.empty((pixels, LIST_LENGTH), np.float32),
                "target": self._target,
                "weights": cp.asarray(every),
                "k": k,
                "weighted": weights is not None,
            }
            self._others = cp.empty((pixels, LIST_LENGTH), np.float32)
            self._taken = cp.zeros(1, np.int32)

    def _check_memory(self, need: int) -> None:
        """Refuse what the device has no memory for, before anything is placed there."""
        free = self._launcher.runtime.free_memory()
        if need > free:
            raise BackendError(
                f"cuda: refining {self._width} x {self._height} pixels takes about"
                f" {need / 2**30:.1f} GiB of device memory, of which {free / 2**30:.1f} are free"
            )

    def _steps(self) -> Quantization:
        if self._quantization is None:
            raise OptionError("set_sites comes first")
        return self._quantization

    # ---- Symbols --------------------------------------------------------------------------------

    @on_device
    def set_sites(
        self,
        symbols: NDArray[np.int32],
        position: float,
        log_tau: float,
        anisotropy: float,
        radius: float,
        angle_levels: NDArray[np.int32],
        color_steps: Floats,
        axes: Floats,
    ) -> None:
        """Start from these symbols; see the protocol."""
        steps = Quantization(position, log_tau, anisotropy, radius, angle_levels, color_steps, axes)
        table = steps.checked_symbols(symbols, self._channels)
        largest = _largest(LOG_TAU_RANGE[1], log_tau)
        directions = int(steps.angle_levels.sum(dtype=np.float64))
        self._check_memory(len(table) * SITE_BYTES + 128 * (directions + 2 * largest + 1))
        cp = self._launcher.cp
        count = len(table)
        self._quantization, self._listed = steps, False
        self._symbols = cp.asarray(table)
        self._sites = self._prepared(parameters(table, slice(None), steps))
        self._colors = cp.empty((count, CHANNELS), np.float32)
        self._color_arguments = {
            "symbols": self._symbols,
            "color_steps": cp.asarray(steps.color_steps),
            "axes": cp.asarray(steps.axes),
            "count": count,
            "channels": self._channels,
        }
        self._set_colors()
        first = np.concatenate([[0], np.cumsum(steps.angle_levels)]).astype(np.int32)
        self._geometry = {
            "bounds": cp.asarray(_bounds(steps, self._width, self._height, largest)),
            "first_angle": cp.asarray(first),
            "prepared": self._prepared(_directions_and_log_taus(steps, first, largest)),
            "position": position,
            "radius": radius,
            "levels": len(steps.angle_levels),
        }
        self._costs: dict[int, ColumnCost] = {}
        self._cost_tables: dict[str, Any] | None = None

    def _prepared(self, rows: NDArray[np.float64]) -> Any:
        """Return the prepared sites of parameter rows, float32 [M, 16] on the device."""
        cp = self._launcher.cp
        sites = cp.zeros((len(rows), 16), np.float32)
        params = cp.asarray(np.ascontiguousarray(rows, np.float32))
        arguments = {"params": params, "sites": sites, "count": len(rows)}
        self._launcher.launch(PREPARE_SITES, PREPARE_SITES.blocks(len(rows)), arguments)
        return sites

    def _set_colors(self) -> None:
        arguments = {**self._color_arguments, "sites": self._sites, "colors": self._colors}
        self._launcher.launch(COLORS_SET, COLORS_SET.blocks(len(self._sites)), arguments)

    def set_cost(
        self, column: int, prediction: NDArray[np.int32], klass: NDArray[np.uint8], table: Floats
    ) -> None:
        """Say what the symbols of one column cost; see the protocol."""
        count = len(self._steps().color_steps)
        check_cost_column(column, self._channels)
        self._costs[column] = ColumnCost.checked(prediction, klass, table, count)
        self._cost_tables = None

    def _priced(self) -> dict[str, Any]:
        """Return the costs of all columns, on the device."""
        if self._cost_tables is None:
            shape = (COLOR + self._channels, len(self._sites))
            predictions, places = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
            reaches, tables, filled = np.zeros(shape[0], np.int32), [np.zeros(1, np.float32)], 1
            for column, cost in self._costs.items():
                width = cost.table.shape[1]
                reaches[column] = width // 2
                predictions[column] = cost.prediction
                places[column] = filled + cost.klass.astype(np.int32) * width + width // 2
                tables.append(cost.table.ravel())
                filled += cost.table.size
            host = {
                "predictions": predictions,
                "places": places,
                "reaches": reaches,
                "bits": np.concatenate(tables),
            }
            self._cost_tables = {n: self._launcher.cp.asarray(a) for n, a in host.items()}
        return self._cost_tables

    @on_device
    def set_color_steps(self, steps: Floats) -> None:
        """Replace the colour steps; see the protocol."""
        cp, before = self._launcher.cp, self._steps()
        after = before.with_color_steps(steps)
        new = cp.asarray(after.color_steps)
        old = self._color_arguments["color_steps"].astype(np.float64)
        exact = self._symbols[:, COLOR:] * old / new
        rounded = cp.copysign(cp.floor(cp.absolute(exact) + 0.5), exact)
        self._symbols[:, COLOR:] = rounded.astype(np.int32)
        self._color_arguments["color_steps"] = new
        self._quantization = after
        self._set_colors()

    @property
    @on_device
    def symbols(self) -> NDArray[np.int32]:
        """int32 [N, 6 + C]: a copy of the current symbols; waits."""
        self._steps()
        copy: NDArray[np.int32] = self._symbols.get()
        return copy

    @property
    def params(self) -> Floats:
        """float32 [N, 6 + C]: the parameters that they stand for; waits."""
        return parameters(self.symbols, slice(None), self._steps()).astype(np.float32)

    # ---- Lists ----------------------------------------------------------------------------------

    @on_device
    def build_lists(self) -> float:
        """Find each pixel's best sites; return the squared error of the picture. Waits."""
        self._steps()
        launcher, cp, count = self._launcher, self._launcher.cp, len(self._sites)
        # Not kept: lists that are made anew would be laid out by the lengths of the last ones.
        tiles = TileLists(launcher, (0, 0, self._width, self._height))
        tiles.build(self._sites, LIST_LENGTH, _EVERYTHING)
        lists = {name: self._pixels[name] for name in ("list_ids", "list_logits")}
        arguments = {
            **lists,
            "sites": self._sites,
            "offsets": tiles.offsets,
            "ids": tiles.ids,
            "tiles_x": tiles.tiles_x,
            "width": self._width,
            "height": self._height,
            "count": count,
        }
        launcher.launch(REFINE_LISTS, tiles.tiles, arguments)
        entries = SiteEntries(launcher, lists["list_ids"].ravel(), count)
        self._by_site = {"order": entries.order, "starts": entries.starts}
        self._schedule = Schedule(launcher, lists["list_ids"], entries.starts)
        self._listed = True
        pixels = len(self._target)
        blocks = REFINE_ERROR.blocks(pixels)
        partial, total = cp.empty(blocks, np.float64), cp.empty(1, np.float64)
        arguments = {
            **self._pixels,
            "sites": self._sites,
            "partial": partial,
            "pixels": pixels,
            "count": count,
        }
        launcher.launch(REFINE_ERROR, blocks, arguments)
        launcher.launch(REFINE_TOTAL, 1, {"partial": partial, "total": total, "n": blocks})
        return float(total.get()[0])

    def _lists(self) -> None:
        if not self._listed:
            self.build_lists()

    @property
    def schedule(self) -> list[NDArray[np.int32]]:
        """Classes of sites that a sweep visits one after another, each int32 [M]; waits."""
        self._lists()
        with self._launcher.on_device():
            visits = self._schedule.visits.get()
        return [visits[first : first + size] for first, size in self._schedule.classes]

    # ---- Descent --------------------------------------------------------------------------------

    @on_device
    def sweep(self, lambda_: float, geometry: bool) -> int:
        """Visit every site once; return how many moves were taken. Waits once, at the end."""
        check_lambda(lambda_)
        self._lists()
        classes = self._schedule.classes
        arguments = {
            **self._pixels,
            **self._by_site,
            **self._geometry,
            **self._priced(),
            **self._color_arguments,
            "visits": self._schedule.visits,
            "sites": self._sites,
            "others": self._others,
            "taken": self._taken,
            "lambda": lambda_,
            "width": self._width,
            "geometry": geometry,
        }
        self._taken.fill(0)
        largest = max(size for _, size in classes)
        visit = self._launcher.bind(REFINE_SWEEP, largest, arguments, "first", "size")
        for first, size in classes:
            visit(first, size)
        return int(self._taken.get()[0])

    @on_device
    def solve_colors(self, iterations: int) -> None:
        """Set all colours to the least-squares optimum, by conjugate gradients."""
        self._lists()
        if iterations < 1:
            return
        # Where the symbols' colours are now: sweeps keep those of the sites alone.
        self._set_colors()
        count = len(self._sites)
        pixels = {**self._pixels, **self._by_site, "count": count}
        least_squares(self._launcher, pixels, self._colors, self._others.ravel(), iterations)
        rounded = {**self._color_arguments, "colors": self._colors}
        self._launcher.launch(COLORS_ROUND, COLORS_ROUND.blocks(count), rounded)
        self._set_colors()

    @on_device
    def removal_deltas(self) -> NDArray[np.float64]:
        """Return by how much the squared error would rise without each site; waits."""
        self._lists()
        count = len(self._sites)
        deltas = self._launcher.cp.empty(count, np.float64)
        arguments = {
            **self._pixels,
            **self._by_site,
            "sites": self._sites,
            "deltas": deltas,
            "width": self._width,
            "count": count,
            "channels": self._channels,
        }
        self._launcher.launch(REFINE_REMOVAL, count, arguments)
        copy: NDArray[np.float64] = deltas.get()
        return copy


def _largest(limit: float, step: float) -> int:
    """Return the largest symbol whose value, symbol times step, is within a limit."""
    largest = int(min(limit / step, float(_MOST - 2)))
    while largest * step > limit:
        largest -= 1
    while (largest + 1) * step <= limit:
        largest += 1
    return largest


def _bounds(steps: Quantization, width: int, height: int, log_tau: int) -> NDArray[np.int32]:
    """Return the least and the largest symbol of each column of the geometry, int32 [6, 2]."""
    radius = _largest(RADIUS_RANGE[1], steps.radius) if steps.radius > 0.0 else 0
    return np.array(
        [
            (0, min(math.ceil(width / steps.position), _MOST) - 1),
            (0, min(math.ceil(height / steps.position), _MOST) - 1),
            (-log_tau, log_tau),
            (0, len(steps.angle_levels) - 1),
            (0, 0),  # has its bound in the anisotropy
            (-radius, radius),
        ],
        np.int32,
    )


def _directions_and_log_taus(
    steps: Quantization, first: NDArray[np.int32], log_tau: int
) -> NDArray[np.float64]:
    """Return parameter rows of every direction, then of every log_tau from the least on."""
    directions, log_taus = int(first[-1]), 2 * log_tau + 1
    symbols = np.zeros((directions + log_taus, COLOR + steps.channels), np.int32)
    levels = steps.angle_levels
    log_anisotropy = np.repeat(np.arange(len(levels), dtype=np.int32), levels)
    symbols[:directions, _LOG_ANISOTROPY] = log_anisotropy
    symbols[:directions, _ANGLE] = np.arange(directions) - first[log_anisotropy]
    symbols[directions:, _LOG_TAU] = np.arange(-log_tau, log_tau + 1)
    return parameters(symbols, 0, steps)
