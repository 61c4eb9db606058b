"""Density control of the authors' recipe: which sites are split, and into what.

Published: the score, error over mass^0.7, and that a site is split in two along the principal axis
of its error's covariance. From the released code: everything else about the two halves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec.fit.density import MASS_POWER
from sadcodec.fit.paper.optimizer import COLORS, A, U, V
from sadcodec.sites import LOG_TAU, RADIUS, X, Y

__all__ = ["halves", "scores"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

LEAST_MASS = 1.0  # px; what covers no more is not split
LEAST_ERROR = 1e-3  # with less, the axis is that of the image's gradient
_TO_CENTROID = 0.6  # of the way from the site to its error's centroid
_LEAST_VARIANCE = 1e-4  # px^2
_LARGEST_ANISOTROPY = 2.0
_KEPT_ANISOTROPY = 0.8  # where the error says nothing
_OFFSET = 0.5  # of the root of the mass
_OFFSETS = (1.5, 48.0)  # px
_LOG_TAU_CHANGE, _RADIUS_FACTOR = -0.25, 0.85


def scores(moments: Doubles) -> Doubles:
    """Return what sites gain by being split, float64 [N], 0 where they are not.

    Parameters
    ----------
    moments : float64 [N, 7]
        Of `OpenFitSession.error_moments`.
    """
    mass, error = moments[:, 0], moments[:, 1]
    return np.where(mass > LEAST_MASS, error / np.maximum(mass, LEAST_MASS) ** MASS_POWER, 0.0)


def halves(
    parents: Floats, moments: Doubles, target: Floats, gradient: tuple[Doubles, Doubles]
) -> Floats:
    """Return two sites for each parent.

    They lie on the principal axis of the covariance of the parent's error, on both sides of a point
    between the parent and the error's centroid, at half the root of the mass; they take the axis
    for direction and the ratio of the variances for anisotropy, so that they are long along it, and
    the colours of the pixels they lie in.

    Parameters
    ----------
    parents : float32 [7 + C, M]
        The authors' parameters.
    moments : float64 [M, 7]
        Theirs, of `OpenFitSession.error_moments`.
    target : float32 [H, W, C]
    gradient : float64 [H, W], twice
        Derivatives of luma by x and y.

    Returns
    -------
    float32 [7 + C, 2 M]
        First one of each parent, then the others.
    """
    height, width, _ = target.shape
    position = parents[[X, Y]].astype(np.float64)
    mass, error = moments[:, 0], np.maximum(moments[:, 1], 1e-30)
    known = moments[:, 1] > LEAST_ERROR
    mean = moments[:, 2:4].T / error
    xx = np.maximum(moments[:, 4] / error - mean[0] ** 2, _LEAST_VARIANCE)
    xy = moments[:, 5] / error - mean[0] * mean[1]
    yy = np.maximum(moments[:, 6] / error - mean[1] ** 2, _LEAST_VARIANCE)
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    half, spread = 0.5 * (xx + yy), np.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
    ratio = np.maximum(half + spread, _LEAST_VARIANCE) / np.maximum(half - spread, _LEAST_VARIANCE)
    long = np.clip(-0.5 * np.log(ratio), -_LARGEST_ANISOTROPY, _LARGEST_ANISOTROPY)
    axis = np.where(known, (np.cos(angle), np.sin(angle)), _steepest(parents, gradient))
    center = np.where(known, position + _TO_CENTROID * mean, position)
    offset = np.clip(_OFFSET * np.sqrt(np.maximum(mass, 1.0)), *_OFFSETS) * axis
    out = np.concatenate([parents, parents], axis=1)
    at = np.concatenate([center + offset, center - offset], axis=1)
    at[0] = np.clip(at[0], 0.5, width - 0.5)
    at[1] = np.clip(at[1], 0.5, height - 0.5)
    column, row = _pixels(at, gradient[0])
    out[[X, Y]] = at
    out[LOG_TAU] += _LOG_TAU_CHANGE
    out[RADIUS] *= _RADIUS_FACTOR
    out[[U, V]] = np.tile(axis, 2)
    out[A] = np.tile(np.where(known, long, _KEPT_ANISOTROPY * parents[A]), 2)
    out[COLORS:] = target[row, column].T
    return out


def _pixels(position: Doubles, image: Doubles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return columns and rows of the pixels that positions [2, M] lie in."""
    height, width = image.shape
    column, row = position.astype(np.int64)
    return np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)


def _steepest(parents: Floats, gradient: tuple[Doubles, Doubles]) -> Doubles:
    """Return the direction of the image's gradient at each site, its own where there is none."""
    column, row = _pixels(parents[[X, Y]].astype(np.float64), gradient[0])
    slope = np.stack([gradient[0][row, column], gradient[1][row, column]])
    length = np.hypot(*slope)
    steep = length > 1e-4
    return np.where(steep, slope / np.where(steep, length, 1.0), parents[[U, V]])
