"""Adam on the authors' parameters, with their rates, and the smoothing of log_tau's gradient.

Published: the rates, betas and bounds, the step of the direction in its tangent with
renormalization, the smoothing by Jacobi passes over neighbouring sites. From the released code: x
and y share a second moment, as the two numbers of the direction do; the smoothing's weight rises
from a tenth to the whole over the run; gradients are of the squared error summed over channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec.sites import COLOR, LOG_TAU, LOG_TAU_RANGE, MAX_LOG_ANISOTROPY, RADIUS, P, Q, X, Y

__all__ = ["COLORS", "A", "Neighbours", "PaperAdam", "U", "V", "from_params", "to_params"]

Floats = NDArray[np.float32]

# Rows of the authors' parameters: x, y, log_tau and radius as in `Sites`, the direction (u, v), its
# log_anisotropy, colours.
U, V, A, COLORS = 4, 5, 6, 7

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
POSITION_RATE, LOG_TAU_RATE, RADIUS_RATE, COLOR_RATE = 0.025, 0.01, 0.01, 0.01  # px, -, px, -
DIRECTION_RATE, ANISOTROPY_RATE = 0.0025, 0.025
RADIUS_BOUNDS = (1.0, 512.0)
COLOR_BOUNDS = (0.0, 1.0)
SMOOTHING, SMOOTHING_PASSES = 0.05, 4


def from_params(params: Floats) -> Floats:
    """Return rows of `Sites` as the authors' parameters, float32 [7 + C, N], a >= 0."""
    values = np.empty((params.shape[1] + 1, len(params)), np.float32)
    values[:U] = params[:, :P].T
    half = 0.5 * np.arctan2(params[:, Q], params[:, P])
    values[U], values[V] = np.cos(half), np.sin(half)
    values[A] = np.hypot(params[:, P], params[:, Q])
    values[COLORS:] = params[:, COLOR:].T
    return values


def to_params(values: Floats) -> Floats:
    """Return the authors' parameters [7 + C, N] as rows of `Sites`, float32 [N, 6 + C]."""
    params = np.empty((values.shape[1], len(values) - 1), np.float32)
    params[:, :P] = values[:U].T
    u, v, a = values[U], values[V], values[A]
    params[:, P] = a * (u * u - v * v)
    params[:, Q] = 2.0 * a * u * v
    params[:, COLOR:] = values[COLORS:].T
    return params


class Neighbours:
    """The graph that gradients of log_tau are smoothed on.

    Parameters
    ----------
    ids : int32 [N, K]
        As `OpenFitSession.neighbours` returns them; a site is no neighbour of its own.
    """

    def __init__(self, ids: NDArray[np.int32]) -> None:
        count = len(ids)
        absent = (ids < 0) | (ids == np.arange(count, dtype=np.int32)[:, None])
        # What is absent adds element N, a 0. One row a neighbour: sums over few rows are fast.
        self._ids = np.ascontiguousarray(np.where(absent, count, ids).T)
        self._degree = np.count_nonzero(~absent, axis=1).astype(np.float32)

    def smoothed(self, values: Floats, weight: float, passes: int = SMOOTHING_PASSES) -> Floats:
        """Return x after some Jacobi passes for x_i + weight sum_j (x_i - x_j) = values_i.

        Parameters
        ----------
        values : float32 [N]
            Also where the passes start.
        weight : float, >= 0
        passes : int

        Returns
        -------
        float32 [N]
        """
        scale = np.float32(1.0) / (np.float32(1.0) + np.float32(weight) * self._degree)
        padded = np.append(values, np.float32(0.0))
        for _ in range(passes):
            around = padded[self._ids[0]]
            for ids in self._ids[1:]:
                around += padded[ids]
            padded[:-1] = (values + np.float32(weight) * around) * scale
        return padded[:-1]


