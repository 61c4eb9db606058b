"""Means of a sweep's rows as tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sadcodec.evaluate.comparison import (
    DECIMALS,
    NAMES,
    Range,
    Table,
    by_target,
    comparisons,
    target_name,
)
from sadcodec.evaluate.peers import Peers, join, peers_of
from sadcodec.evaluate.row import Row
from sadcodec.evaluate.spread import mean, over_images, over_repeats, runs

__all__ = ["markdown", "summary", "tables"]

# The row column that a target is to be compared with; quality and sites have none.
_REACHED = {"bpp": "bpp", "psnr": "psnr_db", "size": "bytes"}
_SPREAD_CAPTION = "Standard deviation over the images:"
_REPEATS_CAPTION = (
    "Standard deviation over the images (of means over repeats), and over the repeats (of means "
    "over images):"
)


def summary(rows: Sequence[Row], peers: Peers | None = None, ranges: Sequence[Range] = ()) -> str:
    """Means over the images, one line per codec and setting, aligned for a terminal.

    Parameters
    ----------
    rows : sequence of Row
        Failures are left out of the means and counted below the tables.
    peers : Peers, optional
        Other codecs on the same images. With those that are among the rows, they add tables at the
        rates that ``sad`` reached, see `comparison.comparisons`.
    ranges : sequence of (low, high), bpp
        Of the BD-rates against them; none: all rates of the rows.

    Returns
    -------
    str
        Lines without a last line feed. The columns: what was asked for; means of rate, PSNR of the
        decoded files and of the fit before quantization, SSIM and what else was measured, sites,
        seconds of encoding and decoding; the deviation from the target that is largest in size over
        the images. Of several images or repeats a second table has the standard deviations.
    """
    first, *others = tables(rows, peers, ranges)
    lines = _aligned(first)
    for table in others:
        lines += ["", table.caption, *_aligned(table)]
    return "\n".join([*lines, *_failures(rows)])


def markdown(rows: Sequence[Row], peers: Peers | None = None, ranges: Sequence[Range] = ()) -> str:
    """Return the tables of `summary` in Markdown."""
    first, *others = tables(rows, peers, ranges)
    lines = _piped(first)
    for table in others:
        lines += ["", table.caption, "", *_piped(table)]
    lines += [line for note in _failures(rows) for line in ("", note)]
    return "\n".join(lines).replace("*", r"\*")


def _aligned(table: Table) -> list[str]:
    widths = [max(map(len, column)) for column in zip(table.header, *table.lines, strict=True)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in (table.header, *table.lines)
    ]
    return [*text, *table.notes]


def _piped(table: Table) -> list[str]:
    rule = ["---:"] * len(table.header)
    text = ["| " + " | ".join(line) + " |" for line in (table.header, rule, *table.lines)]
    return text + [line for note in table.notes for line in ("", note)]


def _failures(rows: Sequence[Row]) -> list[str]:
    failed = sum(1 for row in rows if row.error)
    return [f"{failed} of {len(rows)} failed"] if failed else []


def tables(rows: Sequence[Row], peers: Peers | None, ranges: Sequence[Range]) -> list[Table]:
    """Return the table of the sweep, that of its spread, then those of other codecs."""
    known = [found for found in (peers_of(rows), peers) if found is not None]
    others = comparisons(rows, join(known), ranges) if known else []
    return [_means(rows), *_spreads(rows), *others]


def _by_codec(rows: Sequence[Row]) -> list[tuple[list[str], str, float, list[Row]]]:
    """Return rows by codec and target: the first cells, the target, the rows."""
    codecs = list(dict.fromkeys(row.codec for row in rows))
    groups = []
    for codec in codecs:
        mine = [row for row in rows if row.codec == codec]
        for (setting, value), group in by_target(mine).items():
            name = target_name(setting, value)
            cells = [codec, name] if len(codecs) > 1 else [name]
            groups.append((cells, setting, value, group))
    return groups


def _first_names(rows: Sequence[Row]) -> list[str]:
    return ["codec", "target"] if len({row.codec for row in rows}) > 1 else ["target"]


def _more_metrics(rows: Sequence[Row]) -> list[str]:
    """Return the columns of the metrics that were measured beside PSNR and SSIM."""
    names = [name for name in NAMES if name not in ("psnr_db", "ssim")]
    return [name for name in names if any(getattr(row, name) is not None for row in rows)]


def _means(rows: Sequence[Row]) -> Table:
    more = _more_metrics(rows)
    header = [*_first_names(rows), "images", "bpp", "PSNR", "fit PSNR", "SSIM"]
    header += [NAMES[name] for name in more]
    header += ["sites", "encode s", "decode s", "worst"]
    lines = []
    for cells, setting, value, group in _by_codec(rows):
        good = [row for row in group if not row.error]
        line = [
            *cells,
            str(len({row.image for row in good})),
            _cell(mean(good, "bpp"), 4),
            _cell(mean(good, "psnr_db"), 2),
            _cell(mean(good, "fit_psnr_db"), 2),
            _cell(mean(good, "ssim"), 4),
            *(_cell(mean(good, name), DECIMALS[name]) for name in more),
            _cell(mean(good, "sites"), 0),
            _cell(mean(good, "encode_s"), 2),
            _cell(mean(good, "decode_s"), 3),
            _worst(good, setting, value),
        ]
        lines.append(line)
    return Table("", header, lines)


def _spreads(rows: Sequence[Row]) -> list[Table]:
    """Return the table of standard deviations, if there is anything that has one."""
    names = [name for name in NAMES if any(getattr(row, name) is not None for row in rows)]
    measures = [("", over_images)]
    repeated = any(len(runs(group)) > 1 for _, _, _, group in _by_codec(rows))
    if repeated:
        measures = [(", images", over_images), (", repeats", over_repeats)]
    header = [*_first_names(rows), *(NAMES[name] + what for what, _ in measures for name in names)]
    lines = []
    for cells, _, _, group in _by_codec(rows):
        good = [row for row in group if not row.error]
        found = [
            _cell(measure(good, name), DECIMALS[name]) for _, measure in measures for name in names
        ]
        if set(found) - {"-"}:
            lines.append([*cells, *found])
    return [Table(_REPEATS_CAPTION if repeated else _SPREAD_CAPTION, header, lines)] * bool(lines)


def _cell(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _worst(rows: Sequence[Row], setting: str, target: float) -> str:
    """Deviation from the target of the image that is furthest from it, in percent with its sign."""
    name = _REACHED.get(setting)
    if name is None or not rows or target == 0:
        return "-"
    deviations = [100 * (getattr(row, name) - target) / target for row in rows]
    worst = max(deviations, key=abs)
    return f"{worst:+.2f} %" if math.isfinite(worst) else "-"
