"""Ways to compute a diagram, chosen by name; `base` says what each of them offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadcodec.errors import BackendError, OptionError

if TYPE_CHECKING:
    from sadcodec.backends.base import Backend

__all__ = ["BACKENDS", "get_backend"]

BACKENDS = ("auto", "cpu", "reference")


def get_backend(name: str = "auto", threads: int | None = None) -> Backend:
    """Return a backend; only the one asked for is loaded.

    Parameters
    ----------
    name : str
        "cpu", "reference" (float64, very slow, for comparisons), or "auto": the fastest that this
        machine can run.
    threads : int, optional
        1..1024; all processors of the process by default. Has no influence on any result; the
        reference uses one.

    Returns
    -------
    Backend

    Raises
    ------
    OptionError
        If there is no backend of this name, or threads is out of range.
    BackendError
        If the backend cannot be loaded.

    Examples
    --------
    >>> get_backend("reference").name
    'reference'
    """
    if name not in BACKENDS:
        raise OptionError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")
    if threads is not None and not 1 <= threads <= 1024:
        raise OptionError(f"threads must be 1..1024, not {threads}")
    if name == "reference":
        from sadcodec.backends.reference import ReferenceBackend

        return ReferenceBackend()
    try:
        from sadcodec.backends.cpu import CpuBackend
    except ImportError as error:
        raise BackendError(f"the cpu backend cannot be loaded: {error}") from error
    return CpuBackend(threads)