class PaperAdam:
    """The sites with their moments.

    Parameters
    ----------
    params : float32 [N, 6 + C]
        Rows of `Sites`.
    width, height : int, px
    """

    def __init__(self, params: Floats, width: int, height: int) -> None:
        self.values = from_params(params)
        self._first = np.zeros_like(self.values)
        self._second = np.zeros_like(self.values)
        self._steps = 0
        self._size = (width, height)
        rates = np.full((len(self.values), 1), COLOR_RATE, np.float32)
        rates[[X, Y]], rates[LOG_TAU], rates[RADIUS] = POSITION_RATE, LOG_TAU_RATE, RADIUS_RATE
        rates[[U, V]], rates[A] = DIRECTION_RATE, ANISOTROPY_RATE
        self._rates = rates

    @property
    def params(self) -> Floats:
        """float32 [N, 6 + C]: the sites as rows of `Sites`."""
        return to_params(self.values)

    def gradient(self, gradients: Floats) -> Floats:
        """Return the derivatives by the authors' parameters, float32 [7 + C, N].

        Parameters
        ----------
        gradients : float32 [N, 6 + C]
            dMSE/dparams, the mean over pixels and channels. What is returned is of the mean over
            pixels of the sum over channels, and for the direction along its tangent.
        """
        out = np.empty_like(self.values)
        out[:U] = gradients[:, :P].T
        out[COLORS:] = gradients[:, COLOR:].T
        u, v, a = self.values[U], self.values[V], self.values[A]
        cos, sin = u * u - v * v, 2.0 * u * v
        p, q = gradients[:, P], gradients[:, Q]
        out[A] = p * cos + q * sin
        turn = 2.0 * a * (q * cos - p * sin)  # by the angle of the direction
        out[U], out[V] = -turn * v, turn * u
        out *= np.float32(gradients.shape[1] - COLOR)
        return out

    def step(self, derivatives: Floats) -> None:
        """Take one step along derivatives float32 [7 + C, N], then keep the bounds."""
        self._steps += 1
        self._first += np.float32(1.0 - BETA1) * (derivatives - self._first)
        squares = derivatives * derivatives
        for one, other in ((X, Y), (U, V)):
            squares[one] += squares[other]
            squares[other] = squares[one]
        squares -= self._second
        squares *= np.float32(1.0 - BETA2)
        self._second += squares
        root = np.sqrt(self._second, out=squares)
        root *= np.float32((1.0 - BETA2**self._steps) ** -0.5)
        root += np.float32(EPSILON)
        moved = np.divide(self._first, root, out=root)
        moved *= self._rates / np.float32(1.0 - BETA1**self._steps)
        self.values -= moved
        self._bound()

    def _bound(self) -> None:
        width, height = self._size
        values = self.values
        values[[U, V]] /= np.hypot(values[U], values[V])
        for rows, (low, high) in (
            (X, (0.5, width - 0.5)),
            (Y, (0.5, height - 0.5)),
            (LOG_TAU, LOG_TAU_RANGE),
            (RADIUS, RADIUS_BOUNDS),
            (A, (-MAX_LOG_ANISOTROPY, MAX_LOG_ANISOTROPY)),
            (slice(COLORS, None), COLOR_BOUNDS),
        ):
            np.clip(values[rows], low, high, out=values[rows])

    def keep(self, index: NDArray[np.integer]) -> None:
        """Keep the sites `index`, with their moments, in this order."""
        self.values = self.values[:, index]
        self._first, self._second = self._first[:, index], self._second[:, index]

    def replace(self, index: NDArray[np.integer], values: Floats) -> None:
        """Put others, float32 [7 + C, M], in the place of some sites, with zero moments."""
        self.values[:, index] = values
        self._first[:, index] = 0.0
        self._second[:, index] = 0.0

    def append(self, values: Floats) -> None:
        """Add sites, float32 [7 + C, M], at the end, with zero moments."""
        self.values = np.concatenate([self.values, values], axis=1)
        zeros = np.zeros_like(values)
        self._first = np.concatenate([self._first, zeros], axis=1)
        self._second = np.concatenate([self._second, zeros], axis=1)
