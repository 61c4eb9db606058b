"""Fitting by the reference: a session in float64, to compare others with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import (
    DEFAULT_CUT,
    DEFAULT_K,
    PHASES,
    RATE_ROUNDING,
    RATE_SHORTEST,
    RateTerm,
)
from sadcodec.backends.differentiable import checked_picture
from sadcodec.backends.reference import blends, check_k, gradients, pull_back
from sadcodec.backends.reference_sums import (
    error_moments,
    neighbours,
    removal_deltas,
    statistics,
)
from sadcodec.backends.weights import checked_weights
from sadcodec.errors import OptionError
from sadcodec.sites import (
    COLOR,
    COLOR_RANGE,
    LOG_TAU,
    LOG_TAU_RANGE,
    MAX_LOG_ANISOTROPY,
    RADIUS,
    RADIUS_RANGE,
    P,
    Q,
    Sites,
    X,
    Y,
)

__all__ = ["ReferenceFitSession", "rate_gradient"]

Floats = NDArray[np.float64]


def rate_gradient(params: Floats, rate: RateTerm) -> tuple[float, Floats]:
    """Return what the sites cost, in bits but for a constant, and its derivatives.

    Parameters
    ----------
    params : float64 [N, 6 + C]
    rate : RateTerm
        Without its price.

    Returns
    -------
    float
    float64 [N, 6 + C]
    """
    axes = rate.axes.astype(np.float64)
    values = params.copy()
    values[:, P] = np.sqrt(params[:, P] ** 2 + params[:, Q] ** 2 + RATE_SHORTEST**2)
    values[:, COLOR:] = params[:, COLOR:] @ axes.T
    coded = rate.scale > 0.0
    coded[:, [X, Y, Q]] = False
    scale = np.where(coded, rate.scale, 1.0).astype(np.float64)
    u = np.where(coded, (values - rate.prediction) / scale, 0.0)
    root = np.sqrt(u * u + RATE_ROUNDING**2)
    slopes = u / (scale * root) / np.log(2.0)
    out = slopes.copy()
    directions = 1.0 + np.sinh(values[:, P]) / rate.turn
    along = slopes[:, P] + np.cosh(values[:, P]) / rate.turn / directions / np.log(2.0)
    out[:, P] = along * params[:, P] / values[:, P]
    out[:, Q] = along * params[:, Q] / values[:, P]
    out[:, COLOR:] = slopes[:, COLOR:] @ axes
    bits = np.sum(root, where=coded) + np.sum(np.log(directions))
    return float(bits / np.log(2.0)), out


def _uniform(seed: int, count: int) -> Floats:
    """Return `count` numbers in [-1, 1): splitmix64 finalized (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
        z += np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(32)).astype(np.uint32).view(np.int32) / 2.0**31


def _disturbed(params: Floats, noise: NDArray[np.float32], seed: int) -> Floats:
    delta = noise * _uniform(seed, params.size).reshape(params.shape)
    out = params + delta
    p, q = params[:, P], params[:, Q]
    a = np.hypot(p, q)
    turned = a > 1e-6  # a shorter vector has no direction; the axes serve
    safe = np.where(turned, a, 1.0)
    ux, uy = np.where(turned, p / safe, 1.0), np.where(turned, q / safe, 0.0)
    out[:, P] = p + ux * delta[:, P] - uy * delta[:, Q]
    out[:, Q] = q + uy * delta[:, P] + ux * delta[:, Q]
    return out


