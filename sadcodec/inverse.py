"""Diagrams fitted to any loss of their picture: inverse problems, perceptual losses.

Near a picture u, a loss L with slope g = dL/du and curvature c is L(u) + g (v - u) + c/2 |v - u|^2:
but for a constant, the squared error of v against u - g / c. So every iteration has a target of its
own, and all that a fit to an image does holds: schedule, rates, bounds, and the removal deltas by
which it prunes. Its gradients are the loss's own, times a constant, which Adam does not see.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_CUT, DEFAULT_K, Backend, RateTerm, Start
from sadcodec.backends.open_session import OpenFitSession
from sadcodec.errors import OptionError
from sadcodec.fit.loop import FitResult, iterate, start_of
from sadcodec.fit.schedule import FitOptions
from sadcodec.losses import Loss

__all__ = ["LossSession", "optimize"]

Floats = NDArray[np.float32]


def optimize(
    backend: Backend,
    loss: Loss,
    guess: Floats,
    sites: int,
    options: FitOptions | None = None,
    *,
    k: int = DEFAULT_K,
    curvature: float | None = None,
    params: Floats | None = None,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """Fit a diagram so that a loss of its picture becomes small.

    Parameters
    ----------
    backend : Backend
        With sessions that are `OpenFitSession`: the CPU or the reference.
    loss : callable
        Takes a picture, float32 [H, W, C], not clamped, and returns the loss and its derivatives
        with respect to it, float [H, W, C]; `sadcodec.losses` has some. It must keep neither.
    guess : float32 [H, W, C], display-referred
        A picture whose edges tell where sites are wanted, and with which colours they start; the
        loss does not see it.
    sites : int, 1..H*W
        How many to end with: few of them are the regularization.
    options : FitOptions, optional
        Of the default recipe; 500 iterations by default.
    k : int
        Sites that a pixel blends.
    curvature : float, > 0, optional
        How much the loss bends, as a factor on half the squared change of the picture; that of the
        mean squared error, 2 / (H W C), by default. Only which sites are pruned or split depends on
        it. Of `sadcodec.losses.measurement`: 2 |A|^2 / data.size.
    params : float32 [N, 6 + C], optional
        Sites to start from, in place of those placed on the guess.
    progress : callable, optional
        Called with the share done, 0..1.

    Returns
    -------
    FitResult
        Its `mse` is the loss.

    Raises
    ------
    OptionError
        If an argument is out of range, the recipe is the paper's, the backend has no such sessions,
        or the loss returns derivatives of another shape or such that are not finite.
    SiteError
        If the parameters are not a valid diagram.
    """
    options = FitOptions() if options is None else options
    if options.recipe != "default":
        raise OptionError("a loss of one's own is fitted by the default recipe alone")
    guess = np.ascontiguousarray(guess, np.float32)
    if guess.ndim != 3 or guess.size == 0 or not np.isfinite(guess).all():
        raise OptionError("the guess must be a picture [H, W, C] of finite numbers")
    height, width, _ = guess.shape
    if not 1 <= sites <= height * width:
        raise OptionError(f"there can be 1 to {height * width} sites, not {sites}")
    if curvature is not None and not curvature > 0.0:
        raise OptionError(f"the curvature must be positive, not {curvature}")
    area = float(height * width)
    start: Floats | Start = start_of(guess.shape, sites, options, area)
    if params is not None:
        start = np.ascontiguousarray(params, np.float32)
    session = backend.fit_session(guess, start, k, None, options.propagation)
    if not isinstance(session, OpenFitSession):
        raise OptionError(f"a loss of one's own needs the backend cpu, not {backend.name}")
    bent = 2.0 / guess.size if curvature is None else curvature
    return iterate(
        LossSession(session, loss, bent), sites, options, guess.shape, area, progress=progress
    )


class LossSession:
    """A `FitSession` with a loss of the picture in place of the squared error.

    Parameters
    ----------
    session : OpenFitSession
        What works, and what is changed.
    loss, curvature
        As for `optimize`.
    """

    def __init__(self, session: OpenFitSession, loss: Loss, curvature: float) -> None:
        self._session = session
        self._loss = loss
        self._step = 1.0 / curvature

    def gradient(
        self, phase: int | None = None, noise: Floats | None = None, seed: int = 0
    ) -> float:
        """Compute the loss, of all pixels, and its gradients by those of a phase.

        The loss is that of the picture without the noise.
        """
        picture = self._session.picture()
        value, slope = self._loss(picture)
        slope = np.asarray(slope)
        if slope.shape != picture.shape or not np.isfinite(slope).all():
            raise OptionError(
                f"a loss must return finite derivatives of shape {list(picture.shape)}"
            )
        self._session.set_target(picture - self._step * slope)
        self._session.gradient(phase, noise, seed)
        return float(value)

    # All else is the session's: errors and removal deltas are those of the last target.

    def computing(self) -> AbstractContextManager[Any]:
        """Return a context for work on arrays of the session."""
        return self._session.computing()

    @property
    def params(self) -> Floats:
        """float32 [N, 6 + C]: a copy of the current parameters."""
        return self._session.params

    @property
    def site_count(self) -> int:
        """Number of sites."""
        return self._session.site_count

    @property
    def gradients(self) -> Floats:
        """float32 [N, 6 + C]: the loss's derivatives times 2 / (H W C curvature)."""
        return self._session.gradients

    def refresh(self, cut: float = DEFAULT_CUT) -> None:
        """Rebuild the candidate lists."""
        self._session.refresh(cut)

    def set_rate(self, rate: RateTerm | None) -> None:
        """Say what the sites cost."""
        self._session.set_rate(rate)

    def adam(self, rates: Floats, beta1: float, beta2: float, epsilon: float = 1e-8) -> None:
        """Take one Adam step."""
        self._session.adam(rates, beta1, beta2, epsilon)

    def statistics(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mass and responsibility-weighted squared error of each site."""
        return self._session.statistics()

    def removal_deltas(self) -> NDArray[Any]:
        """Return by how much the squared error would rise without each site."""
        return self._session.removal_deltas()

    def rows(self, index: NDArray[np.integer[Any]]) -> Floats:
        """Return the parameters of some sites."""
        return self._session.rows(index)

    def keep(self, index: NDArray[np.integer[Any]]) -> None:
        """Keep these sites."""
        self._session.keep(index)

    def append(self, params: Floats) -> None:
        """Add sites."""
        self._session.append(params)
