"""Rate-distortion curves of a sweep and of other codecs: means over images, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sadcodec.errors import InputError
from sadcodec.evaluate.peers import QUANTITIES, Peers
from sadcodec.evaluate.row import OURS, Row

__all__ = ["TITLES", "Line", "Panel", "Point", "panels"]

# Every column of a row that a panel can show, and what is written over it.
TITLES = {
    "psnr_db": "PSNR (dB)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA 2",
    "lpips": "LPIPS (lower is better)",
}

_QUARTILES_FROM = 4  # images; of fewer, quartiles mean nothing
_SAMPLES = 49  # of a curve that is known at every rate
_ROUND = 1 + 1e-9


@dataclass(frozen=True)
class Point:
    """A mean over images.

    Attributes
    ----------
    rate : float
        Mean bpp.
    value : float
        Mean quality.
    low, high : float
        The band around it; both are the value where there is none.
    """

    rate: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One codec in one panel.

    Attributes
    ----------
    name : str
    points : tuple of Point
        Rates rising.
    ours : bool
    measured : bool
        Points are those of a sweep; else samples of curves that a file of peers holds.
    published : bool
        Known only as a mean over images, not all of which need be those of the sweep.
    """

    name: str
    points: tuple[Point, ...]
    ours: bool = False
    measured: bool = False
    published: bool = False


@dataclass(frozen=True)
class Panel:
    """One quantity against the rate.

    Attributes
    ----------
    column : str
        Of `Row`; a key of `TITLES`.
    lines : tuple of Line
    notes : tuple of str
        What the lines are means of, what the band is, what is left out. The same in all panels
        but for what is left out.
    """

    column: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())


def panels(rows: Sequence[Row], peers: Peers | None = None) -> list[Panel]:
    """Return a panel for every quantity that was measured.

    Parameters
    ----------
    rows : sequence of Row
        Failures are left out. The points of a codec are means over the images at one target, in
        rate as in quality, and only at targets that every image was coded at. The band around a
        point is, with repeats, the lowest and the highest mean of a repeat; else the middle half
        of the images, if they are four or more.
    peers : Peers, optional
        Means at equal rate over the same images, in the range of the rows' rates and only where
        every image has points on both sides; those known only as a mean are taken as they are, if
        the table knows every image (`Peers.knows`).

    Returns
    -------
    list of Panel
        In the order of `TITLES`.

    Raises
    ------
    InputError
        If nothing was coded at a target that all images have.
    """
    good = [row for row in rows if not row.error and row.bpp is not None]
    images = list(dict.fromkeys(row.image for row in good))
    found = [
        panel for column in TITLES if (panel := _panel(good, images, peers, column)) is not None
    ]
    if not found:
        raise InputError("nothing to plot: there is no target that every image was coded at")
    return found


def _panel(
    rows: Sequence[Row], images: Sequence[str], peers: Peers | None, column: str
) -> Panel | None:
    known = [row for row in rows if _known(row, column)]
    lines, left_out = [], 0
    for name, series in _series(known).items():
        points, lacking = _means(series, images, column)
        left_out += lacking
        if points:
            lines.append(Line(name, points, ours=series[0].codec == OURS, measured=True))
    if not lines:
        return None
    taken = {line.name for line in lines}
    if peers is not None and column in QUANTITIES:
        rates = [point.rate for line in lines for point in line.points]
        for codec in peers.with_points(column):
            line = _peer_line(peers, codec, images, column, (min(rates), max(rates)))
            if line is not None:
                name = f"{codec} (peers)" if codec in taken else codec
                lines.append(Line(name, line, published=peers.published_mean(codec) is not None))
    return Panel(column, tuple(lines), _notes(lines, known, images, left_out))


def _known(row: Row, column: str) -> bool:
    value = getattr(row, column)
    return value is not None and math.isfinite(value)


def _series(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each line, by its name: the codec, and what tells two of one apart."""
    groups: dict[tuple[str, str, int | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.metric, row.effort), []).append(row)
    named = {}
    for (codec, metric, effort), group in groups.items():
        others = [key for key in groups if key[0] == codec]
        name = codec
        if len({key[1] for key in others}) > 1:
            name += f" for {metric.upper()}"
        if len({key[2] for key in others}) > 1:
            name += f" effort {effort}"
        named[name] = group
    return named


def _means(
    rows: Sequence[Row], images: Sequence[str], column: str
) -> tuple[tuple[Point, ...], int]:
    """Return the points of one line, and the number of targets that some image lacks."""
    targets: dict[tuple[str, float], dict[int, dict[str, Row]]] = {}
    for row in rows:
        repeats = targets.setdefault((row.setting, row.value), {})
        repeats.setdefault(row.repeat, {})[row.image] = row
    points = []
    for repeats in targets.values():
        whole = [by_image for by_image in repeats.values() if len(by_image) == len(images)]
        if whole:
            points.append(_point(whole, column))
    points.sort(key=lambda point: point.rate)
    return tuple(points), len(targets) - len(points)


def _point(repeats: Sequence[dict[str, Row]], column: str) -> Point:
    """Return the mean over repeats that hold the same images, with its band."""
    rate = np.mean([[row.bpp for row in by_image.values()] for by_image in repeats])
    values = [[getattr(row, column) for _, row in sorted(by_image.items())] for by_image in repeats]
    value = float(np.mean(values))
    low = high = value
    if len(repeats) > 1:
        means = np.mean(values, axis=1)
        low, high = float(means.min()), float(means.max())
    elif len(values[0]) >= _QUARTILES_FROM:
        low, high = (float(end) for end in np.quantile(values[0], (0.25, 0.75)))
    return Point(float(rate), value, low, high)


def _peer_line(
    peers: Peers, codec: str, images: Sequence[str], column: str, rates: tuple[float, float]
) -> tuple[Point, ...] | None:
    """Return samples of the mean of one codec over a range of rates."""
    published = peers.published_mean(codec)
    if published is not None:
        if not peers.knows(images):
            return None
        images = [published[0]]
    curves = [peers.points(codec, image, column) for image in images]
    if not all(curves):
        return None
    low = max(rates[0], *(curve[0][0] for curve in curves))
    high = min(rates[1], *(curve[-1][0] for curve in curves))
    if high <= low * _ROUND:
        return None
    points = []
    # A hair inside: the ends must not be outside of a curve by rounding.
    for rate in np.geomspace(low * _ROUND, high / _ROUND, _SAMPLES).tolist():
        values = [peers.at(codec, image, rate, column) for image in images]
        known = [value for value in values if value is not None]
        if len(known) == len(images):
            mean = sum(known) / len(known)
            points.append(Point(rate, mean, mean, mean))
    return tuple(points) if len(points) > 1 else None


def _notes(
    lines: Sequence[Line], rows: Sequence[Row], images: Sequence[str], left_out: int
) -> tuple[str, ...]:
    count = len(images)
    notes = [f"Mean of {count} images" if count > 1 else "One image"]
    repeats = len({row.repeat for row in rows if row.codec == OURS})
    if any(point.low < point.high for line in lines if line.ours for point in line.points):
        what = f"lowest to highest of {repeats} repeats"
        notes.append(f"band: {what if repeats > 1 else 'the middle half of them'}")
    if any(line.published for line in lines):
        notes.append("dashed: published means")
    if left_out:
        points = "point" if left_out == 1 else "points"
        notes.append(f"{left_out} {points} left out that some image lacks")
    return tuple(notes)
