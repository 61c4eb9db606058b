"""Several tasks at a time: worker processes, each with a share of the machine.

A worker that dies takes only its own task with it: the task fails, another process takes the
worker's place, and the rest goes on. (A `concurrent.futures` pool would be broken as a whole, and
would not tell whose fault it was.)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from typing import Any, Protocol

from sadcodec.backends import resolve_backend
from sadcodec.processors import default_threads

__all__ = ["Died", "Executor", "LocalPool", "Share", "run", "shares"]

_SPAWN = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
_PATIENCE = 5.0  # seconds for a process to go after it was told to


@dataclass(frozen=True)
class Share:
    """What one worker may use.

    Attributes
    ----------
    backend : str
    threads : int or None
        As for `sadcodec.encode`.
    """

    backend: str
    threads: int | None


@dataclass(frozen=True)
class Died:
    """Stands for the result of a task whose worker died.

    Attributes
    ----------
    cause : str
        One line.
    """

    cause: str


class Executor(Protocol):
    """Where tasks are done: processes of this machine, or other machines.

    Attributes
    ----------
    remote : bool
        Whether its workers may lack the files of this machine: tasks then carry what they read.
    """

    remote: bool

    def shares(self, jobs: int, tasks: int, backend: str, threads: int | None) -> Sequence[Share]:
        """Return what each worker may use, as `sadcodec.pool.shares`."""
        ...

    def run(
        self, function: Callable[[Any, Share], Any], tasks: Sequence[Any], workers: Sequence[Share]
    ) -> Iterator[tuple[int, Any]]:
        """Call a function for every task, as `sadcodec.pool.run`; each is answered once."""
        ...


class LocalPool:
    """The executor of this machine: `shares` and `run` of this module."""

    remote = False

    def shares(self, jobs: int, tasks: int, backend: str, threads: int | None) -> list[Share]:
        """Divide the machine."""
        return shares(jobs, tasks, backend, threads)

    def run(
        self, function: Callable[[Any, Share], Any], tasks: Sequence[Any], workers: Sequence[Share]
    ) -> Iterator[tuple[int, Any]]:
        """Call a function for every task in worker processes."""
        return run(function, tasks, workers)


def shares(jobs: int, tasks: int, backend: str = "auto", threads: int | None = None) -> list[Share]:
    """Divide the machine.

    Parameters
    ----------
    jobs : int, >= 1
        Workers asked for.
    tasks : int
        There are no more workers than tasks.
    backend : str
        Of all of them. "cuda", and "auto" where that means a GPU, gives them the GPUs in turn.
    threads : int, optional
        Of each; by default an equal part of the processors.

    Returns
    -------
    list of Share
        One a worker; at least one.

    Raises
    ------
    BackendError
        If the GPUs are asked for and cannot be counted.
    """
    jobs = max(1, min(jobs, tasks))
    if jobs == 1:
        return [Share(backend, threads)]
    if threads is None:
        threads = max(1, default_threads() // jobs)
    backend = resolve_backend(backend)
    if backend != "cuda":
        return [Share(backend, threads)] * jobs
    from sadcodec.backends.cuda import device_count

    count = device_count()
    return [Share(f"cuda:{index % count}", threads) for index in range(jobs)]


def run(
    function: Callable[[Any, Share], Any], tasks: Sequence[Any], workers: Sequence[Share]
) -> Iterator[tuple[int, Any]]:
    """Call a function for every task in worker processes.

    Parameters
    ----------
    function : callable (task, share) -> result
        Of a module, as processes find it by its name; tasks and results are pickled.
    tasks : sequence
    workers : sequence of Share
        One process is started for each.

    Yields
    ------
    index, result : int, object
        Of each task, as they are done, in whatever order; `Died` as the result if the process was
        killed or crashed. Leaving the loop, by an exception as well, stops all processes at once.

    Raises
    ------
    Exception
        Whatever the function raises.
    """
    pending = list(enumerate(tasks))[::-1]
    everyone = [_Worker(function, share) for share in workers[: len(pending)]]
    idle = everyone[::-1]
    busy: dict[Any, _Worker] = {}
    try:
        while pending or busy:
            while pending and idle:
                worker = idle.pop()
                worker.send(*pending.pop())
                busy[worker.connection] = worker
            for ready in connection.wait(list(busy)):
                worker = busy.pop(ready)
                idle.append(worker)
                yield worker.receive()
        for worker in everyone:
            worker.finish()
    finally:
        for worker in everyone:
            worker.terminate()
        for worker in everyone:
            worker.bury()


class _Worker:
    """A process that computes one task at a time, started when there is one."""

    def __init__(self, function: Callable[[Any, Share], Any], share: Share) -> None:
        self._arguments = (function, share)
        self._process: Any = None
        self._index = -1
        self.connection: Any = None

    def send(self, index: int, task: Any) -> None:
        """Start a task."""
        self._index = index
        if self._process is None:
            self._start()
        with contextlib.suppress(BrokenPipeError):  # dead already: `receive` will tell
            self.connection.send(task)

    def receive(self) -> tuple[int, Any]:
        """Return the result of the task; blocks until there is one or the process is dead."""
        try:
            succeeded, result = self.connection.recv()
        except (EOFError, OSError):
            return self._index, Died(self.bury())
        if not succeeded:
            raise result
        return self._index, result

    def finish(self) -> None:
        """Let the process end: there are no more tasks."""
        if self._process is not None:
            self.connection.close()
            self._process.join(_PATIENCE)

    def terminate(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.terminate()

    def bury(self) -> str:
        """Wait for the end of the process and say how it ended; the next task starts another."""
        if self._process is None:
            return ""
        self.connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_PATIENCE)
        status = self._process.exitcode
        self._process = None
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                return f"its process was killed by {signal.Signals(-status).name}"
        return f"its process ended with status {status}"

    def _start(self) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        with _no_interrupts():
            self._process.start()
        theirs.close()  # so that the death of the process closes the pipe


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Block Ctrl-C for the processes started inside, from their first instruction on.

    A terminal sends it to all of them; the parent's is enough, and theirs would print tracebacks.
    The parent gets its own at the end of the block.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # A helper of multiprocessing, which unblocks the signal when it is started.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(tasks: Any, function: Callable[[Any, Share], Any], share: Share) -> None:
    """Compute tasks until there are no more, or nobody to compute them for."""
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = tasks.recv()
            try:
                answer = (True, function(task, share))
            except Exception as error:  # noqa: BLE001 (the parent raises it)
                answer = (False, _portable(error))
            tasks.send(answer)


def _portable(error: Exception) -> Exception:
    """Return an error as it can be sent to another process, with its trace as a note."""
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001 (anything may happen in a class's own methods)
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(trace)
    return error
