"""How far the parts of a picture moved to the next one: phase correlation of windows.

Kuglin and Hines 1975: the phases of the cross spectrum of two pictures, transformed back, peak at
the shift between them. First of the whole picture, then of overlapping windows, each of which keeps
the better of both by the squared error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["motion_at"]

Floats = NDArray[np.float32]

_WINDOW = 48  # px, of the parts
_STRIDE = 16  # px, between their centres
_LEAST = 1e-6  # of the magnitude of a spectrum


def motion_at(before: Floats, after: Floats, position: Floats) -> Floats:
    """Return how far the picture moved at some positions.

    Parameters
    ----------
    before, after : float32 [H, W, C]
    position : float32 [N, 2], px
        x and y in the picture before.

    Returns
    -------
    float32 [N, 2], px
    """
    planes = [picture.mean(axis=2, dtype=np.float32) for picture in (before, after)]
    height, width = planes[0].shape
    whole = _shift(planes[0][None], planes[1][None])[0]
    if _error(planes[0], planes[1], whole) > _error(planes[0], planes[1], np.zeros(2, int)):
        whole[:] = 0
    side = min(_WINDOW, height, width)
    if side < 8:
        return np.broadcast_to(whole.astype(np.float32), position.shape)
    moved = _moved(planes[0], whole)
    ys, xs = (np.arange(0, length - side + _STRIDE, _STRIDE) for length in (height, width))
    ys, xs = np.minimum(ys, height - side), np.minimum(xs, width - side)
    windows = [
        np.stack([plane[y : y + side, x : x + side] for y in ys for x in xs])
        for plane in (moved, planes[1])
    ]
    local = _shift(*windows)
    for i, (was, now) in enumerate(zip(*windows, strict=True)):
        if abs(local[i]).max() > side // 4 or _error(was, now, local[i]) > 0.9 * _error(
            was, now, np.zeros(2, int)
        ):
            local[i] = 0
    # The window whose centre is nearest.
    centre = position - side / 2
    row = np.abs(centre[:, 1:] - ys).argmin(axis=1)
    column = np.abs(centre[:, :1] - xs).argmin(axis=1)
    return (whole + local[row * len(xs) + column]).astype(np.float32)


def _shift(before: Floats, after: Floats) -> NDArray[np.int64]:
    """Return the shifts (x, y) between pairs of windows [B, H, W], int64 [B, 2]."""
    height, width = before.shape[1:]
    taper = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[1:-1]
    spectra = [
        np.fft.rfft2((w - w.mean(axis=(1, 2), keepdims=True)) * taper) for w in (before, after)
    ]
    cross = spectra[1] * np.conj(spectra[0])
    peak = np.fft.irfft2(cross / (np.abs(cross) + _LEAST), s=(height, width))
    y, x = np.divmod(peak.reshape(len(peak), -1).argmax(axis=1), width)
    return np.stack(
        [(x + width // 2) % width - width // 2, (y + height // 2) % height - height // 2], 1
    )


def _moved(plane: Floats, shift: NDArray[np.int64]) -> Floats:
    """Return the plane moved by (x, y), its border repeated."""
    height, width = plane.shape
    rows = np.clip(np.arange(height) - shift[1], 0, height - 1)
    columns = np.clip(np.arange(width) - shift[0], 0, width - 1)
    return plane[rows[:, None], columns]


def _error(before: Floats, after: Floats, shift: NDArray[np.int64]) -> float:
    return float(np.sum((_moved(before, shift) - after) ** 2))
