"""Which sites of a descent a GPU may move at once: classes of sites that share no pixel's list.

A sweep visits one class after another, and its result is that of visiting the sites of a class in
any order. The classes are those of a greedy colouring, sites of many pixels first, found in rounds
(see kernels/refine_schedule.cu): the same at every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_refine_kernels import SCHEDULE_PIXELS, SCHEDULE_SITES
from sadcodec.backends.launch import Launcher

__all__ = ["Schedule"]

_ROUNDS = 12  # between two looks at whether sites are left
_WORDS = 8  # of 32 classes; twice as many when they run out
_NONE, _UNSEEN = -1, -2


class Schedule:
    """The order of a sweep.

    Parameters
    ----------
    launcher : Launcher
    list_ids : int32 [P, 12], on the device
        Sites of each pixel's list, N behind the last.
    starts : int32 [N + 1], on the device
        Where each site begins among the entries of all lists, by site.

    Attributes
    ----------
    visits : int32 [M], on the device
        Sites that are in some pixel's list, by class, then by number.
    classes : list of (first, size)
        Where each class lies in `visits`.
    """

    def __init__(self, launcher: Launcher, list_ids: Any, starts: Any) -> None:
        classes = _classes(launcher, list_ids, starts)
        order = np.argsort(classes, kind="stable")
        order = order[np.count_nonzero(classes < 0) :].astype(np.int32)
        sizes = np.bincount(classes[order])
        firsts = np.cumsum(sizes) - sizes
        self.visits = launcher.cp.asarray(order)
        self.classes = list(zip(firsts.tolist(), sizes.tolist(), strict=True))


def _classes(launcher: Launcher, list_ids: Any, starts: Any) -> NDArray[np.int32]:
    """Return the class of every site, negative for those that no pixel lists; waits."""
    cp = launcher.cp
    pixels, count, words = len(list_ids), len(starts) - 1, _WORDS
    while True:
        classes = cp.where(starts[1:] > starts[:-1], _NONE, _UNSEEN).astype(np.int32)
        tables = {
            "classes": classes,
            "fresh": cp.zeros(count, np.int32),
            "waits": cp.zeros(count, np.int32),
            "taken": cp.zeros((count, words), np.uint32),
            "count": count,
            "words": words,
        }
        state = cp.zeros(2, np.int32)
        pixels_pass = launcher.bind(
            SCHEDULE_PIXELS,
            SCHEDULE_PIXELS.blocks(pixels),
            {**tables, "list_ids": list_ids, "starts": starts, "pixels": pixels},
            "round",
        )
        sites_pass = launcher.bind(
            SCHEDULE_SITES,
            SCHEDULE_SITES.blocks(count),
            {**tables, "state": state},
            "round",
        )
        number, left = 0, True
        while left:
            for _ in range(_ROUNDS):
                number += 1
                pixels_pass(number)
                sites_pass(number)
            last, out_of_classes = state.get().tolist()
            if out_of_classes:
                break
            left = last == number
        if not left:
            found: NDArray[np.int32] = classes.get()
            return found
        words *= 2
