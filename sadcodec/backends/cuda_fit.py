"""A fit on the device: target, parameters, Adam moments and candidate lists all stay there.

Two launches an iteration compute the gradients and one takes the step; none of them waits for the
host, which reads a loss only where `float` is called on it. Sums are added up in a fixed order, so
that results are the same bits at every run. Memory in bytes: 4 C for a pixel (4 more if there are
weights), 24 (6 + C) + 64 for a site, and `ENTRY_BYTES` + 4 (6 + C) for an entry of a tile's list.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import (
    DEFAULT_CUT,
    LOSSES,
    MAX_K,
    PHASES,
    STATISTICS_CUT,
    RateTerm,
    Start,
)
from sadcodec.backends.cuda_fit_kernels import (
    ADAM,
    ADAM_RATE,
    GATHER_ROWS,
    LOSS_SLOTS,
    LOSS_UNIT,
    MAX_COLUMNS,
    PREPARE_FAST,
    STATISTICS_SITES,
    STATISTICS_TILES,
    STEP,
)
from sadcodec.backends.cuda_gradient import GradientPasses, bind_gradient
from sadcodec.backends.cuda_initialize import initialize_on_device
from sadcodec.backends.cuda_lists import ENTRY_BYTES, SiteEntries, TileLists, tile_count
from sadcodec.backends.cuda_map_lists import MapLists
from sadcodec.backends.cuda_noise import DisturbedSites
from sadcodec.backends.cuda_ragged import RESERVE
from sadcodec.backends.launch import Kernel, Launcher, on_device
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.weights import checked_weights
from sadcodec.errors import BackendError, OptionError
from sadcodec.sites import GEOMETRY_COLUMNS, Sites

__all__ = ["CudaFitSession"]

Floats = NDArray[np.float32]

# Entries of the tiles' lists, to foresee the memory: for each tile, and for each site. Measured in
# the course of fits, whose lists are longest at a quarter of it, with 100 to 7 px a site: 45 to 220
# entries of a tile.
_ENTRIES_OF_TILE, _ENTRIES_OF_SITE = 24, 20


class _Loss:
    """A loss that is still on the device; `float` waits for it."""

    def __init__(self, session: CudaFitSession, number: int, samples: float) -> None:
        self._session = session
        self._number = number
        self._samples = samples
        self._value: float | None = None

    def __float__(self) -> float:
        if self._value is None:
            self._value = self._session.loss(self._number) / self._samples
        return self._value


class CudaFitSession:
    """`sadcodec.backends.base.FitSession` on a CUDA device.

    Parameters
    ----------
    launcher : Launcher
        Compiled for the K and the channels of the session.
    target : float32 [H, W, C]
    start : float32 [N, 6 + C], or Start
    weights : float32 [H, W], >= 0 with mean 1, optional
        Of the squared errors; 1 by default.
    propagation : Propagation, optional
        Take the gradients' lists from a top-K map.
    """

    def __init__(
        self,
        launcher: Launcher,
        target: Floats,
        start: Floats | Start,
        weights: Floats | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        k = launcher.defines["SAD_K"]
        if not 1 <= k <= MAX_K:
            raise OptionError(f"K must be 1..{MAX_K}, not {k}")
        if target.ndim != 3 or 0 in target.shape:
            raise OptionError(f"a target is [H, W, C], not {list(target.shape)}")
        height, width, channels = target.shape
        columns = GEOMETRY_COLUMNS + channels
        if not isinstance(start, Start):
            if start.ndim != 2 or start.shape[1] != columns:
                raise OptionError("target [H, W, C] and params [N, 6 + C] do not fit together")
            start = Sites(np.ascontiguousarray(start, np.float32)).params  # checks values
        count = start.count if isinstance(start, Start) else len(start)
        # A single weight of stride 0 stands for all pixels.
        each = np.ones(1, np.float32)
        if weights is not None:
            each = checked_weights(weights, height, width).ravel()
        self._launcher = launcher
        self._k, self._width, self._height, self._channels = k, width, height, channels
        self._columns = columns
        self._steps = 0
        self._cut, self._listed = DEFAULT_CUT, False
        self._calls = 0
        self._check_memory(count, len(each))
        with launcher.on_device():
            cp = launcher.cp
            # Not `asarray`: that goes through pinned memory, which the process keeps.
            self._target = cp.empty(target.shape, np.float32)
            self._target.set(np.ascontiguousarray(target, np.float32))
            self._weights = cp.empty(each.shape, np.float32)
            self._weights.set(each)
            self._weight_stride = int(weights is not None)
            if isinstance(start, Start):
                self._params = initialize_on_device(launcher, self._target, start)
            else:
                self._params = cp.asarray(start)
            self._losses = cp.zeros(LOSS_SLOTS, np.uint64)
            region = (0, 0, width, height)
            self._lists: TileLists | MapLists = TileLists(launcher, region)
            if propagation is not None:
                self._lists = MapLists(launcher, width, height, propagation)
            self._wide_lists = TileLists(launcher, region)  # for the statistics, always exact
            self._rows = cp.empty((0, columns), np.float32)
            self._set_tables(cp.zeros((count, columns), np.float32), cp.zeros_like(self._params))

    def _check_memory(self, count: int, weights: int) -> None:
        """Refuse what the device has no memory for, before anything is placed there."""
        entries = _ENTRIES_OF_TILE * tile_count(self._width, self._height)
        entries += _ENTRIES_OF_SITE * count
        need = 4 * (self._width * self._height * self._channels + weights)
        need += count * (24 * self._columns + 64)
        need += int(RESERVE * entries) * (2 * ENTRY_BYTES + 4 * (self._columns + 3))
        free = self._launcher.runtime.free_memory()
        if need > free:
            raise BackendError(
                f"cuda: fitting {self._width} x {self._height} pixels takes about"
                f" {need / 2**30:.1f} GiB of device memory, of which {free / 2**30:.1f} are free"
            )

    def _set_tables(self, first: Any, second: Any) -> None:
        """Take over the moments; what goes with the sites is made anew."""
        cp = self._launcher.cp
        self._first, self._second = first, second
        self._gradients = cp.zeros_like(self._params)
        self._sites = cp.empty((len(self._params), 16), np.float32)
        self._disturbed: DisturbedSites | None = None
        self._listed = False
        prepared = {"params": self._params, "sites": self._sites, "count": self.site_count}
        blocks = PREPARE_FAST.blocks(self.site_count)
        self._launcher.launch(PREPARE_FAST, blocks, prepared)
        self._step_pass = {
            "gradients": self._gradients,
            "params": self._params,
            "first": first,
            "second": second,
            "sites": self._sites,
            "count": self.site_count,
            "width": self._width,
            "height": self._height,
        }
        self._bind_step(ADAM)

    def _bind_step(self, kernel: Kernel, **more: Any) -> None:
        blocks = kernel.blocks(self.site_count)
        self._step = self._launcher.bind(kernel, blocks, {**self._step_pass, **more}, *STEP)

    def computing(self) -> AbstractContextManager[None]:
        """Return a context in which the session's device is the current one."""
        return self._launcher.on_device()

    @property
    @on_device
    def params(self) -> Floats:
        """float32 [N, 6 + C]: a copy of the current parameters; waits."""
        return self._params.get()

    @property
    def site_count(self) -> int:
        """Number of sites N."""
        return len(self._params)

    @property
    @on_device
    def gradients(self) -> Floats:
        """float32 [N, 6 + C]: a copy of dMSE/dparams from the last `gradient` call; waits."""
        return self._gradients.get()

    @on_device
    def loss(self, number: int) -> float:
        """Return the summed squared error of one of the last calls of `gradient`; waits.

        Raises
        ------
        BackendError
            If more than `LOSSES` calls were made since.
        """
        if self._calls - number > LOSSES:
            raise BackendError(f"cuda: the loss of {self._calls - number} calls ago is forgotten")
        return float(self._losses[number % LOSS_SLOTS].get()) / LOSS_UNIT

    @on_device
    def refresh(self, cut: float = DEFAULT_CUT) -> None:
        """Rebuild the candidate lists; see the protocol."""
        self._cut = cut
        self._lists.build(self._sites, self._k, cut)
        ids = self._lists.ids
        if len(self._rows) != len(ids):
            self._rows = self._launcher.cp.empty((len(ids), self._columns), np.float32)
        entries = SiteEntries(self._launcher, ids, self.site_count)
        self._tiles_pass = {
            "offsets": self._lists.offsets,
            "ids": ids,
            "target": self._target,
            "weights": self._weights,
            "rows": self._rows,
            "losses": self._losses,
            "weight_stride": self._weight_stride,
            "tiles": self._lists.tiles,
            "tiles_x": self._lists.tiles_x,
            "width": self._width,
            "height": self._height,
            "cut": cut,
        }
        self._sites_pass = {
            "rows": self._rows,
            "starts": entries.starts,
            "order": entries.order,
            "gradients": self._gradients,
            "losses": self._losses,
            "count": self.site_count,
        }
        self._passes = self._bind(self._params, self._sites)
        self._disturbed_passes: GradientPasses | None = None
        self._listed = True

    def _bind(self, params: Any, sites: Any) -> GradientPasses:
        """Bind the passes of a gradient at these parameters."""
        tiles = {**self._tiles_pass, "sites": sites}
        return bind_gradient(self._launcher, tiles, {**self._sites_pass, "params": params})

    @on_device
    def gradient(
        self, phase: int | None = None, noise: Floats | None = None, seed: int = 0
    ) -> _Loss:
        """Compute loss and gradients; see the protocol."""
        if phase is not None and not 0 <= phase < len(PHASES):
            raise OptionError(f"phase must be None or 0..{len(PHASES) - 1}, not {phase}")
        if not self._listed:
            self.refresh(self._cut)
        row, column = (0, 0) if phase is None else PHASES[phase]
        stride = 1 if phase is None else 2
        sampled = -(-(self._width - column) // stride) * -(-(self._height - row) // stride)
        samples = float(max(sampled, 1) * self._channels)
        passes = self._passes if noise is None else self._disturb(noise, seed)
        slot, scale = self._calls % LOSS_SLOTS, 2.0 / samples
        if phase is None:
            passes.all_pixels(slot, scale)
        else:
            passes.sampled(slot, phase, scale)
        self._calls += 1
        passes.sites(self._calls % LOSS_SLOTS)
        return _Loss(self, self._calls - 1, samples)

    def _disturb(self, noise: Floats, seed: int) -> GradientPasses:
        """Add noise to copies of the parameters; return the passes at these."""
        if self._disturbed is None:
            self._disturbed = DisturbedSites(self._launcher, self._params)
        self._disturbed.draw(noise, seed)
        if self._disturbed_passes is None:
            self._disturbed_passes = self._bind(self._disturbed.params, self._disturbed.sites)
        return self._disturbed_passes

    @on_device
    def set_rate(self, rate: RateTerm | None) -> None:
        """Say what the sites cost; see the protocol."""
        if rate is None:
            self._bind_step(ADAM)
            return
        rate.check(self.site_count, self._columns)
        tables = {"prediction": rate.prediction, "scale": rate.scale, "axes": rate.axes}
        placed = {name: self._launcher.cp.empty(t.shape, np.float32) for name, t in tables.items()}
        for name, table in tables.items():
            placed[name].set(np.ascontiguousarray(table, np.float32))
        self._bind_step(ADAM_RATE, **placed, turn=rate.turn, price=rate.price)

    @on_device
    def adam(self, rates: Floats, beta1: float, beta2: float, epsilon: float = 1e-8) -> None:
        """Take one Adam step; see the protocol."""
        if len(rates) != self._columns:
            raise OptionError(f"Adam needs {self._columns} rates, one a column")
        self._steps += 1
        step, root = 1.0 - beta1**self._steps, 1.0 - beta2**self._steps
        none = [0.0] * (MAX_COLUMNS - self._columns)
        self._step(beta1, beta2, epsilon, 1.0 / step, root**-0.5, *rates, *none)

    def _statistics(self) -> Any:
        """Return mass, error and removal delta of each site, float32 [3, N] on the device."""
        cp = self._launcher.cp
        lists = self._wide_lists  # with a shorter cut, what matters once a site is gone would lack
        lists.build(self._sites, self._k, STATISTICS_CUT)
        entries = SiteEntries(self._launcher, lists.ids, self.site_count)
        rows = cp.empty((len(lists.ids), 3), np.float32)
        sums = cp.empty((3, self.site_count), np.float32)
        tiles = {
            "sites": self._sites,
            "offsets": lists.offsets,
            "ids": lists.ids,
            "target": self._target,
            "weights": self._weights,
            "rows": rows,
            "weight_stride": self._weight_stride,
            "tiles_x": lists.tiles_x,
            "width": self._width,
            "height": self._height,
        }
        self._launcher.launch(STATISTICS_TILES, lists.tiles, tiles)
        sites = {
            "rows": rows,
            "starts": entries.starts,
            "order": entries.order,
            "sums": sums,
            "count": self.site_count,
        }
        self._launcher.launch(STATISTICS_SITES, -(-self.site_count // 32), sites)
        return sums

    @on_device
    def statistics(self) -> tuple[Any, Any]:
        """Return mass and responsibility-weighted squared error, float32 [N] on the device."""
        sums = self._statistics()
        return sums[0], sums[1]

    @on_device
    def removal_deltas(self) -> Any:
        """Return the rise of the squared error without each site, float32 [N] on the device."""
        return self._statistics()[2]

    def _gather(self, table: Any, index: Any) -> Any:
        out = self._launcher.cp.empty((len(index), self._columns), np.float32)
        arguments = {
            "in": table,
            "index": index,
            "out": out,
            "kept": len(index),
            "columns": self._columns,
        }
        self._launcher.launch(GATHER_ROWS, GATHER_ROWS.blocks(out.size), arguments)
        return out

    def _index(self, index: Any) -> Any:
        """Return indices of sites as int32 on the device; those from the host are checked."""
        if isinstance(index, np.ndarray):
            inside = index.ndim == 1 and len(index) > 0
            if not inside or index.min() < 0 or index.max() >= self.site_count:
                raise OptionError(f"sites must be one or more of 0..{self.site_count - 1}")
            index = np.ascontiguousarray(index, np.int32)
        return self._launcher.cp.asarray(index, np.int32)

    @on_device
    def rows(self, index: Any) -> Any:
        """Return the parameters of some sites, on the device."""
        return self._gather(self._params, self._index(index))

    @on_device
    def keep(self, index: Any) -> None:
        """Keep the sites `index`, in this order."""
        kept = self._index(index)
        if isinstance(self._lists, MapLists):
            self._lists.keep(kept, self.site_count)
        tables = [self._gather(t, kept) for t in (self._params, self._first, self._second)]
        self._params = tables[0]
        self._set_tables(tables[1], tables[2])

    @on_device
    def append(self, params: Any) -> None:
        """Add sites with zero moments."""
        cp = self._launcher.cp
        if isinstance(params, np.ndarray):
            params = Sites(np.ascontiguousarray(params, np.float32)).params  # checks values
        if params.shape[1] != self._columns:
            raise OptionError("appended sites must have as many channels as the others")
        added = cp.asarray(params, np.float32)
        nothing = cp.zeros_like(added)
        self._params = cp.concatenate([self._params, added])
        first = cp.concatenate([self._first, nothing])
        self._set_tables(first, cp.concatenate([self._second, nothing]))
