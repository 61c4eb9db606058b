"""Losses of a picture with their slopes, for `sadcodec.inverse.optimize`.

Each returns a function of a picture, float32 [H, W, C], that gives the loss and its derivatives,
float [H, W, C]. `total` adds several up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import OptionError
from sadcodec.metrics import MS_SSIM_WEIGHTS, SSIM_C1, SSIM_C2, WINDOW_REACH, window_mean

__all__ = ["Loss", "measurement", "ms_ssim_loss", "total", "total_variation"]

Floats = NDArray[np.float32]
Array = NDArray[Any]
Loss = Callable[[Floats], tuple[float, Array]]


def measurement(
    forward: Callable[[Array], Array], adjoint: Callable[[Array], Array], data: Array
) -> Loss:
    """Return the mean squared error between what is measured of a picture and data.

    Parameters
    ----------
    forward : callable
        A linear map A from pictures [H, W, C] to arrays of the data's shape.
    adjoint : callable
        Its adjoint A': sum(A(x) y) = sum(x A'(y)) for every picture x and array y.
    data : float array, any shape

    Returns
    -------
    Loss
        mean((A u - data)^2). Its curvature is 2 |A|^2 / data.size, |A| the largest singular value.
    """

    def loss(picture: Floats) -> tuple[float, Array]:
        difference = forward(picture) - data
        return float(np.mean(difference * difference)), adjoint(difference) * (2.0 / data.size)

    return loss


def total(*terms: tuple[float, Loss]) -> Loss:
    """Return the sum of losses, each times its weight."""

    def loss(picture: Floats) -> tuple[float, Array]:
        value, slope = 0.0, np.zeros(picture.shape)
        for weight, term in terms:
            part, derivatives = term(picture)
            value += weight * part
            slope += weight * derivatives
        return value, slope

    return loss


def total_variation(smoothing: float = 0.01) -> Loss:
    """Return the mean length of the colour's gradient: Rudin, Osher and Fatemi 1992, of vectors.

    Forward differences, none over the last row and column, channels taken together (Blomgren and
    Chan 1998).

    Parameters
    ----------
    smoothing : float, > 0, per px
        Added to the length in squares, which rounds off the corner at 0.
    """

    def loss(picture: Floats) -> tuple[float, Array]:
        dx = np.diff(picture, axis=1, append=picture[:, -1:])
        dy = np.diff(picture, axis=0, append=picture[-1:])
        length = np.sqrt(np.sum(dx * dx + dy * dy, axis=2, keepdims=True) + smoothing**2)
        dx /= length
        dy /= length
        slope = -dx - dy
        slope[:, 1:] += dx[:, :-1]
        slope[1:] += dy[:-1]
        return float(np.mean(length)) - smoothing, slope / length.size

    return loss


def ms_ssim_loss(target: Floats) -> Loss:
    """Return 1 - MS-SSIM with an image, as `sadcodec.metrics.ms_ssim` has it for a range of 1.

    Parameters
    ----------
    target : float32 [H, W, C], display-referred 0..1, H and W >= 11
        Where there is no room for five scales (176 px), only the first ones count, and their
        weights are made to sum to 1.

    Raises
    ------
    OptionError
        If a side is under 11 px.
    """
    room = min(target.shape[:2]) // (2 * WINDOW_REACH + 1)
    if room < 1:
        raise OptionError("MS-SSIM needs at least 11 x 11 pixels")
    weights = np.array(MS_SSIM_WEIGHTS[: min(len(MS_SSIM_WEIGHTS), room.bit_length())])
    weights /= weights.sum()
    planes = [_pyramid(plane, len(weights)) for plane in np.moveaxis(target, 2, 0)]

    def loss(picture: Floats) -> tuple[float, Array]:
        value, slope = 0.0, np.empty(picture.shape)
        for channel, pyramid in enumerate(planes):
            similarity, slope[:, :, channel] = _ms_ssim(pyramid, picture[:, :, channel], weights)
            value += 1.0 - similarity
        return value / len(planes), slope / -len(planes)

    return loss


def _ms_ssim(pyramid: list[Array], plane: Array, weights: Array) -> tuple[float, Array]:
    """Return the MS-SSIM of a plane with another's pyramid, and its derivatives."""
    found = [
        _ssim(x, y, luminance=scale == len(weights) - 1)
        for scale, (x, y) in enumerate(zip(pyramid, _pyramid(plane, len(weights)), strict=True))
    ]
    # A scale without any likeness has no slope; a floor keeps the others'.
    means = np.array([max(mean, 1e-3) for mean, _ in found])
    similarity = float(np.prod(means**weights))
    slope: Array = np.zeros_like(found[-1][1])
    for scale in range(len(weights) - 1, -1, -1):
        if scale < len(weights) - 1:
            slope = _spread(slope, found[scale][1].shape)
        slope = slope + (similarity * weights[scale] / means[scale]) * found[scale][1]
    return similarity, slope


def _ssim(x: Array, y: Array, *, luminance: bool) -> tuple[float, Array]:
    """Return the mean SSIM of two planes, or its contrast and structure alone, and d / dy."""
    mean_x, mean_y = window_mean(x), window_mean(y)
    variances = window_mean(x * x + y * y) - mean_x * mean_x - mean_y * mean_y + SSIM_C2
    structure = (2 * (window_mean(x * y) - mean_x * mean_y) + SSIM_C2) / variances
    light = np.ones_like(structure)
    d_mean = np.zeros_like(structure)
    if luminance:
        power = mean_x * mean_x + mean_y * mean_y + SSIM_C1
        light = (2 * mean_x * mean_y + SSIM_C1) / power
        d_mean = structure * 2 * (mean_x - light * mean_y) / power
    d_covariance = light * 2 / variances
    d_variance = -light * structure / variances
    d_mean -= 2 * mean_y * d_variance + mean_x * d_covariance
    slope = _unwindowed(d_mean) + 2 * y * _unwindowed(d_variance) + x * _unwindowed(d_covariance)
    return float(np.mean(light * structure)), slope / structure.size


def _unwindowed(plane: Array) -> Array:
    """Return the adjoint of `window_mean`: [H, W] to [H + 10, W + 10]."""
    return window_mean(np.pad(plane, 2 * WINDOW_REACH))


def _pyramid(plane: Array, scales: int) -> list[Array]:
    planes = [np.ascontiguousarray(plane, np.float32)]
    for _ in range(scales - 1):
        height, width = (side // 2 for side in planes[-1].shape)
        cut = planes[-1][: 2 * height, : 2 * width]
        planes.append(cut.reshape(height, 2, width, 2).mean(axis=(1, 3)))
    return planes


def _spread(slope: Array, shape: tuple[int, ...]) -> Array:
    """Return the adjoint of one step of the pyramid."""
    out = np.zeros(shape, np.float32)
    out[: 2 * slope.shape[0], : 2 * slope.shape[1]] = slope.repeat(2, axis=0).repeat(2, axis=1) / 4
    return out
