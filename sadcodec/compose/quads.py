"""Templates as the kernels read them: see kernels/bmp_core.h."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import TEMPLATE_SIDE
from sadcodec.compose.pyramid import LEVELS, halvings, margin_of, pyramid

__all__ = ["Quads", "quads"]

_BATCH = 16


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
    count, margin = len(templates), margin_of(blur)
    sides = [(TEMPLATE_SIDE >> level) + 2 * margin + 3 for level in range(LEVELS)]
    sizes = [len(channels) * side * side for side in sides]  # of a template's level
    table = np.empty((count, LEVELS, 6), np.int32)
    out = np.empty(count * sum(sizes), np.uint32)
    # A few at a time: what is made on the way takes more memory than the quads.
    for start in range(0, count, _BATCH):
        batch = slice(start, min(start + _BATCH, count))
        some = templates[batch]
        pictures = pyramid(some, blur) if blended else halvings(some[..., 3:], blur)
        first = 0
        for level, (picture, side, size) in enumerate(zip(pictures, sides, sizes, strict=True)):
            seen = picture[..., channels].max(axis=-1) > 0
            starts = first + size * np.arange(batch.start, batch.stop)
            bounds = [*_bounds(seen, 1), *_bounds(seen, 2)]
            table[batch, level] = np.stack([starts, np.full(len(some), side), *bounds], axis=1)
            place = out[first : first + count * size].reshape(count, -1, side, side)
            place[batch] = _packed(picture[..., channels])
            first += count * size
    return Quads(out, table, blended)


def _packed(picture: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return quads uint32 [P, C, n + 3, n + 3] of uint8 [P, n, n, C]."""
    # Two texels of 0 on every side: quad (i, j) has texels i - 2 and i - 1, j - 2 and j - 1.
    planes = np.pad(picture, ((0, 0), (2, 2), (2, 2), (0, 0))).astype(np.uint32)
    planes = planes.transpose(0, 3, 1, 2)
    out = planes[:, :, :-1, :-1].copy()
    for byte, part in enumerate(
        (planes[:, :, :-1, 1:], planes[:, :, 1:, :-1], planes[:, :, 1:, 1:])
    ):
        out |= part << np.uint32(8 * byte + 8)
    return out


def _bounds(seen: NDArray[np.bool_], over: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the quad coordinates between which anything of [P, n, n] is seen along an axis."""
    used: NDArray[np.bool_] = np.any(seen, axis=over)
    n = used.shape[1]
    empty = ~used.any(axis=1)
    low = np.where(empty, n, used.argmax(axis=1))
    high = np.where(empty, -1, n - 1 - used[:, ::-1].argmax(axis=1))
    return low + 1, high + 3
