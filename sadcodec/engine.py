"""The backend for a task: encoding and decoding choose differently."""

from __future__ import annotations

from sadcodec.backends import get_backend
from sadcodec.backends.base import Backend

__all__ = ["describe_backend", "engine_for", "load_backend"]


def load_backend(name: str = "auto", task: str = "encode") -> str:
    """Load a backend ahead of its use, to find out what is missing before any image is read.

    Parameters
    ----------
    name : str
        As for `encode` and `decode`.
    task : str
        What it is for, "encode" or "decode".

    Returns
    -------
    str
        The name of the backend: "auto" has become what it stands for.

    Raises
    ------
    OptionError
        If there is no backend of this name.
    BackendError
        If it cannot be loaded: one line with the cause.
    """
    return engine_for(name, None, task).name


def describe_backend(name: str, threads: int | None, task: str) -> str:
    """Return what a task runs on, for people: backend, instruction set, threads."""
    engine = engine_for(name, threads, task)
    instructions = getattr(engine, "instructions", None)
    count = f"{engine.threads} thread{'s' if engine.threads > 1 else ''}"
    return ", ".join(filter(None, (f"backend {engine.name}", instructions, count)))


def engine_for(name: str, threads: int | None, task: str) -> Backend:
    """Return the backend of a name for a task, as `load_backend`; with so many threads."""
    # Loading CuPy takes longer than drawing a photograph of 768 x 512 px does on the CPU.
    return get_backend("cpu" if name == "auto" and task == "decode" else name, threads)
