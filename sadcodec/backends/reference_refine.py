"""Refining by the reference: integer coordinate descent in float64, to compare others with.

`Refiner` in base.py says what is done; here it is written for reading. For the site under trial, a
pixel's other sites stay as they are: its K best others are set out once, and each trial gives the
site's logit there. Above the K-th of the others it takes that one's place, otherwise (ties too) the
K others are the blend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K
from sadcodec.backends.quantization import (
    LIST_LENGTH,
    ColumnCost,
    Quantization,
    check_cost_column,
    check_lambda,
    checked_target,
)
from sadcodec.backends.quantization import parameters as _parameters
from sadcodec.backends.reference import blends, logits
from sadcodec.backends.weights import checked_weights
from sadcodec.errors import OptionError
from sadcodec.sites import COLOR, COLOR_RANGE, LOG_TAU_RANGE, RADIUS_RANGE

__all__ = ["ReferenceRefiner"]

Floats = NDArray[np.float64]
Symbols = NDArray[np.int32]

# Columns of a symbol table; those of the colour axes start at COLOR, as those of parameters do.
_X, _Y, _LOG_TAU, _LOG_ANISOTROPY, _ANGLE, _RADIUS = range(COLOR)
_GEOMETRY_ORDER = (_LOG_TAU, _LOG_ANISOTROPY, _ANGLE, _X, _Y, _RADIUS)

# As in kernels/cpu/refine.cpp.
_BLOCK = 128  # px
_MAX_AXIS = 4.0  # largest colour on one axis
_GAIN = 1e-6  # share of the cost that a move must save
_RIDGE = 1e-4
_MAX_COLOR_STEP = 64  # symbols
_LEAST_SQUARE = 1e-12  # sum of squared weights under which a site is not seen


def _round(value: float) -> int:
    """Round to the nearest integer, halves away from zero."""
    return int(np.copysign(np.floor(abs(value) + 0.5), value))


@dataclass
class _Surroundings:
    """The M pixels whose lists hold one site, and their K best sites but for that one."""

    points: Floats  # [M, 2] px
    target: Floats  # [M, C]
    weights: Floats  # [M], of the squared errors
    logits: Floats  # [M, K], descending; -inf where there are fewer
    colors: Floats  # [M, K, C]

    def blend(self, row: Floats | None) -> tuple[Floats, Floats]:
        """Return the pixels' values [M, C] and the weight [M] of the site with parameters `row`.

        None: without the site.
        """
        own = np.full(len(self.points), -np.inf)
        own_color = np.zeros(self.target.shape[1])
        if row is not None:
            own, own_color = logits(row[None], self.points)[:, 0], row[COLOR:]
        inside = own > self.logits[:, -1]
        values, colors = self.logits.copy(), self.colors.copy()
        values[inside, -1] = own[inside]
        colors[inside, -1] = own_color
        weights = np.exp(values - values.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return np.einsum("mk,mkc->mc", weights, colors), np.where(inside, weights[:, -1], 0.0)

    def error(self, row: Floats | None) -> float:
        """Squared error of the pixels, clamped to 0..1."""
        value, _ = self.blend(row)
        squared = np.sum((np.clip(value, 0.0, 1.0) - self.target) ** 2, axis=1)
        return float(self.weights @ squared)


@dataclass
class _Visit:
    """The moves of one site."""

    site: int
    lambda_: float
    around: _Surroundings
    cost: float = 0.0  # of the site's present symbols
    taken: int = 0


class ReferenceRefiner:
    """`Refiner` in float64; images of some thousand pixels take seconds.

    Attributes
    ----------
    order : list of int
        Sites in the order in which a sweep visits them, as `build_lists` finds it; another one may
        be put in its place, to compare a refiner that visits them in that.
    """

    def __init__(
        self,
        target: NDArray[np.float32],
        k: int = DEFAULT_K,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        image = checked_target(target, k)
        self._height, self._width, self._channels = image.shape
        self._importance = np.ones(self._height * self._width)
        if weights is not None:
            self._importance[:] = checked_weights(weights, *image.shape[:2]).ravel()
        self._target = image.reshape(-1, self._channels).astype(np.float64)
        self._k = k
        self._quantization: Quantization | None = None
        self._listed = False

    def _steps(self) -> Quantization:
        if self._quantization is None:
            raise OptionError("set_sites comes first")
        return self._quantization

    def set_sites(
        self,
        symbols: Symbols,
        position: float,
        log_tau: float,
        anisotropy: float,
        radius: float,
        angle_levels: NDArray[np.int32],
        color_steps: NDArray[np.float32],
        axes: NDArray[np.float32],
    ) -> None:
        """Start from these symbols; see the protocol."""
        steps = Quantization(position, log_tau, anisotropy, radius, angle_levels, color_steps, axes)
        self._symbols = steps.checked_symbols(symbols, self._channels).copy()
        self._quantization = steps
        self._costs: dict[int, ColumnCost] = {}
        self._params = _parameters(self._symbols, slice(None), steps)
        self._listed = False

    def set_cost(
        self,
        column: int,
        prediction: NDArray[np.int32],
        klass: NDArray[np.uint8],
        table: NDArray[np.float32],
    ) -> None:
        """Say what the symbols of one column cost; see the protocol."""
        count = len(self._steps().color_steps)
        check_cost_column(column, self._channels)
        self._costs[column] = ColumnCost.checked(prediction, klass, table, count)

    def set_color_steps(self, steps: NDArray[np.float32]) -> None:
        """Replace the colour steps; see the protocol."""
        before = self._steps()
        after = before.with_color_steps(steps)
        values = self._symbols[:, COLOR:] * before.color_steps.astype(np.float64)
        exact = values / after.color_steps
        self._symbols[:, COLOR:] = np.copysign(np.floor(np.abs(exact) + 0.5), exact)
        self._quantization = after
        self._params = _parameters(self._symbols, slice(None), after)

    @property
    def symbols(self) -> Symbols:
        """int32 [N, 6 + C]: a copy of the current symbols."""
        self._steps()
        return self._symbols.copy()

    @property
    def params(self) -> NDArray[np.float32]:
        """float32 [N, 6 + C]: the parameters that they stand for."""
        self._steps()
        return self._params.astype(np.float32)

    # ---- Lists ----------------------------------------------------------------------------------

    def build_lists(self) -> float:
        """Find each pixel's best sites; return the squared error of the picture."""
        self._steps()
        pixels = np.arange(len(self._target))
        found = list(blends(self._params, self._width, LIST_LENGTH, pixels))
        self._ids = np.concatenate([chunk.ids for chunk in found])  # [P, L]
        self._logits = np.concatenate([chunk.logits for chunk in found])  # kept up by moves
        self._points = np.concatenate([chunk.points for chunk in found])
        self.order = self._visiting_order()
        self._listed = True
        weights, ids = self._weights()
        value = np.einsum("pk,pkc->pc", weights, self._params[ids, COLOR:])
        squared = np.sum((np.clip(value, 0.0, 1.0) - self._target) ** 2, axis=1)
        return float(self._importance @ squared)

    def _lists(self) -> None:
        if not self._listed:
            self.build_lists()

    def _weights(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return the weights [P, K] of each pixel's K best sites, and these sites."""
        best = np.argsort(-self._logits, axis=1, kind="stable")[:, : self._k]
        values = np.take_along_axis(self._logits, best, axis=1)
        weights = np.exp(values - values[:, :1])
        weights /= weights.sum(axis=1, keepdims=True)
        return weights, np.take_along_axis(self._ids, best, axis=1)

    def _visiting_order(self) -> list[int]:
        """Sites in some pixel's list: by parity of their block, block and index; far ones last."""
        keys = []
        for site in range(len(self._params)):
            pixels = np.flatnonzero((self._ids == site).any(axis=1))
            if len(pixels) == 0:
                continue
            block, far = [], False
            for at, seen, extent in (
                (self._params[site, 1], pixels // self._width, self._height),
                (self._params[site, 0], pixels % self._width, self._width),
            ):
                index = min(max(int(at) // _BLOCK, 0), (extent - 1) // _BLOCK)
                block.append(index)
                low, high = (index - 0.5) * _BLOCK, (index + 1.5) * _BLOCK
                far |= bool(seen.min() < low or seen.max() >= high)
            parity, half = [b % 2 for b in block], [b // 2 for b in block]
            keys.append((far, [] if far else [*parity, *half], site))
        return [site for _, _, site in sorted(keys)]

    def _surroundings(self, site: int) -> tuple[_Surroundings, NDArray[np.bool_]]:
        """Return what a site's pixels have beside it, and its place in the lists, bool [P, L]."""
        place = self._ids == site
        pixels = np.flatnonzero(place.any(axis=1))
        values = np.where(place, -np.inf, self._logits)[pixels]
        best = np.argsort(-values, axis=1, kind="stable")[:, : self._k]
        values = np.take_along_axis(values, best, axis=1)
        colors = self._params[np.take_along_axis(self._ids[pixels], best, axis=1), COLOR:]
        missing = self._k - best.shape[1]
        return (
            _Surroundings(
                self._points[pixels],
                self._target[pixels],
                self._importance[pixels],
                np.pad(values, ((0, 0), (0, missing)), constant_values=-np.inf),
                np.pad(colors, ((0, 0), (0, missing), (0, 0))),
            ),
            place,
        )

    # ---- Descent --------------------------------------------------------------------------------

    def sweep(self, lambda_: float, geometry: bool) -> int:
        """Visit every site once; return how many moves were taken."""
        check_lambda(lambda_)
        self._lists()
        return sum(self._visit(site, lambda_, geometry) for site in self.order)

    def _visit(self, site: int, lambda_: float, geometry: bool) -> int:
        around, place = self._surroundings(site)
        visit = _Visit(site, lambda_, around)
        visit.cost = self._cost(visit, self._symbols[site], self._params[site])
        if geometry:
            for column in _GEOMETRY_ORDER:
                if not self._attempt(visit, self._moved(site, column, 1)):
                    self._attempt(visit, self._moved(site, column, -1))
        for axis in range(self._channels):
            self._recolor(visit, axis)
        rows, columns = np.nonzero(place)
        moved = logits(self._params[site][None], self._points[rows])[:, 0]
        self._logits[rows, columns] = moved
        return visit.taken

    def _cost(self, visit: _Visit, symbols: Symbols, row: Floats) -> float:
        bits = sum(cost.bits(visit.site, symbols[column]) for column, cost in self._costs.items())
        return visit.around.error(row) + visit.lambda_ * bits

    def _attempt(self, visit: _Visit, trial: Symbols | None) -> bool:
        """Take the symbols `trial` [6 + C] if they cost less than the site's present ones."""
        steps = self._steps()
        if trial is None:
            return False
        axes = trial[COLOR:] * steps.color_steps[visit.site].astype(np.float64)
        if (np.abs(axes) > _MAX_AXIS).any():
            return False
        row = _parameters(trial[None], visit.site, steps)[0]
        cost = self._cost(visit, trial, row)
        if not cost < visit.cost * (1.0 - _GAIN):
            return False
        visit.cost = cost
        visit.taken += 1
        self._symbols[visit.site], self._params[visit.site] = trial, row
        return True

    def _recolor(self, visit: _Visit, axis: int) -> None:
        """Try the best symbol of one colour axis, and those beside it where they may cost less."""

        def attempt(delta: int) -> bool:
            trial = self._symbols[visit.site].copy()
            trial[COLOR + axis] += delta
            return self._attempt(visit, trial)

        ideal = self._ideal_step(visit.site, axis, visit.around)
        if ideal is None:
            return
        nearest, side = _round(ideal), 1 if ideal > 0.0 else -1
        if nearest != 0 and attempt(nearest):
            return
        if visit.lambda_ > 0.0:
            if not attempt(side):
                attempt(-side)
        elif nearest == 0:
            attempt(side)

    def _moved(self, site: int, column: int, delta: int) -> Symbols | None:
        """Return the site's symbols with one of the geometry moved; None where it may not."""
        steps = self._steps()
        trial = self._symbols[site].copy()
        trial[column] += delta
        value = int(trial[column])
        levels = int(steps.angle_levels[self._symbols[site, _LOG_ANISOTROPY]])
        if column in {_X, _Y}:
            extent = self._width if column == _X else self._height
            allowed = 0 <= value < np.ceil(extent / steps.position)
        elif column == _LOG_TAU:
            allowed = abs(value * steps.log_tau) <= LOG_TAU_RANGE[1]
        elif column == _LOG_ANISOTROPY:
            allowed = 0 <= value < len(steps.angle_levels)
            if allowed:  # the nearest direction among the new levels
                after = int(steps.angle_levels[value])
                trial[_ANGLE] = (2 * int(trial[_ANGLE]) * after + levels) // (2 * levels) % after
        elif column == _ANGLE:
            allowed = levels > 1
            trial[_ANGLE] = value % levels
        else:
            allowed = steps.radius > 0.0 and abs(value * steps.radius) <= RADIUS_RANGE[1]
        return trial if allowed else None

    def _ideal_step(self, site: int, axis: int, around: _Surroundings) -> float | None:
        """Return by how many symbols one colour axis should change for the least squared error.

        Of the blend before clamping. None where the site has no weight.
        """
        steps = self._steps()
        value, weight = around.blend(self._params[site])
        weighted = around.weights * weight
        square = float(weighted @ weight)
        if square <= _LEAST_SQUARE:
            return None
        along = float(weighted @ ((around.target - value) @ steps.axes[axis].astype(np.float64)))
        ideal = along / (square * float(steps.color_steps[site, axis]))
        return min(max(ideal, -float(_MAX_COLOR_STEP)), float(_MAX_COLOR_STEP))

    # ---- Colours and removal --------------------------------------------------------------------

    def solve_colors(self, iterations: int) -> None:
        """Set all colours to the least-squares optimum, by a direct solution."""
        self._lists()
        if iterations < 1:
            return
        steps = self._steps()
        weights, ids = self._weights()
        matrix = np.zeros((len(self._target), len(self._params)))
        np.put_along_axis(matrix, ids, weights, axis=1)
        weighted = matrix.T * self._importance
        normal = weighted @ matrix + _RIDGE * np.eye(len(self._params))
        residual = self._target - matrix @ self._params[:, COLOR:]
        colors = self._params[:, COLOR:] + np.linalg.solve(normal, weighted @ residual)
        exact = np.clip(colors, *COLOR_RANGE) @ steps.axes.T / steps.color_steps
        self._symbols[:, COLOR:] = np.copysign(np.floor(np.abs(exact) + 0.5), exact)
        self._params = _parameters(self._symbols, slice(None), steps)

    def removal_deltas(self) -> Floats:
        """Return by how much the squared error would rise without each site."""
        self._lists()
        if len(self._params) == 1:
            around, _ = self._surroundings(0)
            total = self._channels * np.sum(self._importance)
            return np.array([total - around.error(self._params[0])])
        out = np.zeros(len(self._params))
        for site in self.order:
            around, _ = self._surroundings(site)
            out[site] = around.error(None) - around.error(self._params[site])
        return out
