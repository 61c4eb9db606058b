"""Adam on parameter rows, each column at a rate of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Adam"]

Floats = NDArray[np.float32]

# Short memories: the pictures change as the primitives move over each other.
_BETA1, _BETA2, _EPSILON = np.float32(0.8), np.float32(0.9), np.float32(1e-8)


class Adam:
    """Moments of the gradient of [N, columns] parameters (Kingma and Ba, arXiv 1412.6980)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._first = np.zeros(shape, np.float32)
        self._second = np.zeros(shape, np.float32)
        self._steps = np.zeros((shape[0], 1), np.float32)  # of each row, for the bias

    def step(
        self, params: Floats, gradient: Floats, rates: Floats, rows: NDArray[np.bool_]
    ) -> None:
        """Move the rows that are named against the gradient, in place.

        Parameters
        ----------
        params, gradient : float32 [N, columns]
        rates : float32 [N, columns], in the parameters' units
        rows : bool [N]
        """
        self._first += (1 - _BETA1) * (gradient - self._first)
        self._second += (1 - _BETA2) * (gradient * gradient - self._second)
        self._steps += 1
        first = self._first / (1 - _BETA1**self._steps)
        second = self._second / (1 - _BETA2**self._steps)
        change = rates * first / (np.sqrt(second) + _EPSILON)
        params[rows] -= change[rows]

    def forget(self, rows: NDArray[np.bool_]) -> None:
        """Start anew with rows that have become other primitives."""
        self._first[rows] = 0
        self._second[rows] = 0
        self._steps[rows] = 0
