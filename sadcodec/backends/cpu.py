"""The CPU backend: SIMD tiles in C++ (kernels/cpu), on all cores.

The instruction set is chosen at run time (baseline, AVX2, AVX-512); all of them, and any number of
threads, give the same bits. Rendering runs in float32 with a bound on its own error and repeats in
float64 the pixels where that bound could matter, so that it takes the reference's top K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import _core
from sadcodec.backends.base import DEFAULT_K, Start
from sadcodec.backends.cpu_fit import CpuFitSession, check_k
from sadcodec.backends.differentiable import DifferentiableSession
from sadcodec.backends.initialize import placed
from sadcodec.backends.place import PLAIN, Place, Window, checked_window
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.quantization import (
    ColumnCost,
    Quantization,
    check_cost_column,
    check_lambda,
    checked_target,
)
from sadcodec.backends.weights import checked_weights
from sadcodec.errors import LimitError, OptionError
from sadcodec.pixels import code_values
from sadcodec.processors import default_threads
from sadcodec.sites import Sites

__all__ = ["CpuBackend", "CpuFitSession", "CpuRefiner"]

Floats = NDArray[np.float32]


class CpuRefiner:
    """`sadcodec.backends.base.Refiner` over the C++ core."""

    def __init__(
        self,
        target: Floats,
        k: int,
        threads: int,
        isa: str = "",
        weights: Floats | None = None,
    ) -> None:
        image = checked_target(target, k)
        self._channels = image.shape[2]
        checked = None if weights is None else checked_weights(weights, *image.shape[:2])
        self._refine = _core.Refine(image, k, threads, isa, checked)
        self._quantization: Quantization | None = None
        self._listed = False

    def _steps(self) -> Quantization:
        if self._quantization is None:
            raise OptionError("set_sites comes first")
        return self._quantization

    def _lists(self) -> None:
        if not self._listed:
            self.build_lists()

    def set_sites(
        self,
        symbols: NDArray[np.int32],
        position: float,
        log_tau: float,
        anisotropy: float,
        radius: float,
        angle_levels: NDArray[np.int32],
        color_steps: Floats,
        axes: Floats,
    ) -> None:
        """Start from these symbols; see the protocol."""
        steps = Quantization(position, log_tau, anisotropy, radius, angle_levels, color_steps, axes)
        table = steps.checked_symbols(symbols, self._channels)
        self._refine.set_sites(
            table,
            position,
            log_tau,
            anisotropy,
            radius,
            steps.angle_levels,
            steps.color_steps,
            steps.axes,
        )
        self._quantization = steps
        self._listed = False

    def set_cost(
        self, column: int, prediction: NDArray[np.int32], klass: NDArray[np.uint8], table: Floats
    ) -> None:
        """Say what the symbols of one column cost; see the protocol."""
        count = len(self._steps().color_steps)
        check_cost_column(column, self._channels)
        cost = ColumnCost.checked(prediction, klass, table, count)
        self._refine.set_cost(column, cost.prediction, cost.klass, cost.table)

    def set_color_steps(self, steps: Floats) -> None:
        """Replace the colour steps; see the protocol."""
        self._quantization = self._steps().with_color_steps(steps)
        self._refine.set_color_steps(self._quantization.color_steps)

    @property
    def symbols(self) -> NDArray[np.int32]:
        """int32 [N, 6 + C]: a copy of the current symbols."""
        self._steps()
        return self._refine.symbols

    @property
    def params(self) -> Floats:
        """float32 [N, 6 + C]: the parameters that they stand for."""
        self._steps()
        return self._refine.params

    def build_lists(self) -> float:
        """Find each pixel's best sites; return the squared error of the picture."""
        self._steps()
        self._listed = True
        return self._refine.build_lists()

    def solve_colors(self, iterations: int) -> None:
        """Set all colours to the least-squares optimum, by conjugate gradients."""
        self._lists()
        self._refine.solve_colors(iterations)

    def sweep(self, lambda_: float, geometry: bool) -> int:
        """Visit every site once; return how many moves were taken."""
        check_lambda(lambda_)
        self._lists()
        return self._refine.sweep(lambda_, geometry)

    def removal_deltas(self) -> NDArray[np.float64]:
        """Return by how much the squared error would rise without each site."""
        self._lists()
        return self._refine.removal_deltas()


