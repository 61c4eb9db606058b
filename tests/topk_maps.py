"""Top-K maps of diagrams, for tests: the exact one, and what every map has to keep to."""

from __future__ import annotations

import numpy as np

from sadcodec.backends.reference import blends, exponential, metric
from sadcodec.sites import LOG_TAU, RADIUS, P, Q, Sites, X, Y


def prepared(sites: Sites) -> np.ndarray:
    """float32 [N, 16]: PreparedSite of kernels/sad_core.h."""
    params = sites.params.astype(np.float64)
    g00, g01, _, _, _ = metric(params[:, P], params[:, Q])
    m0 = np.sqrt(g00)
    tau = exponential(params[:, LOG_TAU])
    columns = [params[:, X], params[:, Y], m0, g01 / m0, 1 / m0, tau, params[:, RADIUS]]
    rows = np.zeros((len(params), 16), np.float32)
    rows[:, : len(columns)] = np.stack(columns, axis=1)
    return rows


def exact_map(sites: Sites, k: int, width: int, height: int) -> np.ndarray:
    """int32 [H*W, K]; -1 where there are fewer sites."""
    ids = np.full((width * height, k), -1, np.int32)
    pixels = np.arange(width * height)
    for blend in blends(sites.params.astype(np.float64), width, k, pixels):
        ids[blend.pixels, : blend.ids.shape[1]] = blend.ids
    return ids


def logits_of(sites: Sites, ids: np.ndarray, width: int) -> np.ndarray:
    """float32 [M, K], as the kernels compute them; -inf for no site."""
    s = prepared(sites)[ids]
    pixel = np.arange(len(ids), dtype=np.int32)[:, None]
    dx = (pixel % width).astype(np.float32) + np.float32(0.5) - s[..., 0]
    dy = (pixel // width).astype(np.float32) + np.float32(0.5) - s[..., 1]
    u, v = s[..., 2] * dx + s[..., 3] * dy, s[..., 4] * dy
    logit = s[..., 5] * (s[..., 6] - np.sqrt(u * u + v * v))
    return np.where(ids >= 0, logit, -np.inf)


def check_lists(sites: Sites, ids: np.ndarray, width: int) -> None:
    """Sorted, ties to the lower id, no site twice, what is missing at the end."""
    assert ids.min() >= -1
    assert ids.max() < len(sites)
    logit = logits_of(sites, ids, width)
    first, second = logit[:, :-1], logit[:, 1:]
    there = ids[:, 1:] >= 0
    ahead = (first > second) | ((first == second) & (ids[:, :-1] < ids[:, 1:]))
    assert ahead[there].all()
    assert not (there & (ids[:, :-1] < 0)).any()
    ordered = np.sort(ids, axis=1)
    assert not ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0)).any()
