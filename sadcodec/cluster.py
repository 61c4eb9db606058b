"""Tasks on the workers of a Dask cluster: the executor of ``--scheduler``.

A task goes out as a pickled call and comes back as a pickled result: neither the scheduler nor the
network between needs this package. Dask does a task again whose worker died; here each is answered
once, whatever happened in between.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import pickle
import pkgutil
import queue
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from sadcodec import __version__
from sadcodec.backends import get_backend
from sadcodec.cluster_connection import check_address, connected, dask_distributed, first_line
from sadcodec.errors import ClusterError
from sadcodec.pool import Died, Share

__all__ = ["CONNECTING", "PATIENCE", "Cluster", "check_address"]

CONNECTING = 10.0  # seconds for the scheduler to answer
PATIENCE = 60.0  # seconds without a single worker, at the start or later, until it is an error
_TICK = 1.0  # seconds between looks at who is there


class Cluster:
    """The executor of a Dask cluster; a context manager, connected inside.

    A worker of T threads does T tasks at a time, each with one thread unless told otherwise.

    Parameters
    ----------
    address : str
        Of the scheduler, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``. Certificates are those of the
        Dask configuration (``distributed.comm.tls``).
    connecting : float, optional
        Seconds for the scheduler to answer; 10 by default.
    patience : float
        Seconds without a single worker until it is an error.

    Raises
    ------
    OptionError
        If the address is not of this form.
    ClusterError
        On entering: if distributed is not installed, or the scheduler does not answer.

    Examples
    --------
    >>> with Cluster("tcp://head:8786") as cluster:  # doctest: +SKIP
    ...     cluster.check()
    ...     rows = list(run_sweep(paths, "bpp", [0.5], executor=cluster))
    """

    remote = True

    def __init__(
        self, address: str, *, connecting: float | None = None, patience: float = PATIENCE
    ) -> None:
        check_address(address)
        self._address = address
        self._connecting = CONNECTING if connecting is None else connecting
        self._patience = patience
        self._alone_since: float | None = None
        self._lost = _LOST
        self._seen: dict[str, int] = {}  # number of threads by worker
        self._open = contextlib.ExitStack()
        self._client: Any = None

    def __enter__(self) -> Self:
        self._client = self._open.enter_context(connected(self._address, self._connecting))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def check(self, backend: str = "auto") -> None:
        """Wait for a worker, and see that all that are there can do what is asked for.

        Parameters
        ----------
        backend : str
            As for `sadcodec.encode`.

        Raises
        ------
        ClusterError
            If no worker comes, or one lacks this version of this package, or the backend.
        """
        self._compare()
        while not self._threads():
            time.sleep(0.1)
        # Of the standard library, so that a worker without this package can answer as well.
        for worker, found in self._ask(pkgutil.resolve_name, f"{__package__}:__version__"):
            if found != __version__:
                what = "has no" if isinstance(found, Exception) else f"has version {found} of"
                cause = f" ({first_line(found)})" if isinstance(found, Exception) else ""
                raise ClusterError(
                    f"the worker {worker} {what} sadcodec{cause}; {__version__} is needed"
                )
        for worker, found in self._ask(_load, backend):
            if isinstance(found, Exception):
                raise ClusterError(f"the worker {worker}: {first_line(found)}")

    def _compare(self) -> None:
        """Note another version of Dask, which may go well, and may end in a lost connection."""
        try:
            found = self._client.get_versions()
        except (OSError, concurrent.futures.CancelledError) as error:
            raise ClusterError(self._lost) from error
        here, there = (found[who]["packages"]["distributed"] for who in ("client", "scheduler"))
        if here != there:
            self._lost = f"{_LOST}; it has distributed {there}, not {here}"

    def shares(
        self,
        jobs: int,  # noqa: ARG002 (the workers say how many)
        tasks: int,
        backend: str,
        threads: int | None,
    ) -> list[Share]:
        """Return what each task may use: as many as are done at a time now, at least one.

        Parameters
        ----------
        jobs : int
            Without meaning here: as many as the workers have threads.
        tasks : int
            There are no more shares than tasks.
        backend : str
            Each worker finds out for itself what "auto" is.
        threads : int, optional
            Of each task; 1 by default, as a worker does one for each of its threads.
        """
        at_a_time = sum(self._threads().values()) if tasks else 0
        return [Share(backend, threads or 1)] * max(1, min(at_a_time, tasks))

    def run(
        self, function: Callable[[Any, Share], Any], tasks: Sequence[Any], workers: Sequence[Share]
    ) -> Iterator[tuple[int, Any]]:
        """Call a function for every task on the workers.

        Parameters
        ----------
        function : callable (task, share) -> result
            Of a module that the workers have; tasks and results are pickled.
        tasks : sequence
            An item is asked for when it is sent. One for each thread of the workers and one more
            for each worker are under way at a time.
        workers : sequence of Share
            Of `shares`. Workers may come and go.

        Yields
        ------
        index, result : int, object
            Of each task once, as they are done, in whatever order. `Died` as the result if more
            workers died doing it than the scheduler allows (its ``allowed-failures``, 3). Leaving
            the loop cancels what is not done.

        Raises
        ------
        ClusterError
            If the scheduler is gone, there is no worker any more, or one lacks this package.
        Exception
            Whatever the function raises.
        """
        pending = iter(range(len(tasks)))
        answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        under_way: dict[int, Any] = {}
        run = uuid.uuid4().hex
        limit, looked = self._limit(1), time.monotonic()
        try:
            while True:
                while len(under_way) < limit and (index := next(pending, None)) is not None:
                    call = _Call(function, tasks[index], workers[0])
                    under_way[index] = self._send(f"sad-{run}-{index}", index, call, answers)
                if not under_way:
                    return
                try:
                    index, data, error = answers.get(timeout=_TICK)
                except queue.Empty:
                    pass
                else:
                    future = under_way.pop(index)
                    if error is not None:
                        yield index, _died(future, error, self._lost)
                    else:
                        yield index, pickle.loads(data)  # noqa: S301
                if time.monotonic() > looked + _TICK:
                    limit, looked = self._limit(limit), time.monotonic()
        finally:
            for future in under_way.values():
                future.release()

    def _send(self, key: str, index: int, call: _Call, answers: queue.SimpleQueue[_Answer]) -> Any:
        """Send a call, whose answer is put into a queue."""
        import dask

        # A call is one argument of bytes, on which Dask would warn from 10 MB on.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            future = self._client.submit(pickle.loads, pickle.dumps(call), key=key, pure=False)

        async def wait() -> None:
            try:
                (data,) = await self._client.gather([future], asynchronous=True)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (for the caller)
                answers.put((index, b"", error))
            else:
                answers.put((index, data, None))

        self._client.loop.add_callback(wait)
        return future

    def _limit(self, before: int) -> int:
        """Return how many tasks may be under way; as before while there is no worker.

        Goes by the last look, and starts another: a scheduler that is gone is not waited for.
        """
        threads = self._judged(self._seen)
        self._client.loop.add_callback(self._look)
        return sum(threads.values()) + len(threads) if threads else before

    async def _look(self) -> None:
        with contextlib.suppress(OSError, concurrent.futures.CancelledError):
            self._seen = dict(await self._client.nthreads(asynchronous=True))

    def _threads(self) -> dict[str, int]:
        """Return the workers' numbers of threads; an error if there has been none for too long."""
        try:
            self._seen = dict(self._client.nthreads())
        except (OSError, concurrent.futures.CancelledError) as error:
            raise ClusterError(self._lost) from error
        return self._judged(self._seen)

    def _judged(self, threads: dict[str, int]) -> dict[str, int]:
        if threads:
            self._alone_since = None
            return threads
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        if now > self._alone_since + self._patience:
            raise ClusterError(f"the scheduler has had no worker for {self._patience:g} s")
        return {}

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> list[tuple[str, Any]]:
        """Call a function once in each worker's process; an exception stands for a result."""
        try:
            found = self._client.run(function, *arguments, on_error="return")
        except (OSError, concurrent.futures.CancelledError) as error:
            raise ClusterError(self._lost) from error
        return sorted(found.items())


