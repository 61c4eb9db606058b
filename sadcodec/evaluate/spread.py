"""Means over images and repeats, and how far these lie apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from sadcodec.evaluate.row import Row

__all__ = ["deviation", "mean", "over_images", "over_repeats", "runs"]


def runs(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of one codec such that each run has one row at most of an image and target.

    Repeats are told from each other by their seeds, not by the column ``repeat``: rows of several
    sweeps, each with its own seed, are repeats as well.
    """
    order = sorted(rows, key=lambda row: (row.repeat, row.seed or 0))
    found: list[list[Row]] = []
    count: dict[tuple[str, str, float], int] = {}
    for row in order:
        target = (row.image, row.setting, row.value)
        nth = count[target] = count.get(target, -1) + 1
        if nth == len(found):
            found.append([])
        found[nth].append(row)
    return found


def mean(rows: Iterable[Row], name: str) -> float | None:
    """Mean of a column over the rows that have it: within each run first, then over the runs."""
    means = [_mean(_values(run, name)) for run in runs(rows)]
    return _mean([value for value in means if value is not None])


def over_images(rows: Iterable[Row], name: str) -> float | None:
    """Standard deviation over the images, each with its mean over the repeats."""
    by_image: dict[str, list[float]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).extend(_values([row], name))
    return deviation([sum(values) / len(values) for values in by_image.values() if values])


def over_repeats(rows: Iterable[Row], name: str) -> float | None:
    """Standard deviation over the repeats, each with its mean over the images."""
    means = [_mean(_values(run, name)) for run in runs(rows)]
    return deviation([value for value in means if value is not None])


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1); None for fewer than two values or an infinite one."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return statistics.stdev(values)


def _values(rows: Iterable[Row], name: str) -> list[float]:
    found = [getattr(row, name) for row in rows]
    return [value for value in found if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
