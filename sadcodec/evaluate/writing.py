"""Rows as lines of text: CSV, TSV and JSON lines."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable
from typing import Any

from sadcodec.evaluate.row import Row

__all__ = ["COLUMNS", "FORMATS", "format_of", "header", "line", "table_text"]

COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
FORMATS = ("csv", "tsv", "jsonl")

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_DECIMALS = {"bpp": 5, "psnr_db": 4, "ssim": 5, "fit_psnr_db": 4, "encode_s": 4, "decode_s": 4}
_DECIMALS |= {"ms_ssim": 5, "ssimulacra2": 4, "lpips": 5}


def format_of(path: str) -> str:
    """Return the format of a file by its suffix: "tsv", "jsonl", and "csv" for any other."""
    suffix = path.rpartition(".")[2].lower()
    return suffix if suffix in FORMATS else "csv"


def header(kind: str) -> str:
    """Return the first line of a format, with its line feed; JSON lines have none."""
    return "" if kind == "jsonl" else _delimited(COLUMNS, kind)


def line(row: Row, kind: str) -> str:
    """Return the line of a row, with its line feed.

    Parameters
    ----------
    row : Row
    kind : str
        One of `FORMATS`. "csv" and "tsv" round what is measured to four or five decimals and leave
        cells empty where it is not. "jsonl" gives numbers in full and null for what is not measured
        or infinite; a psnr_db of null in a row without error is infinite.
    """
    if kind == "jsonl":
        return json.dumps({name: _plain(getattr(row, name)) for name in COLUMNS}) + "\n"
    return _delimited([_cell(name, getattr(row, name)) for name in COLUMNS], kind)


def table_text(rows: Iterable[Row], kind: str = "csv") -> str:
    """Return a whole file: all rows, failures included."""
    return header(kind) + "".join(line(row, kind) for row in rows)


def _delimited(cells: Iterable[str], kind: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=_DELIMITERS[kind], lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else f"{value:.10g}"
    return str(value)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
