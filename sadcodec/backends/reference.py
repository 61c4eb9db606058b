"""The definition of the picture: every formula in float64, over all sites, with nothing clever.

Other backends are tested against this file, and docs/FORMAT.md points at it. It is slow on purpose:
each pixel looks at every site. A site i with position (x, y), inverse temperature tau =
exp(log_tau), radius r and anisotropy (p, q) has at the point (u, v) the logit

    l = tau (r - d),   d = sqrt(g00 dx dx + 2 g01 dx dy + g11 dy dy),   dx = u - x,  dy = v - y

with the metric G = cosh(a) I + sinh(a)/a [[p, q], [q, -p]], a = |(p, q)|, which has determinant 1.
A pixel takes the K sites of largest logit, ties to the lower index, and blends their colours with
the softmax of these logits (Iinbor, Dou and Matusik, arXiv 2604.21984).

A logit decides which sites a pixel takes, so its operations and their order are part of the
definition, exp included; they agree to the last bit with the double path of kernels/sad_core.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K, MAX_K
from sadcodec.backends.place import PLAIN, Place, Window, checked_window
from sadcodec.errors import OptionError
from sadcodec.sites import (
    COLOR,
    GEOMETRY_COLUMNS,
    LOG_TAU,
    RADIUS,
    P,
    Q,
    Sites,
    X,
    Y,
)

__all__ = [
    "Blend",
    "blends",
    "check_k",
    "exponential",
    "gradients",
    "logits",
    "metric",
    "pull_back",
    "render",
    "top_k",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LOGITS_AT_ONCE = 1 << 18  # 2 MiB of float64: bounds memory and stays in the cache
_SERIES_TERMS = 8  # at a < 0.5 the next term is under 1e-18
_MIN_DISTANCE = 1e-6  # px; the gradient of d at d = 0 is taken as 0


def exponential(x: Floats) -> Floats:
    """Return e^x by n = round(x / ln 2) and a Taylor polynomial in x - n ln 2, |x| <= 700."""
    x = np.clip(x, -700.0, 700.0)
    n = np.rint(x * 1.4426950408889634)
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    y = np.full_like(r, 1.0 / factorial(14))
    for power in range(13, -1, -1):
        y = y * r + 1.0 / factorial(power)
    return np.ldexp(y, n.astype(np.int32))


def metric(p: Floats, q: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return g00, g01, g11 of the metric, s = sinh(a)/a and (ds/da)/a, each shaped as p and q."""
    a2 = p * p + q * q
    a = np.sqrt(a2)
    cosh, s, slope = np.zeros_like(a), np.zeros_like(a), np.zeros_like(a)
    for n in range(_SERIES_TERMS - 1, -1, -1):
        cosh = cosh * a2 + 1.0 / factorial(2 * n)
        s = s * a2 + 1.0 / factorial(2 * n + 1)
        slope = slope * a2 + (2 * n + 2) / factorial(2 * n + 3)
    far = a >= 0.5
    up = exponential(a[far])
    down = 1.0 / up
    cosh[far] = 0.5 * (up + down)
    s[far] = 0.5 * (up - down) / a[far]
    slope[far] = (cosh[far] - s[far]) / a2[far]
    return cosh + s * p, s * q, cosh - s * p, s, slope


def _offsets(params: Floats, points: Floats) -> tuple[Floats, Floats]:
    return points[:, 0, None] - params[:, X], points[:, 1, None] - params[:, Y]


def _distances(params: Floats, dx: Floats, dy: Floats) -> Floats:
    g00, g01, g11, _, _ = metric(params[..., P], params[..., Q])
    squared = ((g00 * dx) * dx + ((2.0 * g01) * dx) * dy) + (g11 * dy) * dy
    return np.sqrt(np.maximum(squared, 0.0))


def logits(params: Floats, points: Floats) -> Floats:
    """Return the logit of every site at every point.

    Parameters
    ----------
    params : float64 [N, 6 + C]
        Site rows as in `Sites.params`.
    points : float64 [M, 2], px

    Returns
    -------
    float64 [M, N]
    """
    distance = _distances(params, *_offsets(params, points))
    return exponential(params[:, LOG_TAU]) * (params[:, RADIUS] - distance)


