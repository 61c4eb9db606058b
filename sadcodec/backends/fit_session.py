"""What a backend fits with: where its sites start, what they cost, and the steps of a fit."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import OptionError
from sadcodec.sites import GEOMETRY_COLUMNS

__all__ = [
    "DEFAULT_CUT",
    "LOSSES",
    "PHASES",
    "RATE_ROUNDING",
    "RATE_SHORTEST",
    "STATISTICS_CUT",
    "FitSession",
    "RateTerm",
    "Start",
]

# While fitting; a site this far under a pixel's largest logit weighs less than e^-7 = 0.0009 there.
DEFAULT_CUT = 7.0

# Phase f samples the pixels (row j, column i) with (j mod 2, i mod 2) = PHASES[f]: one of every 2 x
# 2.
PHASES: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 0), (1, 1))

# Losses that a session remembers.
LOSSES = 64

# See `RateTerm`; kernels/sad_steps.h has both.
RATE_ROUNDING, RATE_SHORTEST = 0.4, 0.1

# `statistics` and `removal_deltas` take a site this far under a pixel's largest logit as absent
# there: e^-40 is under the resolution of a float32 sum even relative to a weight of 1e-10.
STATISTICS_CUT = 40.0


@dataclass(frozen=True)
class Start:
    """Where the sites of a fit start, for a backend to place: see `sadcodec.backends.initialize`.

    Attributes
    ----------
    count : int, 1..H*W
        Number of sites.
    power : float, > 0
        Exponent of the density; smaller is more even.
    radius : bool
        Give sites a radius of half their spacing; 0 otherwise.
    seed : int
        Shifts the sites along the curve that they are placed on.
    """

    count: int
    power: float = 1.0
    radius: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class RateTerm:
    """What the sites cost in a file, as a smooth function for a fit to weigh against its loss.

    A number that differs by r from its prediction costs sqrt((r / scale)^2 + `RATE_ROUNDING`^2) /
    ln 2 bits and a constant, as of a Laplace distribution with its corner rounded off. The columns
    are those of the parameters, except that column p has sqrt(|(p, q)|^2 + `RATE_SHORTEST`^2), q
    nothing, and the colours are on `axes`. Positions have no bits; an angle has log2(1 + sinh a /
    turn), with a as in column p.

    Attributes
    ----------
    prediction : float32 [N, 6 + C], in the columns' units
    scale : float32 [N, 6 + C], >= 0, in the columns' units
        Mean magnitude of what is coded, r; 0: no bits.
    axes : float32 [C, C]
        Row j is colour axis j in image channels; the rows are orthonormal.
    turn : float, > 0
        Step of the angle over pi: about 1 / turn sinh a directions are told apart.
    price : float, >= 0
        Mean squared error that is worth one bit.
    """

    prediction: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    turn: float
    price: float

    def check(self, sites: int, columns: int) -> None:
        """Check the shapes against a diagram's.

        Raises
        ------
        OptionError
            If one does not fit, or turn or price are out of range.
        """
        wanted = [(sites, columns)] * 2 + [(columns - GEOMETRY_COLUMNS,) * 2]
        shapes = [array.shape for array in (self.prediction, self.scale, self.axes)]
        if shapes != wanted:
            raise OptionError(f"a rate term of shapes {shapes} does not fit {sites} sites")
        if not (self.turn > 0.0 and self.price >= 0.0):
            raise OptionError(f"no rate has turn {self.turn} and price {self.price}")


class FitSession(Protocol):
    """A target image, the current sites and their Adam state, all held where they are computed.

    A backend may compute behind the caller's back: only what returns numbers to the host waits, and
    arrays "where they are computed" take NumPy's functions but may be another library's. They are
    worked on inside `computing`.

    The loss is the mean squared error over sampled pixels and channels between the target and the
    blend *before* clamping to 0..1. Where the session has weights, every squared error here is
    multiplied by its pixel's weight; numbers of pixels and the mass of `statistics` are not. Calls
    are made from one thread.
    """

    def computing(self) -> AbstractContextManager[Any]:
        """Return a context for work on arrays where they are computed, such as on their device."""

    @property
    def params(self) -> NDArray[np.float32]:
        """float32 [N, 6 + C]: a copy of the current parameters."""

    @property
    def site_count(self) -> int:
        """Number of sites N."""

    @property
    def gradients(self) -> NDArray[np.float32]:
        """float32 [N, 6 + C]: a copy of dMSE/dparams from the last `gradient` call.

        Zeros before the first call and after `keep` or `append`.
        """

    def refresh(self, cut: float = DEFAULT_CUT) -> None:
        """Rebuild candidate lists for the current parameters; propagate, where there is a map.

        Parameters
        ----------
        cut : float, > 0
            Sites whose logit is further than this under a pixel's largest may be left out there;
            how many of them are is the backend's choice (the reference leaves out none).

        Until the next call, sites that move may be missed by pixels they newly reach. An evaluation
        refreshes by itself, with the last cut, when there are no lists yet and after `keep`,
        `append`, `statistics` and `removal_deltas`.
        """

    def gradient(
        self, phase: int | None = None, noise: NDArray[np.float32] | None = None, seed: int = 0
    ) -> SupportsFloat:
        """Compute the loss and its gradients with respect to every parameter.

        Parameters
        ----------
        phase : int or None
            None: all pixels. 0..3: the pixels of `PHASES[phase]`; a phase without pixels (images
            one pixel wide or high) has loss 0 and zero gradients.
        noise : float32 [N, 6 + C], optional
            Evaluate at disturbed parameters: each has noise times a number uniform in [-1, 1)
            added, drawn from the seed and its place in the array. Columns p and q disturb the
            vector (p, q) along itself and across. The parameters themselves stay. The array must
            not be changed in place while it is used for one call after another: a session may take
            the same object for the same numbers.
        seed : int, 0..2^64 - 1
            Of the disturbance.

        Returns
        -------
        float, or what `float` turns into one
            Mean squared error over the sampled pixels and C channels. The gradients are of this
            mean. Where it is no float yet, `float` waits for it; it can be asked for until
            `LOSSES` further calls.

        Raises
        ------
        OptionError
            If phase is none of these.
        """

    def set_rate(self, rate: RateTerm | None) -> None:
        """Say what the sites cost: `adam` adds price times the bits' derivatives to the gradients.

        It does so at every call, until another term, None, `keep` or `append`. The arrays must not
        be changed while it is used.

        Raises
        ------
        OptionError
            If its shapes do not fit the sites.
        """

    def adam(
        self,
        rates: NDArray[np.float32],
        beta1: float,
        beta2: float,
        epsilon: float = 1e-8,
    ) -> None:
        """Take one Adam step along the last gradients and the rate's, then clamp the parameters.

        m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; with t counting the steps of
        this session from 1: parameter -= rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) +
        epsilon) (Kingma and Ba, arXiv 1412.6980). Bounds: x to [0, W], y to [0, H], log_tau,
        radius, colour and |(p, q)| as in `sadcodec.sites`; (p, q) is shortened, its direction kept.
        The moments are not clamped.

        Parameters
        ----------
        rates : float32 [6 + C]
            Step size of each column, in the column's unit; 0 holds a column.
        beta1, beta2 : float in [0, 1)
        epsilon : float > 0
        """

    def statistics(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return per-site sums over all pixels, for density control.

        Returns
        -------
        mass : float [N], where it is computed
            Sum of the site's weights, in pixels.
        error : float [N], where it is computed
            Responsibility-weighted squared error: sum of w |blend - target|^2 (summed over
            channels).
        """

    def removal_deltas(self) -> NDArray[Any]:
        """Return by how much the squared error would rise without each site.

        Returns
        -------
        float [N], where it is computed
            Sum over all pixels and channels of the change in squared error if the site's weight
            went to the other sites of the pixel's top K, renormalized; negative where the site does
            harm. The site that would take the K-th place is not looked for. Where the site is alone
            (K or N is 1, or all others are `STATISTICS_CUT` under it), removal is taken to leave an
            error of 1 in every channel.
        """

    def rows(self, index: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Return the parameters of the sites `index` [M], float32 [M, 6 + C], where computed."""

    def keep(self, index: NDArray[np.integer[Any]]) -> None:
        """Keep the sites `index` [M], with their Adam moments, in this order; drop the others.

        The index may lie on the host or where the session computes.
        """

    def append(self, params: NDArray[np.float32]) -> None:
        """Add the sites `params` float32 [M, 6 + C] at the end, with zero moments.

        They may lie on the host or where the session computes.
        """
