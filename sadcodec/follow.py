"""One frame of a sequence from the one before: sites move on, few come and go, many stay.

The sites of the last frame are fitted to the next one, rounded with the steps of their key frame,
and refined against what their changes cost. A site that gains less by its changes than they cost
stays as it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.bitstream import Frame, from_table, to_table
from sadcodec.fit.density import halves
from sadcodec.fit.loop import fine_tune
from sadcodec.job import Job
from sadcodec.motion import motion_at
from sadcodec.objective import Objective
from sadcodec.quantize import color_axes, color_steps, dequantize, quantize
from sadcodec.refine import noise_widths, set_table
from sadcodec.sites import Sites, X, Y

__all__ = ["follow"]

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

# Bits of a difference d of a symbol, about what they turn out to be; and of a site's own flag.
_ZERO, _ONE, _OCTAVE = 0.8, 2.6, 1.6
_FLAG = 1.0
_UNKEPT = 8.0  # of the first symbol of a site that changes
_REACH = 24  # largest difference that the descent tells apart

_GONE = 10.0  # bits that a site has to be worth to stay
_CROWDED = 3.0  # mean errors of a site at which another is put beside it
_MOST_ADDED = 0.1  # of the sites, in one frame


def _bits(difference: NDArray[Any]) -> NDArray[np.float64]:
    magnitude = np.abs(difference)
    return np.where(magnitude == 0, _ZERO, _ONE + _OCTAVE * np.log2(np.maximum(magnitude, 1)))


def _table() -> Floats:
    """Costs of differences: of sites that were kept so far, and of the others."""
    changed = _bits(np.arange(-_REACH, _REACH + 1))
    kept = np.where(np.arange(-_REACH, _REACH + 1) == 0, 0.0, changed + _UNKEPT)
    return np.stack([kept, changed]).astype(np.float32)


class _Next:
    """The sites of the next frame while they are looked for; row j goes back to `source[j]`."""

    def __init__(self, job: Job, before: Frame, price: float, objective: Objective) -> None:
        self.job, self.header, self.price = job, before.header, price
        self.old = to_table(before.symbols)
        self.steps = color_steps(
            before.symbols, self.header.width, self.header.height, self.header.quantizer
        )
        classes = before.symbols.classes
        assert classes is not None  # noqa: S101  (of every frame)
        self.classes, self.objective = classes, objective
        self.source = np.arange(len(self.old))

    @property
    def base(self) -> Ints:
        return self.old[self.source]

    @property
    def added(self) -> NDArray[np.bool_]:
        return np.r_[False, self.source[1:] == self.source[:-1]]

    def params(self, rows: Ints) -> Floats:
        h = self.header
        symbols = from_table(rows, radius=h.quantizer.step_radius > 0)
        symbols = replace(symbols, classes=self.classes[self.source])
        return dequantize(symbols, h.width, h.height, h.quantizer).params

    def rounded(self, params: Floats) -> Ints:
        """Round sites with the colour steps that they have since their key frame."""
        h, sites = self.header, Sites(params)
        symbols = quantize(sites, h.width, h.height, h.quantizer, self.job.backend.threads)
        values = sites.color.astype(np.float64) @ color_axes(h.channels).T
        color = np.floor(values / self.steps[self.source] + 0.5).astype(np.int32)
        return to_table(replace(symbols, color=color))

    def tuned(self, params: Floats, seed: int) -> Floats:
        h, job = self.header, self.job
        return fine_tune(
            job.backend,
            self.objective.target,
            params,
            job.effort.tune_iterations,
            noise=lambda p: noise_widths(p, h.width, h.height, h.quantizer, job.backend.threads),
            radius=h.quantizer.step_radius > 0,
            k=h.k,
            weights=self.objective.weights,
            area=job.area,
            seed=seed,
        ).params

    def statistics(self, params: Floats, *, deltas: bool = False) -> list[NDArray[Any]]:
        """Mass and error of every site, and its removal delta; on the host."""
        session = self.job.backend.fit_session(
            self.objective.target, params, self.header.k, self.objective.weights
        )
        session.refresh()
        found = [*session.statistics(), *([session.removal_deltas()] if deltas else [])]
        return [array.get() if hasattr(array, "get") else array for array in found]

    def come_and_go(self, params: Floats, share: float) -> Floats:
        """Drop sites that bring next to nothing, and split those with the largest errors."""
        mass, error, delta = self.statistics(params, deltas=True)
        gone = delta < _GONE * self.price
        gone[np.argmax(delta)] = False
        crowded = (error > _CROWDED * share) & ~gone
        most = max(1, int(_MOST_ADDED * len(params)))
        if crowded.sum() > most:
            crowded[np.argsort(np.where(crowded, -error, 0.0), kind="stable")[most:]] = False
        index = np.repeat(np.arange(len(params)), np.where(gone, 0, np.where(crowded, 2, 1)))
        out = params[index].copy()
        out[crowded[index]] = halves(params[crowded], mass[crowded])
        out[:, X] = np.clip(out[:, X], 0, self.header.width)
        out[:, Y] = np.clip(out[:, Y], 0, self.header.height)
        self.source = self.source[index]
        return out

    def kept(self, rows: Ints) -> Ints:
        """Take back the changes of sites that are not worth their bits."""
        base, fixed = self.base, ~self.added
        worth = self.price * np.where(
            (rows == base).all(axis=1), 0.0, _bits(rows - base).sum(axis=1) + _FLAG
        )
        changed = self.statistics(self.params(rows))[1]
        mixed = np.where(fixed[:, None], base, rows)
        keep = fixed
        for _ in range(3):
            keep = keep & (self.statistics(self.params(mixed))[1] - changed <= worth)
            after = np.where(keep[:, None], base, rows)
            if np.array_equal(after, mixed):
                break
            mixed = after
        return mixed

    def refined(self, rows: Ints) -> Ints:
        """Descend against the costs of changes, then once more decide which are worth them."""
        refiner = self.job.backend.refiner(
            self.objective.target, self.header.k, self.objective.weights
        )
        for _ in range(self.job.effort.sweeps):
            self._place(refiner, rows)
            refiner.sweep(self.price, True)
            rows = refiner.symbols
        rows = self.kept(rows)
        self._place(refiner, rows)
        refiner.sweep(self.price, False)
        return refiner.symbols

    def _place(self, refiner: Any, rows: Ints) -> None:
        base, quantizer = self.base, self.header.quantizer
        set_table(refiner, rows, quantizer, self.steps[self.source])
        klass = (self.added | (rows != base).any(axis=1)).astype(np.uint8)
        columns = [2, 3, *([5] if quantizer.step_radius else []), *range(6, rows.shape[1])]
        for column in columns:
            refiner.set_cost(column, np.ascontiguousarray(base[:, column]), klass, _table())


def follow(job: Job, before: Frame, price: float, share: float) -> tuple[Ints, Ints]:
    """Return the sites of a frame, made from those of the frame before.

    Parameters
    ----------
    job : Job
        Of the frame.
    before : Frame
    price : float
        Squared error, in 0..1 units summed over pixels and channels, that is worth one bit.
    share : float
        Of it, what a site leaves in the key frame as a mean.

    Returns
    -------
    rows : int32 [M, 6 + C]
    source : int32 [M]
        As `Frame.delta` takes them.
    """
    h = before.header
    params = dequantize(before.symbols, h.width, h.height, h.quantizer).params
    new = _Next(job, before, price, job.objective(params))
    drawn = job.backend.render(Sites(params), h.width, h.height, h.k)
    moved = params.copy()
    moved[:, [X, Y]] += motion_at(drawn, job.target, params[:, [X, Y]])
    moved[:, X] = np.clip(moved[:, X], 0, h.width)
    moved[:, Y] = np.clip(moved[:, Y], 0, h.height)
    fitted = new.come_and_go(new.tuned(moved, job.seed), share)
    rows = new.kept(new.rounded(new.tuned(fitted, job.seed + 1)))
    return new.refined(rows), new.source.astype(np.int32)
