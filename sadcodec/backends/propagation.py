"""The paper's top-K map as a source of candidates: its options and the schedule of its passes.

Each pixel keeps a list of K sites. A pass merges it with the lists of the four pixels at some
distance, with a site near the best one along a Hilbert curve, and with sites drawn at random
(Iinbor, Dou and Matusik, arXiv 2604.21984). The lists are not exact, as those of tiles are;
docs/STUDY.md says how often they differ. kernels/sad_propagate.h defines a pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from sadcodec.errors import OptionError

__all__ = [
    "MAX_INJECTED",
    "ORDER_AGE",
    "START_PASSES",
    "TOPK",
    "Propagation",
    "first_passes",
    "jump_distance",
    "propagation_of",
]

TOPK = ("exact", "propagate")
MAX_INJECTED = 8

START_PASSES = 2  # of a new map, beyond those from far to near
ORDER_AGE = 8  # renewals of a map until the sites are sorted along the curve anew
_SETTLED = (4, 2, 1)  # px, distances of the passes after those from far to near


@dataclass(frozen=True)
class Propagation:
    """How a fit keeps the top-K map of its pixels; the defaults are the paper's.

    Attributes
    ----------
    injected : int, 0..8
        Sites drawn at random for each pixel and pass.
    passes : int, >= 1
        At each renewal of the lists.
    interval : int, >= 1
        Iterations between renewals.
    seed : int, 0..2^64 - 1
        Of what is drawn at random.
    overlap : bool
        Make the passes beside the iterations, which then use lists that are one renewal old: on a
        GPU alone.

    Raises
    ------
    OptionError
        If a number is out of range.
    """

    injected: int = 4
    passes: int = 1
    interval: int = 8
    seed: int = 0
    overlap: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.injected <= MAX_INJECTED:
            raise OptionError(f"injected must be 0..{MAX_INJECTED}, not {self.injected}")
        for name in ("passes", "interval"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not 0 <= self.seed < 1 << 64:
            raise OptionError(f"the seed must be 0..2^64 - 1, not {self.seed}")


def propagation_of(topk: str, seed: int = 0) -> Propagation | None:
    """Return what a name of `TOPK` stands for: None for exact lists.

    Raises
    ------
    OptionError
        If it is none of them.
    """
    if topk not in TOPK:
        raise OptionError(f"topk must be one of {', '.join(TOPK)}, not {topk!r}")
    return Propagation(seed=seed) if topk == "propagate" else None


def first_passes(width: int, height: int) -> int:
    """Return the passes until every distance from half the longer side to 1 px had its turn."""
    return max(1, (max(width, height) - 1).bit_length())


def jump_distance(number: int, first: int) -> int:
    """Return how far pass `number` of a map looks, px; `first` as from `first_passes`."""
    left = first - 1 - number
    return 1 << left if left >= 0 else _SETTLED[(-1 - left) % len(_SETTLED)]
