"""The top-K map of the paper on a CUDA device: each pixel's K best sites, found by propagation.

Each pixel holds a list of K sites. A pass merges it with the lists of the four pixels at some
distance, with a site near the best one along a Hilbert curve, and with sites drawn at random
(Iinbor, Dou and Matusik, arXiv 2604.21984). The lists are not exact, other than those of
`cuda_lists.py`; docs/STUDY.md says how often they differ. kernels/propagate.cu does the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.backends.propagation import (
    ORDER_AGE,
    START_PASSES,
    Propagation,
    first_passes,
    jump_distance,
)

__all__ = ["TopKMap"]

_FILE = "propagate.cu"
_TILE = 8  # px
_THREADS = 256
_TILES_PER_BLOCK = 4
_DEFINES = ("SAD_K",)

_SITES = Array("sites", np.float32, "rows", 16)
_MAP = Array("map", np.int32, "pixels", "K")
_COUNT = Scalar("count", np.int32)
_WIDTH, _HEIGHT = Scalar("width", np.int32), Scalar("height", np.int32)
_TILES = Scalar("tiles", np.int32)

_CURVE_KEYS = Kernel(
    _FILE,
    "curve_keys",
    (_SITES, Array("keys", np.int64, "N", out=True), _COUNT, _WIDTH, _HEIGHT),
    threads=_THREADS,
    defines=_DEFINES,
)
_CURVE_RANKS = Kernel(
    _FILE,
    "curve_ranks",
    (
        Array("keys", np.int64, "N"),
        Array("sorted", np.int64, "N"),
        Array("places", np.int32, "N", out=True),
        Array("order", np.int32, "N", out=True),
        Array("ranks", np.int32, "N", out=True),
        _COUNT,
    ),
    threads=_THREADS,
    defines=_DEFINES,
)
_FIRST_LISTS = Kernel(
    _FILE,
    "first_lists",
    (
        _SITES,
        Array("places", np.int32, "N"),
        Array("order", np.int32, "N"),
        Array("ids", np.int32, "pixels", "K", out=True),
        _COUNT,
        _WIDTH,
        _HEIGHT,
    ),
    threads=_THREADS,
    defines=_DEFINES,
)
_PROPAGATE = Kernel(
    _FILE,
    "propagate",
    (
        _SITES,
        Array("order", np.int32, "N"),
        Array("ranks", np.int32, "N"),
        Array("old", np.int32, "pixels", "K"),
        Array("ids", np.int32, "pixels", "K", out=True),
        _COUNT,
        _WIDTH,
        _HEIGHT,
        Scalar("distance", np.int32),
        Scalar("injected", np.int32),
        Scalar("seed", np.uint64),
        Scalar("pass", np.int32),
    ),
    threads=_THREADS,
    defines=_DEFINES,
)
_REMAP_LISTS = Kernel(
    _FILE,
    "remap_lists",
    (
        Array("index", np.int32, "M"),
        Array("ids", np.int32, "pixels", "K", out=True),
        Scalar("old_count", np.int32),
        Scalar("pixels", np.int64),
    ),
    threads=_THREADS,
    defines=_DEFINES,
)
_COLLECT_COUNT = Kernel(
    _FILE,
    "collect_count",
    (_MAP, Array("counts", np.int32, "tiles", out=True), _WIDTH, _HEIGHT, _TILES),
    threads=128,
    defines=_DEFINES,
)
_COLLECT_FILL = Kernel(
    _FILE,
    "collect_fill",
    (
        _MAP,
        Array("offsets", np.int32, "tiles + 1"),
        Array("entries", np.int32, "capacity", out=True),
        _WIDTH,
        _HEIGHT,
        _TILES,
    ),
    threads=128,
    defines=_DEFINES,
)


class TopKMap:
    """Lists of K sites for each pixel of an image, kept up to date by propagation.

    Parameters
    ----------
    launcher : Launcher
        With ``SAD_K`` = k.
    width, height : int >= 1, px
    k : int, 1..MAX_K
    injected : int >= 0
        Sites drawn at random for each pixel and pass.
    """

    def __init__(
        self,
        launcher: Launcher,
        width: int,
        height: int,
        k: int,
        *,
        injected: int = Propagation.injected,
    ) -> None:
        self.width = width
        self.height = height
        self.k = k
        self.injected = injected
        self.tiles = -(-width // _TILE) * -(-height // _TILE)
        self._launcher = launcher
        self._maps = [launcher.cp.empty((width * height, k), np.int32) for _ in range(2)]
        self._pixel_blocks = -(-width * height // _THREADS)
        self._sizes = {"width": width, "height": height}
        self._passes = 0  # since the start
        self._calls = 0  # of `propagate`, since the sites were sorted
        self._places: Any = None
        self._order: Any = None
        self._ranks: Any = None

    @property
    def ids(self) -> Any:
        """The lists, int32 [H*W, K] on the device: row-major pixels, logits descending, -1 none.

        The next pass writes another array, the one after it this one.
        """
        return self._maps[0]

    @property
    def first_passes(self) -> int:
        """Passes until every distance from half the longer side to 1 px had its turn."""
        return first_passes(self.width, self.height)

    def start(self, sites: Any, count: int, *, passes: int | None = None, seed: int = 0) -> None:
        """Fill the lists: with sites near the pixel along the curve, then by propagation.

        Parameters
        ----------
        sites : float32 [>= count, 16] on the device
            Prepared sites.
        count : int >= 1
            Number of sites.
        passes : int, optional
            Passes to make; by default `first_passes` and two of 1 px.
        seed : int, 0..2^64 - 1
            Of what is drawn at random, with the number of the pass since the start.
        """
        self._passes = 0
        self._sort(sites, count)
        self._launcher.launch(
            _FIRST_LISTS,
            self._pixel_blocks,
            {
                "sites": sites,
                "places": self._places,
                "order": self._order,
                "ids": self._maps[0],
                "count": count,
                **self._sizes,
            },
        )
        self.propagate(
            sites, count, self.first_passes + START_PASSES if passes is None else passes, seed
        )

    def propagate(self, sites: Any, count: int, passes: int, seed: int = 0) -> None:
        """Bring the lists up to date with the sites.

        Parameters
        ----------
        sites : float32 [>= count, 16] on the device
            Prepared sites.
        count : int >= 1
            Number of sites.
        passes : int >= 0
        seed : int, 0..2^64 - 1
        """
        if self._order is None or len(self._order) != count or self._calls >= ORDER_AGE:
            self._sort(sites, count)
        self._calls += 1
        for _ in range(passes):
            self._launcher.launch(
                _PROPAGATE,
                self._pixel_blocks,
                {
                    "sites": sites,
                    "order": self._order,
                    "ranks": self._ranks,
                    "old": self._maps[0],
                    "ids": self._maps[1],
                    "count": count,
                    "distance": jump_distance(self._passes, self.first_passes),
                    "injected": self.injected,
                    "seed": seed,
                    "pass": self._passes,
                    **self._sizes,
                },
            )
            self._maps.reverse()
            self._passes += 1

    def remap(self, index: Any) -> None:
        """Follow a renumbering of the sites.

        Lists keep their order. Where that of two sites with equal logits changes, or lists became
        shorter, the next pass sets it right.

        Parameters
        ----------
        index : int32 [old count] on the device
            New number of each site, or -1 if it was dropped.
        """
        pixels = self.width * self.height
        arguments = {"index": index, "ids": self._maps[0], "old_count": len(index)}
        self._launcher.launch(_REMAP_LISTS, self._pixel_blocks, {**arguments, "pixels": pixels})
        self._order = None

    def count_tiles(self, counts: Any) -> None:
        """Write how many sites the lists of each 8 x 8 tile name: int32 [tiles], on the device."""
        self._collect(_COLLECT_COUNT, {"counts": counts})

    def fill_tiles(self, offsets: Any, entries: Any) -> None:
        """Write the sites that the lists of each tile name, ascending.

        Parameters
        ----------
        offsets : int32 [tiles + 1] on the device
            Where the lists of the tiles, in raster order, begin, and where the last one ends. A
            list that does not fit before the next one is cut short.
        entries : int32 [>= offsets[-1]] on the device
            Receives the ids.
        """
        self._collect(_COLLECT_FILL, {"offsets": offsets, "entries": entries})

    def _collect(self, kernel: Kernel, arrays: dict[str, Any]) -> None:
        arguments = {"map": self._maps[0], **arrays, "tiles": self.tiles, **self._sizes}
        self._launcher.launch(kernel, -(-self.tiles // _TILES_PER_BLOCK), arguments)

    def _sort(self, sites: Any, count: int) -> None:
        """Sort the sites along the curve."""
        cp, launch = self._launcher.cp, self._launcher.launch
        blocks = -(-count // _THREADS)
        keys = cp.empty(count, np.int64)
        launch(_CURVE_KEYS, blocks, {"sites": sites, "keys": keys, "count": count, **self._sizes})
        curve = {name: cp.empty(count, np.int32) for name in ("places", "order", "ranks")}
        arguments = {"keys": keys, "sorted": cp.argsort(keys), **curve, "count": count}
        launch(_CURVE_RANKS, blocks, arguments)
        self._places, self._order, self._ranks = curve["places"], curve["order"], curve["ranks"]
        self._calls = 0
