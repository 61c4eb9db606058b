"""Sums over pixels for each site, by the reference: what density control of a fit goes by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K, STATISTICS_CUT
from sadcodec.backends.open_session import MOMENTS
from sadcodec.backends.reference import Blend, blends
from sadcodec.sites import COLOR, X, Y

__all__ = ["error_moments", "neighbours", "removal_deltas", "statistics"]

Floats = NDArray[np.float64]


def _against(
    params: Floats, target: Floats, k: int, weights: Floats | None
) -> Iterator[tuple[Blend, Floats, Floats]]:
    """Yield blends of all pixels with their targets [M, C] and weights [M]."""
    goals = target.reshape(-1, target.shape[2])
    weight = np.ones(len(goals)) if weights is None else weights.ravel()
    for blend in blends(params, target.shape[1], k, np.arange(len(goals))):
        yield blend, goals[blend.pixels], weight[blend.pixels]


def statistics(
    params: Floats, target: Floats, k: int = DEFAULT_K, weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return each site's mass and responsibility-weighted squared error (see `FitSession`).

    Parameters
    ----------
    params : float64 [N, 6 + C]
    target : float64 [H, W, C]
    k : int
    weights : float64 [H, W], optional
        Of the squared errors.

    Returns
    -------
    mass : float64 [N], in pixels
    error : float64 [N], in squared display-referred units, summed over channels
    """
    mass, error = np.zeros(len(params)), np.zeros(len(params))
    for blend, goal, weight in _against(params, target, k, weights):
        squared = weight * np.sum((blend.value - goal) ** 2, axis=1)
        np.add.at(mass, blend.ids, blend.weights)
        np.add.at(error, blend.ids, blend.weights * squared[:, None])
    return mass, error


def removal_deltas(
    params: Floats, target: Floats, k: int = DEFAULT_K, weights: Floats | None = None
) -> Floats:
    """Return the rise of the total squared error without each site, its weight going to the others.

    Parameters
    ----------
    params, target, k, weights
        As of `statistics`.

    Returns
    -------
    float64 [N]
        See `FitSession.removal_deltas` for pixels in which a site is alone.
    """
    delta = np.zeros(len(params))
    channels = target.shape[2]
    for blend, goal, weight in _against(params, target, k, weights):
        before = np.sum((blend.value - goal) ** 2, axis=1)
        present = blend.logits > blend.logits[:, :1] - STATISTICS_CUT
        for slot in range(blend.ids.shape[1]):
            others = present.copy()
            others[:, slot] = False
            left = np.where(others, blend.weights, 0.0)
            total = left.sum(axis=1, keepdims=True)
            color = np.einsum("mk,mkc->mc", left, params[blend.ids, COLOR:])
            with np.errstate(invalid="ignore", divide="ignore"):
                after = np.sum((color / total - goal) ** 2, axis=1)
            after = np.where(others.any(axis=1), after, float(channels))
            change = np.where(present[:, slot], weight * (after - before), 0.0)
            np.add.at(delta, blend.ids[:, slot], change)
    return delta


def error_moments(
    params: Floats, target: Floats, k: int = DEFAULT_K, weights: Floats | None = None
) -> Floats:
    """Return each site's mass and the moments of its error (see `OpenFitSession`).

    Parameters
    ----------
    params, target, k, weights
        As of `statistics`.

    Returns
    -------
    float64 [N, 7]
    """
    out = np.zeros((len(params), MOMENTS))
    for blend, goal, weight in _against(params, target, k, weights):
        squared = weight * np.sum((blend.value - goal) ** 2, axis=1)
        e = blend.weights * squared[:, None]
        dx = blend.points[:, 0, None] - params[blend.ids, X]
        dy = blend.points[:, 1, None] - params[blend.ids, Y]
        columns = (blend.weights, e, e * dx, e * dy, e * dx * dx, e * dx * dy, e * dy * dy)
        np.add.at(out, blend.ids, np.stack(columns, axis=-1))
    return out


def neighbours(params: Floats, width: int, height: int, k: int = DEFAULT_K) -> NDArray[np.int32]:
    """Return the K sites of largest logit at each site's pixel (see `OpenFitSession`).

    Parameters
    ----------
    params : float64 [N, 6 + C]
    width, height : int, px
    k : int

    Returns
    -------
    int32 [N, K]
        -1 where there are fewer sites.
    """
    column = np.clip(params[:, X].astype(np.int64), 0, width - 1)
    row = np.clip(params[:, Y].astype(np.int64), 0, height - 1)
    out = np.full((len(params), k), -1, np.int32)
    first = 0
    for blend in blends(params, width, k, row * width + column):
        last = first + len(blend.ids)
        out[first:last, : blend.ids.shape[1]] = blend.ids
        first = last
    return out
