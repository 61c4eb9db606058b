"""Rates, bounds and numbers of sites of the authors' recipe: data and counting, no arrays.

Published: the rates, the intervals, the fractions and that they are solved for a target. From the
released configuration: the number of sites at the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ITERATIONS", "Plan", "plan", "start_count"]

ITERATIONS = 4000

START_SITES = 128_000
START_PIXELS = 3  # a site at the start has at least so many; 128,000 on 768 x 512 px have as many

# In iterations of a run of 4000; the last split is at the end, and pruning stops before it.
SPLIT_INTERVAL, SPLIT_SHARE = 20, 0.01
PRUNE_FROM, PRUNE_INTERVAL, PRUNE_SHARE = 100, 40, 0.033
END = 3000
_SHORTEST_INTERVAL = 5  # between splits of shorter runs
_LARGEST_SHARE = 0.95


@dataclass(frozen=True)
class Plan:
    """How many sites are split before, and pruned after, which iteration.

    Attributes
    ----------
    start : int
        Sites at the start.
    split_share, prune_share : float, 0..1
        The solved fractions of the sites that there are.
    splits, prunes : dict of int to int
        Sites by iteration.
    """

    start: int
    split_share: float = 0.0
    prune_share: float = 0.0
    splits: dict[int, int] = field(default_factory=dict)
    prunes: dict[int, int] = field(default_factory=dict)

    @property
    def final(self) -> int:
        """Sites at the end."""
        return self.start + sum(self.splits.values()) - sum(self.prunes.values())


def start_count(width: int, height: int, sites: int) -> int:
    """Return the number of sites a fit of `sites` starts from."""
    return max(sites, min(START_SITES, width * height // START_PIXELS))


def plan(start: int, sites: int, iterations: int = ITERATIONS, *, splitting: bool = False) -> Plan:
    """Solve the fractions of a run that starts with `start` sites for `sites` at its end.

    Both are the published ones times one factor. What whole sites leave over goes in the last
    pruning.

    Parameters
    ----------
    start : int
    sites : int, 1..start
    iterations : int, >= 1
        Other than `ITERATIONS` scales all times, intervals down to 5 and 10 iterations.
    splitting : bool
        False: prune only. So does the released code by its configuration: it starts with all the
        sites that it has room for, and does not use the room of pruned ones again.

    Returns
    -------
    Plan
        It ends at `sites` unless the run is too short for a single pruning.
    """
    low, high = 0.0, _LARGEST_SHARE / PRUNE_SHARE
    best = _simulated(start, low, iterations, splitting=False)
    for _ in range(60):
        middle = 0.5 * (low + high)
        found = _simulated(start, middle, iterations, splitting=splitting)
        if found.final < sites:
            high = middle
        else:
            low, best = middle, found
    if not best.prunes:
        return Plan(start)
    best.prunes[max(best.prunes)] += best.final - sites
    return best


def _simulated(start: int, factor: float, iterations: int, *, splitting: bool) -> Plan:
    scale = iterations / ITERATIONS
    split_interval = max(_SHORTEST_INTERVAL, round(SPLIT_INTERVAL * scale))
    prune_interval = PRUNE_INTERVAL // SPLIT_INTERVAL * split_interval
    split = min(_LARGEST_SHARE, SPLIT_SHARE * factor) if splitting else 0.0
    prune = min(_LARGEST_SHARE, PRUNE_SHARE * factor)
    found = Plan(start, split, prune)
    count = start
    for i in range(split_interval, min(iterations, int(END * scale) + 1), split_interval):
        found.splits[i] = int(count * split)
        count += found.splits[i]
        if PRUNE_FROM * scale <= i < END * scale and i % prune_interval == 0:
            found.prunes[i] = int(count * prune)
            count -= found.prunes[i]
    return found
