"""Means of a sweep's rows as tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sadcodec.evaluate.comparison import Range, Table, by_target, comparisons, target_name
from sadcodec.evaluate.peers import Peers
from sadcodec.evaluate.row import Row

__all__ = ["markdown", "summary"]

# The row column that a target is to be compared with; quality and sites have none.
_REACHED = {"bpp": "bpp", "psnr": "psnr_db", "size": "bytes"}


def summary(rows: Sequence[Row], peers: Peers | None = None, ranges: Sequence[Range] = ()) -> str:
    """Means over the images, one line per setting, aligned for a terminal.

    Parameters
    ----------
    rows : sequence of Row
        Failures are left out of the means and counted below the tables.
    peers : Peers, optional
        Adds tables of other codecs on the same images at the rates the rows reached, see
        `comparison.comparisons`.
    ranges : sequence of (low, high), bpp
        Of the BD-rates against them; none: all rates of the rows.

    Returns
    -------
    str
        Lines without a last line feed. The columns: what was asked for; means of rate, PSNR of the
        decoded files and of the fit before quantization, SSIM, sites, seconds of encoding and
        decoding; the deviation from the target that is largest in size over the images.
    """
    first, *others = _tables(rows, peers, ranges)
    lines = _aligned(first)
    for table in others:
        lines += ["", table.caption, *_aligned(table)]
    return "\n".join([*lines, *_failures(rows)])


def markdown(rows: Sequence[Row], peers: Peers | None = None, ranges: Sequence[Range] = ()) -> str:
    """Return the tables of `summary` in Markdown."""
    first, *others = _tables(rows, peers, ranges)
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


def _tables(rows: Sequence[Row], peers: Peers | None, ranges: Sequence[Range]) -> list[Table]:
    """Return the table of the sweep, then those of other codecs."""
    header = ["target", "images", "bpp", "PSNR", "fit PSNR", "SSIM", "sites", "encode s"]
    header += ["decode s", "worst"]
    lines = []
    for (setting, value), group in by_target(rows).items():
        good = [row for row in group if not row.error]
        line = [
            target_name(setting, value),
            str(len(good)),
            _mean(good, "bpp", 4),
            _mean(good, "psnr_db", 2),
            _mean(good, "fit_psnr_db", 2),
            _mean(good, "ssim", 4),
            _mean(good, "sites", 0),
            _mean(good, "encode_s", 2),
            _mean(good, "decode_s", 3),
            _worst(good, setting, value),
        ]
        lines.append(line)
    return [Table("", header, lines), *(comparisons(rows, peers, ranges) if peers else ())]


def _mean(rows: Sequence[Row], name: str, decimals: int) -> str:
    values = [getattr(row, name) for row in rows]
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{decimals}f}" if known else "-"


def _worst(rows: Sequence[Row], setting: str, target: float) -> str:
    """Deviation from the target of the image that is furthest from it, in percent with its sign."""
    name = _REACHED.get(setting)
    if name is None or not rows or target == 0:
        return "-"
    deviations = [100 * (getattr(row, name) - target) / target for row in rows]
    worst = max(deviations, key=abs)
    return f"{worst:+.2f} %" if math.isfinite(worst) else "-"
