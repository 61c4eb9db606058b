"""The CUDA backend: rendering, fitting and the integer descent on a GPU.

Kernels (kernels/*.cu) are compiled at run time for the K and the channels of a diagram. Equal
inputs give equal bytes on one kind of device; float results differ from the CPU's in the last
places, and pictures by no code value but where a rounding falls the other way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K, MAX_K, Start
from sadcodec.backends.cuda_differentiable import CudaPasses
from sadcodec.backends.cuda_fit import CudaFitSession
from sadcodec.backends.cuda_points import CudaPoints
from sadcodec.backends.cuda_refine import CudaRefiner
from sadcodec.backends.cuda_render import render
from sadcodec.backends.launch import Launcher, Runtime
from sadcodec.backends.place import PLAIN, Place, Window, checked_window
from sadcodec.backends.propagation import Propagation
from sadcodec.errors import OptionError
from sadcodec.processors import default_threads
from sadcodec.sites import Sites

__all__ = ["CudaBackend"]

Floats = NDArray[np.float32]


class CudaBackend:
    """`sadcodec.backends.base.Backend` on one CUDA device.

    Parameters
    ----------
    runtime : Runtime
        The device, see `sadcodec.backends.cuda.open_runtime`.
    threads : int, optional
        Of the CPU, for what is done beside the device.
    """

    name = "cuda"

    def __init__(self, runtime: Runtime, threads: int | None = None) -> None:
        self.runtime = runtime
        self.threads = threads or default_threads()
        self._launchers: dict[tuple[int, int], Launcher] = {}

    def _launcher(self, k: int, channels: int) -> Launcher:
        if not 1 <= k <= MAX_K:
            raise OptionError(f"K must be 1..{MAX_K}, not {k}")
        defines = {"SAD_K": k, "SAD_CHANNELS": channels}
        return self._launchers.setdefault((k, channels), Launcher(self.runtime, defines))

    def render(
        self,
        sites: Sites,
        width: int,
        height: int,
        k: int = DEFAULT_K,
        *,
        exact: bool = False,
        max_work: int = 0,  # noqa: ARG002 (a limit of the CPU backend)
        window: Window | None = None,
        place: Place = PLAIN,
        bit_depth: int | None = None,
    ) -> NDArray[Any]:
        """Evaluate a diagram at every pixel: float32 [rows, columns, C], not clamped.

        With `exact` every pixel is computed in float64; without it only those whose top K float32
        cannot decide. Within 1/255 of the reference either way. The device rounds to code values.
        """
        window = checked_window(window, width, height, place)
        launcher = self._launcher(k, sites.channels)
        return render(launcher, sites, window, place, exact=exact, bit_depth=bit_depth)

    def fit_session(
        self,
        target: Floats,
        start: Floats | Start,
        k: int = DEFAULT_K,
        weights: Floats | None = None,
        propagation: Propagation | None = None,
    ) -> CudaFitSession:
        """Start fitting; see the protocol."""
        channels = target.shape[2] if target.ndim == 3 else 0
        return CudaFitSession(self._launcher(k, channels), target, start, weights, propagation)

    def differentiable(
        self, width: int, height: int, channels: int, k: int = DEFAULT_K
    ) -> CudaPasses:
        """Start forward and backward passes: see `sadcodec.backends.cuda_differentiable`."""
        return CudaPasses(self._launcher(k, channels), width, height)

    def points(self, channels: int, k: int = DEFAULT_K) -> CudaPoints:
        """Start forward and backward passes at points: see `sadcodec.backends.cuda_points`."""
        return CudaPoints(self._launcher(k, channels))

    def refiner(
        self, target: Floats, k: int = DEFAULT_K, weights: Floats | None = None
    ) -> CudaRefiner:
        """Start refining symbols; see the protocol."""
        channels = target.shape[2] if target.ndim == 3 else 0
        return CudaRefiner(self._launcher(k, channels), target, k, weights)
