"""What a command reports if asked: ``--json``, and ``--verbose`` with the time of each stage."""

from __future__ import annotations

from time import perf_counter

import click

from sadcodec import __version__
from sadcodec.cli import common
from sadcodec.cli.parameters import F
from sadcodec.progress import Progress


def json_option(command: F) -> F:
    """``--json`` of a command with one output."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Report one line of JSON on stdout (stderr if OUT is -).",
    )(command)


def verbose_option(command: F) -> F:
    """``--verbose``."""
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Report backend, threads, sites and the time of each stage on stderr.",
    )(command)


def tell_machine(backend: str, threads: int | None, task: str, verbose: bool) -> None:
    """Say which version works, and on what."""
    if not verbose:
        return
    from sadcodec import codec

    with common.blame(backend):
        machine = codec.describe_backend(backend, threads, task)
    common.note(f"sad: version {__version__}, {machine}", False)


class Stages:
    """Times the stages that a progress callback is told of.

    Use it as the ``progress`` of `sadcodec.encode`; the calls are passed on.

    Parameters
    ----------
    onward : callable, optional
        Called with the same fraction and message.
    """

    def __init__(self, onward: Progress | None = None) -> None:
        self._onward = onward
        self._seconds: dict[str, float] = {}
        self._since = perf_counter()
        self._stage = "starting"

    def __call__(self, fraction: float, message: str) -> None:
        """Note that the stage `message` is running now."""
        self.enter(message)
        if self._onward is not None:
            self._onward(fraction, message)

    def enter(self, stage: str) -> None:
        """Count the time from now on as this stage's."""
        now = perf_counter()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._since, self._stage = now, stage

    def text(self) -> str:
        """Return the stages in their order, with milliseconds; ends the one that is running."""
        self.enter("")
        return ", ".join(
            f"{stage} {1000 * seconds:.0f} ms" for stage, seconds in self._seconds.items() if stage
        )
