"""What a sweep is to measure: a task for every image, codec, value and repeat."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sadcodec import __version__, files
from sadcodec.errors import OptionError
from sadcodec.evaluate.codecs import PEERS, peer
from sadcodec.evaluate.measures import check_measure
from sadcodec.evaluate.peers import stem
from sadcodec.evaluate.row import KINDS, METRIC_COLUMNS, OURS, Row, printable

__all__ = ["DEFAULT_METRICS", "Options", "Task", "image_name", "plan"]

DEFAULT_METRICS = ("psnr", "ssim")
_LAST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Options:
    """How everything in a sweep is coded and measured.

    Attributes
    ----------
    metric, effort, seed, backend
        Of `sadcodec.encode`; repeat r has the seed ``seed + r``. Other codecs have none of these.
    metrics : tuple of str
        What is measured beside PSNR, see `sadcodec.evaluate.row.METRIC_COLUMNS`.
    max_pixels : int or None
        Larger images fail; None for the default of `sadcodec.image_io`. Changes no row else.
    """

    metric: str = "psnr"
    effort: int = 5
    seed: int = 0
    backend: str = "auto"
    metrics: tuple[str, ...] = DEFAULT_METRICS
    max_pixels: int | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics in a fixed order; PSNR always, without which no table could use a row."""
        return tuple(name for name in METRIC_COLUMNS if name in ("psnr", *self.metrics))


@dataclass(frozen=True)
class Task:
    """One row to be measured; can be pickled, and needs nothing but the image's file.

    Attributes
    ----------
    path : str
        Of the image; ``-`` is standard input.
    codec, kind, value, repeat
        As the columns of `Row`; the kind is its setting.
    options : Options
    codec_version : str
        As far as it is known beforehand.
    data : bytes or None
        The image's file. None: whoever does the task reads it.
    """

    path: str
    codec: str
    kind: str
    value: float
    repeat: int
    options: Options
    codec_version: str = ""
    data: bytes | None = None

    @property
    def seed(self) -> int:
        """Seed of this repeat."""
        return self.options.seed + self.repeat

    def row(self, width: int | None = None, height: int | None = None, **rest: Any) -> Row:
        """Return a row with the columns known beforehand, and those given."""
        ours = self.codec == OURS
        known: dict[str, Any] = {"codec_version": self.codec_version}
        return Row(
            image=image_name(self.path),
            width=width,
            height=height,
            codec=self.codec,
            setting=self.kind,
            value=float(self.value),
            effort=self.options.effort if ours else None,
            seed=self.seed if ours else None,
            backend=self.options.backend if ours else "",
            metric=self.options.metric if ours else "",
            repeat=self.repeat,
            measured=" ".join(self.options.measured),
            **(known | rest),
        )

    def with_data(self, data: bytes) -> Task:
        """Return the task with the image's file in it."""
        return dataclasses.replace(self, data=data)


def plan(
    paths: Iterable[str | os.PathLike[str]],
    kind: str,
    values: Sequence[float],
    options: Options,
    codecs: Sequence[str] = (OURS,),
    repeats: int = 1,
) -> list[Task]:
    """Return the tasks of a sweep: images, then codecs, values and repeats, in the order given.

    Parameters
    ----------
    paths : iterable of path
        Images; ``-`` is standard input. No two of them may have one name.
    kind : str
        What the values are: one of `KINDS`. Codecs other than ``sad`` have no sites.
    values : sequence of float
    options : Options
    codecs : sequence of str
        ``sad``, or of `sadcodec.evaluate.codecs.PEERS`.
    repeats : int, >= 1
        Of ``sad``, each with a seed of its own; other codecs depend on no seed and are run once.

    Raises
    ------
    OptionError
        If any of these is not as it must be.
    SadError
        If a codec or metric lacks what it needs on this machine.
    """
    names = [os.fspath(path) for path in paths]
    _check(names, kind, values, options, codecs, repeats)
    versions = {codec: _version(codec) for codec in codecs}
    for metric in options.measured:
        check_measure(metric)
    return [
        Task(path, codec, kind, float(value), repeat, options, versions[codec])
        for path in names
        for codec in codecs
        for value in values
        for repeat in range(repeats if codec == OURS else 1)
    ]


def _version(codec: str) -> str:
    return __version__ if codec == OURS else peer(codec).version


def _check(
    paths: Sequence[str],
    kind: str,
    values: Sequence[float],
    options: Options,
    codecs: Sequence[str],
    repeats: int,
) -> None:
    if kind not in KINDS:
        raise OptionError(f"the setting must be one of {', '.join(KINDS)}, not {kind}")
    if not values:
        raise OptionError("a sweep needs at least one value")
    if not codecs:
        raise OptionError("a sweep needs at least one codec")
    if repeats < 1:
        raise OptionError(f"repeats must be at least 1, not {repeats}")
    if options.seed + repeats - 1 > _LAST_SEED:
        raise OptionError(f"the last repeat's seed would be more than {_LAST_SEED}")
    unknown = [metric for metric in options.metrics if metric not in METRIC_COLUMNS]
    if unknown:
        known = ", ".join(METRIC_COLUMNS)
        raise OptionError(f"a metric must be one of {known}, not {unknown[0]!r}")
    for codec in codecs:
        if codec not in (OURS, *PEERS):
            raise OptionError(f"a codec must be one of {', '.join((OURS, *PEERS))}, not {codec!r}")
        if codec != OURS and kind == "sites":
            raise OptionError(f"{codec} has no sites")
    for what, items in (("codec", codecs), ("value", values), ("metric", options.metrics)):
        if len(set(items)) < len(items):
            raise OptionError(f"a {what} is named twice")
    _check_names(paths)


def _check_names(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        name = stem(image_name(path))
        if name in seen:
            both = f"{printable(seen[name])} and {printable(path)}"
            raise OptionError(f"{both} have one name: their rows could not be told apart")
        seen[name] = path


def image_name(path: str) -> str:
    """Return how rows name an image."""
    return "stdin" if path == files.STANDARD else printable(os.path.basename(path))
