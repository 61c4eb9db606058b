"""Colours at any points, and their derivatives, on a CUDA device, computed in float64.

Every point looks at every site: time grows with the product of both. Nothing waits for the device.
Memory in bytes: 24 (6 + C) + 64 for a site, 48 + 24 C + 4 K for a point, and 56 K for each of at
most `BAND` points in the backward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sadcodec.backends.cuda_lists import SiteEntries
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar

__all__ = ["BAND", "CudaPoints"]

BAND = 1 << 20  # points whose derivatives are sorted by site at once

_SITES = (Array("params", np.float64, "N", "P"), Array("exact", np.float64, "N", 4))
_MACROS = ("SAD_K", "SAD_CHANNELS")
POINTS_PREPARE = Kernel(
    "points.cu",
    "points_prepare",
    (
        Array("params", np.float64, "N", "P"),
        Array("exact", np.float64, "N", 4, out=True),
        Array("filters", np.float32, "N", 8, out=True),
        Scalar("count", np.int32),
    ),
    128,
    _MACROS,
)
POINTS_BLEND = Kernel(
    "points.cu",
    "points_blend",
    (
        *_SITES,
        Array("filters", np.float32, "N", 8),
        Array("points", np.float64, "M", 2),
        Array("top", np.int32, "M", "T", out=True),
        Array("colors", np.float64, "M", "C", out=True),
        Scalar("count", np.int32),
        Scalar("size", np.int32),
        Scalar("best", np.int32),
    ),
    128,
    _MACROS,
)
POINTS_SLOPES = Kernel(
    "points.cu",
    "points_slopes",
    (
        *_SITES,
        Array("points", np.float64, "M", 2),
        Array("top", np.int32, "M", "T"),
        Array("cotangent", np.float64, "M", "C"),
        Array("weights", np.float64, "M", "T", out=True),
        Array("logit_slopes", np.float64, "M", "T", out=True),
        Array("point_slopes", np.float64, "M", 2, out=True),
        Scalar("size", np.int32),
        Scalar("best", np.int32),
    ),
    128,
    _MACROS,
)
POINTS_SITES = Kernel(
    "points.cu",
    "points_sites",
    (
        *_SITES,
        Array("points", np.float64, "M", 2),
        Array("cotangent", np.float64, "M", "C"),
        Array("weights", np.float64, "M", "T"),
        Array("logit_slopes", np.float64, "M", "T"),
        Array("starts", np.int32, "ends"),
        Array("order", np.int64, "entries"),
        Array("gradients", np.float64, "N", "P", out=True),
        Scalar("count", np.int32),
        Scalar("best", np.int32),
    ),
    128,
    _MACROS,
)
_SITES_PER_BLOCK = 4  # of points_sites


class CudaPoints:
    """Forward and backward passes at points, of arrays on the device; the device is current.

    Parameters
    ----------
    launcher : Launcher
        Compiled for the K and the channels of the diagrams.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def draw(self, params: Any, points: Any) -> Any:
        """Return the colours, of the parameters' type [M, C].

        Parameters
        ----------
        params : float32 or float64 [N, 6 + C], on the device
            Copied. Nothing checks that they are finite.
        points : [M, 2], px, on the device
            Copied.
        """
        cp, launch = self._launcher.cp, self._launcher.launch
        count, size = len(params), len(points)
        self._sites = {
            "params": params.astype(np.float64),
            "exact": cp.empty((count, 4), np.float64),
        }
        self._points, self._type = points.astype(np.float64), params.dtype
        best = min(self._launcher.defines["SAD_K"], count)
        self._top = cp.empty((size, best), np.int32)
        colors = cp.empty((size, self._launcher.defines["SAD_CHANNELS"]), np.float64)
        filters = {"filters": cp.empty((count, 8), np.float32), "count": count}
        launch(POINTS_PREPARE, POINTS_PREPARE.blocks(count), {**self._sites, **filters})
        arguments = {
            **self._sites,
            **filters,
            "points": self._points,
            "top": self._top,
            "colors": colors,
            "size": size,
            "best": best,
        }
        if size:
            launch(POINTS_BLEND, POINTS_BLEND.blocks(size), arguments)
        return colors.astype(self._type)

    def pull_back(self, cotangent: Any) -> tuple[Any, Any]:
        """Return the derivatives with respect to parameters and points, of the parameters' type.

        Sums are added in a fixed order.

        Parameters
        ----------
        cotangent : [M, C], on the device
            Derivatives of the loss with respect to the colours.
        """
        cp = self._launcher.cp
        gradients = cp.zeros(self._sites["params"].shape, np.float64)
        point_slopes = cp.empty(self._points.shape, np.float64)
        slopes = cotangent.astype(np.float64)
        for start in range(0, len(self._points), BAND):
            band = slice(start, start + BAND)
            self._pull_back_band(band, slopes[band], gradients, point_slopes[band])
        return gradients.astype(self._type), point_slopes.astype(self._type)

    def _pull_back_band(
        self, band: slice, cotangent: Any, gradients: Any, point_slopes: Any
    ) -> None:
        cp, launch = self._launcher.cp, self._launcher.launch
        top, count = self._top[band], len(gradients)
        size, best = top.shape
        common = {
            **self._sites,
            "points": self._points[band],
            "cotangent": cotangent,
            "weights": cp.empty((size, best), np.float64),
            "logit_slopes": cp.empty((size, best), np.float64),
            "best": best,
        }
        slopes = {**common, "top": top, "point_slopes": point_slopes, "size": size}
        launch(POINTS_SLOPES, POINTS_SLOPES.blocks(size), slopes)
        entries = SiteEntries(self._launcher, top.ravel(), count)
        sums = {
            **common,
            "starts": entries.starts,
            "order": entries.order,
            "gradients": gradients,
            "count": count,
        }
        launch(POINTS_SITES, -(-count // _SITES_PER_BLOCK), sums)
