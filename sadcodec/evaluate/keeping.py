"""The coded files of a sweep, kept in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sadcodec import files
from sadcodec.errors import OutputError
from sadcodec.evaluate.codecs import peer
from sadcodec.evaluate.peers import stem
from sadcodec.evaluate.plan import Task, image_name
from sadcodec.evaluate.row import OURS, Row

__all__ = ["Keeper"]


class Keeper:
    """Writes files named ``IMAGE.CODEC.SETTINGVALUE[.rN].SUFFIX``, N from 1 for repeats.

    Parameters
    ----------
    folder : str
        Made if it is missing.
    tasks : sequence of Task

    Raises
    ------
    OutputError
        If the folder cannot be made.
    """

    def __init__(self, folder: str, tasks: Sequence[Task]) -> None:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise OutputError(error.strerror or str(error)) from error
        self._paths = [os.path.join(folder, _name(task)) for task in tasks]

    def path(self, index: int) -> str:
        """Return the file of a task."""
        return self._paths[index]

    def kept(self, rows: Mapping[int, Row]) -> dict[int, Row]:
        """Return those rows of tasks whose file is there, with the length that the row says."""
        return {
            index: row
            for index, row in rows.items()
            if os.path.isfile(self._paths[index])
            and os.path.getsize(self._paths[index]) == row.bytes
        }

    def write(self, index: int, data: bytes, *, force: bool) -> None:
        """Write the file of a task whole or not at all; OutputError if that fails."""
        files.write_output(self._paths[index], data, force=force)


def _name(task: Task) -> str:
    repeat = f".r{task.repeat}" if task.repeat else ""
    setting = f"{task.kind}{task.value:.10g}"
    suffix = ".sad" if task.codec == OURS else peer(task.codec).extension
    return f"{stem(image_name(task.path))}.{task.codec}.{setting}{repeat}{suffix}"
