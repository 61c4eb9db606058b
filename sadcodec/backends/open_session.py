"""A fit session whose optimizer and density control are the caller's."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import FitSession

__all__ = ["MOMENTS", "OpenFitSession"]

MOMENTS = 7  # columns of `error_moments`


@runtime_checkable
class OpenFitSession(FitSession, Protocol):
    """What a session offers beyond `FitSession` to those who bring their own optimizer.

    `gradient` and `gradients` say where to go, `move` goes there. The CPU and the reference have
    it; arrays are NumPy's.
    """

    def move(self, params: NDArray[np.float32]) -> None:
        """Set all parameters, float32 [N, 6 + C], to values a step away; copied.

        As after `adam`, the candidate lists stay: a call of `refresh` finds the sites that the
        steps have brought near. They are not clamped, and the session's moments stay as they are.

        Raises
        ------
        OptionError
            If the shape is another.
        SiteError
            If the parameters are not a valid diagram.
        """

    def error_moments(self) -> NDArray[Any]:
        """Return the moments of each site's share of the squared error, about its position.

        Returns
        -------
        float64 [N, 7]
            Sums over all pixels of w, w e, w e dx, w e dy, w e dx^2, w e dx dy and w e dy^2: w is
            the site's weight, e = |blend - target|^2 summed over channels, times the pixel's weight
            if there are weights, and (dx, dy) is from the site to the pixel's centre, in px. The
            first is in px, the others in squared display-referred units times px to their power.
        """

    def neighbours(self) -> NDArray[np.int32]:
        """Return the sites next to each site: those of largest logit at the pixel it lies in.

        Returns
        -------
        int32 [N, K]
            Largest first, as a rule with the site itself among them; -1 where there are fewer, or
            where the lists left out the others.
        """
