"""One task of a sweep: read the image, code it, decode the file, measure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import codec, files, image_io
from sadcodec.errors import SadError
from sadcodec.evaluate.codecs import peer
from sadcodec.evaluate.measures import measure
from sadcodec.evaluate.plan import Task
from sadcodec.evaluate.row import METRIC_COLUMNS, OURS, Row, printable
from sadcodec.pool import Share
from sadcodec.progress import Progress

__all__ = ["Outcome", "do", "one_line"]


_COUNTS = ("sites", "size")


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes
    ----------
    row : Row
    data : bytes
        The coded file; empty if there is none.
    seconds : float
        Of the whole task, measuring included.
    """

    row: Row
    data: bytes = b""
    seconds: float = 0.0


def do(task: Task, share: Share, progress: Progress | None = None) -> Outcome:
    """Do a task; whatever is wrong with the image or the target becomes the row's error.

    Parameters
    ----------
    task : Task
    share : Share
        Backend and threads of ``sad``.
    progress : callable (fraction 0..1, message), optional
        Of this row.
    """
    start = time.perf_counter()
    size: tuple[int, ...] = ()
    try:
        image = image_io.decode_image(
            files.read_input(task.path) if task.data is None else task.data,
            max_pixels=task.options.max_pixels,
        )
        size = (image.shape[1], image.shape[0])
        original = image[:, :, None] if image.ndim == 2 else image
        code = _code_ours if task.codec == OURS else _code_other
        data, decoded, columns = code(task, image, share, progress)
        columns["bytes"] = len(data)
        columns["bpp"] = 8 * len(data) / (size[0] * size[1])
        for name in task.options.measured:
            columns[METRIC_COLUMNS[name]] = _number(measure(name, original, decoded))
    except (SadError, MemoryError) as error:
        row = task.row(*size, error=one_line(error))
        return Outcome(row, seconds=time.perf_counter() - start)
    return Outcome(task.row(*size, **columns), data, time.perf_counter() - start)


def one_line(error: Exception) -> str:
    """Return the cause of a failure as a row has it."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    return printable(" ".join(str(error).split())) or type(error).__name__


Coded = tuple[bytes, NDArray[Any], dict[str, Any]]  # file, decoded picture, columns


def _code_ours(task: Task, image: NDArray[Any], share: Share, progress: Progress | None) -> Coded:
    options = task.options
    start = time.perf_counter()
    data, report = codec.encode_with_report(
        image,
        **_target(task),
        metric=options.metric,
        effort=options.effort,
        seed=task.seed,
        threads=share.threads,
        backend=share.backend,
        progress=progress,
    )
    encoded = time.perf_counter()
    decoded = codec.decode(
        data, backend=share.backend, threads=share.threads, max_pixels=options.max_pixels
    )
    end = time.perf_counter()
    columns = {
        "fit_psnr_db": _number(report.fit_psnr),
        "sites": report.sites,
        "encode_s": encoded - start,
        "decode_s": end - encoded,
    }
    return data, decoded, columns


def _code_other(
    task: Task,
    image: NDArray[Any],
    share: Share,  # noqa: ARG001 (other codecs have neither backends nor threads of ours)
    progress: Progress | None,
) -> Coded:
    other = peer(task.codec)
    coded = other.code(image, task.kind, _target(task)[task.kind], progress=progress)
    decoded = coded.decoded[:, :, None] if coded.decoded.ndim == 2 else coded.decoded
    columns = {
        "encode_s": coded.encode_s,
        "decode_s": coded.decode_s,
        "detail": printable(coded.detail),
        "codec_version": other.version,
    }
    return coded.data, decoded, columns


def _target(task: Task) -> dict[str, Any]:
    return {task.kind: round(task.value) if task.kind in _COUNTS else task.value}


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
