"""What every backend offers: rendering a diagram, fitting one to an image, refining its symbols.

Conventions shared by all of them: pixel (row j, column i) is sampled at (i + 0.5, j + 0.5) px; a
pixel is the softmax blend of the K sites of largest logit over *all* sites, ties to the lower
index; parameters are rows of 6 + C numbers as in `sadcodec.sites.Sites`. `reference.py` defines the
result; the other backends compute in float32 and say below where they may differ.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.fit_session import (
    DEFAULT_CUT,
    LOSSES,
    PHASES,
    RATE_ROUNDING,
    RATE_SHORTEST,
    STATISTICS_CUT,
    FitSession,
    RateTerm,
    Start,
)
from sadcodec.backends.place import PLAIN, Place, Window
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.refiner import Refiner
from sadcodec.sites import Sites

__all__ = [
    "DEFAULT_CUT",
    "DEFAULT_K",
    "LOSSES",
    "MAX_K",
    "MAX_WORK",
    "PHASES",
    "RATE_ROUNDING",
    "RATE_SHORTEST",
    "STATISTICS_CUT",
    "Backend",
    "FitSession",
    "Passes",
    "Propagation",
    "RateTerm",
    "Refiner",
    "Start",
]

DEFAULT_K = 8
MAX_K = 16

# Of drawing what others made: candidate sites of a pixel, as a mean.
MAX_WORK = 128


class Passes(Protocol):
    """Forward and backward passes: see `sadcodec.backends.differentiable`."""

    def forward(
        self, params: NDArray[np.float32], *, keep_lists: bool = False
    ) -> NDArray[np.float32]:
        """Return the picture of a diagram, float32 [H, W, C], not clamped."""

    def backward(self, dl_dpicture: NDArray[Any]) -> NDArray[np.float32]:
        """Return the derivatives with respect to the parameters of the last forward pass."""


class Backend(Protocol):
    """A way to compute: one name, rendering, fitting and refining."""

    @property
    def name(self) -> str:
        """The name it goes by on the command line."""

    @property
    def threads(self) -> int:
        """Threads of the CPU for what is done beside it, such as coding."""

    def render(
        self,
        sites: Sites,
        width: int,
        height: int,
        k: int = DEFAULT_K,
        *,
        exact: bool = False,
        max_work: int = 0,
        window: Window | None = None,
        place: Place = PLAIN,
        bit_depth: int | None = None,
    ) -> NDArray[Any]:
        """Evaluate a diagram at every pixel of a raster, or of a window of it.

        Parameters
        ----------
        sites : Sites
        width, height : int >= 1, px
        k : int, 1..MAX_K
            Sites blended per pixel; fewer where there are fewer.
        exact : bool
            Compute every pixel in float64: 16-bit code values need it.
        max_work : int, 0..2^14
            Candidate sites of a pixel, as a mean; 0 for no limit. A limit of the CPU backend:
            others draw whatever it costs.
        window : (x, y, columns, rows), optional
            The part of the raster to draw; all of it by default. Sites and time are those that
            matter there. On the CPU and in the reference its pixels have the bits that they have in
            the whole raster, on a GPU code values may differ by 1 where a rounding falls otherwise.
        place : Place
            Where the raster of width x height pixels lies in the picture. By default they are the
            picture's own.
        bit_depth : 8 or 16, optional
            Return code values: what `sadcodec.pixels.code_values` makes of the colours.

        Returns
        -------
        float32 or float64 [rows, columns, C]
            Not clamped to 0..1. Within 1/255 of the reference, with `exact` within 1/65535. With
            `bit_depth`, uint8 or uint16.

        Raises
        ------
        OptionError
            If width, height, k, window or place is out of range.
        LimitError
            If a square of 1024 px takes more than ``max_work (pixels + 16 N + 2^15)`` evaluations,
            N sites mattering in it, or longer lists of candidates than go with that.
        """

    def fit_session(
        self,
        target: NDArray[np.float32],
        start: NDArray[np.float32] | Start,
        k: int = DEFAULT_K,
        weights: NDArray[np.float32] | None = None,
        propagation: Propagation | None = None,
    ) -> FitSession:
        """Start fitting.

        Parameters
        ----------
        target : float32 [H, W, C], display-referred 0..1
        start : float32 [N, 6 + C], or Start
            Initial sites, copied; or how many to place, and how.
        k : int, 1..MAX_K
        weights : float32 [H, W], >= 0 with mean 1, optional
            Of each pixel's squared error; 1 by default. Where a `Start` places sites does not
            depend on them.
        propagation : Propagation, optional
            Take the candidates of `gradient` from the paper's top-K map, which `refresh` keeps up
            to date, other than exact lists. A site that no list names may then be missed. The CPU
            blends a pixel from its own list, the CUDA backend from those of its tile.

        Raises
        ------
        OptionError
            If k is out of range, the shapes do not fit together, the weights are no such or the
            backend has no such map.
        SiteError
            If the parameters are not a valid diagram.
        """

    def differentiable(self, width: int, height: int, channels: int, k: int = DEFAULT_K) -> Passes:
        """Start forward and backward passes of diagrams of one size.

        Raises
        ------
        OptionError
            If k is out of range, or there is no such picture.
        """

    def refiner(
        self,
        target: NDArray[np.float32],
        k: int = DEFAULT_K,
        weights: NDArray[np.float32] | None = None,
    ) -> Refiner:
        """Start refining symbols.

        Parameters
        ----------
        target : float32 [H, W, C], display-referred 0..1
        k : int, 1..11
            Sites blended per pixel.
        weights : float32 [H, W], >= 0 with mean 1, optional
            Of each pixel's squared error; 1 by default.

        Raises
        ------
        OptionError
            If k is out of range, the target is no image of 1 to 4 channels, or the weights are no
            such.
        """
