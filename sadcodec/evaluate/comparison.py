"""Tables of a sweep beside other codecs: a quantity at equal rate, and BD-rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sadcodec.evaluate.difference import Range, RateDifference, rate_difference
from sadcodec.evaluate.peers import QUANTITIES, PeerMean, Peers
from sadcodec.evaluate.row import Row

__all__ = ["Range", "Table", "by_target", "comparisons", "target_name"]

_UNITS = {"bpp": "bpp", "psnr": "dB", "quality": "quality", "sites": "sites", "size": "bytes"}
_NAMES = {"psnr_db": "PSNR", "ssim": "SSIM"}
_DECIMALS = {"psnr_db": 2, "ssim": 4}
_CAPTIONS = {
    "psnr_db": "PSNR in dB at the same bits per pixel:",
    "ssim": "SSIM at the same bits per pixel:",
}
_BD_CAPTION = "BD-rate in %, what the files take less (-) or more (+) at equal quality:"
_PARTIAL_NOTE = "* mean over the images for which there are points around this rate"
_MEAN_NOTE = "† known only as a mean over {} images, compared with the mean of these"
_BD_NOTE = "(n): over n of {} images; the others have nothing to compare in this range"


@dataclass
class Table:
    """Cells with a header, a line above and notes below."""

    caption: str
    header: list[str]
    lines: list[list[str]]
    notes: list[str] = field(default_factory=list)


def by_target(rows: Iterable[Row]) -> dict[tuple[str, float], list[Row]]:
    """Return rows grouped by (setting, value), in the order in which these come."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.setting, row.value), []).append(row)
    return groups


def target_name(setting: str, value: float) -> str:
    """Return what was asked for, with its unit."""
    return f"{value:g} {_UNITS.get(setting, setting)}"


def comparisons(rows: Sequence[Row], peers: Peers, ranges: Sequence[Range] = ()) -> list[Table]:
    """Tables of other codecs beside a sweep.

    Parameters
    ----------
    rows : sequence of Row
        Failures are left out.
    peers : Peers
    ranges : sequence of (low, high), bpp
        Of the BD-rates; none: all rates of the rows.

    Returns
    -------
    list of Table
        PSNR, and SSIM if any codec has it, at the rates the rows reached, a column per codec; then,
        where the rows have more than one rate, BD-rate against each codec.
    """
    good = [row for row in rows if not row.error]
    tables = [
        _at_equal_rate(rows, peers, quantity)
        for quantity in QUANTITIES
        if peers.with_points(quantity)
    ]
    rates = {(row.setting, row.value) for row in good}
    return [*tables, _bd_rates(good, peers, ranges)] if len(rates) > 1 or ranges else tables


def _at_equal_rate(rows: Sequence[Row], peers: Peers, quantity: str) -> Table:
    codecs = peers.with_points(quantity)
    table = Table(_CAPTIONS[quantity], ["target", "sad", *codecs], [])
    means: list[PeerMean | None] = []
    for (setting, value), group in by_target(rows).items():
        rates = [(row.image, row.bpp) for row in group if row.bpp is not None]
        own = [getattr(row, quantity) for row in group if not row.error]
        known = [quality for quality in own if quality is not None]
        places = _DECIMALS[quantity]
        line = [target_name(setting, value)]
        line.append(f"{sum(known) / len(known):.{places}f}" if known else "-")
        for codec in codecs:
            mean = peers.mean(codec, rates, quantity)
            means.append(mean)
            line.append("-" if mean is None else f"{mean.value:.{places}f}{_mark(mean)}")
        table.lines.append(line)
    if any(mean and mean.covered < mean.images for mean in means):
        table.notes.append(_PARTIAL_NOTE)
    table.notes += _mean_notes(means)
    return table


def _mark(mean: PeerMean) -> str:
    if mean.published is not None:
        return "†"
    return "*" if mean.covered < mean.images else ""


def _bd_rates(rows: Sequence[Row], peers: Peers, ranges: Sequence[Range]) -> Table:
    windows: Sequence[Range | None] = ranges or (None,)
    measured = [quantity for quantity in QUANTITIES if peers.with_points(quantity)]
    columns = [(within, quantity) for within in windows for quantity in measured]
    header = ["codec"]
    header += [f"{_NAMES[quantity]}, {_range(rows, within)}" for within, quantity in columns]
    table = Table(_BD_CAPTION, header, [])
    found: list[RateDifference | None] = []
    for codec in peers.codecs:
        line = [
            rate_difference(rows, peers, codec, quantity, within) for within, quantity in columns
        ]
        table.lines.append([codec, *map(_percent, line)])
        found += line
    partial = [each.images for each in found if each and each.covered < each.images]
    if partial:
        table.notes.append(_BD_NOTE.format(max(partial)))
    table.notes += _mean_notes(found)
    return table


def _range(rows: Sequence[Row], within: Range | None) -> str:
    if within is not None:
        return f"{within[0]:g} to {within[1]:g} bpp"
    targets = [row.value for row in rows if row.setting == "bpp"]
    reached = [row.bpp for row in rows if row.bpp is not None]
    if len(targets) == len(rows):
        return f"{min(targets):g} to {max(targets):g} bpp"
    return f"{min(reached):.2g} to {max(reached):.2g} bpp"


def _percent(difference: RateDifference | None) -> str:
    if difference is None:
        return "-"
    text = f"{difference.percent:+.1f}"
    if difference.published is not None:
        return text + "†"
    partial = difference.covered < difference.images
    return f"{text} ({difference.covered})" if partial else text


def _mean_notes(found: Iterable[PeerMean | RateDifference | None]) -> list[str]:
    counts = sorted({each.published for each in found if each and each.published})
    return [_MEAN_NOTE.format(count) for count in counts]
