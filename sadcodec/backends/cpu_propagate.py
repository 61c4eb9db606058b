"""The top-K map of the paper on the CPU; see `propagation`. kernels/cpu/propagate.cpp has the work.

It is the map that `cuda_propagate.py` makes of the same sites.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec import _core
from sadcodec.backends.propagation import (
    ORDER_AGE,
    START_PASSES,
    Propagation,
    first_passes,
    jump_distance,
)

__all__ = ["CpuTopKMap"]

Floats = NDArray[np.float32]


class CpuTopKMap:
    """Lists of K sites for each pixel of an image, kept up to date by propagation.

    Parameters
    ----------
    width, height : int >= 1, px
    k : int, 1..MAX_K
    threads : int, 1..1024
        Has no influence on the lists.
    options : Propagation
        Its interval and overlap are not used.

    Attributes
    ----------
    lists : _core.TopKMap
        For `_core.Fit.follow`.
    """

    def __init__(
        self, width: int, height: int, k: int, threads: int, options: Propagation | None = None
    ) -> None:
        self.options = options or Propagation()
        self.lists = _core.TopKMap(width, height, k, threads)
        self.first_passes = first_passes(width, height)
        self._passes = 0  # since the start
        self._calls = 0  # of `propagate`, since the sites were sorted
        self._sorted = 0  # sites that were; 0: none, or they have other numbers now

    @property
    def ids(self) -> NDArray[np.int32]:
        """int32 [H*W, K]: a copy of the lists: row-major pixels, logits descending, -1 none."""
        return self.lists.ids

    def start(self, params: Floats, passes: int | None = None) -> None:
        """Fill the lists: with sites near the pixel along the curve, then by propagation.

        Parameters
        ----------
        params : float32 [N, 6 + C]
        passes : int, optional
            Passes to make; by default `first_passes` and two of 1 px.
        """
        self._passes = 0
        self.lists.set_sites(params)
        self._sort()
        self.lists.first_lists()
        self._run(self.first_passes + START_PASSES if passes is None else passes)

    def propagate(self, params: Floats, passes: int | None = None) -> None:
        """Bring the lists up to date with the sites.

        Parameters
        ----------
        params : float32 [N, 6 + C]
            Those of the call before, moved, and perhaps others behind them.
        passes : int, optional
            By default as many as the options say.
        """
        self.lists.set_sites(params)
        if self._sorted != len(params) or self._calls >= ORDER_AGE:
            self._sort()
        self._run(self.options.passes if passes is None else passes)

    def keep(self, index: NDArray[np.int32], count: int) -> None:
        """Follow the sites `index` of the `count` that there were; others leave the lists."""
        number = np.full(count, -1, np.int32)
        number[index] = np.arange(len(index), dtype=np.int32)
        self.lists.remap(number, len(index))
        self._sorted = 0

    def _run(self, passes: int) -> None:
        self._calls += 1
        for _ in range(passes):
            distance = jump_distance(self._passes, self.first_passes)
            options = self.options
            self.lists.run_pass(distance, options.injected, options.seed, self._passes)
            self._passes += 1

    def _sort(self) -> None:
        self.lists.sort_sites()
        self._sorted, self._calls = self.lists.count, 0
