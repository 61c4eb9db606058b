"""Bjøntegaard rate differences of a sweep against other codecs, over ranges of rate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sadcodec.errors import OptionError
from sadcodec.evaluate.peers import LOWER_IS_BETTER, Peers, Point
from sadcodec.evaluate.row import Row
from sadcodec.metrics import bd_rate

__all__ = ["Range", "RateDifference", "rate_difference"]

Range = tuple[float, float]  # bpp

# A sweep covers a range that it falls short of by this share: targets are met from below.
_SHORT = 0.01


@dataclass(frozen=True)
class RateDifference:
    """Mean BD-rate over images.

    Attributes
    ----------
    percent : float
        Negative where the sweep needs fewer bits than the codec at equal quality.
    covered, images : int
        How many of the images it is the mean of: those where both have points in the range, and
        some quality in common.
    published : int or None
        Number of images of a mean that is known only as such: a difference between curves of means.
    """

    percent: float
    covered: int
    images: int
    published: int | None = None


def rate_difference(
    rows: Iterable[Row],
    peers: Peers,
    codec: str,
    quantity: str = "psnr_db",
    within: Range | None = None,
) -> RateDifference | None:
    """BD-rate of a sweep against one codec: per image, then the mean.

    Both curves are cut to the range of rates: where a curve has points on both sides of an end, it
    gets a point there, linear in log rate; where it has none beyond an end, it starts or stops at
    its own first or last point inside. Points that cost more than another without being better are
    no part of a curve. `sadcodec.metrics.bd_rate` compares what is left over the quality that both
    cover.

    Parameters
    ----------
    rows : iterable of Row
        Of one codec, one for each image and target. Failures are left out.
    peers : Peers
    codec : str
    quantity : str
        One of `sadcodec.evaluate.peers.QUANTITIES`.
    within : (low, high), bpp, optional
        Range of rates, 0 < low < high; by default from each image's lowest rate to its highest. An
        image that was not coded over all of it is not covered.

    Returns
    -------
    RateDifference or None
        None if no image is covered. Of a codec with nothing but a mean over images, the difference
        between that curve and the curve of the sweep's means.
    """
    sign = -1.0 if quantity in LOWER_IS_BETTER else 1.0
    groups: dict[tuple[str, float], list[Row]] = {}
    mine: dict[str, list[Point]] = {}
    for row in rows:
        quality = getattr(row, quantity)
        if row.bpp is None or quality is None or math.isinf(quality):
            continue
        mine.setdefault(row.image, []).append((row.bpp, sign * quality))
        groups.setdefault((row.setting, row.value), []).append(row)
    published = peers.published_mean(codec)
    if published is None:
        found = [
            _bd_rate(_signed(peers.points(codec, image, quantity), sign), points, within)
            for image, points in mine.items()
        ]
        covered = [value for value in found if value is not None]
        if not covered:
            return None
        return RateDifference(sum(covered) / len(covered), len(covered), len(found))
    name, count = published
    if not peers.knows(mine) or len({len(group) for group in groups.values()}) != 1:
        return None
    means = [(_mean(group, "bpp"), sign * _mean(group, quantity)) for group in groups.values()]
    value = _bd_rate(_signed(peers.points(codec, name, quantity), sign), means, within)
    return None if value is None else RateDifference(value, len(mine), len(mine), count)


def _signed(points: Sequence[Point], sign: float) -> list[Point]:
    """Return points such that higher is better."""
    return [(rate, sign * quality) for rate, quality in points]


def _bd_rate(
    reference: Sequence[Point], mine: Sequence[Point], within: Range | None
) -> float | None:
    """BD-rate over a range of rates; None where the curves do not allow it."""
    mine = sorted(mine)
    low, high = within or (mine[0][0], mine[-1][0])
    if mine[0][0] > low * (1 + _SHORT) or mine[-1][0] < high * (1 - _SHORT):
        return None
    try:
        return bd_rate(_cut(reference, low, high), _cut(mine, low, high))
    except OptionError:  # too few points, or no quality in common
        return None


def _cut(points: Sequence[Point], low: float, high: float) -> list[Point]:
    """Return the points of a curve, rates rising, within a range, and those at its ends."""
    inside = [point for point in points if low < point[0] < high]
    ends = [(end, _between(points, end)) for end in (low, high)]
    inside += [(rate, quality) for rate, quality in ends if quality is not None]
    rising: list[Point] = []
    for rate, quality in sorted(inside):
        if not rising or quality > rising[-1][1]:
            rising.append((rate, quality))
    return rising


def _between(points: Sequence[Point], rate: float) -> float | None:
    """Quality at a rate, linear in log rate between the points on both sides."""
    for (r0, q0), (r1, q1) in itertools.pairwise(points):
        if r0 <= rate <= r1:
            share = math.log(rate / r0) / math.log(r1 / r0) if r1 > r0 else 0.0
            return q0 + share * (q1 - q0)
    return None


def _mean(rows: Sequence[Row], name: str) -> float:
    values: list[float] = [getattr(row, name) for row in rows]
    return sum(values) / len(values)
