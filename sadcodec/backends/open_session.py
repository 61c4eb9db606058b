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

    `gradient` and `gradients` say where to go, `move` goes there; with `picture` and `pull_back`
    the loss is the caller's, too. The CPU and the reference have it; arrays are NumPy's. A session
    can be opened with the shape [H, W, C] in place of a target: what measures an error then needs
    `set_target` first.
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

    def picture(self) -> NDArray[np.float32]:
        """Return the blend of every pixel, float32 [H, W, C], not clamped, by the present lists.

        `refresh` says which sites these leave out.
        """

    def pull_back(self, dl_dpicture: NDArray[Any]) -> None:
        """Compute the gradients of another loss than the session's own.

        `gradients` returns them, and `adam` goes along them, as after `gradient`.

        Parameters
        ----------
        dl_dpicture : float [H, W, C]
            Derivatives of the loss with respect to what `picture` returns.

        Raises
        ------
        OptionError
            If the shape is another.
        """

    def set_target(self, target: NDArray[Any]) -> None:
        """Replace the target, float [H, W, C]; weights stay.

        Errors, and with them density control, are then measured against this one. For a loss L
        that is no squared error, picture - (H W C / 2) dL/dpicture has the same gradients.

        Raises
        ------
        OptionError
            If the shape is another.
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
