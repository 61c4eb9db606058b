"""The template at every scale: what a primitive of r pixels is looked up in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import TEMPLATE_SIDE

__all__ = ["LEVELS", "halvings", "levels", "margin_of", "pyramid"]

LEVELS = TEMPLATE_SIDE.bit_length()  # sides 128, 64, ... 1


def margin_of(blur: float) -> int:
    """Return the texels that a blur of sigma `blur` texels adds on every side."""
    return math.ceil(3 * blur)


def levels(r: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the level that a primitive is looked up in: 1 to 2 texels a pixel where there are any.

    Parameters
    ----------
    r : float32 [N], > 0, px of the raster that is drawn

    Returns
    -------
    int64 [N]
        The largest l in 0..7 with r 2^(l + 1) <= 128, or 0. Powers of two round nothing, so that
        every implementation agrees.
    """
    steps = np.float32(2.0) ** np.arange(2, LEVELS + 1, dtype=np.float32)
    found: NDArray[np.int64] = (r[:, None] * steps[None] <= TEMPLATE_SIDE).sum(axis=1)
    return found


def pyramid(templates: NDArray[np.uint8], blur: float = 0.0) -> list[NDArray[np.uint8]]:
    """Premultiply templates, halve them down to one texel, and blur every level.

    Parameters
    ----------
    templates : uint8 [P, 128, 128, 4]
        Straight RGBA.
    blur : float, >= 0
        Sigma of a Gaussian in texels of each level: between half a pixel and one of the picture,
        more for primitives larger than their template. 0 leaves the levels as they are.

    Returns
    -------
    list of 8 arrays, uint8 [P, S, S, 4] with S = 128 / 2^l + 2 margin
        Premultiplied RGBA, of integers only where `blur` is 0: level 0 rounds c a / 255, a level is
        the rounded mean of 2 x 2 texels of the one before, halves up. The margin (`margin_of`) has
        room for what a blur spreads.
    """
    straight = templates.astype(np.uint32)
    alpha = straight[..., 3:]
    color = (2 * straight[..., :3] * alpha + 255) // 510
    return halvings(np.concatenate([color, alpha], axis=-1), blur)


def halvings(level: NDArray[np.integer], blur: float) -> list[NDArray[np.uint8]]:
    """Return the levels of `pyramid` from the first, [P, 128, 128, C] premultiplied, 0..255."""
    level = level.astype(np.uint32)
    out = []
    for _ in range(LEVELS):
        out.append(_blurred(level, blur))
        if level.shape[1] > 1:
            rows = level[:, 0::2] + level[:, 1::2]
            level = (rows[:, :, 0::2] + rows[:, :, 1::2] + 2) >> 2
    return out


def _blurred(level: NDArray[np.integer], blur: float) -> NDArray[np.uint8]:
    margin = margin_of(blur)
    if margin == 0:
        return level.astype(np.uint8)
    offsets = np.arange(-margin, margin + 1)
    weights = np.exp(-0.5 * (offsets / blur) ** 2)
    weights /= weights.sum()
    values = np.pad(level, ((0, 0), (margin, margin), (margin, margin), (0, 0))).astype(np.float32)
    for axis in (1, 2):
        total = np.zeros_like(values)
        for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
            # What a roll brings in from the other side lies in the margin and is 0 where it counts.
            total += np.float32(weight) * np.roll(values, offset, axis=axis)
        values = total
    return np.rint(values).astype(np.uint8)
