"""The fitting loop: one copy of the schedule and of density control for every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import SupportsFloat

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Backend, FitSession, Propagation, RateTerm, Start
from sadcodec.backends.initialize import initialize
from sadcodec.errors import OptionError
from sadcodec.fit.density import prune, split
from sadcodec.fit.paper.loop import fit_paper
from sadcodec.fit.result import FitResult
from sadcodec.fit.schedule import (
    BUDGET_AT,
    FULL_FROM,
    MIN_PIXELS_PER_SITE,
    NOISE_FINAL_RATE,
    NOISE_INTERVAL,
    NOISE_LISTS,
    NOISE_RATE,
    RATE_FROM,
    RATE_INTERVAL,
    SPLIT_END,
    FitOptions,
    decay,
    learning_rates,
    pruned_count,
)

__all__ = ["FitResult", "fine_tune", "fit", "iterate", "start_of"]

Floats = NDArray[np.float32]
Progress = Callable[[float], None]
Budget = Callable[[Floats, float], int]
Noise = Callable[[Floats], Floats]
Rate = Callable[[Floats, float], RateTerm]

BETA1, BETA2 = 0.9, 0.95
_PHASES = (0, 3, 1, 2)  # diagonal first, so that two iterations already see both rows and columns


def start_count(
    width: int, height: int, sites: int, options: FitOptions, area: float | None = None
) -> int:
    """Return the number of sites a fit starts from; `area` as in `fit`."""
    ratio = options.start_ratio
    if ratio == 0.0:
        each = (width * height if area is None else area) / sites
        ratio = float(np.interp(each, [8.0, 20.0, 32.0], [1.3, 2.0, options.dense_start]))
    return max(1, min(width * height, int(sites * ratio)))


def start_of(shape: tuple[int, ...], sites: int, options: FitOptions, area: float) -> Start:
    """Return where a fit to an image [H, W, C] starts; arguments as in `fit`."""
    height, width = shape[:2]
    power = float(np.interp(sites * 393216.0 / area, [20_000, 50_000], [1.0, 0.6]))
    count = start_count(width, height, sites, options, area)
    return Start(count, power, options.radius, options.seed)


def fit(
    backend: Backend,
    target: Floats,
    sites: int,
    options: FitOptions,
    *,
    k: int = 8,
    weights: Floats | None = None,
    density: Floats | None = None,
    area: float | None = None,
    budget: Budget | None = None,
    rate: Rate | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a diagram of `sites` sites to an image.

    Parameters
    ----------
    backend : Backend
    target : float32 [H, W, C], display-referred 0..1
    sites : int, 1..H*W
    options : FitOptions
    k : int
    weights : float32 [H, W], >= 0 with mean 1, optional
        Of the pixels' squared errors, which every mean here takes in; 1 by default.
    density : float32 [H, W], >= 0, optional
        Factor on the density of the first sites; 1 by default. The recipe paper has its own places.
    area : float, px, optional
        What the sites are for, of a picture that needs them in parts only: their spacing follows
        from it. All pixels by default.
    budget : callable, optional
        Asked once, half way, with the parameters and the mean squared error: the number of sites
        to end with, at most `sites`. This is how a rate target becomes a site count.
    rate : callable, optional
        Asked now and then from `RATE_FROM` on, with the parameters and the mean squared error: what
        the sites cost, which the fit then lowers together with the error.
    progress : callable, optional
        Called with the share done, 0..1.

    Returns
    -------
    FitResult

    Raises
    ------
    OptionError
        If the recipe is the paper's, and there is a budget or a rate, or the backend cannot run it.
    """
    if options.recipe == "paper":
        if budget is not None or rate is not None:
            raise OptionError("the recipe paper fits a given number of sites, for the error alone")
        return fit_paper(
            backend,
            target,
            sites,
            iterations=options.iterations,
            k=k,
            weights=weights,
            seed=options.seed,
            propagation=options.propagation,
            progress=progress,
        )
    height, width, _ = target.shape
    area = width * height if area is None else area
    first = start_of(target.shape, sites, options, area)
    placing: Start | Floats = first
    if density is not None:
        placing = initialize(
            *(target, first.count),
            power=first.power,
            radius=first.radius,
            seed=first.seed,
            factor=density,
        )
    session = backend.fit_session(target, placing, k, weights, options.propagation)
    return iterate(
        session, sites, options, target.shape, area, budget=budget, rate=rate, progress=progress
    )


