"""Candidate lists of all tiles of a region, built and held on the device.

Grids of squares refine one another (512, 64 and 8 px; the largest only where the region is): each
square keeps the sites of its parent's list that can be in the top K of one of its pixels, as
kernels/candidates.cu says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sadcodec.backends.cuda_ragged import Ragged
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar

__all__ = ["ENTRY_BYTES", "TILE", "Region", "SiteEntries", "TileLists", "tile_count"]

TILE = 8  # px
_SQUARES = (512, 64, TILE)  # px
_LARGE = 1 << 21  # pixels from which the largest squares pay

# Device memory of one entry of a tile's list, in bytes, without the sums of the passes: its id,
# and the place and temporary memory of sorting the entries by site.
ENTRY_BYTES = 4 + 8 + 32

_GRID = (
    Scalar("parents_x", np.int32),
    Scalar("parent_side", np.int32),
    Scalar("children_x", np.int32),
    Scalar("side", np.int32),
    Scalar("x0", np.int32),
    Scalar("y0", np.int32),
    Scalar("width", np.int32),
    Scalar("height", np.int32),
)
_PARENTS = (
    Array("sites", np.float32, "N", 16),
    Array("parent_offsets", np.int32, "P"),
    Array("parent_ids", np.int32, "Q"),
)
FILTER_COUNT = Kernel(
    "candidates.cu",
    "filter_count",
    (
        *_PARENTS,
        Array("thresholds", np.float32, "children", out=True),
        Array("counts", np.int32, "children", out=True),
        *_GRID,
        Scalar("k", np.int32),
        Scalar("cut", np.float32),
    ),
    threads=128,
)
FILTER_FILL = Kernel(
    "candidates.cu",
    "filter_fill",
    (
        *_PARENTS,
        Array("thresholds", np.float32, "children"),
        Array("offsets", np.int32, "ends"),
        Array("ids", np.int32, "capacity", out=True),
        *_GRID,
    ),
    threads=128,
)
SITE_STARTS = Kernel(
    "candidates.cu",
    "site_starts",
    (
        Array("ids", np.int32, "capacity"),
        Array("order", np.int64, "capacity"),
        Array("starts", np.int32, "ends", out=True),
        Scalar("entries", np.int32),
        Scalar("count", np.int32),
    ),
    threads=256,
)

# First column and row, width and height, in px.
Region = tuple[int, int, int, int]


def tile_count(width: int, height: int, side: int = TILE) -> int:
    """Return the number of squares of `side` px that cover an image."""
    return -(-width // side) * -(-height // side)


class _Level(Ragged):
    """One grid of squares, and the list of each square."""

    def __init__(self, launcher: Launcher, region: Region, side: int) -> None:
        super().__init__(launcher, tile_count(region[2], region[3], side))
        self._region = region
        self.side = side
        self.across = -(-region[2] // side)
        self._thresholds = launcher.cp.empty(self.count, np.float32)
        self._built = (0.0, 0)  # cut and number of sites of the last build

    def build(self, sites: Any, parents: _Level | _Everything, k: int, cut: float) -> None:
        """Filter the parents' lists for every square of the grid."""
        x0, y0, width, height = self._region
        grid = {
            "sites": sites,
            "parent_offsets": parents.offsets,
            "parent_ids": parents.ids,
            "parents_x": parents.across,
            "parent_side": parents.side,
            "children_x": self.across,
            "side": self.side,
            "x0": x0,
            "y0": y0,
            "width": width,
            "height": height,
            "thresholds": self._thresholds,
        }
        launch = self._launcher.launch
        launch(FILTER_COUNT, self.count, {**grid, "counts": self.counts, "k": k, "cut": cut})
        before, self._built = self._built, (cut, len(sites))
        self.lay_out(len(sites), longer=cut > before[0] or len(sites) > before[1])
        launch(FILTER_FILL, self.count, {**grid, "offsets": self.offsets, "ids": self.ids})


class _Everything:
    """The parent of the first grid: one square with every site."""

    across = 1
    side = 1 << 30  # px, more than any image has

    def __init__(self, launcher: Launcher, count: int) -> None:
        self.offsets = launcher.cp.asarray(np.array([0, count], np.int32))
        self.ids = launcher.cp.arange(count, dtype=np.int32)


class TileLists:
    """The sites that can matter in each 8 x 8 tile of a region, tiles in raster order.

    Attributes
    ----------
    tiles, tiles_x : int
        Number of tiles, and of those side by side.
    """

    def __init__(self, launcher: Launcher, region: Region) -> None:
        self._launcher = launcher
        large = region[2] * region[3] > _LARGE
        self._levels = [_Level(launcher, region, side) for side in _SQUARES[0 if large else 1 :]]
        self.tiles = self._levels[-1].count
        self.tiles_x = self._levels[-1].across
        self._all: _Everything | None = None

    @property
    def offsets(self) -> Any:
        """int32 [tiles + 1], on the device: where each tile's list begins in `ids`."""
        return self._levels[-1].offsets

    @property
    def ids(self) -> Any:
        """int32 [capacity], on the device: ascending site ids of each tile; N behind the last."""
        return self._levels[-1].ids

    def build(self, sites: Any, k: int, cut: float) -> None:
        """Rebuild the lists.

        Parameters
        ----------
        sites : float32 [N, 16], on the device
            Prepared sites.
        k : int
            Sites that a pixel needs.
        cut : float
            Logits further under a pixel's largest may be left out.
        """
        if self._all is None or len(self._all.ids) != len(sites):
            self._all = _Everything(self._launcher, len(sites))
        parents: _Level | _Everything = self._all
        for level in self._levels:
            level.build(sites, parents, k, cut)
            parents = level


class SiteEntries:
    """The entries of each site in all tiles' lists, in the order of the tiles.

    Attributes
    ----------
    order : int64 [capacity], on the device
        Places in the lists, sorted by site.
    starts : int32 [N + 1], on the device
        Where each site begins in `order`.
    """

    def __init__(self, launcher: Launcher, ids: Any, count: int) -> None:
        cp = launcher.cp
        self.order = cp.argsort(ids, kind="stable")
        self.starts = cp.empty(count + 1, np.int32)
        arguments = {
            "ids": ids,
            "order": self.order,
            "starts": self.starts,
            "entries": len(ids),
            "count": count,
        }
        launcher.launch(SITE_STARTS, -(-(len(ids) + 1) // SITE_STARTS.threads), arguments)
