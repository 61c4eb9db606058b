"""Signals that end the command: what it was writing is taken back first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")  # SIGINT is Python's own: KeyboardInterrupt


class Ended(BaseException):
    """A signal asked for the end.

    Attributes
    ----------
    status : int
        Exit status: 128 + number of the signal, as shells report it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `Ended` inside on the first SIGTERM or SIGHUP; a second one ends the process at once.

    A signal that is ignored (nohup) or handled already is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        release()
        raise Ended(number)

    def release() -> None:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)

    try:
        for number in taken:
            signal.signal(number, end)
        yield
    finally:
        release()
