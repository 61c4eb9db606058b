"""Rows of earlier sweeps, read back from CSV files."""

from __future__ import annotations

import csv
import dataclasses
import math
import types
import typing
from collections.abc import Iterable
from typing import Any

from sadcodec.errors import InputError
from sadcodec.evaluate.sweep import KINDS, Row

__all__ = ["check_comparable", "read_rows"]

_FIELDS = {field.name: field for field in dataclasses.fields(Row)}
_NEEDED = [name for name, field in _FIELDS.items() if field.default is dataclasses.MISSING]
_MEASURED = ("bytes", "bpp", "psnr_db")  # of every row without an error
_POSITIVE = ("width", "height", "value", "bytes", "bpp", "sites")
# What one table cannot show the difference of.
_COMMON = ("codec", "effort", "metric")


def read_rows(text: str) -> list[Row]:
    """Parse what `table.write_csv` wrote, by this version or an earlier one.

    Parameters
    ----------
    text : str
        CSV with a header. Columns may come in any order; unknown ones are ignored, and one that an
        earlier version did not write has its default.

    Raises
    ------
    InputError
        If a column is missing, a line has a bad value, or there are no lines.
    """
    reader = csv.DictReader(text.splitlines())
    names = reader.fieldnames or []
    missing = [name for name in (*_NEEDED, *_MEASURED) if name not in names]
    if missing:
        raise InputError(f"not a table of rows: it lacks the column {missing[0]}")
    kinds = typing.get_type_hints(Row)
    rows = []
    for cells in reader:
        try:
            values = {
                name: _value(name, cells[name], kinds[name]) for name in names if name in _FIELDS
            }
            row = Row(**values)
            _check(row)
        except ValueError as error:
            raise InputError(f"line {reader.line_num}: {error}") from None
        rows.append(row)
    if not rows:
        raise InputError("a table without rows")
    return rows


def check_comparable(rows: Iterable[Row]) -> None:
    """Raise InputError if rows differ in more than the image, the target and what was measured."""
    rows = list(rows)
    for name in _COMMON:
        found = sorted({str(getattr(row, name, "")) for row in rows})
        if len(found) > 1:
            raise InputError(f"rows of {name} {' and '.join(found)} do not go into one table")


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
    empty = [name for name in _MEASURED if getattr(row, name) is None]
    if empty and not row.error:
        raise ValueError(f"{empty[0]} is empty")
    if row.bpp == 0:
        raise ValueError("bpp is 0")