def top_k(values: Floats, k: int) -> Ints:
    """Return the columns of the k largest values of each row, largest first, ties to the lower.

    The definition is ``np.argsort(-values, axis=1, kind="stable")[:, :k]``; this is the same,
    faster.

    Parameters
    ----------
    values : float64 [M, N]
    k : int >= 1

    Returns
    -------
    int64 [M, min(k, N)]
    """
    if k < values.shape[1]:
        chosen = np.argpartition(-values, k - 1, axis=1)[:, :k]
        kth = np.take_along_axis(values, chosen, axis=1).min(axis=1, keepdims=True)
        # A partition takes any of several equal to the k-th.
        tied = np.count_nonzero(values >= kth, axis=1) > k
        chosen[tied] = np.argsort(-values[tied], axis=1, kind="stable")[:, :k]
        chosen.sort(axis=1)
        order = np.argsort(-np.take_along_axis(values, chosen, axis=1), axis=1, kind="stable")
        return np.take_along_axis(chosen, order, axis=1)
    return np.argsort(-values, axis=1, kind="stable")


@dataclass
class Blend:
    """What M pixels take from their K sites."""

    pixels: Ints  # [M] row-major index into the image
    points: Floats  # [M, 2] px
    ids: Ints  # [M, K]
    logits: Floats  # [M, K], descending
    weights: Floats  # [M, K], sum 1
    value: Floats  # [M, C]


