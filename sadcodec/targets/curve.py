"""What sites are worth to one image, from the error that trial fits of several counts leave."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

__all__ = ["Curve"]


class Curve:
    """Sites by their price, measured.

    Parameters
    ----------
    errors : mapping of int to float
        Squared error, in any unit, that is left with so many sites; at least two counts.
    exponent : float
        With more sites than these the error falls as their number to this power of -1.

    Counts that lie above the lower convex hull of the others, which fits by chance do, have no
    influence. Between two of its corners a site lowers the error by their slope, which is taken as
    the price at their geometric mean; in between, log sites are linear in the log of the price.
    """

    def __init__(self, errors: Mapping[int, float], exponent: float) -> None:
        corners: list[tuple[int, float]] = []
        for point in sorted(errors.items()):
            while len(corners) > 1 and _slope(corners[-2], point) >= _slope(*corners[-2:]):
                corners.pop()
            corners.append(point)
        falling = [pair for pair in pairwise(corners) if _slope(*pair) > 0.0]
        self._exponent, self._fewest = exponent, float(corners[0][0])
        self._prices = np.log([_slope(*pair) for pair in falling])
        self._sites = np.log([np.sqrt(first[0] * last[0]) for first, last in falling])

    def sites_at(self, price: float) -> float:
        """Return the sites of which the last is worth `price`, in the unit of the errors.

        At least the smallest count; it does not rise with the price.
        """
        if self._prices.size == 0:
            return self._fewest
        at, cheapest = np.log(price), self._prices[-1]
        sites = np.interp(-at, -self._prices, self._sites, left=np.log(self._fewest))
        sites += max(cheapest - at, 0.0) / (1.0 + self._exponent)
        return float(np.exp(min(sites, 40.0)))


def _slope(first: tuple[int, float], last: tuple[int, float]) -> float:
    """Return what the error falls by for a site more, between two counts and their errors."""
    return (first[1] - last[1]) / (last[0] - first[0])
