"""The CPU backend: SIMD tiles in C++ (kernels/cpu), on all cores.

The instruction set is chosen at run time (baseline, AVX2, AVX-512); all of them, and any number of
threads, give the same bits. Rendering runs in float32 with a bound on its own error and repeats in
float64 the pixels where that bound could matter, so that it takes the reference's top K.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import _core
from sadcodec.backends.base import (
    DEFAULT_CUT,
    DEFAULT_K,
    MAX_K,
    PHASES,
    STATISTICS_CUT,
    RateTerm,
    Start,
)
from sadcodec.backends.cpu_propagate import CpuTopKMap
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
from sadcodec.processors import default_threads
from sadcodec.sites import GEOMETRY_COLUMNS, Sites

__all__ = ["CpuBackend", "CpuFitSession", "CpuRefiner"]

Floats = NDArray[np.float32]


def _check(k: int) -> None:
    if not 1 <= k <= MAX_K:
        raise OptionError(f"K must be 1..{MAX_K}, not {k}")


class CpuFitSession:
    """`sadcodec.backends.open_session.OpenFitSession` over the C++ core."""

    def __init__(
        self,
        target: Floats,
        params: Floats,
        k: int,
        threads: int,
        isa: str = "",
        weights: Floats | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        _check(k)
        if target.ndim != 3 or params.ndim != 2 or params.shape[1] != 6 + target.shape[2]:
            raise OptionError("target [H, W, C] and params [N, 6 + C] do not fit together")
        Sites(np.ascontiguousarray(params, np.float32))  # checks values
        self._fit = _core.Fit(
            np.ascontiguousarray(target, np.float32),
            np.ascontiguousarray(params, np.float32),
            k,
            threads,
            isa,
            None if weights is None else checked_weights(weights, *target.shape[:2]),
        )
        self._columns = params.shape[1]
        self._cut = DEFAULT_CUT
        self._listed_cut = 0.0  # of the present lists; 0 when they must be rebuilt
        self._map: CpuTopKMap | None = None
        if propagation is not None:
            if propagation.overlap:
                raise OptionError("cpu: a top-K map cannot be made beside the iterations")
            self._map = CpuTopKMap(target.shape[1], target.shape[0], k, threads, propagation)
        self._mapped = False  # the map has lists
        self._map_serves = False  # and these are of the present sites

    def computing(self) -> AbstractContextManager[None]:
        """Return a context for work on arrays of the session: they are NumPy's."""
        return nullcontext()

    @property
    def params(self) -> Floats:
        """float32 [N, 6 + C]: a copy of the current parameters."""
        return self._fit.params

    @property
    def site_count(self) -> int:
        """Number of sites N."""
        return self._fit.count

    @property
    def gradients(self) -> Floats:
        """float32 [N, 6 + C]: a copy of dMSE/dparams from the last `gradient` call."""
        return self._fit.gradients

    def refresh(self, cut: float = DEFAULT_CUT) -> None:
        """Rebuild the candidate lists; see the protocol."""
        self._cut = cut
        if self._map is not None:
            params = self._fit.params
            if self._mapped:
                self._map.propagate(params)
            else:
                self._map.start(params)
            self._mapped = self._map_serves = True
        self._list()

    def _list(self) -> None:
        if self._map is None:
            self._fit.refresh(self._cut)
        else:
            self._fit.follow(self._map.lists, self._cut)
        self._listed_cut = self._cut

    @property
    def topk_map(self) -> NDArray[np.int32] | None:
        """int32 [H*W, K]: a copy of the map's lists; None where the lists are exact."""
        return None if self._map is None else self._map.ids

    def gradient(
        self, phase: int | None = None, noise: Floats | None = None, seed: int = 0
    ) -> float:
        """Compute loss and gradients; see the protocol.

        Parameters
        ----------
        phase : int or None
        noise : float32 [N, 6 + C], optional
            Half-widths of a uniform disturbance of every parameter, at which the gradient is taken;
            columns p and q mean along and across the vector (p, q).
        seed : int
            Of the disturbance.
        """
        if phase is not None and not 0 <= phase < len(PHASES):
            raise OptionError(f"phase must be None or 0..{len(PHASES) - 1}, not {phase}")
        if noise is not None:
            noise = np.ascontiguousarray(noise, np.float32)
            if noise.shape != (self.site_count, self._columns):
                raise OptionError(f"noise of shape {list(noise.shape)} is not that of the sites")
        self._require_lists()
        return self._fit.gradient(-1 if phase is None else phase, noise, seed)

    def set_rate(self, rate: RateTerm | None) -> None:
        """Say what the sites cost; see the protocol."""
        if rate is None:
            nothing = np.zeros((self.site_count, self._columns), np.float32)
            channels = self._columns - GEOMETRY_COLUMNS
            rate = RateTerm(nothing, nothing, np.zeros((channels, channels), np.float32), 1.0, 0.0)
        rate.check(self.site_count, self._columns)
        prediction, scale, axes = (
            np.ascontiguousarray(table, np.float32)
            for table in (rate.prediction, rate.scale, rate.axes)
        )
        self._fit.set_rate(prediction, scale, axes, rate.turn, rate.price)

    def adam(self, rates: Floats, beta1: float, beta2: float, epsilon: float = 1e-8) -> None:
        """Take one Adam step; see the protocol."""
        steps = np.ascontiguousarray(rates, np.float32)
        if steps.shape != (self._columns,):
            raise OptionError(f"Adam needs {self._columns} rates, one a column")
        self._fit.adam(steps, beta1, beta2, epsilon)

    def move(self, params: Floats) -> None:
        """Set all parameters to values a step away; see `OpenFitSession`."""
        moved = Sites(np.ascontiguousarray(params, np.float32)).params  # checks values
        if moved.shape != (self.site_count, self._columns):
            raise OptionError(f"parameters of shape {list(moved.shape)} are not those of the sites")
        self._fit.move(moved)

    def error_moments(self) -> NDArray[np.float64]:
        """Return the moments of each site's error; see `OpenFitSession`."""
        self._require_lists()
        return self._fit.error_moments()

    def neighbours(self) -> NDArray[np.int32]:
        """Return the sites next to each site; see `OpenFitSession`."""
        self._require_lists()
        return self._fit.neighbours()

    def _require_lists(self) -> None:
        if self._listed_cut == 0.0:
            if self._map_serves:
                self._list()  # the map is as it was: exact lists served the statistics
            else:
                self.refresh(self._cut)

    def _statistics(self) -> Floats:
        # Lists with a shorter cut would lack sites that matter once another is gone, and those of a
        # map too.
        if self._listed_cut < STATISTICS_CUT or self._map is not None:
            self._fit.refresh(STATISTICS_CUT)
            self._listed_cut = 0.0
        return self._fit.statistics()

    def statistics(self) -> tuple[Floats, Floats]:
        """Return mass and responsibility-weighted squared error of each site."""
        values = self._statistics()
        return values[:, 0].copy(), values[:, 1].copy()

    def removal_deltas(self) -> Floats:
        """Return by how much the squared error would rise without each site."""
        return self._statistics()[:, 2].copy()

    def rows(self, index: NDArray[np.integer]) -> Floats:
        """Return the parameters of some sites."""
        return self._fit.params[index]

    def keep(self, index: NDArray[np.integer]) -> None:
        """Keep the sites `index`, in this order."""
        kept = np.ascontiguousarray(index, np.int32)
        if kept.ndim != 1 or len(kept) == 0 or kept.min() < 0 or kept.max() >= self.site_count:
            raise OptionError(f"the sites to keep must be one or more of 0..{self.site_count - 1}")
        if self._map is not None and self._mapped:
            self._map.keep(kept, self.site_count)
        self._fit.keep(kept)
        self._listed_cut, self._map_serves = 0.0, False

    def append(self, params: Floats) -> None:
        """Add sites with zero moments."""
        added = Sites(np.ascontiguousarray(params, np.float32))  # checks values
        if added.params.shape[1] != self._columns:
            raise OptionError("appended sites must have as many channels as the others")
        self._fit.append(added.params)
        self._listed_cut, self._map_serves = 0.0, False


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
    ) -> Floats:
        """Evaluate a diagram at every pixel: float32 [rows, columns, C], not clamped.

        With `exact` every pixel is computed in float64 (several times slower); without it only
        those whose top K float32 cannot decide. Within 1/255 of the reference either way.
        """
        _check(k)
        window = checked_window(window, width, height, place)
        options: dict[str, Any] = {"max_work": max_work, "window": window, "place": tuple(place)}
        try:
            return _core.render(
                sites.params, width, height, k, exact, self.threads, self.isa, **options
            )
        except _core.TooMuchWork:
            raise LimitError(
                f"too many of its {len(sites)} sites matter at one pixel: more than {max_work} on"
                " average in a part of the picture"
            ) from None

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
        _check(k)
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

    def refiner(
        self, target: Floats, k: int = DEFAULT_K, weights: Floats | None = None
    ) -> CpuRefiner:
        """Start refining symbols; see the protocol."""
        return CpuRefiner(target, k, self.threads, self.isa, weights)
