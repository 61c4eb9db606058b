"""Rows of earlier sweeps, read back from files."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from sadcodec.errors import InputError
from sadcodec.evaluate.row import KINDS, OURS, Row

__all__ = ["check_comparable", "read_rows"]

_FIELDS = {field.name: field for field in dataclasses.fields(Row)}
_NEEDED = [name for name, field in _FIELDS.items() if field.default is dataclasses.MISSING]
_MEASURED = ("bytes", "bpp", "psnr_db")  # of every row without an error
_OF_OURS = ("effort", "seed")
_POSITIVE = ("width", "height", "value", "bytes", "bpp", "sites")
# What one table cannot show the difference of.
_COMMON = ("effort", "metric")


def read_rows(text: str, *, torn: bool = False) -> list[Row]:
    """Parse what a sweep of this version or an earlier one wrote.

    Parameters
    ----------
    text : str
        CSV or TSV with a header, or JSON lines; the first line tells which. Columns may come in any
        order; unknown ones are ignored, and one that an earlier version did not write has its
        default.
    torn : bool
        Pass over a last line that does not end in a line feed, and allow a file without rows.

    Raises
    ------
    InputError
        If a column is missing, a line has a bad value, or there are no lines.
    """
    if torn:
        text = text[: text.rfind("\n") + 1]
    kinds = typing.get_type_hints(Row)
    rows = []
    for number, cells in _records(text):
        try:
            values = {
                name: _value(name, cell, kinds[name])
                for name, cell in cells.items()
                if name in _FIELDS
            }
            row = Row(**values)
            _check(row)
        except ValueError as error:
            raise InputError(f"line {number}: {error}") from None
        rows.append(row)
    if not rows and not torn:
        raise InputError("a table without rows")
    return rows


def check_comparable(rows: Iterable[Row]) -> None:
    """Check that rows go into one table.

    Raises
    ------
    InputError
        If rows of ``sad`` differ in more than image, target, seed and results, or a row is there
        twice.
    """
    rows = list(rows)
    ours = [row for row in rows if row.codec == OURS]
    for name in _COMMON:
        found = sorted({str(getattr(row, name)) for row in ours})
        if len(found) > 1:
            raise InputError(f"rows of {name} {' and '.join(found)} do not go into one table")
    seen = set()
    for row in rows:
        if (row.key, row.seed) in seen:
            what = f"{row.image} by {row.codec} at {row.value:g} {row.setting}"
            raise InputError(f"the row of {what} is there twice")
        seen.add((row.key, row.seed))


def _records(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line with its cells by column."""
    # Not splitlines(), which ends lines at more than line feeds.
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].lstrip().startswith("{"):
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _json_cells(number, line)
        return
    reader = csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ",")
    names = [name for name in reader.fieldnames or [] if name]
    _check_columns(names)
    for cells in reader:
        yield reader.line_num, {name: cells[name] for name in names}


def _json_cells(number: int, line: str) -> dict[str, Any]:
    try:
        cells = json.loads(line)
    except ValueError:
        cells = None
    if not isinstance(cells, dict):
        raise InputError(f"line {number}: it is no JSON object")
    _check_columns(cells)
    if cells["psnr_db"] is None and not cells.get("error"):
        cells["psnr_db"] = math.inf
    return {
        name: "" if value is None else value if isinstance(value, str) else repr(value)
        for name, value in cells.items()
    }


def _check_columns(names: Iterable[str]) -> None:
    present = set(names)
    missing = [name for name in (*_NEEDED, *_MEASURED) if name not in present]
    if missing:
        raise InputError(f"not a table of rows: it lacks the column {missing[0]}")


def _value(name: str, cell: str | None, kind: Any) -> Any:
    """Return one cell as the type of its field; an empty one is None where that is allowed."""
    if cell is None:
        raise ValueError("it is cut short")
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if cell == "" and type(None) in allowed:
        return None
    if str in allowed:
        return cell
    try:
        number = int(cell) if int in allowed else float(cell)
    except ValueError:
        raise ValueError(f"{name} is {cell!r}") from None
    good = not math.isnan(number) and (math.isfinite(number) or name == "psnr_db")
    if not good or (name in _POSITIVE and number < 0):
        raise ValueError(f"{name} is {cell}")
    return number


def _check(row: Row) -> None:
    if row.setting not in KINDS:
        raise ValueError(f"setting is {row.setting!r}, not one of {', '.join(KINDS)}")
    unknown = [name for name in _OF_OURS if getattr(row, name) is None]
    if unknown and row.codec == OURS:
        raise ValueError(f"{unknown[0]} is empty")
    empty = [name for name in _MEASURED if getattr(row, name) is None]
    if empty and not row.error:
        raise ValueError(f"{empty[0]} is empty")
    if row.bpp == 0:
        raise ValueError("bpp is 0")
