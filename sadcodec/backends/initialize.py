"""Where the sites start: density by gradient, even spacing along a Hilbert curve.

The density of sites is a power of the blurred Sobel magnitude of the image. Walking the pixels
along a Hilbert curve and placing a site whenever the summed density passes the next whole number
gives equal-mass quantiles: even spacing without rejection, for any count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Start
from sadcodec.sites import COLOR, GEOMETRY_COLUMNS, LOG_TAU, RADIUS, P, Q, X, Y

__all__ = [
    "BLUR",
    "FLOOR",
    "blur_weights",
    "draws",
    "hilbert_order",
    "initialize",
    "placed",
    "sobel",
]

Floats = NDArray[np.float32]

FLOOR = 0.015  # Sobel magnitude that a flat area counts as
BLUR = 1.5  # px, of the Sobel magnitude and the structure tensor

# Quadrants of a cell in the order of the Hilbert curve, and how the curve lies in each. By how it
# lies in the cell: 0 as drawn here, 1 mirrored at one diagonal, 2 at the other, 3 at both.
_QUADRANT_X = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]], np.int32)
_QUADRANT_Y = np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 1]], np.int32)
_QUADRANT_TURN = np.array([[1, 0, 0, 2], [0, 1, 1, 3], [3, 2, 2, 0], [2, 3, 3, 1]], np.intp)


def blur_weights(sigma: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian blur, float64 [2 R + 1], sum 1."""
    radius = max(1, int(3.0 * sigma + 0.5))
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return weights / weights.sum()


def draws(count: int, seed: int) -> tuple[float, NDArray[np.float64]]:
    """Return what is random about `count` sites: their shift along the curve, and their jitter.

    Returns
    -------
    start : float
        Site i lies where the summed density passes i + start.
    jitter : float64 [count, 2], px
        Added to the pixel centres.
    """
    start = np.random.default_rng(seed).uniform(0.25, 0.75)
    return start, np.random.default_rng([seed, 1]).uniform(-0.25, 0.25, (count, 2))


def _blur(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Gaussian blur of [H, W] with edge replication."""
    kernel = blur_weights(sigma)
    radius = len(kernel) // 2
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius, radius)
        padded = np.pad(image, pad, mode="edge")
        out = np.zeros_like(image)
        for weight, shift in zip(kernel, range(2 * radius + 1), strict=True):
            window = [slice(None), slice(None)]
            window[axis] = slice(shift, shift + image.shape[axis])
            out += weight * padded[tuple(window)]
        image = out
    return image


def sobel(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sobel derivatives of [H, W], per px."""
    p = np.pad(image, 1, mode="edge")
    gx = (
        p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:] - p[:-2, :-2] - 2 * p[1:-1, :-2] - p[2:, :-2]
    ) / 8.0
    gy = (
        p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:] - p[:-2, :-2] - 2 * p[:-2, 1:-1] - p[:-2, 2:]
    ) / 8.0
    return gx, gy


def hilbert_order(width: int, height: int) -> NDArray[np.int64]:
    """Return the row-major indices of all pixels in the order of a Hilbert curve over them.

    The curve is that of the smallest covering power-of-two square, cells outside the image left
    out (D. Hilbert's curve by quadrant, as in Warren, "Hacker's Delight", ch. 16).

    Returns
    -------
    int64 [width * height]
    """
    x = y = np.zeros(1, np.int32)  # cells in the order of the curve, at first one
    turn = np.zeros(1, np.intp)
    for level in range(int(max(width, height) - 1).bit_length() - 1, -1, -1):
        x = (2 * x[:, None] + np.take(_QUADRANT_X, turn, axis=0)).ravel()
        y = (2 * y[:, None] + np.take(_QUADRANT_Y, turn, axis=0)).ravel()
        turn = np.take(_QUADRANT_TURN, turn, axis=0).ravel()
        inside = (x << level < width) & (y << level < height)
        if not inside.all():
            x, y, turn = x[inside], y[inside], turn[inside]
    return y.astype(np.int64) * width + x


def initialize(
    target: Floats,
    count: int,
    *,
    power: float = 1.0,
    radius: bool = True,
    seed: int = 0,
    factor: Floats | None = None,
) -> Floats:
    """Place `count` sites on an image.

    Parameters
    ----------
    target : float32 [H, W, C], display-referred 0..1
    count : int, 1..H*W
    power : float, > 0
        Exponent of the density; smaller is more even.
    radius : bool
        Give sites a radius of half their spacing; 0 otherwise.
    seed : int
        Shifts the quantiles along the curve.
    factor : float32 [H, W], >= 0 and not 0 everywhere, optional
        On the density; no site is placed where it is 0.

    Returns
    -------
    float32 [count, 6 + C]
        Rows as in `sadcodec.sites.Sites`.
    """
    height, width, channels = target.shape
    luma = target.mean(axis=2, dtype=np.float64)
    gx, gy = sobel(luma)
    density = (_blur(np.hypot(gx, gy), BLUR) + FLOOR) ** power
    if factor is not None:
        density *= factor
    density *= count / density.sum()

    order = hilbert_order(width, height)
    mass = np.cumsum(density.ravel()[order])
    mass *= count / mass[-1]
    start, jitter = draws(count, seed)
    at = order[np.minimum(np.searchsorted(mass, np.arange(count) + start), len(order) - 1)]
    row, column = at // width, at % width

    spacing = 1.0 / np.sqrt(density[row, column])
    sxx, sxy, syy = (_blur(t, BLUR) for t in (gx * gx, gx * gy, gy * gy))
    trace = sxx + syy + 1e-6
    params = np.zeros((count, GEOMETRY_COLUMNS + channels), np.float32)
    params[:, X] = np.clip(column + 0.5 + jitter[:, 0], 0, width)
    params[:, Y] = np.clip(row + 0.5 + jitter[:, 1], 0, height)
    params[:, LOG_TAU] = np.log(3.0 / spacing)
    params[:, RADIUS] = 0.5 * spacing if radius else 0.0
    params[:, P] = ((sxx - syy) / trace)[row, column]
    params[:, Q] = (2.0 * sxy / trace)[row, column]
    params[:, COLOR:] = _local_mean(target, row, column, np.maximum(spacing / 4, 0.5))
    return params


def placed(target: Floats, start: Floats | Start) -> Floats:
    """Return the sites that a fit starts from: as given, or placed on the image."""
    if not isinstance(start, Start):
        return start
    return initialize(target, start.count, power=start.power, radius=start.radius, seed=start.seed)


def _local_mean(
    target: Floats, row: NDArray[np.int64], column: NDArray[np.int64], half: NDArray[np.float64]
) -> Floats:
    """Mean of the square of half-side `half` px around each pixel, by a summed-area table."""
    height, width, channels = target.shape
    table = np.zeros((height + 1, width + 1, channels))
    np.cumsum(np.cumsum(target, axis=0, dtype=np.float64), axis=1, out=table[1:, 1:])
    reach = np.floor(half).astype(np.int64)
    y0, y1 = np.maximum(row - reach, 0), np.minimum(row + reach + 1, height)
    x0, x1 = np.maximum(column - reach, 0), np.minimum(column + reach + 1, width)
    total = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    return (total / ((y1 - y0) * (x1 - x0))[:, None]).astype(np.float32)