_Answer = tuple[int, bytes, BaseException | None]
_LOST = "the connection to the scheduler was lost"


def _died(future: Any, error: BaseException, lost: str) -> Died:
    """Return what an error stands for if that is the death of workers; raise it otherwise."""
    if future.status != "error":  # not the task's own: its result could not be had
        reason = getattr(error, "reason", "")
        if reason in ("", "unknown", "scheduler-connection-lost"):
            raise ClusterError(lost) from error
        raise ClusterError(f"the work was cancelled: {reason}") from error
    if isinstance(error, dask_distributed().KilledWorker):
        deaths = error.allowed_failures + 1
        return Died("its worker died" if deaths == 1 else f"{deaths} workers died doing it")
    if isinstance(error, ImportError):  # of a worker that came later than the check
        raise ClusterError(f"a worker cannot load sadcodec ({first_line(error)})") from error
    if type(error).__module__.startswith("distributed"):
        raise ClusterError(first_line(error)) from error
    raise error


class _Call:
    """A call that is made when it is unpickled, with the pickled result in its place.

    So the only function that Dask has to know is one of the standard library. Its scheduler looks
    at functions and arguments, and need neither have this package nor see images.
    """

    def __init__(self, function: Callable[[Any, Share], Any], task: Any, share: Share) -> None:
        self._arguments = (__version__, function, task, share)

    def __reduce__(self) -> tuple[Callable[..., bytes], tuple[Any, ...]]:
        return _perform, self._arguments


def _perform(version: str, function: Callable[[Any, Share], Any], task: Any, share: Share) -> bytes:
    """Do a task, in a worker."""
    if version != __version__:  # of a worker that came later than the check
        raise ClusterError(
            f"the worker on {socket.gethostname()} has version {__version__} of sadcodec; "
            f"{version} is needed"
        )
    return pickle.dumps(function(task, share))


def _load(backend: str) -> None:
    """Load a backend, in a worker."""
    get_backend(backend)
