"""Silence for warnings of other packages, also where several threads ask for it at once."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

__all__ = ["without_warnings"]


class _Silence:
    """The only state: how many are inside, and the filters as they were before the first."""

    lock = threading.Lock()
    inside = 0
    before: warnings.catch_warnings[None] | None = None


@contextlib.contextmanager
def without_warnings(module: str = "") -> Iterator[None]:
    """Ignore the warnings that come from some modules.

    ``warnings.catch_warnings`` alone changes filters of the whole process: of two threads that are
    inside at once, the second to leave would set those of the first for good. Here the last one to
    leave restores what was there before the first.

    Parameters
    ----------
    module : str
        Regular expression that the start of a module's name matches; by default all.
    """
    with _Silence.lock:
        if _Silence.inside == 0:
            _Silence.before = warnings.catch_warnings()
            _Silence.before.__enter__()
        _Silence.inside += 1
        warnings.filterwarnings("ignore", module=module)
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.inside -= 1
            if _Silence.inside == 0 and _Silence.before is not None:
                _Silence.before.__exit__(None, None, None)
                _Silence.before = None
