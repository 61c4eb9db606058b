"""Sites with noise added to their parameters, on a CUDA device: what fine-tuning evaluates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_fit_kernels import DISTURB
from sadcodec.backends.launch import Launcher
from sadcodec.errors import OptionError

__all__ = ["DisturbedSites"]

Floats = NDArray[np.float32]


class DisturbedSites:
    """Copies of a session's parameters that `draw` disturbs, in tables that stay where they are.

    Parameters
    ----------
    launcher : Launcher
    params : float32 [N, 6 + C], on the device
        What is disturbed, as it is at each draw.

    Attributes
    ----------
    params : float32 [N, 6 + C], on the device
    sites : float32 [N, 16], on the device
        Prepared from them.
    """

    def __init__(self, launcher: Launcher, params: Any) -> None:
        cp, count = launcher.cp, len(params)
        self.params = cp.empty_like(params)
        self.sites = cp.empty((count, 16), np.float32)
        self._widths = cp.empty_like(params)
        self._noise: Floats | None = None  # that `_widths` is a copy of
        tables = {
            "params": params,
            "noise": self._widths,
            "out": self.params,
            "sites": self.sites,
            "count": count,
        }
        blocks = DISTURB.blocks(count)
        self._disturb = launcher.bind(DISTURB, blocks, tables, "seed")

    def draw(self, noise: Floats, seed: int) -> None:
        """Disturb the parameters.

        Parameters
        ----------
        noise : float32 [N, 6 + C]
            Half-widths. The same object is taken to be the same numbers, and not copied again.
        seed : int, 0..2^64 - 1

        Raises
        ------
        OptionError
            If the noise is not of the parameters' shape.
        """
        if noise.shape != self.params.shape:
            raise OptionError(f"noise of shape {list(noise.shape)} is not that of the sites")
        if noise is not self._noise:
            self._widths.set(np.ascontiguousarray(noise, np.float32))
            self._noise = noise
        self._disturb(seed)
