"""What a composition is fitted on: colours, foreground, and what shows where it is transparent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import OptionError

__all__ = ["Canvas", "canvas_of"]

Floats = NDArray[np.float32]

_GRAY = np.float32(0.5)  # behind the pictures that a PSNR compares where there is no background


@dataclass(frozen=True, eq=False)
class Canvas:
    """The target as planes.

    Attributes
    ----------
    target : float32 [3, H, W]
        Straight RGB, display-referred.
    foreground : float32 [H, W], 0..1, or None
        The target's alpha times the mask; None: 1 everywhere.
    background : float32 [3] or None
        Of the composition.
    noisy : bool
        Whether primitives are drawn over noise.
    """

    target: Floats
    foreground: Floats | None
    background: Floats | None
    noisy: bool

    @property
    def weights(self) -> Floats | None:
        """float32 [H, W] with mean 1: the foreground, for the loss of colours."""
        if self.foreground is None:
            return None
        mean = float(np.mean(self.foreground))
        return self.foreground / np.float32(mean) if mean > 0 else self.foreground

    def behind(self, random: np.random.Generator) -> Floats:
        """Return what lies behind the primitives at one iteration, [3, H, W] or [3, 1, 1]."""
        if self.noisy:
            return random.random(self.target.shape, np.float32)
        if self.background is None:
            return np.ones((3, 1, 1), np.float32)
        return self.background[:, None, None]

    def error(self, image: Floats) -> Floats:
        """Return the squared error [H, W] of premultiplied RGBA [4, H, W].

        Both lie over the background, or gray where there is none.
        """
        behind = np.full(3, _GRAY) if self.background is None else self.background
        behind = behind[:, None, None]
        target = self.target
        if self.foreground is not None:
            target = behind + self.foreground * (target - behind)
        difference = image[:3] + (1 - image[3]) * behind - target
        return np.einsum("chw,chw->hw", difference, difference)

    def psnr(self, image: Floats) -> float:
        """Return the PSNR in dB of premultiplied RGBA [4, H, W], over all pixels."""
        mse = float(np.mean(self.error(image), dtype=np.float64)) / 3
        return math.inf if mse == 0 else -10 * math.log10(mse)


def canvas_of(
    target: Floats, mask: Floats | None, background: Floats | str | None, noisy: bool
) -> Canvas:
    """Make a canvas from the arguments of `sadcodec.compose.fit.fit`.

    Raises
    ------
    OptionError
        If the background is not a colour.
    """
    planes = np.ascontiguousarray(target[..., :3].transpose(2, 0, 1))
    foreground = None if mask is None else mask.astype(np.float32)
    if target.shape[2] == 4:
        alpha = np.ascontiguousarray(target[..., 3])
        foreground = alpha if foreground is None else alpha * foreground
    if foreground is not None and (foreground == 1).all():
        foreground = None
    if isinstance(background, str):
        if background != "auto":
            raise OptionError(f"the background must be a colour or 'auto', not {background!r}")
        opaque = foreground is None
        background = planes.mean(axis=(1, 2), dtype=np.float64) if opaque else None
    if background is not None:
        background = np.clip(np.asarray(background, np.float32), 0, 1)
        if background.shape != (3,):
            raise OptionError("the background must have three channels")
    return Canvas(planes, foreground, background, noisy and foreground is not None)
