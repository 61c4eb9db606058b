"""The fitting loop of the authors' recipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Backend, FitSession, Propagation
from sadcodec.backends.open_session import OpenFitSession
from sadcodec.errors import OptionError
from sadcodec.fit.paper.density import halves, scores
from sadcodec.fit.paper.optimizer import SMOOTHING, Neighbours, PaperAdam, to_params
from sadcodec.fit.paper.schedule import ITERATIONS, plan, start_count
from sadcodec.fit.paper.start import luma_gradient, place
from sadcodec.fit.result import FitResult
from sadcodec.sites import LOG_TAU

__all__ = ["fit_paper"]

Floats = NDArray[np.float32]

LIST_INTERVAL = 8  # iterations between exact candidate lists, as between propagation passes
NEIGHBOUR_INTERVAL = 40  # and between looks for neighbours, where no site came or went
CUT = 12.0  # logits; the paper leaves out none of the K, and e^-12 is under a code value's share


def fit_paper(
    backend: Backend,
    target: Floats,
    sites: int,
    *,
    iterations: int = ITERATIONS,
    k: int = 8,
    weights: Floats | None = None,
    seed: int = 0,
    propagation: Propagation | None = None,
    splitting: bool = False,
    watch: Callable[[int, Floats], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """Fit a diagram of `sites` sites to an image by the authors' recipe.

    Parameters
    ----------
    backend : Backend
        With sessions that are `OpenFitSession`.
    target : float32 [H, W, C], display-referred 0..1
    sites : int, 1..H*W
    iterations : int, >= 1
        Density control keeps its place in a longer or shorter run.
    k : int
    weights : float32 [H, W], >= 0 with mean 1, optional
        Of the pixels' squared errors.
    seed : int
        Shifts the sequence of the start; besides, only propagation draws numbers.
    propagation : Propagation, optional
        Candidates from the paper's top-K map, renewed at its interval and whenever sites came or
        went; exact lists by default.
    splitting : bool
        Split sites as well; see `sadcodec.fit.paper.schedule.plan`.
    watch : callable, optional
        Called after each iteration with their number so far and the parameters, float32
        [N, 6 + C], which must not be changed.
    progress : callable, optional
        Called with the share done, 0..1.

    Returns
    -------
    FitResult

    Raises
    ------
    OptionError
        If the backend has no such sessions.
    """
    height, width, _ = target.shape
    sites = min(sites, width * height)
    steps = plan(start_count(width, height, sites), sites, iterations, splitting=splitting)
    adam = PaperAdam(place(target, steps.start, seed), width, height)
    session = open_session(
        backend.fit_session(target, adam.params, k, weights, propagation), backend.name
    )
    interval = LIST_INTERVAL if propagation is None else propagation.interval
    gradient = luma_gradient(target)
    stale = unknown = 0  # iterations until the next lists, and neighbours
    for i in range(iterations):
        if steps.splits.get(i):
            _split(session, adam, steps.splits[i], target, gradient)
            stale = unknown = 0
        if stale == 0:
            session.refresh(CUT)
            stale = interval
        stale -= 1
        session.gradient()
        if unknown == 0:  # after the gradient, of which the session knows who is near
            neighbours = Neighbours(session.neighbours())
            unknown = NEIGHBOUR_INTERVAL
        unknown -= 1
        derivatives = adam.gradient(session.gradients)
        weight = SMOOTHING * (0.1 + 0.9 * i / iterations)
        derivatives[LOG_TAU] = neighbours.smoothed(derivatives[LOG_TAU], weight)
        adam.step(derivatives)
        params = adam.params
        session.move(params)
        if steps.prunes.get(i):
            _prune(session, adam, steps.prunes[i])
            stale = unknown = 0
            params = adam.params
        if watch is not None:
            watch(i + 1, params)
        if progress is not None and i % 8 == 0:
            progress(i / iterations)
    _prune(session, adam, session.site_count - sites)  # a run too short to have pruned
    session.refresh()
    return FitResult(session.params, float(session.gradient()))


def open_session(session: FitSession, name: str) -> OpenFitSession:
    """Return a session as one for an optimizer of one's own.

    Raises
    ------
    OptionError
        If it is none.
    """
    if not isinstance(session, OpenFitSession):
        raise OptionError(f"the recipe paper runs on the backend cpu, not on {name}")
    return session


def _prune(session: OpenFitSession, adam: PaperAdam, count: int) -> None:
    """Remove the sites whose removal raises the squared error least."""
    if count > 0:
        order = np.argsort(session.removal_deltas(), kind="stable")
        kept = np.sort(order[count:])
        session.keep(kept.astype(np.int32))
        adam.keep(kept)


def _split(
    session: OpenFitSession,
    adam: PaperAdam,
    count: int,
    target: Floats,
    gradient: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Split the sites of the largest scores: one half takes its parent's place, one comes last."""
    moments = session.error_moments()
    chosen = np.sort(np.argsort(-scores(moments), kind="stable")[:count])
    children = halves(adam.values[:, chosen], moments[chosen], target, gradient)
    adam.replace(chosen, children[:, :count])
    adam.append(children[:, count:])
    session.append(to_params(children[:, count:]))
    session.move(adam.params)
