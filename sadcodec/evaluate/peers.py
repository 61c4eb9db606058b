"""Other codecs on the same images: measured points from a CSV, read off at a wanted rate."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sadcodec.errors import InputError
from sadcodec.evaluate.sweep import Row

__all__ = ["PeerMean", "Peers", "read_peers"]

_COLUMNS = ("codec", "image", "bpp", "psnr")
_LOSSLESS_DB = 99.0  # how such tables write an infinite PSNR
# Of the images, at least; with fewer, a mean would be of the images that are easy at this rate.
_LEAST_COVERED = 0.8
_SUBSAMPLING = re.compile(r"4(20|22|44)$")

Curve = tuple[tuple[float, ...], tuple[float, ...]]  # ln(bpp), rising; PSNR in dB


@dataclass(frozen=True)
class PeerMean:
    """Mean of one codec over images, each at its own rate.

    Attributes
    ----------
    psnr_db : float
    covered, images : int
        How many of the images the codec has points on both sides of the wanted rate for.
    """

    psnr_db: float
    covered: int
    images: int


@dataclass(frozen=True)
class Peers:
    """Rate-distortion points of other codecs.

    Attributes
    ----------
    curves : dict of codec -> image (file name without suffix) -> list of Curve
        Subsampling variants of a codec (``jpeg420`` and ``jpeg444``) are curves of one codec, the
        better of which counts at each rate.
    """

    curves: dict[str, dict[str, list[Curve]]]

    @property
    def codecs(self) -> list[str]:
        """Names in the order of the file."""
        return list(self.curves)

    def psnr_at(self, codec: str, image: str, bpp: float) -> float | None:
        """PSNR of a codec on an image at a rate, linear in log rate between measured points.

        Parameters
        ----------
        codec : str
        image : str
            File name, with or without suffix.
        bpp : float, > 0

        Returns
        -------
        float or None
            dB; None where no curve has points on both sides.
        """
        wanted = math.log(bpp)
        found = [
            float(np.interp(wanted, log_rate, quality))
            for log_rate, quality in self.curves[codec].get(_stem(image), [])
            if log_rate[0] <= wanted <= log_rate[-1]
        ]
        return max(found, default=None)

    def mean_psnr(self, codec: str, rates: Iterable[tuple[str, float]]) -> PeerMean | None:
        """Mean PSNR over images, each at its own rate.

        Parameters
        ----------
        codec : str
        rates : iterable of (image, bpp)

        Returns
        -------
        PeerMean or None
            Over the images that are covered; None if they are fewer than four fifths of all.
        """
        found = [self.psnr_at(codec, image, bpp) for image, bpp in rates]
        covered = [value for value in found if value is not None]
        if not covered or len(covered) < _LEAST_COVERED * len(found):
            return None
        return PeerMean(sum(covered) / len(covered), len(covered), len(found))


def peers_of(rows: Iterable[Row], peers: Peers) -> dict[str, PeerMean | None]:
    """Each codec's mean PSNR over the images of these rows, at the rates the rows reached."""
    rates = [(row.image, row.bpp) for row in rows if row.bpp is not None]
    return {codec: peers.mean_psnr(codec, rates) for codec in peers.codecs}


def read_peers(text: str) -> Peers:
    """Parse a CSV of measured points.

    Parameters
    ----------
    text : str
        CSV with a header; the columns codec, image, bpp and psnr (dB) are read, others ignored.
        Rows of 99 dB or more, or inf, are lossless and left out.

    Raises
    ------
    InputError
        If a column is missing, a number is none, or there are no points.
    """
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise InputError(f"table of peers lacks the column {missing[0]}")
    points: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {}
    for row in reader:
        try:
            bpp, psnr = float(row["bpp"]), float(row["psnr"])
        except (TypeError, ValueError):
            bpp = psnr = math.nan
        if not (bpp > 0 and math.isfinite(bpp)) or math.isnan(psnr):
            raise InputError(f"table of peers has a bad number in line {reader.line_num}")
        if psnr >= _LOSSLESS_DB:
            continue
        variants = points.setdefault(_SUBSAMPLING.sub("", row["codec"]), {})
        images = variants.setdefault(row["codec"], defaultdict(list))
        images[_stem(row["image"])].append((math.log(bpp), psnr))
    if not points:
        raise InputError("table of peers has no lossy points")
    curves: dict[str, dict[str, list[Curve]]] = {}
    for codec, variants in points.items():
        curves[codec] = defaultdict(list)
        for images in variants.values():
            for image, measured in images.items():
                log_rate, quality = zip(*sorted(measured), strict=True)
                curves[codec][image].append((log_rate, quality))
        curves[codec] = dict(curves[codec])
    return Peers(curves)


def _stem(image: str) -> str:
    return os.path.splitext(os.path.basename(image))[0]
