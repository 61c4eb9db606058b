"""Tables of a sweep beside other codecs: a quantity at equal rate, and BD-rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sadcodec.evaluate.difference import Range, RateDifference, rate_difference
from sadcodec.evaluate.peers import QUANTITIES, PeerMean, Peers
from sadcodec.evaluate.row import OURS, Row
from sadcodec.evaluate.spread import deviation, mean, over_repeats, runs

__all__ = ["DECIMALS", "NAMES", "Range", "Table", "by_target", "comparisons", "target_name"]

_UNITS = {"bpp": "bpp", "psnr": "dB", "quality": "quality", "sites": "sites", "size": "bytes"}
NAMES = {
    "psnr_db": "PSNR",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA2",
    "lpips": "LPIPS",
}
DECIMALS = {"psnr_db": 2, "ssim": 4, "ms_ssim": 4, "ssimulacra2": 2, "lpips": 4}
_IN_UNITS = {"psnr_db": "PSNR in dB", "lpips": "LPIPS (lower is better)"}
_CAPTION = "{} at the same bits per pixel:"
_BD_CAPTION = "BD-rate in %, what the files take less (-) or more (+) at equal quality:"
_PARTIAL_NOTE = "* mean over the images for which there are points around this rate"
_MEAN_NOTE = "† known only as a mean over {} images, compared with the mean of these"
_REPEATS_NOTE = "± standard deviation over {} repeats"
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
        Those of ``sad`` are compared; failures are left out.
    peers : Peers
    ranges : sequence of (low, high), bpp
        Of the BD-rates; none: all rates of the rows.

    Returns
    -------
    list of Table
        PSNR, and whatever else both have, at the rates the rows reached, a column per codec; then,
        where the rows have more than one rate, BD-rate against each codec. With repeats, means over
        these, and their standard deviation.
    """
    ours = [row for row in rows if row.codec == OURS]
    good = [row for row in ours if not row.error]
    if not good:
        return []
    quantities = [
        quantity
        for quantity in QUANTITIES
        if peers.with_points(quantity) and any(getattr(row, quantity) is not None for row in good)
    ]
    tables = [_at_equal_rate(ours, peers, quantity) for quantity in quantities]
    rates = {(row.setting, row.value) for row in good}
    if len(rates) > 1 or ranges:
        tables.append(_bd_rates(good, peers, quantities, ranges))
    return tables


def _at_equal_rate(rows: Sequence[Row], peers: Peers, quantity: str) -> Table:
    codecs = peers.with_points(quantity)
    caption = _CAPTION.format(_IN_UNITS.get(quantity, NAMES[quantity]))
    table = Table(caption, ["target", OURS, *codecs], [])
    means: list[PeerMean | None] = []
    repeats = 1
    places = DECIMALS[quantity]
    for (setting, value), group in by_target(rows).items():
        good = [row for row in group if not row.error]
        repeated = runs(good)
        repeats = max(repeats, len(repeated))
        own, spread = mean(good, quantity), over_repeats(good, quantity)
        line = [target_name(setting, value)]
        line.append("-" if own is None else f"{own:.{places}f}{_spread(spread, places)}")
        for codec in codecs:
            found = [
                peers.mean(
                    codec, [(row.image, row.bpp) for row in run if row.bpp is not None], quantity
                )
                for run in repeated
            ]
            one = _mean_of_runs(found)
            means.append(one)
            line.append("-" if one is None else f"{one.value:.{places}f}{_mark(one)}")
        table.lines.append(line)
    if any(each and each.covered < each.images for each in means):
        table.notes.append(_PARTIAL_NOTE)
    table.notes += [*_mean_notes(means), *_repeat_notes(repeats)]
    return table


def _mean_of_runs(found: Sequence[PeerMean | None]) -> PeerMean | None:
    """Return the mean over the repeats; None if one of them has none."""
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found):
        return None
    value = sum(each.value for each in known) / len(known)
    covered = min(each.covered for each in known)
    return PeerMean(value, covered, known[0].images, known[0].published)


def _spread(spread: float | None, places: int) -> str:
    return "" if spread is None else f" ± {spread:.{places}f}"


def _repeat_notes(repeats: int) -> list[str]:
    return [_REPEATS_NOTE.format(repeats)] if repeats > 1 else []


def _mark(mean: PeerMean) -> str:
    if mean.published is not None:
        return "†"
    return "*" if mean.covered < mean.images else ""


def _bd_rates(
    rows: Sequence[Row], peers: Peers, quantities: Sequence[str], ranges: Sequence[Range]
) -> Table:
    windows: Sequence[Range | None] = ranges or (None,)
    columns = [(within, quantity) for within in windows for quantity in quantities]
    header = ["codec"]
    header += [f"{NAMES[quantity]}, {_range(rows, within)}" for within, quantity in columns]
    table = Table(_BD_CAPTION, header, [])
    repeated = runs(rows)
    everything: list[RateDifference | None] = []
    for codec in peers.codecs:
        line = [codec]
        for within, quantity in columns:
            found = [rate_difference(run, peers, codec, quantity, within) for run in repeated]
            line.append(_percent(found))
            everything += found
        table.lines.append(line)
    partial = [each.images for each in everything if each and each.covered < each.images]
    if partial:
        table.notes.append(_BD_NOTE.format(max(partial)))
    table.notes += [*_mean_notes(everything), *_repeat_notes(len(repeated))]
    return table


def _range(rows: Sequence[Row], within: Range | None) -> str:
    if within is not None:
        return f"{within[0]:g} to {within[1]:g} bpp"
    targets = [row.value for row in rows if row.setting == "bpp"]
    reached = [row.bpp for row in rows if row.bpp is not None]
    if len(targets) == len(rows):
        return f"{min(targets):g} to {max(targets):g} bpp"
    return f"{min(reached):.2g} to {max(reached):.2g} bpp"


def _percent(found: Sequence[RateDifference | None]) -> str:
    """Return the mean over the repeats, with their standard deviation."""
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found):
        return "-"
    values = [each.percent for each in known]
    text = f"{sum(values) / len(values):+.1f}{_spread(deviation(values), 1)}"
    if known[0].published is not None:
        return text + "†"
    covered = min(each.covered for each in known)
    return f"{text} ({covered})" if covered < known[0].images else text


def _mean_notes(found: Iterable[PeerMean | RateDifference | None]) -> list[str]:
    counts = sorted({each.published for each in found if each and each.published})
    return [_MEAN_NOTE.format(count) for count in counts]