class ReferenceFitSession:
    """`OpenFitSession` over the functions of the reference; float64, exact top K every time."""

    def __init__(
        self,
        target: NDArray[np.float32] | tuple[int, int, int],
        params: NDArray[np.float32],
        k: int = DEFAULT_K,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        check_k(k)
        sites = Sites(np.ascontiguousarray(params))
        shape = target if isinstance(target, tuple) else target.shape
        if len(shape) != 3 or shape[2] != sites.channels or 0 in shape:
            raise OptionError(
                f"a target of shape {list(shape)} does not fit sites of {sites.channels} channels"
            )
        self._shape = shape
        self._given = None if isinstance(target, tuple) else target.astype(np.float64)
        self._weights: Floats | None = None
        if weights is not None:
            self._weights = checked_weights(weights, *shape[:2]).astype(np.float64)
        self._k = k
        self._params = sites.params.astype(np.float64)
        self._gradients = np.zeros_like(self._params)
        self._moments = np.zeros((2, *self._params.shape))
        self._rate: RateTerm | None = None
        self._steps = 0

    @property
    def _target(self) -> Floats:
        if self._given is None:
            raise OptionError("the session has no target")
        return self._given

    def computing(self) -> AbstractContextManager[None]:
        """Return a context for work on arrays of the session: they are NumPy's."""
        return nullcontext()

    @property
    def params(self) -> NDArray[np.float32]:
        """float32 [N, 6 + C]: the parameters, rounded."""
        return self._params.astype(np.float32)

    @property
    def site_count(self) -> int:
        """Number of sites."""
        return len(self._params)

    @property
    def gradients(self) -> NDArray[np.float32]:
        """float32 [N, 6 + C]: the last gradients, rounded."""
        return self._gradients.astype(np.float32)

    def refresh(self, cut: float = DEFAULT_CUT) -> None:
        """Do nothing: every evaluation looks at all sites."""

    def gradient(
        self, phase: int | None = None, noise: NDArray[np.float32] | None = None, seed: int = 0
    ) -> float:
        """Compute loss and gradients over all pixels or one phase of them."""
        pixels = None
        if phase is not None:
            if not 0 <= phase < len(PHASES):
                raise OptionError(f"phase must be None or 0..{len(PHASES) - 1}, not {phase}")
            row, column = PHASES[phase]
            height, width, _ = self._target.shape
            pixels = np.arange(height * width).reshape(height, width)[row::2, column::2].ravel()
        at = self._params if noise is None else _disturbed(self._params, noise, seed)
        loss, self._gradients = gradients(at, self._target, self._k, pixels, self._weights)
        return loss

    def set_rate(self, rate: RateTerm | None) -> None:
        """Say what the sites cost."""
        if rate is not None:
            rate.check(*self._params.shape)
        self._rate = rate

    def adam(
        self,
        rates: NDArray[np.float32],
        beta1: float,
        beta2: float,
        epsilon: float = 1e-8,
    ) -> None:
        """Take one Adam step and clamp."""
        self._steps += 1
        g = self._gradients
        if self._rate is not None:
            g = g + self._rate.price * rate_gradient(self._params, self._rate)[1]
        first, second = self._moments
        first[:] = beta1 * first + (1 - beta1) * g
        second[:] = beta2 * second + (1 - beta2) * g * g
        mean = first / (1 - beta1**self._steps)
        deviation = np.sqrt(second / (1 - beta2**self._steps))
        self._params -= np.asarray(rates, np.float64) * mean / (deviation + epsilon)
        self._clamp()

    def _clamp(self) -> None:
        height, width, _ = self._shape
        for columns, (low, high) in (
            (X, (0.0, float(width))),
            (Y, (0.0, float(height))),
            (LOG_TAU, LOG_TAU_RANGE),
            (RADIUS, RADIUS_RANGE),
            (slice(COLOR, None), COLOR_RANGE),
        ):
            self._params[:, columns] = np.clip(self._params[:, columns], low, high)
        length = np.hypot(self._params[:, P], self._params[:, Q])
        scale = MAX_LOG_ANISOTROPY / np.maximum(length, MAX_LOG_ANISOTROPY)
        self._params[:, P : Q + 1] *= scale[:, None]

    def statistics(self) -> tuple[Floats, Floats]:
        """Return mass and responsibility-weighted squared error, float64 [N] each."""
        return statistics(self._params, self._target, self._k, self._weights)

    def removal_deltas(self) -> Floats:
        """Return the rise of the squared error without each site, float64 [N]."""
        return removal_deltas(self._params, self._target, self._k, self._weights)

    def move(self, params: NDArray[np.float32]) -> None:
        """Set all parameters."""
        moved = Sites(np.ascontiguousarray(params)).params
        if moved.shape != self._params.shape:
            raise OptionError(f"parameters of shape {list(moved.shape)} are not those of the sites")
        self._params = moved.astype(np.float64)

    def picture(self) -> NDArray[np.float32]:
        """Return the blend of every pixel, rounded."""
        height, width, channels = self._shape
        pixels = np.arange(height * width)
        values = [blend.value for blend in blends(self._params, width, self._k, pixels)]
        return np.concatenate(values).reshape(height, width, channels).astype(np.float32)

    def pull_back(self, dl_dpicture: NDArray[Any]) -> None:
        """Compute the gradients of another loss."""
        cotangent = checked_picture(dl_dpicture, self._shape).astype(np.float64)
        self._gradients = pull_back(self._params, cotangent, self._k)

    def set_target(self, target: NDArray[Any]) -> None:
        """Replace the target."""
        self._given = checked_picture(target, self._shape).astype(np.float64)

    def error_moments(self) -> Floats:
        """Return the moments of each site's error, float64 [N, 7]."""
        return error_moments(self._params, self._target, self._k, self._weights)

    def neighbours(self) -> NDArray[np.int32]:
        """Return the sites next to each site, int32 [N, K]."""
        height, width, _ = self._shape
        return neighbours(self._params, width, height, self._k)

    def rows(self, index: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the parameters of some sites, rounded."""
        return self._params[index].astype(np.float32)

    def keep(self, index: NDArray[np.integer[Any]]) -> None:
        """Keep these sites, in this order."""
        self._params = self._params[index]
        self._moments = self._moments[:, index]
        self._gradients = np.zeros_like(self._params)
        self._rate = None

    def append(self, params: NDArray[np.float32]) -> None:
        """Add sites at the end."""
        added = Sites(np.ascontiguousarray(params)).params.astype(np.float64)
        if added.shape[1] != self._params.shape[1]:
            raise OptionError("appended sites must have as many channels as the others")
        self._params = np.concatenate([self._params, added])
        self._moments = np.concatenate([self._moments, np.zeros((2, *added.shape))], axis=1)
        self._gradients = np.zeros_like(self._params)
        self._rate = None
