"""Colours at any points, and their derivatives, in float64 by the C++ core.

The same picture as that of `sadcodec.backends.reference_sample`, to a few roundings, for diagrams
in float64 too. Time grows with the number of points, and slowly with that of sites; memory with
both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec import _core
from sadcodec.backends.base import DEFAULT_K
from sadcodec.backends.cpu_fit import check_k
from sadcodec.errors import LimitError, OptionError, SiteError
from sadcodec.sites import GEOMETRY_COLUMNS, MAX_CHANNELS

__all__ = ["PointSession", "pixel_centers"]

Doubles = NDArray[np.float64]


def pixel_centers(width: int, height: int) -> Doubles:
    """Return the centres of a picture's pixels, float64 [H W, 2], row by row, in px."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x.ravel(), y.ravel()], axis=1)


class PointSession:
    """Forward and backward passes of one diagram at points.

    Parameters
    ----------
    params : float [N, 6 + C]
        Rows as in `Sites.params`, finite; computed with in float64.
    points : float [M, 2], px
        Finite; anywhere in the plane.
    k : int, 1..MAX_K
    threads : int
        Has no influence on any result.

    Raises
    ------
    OptionError
        If k is out of range, or the points have another shape or are not finite.
    SiteError
        If the parameters have another shape or are not finite.
    LimitError
        If the points' boxes would keep more than 16 (M + N) + 2^16 sites: some 1000 at each point.
    """

    def __init__(
        self, params: ArrayLike, points: ArrayLike, k: int = DEFAULT_K, threads: int = 1
    ) -> None:
        check_k(k)
        rows, at = np.asarray(params), np.asarray(points)
        most = GEOMETRY_COLUMNS + MAX_CHANNELS
        if rows.ndim != 2 or not GEOMETRY_COLUMNS < rows.shape[1] <= most or len(rows) == 0:
            raise SiteError(f"site parameters are [N, 7..{most}], not {list(rows.shape)}")
        if at.ndim != 2 or at.shape[1] != 2 or at.dtype.kind not in "iuf":
            raise OptionError(f"points are numbers [M, 2], not {at.dtype} {list(at.shape)}")
        rows, at = (np.ascontiguousarray(table, np.float64) for table in (rows, at))
        if not np.isfinite(rows).all():
            raise SiteError("site parameters must be finite")
        if not np.isfinite(at).all():
            raise OptionError("points must be finite")
        try:
            self._points = _core.Points(rows, at, k, threads)
        except ValueError as error:
            raise LimitError(str(error)) from None
        self._shape = (len(at), rows.shape[1] - GEOMETRY_COLUMNS)

    def forward(self) -> Doubles:
        """Return the colours, float64 [M, C], not clamped."""
        return self._points.blend()

    def backward(self, dl_dcolor: NDArray[Any]) -> tuple[Doubles, Doubles]:
        """Return the derivatives of a loss with respect to parameters and points.

        Parameters
        ----------
        dl_dcolor : float [M, C]
            Derivatives of the loss with respect to the colours.

        Returns
        -------
        dl_dparams : float64 [N, 6 + C]
        dl_dpoints : float64 [M, 2]

        Raises
        ------
        OptionError
            If the shape is another.
        """
        cotangent = np.ascontiguousarray(dl_dcolor, np.float64)
        if cotangent.shape != self._shape:
            raise OptionError(
                f"derivatives of shape {list(cotangent.shape)} are not colours {list(self._shape)}"
            )
        return self._points.pull_back(cotangent)
