"""How far a picture is from a target, and the slope of that by each pixel.

Pictures are planes here, [3, H, W]: what NumPy goes through fastest.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sadcodec.objective import objective_for

__all__ = ["L1", "LOSSES", "ColorLoss", "Huber", "Squared", "Structural", "color_loss"]

Floats = NDArray[np.float32]

LOSSES = ("mse", "l1", "huber", "ssim")

_HUBER = np.float32(0.05)  # where the squared error goes over into the absolute one
_REFRESH = 25  # pictures between two looks at the contrast that is lost


class ColorLoss(Protocol):
    """A loss of colours: the weighted mean over pixels and channels.

    Parameters
    ----------
    target : float32 [3, H, W]
    weights : float32 [H, W] with mean 1, or None for 1 everywhere
    """

    def __init__(self, target: Floats, weights: Floats | None) -> None: ...

    def __call__(self, picture: Floats) -> tuple[float, Floats]:
        """Return the loss of a picture [3, H, W], and its slopes times the number of values."""


class Squared:
    """Squared error."""

    def __init__(self, target: Floats, weights: Floats | None) -> None:
        self._target, self._weights = target, weights

    def __call__(self, picture: Floats) -> tuple[float, Floats]:
        """See `ColorLoss`."""
        difference = picture - self._target
        slope = 2 * difference
        if self._weights is not None:
            slope *= self._weights
        return 0.5 * _mean_product(difference, slope), slope


class L1:
    """Absolute error."""

    def __init__(self, target: Floats, weights: Floats | None) -> None:
        self._target, self._weights = target, weights

    def __call__(self, picture: Floats) -> tuple[float, Floats]:
        """See `ColorLoss`."""
        difference = picture - self._target
        slope = np.sign(difference)
        if self._weights is not None:
            slope *= self._weights
        return _mean_product(difference, slope), slope


class Huber:
    """Squared error up to 0.05, on from there as a straight line (Huber 1964), over 0.05."""

    def __init__(self, target: Floats, weights: Floats | None) -> None:
        self._target, self._weights = target, weights

    def __call__(self, picture: Floats) -> tuple[float, Floats]:
        """See `ColorLoss`."""
        difference = picture - self._target
        slope = np.clip(difference / _HUBER, -1, 1)
        if self._weights is not None:
            slope *= self._weights
        near = np.minimum(np.abs(difference), _HUBER)
        return _mean_product(difference - np.copysign(0.5 * near, difference), slope), slope


class Structural:
    """Structural dissimilarity, as the squared error to a target with more contrast.

    Target and weights are made anew from the picture every 25 calls: see `sadcodec.objective`,
    which is what an encode to a quality uses.
    """

    def __init__(self, target: Floats, weights: Floats | None) -> None:
        self._image = np.ascontiguousarray(target.transpose(1, 2, 0))
        self._weights = weights
        self._calls = 0
        self._squared = Squared(target, weights)

    def __call__(self, picture: Floats) -> tuple[float, Floats]:
        """See `ColorLoss`."""
        if self._calls % _REFRESH == 0:
            drawn = np.ascontiguousarray(picture.transpose(1, 2, 0)) if self._calls else None
            objective = objective_for("ssim", self._image, drawn)
            weights = objective.weights
            if weights is not None and self._weights is not None:
                weights = weights * self._weights
            target = np.ascontiguousarray(objective.target.transpose(2, 0, 1))
            self._squared = Squared(target, weights)
        self._calls += 1
        return self._squared(picture)


def color_loss(name: str, target: Floats, weights: Floats | None) -> ColorLoss:
    """Return the loss of that name, one of `LOSSES`, to a target [3, H, W]."""
    made: dict[str, type[ColorLoss]] = {
        "mse": Squared,
        "l1": L1,
        "huber": Huber,
        "ssim": Structural,
    }
    return made[name](target, weights)


def _mean_product(a: Floats, b: Floats) -> float:
    # A plane at a time in float32, which NumPy adds in pairs: enough, and always the same.
    return float(np.mean([np.mean(x * y) for x, y in zip(a, b, strict=True)]))
