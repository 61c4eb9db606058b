"""Density control: which sites go and which are split.

Pruning removes the sites whose removal raises the squared error least (removal delta); splitting
doubles those with the largest error over mass^0.7 (Iinbor, Dou and Matusik, arXiv 2604.21984,
section on densification). Either works alone; the default fit starts dense and only prunes.

Arrays stay where the session computes: NumPy's functions hand over to their own library's, on the
session's device.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import FitSession
from sadcodec.sites import LOG_TAU, RADIUS, P, Q, X, Y

__all__ = ["MASS_POWER", "halves", "prune", "split"]

Floats = NDArray[np.float32]

MASS_POWER = 0.7
_OFFSET = 0.5  # of the radius of the site's area: where the two halves go


def prune(session: FitSession, count: int) -> None:
    """Drop the sites whose removal raises the squared error least, down to `count`."""
    if session.site_count <= count:
        return
    with session.computing():
        order = np.argsort(session.removal_deltas(), kind="stable")
        session.keep(np.sort(order[session.site_count - count :]).astype(np.int32))


def split(session: FitSession, count: int) -> None:
    """Split the `count` sites with the largest error over mass^0.7.

    Each becomes two of half its area, set apart along the axis in which it reaches furthest, and
    sharper by the square root of two; the other parameters are copied, the moments start anew.
    """
    count = min(count, session.site_count)
    if count > 0:
        with session.computing():
            _split(session, count)


def _split(session: FitSession, count: int) -> None:
    mass, error = session.statistics()
    score = error / np.maximum(mass, 1e-6) ** MASS_POWER
    order = np.argsort(-score, kind="stable")
    chosen, others = np.sort(order[:count]), np.sort(order[count:])
    parents = session.rows(chosen)
    pairs = halves(parents, mass[chosen])
    if len(others):
        session.keep(others.astype(np.int32))
        session.append(pairs)
    else:  # a session never has no sites: the halves come before the parents go
        session.append(pairs)
        session.keep(np.arange(len(parents), len(parents) + len(pairs), dtype=np.int32))


def halves(parents: Floats, mass: NDArray[np.floating]) -> Floats:
    """Return two sites for each parent, float32 [2 M, 6 + C], in their order.

    `mass` is the sum of the parents' weights, in px.
    """
    a = np.hypot(parents[:, P], parents[:, Q])
    # The metric is e^a along the direction t: the site reaches furthest across it.
    across = 0.5 * np.arctan2(parents[:, Q], parents[:, P]) + 0.5 * np.pi
    reach = _OFFSET * np.sqrt(np.maximum(mass, 1.0) / np.pi) * np.exp(0.5 * a)
    pairs = np.repeat(parents, 2, axis=0)
    for column, way in ((X, np.cos(across)), (Y, np.sin(across))):
        offset = (reach * way).astype(np.float32)
        pairs[0::2, column] += offset
        pairs[1::2, column] -= offset
    pairs[:, LOG_TAU] += np.float32(0.5 * np.log(2.0))
    pairs[:, RADIUS] *= np.float32(np.sqrt(0.5))
    return pairs
