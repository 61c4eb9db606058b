"""Primitives one by one, as layers of 8 bits: what layered files hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import Composition, R, X, Y
from sadcodec.compose.render import bitmaps

__all__ = ["Layer", "layers"]


_TINY, _HALF, _WHITE = np.float32(1e-6), np.float32(0.5), np.float32(255)


class Layer(NamedTuple):
    """One primitive over the pixels that it touches."""

    number: int  # of the primitive; 0 is in front
    left: int  # px
    top: int
    pixels: NDArray[np.uint8]  # [h, w, 4], straight RGBA


def layers(composition: Composition) -> Iterator[Layer]:
    """Give the primitives that are seen, from the back to the front.

    Rounded to 8 bits each, layers over each other would be some code values off. So alpha is
    chosen at every pixel, within 1 of its own value, such that what lies over each other so far
    comes as near to the exact picture as it can.

    Parameters
    ----------
    composition : Composition
    """
    width, height = composition.width, composition.height
    exact = np.zeros((height, width, 4), np.float32)  # premultiplied
    if composition.background is not None:
        exact[..., :3] = composition.background
        exact[..., 3] = 1.0
    rounded = np.floor(exact * 255 + _HALF) / _WHITE
    cores = [
        bitmaps(template[None], composition.blend, threads=1) for template in composition.templates
    ]
    for i in reversed(range(len(composition))):
        row = composition.params[i]
        reach = float(np.sqrt(2) * row[R]) + 2
        left, right = _span(float(row[X]), reach, width)
        top, bottom = _span(float(row[Y]), reach, height)
        if left >= right or top >= bottom:
            continue
        planes = np.empty((4, bottom - top, right - left), np.float32)
        core = cores[i % len(cores)]
        core.set_params(composition.params[i : i + 1], composition.opacity, composition.blend)
        core.draw(planes, left, top, 0)
        drawn = np.ascontiguousarray(planes.transpose(1, 2, 0))
        part = (slice(top, bottom), slice(left, right))
        pixels = _quantized(drawn, exact[part], rounded[part])
        seen = pixels[..., 3] > 0
        if not seen.any():
            continue
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        first_row, first_column = int(rows[0]), int(columns[0])
        crop = pixels[first_row : rows[-1] + 1, first_column : columns[-1] + 1]
        yield Layer(i, left + first_column, top + first_row, np.ascontiguousarray(crop))


def _span(center: float, reach: float, side: int) -> tuple[int, int]:
    low, high = np.clip((np.floor(center - reach), np.ceil(center + reach)), 0, side)
    return int(low), int(high)


def _quantized(
    drawn: NDArray[np.float32], exact: NDArray[np.float32], rounded: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Round a layer, and lay it over both pictures [h, w, 4], which change in place."""
    alpha = drawn[..., 3:]
    over = np.ones_like(drawn)
    color = np.clip(drawn[..., :3] / np.maximum(alpha, _TINY), 0, 1)
    over[..., :3] = np.floor(color * 255 + _HALF) / _WHITE
    exact *= 1 - alpha
    exact += drawn
    # The share of this layer that makes the best of what lies below it, near to its own alpha.
    way = over - rounded
    wanted = np.einsum("ijc,ijc->ij", exact - rounded, way)
    length = np.einsum("ijc,ijc->ij", way, way)
    own = alpha[..., 0] * _WHITE
    best = np.where(length > _TINY, wanted / np.maximum(length, _TINY) * _WHITE, own)
    code = np.clip(np.floor(np.clip(best, own - 1, own + 1) + _HALF), 0, 255)
    code[own == 0] = 0
    rounded += way * (code[..., None] / _WHITE)
    pixels = np.empty(drawn.shape, np.uint8)
    pixels[..., :3] = np.where(code[..., None] > 0, over[..., :3] * _WHITE + _HALF, 0)
    pixels[..., 3] = code
    return pixels
