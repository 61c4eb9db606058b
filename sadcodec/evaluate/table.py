"""Rows of a sweep as CSV, and their means as a table for people."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import TextIO

from sadcodec.evaluate.peers import Peers, peers_of
from sadcodec.evaluate.sweep import Row

__all__ = ["COLUMNS", "markdown", "summary", "write_csv"]

COLUMNS = tuple(field.name for field in dataclasses.fields(Row))

_DECIMALS = {"bpp": 5, "psnr_db": 4, "ssim": 5, "fit_psnr_db": 4, "encode_s": 4, "decode_s": 4}
_UNITS = {"bpp": "bpp", "psnr": "dB", "quality": "quality", "sites": "sites", "size": "bytes"}
# The row column that a target is to be compared with; quality and sites have none.
_REACHED = {"bpp": "bpp", "psnr": "psnr_db", "size": "bytes"}


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """Write all rows, failures included, with a header.

    Parameters
    ----------
    rows : iterable of Row
    file : text file opened with ``newline=""``
        Lines end in a line feed. What was not measured is empty.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(name, getattr(row, name)) for name in COLUMNS])


def summary(rows: Sequence[Row], peers: Peers | None = None) -> str:
    """Means over the images, one line per setting, aligned for a terminal.

    Parameters
    ----------
    rows : sequence of Row
        Failures are left out of the means and counted below the table.
    peers : Peers, optional
        Adds a column per codec: its PSNR on the same images at the rates the rows reached.

    Returns
    -------
    str
        Lines without a last line feed. The columns: what was asked for; means of rate, PSNR of the
        decoded files and of the fit before quantization, SSIM, sites, seconds of encoding and
        decoding; the deviation from the target that is largest in size over the images.
    """
    header, lines, notes = _table(rows, peers)
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in (header, *lines)
    ]
    return "\n".join([*text, *notes])


def markdown(rows: Sequence[Row], peers: Peers | None = None) -> str:
    """Return the table of `summary` in Markdown."""
    header, lines, notes = _table(rows, peers)
    text = ["| " + " | ".join(line) + " |" for line in (header, ["---:"] * len(header), *lines)]
    text += [line for note in notes for line in ("", note)]
    return "\n".join(text).replace("*", r"\*")


def _table(
    rows: Sequence[Row], peers: Peers | None
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return header, lines of cells, and notes to print below."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.setting, row.value), []).append(row)
    header = ["target", "images", "bpp", "PSNR", "fit PSNR", "SSIM", "sites", "encode s"]
    header += ["decode s", "worst", *(peers.codecs if peers else [])]
    lines, partial = [], False
    for (setting, value), group in groups.items():
        good = [row for row in group if not row.error]
        line = [
            f"{value:g} {_UNITS.get(setting, setting)}",
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
        for mean in peers_of(good, peers).values() if peers else ():
            incomplete = mean is not None and mean.covered < mean.images
            partial = partial or incomplete
            line.append("-" if mean is None else f"{mean.psnr_db:.2f}{'*' if incomplete else ''}")
        lines.append(line)
    notes = ["* mean over the images for which there are points around this rate"] * partial
    failed = sum(1 for row in rows if row.error)
    if failed:
        notes.append(f"{failed} of {len(rows)} failed")
    return header, lines, notes


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


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else f"{value:.10g}"
    return str(value)
