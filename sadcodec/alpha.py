"""Colour where it is hardly seen: under little or no alpha.

On any background an error of the colour counts by its square times the square of alpha. Fits know
weights of pixels, not of channels, so a pixel gets one between the colour's and alpha's own 1, and
the target says the rest: a share of the image's colour, the others of the colour that is there
anyway. Of a diagram that is drawn already this is the drawn colour; the squared error then has the
derivatives of the weighted one and is nowhere under it, so that what lowers it lowers both
(majorization and minimization). Before there is one, it is the colour of the surroundings that are
seen, which costs the fewest sites.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["has_alpha", "premultiplied", "visible"]

Floats = NDArray[np.float32]


def has_alpha(image: NDArray[Any]) -> bool:
    """Whether the last channel of an image [H, W] or [H, W, C] is alpha: where C is 2 or 4."""
    return image.ndim == 3 and image.shape[2] in (2, 4)


def premultiplied(image: NDArray[Any], peak: float) -> NDArray[Any]:
    """Return an image with its colours multiplied by alpha: what is seen of them.

    Parameters
    ----------
    image : [H, W] or [H, W, C]
        Returned itself if it has no alpha, else as float64.
    peak : float
        Value of full alpha.
    """
    if not has_alpha(image):
        return image
    seen = image.astype(np.float64)
    seen[:, :, :-1] *= seen[:, :, -1:] / peak
    return seen


def visible(image: Floats, drawn: Floats | None = None) -> tuple[Floats, Floats | None]:
    """Return what to fit to instead of an image, and what its pixels count.

    Parameters
    ----------
    image : float32 [H, W, C], display-referred 0..1
    drawn : float32 [H, W, C], optional
        A picture of it that is to be bettered.

    Returns
    -------
    target : float32 [H, W, C]
        The image itself if it is opaque.
    weights : float32 [H, W], > 0 with mean 1, or None
        Of the squared errors; None: all 1.
    """
    if not has_alpha(image) or image[:, :, -1].min() == 1.0:
        return image, None
    color, alpha = image[:, :, :-1], image[:, :, -1:]
    weights: Floats = (np.float32(1) + alpha) / np.float32(2)
    target = image.copy()
    if drawn is None:
        target[:, :, :-1] = _diffused(color, alpha)
    else:
        share = np.square(alpha) / weights
        there = np.clip(drawn[:, :, :-1], 0.0, 1.0).astype(np.float32)
        target[:, :, :-1] = share * color + (1 - share) * there
    weights /= np.float32(weights.mean(dtype=np.float64))
    return target, weights[:, :, 0]


def _diffused(color: Floats, weight: Floats) -> Floats:
    """Colours [H, W, C] by their weights [H, W, 1], 0..1, the rest from coarser means of them.

    Source: pull-push (Gortler, Grzeszczuk, Szeliski and Cohen, *The Lumigraph*, 1996, section 3.4).
    """
    height, width = color.shape[:2]
    if height == width == 1:
        return np.where(weight > 0, color, np.float32(0))
    mass, total = _halved(weight), _halved(weight * color)
    means = total / np.maximum(mass, np.float32(1e-30))
    coarse: Floats = _diffused(means.astype(np.float32), np.minimum(mass, np.float32(1)))
    return weight * color + (1 - weight) * _doubled(coarse)[:height, :width]


def _halved(plane: Floats) -> Floats:
    """Sums of 2 x 2 pixels; beyond the border there is nothing."""
    height, width = plane.shape[:2]
    even = np.pad(plane, [(0, height % 2), (0, width % 2), (0, 0)])
    rows = even[::2] + even[1::2]
    return rows[:, ::2] + rows[:, 1::2]


def _doubled(plane: Floats) -> Floats:
    """Twice as many rows and columns, by linear interpolation."""
    for axis in (0, 1):
        plane = np.repeat(plane, 2, axis)
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1)
        wide = np.moveaxis(np.pad(plane, padding, mode="edge"), axis, 0)
        smooth = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / np.float32(4)
        plane = np.moveaxis(smooth, 0, axis)
    return plane
