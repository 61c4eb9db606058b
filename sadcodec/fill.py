"""The last bytes of a size target: what removing whole sites leaves unused."""

from __future__ import annotations

import numpy as np

from sadcodec.bitstream import Symbols
from sadcodec.refine import Refinement

__all__ = ["fill", "fills"]

_NEAR = 0.995
_TRIES = 8


def fills(coded: int, size: int) -> bool:
    """Whether a file of `coded` bytes meets a target of `size`: at most that, at least 99.5 %."""
    return int(_NEAR * size) <= coded <= size


def fill(refinement: Refinement, size: int) -> bool:
    """Spend the bytes that are left of `size`; return whether the target is met.

    The symbols descend once more with bits that count less, as much less as the bytes allow. Of the
    files that fit, the one with the least squared error stays.
    """
    coded = refinement.size()
    if coded > size or fills(coded, size):
        return coded <= size
    before = refinement.symbols
    best: tuple[bool, float, Symbols] = (False, -refinement.error, before)
    low, high = -5.0, 0.5  # log strength: too large a file, one that fits
    for i in range(_TRIES):
        strength = 0.0 if i == 0 else float(np.exp(0.5 * (low + high)))
        refinement.set_symbols(before)
        refinement.descend(1, strength)
        coded = refinement.size()
        if coded <= size:
            found = (fills(coded, size), -refinement.error, refinement.symbols)
            if found[:2] > best[:2]:
                best = found
            if fills(coded, size) or i == 0:
                break
        if i == 0:
            continue
        middle = 0.5 * (low + high)
        low, high = (low, middle) if coded <= size else (middle, high)
    refinement.set_symbols(best[2])
    return best[0]
