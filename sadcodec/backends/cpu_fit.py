"""Fit sessions over the C++ core: candidate lists and a top-K map around `_core.Fit`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import _core
from sadcodec.backends.base import DEFAULT_CUT, MAX_K, PHASES, STATISTICS_CUT, RateTerm
from sadcodec.backends.cpu_propagate import CpuTopKMap
from sadcodec.backends.differentiable import checked_picture
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.weights import checked_weights
from sadcodec.errors import OptionError
from sadcodec.sites import GEOMETRY_COLUMNS, Sites

__all__ = ["CpuFitSession", "check_k"]

Floats = NDArray[np.float32]


def check_k(k: int) -> None:
    """Raise OptionError unless 1 <= k <= MAX_K."""
    if not 1 <= k <= MAX_K:
        raise OptionError(f"K must be 1..{MAX_K}, not {k}")


class CpuFitSession:
    """`sadcodec.backends.open_session.OpenFitSession` over the C++ core."""

    def __init__(
        self,
        target: Floats | tuple[int, int, int],
        params: Floats,
        k: int,
        threads: int,
        isa: str = "",
        weights: Floats | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        check_k(k)
        shape = target if isinstance(target, tuple) else target.shape
        if len(shape) != 3 or params.ndim != 2 or params.shape[1] != 6 + shape[2]:
            raise OptionError("target [H, W, C] and params [N, 6 + C] do not fit together")
        height, width, _ = self._shape = shape
        params = np.ascontiguousarray(params, np.float32)
        Sites(params)  # checks values
        each = None if weights is None else checked_weights(weights, height, width)
        self._has_target = not isinstance(target, tuple)
        if isinstance(target, tuple):
            self._fit = _core.Fit(width, height, params, k, threads, isa)
        else:
            image = np.ascontiguousarray(target, np.float32)
            self._fit = _core.Fit(image, params, k, threads, isa, each)
        self._columns = params.shape[1]
        self._cut = DEFAULT_CUT
        self._listed_cut = 0.0  # of the present lists; 0 when they must be rebuilt
        self._map: CpuTopKMap | None = None
        if propagation is not None:
            if propagation.overlap:
                raise OptionError("cpu: a top-K map cannot be made beside the iterations")
            self._map = CpuTopKMap(width, height, k, threads, propagation)
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
        self._require_target()
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

    def picture(self) -> Floats:
        """Return the blend of every pixel; see `OpenFitSession`."""
        self._require_lists()
        return self._fit.picture()

    def pull_back(self, dl_dpicture: NDArray[Any]) -> None:
        """Compute the gradients of another loss; see `OpenFitSession`."""
        cotangent = checked_picture(dl_dpicture, self._shape)
        self._require_lists()
        self._fit.pull_back(cotangent)

    def set_target(self, target: NDArray[Any]) -> None:
        """Replace the target; see `OpenFitSession`."""
        self._fit.set_target(checked_picture(target, self._shape))
        self._has_target = True

    def error_moments(self) -> NDArray[np.float64]:
        """Return the moments of each site's error; see `OpenFitSession`."""
        self._require_target()
        self._require_lists()
        return self._fit.error_moments()

    def neighbours(self) -> NDArray[np.int32]:
        """Return the sites next to each site; see `OpenFitSession`."""
        self._require_lists()
        return self._fit.neighbours()

    def _require_target(self) -> None:
        if not self._has_target:
            raise OptionError("the session has no target")

    def _require_lists(self) -> None:
        if self._listed_cut == 0.0:
            if self._map_serves:
                self._list()  # the map is as it was: exact lists served the statistics
            else:
                self.refresh(self._cut)

    def _statistics(self) -> Floats:
        self._require_target()
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
