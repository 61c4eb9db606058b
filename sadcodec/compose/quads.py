"""Templates as the kernels read them: see kernels/bmp_core.h."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.pyramid import halvings, pyramid

__all__ = ["Quads", "quads"]


class Quads(NamedTuple):
    """All levels of all templates.

    Attributes
    ----------
    quads : uint32 [M]
        Four texels each, from the lowest byte: upper left, upper right, lower left, lower right.
        A plane of alpha, and if `blended` of red, green and blue, for every template and level.
    levels : int32 [P, 8, 6]
        The first quad of the alpha plane, the quads of its side, and the coordinates between which
        the level is not 0: across from and to, down from and to.
    blended : bool
    """

    quads: NDArray[np.uint32]
    levels: NDArray[np.int32]
    blended: bool


def quads(templates: NDArray[np.uint8], blended: bool, blur: float = 0.0) -> Quads:
    """Make templates ready for the kernels.

    Parameters
    ----------
    templates : uint8 [P, 128, 128, 4], straight RGBA
    blended : bool
        Whether their colours are wanted.
    blur : float
        As of `pyramid`.
    """
    channels = [3, 0, 1, 2] if blended else [0]
    pictures = pyramid(templates, blur) if blended else halvings(templates[..., 3:], blur)
    made, table, first = [], [], 0
    for level in pictures:
        # Two texels of 0 on every side: quad (i, j) has texels i - 2 and i - 1, j - 2 and j - 1.
        planes = np.pad(level[..., channels], ((0, 0), (2, 2), (2, 2), (0, 0))).astype(np.uint32)
        planes = planes.transpose(0, 3, 1, 2)
        upper = planes[:, :, :-1, :-1] | planes[:, :, :-1, 1:] << 8
        lower = planes[:, :, 1:, :-1] << 16 | planes[:, :, 1:, 1:] << 24
        packed = upper | lower
        made.append(packed.ravel())
        count, size, side = len(packed), packed[0].size, packed.shape[-1]
        starts = first + size * np.arange(count)
        first += packed.size
        seen = level[..., channels].max(axis=-1) > 0
        bounds = [*_bounds(seen, 1), *_bounds(seen, 2)]
        table.append(np.stack([starts, np.full(count, side), *bounds], axis=1))
    return Quads(np.concatenate(made), np.stack(table, axis=1).astype(np.int32), blended)


def _bounds(seen: NDArray[np.bool_], over: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the quad coordinates between which anything of [P, n, n] is seen along an axis."""
    used: NDArray[np.bool_] = np.any(seen, axis=over)
    n = used.shape[1]
    empty = ~used.any(axis=1)
    low = np.where(empty, n, used.argmax(axis=1))
    high = np.where(empty, -1, n - 1 - used[:, ::-1].argmax(axis=1))
    return low + 1, high + 3
