"""Ways to compute a diagram, chosen by name; `base` says what each of them offers."""

from __future__ import annotations

import functools
import re
import warnings
from typing import TYPE_CHECKING

from sadcodec.errors import BackendError, BackendWarning, OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from sadcodec.backends.base import Backend
    from sadcodec.backends.points import PointSession
    from sadcodec.sites import Sites

__all__ = ["BACKENDS", "at_points", "get_backend", "resolve_backend", "sample"]

BACKENDS = ("auto", "cpu", "cuda", "reference")


def get_backend(name: str = "auto", threads: int | None = None) -> Backend:
    """Return a backend; only the one asked for is loaded.

    Parameters
    ----------
    name : str
        "cpu"; "cuda", the first GPU, or "cuda:N", GPU number N from 0; "reference" (float64, very
        slow, for comparisons); or "auto": a GPU if CuPy is installed and there is one, else the
        CPU. If CuPy is installed and the GPU cannot be used all the same, "auto" gives a
        `BackendWarning` with the cause, once in a process.
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
        If the backend cannot be loaded: one line with what is missing.

    Examples
    --------
    >>> get_backend("reference").name
    'reference'
    """
    _check(name)
    if threads is not None and not 1 <= threads <= 1024:
        raise OptionError(f"threads must be 1..1024, not {threads}")
    name = resolve_backend(name)
    if name == "reference":
        from sadcodec.backends.reference_backend import ReferenceBackend

        return ReferenceBackend()
    if name != "cpu":
        try:
            return _cuda(int(name.partition(":")[2] or 0), threads)
        except BackendError as error:
            raise BackendError(f"backend {name}: {error}") from error
    try:
        from sadcodec.backends.cpu import CpuBackend
    except ImportError as error:
        raise BackendError(f"backend cpu: it cannot be loaded: {error}") from error
    return CpuBackend(threads)


def sample(sites: Sites, points: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return the colours of a diagram at points: see `sadcodec.backends.reference_sample`."""
    from sadcodec.backends.reference_sample import sample as by_definition

    return by_definition(sites, points, k)


def at_points(
    sites: Sites, points: ArrayLike, k: int = 8, threads: int | None = None
) -> PointSession:
    """Return forward and backward passes at points: see `sadcodec.backends.points`."""
    from sadcodec.backends.points import PointSession
    from sadcodec.processors import default_threads

    return PointSession(sites.params, points, k, threads or default_threads())


def resolve_backend(name: str = "auto") -> str:
    """Return what a name stands for on this machine: "cpu" or "cuda" for "auto", others as given.

    Raises
    ------
    OptionError
        If there is no backend of this name.
    """
    _check(name)
    return _fastest() if name == "auto" else name


def _check(name: str) -> None:
    if name not in BACKENDS and not re.fullmatch(r"cuda:[0-9]{1,4}", name):
        names = ", ".join((*BACKENDS, "cuda:N"))
        raise OptionError(f"unknown backend {name!r}; there are {names}")


@functools.cache  # one attempt and one warning in a process
def _fastest() -> str:
    from sadcodec.backends.cuda import cupy_installed

    if not cupy_installed():
        return "cpu"
    try:
        _cuda(0, None)
    except BackendError as error:
        # 7: who called sadcodec.encode
        warnings.warn(f"using the CPU: {error}", BackendWarning, stacklevel=7)
        return "cpu"
    return "cuda"


def _cuda(device: int, threads: int | None) -> Backend:
    from sadcodec.backends.cuda import open_runtime

    runtime = open_runtime(device)
    try:
        from sadcodec.backends.cuda_backend import CudaBackend
    except ImportError as error:
        raise BackendError(f"it cannot be loaded: {error}") from error
    return CudaBackend(runtime, threads)
