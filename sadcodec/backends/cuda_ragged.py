"""Lists of different lengths, one behind the other in device memory.

How long the lists are is known only to the device. The memory for them is sized by what the lists
before these needed, with a reserve of a half that is not let sink under a fifth. Their length came
to the host while the device went on, so that it does not wait; where longer lists are to be
expected, it waits for the sum of the lengths. Should lists outgrow their memory all the same, the
last ones are cut short until they are made again.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import numpy as np

from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.errors import BackendError

__all__ = ["MOST_ENTRIES", "RESERVE", "Ragged"]

# Entries of all lists: int32 numbers them, and a block steps over up to 1024 at a time.
MOST_ENTRIES = np.iinfo(np.int32).max - 1024

RESERVE = 1.5
_LEAST_RESERVE = 1.2  # with less, memory is had anew
_SPARE = 1024  # entries

SCAN_COUNTS = Kernel(
    "candidates.cu",
    "scan_counts",
    (
        Array("counts", np.int32, "lists"),
        Array("offsets", np.int32, "ends", out=True),
        Array("total", np.int64, 1, out=True),
        Scalar("n", np.int32),
        Scalar("capacity", np.int32),
    ),
    threads=1024,
)


class Ragged:
    """`count` lists of ids.

    Attributes
    ----------
    counts : int32 [count], on the device
        Length of each list, written by who makes them before `lay_out`.
    offsets : int32 [count + 1], on the device
        Where each list begins in `ids`, and where the last one ends.
    ids : int32 [capacity], on the device
        The lists, written by who makes them after `lay_out`.
    """

    _coming = False  # whether a total may still be on its way to `_known`

    def __init__(self, launcher: Launcher, count: int) -> None:
        cp = launcher.cp
        self._launcher = launcher
        self.count = count
        self.counts = cp.empty(count, np.int32)
        self.offsets = cp.empty(count + 1, np.int32)
        self.ids: Any = None
        self._total = cp.zeros(1, np.int64)
        self._known = np.frombuffer(cp.cuda.alloc_pinned_memory(8), np.int64, 1)
        self._arrived = cp.cuda.Event(disable_timing=True)  # of the total in `_known`

    def __del__(self) -> None:
        """Wait for the total before its memory, which CuPy lends to others at once, is free."""
        if self._coming and not sys.is_finalizing():
            with suppress(Exception):  # a device that has failed writes nothing more
                self._arrived.synchronize()

    def lay_out(self, fill: int | None, *, longer: bool) -> None:
        """Sum up the counts, and have memory for the lists.

        Parameters
        ----------
        fill : int, optional
            What `ids` holds until it is written; None: anything.
        longer : bool
            Whether the lists may be much longer than the last ones, or there were none.

        Raises
        ------
        BackendError
            If the lists have more than `MOST_ENTRIES` entries.
        """
        if longer:
            self._scan(MOST_ENTRIES)
            total = int(self._total.get()[0])
        else:
            self._arrived.synchronize()
            total = int(self._known[0])
        if total > MOST_ENTRIES:
            raise BackendError(f"cuda: lists of sites with {total} entries are too long")
        enough = min(int(total * RESERVE) + _SPARE, MOST_ENTRIES)
        if self.ids is None or not total * _LEAST_RESERVE <= len(self.ids) <= 3 * enough:
            self.ids = self._launcher.cp.empty(enough, np.int32)
        # Lists that were waited for all have room, by the sums that there are.
        if not longer:
            self._scan(len(self.ids))
        self._coming = True
        self._total.get(out=self._known, blocking=False)
        self._arrived.record()
        if fill is not None:
            self.ids.fill(fill)

    def _scan(self, capacity: int) -> None:
        arguments = {
            "counts": self.counts,
            "offsets": self.offsets,
            "total": self._total,
            "n": self.count,
            "capacity": capacity,
        }
        self._launcher.launch(SCAN_COUNTS, 1, arguments)
