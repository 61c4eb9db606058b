"""Colours at arbitrary points by the definition of the picture, without looking at every pair.

Points are halved along the longer side of their box until a box has few. Each box keeps the sites
that can be among the K of a point in it, from those of the box that it is a part of: at a distance
d of a site from the centre of a box, and with R the metric length of half its diagonal, logits lie
between tau (r - d - R) and tau (r - max(d - R, 0)), and a site whose upper bound is under the K-th
largest lower bound is in no point's top K. The bounds are widened by more than they may round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sadcodec.backends.base import DEFAULT_K
from sadcodec.backends.reference import Floats, Ints, check_k, exponential, logits, metric, top_k
from sadcodec.errors import OptionError
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, Sites, X, Y

__all__ = ["sample"]

_FEW = 256  # points of a box that is not halved
_LOGITS_AT_ONCE = 1 << 18
_SLACK = 1e-9  # relative; the logits of the reference round at 1e-15


def sample(sites: Sites, points: ArrayLike, k: int = DEFAULT_K) -> Floats:
    """Return the colours of a diagram at points; see `sadcodec.diagram.Diagram.sample`.

    Parameters
    ----------
    sites : Sites
    points : float [M, 2], px
    k : int, 1..MAX_K

    Returns
    -------
    float64 [M, C]

    Raises
    ------
    OptionError
        If k is out of range, or the points have another shape or are not finite.
    """
    check_k(k)
    at = np.asarray(points)
    if at.ndim != 2 or at.shape[1] != 2 or at.dtype.kind not in "iuf":
        raise OptionError(f"points are numbers [M, 2], not {at.dtype} {list(at.shape)}")
    at = at.astype(np.float64)
    if not np.isfinite(at).all():
        raise OptionError("points must be finite")
    params = sites.params.astype(np.float64)
    geometry = _geometry(params)
    out = np.empty((len(at), sites.channels))
    boxes = [(np.arange(len(at)), np.arange(len(params)))]
    while boxes:
        which, near = boxes.pop()
        if len(which) == 0:
            continue
        box = at[which]
        low, high = box.min(axis=0), box.max(axis=0)
        near = near[_may_matter(geometry[near], (low + high) / 2, (high - low) / 2, k)]
        if len(which) > _FEW and (high > low).any():
            order = np.argsort(box[:, int(np.argmax(high - low))], kind="stable")
            half = len(which) // 2
            boxes += [(which[order[:half]], near), (which[order[half:]], near)]
            continue
        step = max(1, _LOGITS_AT_ONCE // len(near))
        for start in range(0, len(which), step):
            some = which[start : start + step]
            out[some] = _blend(params[near], at[some], k)
    return out


def _geometry(params: Floats) -> Floats:
    """Return x, y, the metric's g00, 2 g01 and g11, tau and the radius of each site."""
    g00, g01, g11, _, _ = metric(params[:, P], params[:, Q])
    tau = exponential(params[:, LOG_TAU])
    columns = [params[:, X], params[:, Y], g00, 2.0 * g01, g11, tau, params[:, RADIUS]]
    return np.stack(columns, axis=1)


def _may_matter(geometry: Floats, center: Floats, half: Floats, k: int) -> Ints:
    """Return which sites can be in the top K of a point of a box, ascending."""
    if len(geometry) <= k:
        return np.arange(len(geometry))
    x, y, g00, cross, g11, tau, radius = geometry.T
    dx, dy = center[0] - x, center[1] - y
    distance = np.sqrt(np.maximum((g00 * dx + cross * dy) * dx + g11 * dy * dy, 0.0))
    reach = np.sqrt(
        np.maximum(
            (g00 * half[0] + np.abs(cross) * half[1]) * half[0] + g11 * half[1] * half[1], 0.0
        )
    )
    # Rounding is relative to the terms of the squared distance, not to their sum.
    terms = np.sqrt((g00 * dx) * dx + np.abs(cross * dx * dy) + g11 * dy * dy)
    slack = _SLACK * tau * (terms + reach + np.abs(radius)) + 1e-300
    lower = tau * (radius - (distance + reach)) - slack
    upper = tau * (radius - np.maximum(distance - reach, 0.0)) + slack
    threshold = np.partition(lower, len(lower) - k)[len(lower) - k]
    return np.flatnonzero(upper >= threshold)


def _blend(params: Floats, points: Floats, k: int) -> Floats:
    values = logits(params, points)
    ids = top_k(values, k)
    values = np.take_along_axis(values, ids, axis=1)
    weights = np.exp(values - values[:, :1])
    weights /= weights.sum(axis=1, keepdims=True)
    colors: Floats = np.einsum("mk,mkc->mc", weights, params[ids, COLOR:])
    return colors
