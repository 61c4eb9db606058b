"""The file of a sweep's rows: valid at every moment, and where a later sweep goes on from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from sadcodec import files
from sadcodec.errors import InputError, OutputError
from sadcodec.evaluate.plan import Task
from sadcodec.evaluate.reading import read_rows
from sadcodec.evaluate.row import OURS, Row
from sadcodec.evaluate.writing import format_of, line, table_text

__all__ = ["RowFile", "saved_rows"]

# Of rows of one sweep, by the word for it in a message.
_OPTIONS = {
    "effort": "effort",
    "seed": "seed",
    "backend": "backend",
    "metric": "metric",
    "measured": "metrics",
    "version": "version",
}


class RowFile:
    """Rows written as they come, each with one write of a whole line.

    Nothing is written before the first row: a file that is to be replaced stays until then. The
    first write makes the file anew under another name and moves it over the old one; later ones
    append and wait for the disk. So the file holds whole lines whenever the process is killed; a
    failing machine may leave a torn last one, which `saved_rows` passes over.

    Parameters
    ----------
    path : str
        The suffix tells the format, see `sadcodec.evaluate.writing.format_of`.
    kept : sequence of Row
        Rows of an earlier sweep that stay.
    force : bool
        Replace an existing file.
    """

    def __init__(self, path: str, kept: Sequence[Row] = (), *, force: bool = False) -> None:
        self._path = path
        self._format = format_of(path)
        self._kept = kept
        self._force = force
        self._handle = -1

    def add(self, row: Row) -> None:
        """Write a row; OutputError if that fails, the file is then as it was before."""
        if self._handle < 0:
            text = table_text([*self._kept, row], self._format)
            files.write_output(self._path, text.encode(), force=self._force)
            flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
            with _output_errors():
                self._handle = os.open(self._path, flags)
            return
        with _output_errors():
            _append(self._handle, line(row, self._format).encode())

    def finish(self, rows: Iterable[Row]) -> None:
        """Write all rows anew, in this order, if the file does not hold just that."""
        self.close()
        data = table_text(rows, self._format).encode()
        with contextlib.suppress(InputError):
            if files.read_input(self._path) == data:
                return
        files.write_output(self._path, data, force=True)

    def close(self) -> None:
        """Close the file and leave it as it is."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def saved_rows(path: str, tasks: Sequence[Task]) -> dict[int, Row]:
    """Return the rows of an interrupted sweep that need not be measured again.

    What a process left that was killed while it wrote the whole file is removed.

    Parameters
    ----------
    path : str
        What `RowFile` wrote. If it is missing or empty there are no rows.
    tasks : sequence of Task
        Of the sweep that is to be completed.

    Returns
    -------
    dict of int -> Row
        By the index of the task. Rows with an error are left out.

    Raises
    ------
    InputError
        If it is no file of rows, or has rows that none of these tasks, with these options, gives.
    """
    files.remove_leftovers(path)
    if not os.path.exists(path):
        return {}
    text = files.read_input(path).decode(errors="replace")
    if not text:
        return {}
    if "\n" not in text:
        raise InputError("not a table of rows")
    indices = {task.row().key: index for index, task in enumerate(tasks)}
    found = {}
    for row in read_rows(text, torn=True):
        index = indices.get(row.key)
        if index is None:
            what = f"{row.image} by {row.codec} at {row.value:g} {row.setting}"
            if row.repeat:
                what += f", repeat {row.repeat}"
            raise InputError(f"has a row of {what}, which is not asked for now")
        _check_options(row, tasks[index].row())
        if not row.error:
            found[index] = row
    return found


def _check_options(row: Row, now: Row) -> None:
    for name, word in _OPTIONS.items():
        before, after = getattr(row, name), getattr(now, name)
        if before != after:
            raise InputError(
                f"has rows of {word} {before}, now it is {after}: only the same sweep is resumed"
            )
    versions = row.codec_version, now.codec_version
    if row.codec != OURS and all(versions) and versions[0] != versions[1]:
        raise InputError(f"has rows of {row.codec} {versions[0]}, now it is {versions[1]}")


def _append(handle: int, data: bytes) -> None:
    """Write at the end of a file, and to the disk; what cannot be written whole is taken back."""
    before = os.fstat(handle).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(handle, data[written:])
        os.fsync(handle)
    except BaseException as error:  # an interruption, too
        if written < len(data) or isinstance(error, OSError):
            with contextlib.suppress(OSError):
                os.ftruncate(handle, before)
        raise


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Turn the system's errors into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from error