def iterate(
    session: FitSession,
    sites: int,
    options: FitOptions,
    shape: tuple[int, ...],
    area: float,
    *,
    budget: Budget | None = None,
    rate: Rate | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Run the schedule on a session that has its first sites.

    Parameters
    ----------
    session : FitSession
    sites : int
        How many to end with; pruned or split from as many as there are.
    options : FitOptions
        Of the default recipe.
    shape : (H, W, C)
    area, budget, rate, progress
        As in `fit`.

    Returns
    -------
    FitResult
    """
    height, width, channels = shape
    start = session.site_count
    crowded = sites * (width * height) / area
    rates = learning_rates(width, height, crowded, channels, radius=options.radius)
    rates *= np.float32(options.rate_scale)
    stale = unpriced = 0  # iterations until the next lists, and the next rate
    losses: list[SupportsFloat] = []  # of the last iterations; asking for one would wait for it
    for i in range(options.iterations):
        done = i / options.iterations
        if i and i % options.density_interval == 0:
            if budget is not None and done >= BUDGET_AT:
                sites = min(sites, max(1, budget(session.params, recent_mean(losses))))
                budget = None
            if control_density(session, options, start, sites, done):
                stale = unpriced = 0
        if stale == 0:
            session.refresh()
            stale = options.refresh_interval
        stale -= 1
        sampled = options.subsample and done < FULL_FROM
        loss = session.gradient(_phase(i, shape, area, session, sampled=sampled))
        losses = [loss] if i % 16 == 0 else [*losses, loss]
        if rate is not None and done >= RATE_FROM:
            if unpriced == 0:
                session.set_rate(rate(session.params, recent_mean(losses)))
                unpriced = RATE_INTERVAL
            unpriced -= 1
        session.adam(rates * np.float32(decay(done)), BETA1, BETA2)
        if progress is not None and i % 8 == 0:
            progress(done)
    prune(session, sites)
    session.refresh()
    return FitResult(session.params, float(session.gradient(None)))


def recent_mean(losses: list[SupportsFloat]) -> float:
    """Return a mean of the losses in which each counts for an eighth of what follows it."""
    mean = float(losses[0])
    for loss in losses[1:]:
        mean += (float(loss) - mean) / 8
    return mean


def control_density(
    session: FitSession, options: FitOptions, start: int, sites: int, done: float
) -> bool:
    """Take one density step of a fit that began with `start` sites; return whether any changed.

    A start above the budget shrinks along the schedule of `pruned_count`, one below it grows by
    splitting; with both, the split sites compete for the places that pruning leaves.
    """
    before = session.site_count
    most = pruned_count(start, sites, done) if start > sites else sites
    divided = 0
    if options.split_share > 0.0 and done < SPLIT_END:
        divided = int(options.split_share * before) + 1
        if start <= sites:
            divided = min(divided, sites - before)
        split(session, divided)
    prune(session, most)
    return divided > 0 or session.site_count != before


def _phase(
    i: int, shape: tuple[int, ...], area: float, session: FitSession, *, sampled: bool
) -> int | None:
    """Pixels of iteration i: a phase where sites are large enough to be seen by a quarter."""
    large = area > MIN_PIXELS_PER_SITE * session.site_count
    return _PHASES[i % 4] if sampled and large and min(shape[:2]) >= 2 else None


def fine_tune(
    backend: Backend,
    target: Floats,
    params: Floats,
    iterations: int,
    *,
    noise: Noise,
    rate: Rate | None = None,
    radius: bool = False,
    k: int = 8,
    weights: Floats | None = None,
    area: float | None = None,
    seed: int = 0,
    propagation: Propagation | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Prepare a diagram for rounding: go on fitting under uniform noise of the quantizer's size.

    The optimum under noise is one whose neighbourhood is flat, which rounding then costs less.

    Parameters
    ----------
    backend, target, rate, k, weights, area, progress
        As in `fit`.
    params : float32 [N, 6 + C]
    iterations : int
    noise : callable
        Half-widths of the noise, float32 [N, 6 + C], for given parameters (columns p and q: along
        and across the vector (p, q)).
    radius : bool
        Fit the radius as well.
    seed : int
        Of the noise.
    propagation : Propagation, optional
        As in `FitOptions`.

    Returns
    -------
    FitResult
        Its error is without noise.
    """
    height, width, channels = target.shape
    area = width * height if area is None else area
    session = backend.fit_session(target, params, k, weights, propagation)
    crowded = len(params) * (width * height) / area
    rates = learning_rates(width, height, crowded, channels, radius=radius)
    interval = NOISE_LISTS if propagation is None else propagation.interval
    losses: list[SupportsFloat] = []
    for i in range(iterations):
        done = i / iterations
        if i % interval == 0:
            session.refresh(8.0)
        if i % NOISE_INTERVAL == 0:
            widths = noise(session.params)
        loss = session.gradient(
            _phase(i, target.shape, area, session, sampled=done < FULL_FROM), widths, seed + i
        )
        losses = [loss] if i % 16 == 0 else [*losses, loss]
        if rate is not None and i % RATE_INTERVAL == 0:
            session.set_rate(rate(session.params, recent_mean(losses)))
        share = NOISE_RATE * (NOISE_FINAL_RATE / NOISE_RATE) ** done
        session.adam(rates * np.float32(share), BETA1, BETA2)
        if progress is not None and i % 8 == 0:
            progress(done)
    session.refresh()
    return FitResult(session.params, float(session.gradient(None)))
