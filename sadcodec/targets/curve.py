"""What sites are worth to one image, from the error that trial fits of several counts leave."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["Curve"]


class Curve:
    """Sites by their price, measured.

    Parameters
    ----------
    errors : mapping of int to float
        Squared error, in any unit, that is left with so many sites; at least two counts.

    Counts that lie above the lower convex hull of the others, which fits by chance do, have no
    influence. Between two of its corners a site lowers the error by their slope, which is taken as
    the price at their geometric mean; in between, log sites are linear in the log of the price.
    """

    def __init__(self, errors: Mapping[int, float]) -> None:
        corners: list[tuple[int, float]] = []
        for point in sorted(errors.items()):
            while len(corners) > 1 and _slope(corners[-2], point) >= _slope(*corners[-2:]):
                corners.pop()
            corners.append(point)
        falling = [pair for pair in zip(corners, corners[1:], strict=False) if _slope(*pair) > 0.0]
        self._fewest = float(corners[0][0])
        self._prices = np.log([_slope(*pair) for pair in falling])
        self._sites = np.log([np.sqrt(first[0] * last[0]) for first, last in falling])

    def sites_at(self, price: float) -> float:
        """Return the sites of which the last is worth `price`, in the unit of the errors.

        At least the smallest count and at most near the largest; it does not rise with the price.
        """
        if self._prices.size == 0:
            return self._fewest
        prices, sites = -self._prices, self._sites
        return float(np.exp(np.interp(-np.log(price), prices, sites, left=np.log(self._fewest))))


def _slope(first: tuple[int, float], last: tuple[int, float]) -> float:
    """Return what the error falls by for a site more, between two counts and their errors."""
    return (first[1] - last[1]) / (last[0] - first[0])
