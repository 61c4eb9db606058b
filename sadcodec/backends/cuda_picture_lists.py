"""Tile lists of one picture: a launch for each grid of squares, and nothing to wait for.

A fit's lists lie in the order of the tiles, which takes a sum of all lengths between counting and
filling (`cuda_lists.TileLists`). A picture is the same whatever their order: here a square's list
goes to the next free place when its length is known. The memory is of a foreseen size; how long
the lists really got comes to the host with the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_lists import (
    EVERYTHING,
    GRID,
    PARENTS,
    WIDE_SIDE,
    Region,
    grid_arguments,
    grid_sides,
    tile_count,
)
from sadcodec.backends.cuda_ragged import MOST_ENTRIES
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.backends.place import Place
from sadcodec.errors import BackendError

__all__ = ["TOTALS", "PictureLists"]

TOTALS = 8  # as kTotals in kernels/prepare.cu: more than there are grids

_LISTS = (
    *PARENTS,
    Array("offsets", np.int32, "bounds", out=True),
    Array("ids", np.int32, "capacity", out=True),
    Array("totals", np.uint64, TOTALS, out=True),
    *GRID,
    Scalar("k", np.int32),
    Scalar("cut", np.float32),
    Scalar("parent_ends", np.int32),
    Scalar("grid", np.int32),
    Scalar("capacity", np.int32),
)
FILTER_LISTS = Kernel("candidates.cu", "filter_lists", _LISTS, 128)
FILTER_LISTS_WIDE = Kernel("candidates.cu", "filter_lists_wide", _LISTS, 1024)


class PictureLists:
    """How many entries the lists of each grid may have, and how they are made.

    Parameters
    ----------
    region : Region
        Of a raster that lies in the picture as `place` says.
    place : Place
    count : int
        Number of sites.

    Attributes
    ----------
    tiles : int
        Number of tiles.
    """

    def __init__(self, region: Region, place: Place, count: int) -> None:
        self._region, self._place = region, place
        self._sides = grid_sides(region[2], region[3], count)
        self._squares = [tile_count(region[2], region[3], side) for side in self._sides]
        self.tiles = self._squares[-1]
        self._capacities: list[int] = []
        for side, squares in zip(self._sides, self._squares, strict=True):
            own = count * side**2 / (region[2] * region[3])
            # Enough for all but unusual diagrams, and on average 4 entries a pixel at most.
            entries = int(squares * min(count, 40 + 30 * own, 4 * side**2)) + 1
            self._capacities.append(min(entries, MOST_ENTRIES))

    @property
    def nbytes(self) -> int:
        """Bytes of device memory that the lists take."""
        return 4 * (2 * sum(self._squares) + sum(self._capacities))

    def build(
        self, launcher: Launcher, everything: dict[str, Any], totals: Any, cut: float
    ) -> dict[str, Any]:
        """Make the lists.

        Parameters
        ----------
        launcher : Launcher
        everything : dict
            The arrays ``sites``, and ``ids`` and ``offsets`` of the list of all of them.
        totals : uint64 [TOTALS], on the device
            0; here the lengths of all lists of each grid are summed up.
        cut : float
            As for `TileLists.build`.

        Returns
        -------
        dict
            The arrays ``ids`` and ``offsets`` of the tiles, and ``ends``: list i is
            ``ids[offsets[i] : offsets[ends + i]]``, ascending; ``tiles_x``, tiles side by side.
        """
        empty, k = launcher.cp.empty, launcher.defines["SAD_K"]
        ids, offsets, ends, parent = everything["ids"], everything["offsets"], 1, EVERYTHING
        grids = zip(self._sides, self._squares, self._capacities, strict=True)
        for grid, (side, squares, capacity) in enumerate(grids):
            arguments = {
                **grid_arguments(self._region, self._place, side, parent),
                "sites": everything["sites"],
                "parent_offsets": offsets,
                "parent_ends": ends,
                "parent_ids": ids,
                "totals": totals,
                "grid": grid,
                "capacity": capacity,
                "k": k,
                "cut": cut,
            }
            ids, offsets, ends = empty(capacity, np.int32), empty(2 * squares, np.int32), squares
            kernel = FILTER_LISTS_WIDE if side >= WIDE_SIDE else FILTER_LISTS
            launcher.launch(kernel, squares, {**arguments, "offsets": offsets, "ids": ids})
            parent = side
        return {"ids": ids, "offsets": offsets, "ends": ends, "tiles_x": arguments["children_x"]}

    def had_room(self, totals: NDArray[np.uint64]) -> bool:
        """Whether no list was cut short; if one was, there is room for as many the next time.

        Raises
        ------
        BackendError
            If the lists of a grid have more than `MOST_ENTRIES` entries.
        """
        needed = totals[: len(self._capacities)].tolist()
        if max(needed) > MOST_ENTRIES:
            raise BackendError(f"cuda: lists of sites with {max(needed)} entries are too long")
        enough = [max(pair) for pair in zip(needed, self._capacities, strict=True)]
        fitted = enough == self._capacities
        self._capacities = enough
        return fitted
