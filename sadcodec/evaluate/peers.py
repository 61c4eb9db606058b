"""Other codecs on the same images: points from CSV files or a sweep, read off at a wanted rate."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sadcodec.errors import InputError
from sadcodec.evaluate.row import METRIC_COLUMNS, OURS, Row

__all__ = [
    "LOWER_IS_BETTER",
    "QUANTITIES",
    "PeerMean",
    "Peers",
    "join",
    "peers_of",
    "read_peers",
    "stem",
]

# What is compared, by the name it has in a `Row`: PSNR in dB, SSIM, ...
QUANTITIES = tuple(METRIC_COLUMNS.values())
LOWER_IS_BETTER = {"lpips"}

_COLUMNS = ("codec", "image", "bpp")
_PSNR_COLUMNS = ("psnr_db", "psnr")
_LOSSLESS_DB = 99.0  # how such tables write an infinite PSNR
# Of the images, at least; with fewer, a mean would be of the images that are easy at this rate.
_LEAST_COVERED = 0.8
# How far a curve of a sweep is continued beyond its ends, as a share of the rate: asked for one
# rate, codecs meet different ones, by the steps of their own settings.
_REACH = 0.05
_SUBSAMPLING = re.compile(r"(?<=[a-z])4(20|22|44)$")
_MEAN = re.compile(r"mean-of-([0-9]+)")  # the "image" of points that are means themselves

Point = tuple[float, float]  # bpp, quality
Curve = tuple[tuple[float, ...], tuple[float, ...]]  # ln(bpp), rising; quality
Curves = dict[str, dict[str, list[Curve]]]  # by codec, then by image


@dataclass(frozen=True)
class PeerMean:
    """Mean of one codec over images, each at its own rate.

    Attributes
    ----------
    value : float
        PSNR in dB, SSIM, ...
    covered, images : int
        How many of the images the codec has points on both sides of the wanted rate for.
    published : int or None
        Number of images of a mean that is known only as such; it was read at the mean rate.
    """

    value: float
    covered: int
    images: int
    published: int | None = None


@dataclass(frozen=True)
class Peers:
    """Rate-distortion points of other codecs.

    Attributes
    ----------
    curves : dict of quantity -> codec -> image (file name without suffix) -> list of Curve
        Subsampling variants of a codec (``jpeg420`` and ``jpeg444``) are curves of one codec, the
        better of which counts at each rate. A codec without SSIM has no curves there. The image
        ``mean-of-24`` stands for a curve of means over 24 images.
    reach : mapping of codec -> float
        How far beyond its ends a curve counts, as a share of the rate; none if not given.
    """

    curves: dict[str, Curves]
    reach: Mapping[str, float] = field(default_factory=dict)

    @property
    def codecs(self) -> list[str]:
        """Names in the order of the file."""
        return list(self.curves["psnr_db"])

    def with_points(self, quantity: str) -> list[str]:
        """Codecs that have points in a quantity."""
        return [codec for codec in self.codecs if self._of(codec, quantity)]

    def _of(self, codec: str, quantity: str) -> dict[str, list[Curve]]:
        """Return the curves of a codec by image."""
        return self.curves.get(quantity, {}).get(codec, {})

    def at(self, codec: str, image: str, bpp: float, quantity: str = "psnr_db") -> float | None:
        """Quality of a codec on an image at a rate, linear in log rate between measured points.

        Within the codec's `reach` beyond its ends a curve goes on as straight as it ends.

        Parameters
        ----------
        codec : str
        image : str
            File name, with or without suffix.
        bpp : float, > 0
        quantity : str
            One of `QUANTITIES`.

        Returns
        -------
        float or None
            dB, SSIM, ...; None where no curve has points on both sides.
        """
        curves = self._of(codec, quantity).get(stem(image), [])
        return _best(curves, math.log(bpp), quantity, self.reach.get(codec, 0.0))

    def points(self, codec: str, image: str, quantity: str = "psnr_db") -> list[Point]:
        """Return one curve of a codec on an image: (bpp, quality), bpp rising.

        At every rate that any variant was measured at, with the quality of the best one there.
        """
        curves = self._of(codec, quantity).get(stem(image), [])
        rates = sorted({rate for log_rates, _ in curves for rate in log_rates})
        found = [(math.exp(rate), _best(curves, rate, quantity)) for rate in rates]
        return [(rate, quality) for rate, quality in found if quality is not None]

    def published_mean(self, codec: str) -> tuple[str, int] | None:
        """Name and number of images of the mean that is all there is of a codec, or None."""
        names = list(self.curves["psnr_db"].get(codec, {}))
        match = _MEAN.fullmatch(names[0]) if len(names) == 1 else None
        return (names[0], int(match[1])) if match else None

    def knows(self, images: Iterable[str]) -> bool:
        """Whether there are points of some codec for each of these images."""
        known = {name for images in self.curves["psnr_db"].values() for name in images}
        return all(stem(image) in known for image in images)

    def mean(
        self, codec: str, rates: Iterable[tuple[str, float]], quantity: str = "psnr_db"
    ) -> PeerMean | None:
        """Mean quality over images, each at its own rate.

        Parameters
        ----------
        codec : str
        rates : iterable of (image, bpp)
        quantity : str
            One of `QUANTITIES`.

        Returns
        -------
        PeerMean or None
            Over the images that are covered; None if they are fewer than four fifths of all. Of a
            codec with nothing but a mean, that mean at the mean rate, if every image is known
            (`knows`).
        """
        rates = list(rates)
        published = self.published_mean(codec)
        if published is not None:
            return self._read_mean(codec, rates, quantity, *published)
        found = [self.at(codec, image, bpp, quantity) for image, bpp in rates]
        covered = [value for value in found if value is not None]
        if not covered or len(covered) < _LEAST_COVERED * len(found):
            return None
        return PeerMean(sum(covered) / len(covered), len(covered), len(found))

    def _read_mean(
        self, codec: str, rates: Sequence[tuple[str, float]], quantity: str, name: str, count: int
    ) -> PeerMean | None:
        if not rates or not self.knows(image for image, _ in rates):
            return None
        value = self.at(codec, name, sum(bpp for _, bpp in rates) / len(rates), quantity)
        return None if value is None else PeerMean(value, len(rates), len(rates), count)


def read_peers(text: str) -> Peers:
    """Parse a CSV of measured points.

    Parameters
    ----------
    text : str
        CSV with a header; the columns codec, image, bpp, psnr_db or psnr (dB), and of ssim and the
        other `QUANTITIES` those that are there, are read, others ignored. Rows of 99 dB or more, or
        inf, are lossless and left out. A row without SSIM is none of the SSIM curves.

    Raises
    ------
    InputError
        If a column is missing, a number is none, or there are no points.
    """
    reader = csv.DictReader(text.splitlines())
    names = reader.fieldnames or []
    psnr_column = next((name for name in _PSNR_COLUMNS if name in names), "")
    missing = [name for name in _COLUMNS if name not in names] + ["psnr"] * (not psnr_column)
    if missing:
        raise InputError(f"table of peers lacks the column {missing[0]}")
    points: dict[tuple[str, str, str, str], list[Point]] = {}
    for row in reader:
        bpp, psnr = _number(row["bpp"]), _number(row[psnr_column])
        others = {name: _number(row[name]) for name in QUANTITIES[1:] if row.get(name)}
        bad = math.isnan(psnr) or not all(map(math.isfinite, others.values()))
        if not (bpp > 0 and math.isfinite(bpp)) or bad:
            raise InputError(f"table of peers has a bad number in line {reader.line_num}")
        if psnr >= _LOSSLESS_DB:
            continue
        variant, codec = row["codec"], _SUBSAMPLING.sub("", row["codec"])
        for quantity, value in {"psnr_db": psnr, **others}.items():
            key = (quantity, codec, variant, stem(row["image"]))
            points.setdefault(key, []).append((math.log(bpp), value))
    if not points:
        raise InputError("table of peers has no lossy points")
    return Peers(_curves(points))


def peers_of(rows: Iterable[Row]) -> Peers | None:
    """Return the codecs of a sweep other than ``sad``; None if there are none.

    Their curves have a `reach` of 5 %. Failures and lossless files are left out.
    """
    points: dict[tuple[str, str, str, str], list[Point]] = {}
    for row in rows:
        if row.codec == OURS or not row.bpp or row.psnr_db is None or math.isinf(row.psnr_db):
            continue
        for quantity in QUANTITIES:
            value = getattr(row, quantity)
            if value is not None:
                key = (quantity, row.codec, row.codec, stem(row.image))
                points.setdefault(key, []).append((math.log(row.bpp), value))
    if not points:
        return None
    curves = _curves(points)
    return Peers(curves, dict.fromkeys(curves["psnr_db"], _REACH))


def _curves(points: Mapping[tuple[str, str, str, str], Sequence[Point]]) -> dict[str, Curves]:
    """Return points (ln(bpp), quality) by quantity, codec, variant and image as curves."""
    curves: dict[str, Curves] = {quantity: {} for quantity in QUANTITIES}
    for (quantity, codec, _, image), measured in points.items():
        # Two targets may be met by one file.
        log_rate, quality = zip(*sorted(set(measured)), strict=True)
        curves[quantity].setdefault(codec, {}).setdefault(image, []).append((log_rate, quality))
    return curves


def join(tables: Sequence[Peers]) -> Peers:
    """Return one table with the curves of all, codecs in the order in which they come.

    A codec of a sweep is not mixed with one of its name from a file: that becomes ``NAME (peers)``.
    """
    curves: dict[str, Curves] = {quantity: {} for quantity in QUANTITIES}
    reach = {codec: share for table in tables for codec, share in table.reach.items()}
    for table in tables:
        for quantity, codecs in table.curves.items():
            for codec, images in codecs.items():
                here = codec in reach and codec not in table.reach
                mine = curves[quantity].setdefault(f"{codec} (peers)" if here else codec, {})
                for image, found in images.items():
                    mine[image] = mine.get(image, []) + found
    return Peers(curves, reach)


def stem(image: str) -> str:
    """Return the name of an image's file without folder and suffix."""
    return os.path.splitext(os.path.basename(image))[0]


def _best(
    curves: Iterable[Curve], log_rate: float, quantity: str, reach: float = 0.0
) -> float | None:
    """Return the best quality of some curves at a rate; None where none has points around it."""
    found = [
        value
        for curve in curves
        if (value := _read(curve, log_rate, math.log1p(reach))) is not None
    ]
    best: Callable[[list[float]], float] = min if quantity in LOWER_IS_BETTER else max
    return best(found) if found else None


def _read(curve: Curve, log_rate: float, reach: float) -> float | None:
    """Quality of a curve at a rate; beyond its ends on the line through its last two points."""
    log_rates, quality = curve
    if log_rates[0] <= log_rate <= log_rates[-1]:
        return float(np.interp(log_rate, log_rates, quality))
    end, inner = (0, 1) if log_rate < log_rates[0] else (-1, -2)
    distance = log_rate - log_rates[end]
    if len(log_rates) < 2 or abs(distance) > reach or log_rates[end] == log_rates[inner]:
        return None
    slope = (quality[end] - quality[inner]) / (log_rates[end] - log_rates[inner])
    return quality[end] + slope * distance


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan
