"""Encode and decode images at a list of targets, measuring the real bytes and the real picture."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import __version__, codec, files, image_io, metrics, pool
from sadcodec.errors import InputError, OptionError, SadError

__all__ = ["KINDS", "Row", "run_sweep"]

KINDS = ("bpp", "psnr", "quality", "sites", "size")
_COUNTS = ("sites", "size")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Row:
    """One file coded, or one failure; the columns of the CSV, in this order.

    Attributes
    ----------
    image : str
        File name without folder; ``stdin`` for ``-``.
    width, height : int or None
        px; None if the image could not be read.
    codec : str
        ``sad``.
    setting : str
        What was asked for: one of `KINDS`.
    value : float
        How much of it: bits per pixel, dB, quality 0..100, sites, or bytes.
    effort, seed : int
    backend : str
        As asked for, ``auto`` included.
    metric : str
        What was optimized: "psnr" or "ssim".
    bytes : int or None
        Length of the whole file.
    bpp : float or None
        8 bytes / (width height).
    psnr_db : float or None
        Of the decoded file against the image, over all channels; inf if identical.
    ssim : float or None
        The same by `sadcodec.metrics.ssim`; None for images it does not take.
    fit_psnr_db : float or None
        Of the fitted diagram before quantization, as the encoder reports it.
    sites : int or None
    encode_s, decode_s : float or None
        Wall-clock seconds in this process, reading and writing of files excluded.
    error : str
        Empty, or one line; the measured columns are then None.
    version : str
        Of this package.
    """

    image: str
    width: int | None
    height: int | None
    codec: str
    setting: str
    value: float
    effort: int
    seed: int
    backend: str
    metric: str = "psnr"
    bytes: int | None = None
    bpp: float | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    fit_psnr_db: float | None = None
    sites: int | None = None
    encode_s: float | None = None
    decode_s: float | None = None
    error: str = ""
    version: str = __version__


def run_sweep(
    paths: Iterable[str | os.PathLike[str]],
    kind: str,
    values: Sequence[float],
    *,
    metric: str = "psnr",
    effort: int = 5,
    seed: int = 0,
    threads: int | None = None,
    backend: str = "auto",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Code every image at every value; rows come as they are measured.

    Parameters
    ----------
    paths : iterable of path
        Images; ``-`` is standard input.
    kind : str
        What the values are: one of `KINDS`.
    values : sequence of float
        Targets; a count is rounded to an integer.
    metric, effort, seed, threads, backend
        As for `sadcodec.encode`; with more than one job, threads are those of each.
    jobs : int, >= 1
        Images coded at a time, in processes of their own; see `sadcodec.pool.shares`. Of the rows,
        only the times depend on it.
    progress : callable (fraction 0..1, message), optional

    Yields
    ------
    Row
        Images in the order given, values within an image in the order given. An image that cannot
        be read yields one row per value, each with the error.

    Raises
    ------
    OptionError
        If kind is none of `KINDS`, there are no values, or jobs is less than 1.
    """
    if kind not in KINDS:
        raise OptionError(f"the setting must be one of {', '.join(KINDS)}, not {kind}")
    if not values:
        raise OptionError("a sweep needs at least one value")
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    sweep = _Sweep(kind, tuple(values), metric, effort, seed, backend)
    names = [os.fspath(path) for path in paths]
    workers = pool.shares(jobs, len(names), backend, threads)
    # Generators of their own, so that bad arguments are refused at the call.
    if len(workers) == 1:
        return _in_turn(sweep, names, workers[0], progress)
    return _side_by_side(sweep, names, workers, progress)


@dataclass(frozen=True)
class _Sweep:
    """What every image is coded at."""

    kind: str
    values: tuple[float, ...]
    metric: str
    effort: int
    seed: int
    backend: str  # as asked for; a worker has its own

    def row(self, name: str, value: float, image: NDArray[Any] | None, **rest: Any) -> Row:
        """Return a row with the columns known beforehand filled in."""
        return Row(
            image=name,
            width=None if image is None else image.shape[1],
            height=None if image is None else image.shape[0],
            codec="sad",
            setting=self.kind,
            value=float(value),
            metric=self.metric,
            effort=self.effort,
            seed=self.seed,
            backend=self.backend,
            **rest,
        )

    def failures(self, name: str, error: str) -> list[Row]:
        """Return the rows of an image of which nothing is known but an error."""
        return [self.row(name, value, None, error=error) for value in self.values]


def _name(path: str) -> str:
    return "stdin" if path == files.STANDARD else os.path.basename(path)


def _in_turn(
    sweep: _Sweep, paths: list[str], share: pool.Share, progress: Progress | None
) -> Iterator[Row]:
    for index, path in enumerate(paths):

        def report(fraction: float, message: str = "", index: int = index) -> None:
            if progress is not None:
                progress((index + fraction) / len(paths), message)

        yield from _rows(sweep, path, None, share, report)


def _side_by_side(
    sweep: _Sweep, paths: list[str], workers: list[pool.Share], progress: Progress | None
) -> Iterator[Row]:
    done: dict[int, list[Row]] = {}
    tasks = {}
    for index, path in enumerate(paths):
        try:  # standard input is this process's own
            data = files.read_input(path) if path == files.STANDARD else None
        except SadError as error:
            done[index] = sweep.failures(_name(path), _one_line(error))
        else:
            tasks[index] = (sweep, path, data)
    if progress is not None:
        progress(0.0, f"{len(paths)} images, {len(workers)} at a time")
    following = 0
    indices = list(tasks)
    for task, result in pool.run(_task, list(tasks.values()), workers):
        index = indices[task]
        name = _name(paths[index])
        died = isinstance(result, pool.Died)
        done[index] = sweep.failures(name, result.cause) if died else result
        if progress is not None:
            progress((following + len(done)) / len(paths), name)
        while following in done:
            yield from done.pop(following)
            following += 1
    for index in sorted(done):
        yield from done[index]


def _task(task: tuple[_Sweep, str, bytes | None], share: pool.Share) -> list[Row]:
    """Return the rows of one image, in a worker."""
    return list(_rows(*task, share, lambda *_: None))


def _rows(
    sweep: _Sweep, path: str, data: bytes | None, share: pool.Share, progress: Progress
) -> Iterator[Row]:
    """Return the rows of one image; its file is read if the data is not given."""
    name = _name(path)
    try:
        image = image_io.decode_image(files.read_input(path) if data is None else data)
    except (SadError, MemoryError) as error:
        yield from sweep.failures(name, _one_line(error))
        return
    options = {
        "metric": sweep.metric,
        "effort": sweep.effort,
        "seed": sweep.seed,
        "threads": share.threads,
        "backend": share.backend,
    }
    count = len(sweep.values)
    for index, value in enumerate(sweep.values):

        def report(fraction: float, message: str = "", index: int = index) -> None:
            progress((index + fraction) / count, message)

        report(0.0, f"{name} at {value:g} {sweep.kind}")
        try:
            measured = _measure(image, sweep.kind, value, options, report)
        except (SadError, MemoryError) as error:
            yield sweep.row(name, value, image, error=_one_line(error))
        else:
            yield sweep.row(name, value, image, **measured)


def _measure(
    image: NDArray[Any], kind: str, value: float, options: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Return the measured columns of one row."""
    target: dict[str, Any] = {kind: round(value) if kind in _COUNTS else value}
    start = time.perf_counter()
    data, report = codec.encode_with_report(image, **target, **options, progress=progress)
    encoded = time.perf_counter()
    decoded = codec.decode(data, backend=options["backend"], threads=options["threads"])
    end = time.perf_counter()
    original = image[:, :, None] if image.ndim == 2 else image
    try:
        similarity = metrics.ssim(original, decoded)
    except InputError:  # smaller than its window
        similarity = None
    return {
        "bytes": len(data),
        "bpp": 8 * len(data) / (original.shape[0] * original.shape[1]),
        "psnr_db": metrics.psnr(original, decoded),
        "ssim": similarity,
        "fit_psnr_db": _number(report.fit_psnr),
        "sites": report.sites,
        "encode_s": encoded - start,
        "decode_s": end - encoded,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _one_line(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    return " ".join(str(error).split()) or type(error).__name__
