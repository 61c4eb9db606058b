"""What a fit may ask for beside the target: terms that hold primitives inside, apart or small."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import R, X, Y
from sadcodec.compose.initialize import importance, largest_r
from sadcodec.errors import OptionError

__all__ = ["CONSTRAINTS", "Constraints"]

Floats = NDArray[np.float32]

CONSTRAINTS = ("inside", "overlap", "edges", "size")

_THICKEST = np.float32(np.exp(-8.0))  # light under which no more overlap is told from more


class Constraints:
    """The sum of weighted terms.

    ``inside``: mean alpha outside of the mask. ``overlap``: mean of -ln(1 - alpha), the number of
    layers a pixel has, roughly: the more, the more they overlap. ``edges``: mean of r / (largest
    r) times the local variance at the centre (see `importance`), so that what is large keeps away
    from edges. ``size``: mean of (r / largest r)^2.

    Parameters
    ----------
    weights : mapping of str to float, >= 0
        By the names in `CONSTRAINTS`. A term of weight 1 counts like a squared error of 1.
    target : float32 [3, H, W]
    mask : float32 [H, W], 0..1, or None
        What counts as inside; everything.

    Raises
    ------
    OptionError
        For unknown names and negative weights.
    """

    def __init__(self, weights: Mapping[str, float], target: Floats, mask: Floats | None) -> None:
        for name, weight in weights.items():
            if name not in CONSTRAINTS:
                raise OptionError(
                    f"unknown constraint {name!r}; there are {', '.join(CONSTRAINTS)}"
                )
            if not weight >= 0:
                raise OptionError(f"the weight of {name} must not be negative, as {weight} is")
        self._weights = {name: np.float32(weight) for name, weight in weights.items() if weight > 0}
        self._outside = None if mask is None else 1 - mask
        _, height, width = target.shape
        self._largest = np.float32(largest_r(width, height))
        self._pixels = height * width
        self._detail = importance(target) if "edges" in self._weights else None

    def by_alpha(self, alpha: Floats) -> tuple[float, Floats | None]:
        """Return the terms of a picture's alpha [H, W], and slopes times the number of pixels."""
        value, slope = 0.0, None
        if "inside" in self._weights and self._outside is not None:
            slope = self._weights["inside"] * self._outside
            value += float(np.mean(slope * alpha))
        if "overlap" in self._weights:
            light = np.maximum(1 - alpha, _THICKEST)
            value -= float(self._weights["overlap"] * np.mean(np.log(light)))
            thicker = self._weights["overlap"] / light
            slope = thicker if slope is None else slope + thicker
        return value, slope

    def by_params(self, params: Floats) -> tuple[float, Floats | None]:
        """Return the terms of parameters [N, 8], and slopes times the number of pixels."""
        value, slope = 0.0, None
        each = np.float32(self._pixels / len(params))
        size = params[:, R] / self._largest
        if "size" in self._weights:
            slope = np.zeros_like(params)
            value += float(self._weights["size"] * np.mean(size * size))
            slope[:, R] += each * self._weights["size"] * 2 * size / self._largest
        if "edges" in self._weights and self._detail is not None:
            slope = np.zeros_like(params) if slope is None else slope
            detail, across, down = _sampled(self._detail, params[:, X], params[:, Y])
            weight = self._weights["edges"]
            value += float(weight * np.mean(size * detail))
            slope[:, R] += each * weight * detail / self._largest
            slope[:, X] += each * weight * size * across
            slope[:, Y] += each * weight * size * down
        return value, slope


def _sampled(plane: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Interpolate a plane at points in px; also its derivatives by x and y."""
    height, width = plane.shape
    s, t = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    i = np.minimum(s.astype(np.int64), max(width - 2, 0))
    j = np.minimum(t.astype(np.int64), max(height - 2, 0))
    right, below = np.minimum(i + 1, width - 1), np.minimum(j + 1, height - 1)
    fs, ft = s - i, t - j
    upper = plane[j, right] - plane[j, i]
    lower = plane[below, right] - plane[below, i]
    first, second = plane[j, i] + fs * upper, plane[below, i] + fs * lower
    value = first + ft * (second - first)
    return value, upper + ft * (lower - upper), second - first