def blends(
    params: Floats, width: int, k: int, pixels: Ints, place: Place = PLAIN
) -> Iterator[Blend]:
    """Yield the blends of the pixels (row-major indices [M]), as many at once as memory allows."""
    step = max(1, _LOGITS_AT_ONCE // len(params))
    for start in range(0, len(pixels), step):
        chunk = pixels[start : start + step]
        x = place.x + (chunk % width + 0.5) * place.step_x
        y = place.y + (chunk // width + 0.5) * place.step_y
        points = np.stack([x, y], axis=1)
        values = logits(params, points)
        ids = top_k(values, k)
        values = np.take_along_axis(values, ids, axis=1)
        weights = np.exp(values - values[:, :1])
        weights /= weights.sum(axis=1, keepdims=True)
        blend = np.einsum("mk,mkc->mc", weights, params[ids, COLOR:])
        yield Blend(chunk, points, ids, values, weights, blend)


def check_k(k: int) -> None:
    """Raise OptionError unless 1 <= k <= MAX_K."""
    if not 1 <= k <= MAX_K:
        raise OptionError(f"K must be 1..{MAX_K}, not {k}")


def render(
    sites: Sites,
    width: int,
    height: int,
    k: int = DEFAULT_K,
    window: Window | None = None,
    place: Place = PLAIN,
) -> Floats:
    """Evaluate a diagram at the centres of all pixels.

    Parameters
    ----------
    sites : Sites
    width, height : int >= 1, px
    k : int, 1..MAX_K
    window, place
        As for `Backend.render`.

    Returns
    -------
    float64 [rows, columns, C]
        Not clamped. A decoder's code value is floor(clamp(y, 0, 1) * M + 0.5), M = 255 or 65535.

    Raises
    ------
    OptionError
        If width, height, k, window or place is out of range.
    """
    check_k(k)
    left, top, columns, rows = checked_window(window, width, height, place)
    params = sites.params.astype(np.float64)
    pixels = (np.arange(top, top + rows)[:, None] * width + np.arange(left, left + columns)).ravel()
    values = [blend.value for blend in blends(params, width, k, pixels, place)]
    return np.concatenate(values).reshape(rows, columns, sites.channels)


def gradients(
    params: Floats,
    target: Floats,
    k: int = DEFAULT_K,
    pixels: Ints | None = None,
    weights: Floats | None = None,
) -> tuple[float, Floats]:
    """Return the mean squared error and its derivative with respect to every parameter.

    With prediction y, target t and weight v at M sampled pixels of C channels, L = mean v (y - t)^2
    and g = dL/dy = 2 v (y - t) / (M C). Softmax gives dL/dc_i = w_i g and dL/dl_i = w_i g.(c_i -
    y); the geometry follows from l = tau (r - d) by the chain rule. Which sites are in the top K is
    taken as constant.

    Parameters
    ----------
    params : float64 [N, 6 + C]
    target : float64 [H, W, C]
    k : int
    pixels : int64 [M], optional
        Row-major indices of the sampled pixels; all by default. None sampled: zeros.
    weights : float64 [H, W], optional
        The weight of each pixel; 1 by default.

    Returns
    -------
    loss : float
    gradients : float64 [N, 6 + C]
    """
    height, width, channels = target.shape
    if pixels is None:
        pixels = np.arange(height * width)
    wanted = target.reshape(-1, channels)
    weight = np.ones(len(wanted)) if weights is None else weights.ravel()
    out = np.zeros(params.shape)
    squared_error = 0.0
    samples = max(1, len(pixels) * channels)
    for blend in blends(params, width, k, pixels):
        error = blend.value - wanted[blend.pixels]
        weighted = weight[blend.pixels, None] * error
        squared_error += float(np.sum(weighted * error))
        _add_rows(out, params, blend, 2.0 * weighted / samples)
    return squared_error / samples, out


def pull_back(params: Floats, cotangent: Floats, k: int = DEFAULT_K) -> Floats:
    """Return the derivatives of L with respect to every parameter, given dL/dy at every pixel.

    Parameters
    ----------
    params : float64 [N, 6 + C]
    cotangent : float64 [H, W, C]
        dL/dy of the picture y that `render` returns.
    k : int

    Returns
    -------
    float64 [N, 6 + C]
        The formulas of `gradients`.
    """
    height, width, channels = cotangent.shape
    g = cotangent.reshape(-1, channels)
    out = np.zeros(params.shape)
    for blend in blends(params, width, k, np.arange(height * width)):
        _add_rows(out, params, blend, g[blend.pixels])
    return out


def _add_rows(out: Floats, params: Floats, blend: Blend, g: Floats) -> None:
    """Add to `out` [N, 6 + C] what the pixels of a blend say, with g = dL/dy [M, C] there."""
    site = params[blend.ids]  # [M, K, 6 + C]
    contrast = site[..., COLOR:] - blend.value[:, None, :]
    dl = blend.weights * np.einsum("mc,mkc->mk", g, contrast)
    rows = np.empty(site.shape)
    rows[..., :GEOMETRY_COLUMNS] = dl[..., None] * _logit_derivatives(site, blend)
    rows[..., COLOR:] = blend.weights[..., None] * g[:, None, :]
    np.add.at(out, blend.ids, rows)


def _logit_derivatives(site: Floats, blend: Blend) -> Floats:
    """Return dl/d(x, y, log_tau, radius, p, q), float64 [M, K, 6]."""
    p, q = site[..., P], site[..., Q]
    g00, g01, g11, s, slope = metric(p, q)
    dx = blend.points[:, 0, None] - site[..., X]
    dy = blend.points[:, 1, None] - site[..., Y]
    tau = exponential(site[..., LOG_TAU])
    distance = np.maximum(_distances(site, dx, dy), _MIN_DISTANCE)
    # d^2 is quadratic in (dx, dy) and linear in G.
    d_x = -(g00 * dx + g01 * dy) / distance
    d_y = -(g01 * dx + g11 * dy) / distance
    d_g00, d_g01, d_g11 = dx * dx / (2 * distance), dx * dy / distance, dy * dy / (2 * distance)
    # dG/dp and dG/dq: d cosh(a)/dp = s p and ds/dp = slope p.
    d_p = (
        d_g00 * (s * p + s + slope * p * p)
        + d_g01 * (slope * p * q)
        + d_g11 * (s * p - s - slope * p * p)
    )
    d_q = (
        d_g00 * (s * q + slope * p * q)
        + d_g01 * (s + slope * q * q)
        + d_g11 * (s * q - slope * p * q)
    )
    ones = np.ones_like(tau)
    return np.stack([-tau * d_x, -tau * d_y, blend.logits, tau * ones, -tau * d_p, -tau * d_q], -1)
