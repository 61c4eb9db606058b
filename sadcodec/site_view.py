"""The sites of a diagram drawn over its picture: where they are, and how far each is stretched."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.sites import Sites

__all__ = ["marks"]

_CORNERS = 24  # of what stands for an ellipse
_SHARE = 0.3  # semi-axis of an isotropic site, of the mean spacing of the sites shown
_LONGEST = 2.0  # times that semi-axis: where a long ellipse is cut to
_FINE = 3  # samples of a pixel along one axis, against jagged lines


def marks(
    picture: NDArray[np.uint8], sites: Sites, region: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """Draw an ellipse with its two axes for every site over a picture.

    The ellipse is a level line of the site's distance, that is of its logit: short along its
    direction, where the picture changes, long across. All have the area of a circle of a third of
    the mean spacing, but those over twice as long as that circle, which are drawn smaller.

    Parameters
    ----------
    picture : uint8 [H, W, 3]
        Of the region, at any size.
    sites : Sites
    region : (x, y, width, height), px of the picture
        Sites around it are not drawn.

    Returns
    -------
    uint8 [H, W, 3]
        A new array; lines are white on dark parts of the picture and black on bright ones.
    """
    height, width = picture.shape[:2]
    scale = np.array([width / region[2], height / region[3]])
    at = (sites.position.astype(np.float64) - region[:2]) * scale
    inside = ((at >= 0) & (at < (width, height))).all(axis=1)
    if not inside.any():
        return picture.copy()
    center = at[inside]
    a, short = sites.log_anisotropy[inside], sites.direction[inside]
    long = np.stack([-short[:, 1], short[:, 0]], axis=1)
    semi = _SHARE * np.sqrt(region[2] * region[3] / len(center))
    stretch = np.exp(a / 2)
    semi *= np.minimum(1.0, _LONGEST / stretch)
    axes = np.stack([short * (semi / stretch)[:, None], long * (semi * stretch)[:, None]], axis=1)
    cover = _lines(center, axes * scale, width, height)
    luma = picture @ np.array([0.299, 0.587, 0.114])
    ink = np.where(luma > 128, 0.0, 255.0)[:, :, None]
    drawn = picture + cover[:, :, None] * (ink - picture)
    return np.rint(drawn).astype(np.uint8)


def _lines(
    center: NDArray[Any], axes: NDArray[Any], width: int, height: int
) -> NDArray[np.float64]:
    """Return how much of each pixel lines cover, float64 [H, W]; axes [N, 2, 2] in px."""
    from PIL import Image, ImageDraw

    turn = np.linspace(0.0, 2.0 * np.pi, _CORNERS + 1)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    ellipses = (circle @ axes + center[:, None]) * _FINE
    ends = np.stack([center[:, None] - axes, center[:, None] + axes], axis=2) * _FINE
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    pen = ImageDraw.Draw(canvas)
    for ellipse, cross in zip(ellipses, ends, strict=True):
        pen.line(ellipse.ravel().tolist(), fill=255, width=_FINE - 1)
        for line in cross:
            pen.line(line.ravel().tolist(), fill=255, width=_FINE - 1)
    cover = np.asarray(canvas, np.float64).reshape(height, _FINE, width, _FINE)
    return np.minimum(cover.mean(axis=(1, 3)) / 255.0 * 1.5, 1.0)
