"""How many threads to use when nobody says."""

from __future__ import annotations

import os

__all__ = ["default_threads"]


def default_threads() -> int:
    """Return the number of processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1
