"""``--plot`` of ``sad eval``: plots, and the HTML report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sadcodec import files
from sadcodec.cli import common
from sadcodec.errors import InputError
from sadcodec.progress import ProgressBar

if TYPE_CHECKING:
    from sadcodec.evaluate.comparison import Range
    from sadcodec.evaluate.gallery import Exhibit, Gallery
    from sadcodec.evaluate.peers import Peers
    from sadcodec.evaluate.plan import Task
    from sadcodec.evaluate.row import Row

KINDS = ("png", "svg", "html")


class Plots:
    """The files that ``--plot`` names.

    Parameters
    ----------
    paths : sequence of str
    force : bool
        Replace files that exist.
    quiet : bool
        No progress bar, and no word on a report.

    Raises
    ------
    UsageError
        If a name has none of the suffixes of `KINDS`.
    """

    def __init__(self, paths: Sequence[str], force: bool, quiet: bool) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._force = force
        self._quiet = quiet
        self._tasks: Sequence[Task] = ()
        self._gallery: Gallery | None = None
        for path in self._paths:
            if _kind(path) not in KINDS:
                names = ", ".join("." + kind for kind in KINDS)
                raise click.UsageError(f"--plot {click.format_filename(path)} is none of {names}.")

    def check(self, sources: Sequence[str]) -> None:
        """Refuse what cannot be drawn or written before any work; Failure with its cause.

        The sources are the images that are coded: none of them is replaced.
        """
        for path in self._paths:
            from sadcodec.evaluate.plot import check_matplotlib

            common.check_output(path, sources, force=self._force)
            with common.blame(path):
                check_matplotlib()

    def expect(self, tasks: Sequence[Task]) -> None:
        """Prepare for a sweep: a report has pictures at the middle one of its values."""
        if any(_kind(path) == "html" for path in self._paths):
            from sadcodec.evaluate.gallery import Gallery, middle

            self._tasks = tasks
            self._gallery = Gallery([(tasks[0].kind, middle(task.value for task in tasks))])

    @property
    def wants_files(self) -> bool:
        """Whether `receive` has any use for files."""
        return self._gallery is not None

    def receive(self, row: Row, data: bytes) -> None:
        """Take the coded file of a row."""
        if self._gallery is not None:
            self._gallery.receive(row, data)

    def write(
        self,
        rows: Sequence[Row],
        peers: Peers | None,
        ranges: Sequence[Range],
        backend: str,
        threads: int | None,
    ) -> None:
        """Draw and write all of them; Failure if that is not possible."""
        if not self._paths:
            return
        from sadcodec.evaluate import curves, plot, report, table

        exhibits = self._exhibits(backend, threads)
        for path in self._paths:
            kind = _kind(path)
            with common.blame(path):
                try:
                    panels = curves.panels(rows, peers)
                except InputError:  # nothing to plot; a report still has tables
                    if kind != "html":
                        raise
                    panels = []
                if kind == "html":
                    drawn = plot.draw(panels, "svg") if panels else None
                    tables = table.tables(rows, peers, ranges)
                    data = report.render(rows, tables, drawn, exhibits)
                else:
                    data = plot.draw(panels, kind)
                files.write_output(path, data, force=self._force)
            if kind == "html":
                self._tell(path, len(data), exhibits)

    def _exhibits(self, backend: str, threads: int | None) -> list[Exhibit]:
        if self._gallery is None:
            return []
        with ProgressBar(enabled=False if self._quiet else None) as bar:
            paths = list(dict.fromkeys(task.path for task in self._tasks))
            return self._gallery.exhibits(paths, backend, threads, bar)

    def _tell(self, path: str, size: int, exhibits: Sequence[Exhibit]) -> None:
        images = len({task.path for task in self._tasks})
        shown = len({each.image for each in exhibits})
        where = f" at {exhibits[0].target}" if exhibits else ""
        pictures = f"pictures of {shown} of {images} images{where}" if images else "no pictures"
        common.note(f"{common.shown(path)}: {size / 1e6:.1f} MB, {pictures}", self._quiet)


def _kind(path: str) -> str:
    return os.path.splitext(path)[1].lower().removeprefix(".")
