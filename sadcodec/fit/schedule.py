"""Rates, pruning and sampling of a fit as functions of the iteration: data, no computation.

Defaults are the measured recipe of docs/FITTING.md: a dense start, rates that scale with the mean
spacing s = sqrt(W H / N), held for half the run and then decaying, and pruning to the budget over
the first 60 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Propagation
from sadcodec.sites import COLOR, GEOMETRY_COLUMNS, LOG_TAU, RADIUS, P, Q, X, Y

__all__ = ["RECIPES", "FitOptions", "decay", "learning_rates", "pruned_count"]

RECIPES = ("default", "paper")
SMALL, LARGE = 20_000, 50_000  # site counts between which the peak rates are interpolated


@dataclass(frozen=True)
class FitOptions:
    """What a fit does, apart from the image and the number of sites.

    Attributes
    ----------
    recipe : str
        One of `RECIPES`. "paper" is the authors' (`sadcodec.fit.paper`), which takes the iterations
        and the seed from here and has constants for all else.
    iterations : int, >= 1
    start_ratio : float, >= 0
        Sites at the start, as a multiple of the budget. Above 1 they are pruned to the budget;
        0: `dense_start` where a site has 32 px, falling to 1.3 where it has 8 px.
    dense_start : float, >= 2
        See `start_ratio`. From 2 to 3 brings 0.06 to 0.1 dB, to 4 at low rates 0.02 more.
    split_share : float, 0..1
        Share of the sites split at each density step until `SPLIT_END`; 0: none. With a
        `start_ratio` under 1 the sites grow to the budget by splitting alone; above 1 splitting
        and pruning work against each other, as in the paper.
    radius : bool
        Fit the radius; otherwise it stays 0.
    subsample : bool
        One pixel of every 2 x 2 an iteration while sites are large enough for it.
    list_interval : int
        Iterations between refreshes of the candidate lists.
    density_interval : int, >= 1
        Iterations between pruning (or splitting) steps. What is pruned late has no time to close
        up, so short runs want several steps as well.
    seed : int
    rate_scale : float, > 0
        Factor on all learning rates.
    propagation : Propagation, optional
        Candidates from the paper's top-K map, renewed at its own interval; exact lists by default.
    """

    recipe: str = "default"
    iterations: int = 500
    start_ratio: float = 0.0
    dense_start: float = 3.0
    split_share: float = 0.0
    radius: bool = True
    subsample: bool = True
    list_interval: int = 14
    density_interval: int = 20
    seed: int = 0
    rate_scale: float = 1.0
    propagation: Propagation | None = None

    @property
    def refresh_interval(self) -> int:
        """Iterations between refreshes of whatever lists there are."""
        return self.list_interval if self.propagation is None else self.propagation.interval


# Where pruning ends, where rates begin to fall and to what, where all pixels are used.
PRUNE_END = 0.6
SPLIT_END = 0.75
HOLD = 0.5
FINAL_RATE = 0.07
FULL_FROM = 0.8
MIN_PIXELS_PER_SITE = 36.0  # below it every pixel is used
BUDGET_AT = 0.5  # share of the run after which a rate target fixes the number of sites

RATE_FROM = 0.5  # share of the run after which the bits count as well
RATE_INTERVAL = 28  # iterations between new predictions of what the sites cost

# Fine-tuning under noise: rates relative to the peak; iterations between new widths and lists.
NOISE_RATE, NOISE_FINAL_RATE = 0.4, 0.03
NOISE_INTERVAL, NOISE_LISTS = 56, 14


def learning_rates(
    width: int, height: int, sites: float, channels: int, *, radius: bool
) -> NDArray[np.float32]:
    """Return Adam's peak rate of every column.

    Parameters
    ----------
    width, height : int, px
    sites : float
        The budget, as many as the whole picture would have where they are wanted in parts of it.
    channels : int
    radius : bool
        False: the radius is held.

    Returns
    -------
    float32 [6 + C]
        In the columns' units.
    """
    spacing = np.sqrt(width * height / sites)
    t = float(np.clip((sites * 393216.0 / (width * height) - SMALL) / (LARGE - SMALL), 0.0, 1.0))
    rates = np.empty(GEOMETRY_COLUMNS + channels, np.float32)
    rates[[X, Y]] = (0.063 + t * (0.195 - 0.063)) * spacing
    rates[LOG_TAU] = 0.075
    rates[RADIUS] = 0.041 * spacing if radius else 0.0
    rates[[P, Q]] = 0.28 + t * (0.44 - 0.28)
    rates[COLOR:] = 0.045
    return rates


def decay(progress: float) -> float:
    """Return the factor on the peak rates at `progress` (0..1) of the run."""
    if progress <= HOLD:
        return 1.0
    return float(FINAL_RATE ** ((progress - HOLD) / (1.0 - HOLD)))


def pruned_count(start: int, budget: int, progress: float) -> int:
    """Return how many sites are left at `progress` of the run: geometric, then the budget."""
    t = min(1.0, progress / PRUNE_END)
    return max(budget, int(start * (budget / start) ** t))
