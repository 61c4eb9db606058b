"""The sweep of ``sad eval``: rows to files as they are measured, and to the terminal in order."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sadcodec import files
from sadcodec.cli import common
from sadcodec.cli.scheduler import Machine
from sadcodec.progress import ProgressBar

if TYPE_CHECKING:
    from sadcodec.evaluate.keeping import Keeper
    from sadcodec.evaluate.plan import Task
    from sadcodec.evaluate.row import Row
    from sadcodec.evaluate.rowfile import RowFile
    from sadcodec.evaluate.sweep import Outcome


@dataclass(frozen=True)
class Output:
    """Where the results go: the options of these names."""

    out: str | None = None
    keep: str | None = None
    force: bool = False
    resume: bool = False

    @property
    def appends(self) -> bool:
        """Whether rows go to a file that can be appended to and replaced."""
        return self.out is not None and _is_regular(self.out)


def run(
    tasks: Sequence[Task],
    machine: Machine,
    output: Output,
    quiet: bool,
    tell: Callable[[Row], None],
    receive: Callable[[Row, bytes], None] | None = None,
) -> list[Row]:
    """Measure what is not there yet, write it as it comes, and return all rows.

    Parameters
    ----------
    tasks : sequence of Task
    machine : Machine
    output : Output
    quiet : bool
        No progress bar.
    tell : callable (row)
        Called with every row in the order of the tasks, as soon as those before it are known.
    receive : callable (row, data), optional
        Called with every coded file, as they are measured. Those of rows that were measured before
        are known if ``--keep`` kept them.

    Raises
    ------
    Failure
        If a file cannot be read or written.
    """
    from sadcodec.evaluate import sweep
    from sadcodec.evaluate.rowfile import RowFile

    keeper = _keeper(tasks, output)
    done = _done(tasks, output, keeper)
    left = [index for index in range(len(tasks)) if index not in done]
    replaces = output.force or output.resume
    if keeper is not None:
        for index in left:
            with common.blame(keeper.path(index)):
                files.check_output(keeper.path(index), force=replaces)
    if receive is not None and keeper is not None:
        for index, row in done.items():
            with common.blame(keeper.path(index)):
                receive(row, files.read_input(keeper.path(index)))
    order = _InOrder(tell)
    order.add(done)
    told: set[tuple[str, str]] = set()
    kept = [done[index] for index in sorted(done)]
    file = RowFile(output.out or "", kept, force=replaces) if output.appends else None
    with ProgressBar(enabled=False if quiet else None) as bar:
        outcomes = sweep.measure(
            [tasks[index] for index in left],
            jobs=machine.jobs,
            threads=machine.threads,
            backend=machine.backend,
            executor=machine.executor,
            progress=bar,
        )
        try:
            for nth, outcome in outcomes:
                index = left[nth]
                _save(index, outcome, keeper, file, output)
                row = outcome.row
                if receive is not None and not row.error:
                    receive(row, outcome.data)
                if row.error and (row.image, row.error) not in told:
                    # An image that fails at every target for one reason is told of once.
                    told.add((row.image, row.error))
                    bar.clear()
                    _failure(tasks[index], row).show()
                if order.ready(index):
                    bar.clear()
                order.add({index: row})
        finally:
            if file is not None:
                file.close()
    rows = [order.rows[index] for index in range(len(tasks))]
    if file is not None:
        with common.blame(output.out or ""):
            file.finish(rows)
    return rows


class _InOrder:
    """Hands rows on in the order of their tasks."""

    def __init__(self, tell: Callable[[Row], None]) -> None:
        self.rows: dict[int, Row] = {}
        self._tell = tell
        self._following = 0

    def ready(self, index: int) -> bool:
        """Whether a row of this task would be handed on at once."""
        return index == self._following

    def add(self, rows: dict[int, Row]) -> None:
        self.rows |= rows
        while self._following in self.rows:
            self._tell(self.rows[self._following])
            self._following += 1


def _save(
    index: int, outcome: Outcome, keeper: Keeper | None, file: RowFile | None, output: Output
) -> None:
    """Write the coded file and then the row: where there is a row there is its file."""
    if keeper is not None and not outcome.row.error:
        with common.blame(keeper.path(index)):
            keeper.write(index, outcome.data, force=output.force or output.resume)
    if file is not None:
        with common.blame(output.out or ""):
            file.add(outcome.row)


def _failure(task: Task, row: Row) -> common.Failure:
    from sadcodec.evaluate.row import OURS

    codec = () if row.codec == OURS else (row.codec,)
    return common.Failure(common.shown(task.path), *codec, row.error)


def _keeper(tasks: Sequence[Task], output: Output) -> Keeper | None:
    from sadcodec.evaluate.keeping import Keeper

    if output.keep is None:
        return None
    with common.blame(output.keep):
        return Keeper(output.keep, tasks)


def _done(tasks: Sequence[Task], output: Output, keeper: Keeper | None) -> dict[int, Row]:
    """Return the rows of an earlier sweep that stay."""
    from sadcodec.evaluate.rowfile import saved_rows

    if output.out is None or not output.resume:
        return {}
    with common.blame(output.out):
        done = saved_rows(output.out, tasks)
    return done if keeper is None else keeper.kept(done)


def _is_regular(path: str) -> bool:
    """Whether a file is one, or there is none yet."""
    if path == files.STANDARD:
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True
