"""The picture as a function of the parameters, with its derivatives: forward and backward passes.

Whoever has a loss of the picture gives its derivatives at every pixel and gets those with respect
to every parameter (a vector-Jacobian product). Which sites are a pixel's top K, and where a site
lies exactly at a pixel's centre the slope of the distance, are taken as constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.open_session import OpenFitSession
from sadcodec.errors import OptionError
from sadcodec.sites import MAX_CHANNELS, Sites

__all__ = [
    "DIFFERENTIABLE_CUT",
    "DifferentiableSession",
    "check_shape",
    "checked_picture",
    "checked_sites",
]

Floats = NDArray[np.float32]

# Logits under a pixel's largest at which sites are left out: a weight of 1e-7, as in rendering.
DIFFERENTIABLE_CUT = 16.0


class DifferentiableSession:
    """Forward and backward passes of diagrams of one size, by the exact top K.

    Float32 on the CPU: on diagrams without ties the gradients are within 1e-5 of the reference's,
    relative to the largest of a column. Sites that tie for the K-th place are all taken.

    Parameters
    ----------
    shape : (height, width, channels)
        Of the picture.
    open_session : callable
        From parameters to an `OpenFitSession` without a target.
    """

    def __init__(
        self, shape: tuple[int, int, int], open_session: Callable[[Floats], OpenFitSession]
    ) -> None:
        check_shape(shape)
        self._shape = shape
        self._open = open_session
        self._session: OpenFitSession | None = None

    def forward(self, params: Floats, *, keep_lists: bool = False) -> Floats:
        """Return the picture of a diagram.

        Parameters
        ----------
        params : float32 [N, 6 + C]
            Rows as in `Sites.params`; copied. N may differ from call to call.
        keep_lists : bool
            Look for each pixel's sites only among those that were near in the last pass that made
            lists, for parameters a few small steps away: faster. Lists are made anew all the same
            where N is another.

        Returns
        -------
        float32 [H, W, C]
            Not clamped.

        Raises
        ------
        OptionError
            If the parameters have other channels.
        SiteError
            If they are not a valid diagram.
        """
        sites = checked_sites(params, self._shape[2])
        session = self._session
        if session is None or session.site_count != len(sites):
            session = self._session = self._open(sites.params)
            keep_lists = False
        else:
            session.move(sites.params)
        if not keep_lists:
            session.refresh(DIFFERENTIABLE_CUT)
        return session.picture()

    def backward(self, dl_dpicture: NDArray[Any]) -> Floats:
        """Return the derivatives of a loss with respect to the parameters of the last forward pass.

        Parameters
        ----------
        dl_dpicture : float [H, W, C]
            Derivatives of the loss with respect to the picture. May be called again with others.

        Returns
        -------
        float32 [N, 6 + C]

        Raises
        ------
        OptionError
            If there was no forward pass, or the shape is another.
        """
        if self._session is None:
            raise OptionError("a backward pass needs a forward pass before it")
        self._session.pull_back(dl_dpicture)
        return self._session.gradients


def check_shape(shape: tuple[int, int, int]) -> None:
    """Raise OptionError unless there is a picture of this (height, width, channels)."""
    height, width, channels = shape
    if not (1 <= height <= 1 << 24 and 1 <= width <= 1 << 24 and 1 <= channels <= MAX_CHANNELS):
        raise OptionError(f"a picture cannot be {width} x {height} with {channels} channels")


def checked_sites(params: NDArray[Any], channels: int) -> Sites:
    """Return parameters as contiguous float32, checked.

    Raises
    ------
    OptionError
        If they have other channels.
    SiteError
        If they are not a valid diagram.
    """
    sites = Sites(np.ascontiguousarray(params, np.float32))
    if sites.channels != channels:
        raise OptionError(f"sites of {sites.channels} channels do not fit a picture of {channels}")
    return sites


def checked_picture(picture: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    """Return the array as contiguous float32, after a check of its shape.

    Raises
    ------
    OptionError
        If the shape is another.
    """
    array = np.ascontiguousarray(picture, np.float32)
    if array.shape != shape:
        raise OptionError(f"an array of shape {list(array.shape)} is not a picture {list(shape)}")
    return array
