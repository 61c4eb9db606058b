"""What a composition looks like, in plain NumPy and float64; and the gradients of its parameters.

A primitive covers the pixel (px, py) at

    (u, v) = R(-angle) (px - x, py - y) / r,

in its template at s = (u + 1) S / 2 - 1/2 texels across and t = (v + 1) S / 2 - 1/2 down, where the
template's level of S x S texels (`sadcodec.compose.pyramid`) is interpolated bilinearly between the
texels' centres and is 0 outside of them: mask m and premultiplied colour q, both 0..1. With
k = opacity * sigmoid(logit),

    alpha = k m,    premultiplied colour = k ((1 - blend) sigmoid(c) m + blend q).

Primitives lie over each other in the order of their index, the first in front, and all of them over
the background. Nothing clips a turned square's corners, and a pixel takes every primitive that
covers it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import (
    ANGLE,
    COLOR,
    OPACITY,
    TEMPLATE_SIDE,
    Composition,
    R,
    X,
    Y,
)
from sadcodec.compose.logistic import sigmoid
from sadcodec.compose.pyramid import levels, pyramid

__all__ = ["gradient", "render"]

Floats = NDArray[np.float64]


class _Cover(NamedTuple):
    """One primitive over the rows and columns that its square touches."""

    rows: slice
    columns: slice
    sample: Floats  # [h, w, 4]: q, m
    along: Floats  # [h, w, 4]: their derivatives by s
    across: Floats  # [h, w, 4]: their derivatives by t
    u: Floats  # [h, w], in texels
    v: Floats


def render(
    composition: Composition,
    width: int | None = None,
    height: int | None = None,
    *,
    blur: float = 0.0,
) -> Floats:
    """Draw a composition.

    Parameters
    ----------
    composition : Composition
    width, height : int, optional
        Size to draw it at; its own by default (see `Composition.at_size`).
    blur : float, >= 0
        Of the templates, as in `pyramid`; a fit draws blurred ones.

    Returns
    -------
    float64 [H, W, 3]
        Over the background, 0..1; without one [H, W, 4], premultiplied RGBA.
    """
    sized = composition.at_size(width or composition.width, height or composition.height)
    color = np.zeros((sized.height, sized.width, 3))
    clear = np.ones((sized.height, sized.width, 1))
    for i, cover in _covers(sized, blur):
        part = (cover.rows, cover.columns)
        added, alpha = _paint(sized, i, cover.sample)
        color[part] += clear[part] * added
        clear[part] *= 1 - alpha
    if sized.background is None:
        return np.concatenate([color, 1 - clear], axis=-1)
    return color + clear * sized.background.astype(np.float64)


def gradient(composition: Composition, image_gradient: Floats, *, blur: float = 0.0) -> Floats:
    """Derivatives of a loss by the parameters, from those by the pixels.

    Parameters
    ----------
    composition : Composition
    image_gradient : float64 [H, W, 3 or 4]
        dL/d(what `render` returns) at the composition's own size.
    blur : float
        As `render` was given it.

    Returns
    -------
    float64 [N, 8]
        dL/d(params). The level that r chooses counts as fixed.
    """
    covers = dict(_covers(composition, blur))
    shape = (composition.height, composition.width, 1)
    clear = {}  # what is left of the light in front of each primitive
    now = np.ones(shape)
    for i, cover in covers.items():
        part = (cover.rows, cover.columns)
        clear[i] = now[part].copy()
        now[part] *= 1 - _paint(composition, i, cover.sample)[1]
    # From the back: what lies behind a primitive, as premultiplied RGBA.
    behind = np.zeros((*shape[:2], 4))
    if composition.background is not None:
        behind[..., :3] = composition.background
        image_gradient = np.concatenate([image_gradient, np.zeros(shape)], axis=-1)
    out = np.zeros(composition.params.shape)
    for i, cover in reversed(covers.items()):
        part = (cover.rows, cover.columns)
        added, alpha = _paint(composition, i, cover.sample)
        slope = image_gradient[part] * clear[i]  # of the RGBA that this and what is behind make
        by_alpha = slope[..., 3] - (slope * behind[part]).sum(axis=-1)
        out[i] = _chain(composition, i, cover, slope[..., :3], by_alpha)
        behind[part] = np.concatenate([added, alpha], axis=-1) + (1 - alpha) * behind[part]
    return out


def _covers(composition: Composition, blur: float) -> list[tuple[int, _Cover]]:
    """Return what each primitive covers, where it covers anything."""
    planes = [level / 255.0 for level in pyramid(composition.templates, blur)]
    chosen = levels(composition.params[:, R])
    out = []
    for i, row in enumerate(composition.params.astype(np.float64)):
        scale = TEMPLATE_SIDE / 2 ** chosen[i] / 2 / row[R]  # texels a pixel
        template = planes[chosen[i]][i % len(composition.templates)]
        reach = (template.shape[0] + 1) / 2 / scale * np.sqrt(2)  # px, in any direction
        first_x, last_x = _span(row[X], reach, composition.width)
        first_y, last_y = _span(row[Y], reach, composition.height)
        if first_x >= last_x or first_y >= last_y:
            continue
        dx = np.arange(first_x, last_x)[None, :] + 0.5 - row[X]
        dy = np.arange(first_y, last_y)[:, None] + 0.5 - row[Y]
        cos, sin = np.cos(row[ANGLE]), np.sin(row[ANGLE])
        u, v = scale * (cos * dx + sin * dy), scale * (cos * dy - sin * dx)
        middle = (template.shape[0] - 1) / 2
        sample, along, across = _bilinear(template, u + middle, v + middle)
        rows, columns = slice(first_y, last_y), slice(first_x, last_x)
        out.append((i, _Cover(rows, columns, sample, along, across, u, v)))
    return out


def _span(center: float, reach: float, side: int) -> tuple[int, int]:
    low, high = np.floor(center - reach), np.ceil(center + reach)
    return int(np.clip(low, 0, side)), int(np.clip(high, 0, side))


def _bilinear(template: Floats, s: Floats, t: Floats) -> tuple[Floats, Floats, Floats]:
    """Return values and derivatives by s and t, 0 outside of the template."""
    side = template.shape[0]
    padded = np.zeros((side + 2, side + 2, template.shape[2]))
    padded[1:-1, 1:-1] = template
    low_s, low_t = np.floor(s), np.floor(t)
    fs, ft = (s - low_s)[..., None], (t - low_t)[..., None]
    taps = [
        padded[
            np.clip(low_t + j + 1, 0, side + 1).astype(np.int64),
            np.clip(low_s + i + 1, 0, side + 1).astype(np.int64),
        ]
        for j in (0, 1)
        for i in (0, 1)
    ]
    upper, lower = taps[1] - taps[0], taps[3] - taps[2]
    first, second = taps[0] + fs * upper, taps[2] + fs * lower
    return first + ft * (second - first), upper + ft * (lower - upper), second - first


def _strength(composition: Composition, i: int) -> tuple[float, Floats]:
    """Return k and (1 - blend) sigmoid(c)."""
    row = composition.params[i].astype(np.float64)
    k = composition.opacity * float(sigmoid(row[OPACITY]))
    return k, (1 - composition.blend) * sigmoid(row[COLOR:])


def _paint(composition: Composition, i: int, sample: Floats) -> tuple[Floats, Floats]:
    """Return premultiplied colour [h, w, 3] and alpha [h, w, 1]."""
    k, color = _strength(composition, i)
    mask = sample[..., 3:]
    return k * (color * mask + composition.blend * sample[..., :3]), k * mask


def _chain(
    composition: Composition, i: int, cover: _Cover, slope: Floats, by_alpha: Floats
) -> Floats:
    """Return the derivatives by one parameter row.

    slope [h, w, 3] are those by the premultiplied colour, by_alpha [h, w] those by alpha.
    """
    row = composition.params[i].astype(np.float64)
    k, color = _strength(composition, i)
    by_sample = np.empty_like(cover.sample)
    by_sample[..., :3] = k * composition.blend * slope
    by_sample[..., 3] = k * (slope @ color + by_alpha)
    by_s = (by_sample * cover.along).sum(axis=-1)
    by_t = (by_sample * cover.across).sum(axis=-1)
    scale = TEMPLATE_SIDE / 2 ** levels(composition.params[i : i + 1, R])[0] / 2 / row[R]
    cos, sin = scale * np.cos(row[ANGLE]), scale * np.sin(row[ANGLE])
    out = np.zeros(len(row))
    out[X] = (-cos * by_s + sin * by_t).sum()
    out[Y] = (-sin * by_s - cos * by_t).sum()
    out[R] = -(by_s * cover.u + by_t * cover.v).sum() / row[R]
    out[ANGLE] = (by_s * cover.v - by_t * cover.u).sum()
    out[OPACITY] = (by_sample * cover.sample).sum() * (1 - float(sigmoid(row[OPACITY])))
    unscaled = sigmoid(row[COLOR:])
    by_color = (slope * cover.sample[..., 3:]).sum(axis=(0, 1)) * k * (1 - composition.blend)
    out[COLOR:] = by_color * unscaled * (1 - unscaled)
    return out
