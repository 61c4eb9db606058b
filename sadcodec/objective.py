"""What an encode optimizes: the weighted squared error of a picture against a target.

For PSNR the target is the image, without weights. For SSIM both follow from its formula. Beside the
means' term, a window of the picture y of an image x loses

    f = var(y - x) / D,   D = var(x) + var(y) + C2

of its similarity (Wang, Bovik, Sheikh and Simoncelli 2004), so an error costs most where there is
little contrast. A fraction falls where var(y - x) - f var(y) does, f being its present value
(Dinkelbach 1967). With the means of y taken as those of x, this is (1 - f) (y - t)^2 in each pixel
and a constant: the target t has the contrast of x raised by 1 / (1 - f). It makes up for the
contrast that the least squares lose wherever they miss texture.

The image, and what its pixels count, are those of `sadcodec.alpha.visible`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec.alpha import visible
from sadcodec.metrics import SSIM_C2, WINDOW_REACH, window_mean

__all__ = ["METRICS", "Objective", "objective_for", "weighted"]

Floats = NDArray[np.float32]

METRICS = ("psnr", "ssim")

# A window counts 1 / D^0.5, not 1 / D, and no target has more than 1 / (1 - 0.6) = 2.5 times the
# image's contrast: docs/RATE_DISTORTION.md, "Structural similarity".
_POWER = 0.5
_MOST_LOST = 0.6


@dataclass(frozen=True)
class Objective:
    """A target and how much each pixel counts.

    Attributes
    ----------
    target : float32 [H, W, C]
        Display-referred; not bounded by 0..1.
    weights : float32 [H, W], >= 0 with mean 1, or None
        Of the squared errors, in all channels; None: all 1.
    """

    target: Floats
    weights: Floats | None = None


def objective_for(metric: str, image: Floats, drawn: Floats | None = None) -> Objective:
    """Return what to fit to, to bring a picture near an image.

    Parameters
    ----------
    metric : str
        One of `METRICS`.
    image : float32 [H, W, C], display-referred 0..1
    drawn : float32 [H, W, C], optional
        A picture of it that is to be bettered. Without one, nothing is taken as lost yet.
    """
    image, seen = visible(image, drawn)
    if metric == "psnr":
        return Objective(image, seen)
    target, weights = np.empty_like(image), np.zeros(image.shape[:2], np.float32)
    for channel in range(image.shape[2]):
        x = np.ascontiguousarray(image[:, :, channel])
        y = x if drawn is None else np.clip(drawn[:, :, channel], 0.0, 1.0).astype(np.float32)
        weights += _plane_objective(x, y, target[:, :, channel])
    weights /= weights.mean(dtype=np.float64)
    objective = Objective(target, weights)
    return objective if seen is None else weighted(objective, seen)


def weighted(objective: Objective, weights: Floats) -> Objective:
    """Return an objective in which each pixel counts so many times as much.

    Parameters
    ----------
    objective : Objective
    weights : float32 [H, W], >= 0 with mean 1
    """
    if objective.weights is not None:
        weights = objective.weights * weights
        weights /= weights.mean(dtype=np.float64)
    return Objective(objective.target, weights)


def _plane_objective(x: Floats, y: Floats, target: Floats) -> Floats:
    """Write the target [H, W] of a channel; return its weights [H, W]."""
    mean = _windowed(x)
    contrast = _variance(x) + _variance(y) + np.float32(SSIM_C2)
    lost = np.minimum(_variance(y - x) / contrast, np.float32(_MOST_LOST))
    price = contrast ** np.float32(-_POWER)
    # Every pixel is in the windows around it, each of which has a target of its own.
    weights = _windowed((1 - lost) * price)
    target[:] = (_windowed(price) * x - _windowed(lost * price * mean)) / weights
    return weights


def _variance(plane: Floats) -> Floats:
    mean = _windowed(plane)
    return np.maximum(_windowed(plane * plane) - mean * mean, np.float32(0))


def _windowed(plane: Floats) -> Floats:
    """Mean of the SSIM window around every pixel, the border repeated outwards."""
    return window_mean(np.pad(plane, WINDOW_REACH, mode="edge"))
