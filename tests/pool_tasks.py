"""What the tests let workers do: a worker imports this module, not the tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from sadcodec.errors import OptionError
from sadcodec.pool import Share


class Unportable(Exception):  # noqa: N818
    """Cannot be rebuilt from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def work(task: tuple[str, Any], share: Share) -> Any:
    """Do one thing, by name."""
    name, value = task
    if name == "kill once" and Path(value).exists():
        return "done again"
    if name == "square":
        time.sleep(0.02 * value)
        return value * value
    if name == "share":
        return os.getpid(), share
    if name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "kill once":
        Path(value).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit":
        os._exit(value)
    if name == "sleep":
        time.sleep(60)
    if name == "refuse":
        raise OptionError(value)
    if name == "unportable":
        raise Unportable("this", "that")
    raise AssertionError(name)
