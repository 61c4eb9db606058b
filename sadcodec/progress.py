"""Progress: the callback that long calls take, and a one-line bar for a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

__all__ = ["Progress", "ProgressBar", "rising"]

Progress = Callable[[float, str], None]  # share of the work, 0..1, and what is being done

_WIDTH = 24  # characters of the bar itself
_INTERVAL = 0.05  # seconds between two drawings: more often only costs time


def rising(progress: Progress | None) -> Progress | None:
    """Return the callback such that its share never falls, also where work starts anew."""
    if progress is None:
        return None
    highest = 0.0

    def call(share: float, message: str) -> None:
        nonlocal highest
        highest = max(highest, share)
        progress(highest, message)

    return call


class ProgressBar:
    """Draws ``[####....]  42 % message`` over itself; draws nothing when not enabled.

    An instance is the ``progress`` argument of :func:`sadcodec.encode`: call it with a
    fraction in 0..1 and a short message. Leaving the ``with`` block wipes the line.

    Parameters
    ----------
    enabled : bool or None
        None: only when the stream is a terminal.
    stream : text file or None
        None: standard error.
    """

    def __init__(self, enabled: bool | None = None, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        if enabled is None:
            enabled = self._stream is not None and self._stream.isatty()
        self._enabled = enabled
        self._drawn = 0  # length of the line on the screen
        self._last = -1.0

    def __call__(self, fraction: float, message: str = "") -> None:
        """Show progress; calls that follow each other too fast are dropped."""
        if not self._enabled:
            return
        now = time.monotonic()
        if self._drawn and fraction < 1.0 and now - self._last < _INTERVAL:
            return
        self._last = now
        fraction = min(max(fraction, 0.0), 1.0)
        filled = round(fraction * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        # A wrapped line could not be wiped, hence the cut to a small terminal's width.
        line = f"[{bar}] {100 * fraction:3.0f} % {message}"[:79]
        self._put("\r" + line + " " * (self._drawn - len(line)))
        self._drawn = len(line)

    def clear(self) -> None:
        """Wipe the line, so that something else can be printed."""
        if self._drawn:
            self._put("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._enabled = False  # a bar that cannot be seen must not stop the work

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