class CpuBackend:
    """`sadcodec.backends.base.Backend` on the CPU.

    Parameters
    ----------
    threads : int, optional
        1..1024; all processors of the process by default. Has no influence on any result.
    isa : str
        Instruction set by name, for tests; the best one by default.
    """

    name = "cpu"

    def __init__(self, threads: int | None = None, isa: str = "") -> None:
        if threads is not None and not 1 <= threads <= 1024:
            raise OptionError(f"threads must be 1..1024, not {threads}")
        self.threads = threads or default_threads()
        self.isa = isa

    @property
    def instructions(self) -> str:
        """Name of the instruction set in use."""
        return self.isa or _core.isa()

    def render(
        self,
        sites: Sites,
        width: int,
        height: int,
        k: int = DEFAULT_K,
        *,
        exact: bool = False,
        max_work: int = 0,
        window: Window | None = None,
        place: Place = PLAIN,
        bit_depth: int | None = None,
    ) -> NDArray[Any]:
        """Evaluate a diagram at every pixel: float32 [rows, columns, C]; see the protocol.

        With `exact` every pixel is computed in float64 (several times slower); without it only
        those whose top K float32 cannot decide.
        """
        check_k(k)
        window = checked_window(window, width, height, place)
        options: dict[str, Any] = {"max_work": max_work, "window": window, "place": tuple(place)}
        try:
            drawn = _core.render(
                sites.params, width, height, k, exact, self.threads, self.isa, **options
            )
        except _core.TooMuchWork:
            raise LimitError(
                f"too many of its {len(sites)} sites matter at one pixel: more than {max_work} on"
                " average in a part of the picture"
            ) from None
        return drawn if bit_depth is None else code_values(drawn, bit_depth)

    def reaches(
        self, sites: Sites, width: int, height: int, k: int, starts: Sequence[int]
    ) -> NDArray[np.int32]:
        """Return where in a picture each run of sites can matter.

        Parameters
        ----------
        sites : Sites
        width, height : int, px
        k : int, 1..MAX_K
        starts : ascending int [G]
            The first site of each run; the last one goes to the end.

        Returns
        -------
        int32 [G, 4], px
            x0, y0, x1, y1: no point of the picture outside of it, at the centre of a pixel or
            between them, needs a site of the run. Empty where no point does.
        """
        check_k(k)
        return _core.reaches(sites.params, width, height, k, list(starts), self.threads)

    def fit_session(
        self,
        target: Floats,
        start: Floats | Start,
        k: int = DEFAULT_K,
        weights: Floats | None = None,
        propagation: Propagation | None = None,
    ) -> CpuFitSession:
        """Start fitting; see the protocol.

        With a top-K map a pixel is blended from the sites of its own list alone.
        """
        params = placed(target, start)
        return CpuFitSession(target, params, k, self.threads, self.isa, weights, propagation)

    def differentiable(
        self,
        width: int,
        height: int,
        channels: int,
        k: int = DEFAULT_K,
        propagation: Propagation | None = None,
    ) -> DifferentiableSession:
        """Start forward and backward passes: see `DifferentiableSession`.

        With a top-K map, which each forward pass renews, a pixel is blended from its own list.
        """
        check_k(k)
        shape = (height, width, channels)

        def open_session(params: Floats) -> CpuFitSession:
            options = (self.threads, self.isa, None, propagation)
            return CpuFitSession(shape, params, k, *options)

        return DifferentiableSession(shape, open_session)

    def refiner(
        self, target: Floats, k: int = DEFAULT_K, weights: Floats | None = None
    ) -> CpuRefiner:
        """Start refining symbols; see the protocol."""
        return CpuRefiner(target, k, self.threads, self.isa, weights)
