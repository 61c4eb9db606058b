"""Quality: what a site may cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sadcodec.job import Job, header_for
from sadcodec.rate import Encoding, Tuned, round_and_refine
from sadcodec.refine import coded_size
from sadcodec.targets.curve import Curve
from sadcodec.targets.psnr import psnr_of
from sadcodec.targets.trial import (
    DB_PER_OCTAVE,
    count_at,
    fit_sites,
    reduced,
    trial_psnr,
    trial_sites,
    usual_gain,
)

__all__ = ["encode_to_quality"]

_ENOUGH = 48.0  # dB of a trial fit; more sites than that takes bring nothing
_TRIALS = 8  # and one of the first one's count, of an image of which that has `_ENOUGH`
_AREAS = (32, 8)  # px a site of the trials that look for it
_SIMPLE = 42.0  # dB of a trial that is nearly there
_RUNG = 3  # units of quality, and as many points, that share a fit
_FINER = 1.15  # ratio of the scales of these points
_FEW = 4  # sites under which counts are powers of two and have one point
_SMALL = 1 << 16  # px up to which a point is compared with those before it; of these trials
_COMPARED = 4  # points: at least one of them is of another fit
_COMPARED_MEASURED = 12  # of an image with a curve, where few sites differ by up to 9 dB
_TINY = 2048  # px up to which many fits are compared
_LADDER = 1.19  # ratio of the sites of these
_MARGIN = 2  # of them on either side of the best
_BYTES_PER_SITE = 4.0


def encode_to_quality(job: Job, quality: float) -> Encoding:
    """Encode with the quality 0..100: with as many sites as are worth their price.

    A trial fit gives the squared error D at N sites, and D falls as N^-g with 10 g log10(2) =
    2.3 dB. Quality is the price of a site: N is where one site more would lower the squared error
    (in code values, summed over pixels, mean over channels) by 1000 * 2^((75 - quality) / 5).

    Two fits differ by chance, and by more than a small step of the quality is worth. So three units
    of quality share a fit and differ in the steps alone, and the next three have 26 % more sites.
    Of images of 65536 px and fewer, and of drawings, where chance is larger, the best of four such
    points is taken; of 2048 px and fewer, of many fits the best for the price.

    Of smooth pictures, whose trial has 48 dB already, that slope says nothing about the few sites
    that they need: what these are worth is measured by more trials. No photograph is among them.
    """
    sites = trial_sites(job)
    scale = _Scale(job, sites, trial_psnr(job, sites))
    if job.area <= _TINY:
        return _cheapest(job, scale.sites_at(quality), scale.price(quality))
    return _best_of(job, scale.points_at(quality))


class _Point(NamedTuple):
    """What is encoded: so many sites, with this scale of the steps."""

    sites: int
    scale: float


class _Scale:
    """Quality in terms of an image, by a trial fit of `sites` sites that reached `psnr` dB."""

    def __init__(self, job: Job, sites: int, psnr: float) -> None:
        self._job, self._sites, self._psnr = job, sites, psnr
        self._exponent = DB_PER_OCTAVE / (10.0 * np.log10(2.0))
        self._curve = self._measured() if psnr >= _ENOUGH and sites > 1 else None

    def _measured(self) -> Curve:
        """Return what sites are worth by trials of fewer sites, down to one."""
        job = reduced(self._job, _SMALL)
        reached = {self._sites: self._psnr} if job is self._job else {}
        for count in np.geomspace(self._sites, 1.0, _TRIALS + 1).round().astype(int).tolist():
            if count not in reached:
                reached[count] = trial_psnr(job, count)
        total = self._job.total
        errors = {n: 10.0 ** (-psnr / 10.0) * total for n, psnr in reached.items()}
        return Curve(errors, self._exponent)

    def price(self, quality: float) -> float:
        """Return the squared error, in 0..1 units, that a site has to be worth."""
        return float(1000.0 * 2.0 ** ((75.0 - quality) / 5.0) / 255.0**2)

    def sites_at(self, quality: float) -> float:
        """Return how many sites are worth it, at most one for a pixel."""
        if self._curve is not None:
            return min(self._curve.sites_at(self.price(quality)), self._job.area)
        gain = self._exponent * 10.0 ** (-self._psnr / 10.0) * self._job.total / self._sites
        share = (gain / self.price(quality)) ** (1.0 / (1.0 + self._exponent))
        return float(min(self._sites * share, self._job.area))

    def _quality_at(self, sites: float) -> float:
        """Inverse of `sites_at` without a curve, under one site for a pixel."""
        octaves = np.log2(sites / self.sites_at(0.0))
        return float(5.0 * (1.0 + self._exponent) * octaves)

    def points_at(self, quality: float) -> list[_Point]:
        """Return the points to compare, in order; the last one is that of the quality.

        Which there are does not depend on the quality, nor on the number of trials that it takes to
        know them. A fit has at most the sites that the image can use; every rung above those has
        one more point of the same fit. Near there, too, fits differ by more than a point is worth.
        """
        index = int(quality) + _RUNG // 2  # a quality that 3 divides has scale 1
        rung = index // _RUNG
        measured = self._curve is not None
        most = None if measured else self._most_sites(self.sites_at(rung * _RUNG))
        top = rung if most is None else int(self._quality_at(most) / _RUNG)
        while top > 0 and self.sites_at(top * _RUNG) >= self._job.area:
            top -= 1
        top = max(top, 0)
        last = _RUNG * top + _RUNG - 1
        if index > last:
            index = last - (last - index) // _RUNG
        points = list(dict.fromkeys(self._point(i, top) for i in range(index + 1)))
        small = self._job.area <= _SMALL
        compared = _COMPARED if small or measured or most is not None else 1
        if small and measured:
            compared = _COMPARED_MEASURED
        return points[-compared:]

    def _point(self, index: int, top: int) -> _Point:
        rung = min(index // _RUNG, top)
        sites = self.sites_at(rung * _RUNG)
        finer = index - rung * _RUNG - _RUNG // 2
        if sites < _FEW:
            sites, finer = 1 + (sites >= _FEW / 2), max(finer - _RUNG // 2, 0)
        return _Point(int(sites), _FINER**-finer)

    def _most_sites(self, wanted: float) -> float | None:
        """Return the sites that reach `_ENOUGH`; or None, where `wanted` are fewer.

        On a line between trials, whose counts do not depend on the quality. A trial is made where
        `wanted` has as many sites. Where the one before it was nearly there, it is made for fewer
        as well; of other images the sites are never kept under its count.
        """
        job, low, reached = self._job, float(self._sites), self._psnr
        for area in _AREAS:
            if reached >= _ENOUGH:
                break
            more = job.area / area
            if more <= low:
                continue
            if wanted <= (low if reached >= _SIMPLE else more):
                return None
            further = trial_psnr(job, int(more))
            if further >= _ENOUGH:
                if reached < _SIMPLE:
                    return more
                first, last = usual_gain(job, low), usual_gain(job, more)
                share = (_ENOUGH - reached) / (further - reached)
                return count_at(job, first + (last - first) * share)
            low, reached = more, further
        if reached < _ENOUGH:
            return None
        return max(count_at(job, usual_gain(job, low) + _ENOUGH - reached), 1.0)


def _encode(job: Job, tuned: Tuned, scale: float) -> Encoding:
    header = header_for(job, tuned.mse, len(tuned.params), scale, radius=False)
    return Encoding.of(round_and_refine(job, tuned, header), tuned)


def _size(job: Job, encoding: Encoding) -> int:
    return coded_size(encoding.header, encoding.symbols, job.backend.threads)


def _best_of(job: Job, points: list[_Point]) -> Encoding:
    """Return the encoding of the last point that none before it exceeds in PSNR or bytes."""
    tuned: dict[int, Tuned] = {}

    def encode(point: _Point) -> Encoding:
        if point.sites not in tuned:
            tuned[point.sites] = fit_sites(job, point.sites)
        return _encode(job, tuned[point.sites], point.scale)

    best = encode(points[0])
    if len(points) > 1:
        best_psnr = psnr_of(job, best)
    for point in points[1:]:
        encoding = encode(point)
        psnr = psnr_of(job, encoding)
        if psnr >= best_psnr and _size(job, encoding) >= _size(job, best):
            best, best_psnr = encoding, psnr
    return best


def _cheapest(job: Job, wanted: float, price: float) -> Encoding:
    """Return the fit with the least squared error plus price of its bytes, of those near `wanted`.

    Their counts do not depend on the price, and there are some on either side of the best: as long
    as that is the best of all, a lower price takes no file that is smaller or has a larger error.
    """
    counts = _ladder(int(job.area))
    encodings: dict[int, Encoding] = {}
    costs: dict[int, float] = {}

    def measure(index: int) -> None:
        tuned = fit_sites(job, counts[index])
        encodings[index] = encoding = _encode(job, tuned, 1.0)
        error = 10.0 ** (-psnr_of(job, encoding) / 10.0) * job.total
        costs[index] = error + price / _BYTES_PER_SITE * _size(job, encoding)

    for index, count in enumerate(counts):
        if wanted / 2.0 <= count <= max(wanted, 1.0) * 2.0:
            measure(index)
    while True:
        best = min(costs, key=lambda i: (costs[i], i))
        near = range(max(best - _MARGIN, 0), min(best + _MARGIN + 1, len(counts)))
        missing = [i for i in near if i not in costs]
        if not missing:
            return encodings[best]
        for index in missing:
            measure(index)


def _ladder(most: int) -> list[int]:
    """Counts from 1 to `most`, all of the small ones."""
    counts, count = {most}, 1.0
    while count < most:
        counts.add(int(count))
        count = max(count * _LADDER, int(count) + 1.0)
    return sorted(counts)
