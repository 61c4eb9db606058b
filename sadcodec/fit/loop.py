"""The fitting loop: one copy of the schedule and of density control for every backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Backend, FitSession
from sadcodec.fit.initialize import initialize
from sadcodec.fit.schedule import (
    DENSITY_INTERVAL,
    FULL_FROM,
    MIN_PIXELS_PER_SITE,
    FitOptions,
    decay,
    learning_rates,
    pruned_count,
)

__all__ = ["FitResult", "fit", "prune"]

Floats = NDArray[np.float32]
Progress = Callable[[float], None]

BETA1, BETA2 = 0.9, 0.95


@dataclass
class FitResult:
    """Fitted parameters float32 [N, 6 + C] and their mean squared error over all pixels."""

    params: Floats
    mse: float


def prune(session: FitSession, count: int) -> None:
    """Drop the sites whose removal raises the squared error least, down to `count`."""
    if session.site_count <= count:
        return
    order = np.argsort(session.removal_deltas(), kind="stable")
    session.keep(np.sort(order[session.site_count - count :]).astype(np.int32))


def start_count(width: int, height: int, sites: int, options: FitOptions) -> int:
    """Return the number of sites a fit starts from."""
    ratio = options.start_ratio
    if ratio == 0.0:
        area = width * height / sites
        ratio = float(np.clip(1.5 + 0.5 * (area - 4.0) / 16.0, 1.5, 2.0))
    return max(1, min(width * height, int(sites * ratio)))


def fit(
    backend: Backend,
    target: Floats,
    sites: int,
    options: FitOptions,
    *,
    k: int = 8,
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
    progress : callable, optional
        Called with the share done, 0..1.

    Returns
    -------
    FitResult
    """
    height, width, channels = target.shape
    start = start_count(width, height, sites, options)
    dense = sites * 393216.0 / (width * height)
    power = float(np.interp(dense, [20_000, 50_000], [1.0, 0.6]))
    params = initialize(target, start, power=power, radius=options.radius, seed=options.seed)
    session = backend.fit_session(target, params, k)
    rates = learning_rates(width, height, sites, channels, radius=options.radius)
    rates *= options.rate_scale
    phases = (0, 3, 1, 2)
    stale = 0
    for i in range(options.iterations):
        done = i / options.iterations
        if i and i % DENSITY_INTERVAL == 0:
            count = pruned_count(start, sites, done)
            if session.site_count > count:
                prune(session, count)
                stale = 0
        if stale == 0:
            session.refresh()
            stale = options.list_interval
        stale -= 1
        sampled = (
            options.subsample
            and done < FULL_FROM
            and width * height / session.site_count > MIN_PIXELS_PER_SITE
            and min(width, height) >= 2
        )
        session.gradient(phases[i % 4] if sampled else None)
        session.adam(rates * decay(done), BETA1, BETA2)
        if progress is not None and i % 8 == 0:
            progress(done)
    prune(session, sites)
    session.refresh()
    mse = session.gradient(None)
    return FitResult(session.params, mse)
