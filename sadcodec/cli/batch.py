"""``sad encode --out-dir``: many images, several at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sadcodec import files
from sadcodec.cli import common
from sadcodec.cli.arguments import IMAGE_SUFFIXES, check_image, check_pattern
from sadcodec.cli.scheduler import Machine
from sadcodec.errors import OutputError, SadError
from sadcodec.progress import Progress, ProgressBar

if TYPE_CHECKING:
    from sadcodec.pool import Executor, Share


@dataclass(frozen=True)
class Coded:
    """One image encoded.

    Attributes
    ----------
    data : bytes
    report : EncodeReport
    shape : tuple of int
        [H, W, C].
    bit_depth : int
    """

    data: bytes
    report: Any
    shape: tuple[int, ...]
    bit_depth: int


@dataclass(frozen=True)
class Failed:
    """One image that could not be encoded or written.

    Attributes
    ----------
    name : str
        The file to blame.
    cause : str
        One line.
    """

    name: str
    cause: str


Outcome = Coded | Failed


def sources_of(
    arguments: Sequence[str], suffixes: tuple[str, ...] = IMAGE_SUFFIXES, nothing: str = "no images"
) -> list[str]:
    """Return the files to work on: as named, and those in folders with a suffix, sorted by name.

    Raises
    ------
    Failure
        If a folder holds none or cannot be read, or a pattern matches no file.
    """
    found = []
    for argument in arguments:
        if not os.path.isdir(argument):
            check_pattern(argument)
            found.append(argument)
            continue
        try:
            names = sorted(os.listdir(argument))
        except OSError as error:
            raise common.Failure(common.shown(argument), str(error.strerror)) from error
        inside = [
            os.path.join(argument, name)
            for name in names
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
        if not inside:
            raise common.Failure(common.shown(argument), f"holds {nothing}")
        found += inside
    return found


def targets_of(sources: Sequence[str], folder: str, suffix: str = ".sad") -> list[str]:
    """Return the file in the folder for each source.

    Raises
    ------
    Failure
        If two sources would be written to one file.
    """
    first: dict[str, str] = {}
    targets = []
    for source in sources:
        name = os.path.splitext(os.path.basename(source))[0] + suffix
        target = os.path.join(folder, name)
        if name in first:
            both = f"{common.shown(first[name])} and {common.shown(source)}"
            raise common.Failure(common.shown(target), f"is the output of both {both}")
        first[name] = source
        targets.append(target)
    return targets


def make_folder(folder: str) -> None:
    """Make a folder if there is none; a Failure if it cannot be made."""
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise common.Failure(common.shown(folder), os.strerror(errno.ENOTDIR)) from error
    except OSError as error:
        raise common.Failure(common.shown(folder), str(error.strerror)) from error


def encode_one(
    source: str,
    options: dict[str, Any],
    backend: str,
    threads: int | None,
    progress: Progress | None,
    content: bytes | None = None,
    max_pixels: int | None = None,
) -> Coded:
    """Read and encode one image; raises what reading and `encode_with_report` raise.

    The options are those of `encode_with_report`, and "strip": whether metadata is dropped. The
    content of its file may be known. `max_pixels`: None for the default.
    """
    from sadcodec import codec, image_io  # here: only now is it worth the time to load them

    if content is None:
        content = files.read_input(source)
    check_image(content)
    image, metadata = image_io.read_image(content, max_pixels=max_pixels)
    if options["strip"]:  # nothing would say which way up it is
        image, metadata = image_io.oriented(image, metadata.get("exif", b"")), {}
    options = {name: value for name, value in options.items() if name != "strip"}
    data, report = codec.encode_with_report(
        image, **options, metadata=metadata, backend=backend, threads=threads, progress=progress
    )
    return Coded(data, report, image.shape, 8 * image.dtype.itemsize)


def encode_all(
    sources: Sequence[str],
    targets: Sequence[str],
    options: dict[str, Any],
    machine: Machine,
    force: bool,
    bar: ProgressBar,
    max_pixels: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Encode images and write each file as it is done.

    Parameters
    ----------
    sources, targets : sequence of str
    options : dict
        As in `encode_one`.
    machine : Machine
    force : bool
        Replace existing files.
    bar : ProgressBar
        Cleared before each result.
    max_pixels : int, optional
        Larger images fail.

    Yields
    ------
    index, outcome : int, Coded or Failed
        In the order of the sources.
    """
    from sadcodec import pool

    outcomes: dict[int, Outcome] = {}
    for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
        try:
            files.check_output(target, force=force, source=source)
        except OutputError as error:
            outcomes[index] = Failed(common.shown(target), str(error))
    left = [index for index in range(len(sources)) if index not in outcomes]
    executor = pool.LocalPool() if machine.executor is None else machine.executor
    workers = executor.shares(machine.jobs, len(left), machine.backend, machine.threads)
    tasks = _Tasks([sources[index] for index in left], options, executor.remote, max_pixels)
    if machine.executor is None and len(workers) == 1:
        # A single one works in this process, with a bar that moves within an image.
        results = _in_turn(tasks, workers[0], bar)
    else:
        results = _side_by_side(tasks, workers, executor, bar)
    following = 0
    for task, result in results:
        index = left[task]
        outcome = result
        if isinstance(result, Coded):
            try:
                files.write_output(targets[index], result.data, force=force)
            except OutputError as error:
                outcome = Failed(common.shown(targets[index]), str(error))
        outcomes[index] = outcome
        while following in outcomes:
            bar.clear()
            yield following, outcomes.pop(following)
            following += 1
    for index in sorted(outcomes):
        yield index, outcomes[index]


