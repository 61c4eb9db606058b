"""The connection to the scheduler of a Dask cluster: its address, the client, who does not answer.

Like `sadcodec.cluster` it imports dask only when a cluster is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import re
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

from sadcodec.errors import ClusterError, OptionError

__all__ = ["check_address", "connected", "dask_distributed", "first_line"]

_CLOSING = 5.0  # seconds for a farewell
_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:[0-9]{1,5}")
_LOGGERS = ("distributed", "distributed.client", "distributed.comm", "distributed.core")


def check_address(address: str) -> None:
    """Raise an OptionError if an address of a scheduler is not of the form tcp://HOST:PORT."""
    if not _ADDRESS.fullmatch(address):
        raise OptionError(f"{address!r} is not tcp://HOST:PORT")


@contextlib.contextmanager
def connected(address: str, seconds: float) -> Iterator[Any]:
    """Yield a client of Dask, which logs and warns of nothing, and close it at the end.

    Parameters
    ----------
    address : str
    seconds : float
        For the scheduler to answer.

    Raises
    ------
    ClusterError
        If distributed is not installed, or the scheduler does not answer.
    """
    distributed = dask_distributed()
    with _quiet():
        _probe(address, seconds)
        try:
            client = distributed.Client(address, timeout=seconds, set_as_default=False)
        except (OSError, ImportError) as error:
            raise ClusterError(first_line(error)) from error
        try:
            yield client
        finally:
            # Whatever is wrong with a cluster by now, the results are here.
            with contextlib.suppress(Exception):
                client.close(timeout=_CLOSING)


def dask_distributed() -> Any:
    """Return Dask's module `distributed`; ClusterError if it is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(
            f"needs distributed: pip install 'sadcodec[distributed]' ({first_line(error)})"
        ) from error
    return distributed


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _probe(address: str, seconds: float) -> None:
    """Raise a ClusterError unless a scheduler answers.

    A client of Dask waits for ever for a port that accepts connections and says nothing, and is
    not easily got rid of once it could not connect.
    """
    from distributed import Security
    from distributed.comm import connect

    async def greet() -> None:
        arguments = Security().get_connection_args("client")
        comm = await asyncio.wait_for(connect(address, timeout=seconds, **arguments), seconds)
        comm.abort()

    errors: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            asyncio.run(greet())
        except Exception as error:  # noqa: BLE001 (raised below)
            errors.put(error)
        else:
            errors.put(None)

    # A thread, as there may be an event loop in this one: that of a notebook.
    threading.Thread(target=run, daemon=True).start()
    start = time.monotonic()
    error = errors.get()
    if error is not None and time.monotonic() > start + 0.9 * seconds:
        raise ClusterError(f"no scheduler has answered within {seconds:g} s") from error
    if error is not None:
        raise ClusterError(f"no connection to a scheduler: {first_line(error)}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's client from logging and warning: what matters becomes an error."""
    from distributed.versions import VersionMismatchWarning

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
