"""Tile lists out of the paper's top-K map, as another source of candidates than the exact ones.

A tile lists the sites that the map's lists name at its pixels. The map takes its passes at every
build. With `Propagation.overlap` these run on a stream of their own beside the iterations that
follow, with the sites as they are now, and their outcome serves from the build after on.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import numpy as np

from sadcodec.backends.cuda_lists import TILE
from sadcodec.backends.cuda_propagate import TopKMap
from sadcodec.backends.cuda_ragged import Ragged
from sadcodec.backends.launch import Launcher
from sadcodec.backends.propagation import Propagation

__all__ = ["MapLists"]


class MapLists(Ragged):
    """The interface of `cuda_lists.TileLists`, for a whole image.

    Parameters
    ----------
    launcher : Launcher
    width, height : int, px
    options : Propagation
    """

    _snapshot: Any = None  # held while the stream reads it

    def __init__(self, launcher: Launcher, width: int, height: int, options: Propagation) -> None:
        self._options = options
        self._map = TopKMap(
            launcher, width, height, launcher.defines["SAD_K"], injected=options.injected
        )
        super().__init__(launcher, self._map.tiles)
        self.tiles = self._map.tiles
        self.tiles_x = -(-width // TILE)
        self._sites = 0  # that the map knows of
        self._counted = 0  # that the last lists were made for
        self._stream = launcher.cp.cuda.Stream(non_blocking=True) if options.overlap else None

    def __del__(self) -> None:
        """Have the next use of the map's memory wait for its passes: CuPy lends it out at once."""
        if self._snapshot is not None and not sys.is_finalizing():
            with suppress(Exception), self._launcher.runtime.activate():
                self.wait()
        super().__del__()

    def build(self, sites: Any, k: int, cut: float) -> None:
        """Propagate, and rebuild the lists; `k` is that of the map and `cut` is not needed."""
        del k, cut
        count = len(sites)
        self.wait()
        if self._sites == 0:
            self._map.start(sites, count, seed=self._options.seed)
        elif self._stream is None or count != self._sites:
            self._propagate(sites)
        self._sites = count
        self._map.count_tiles(self.counts)
        longer, self._counted = count > self._counted, count
        self.lay_out(count, longer=longer)
        self._map.fill_tiles(self.offsets, self.ids)
        if self._stream is not None:
            self._propagate_beside(sites, self._stream)

    def _propagate_beside(self, sites: Any, stream: Any) -> None:
        cp = self._launcher.cp
        self._snapshot = sites.copy()
        ready = cp.cuda.Event(disable_timing=True)
        ready.record()
        with stream:
            stream.wait_event(ready)
            self._propagate(self._snapshot)

    def _propagate(self, sites: Any) -> None:
        self._map.propagate(sites, len(sites), self._options.passes, self._options.seed)

    def wait(self) -> None:
        """Have what follows wait for the passes beside it; the host does not."""
        if self._stream is None or self._snapshot is None:
            return
        done = self._launcher.cp.cuda.Event(disable_timing=True)
        done.record(self._stream)
        self._launcher.cp.cuda.get_current_stream().wait_event(done)
        self._snapshot = None

    def keep(self, index: Any, count: int) -> None:
        """Follow the sites `index`, int32 on the device, of the `count` that there were."""
        if self._sites == 0:
            return
        cp = self._launcher.cp
        self.wait()
        number = cp.full(count, -1, np.int32)
        number[index] = cp.arange(len(index), dtype=np.int32)
        self._map.remap(number)
        self._sites = len(index)