@dataclass(frozen=True)
class _Task:
    """An image to encode, with the content of its file where the worker cannot read it."""

    source: str
    options: dict[str, Any]
    content: bytes | Failed | None = None
    max_pixels: int | None = None


class _Tasks(Sequence[_Task]):
    """Tasks made when they are asked for: so many images are not in memory at once."""

    def __init__(
        self,
        sources: Sequence[str],
        options: dict[str, Any],
        remote: bool,
        max_pixels: int | None,
    ) -> None:
        self.sources = sources
        self._options = options
        self._remote = remote
        self._max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        source = self.sources[index]
        content = _content(source) if self._remote else None
        return _Task(source, self._options, content, self._max_pixels)


def _content(source: str) -> bytes | Failed:
    try:
        return files.read_input(source)
    except SadError as error:
        return _failed(source, error)


def _in_turn(tasks: _Tasks, share: Share, bar: ProgressBar) -> Iterator[tuple[int, Outcome]]:
    for index, task in enumerate(tasks):
        name = common.shown(task.source)

        def report(fraction: float, message: str, index: int = index, name: str = name) -> None:
            bar((index + fraction) / len(tasks), f"{name}: {message}")

        yield index, _encode(task, share, report)


def _side_by_side(
    tasks: _Tasks, workers: Sequence[Share], executor: Executor, bar: ProgressBar
) -> Iterator[tuple[int, Outcome]]:
    from sadcodec import pool

    bar(0.0, f"{len(tasks)} images, {len(workers)} at a time")
    for done, (index, result) in enumerate(executor.run(_encode, tasks, workers), 1):
        name = common.shown(tasks.sources[index])
        bar(done / len(tasks), name)
        yield index, Failed(name, result.cause) if isinstance(result, pool.Died) else result


def _encode(task: _Task, share: Share, progress: Progress | None = None) -> Outcome:
    """Encode one image; whatever is wrong with it becomes the outcome."""
    if isinstance(task.content, Failed):
        return task.content
    try:
        return encode_one(
            task.source,
            task.options,
            share.backend,
            share.threads,
            progress,
            task.content,
            task.max_pixels,
        )
    except (SadError, MemoryError) as error:
        return _failed(task.source, error)


def _failed(source: str, error: Exception) -> Failed:
    if isinstance(error, MemoryError):
        return Failed(common.shown(source), "not enough memory")
    return Failed(common.shown(source), str(error) or type(error).__name__)
