"""What every backend offers: rendering a diagram, and a session that fits one to an image.

Conventions shared by all of them: pixel (row j, column i) is sampled at (i + 0.5, j + 0.5) px; a
pixel is the softmax blend of the K sites of largest logit over *all* sites, ties to the lower
index; parameters are rows of 6 + C numbers as in `sadcodec.sites.Sites`. `reference.py` defines the
result; the other backends compute in float32 and say below where they may differ.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sadcodec.sites import Sites

__all__ = ["DEFAULT_CUT", "DEFAULT_K", "MAX_K", "PHASES", "STATISTICS_CUT", "Backend", "FitSession"]

DEFAULT_K = 8
MAX_K = 16

# While fitting; a site this far under a pixel's largest logit weighs less than e^-7 = 0.0009 there.
DEFAULT_CUT = 7.0

# Phase f samples the pixels (row j, column i) with (j mod 2, i mod 2) = PHASES[f]: one of every 2 x
# 2.
PHASES: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 0), (1, 1))

# `statistics` and `removal_deltas` take a site this far under a pixel's largest logit as absent
# there: e^-40 is under the resolution of a float32 sum even relative to a weight of 1e-10.
STATISTICS_CUT = 40.0


class FitSession(Protocol):
    """A target image, the current sites and their Adam state, all held where they are computed.

    The loss is the mean squared error over sampled pixels and channels between the target and the
    blend *before* clamping to 0..1. Calls are made from one thread.
    """

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
        """Rebuild candidate lists for the current parameters.

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
    ) -> float:
        """Compute the loss and its gradients with respect to every parameter.

        Parameters
        ----------
        phase : int or None
            None: all pixels. 0..3: the pixels of `PHASES[phase]`; a phase without pixels (images
            one pixel wide or high) has loss 0 and zero gradients.
        noise : float32 [N, 6 + C], optional
            Evaluate at disturbed parameters: each has noise times a number uniform in [-1, 1)
            added, drawn from the seed and its place in the array. Columns p and q disturb the
            vector (p, q) along itself and across. The parameters themselves stay.
        seed : int, 0..2^64 - 1
            Of the disturbance.

        Returns
        -------
        float
            Mean squared error over the sampled pixels and C channels. The gradients are of this
            mean.

        Raises
        ------
        OptionError
            If phase is none of these.
        """

    def adam(
        self,
        rates: NDArray[np.float32],
        beta1: float,
        beta2: float,
        epsilon: float = 1e-8,
    ) -> None:
        """Take one Adam step along the last gradients, then clamp the parameters.

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
        mass : float [N]
            Sum of the site's weights, in pixels.
        error : float [N]
            Responsibility-weighted squared error: sum of w |blend - target|^2 (summed over
            channels).
        """

    def removal_deltas(self) -> NDArray[Any]:
        """Return by how much the squared error would rise without each site.

        Returns
        -------
        float [N]
            Sum over all pixels and channels of the change in squared error if the site's weight
            went to the other sites of the pixel's top K, renormalized; negative where the site does
            harm. The site that would take the K-th place is not looked for. Where the site is alone
            (K or N is 1, or all others are `STATISTICS_CUT` under it), removal is taken to leave an
            error of 1 in every channel.
        """

    def keep(self, index: NDArray[np.integer[Any]]) -> None:
        """Keep the sites `index` [M], with their Adam moments, in this order; drop the others."""

    def append(self, params: NDArray[np.float32]) -> None:
        """Add the sites `params` float32 [M, 6 + C] at the end, with zero moments."""


class Backend(Protocol):
    """A way to compute: one name, rendering and fitting."""

    @property
    def name(self) -> str:
        """The name it goes by on the command line."""

    def render(self, sites: Sites, width: int, height: int, k: int = DEFAULT_K) -> NDArray[Any]:
        """Evaluate a diagram at every pixel.

        Parameters
        ----------
        sites : Sites
        width, height : int >= 1, px
        k : int, 1..MAX_K
            Sites blended per pixel; fewer where there are fewer.

        Returns
        -------
        float32 or float64 [H, W, C]
            Not clamped to 0..1.

        Raises
        ------
        OptionError
            If width, height or k is out of range.
        """

    def fit_session(
        self, target: NDArray[np.float32], params: NDArray[np.float32], k: int = DEFAULT_K
    ) -> FitSession:
        """Start fitting.

        Parameters
        ----------
        target : float32 [H, W, C], display-referred 0..1
        params : float32 [N, 6 + C]
            Initial sites; copied.
        k : int, 1..MAX_K

        Raises
        ------
        OptionError
            If k is out of range or the shapes do not fit together.
        SiteError
            If the parameters are not a valid diagram.
        """
