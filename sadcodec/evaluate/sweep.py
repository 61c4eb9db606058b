"""Encode and decode images at a list of targets, measuring the real bytes and the real picture."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import __version__, codec, files, image_io, metrics
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
    effort: int = 5,
    seed: int = 0,
    threads: int | None = None,
    backend: str = "auto",
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
    effort, seed, threads, backend
        As for `sadcodec.encode`.
    progress : callable (fraction 0..1, message), optional

    Yields
    ------
    Row
        Images in the order given, values within an image in the order given. An image that cannot
        be read yields one row per value, each with the error.

    Raises
    ------
    OptionError
        If kind is none of `KINDS` or there are no values.
    """
    if kind not in KINDS:
        raise OptionError(f"the setting must be one of {', '.join(KINDS)}, not {kind}")
    if not values:
        raise OptionError("a sweep needs at least one value")
    options = {"effort": effort, "seed": seed, "threads": threads, "backend": backend}
    # A generator of its own, so that bad arguments are refused at the call.
    return _rows([os.fspath(path) for path in paths], kind, values, options, progress)


def _rows(
    paths: list[str],
    kind: str,
    values: Sequence[float],
    options: dict[str, Any],
    progress: Progress | None,
) -> Iterator[Row]:
    total = len(paths) * len(values)
    for index, path in enumerate(paths):
        name = "stdin" if path == files.STANDARD else os.path.basename(path)
        image: NDArray[Any] | None = None
        unreadable = ""
        try:
            image = image_io.decode_image(files.read_input(path))
        except (SadError, MemoryError) as error:
            unreadable = _one_line(error)
        for j, value in enumerate(values):
            done = index * len(values) + j
            empty = {
                "image": name,
                "width": None if image is None else image.shape[1],
                "height": None if image is None else image.shape[0],
                "codec": "sad",
                "setting": kind,
                "value": float(value),
                **{key: options[key] for key in ("effort", "seed", "backend")},
            }
            if image is None:
                yield Row(**empty, error=unreadable)
                continue

            def report(fraction: float, message: str = "", done: int = done) -> None:
                if progress is not None:
                    progress((done + fraction) / total, message)

            report(0.0, f"{name} at {value:g} {kind}")
            try:
                measured = _measure(image, kind, value, options, report)
            except (SadError, MemoryError) as error:
                yield Row(**empty, error=_one_line(error))
            else:
                yield Row(**empty, **measured)


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
