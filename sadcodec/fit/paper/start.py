"""Where the sites of the authors' recipe start: on edges, by a low-discrepancy sequence.

Published: the R2 sequence (Roberts, "The unreasonable effectiveness of quasirandom sequences",
2018), accepted where the Sobel gradient of luma exceeds a threshold; colour of the pixel, a radius
of 4 px, no anisotropy, log_tau raised with the gradient. From the released configuration: the
threshold, log_tau at a gradient of 0 and how it rises, how often a site tries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.initialize import sobel
from sadcodec.sites import COLOR, GEOMETRY_COLUMNS, LOG_TAU, RADIUS, X, Y

__all__ = ["THRESHOLD", "luma_gradient", "place", "r2_points"]

Floats = NDArray[np.float32]

THRESHOLD = 0.01  # luma 0..1 per px, the Sobel sum divided by 4: twice the slope
RADIUS_PX = 4.0
LOG_TAU_FLAT = 5.0  # with distances divided by the image's longer side
LOG_TAU_RISE, LOG_TAU_POWER = 2.0, 0.25
TRIES = 256  # points a site
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_AT_ONCE = 1 << 19  # points of the sequence
_PLASTIC = 1.32471795724474602596  # the real root of x^3 = x + 1
_CENTER = (0.5, 0.5)


def r2_points(first: int, count: int, shift: tuple[float, float] = _CENTER) -> NDArray[np.float64]:
    """Return the points `first`, `first` + 1, ... of the R2 sequence.

    Parameters
    ----------
    first, count : int, >= 0
    shift : float, 0..1
        Point 0.

    Returns
    -------
    float64 [count, 2] in [0, 1)
    """
    n = np.arange(first, first + count, dtype=np.float64)[:, None]
    return np.mod(np.asarray(shift) + n * np.array([1 / _PLASTIC, 1 / _PLASTIC**2]), 1.0)


def luma_gradient(target: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Sobel derivatives of luma in the authors' scale, float64 [H, W] each.

    Luma is that of BT.601 where there are three colours, else the first channel; alpha is none.
    """
    luma = target[:, :, 0].astype(np.float64)
    if target.shape[2] >= 3:
        luma = target[:, :, :3].astype(np.float64) @ _LUMA
    gx, gy = sobel(luma)
    return 2.0 * gx, 2.0 * gy


def place(target: Floats, count: int, seed: int = 0) -> Floats:
    """Place `count` sites on an image.

    Parameters
    ----------
    target : float32 [H, W, C], display-referred 0..1
    count : int, >= 1
    seed : int
        0: the published sequence; others shift it.

    Returns
    -------
    float32 [count, 6 + C]
        Rows as in `sadcodec.sites.Sites`. Where fewer of `TRIES` points a site are accepted, the
        rest lies on the first points of the sequence, whatever the gradient.
    """
    height, width, channels = target.shape
    strength = np.hypot(*luma_gradient(target))
    shift = _CENTER
    if seed:
        u, v = np.random.default_rng(seed).uniform(0.0, 1.0, 2)
        shift = (float(u), float(v))
    found: list[NDArray[np.float64]] = []
    wanted, first = count, 0
    last = TRIES * count if (strength > THRESHOLD).any() else 0
    while wanted > 0 and first < last:
        size = min(_AT_ONCE, last - first)
        points = r2_points(first, size, shift) * (width - 1, height - 1)
        column, row = points.astype(np.int64).T
        accepted = points[strength[row, column] > THRESHOLD][:wanted]
        found.append(accepted)
        wanted -= len(accepted)
        first += size
    if wanted > 0:
        found.append(r2_points(0, wanted, shift) * (width - 1, height - 1))
    points = np.concatenate(found)
    column, row = points.astype(np.int64).T
    params = np.zeros((count, GEOMETRY_COLUMNS + channels), np.float32)
    params[:, [X, Y]] = points + 0.5  # the authors' pixel centres are whole numbers
    rise = LOG_TAU_RISE * strength[row, column] ** LOG_TAU_POWER
    params[:, LOG_TAU] = LOG_TAU_FLAT - np.log(max(width, height)) + rise
    params[:, RADIUS] = RADIUS_PX
    params[:, COLOR:] = target[row, column]
    return params
