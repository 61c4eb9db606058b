"""Where the primitives of a fit start."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import ANGLE, COLOR, COLUMNS, OPACITY, R, X, Y
from sadcodec.compose.logistic import logit

__all__ = ["INITS", "SMALLEST_R", "color_logits", "importance", "initialize", "largest_r"]

Floats = NDArray[np.float32]

INITS = ("structure", "random")

SMALLEST_R = 2.0  # px
_WINDOW = 7  # px, of the local variance
_START_OPACITY = -2.0
_FALL = 2.0  # r = low (high / low)^(q^_FALL) at rank q, from detailed places to flat ones


def largest_r(width: int, height: int) -> float:
    """Return the upper bound of r in px: a quarter of the short side."""
    return max(min(width, height) / 4, SMALLEST_R)


def color_logits(color: Floats) -> Floats:
    """Return the logits of colours, kept within +-4, where the sigmoid still has a slope."""
    return logit(color, 1 / (1 + math.exp(4))).astype(np.float32)


def importance(target: Floats) -> Floats:
    """Return the local variance of the luma in windows of 7 x 7 px, over its 99th percentile.

    Parameters
    ----------
    target : float32 [3, H, W], display-referred RGB

    Returns
    -------
    float32 [H, W], 0..1
    """
    red, green, blue = target
    luma = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    mean = _box(luma)
    variance = np.maximum(_box(luma * luma) - mean * mean, 0)
    bound = np.percentile(variance, 99)
    return np.clip(variance / (bound if bound > 0 else 1), 0, 1).astype(np.float32)


def initialize(
    target: Floats,
    count: int,
    random: np.random.Generator,
    *,
    init: str = "structure",
    weights: Floats | None = None,
) -> Floats:
    """Place primitives on a target.

    Parameters
    ----------
    target : float32 [3, H, W], display-referred RGB
    count : int, >= 1
    random : numpy.random.Generator
    init : {"structure", "random"}
        ``structure``: pixels are drawn without replacement with p in proportion to 0.1 + 0.9
        `importance`; r falls from the flattest place to the most detailed one, and those that are
        small lie in front. ``random``: pixels, sizes and order by chance.
    weights : float32 [H, W], >= 0, optional
        Factors of p, for places that do not count.

    Returns
    -------
    float32 [count, 8]
        The opacity logit is -2, angles are random, colours those of the pixels.
    """
    _, height, width = target.shape
    detail = importance(target).ravel()
    chance = 0.1 + 0.9 * detail.astype(np.float64) if init == "structure" else np.ones(detail.size)
    if weights is not None:
        chance = chance * weights.ravel()
    if not chance.sum() > 0:
        chance = np.ones(detail.size)
    chance /= chance.sum()
    repeat = count > int(np.count_nonzero(chance))
    pixel = random.choice(detail.size, count, replace=repeat, p=chance)
    if init == "structure":
        # Front to back from detailed to flat; a stable sort keeps chance among equals.
        pixel = pixel[np.argsort(-detail[pixel], kind="stable")]
        rank = (np.arange(count) + 0.5) / count
    else:
        rank = random.uniform(0, 1, count)
    out = np.empty((count, COLUMNS), np.float32)
    out[:, X] = pixel % width + random.uniform(0, 1, count)
    out[:, Y] = pixel // width + random.uniform(0, 1, count)
    out[:, R] = SMALLEST_R * (largest_r(width, height) / SMALLEST_R) ** (rank**_FALL)
    out[:, ANGLE] = random.uniform(0, 2 * math.pi, count)
    out[:, OPACITY] = _START_OPACITY
    out[:, COLOR:] = color_logits(target.reshape(3, -1)[:, pixel].T)
    return out


def _box(plane: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean of the window around every pixel, the border repeated outwards."""
    for _ in range(2):
        padded = np.pad(plane, ((_WINDOW // 2 + 1, _WINDOW // 2), (0, 0)), mode="edge")
        sums = np.cumsum(padded, axis=0, dtype=np.float64)
        plane = ((sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW).T
    return plane
