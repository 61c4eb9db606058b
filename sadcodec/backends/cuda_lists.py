"""Candidate lists of all tiles of a region, built and held on the device.

Grids of squares refine one another: 64 and 8 px, and others where there is much to filter.
Each square keeps the sites of its parent's list that can be in the top K of one of its pixels, as
kernels/candidates.cu says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sadcodec.backends.cuda_ragged import Ragged
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.backends.place import PLAIN, Place

__all__ = [
    "ENTRY_BYTES",
    "EVERYTHING",
    "GRID",
    "PARENTS",
    "TILE",
    "WIDE_SIDE",
    "Region",
    "SiteEntries",
    "TileLists",
    "grid_arguments",
    "grid_sides",
    "rounding",
    "tile_count",
]

TILE = 8  # px

# Squares of the first grid, which look at every site each; and larger ones to begin with instead,
# from how many pairs of a square and a site on. A block walks through the sites of its square, and
# a GPU has about 100 of the blocks of large squares at work: a further grid walks through all sites
# once more, but leaves the one after it little to do. 1e7 pairs are 200 squares (900 x 900 px) with
# 50,000 sites; 4e8 are 500 squares of 256 px (6000 x 5500 px) with 800,000.
_FIRST = 64  # px
WIDE_SIDE = 64  # px; squares from here on are few, with long lists: a block of 1024 threads each
EVERYTHING = 1 << 30  # px, the side of the one square that has every site
_LARGER = ((256, 1e7), (1024, 4e8))  # px

# A square between those and the tiles, from how many sites a square of the first grid has on: its
# list is about nine times that, and every one of 64 tiles would go through it three times.
_BETWEEN, _CROWDED = 16, 50  # px, sites

# Device memory of one entry of a tile's list, in bytes, without the sums of the passes: its id,
# that of larger squares' entries, the place and temporary memory of sorting the entries by site.
ENTRY_BYTES = 4 + 4 + 8 + 32

GRID = (
    Scalar("parents_x", np.int32),
    Scalar("parent_side", np.int32),
    Scalar("children_x", np.int32),
    Scalar("side", np.int32),
    Scalar("x0", np.int32),
    Scalar("y0", np.int32),
    Scalar("width", np.int32),
    Scalar("height", np.int32),
    Scalar("place_x", np.float32),
    Scalar("place_y", np.float32),
    Scalar("step_x", np.float32),
    Scalar("step_y", np.float32),
    Scalar("margin", np.float32),
)
PARENTS = (
    Array("sites", np.float32, "N", 16),
    Array("parent_offsets", np.int32, "P"),
    Array("parent_ids", np.int32, "Q"),
)
_COUNT = (
    *PARENTS,
    Array("thresholds", np.float32, "children", out=True),
    Array("counts", np.int32, "children", out=True),
    *GRID,
    Scalar("k", np.int32),
    Scalar("cut", np.float32),
)
_FILL = (
    *PARENTS,
    Array("thresholds", np.float32, "children"),
    Array("offsets", np.int32, "ends"),
    Array("ids", np.int32, "capacity", out=True),
    *GRID,
)
FILTER_COUNT = Kernel("candidates.cu", "filter_count", _COUNT, 128)
FILTER_FILL = Kernel("candidates.cu", "filter_fill", _FILL, 128)
FILTER_COUNT_WIDE = Kernel("candidates.cu", "filter_count_wide", _COUNT, 1024)
FILTER_FILL_WIDE = Kernel("candidates.cu", "filter_fill_wide", _FILL, 1024)
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


def grid_sides(width: int, height: int, sites: int) -> tuple[int, ...]:
    """Return the sides of the squares of each grid, px, from large to small."""
    sides = [_FIRST, TILE]
    if sites * _FIRST**2 > _CROWDED * width * height:
        sides.insert(1, _BETWEEN)
    for side, pairs in _LARGER:
        if tile_count(width, height, sides[0]) * sites > pairs:
            sides.insert(0, side)
    return tuple(sides)


def grid_arguments(region: Region, place: Place, side: int, parent_side: int) -> dict[str, Any]:
    """Return the arguments that say what a grid's squares and their parents are."""
    x0, y0, width, height = region
    return {
        "parents_x": -(-width // parent_side),
        "parent_side": parent_side,
        "children_x": -(-width // side),
        "side": side,
        "x0": x0,
        "y0": y0,
        "width": width,
        "height": height,
        "place_x": place.x,
        "place_y": place.y,
        "step_x": place.step_x,
        "step_y": place.step_y,
        "margin": rounding(region, place),
    }


def rounding(region: Region, place: Place) -> float:
    """Return by how many px a corner of a rectangle, computed in float32, may be off."""
    if place == PLAIN:
        return 0.0
    x = abs(place.x) + (region[0] + region[2]) * place.step_x
    y = abs(place.y) + (region[1] + region[3]) * place.step_y
    return max(x, y) * 2.0**-21


class _Level(Ragged):
    """One grid of squares, and the list of each square."""

    def __init__(self, launcher: Launcher, region: Region, side: int, place: Place) -> None:
        super().__init__(launcher, tile_count(region[2], region[3], side))
        self._region = region
        self._place = place
        self.side = side
        self._thresholds = launcher.cp.empty(self.count, np.float32)
        self._built = (0.0, 0)  # cut and number of sites of the last build

    def build(self, sites: Any, parents: _Level | _Everything, k: int, cut: float) -> None:
        """Filter the parents' lists for every square of the grid."""
        grid = {
            **grid_arguments(self._region, self._place, self.side, parents.side),
            "sites": sites,
            "parent_offsets": parents.offsets,
            "parent_ids": parents.ids,
            "thresholds": self._thresholds,
        }
        launch = self._launcher.launch
        count, fill = FILTER_COUNT_WIDE, FILTER_FILL_WIDE
        if self.side < WIDE_SIDE:  # many squares, whose parents' lists are short
            count, fill = FILTER_COUNT, FILTER_FILL
        launch(count, self.count, {**grid, "counts": self.counts, "k": k, "cut": cut})
        before, self._built = self._built, (cut, len(sites))
        # Entries of tiles are sorted by site, those that are none behind all others.
        none = len(sites) if self.side == TILE else None
        longer = cut > before[0] or len(sites) > before[1]
        self.lay_out(none, longer=longer)
        launch(fill, self.count, {**grid, "offsets": self.offsets, "ids": self.ids})


class _Everything:
    """The parent of the first grid: one square with every site."""

    side = EVERYTHING

    def __init__(self, launcher: Launcher, count: int) -> None:
        self.offsets = launcher.cp.asarray(np.array([0, count], np.int32))
        self.ids = launcher.cp.arange(count, dtype=np.int32)


class TileLists:
    """The sites that can matter in each 8 x 8 tile of a region, tiles in raster order.

    The region is one of a raster that lies in the picture as `place` says.

    Attributes
    ----------
    tiles, tiles_x : int
        Number of tiles, and of those side by side.
    """

    def __init__(self, launcher: Launcher, region: Region, place: Place = PLAIN) -> None:
        self._launcher = launcher
        self._region = region
        self._place = place
        self._levels: list[_Level] = []  # chosen at the first build: fits begin with most sites
        self.tiles = tile_count(region[2], region[3])
        self.tiles_x = -(-region[2] // TILE)
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
        if not self._levels:
            sides = grid_sides(self._region[2], self._region[3], len(sites))
            self._levels = [
                _Level(self._launcher, self._region, side, self._place) for side in sides
            ]
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
        launcher.launch(SITE_STARTS, SITE_STARTS.blocks(len(ids) + 1), arguments)
