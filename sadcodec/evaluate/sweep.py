"""Encode and decode images at a list of targets, measuring the real bytes and the real picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from sadcodec import files, pool
from sadcodec.errors import OptionError, SadError
from sadcodec.evaluate import coding
from sadcodec.evaluate.coding import Outcome
from sadcodec.evaluate.estimate import Estimate, duration
from sadcodec.evaluate.peers import stem
from sadcodec.evaluate.plan import DEFAULT_METRICS, Options, Task, image_name, plan
from sadcodec.evaluate.row import KINDS, OURS, Row
from sadcodec.progress import Progress, rising

__all__ = ["KINDS", "Outcome", "Row", "measure", "run_sweep"]


def run_sweep(
    paths: Iterable[str | os.PathLike[str]],
    kind: str,
    values: Sequence[float],
    *,
    codecs: Sequence[str] = (OURS,),
    metrics: Sequence[str] = DEFAULT_METRICS,
    repeats: int = 1,
    metric: str = "psnr",
    effort: int = 5,
    seed: int = 0,
    threads: int | None = None,
    backend: str = "auto",
    jobs: int = 1,
    executor: pool.Executor | None = None,
    receive: Callable[[Row, bytes], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Code every image by every codec at every value.

    Parameters
    ----------
    paths : iterable of path
        Images; ``-`` is standard input.
    kind : str
        What the values are: one of `KINDS`.
    values : sequence of float
        Targets; a count is rounded to an integer.
    codecs, repeats
        As for `sadcodec.evaluate.plan.plan`.
    metrics : sequence of str
        What is measured, see `sadcodec.evaluate.row.METRIC_COLUMNS`; PSNR always is.
    metric, effort, seed, threads, backend
        As for `sadcodec.encode`; with more than one job, threads are those of each.
    jobs, executor, progress
        As for `measure`.
    receive : callable (row, data), optional
        Gets each row as it is measured with the bytes of the coded file; not called for failures.

    Yields
    ------
    Row
        Images in the order given; within an image codecs, values and repeats in the order given.
        What fails is a row with the error.

    Raises
    ------
    OptionError
        If an argument is not as it must be.
    SadError
        If a codec or metric lacks what it needs on this machine.
    """
    options = Options(metric, effort, seed, backend, tuple(metrics))
    tasks = plan(paths, kind, values, options, codecs, repeats)
    outcomes = measure(
        tasks, jobs=jobs, threads=threads, backend=backend, executor=executor, progress=progress
    )
    return _in_order(outcomes, receive)


def _in_order(
    outcomes: Iterable[tuple[int, Outcome]], receive: Callable[[Row, bytes], None] | None
) -> Iterator[Row]:
    waiting: dict[int, Row] = {}
    following = 0
    for index, outcome in outcomes:
        if receive is not None and not outcome.row.error:
            receive(outcome.row, outcome.data)
        waiting[index] = outcome.row
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def measure(
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    threads: int | None = None,
    backend: str = "auto",
    executor: pool.Executor | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Do tasks, several at a time.

    Parameters
    ----------
    tasks : sequence of Task
    jobs : int, >= 1
        Tasks done at a time, in processes of their own; see `sadcodec.pool.shares`. Of the rows,
        only the times depend on it.
    threads, backend
        Of all jobs, as for `sadcodec.pool.shares`.
    executor : Executor, optional
        Where the tasks are done; by default `sadcodec.pool.LocalPool`, or this process if there is
        one job.
    progress : callable (fraction 0..1, message), optional
        The message says how many rows are done and how long the rest may take.

    Yields
    ------
    index, outcome : int, Outcome
        Of each task, as they are done, in whatever order.

    Raises
    ------
    OptionError
        If jobs is less than 1.
    """
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    runner = pool.LocalPool() if executor is None else executor
    workers = runner.shares(jobs, len(tasks), backend, threads)
    progress = rising(progress)
    # A generator of its own, so that bad arguments are refused at the call.
    if executor is None and len(workers) == 1:
        return _in_turn(tasks, workers[0], progress)
    return _side_by_side(tasks, workers, runner, progress)


def _in_turn(
    tasks: Sequence[Task], share: pool.Share, progress: Progress | None
) -> Iterator[tuple[int, Outcome]]:
    estimate = Estimate(tasks, 1)
    tasks, failed = _loaded(tasks, remote=False)
    for index, task in enumerate(tasks):

        def report(fraction: float, _: str = "", task: Task = task) -> None:
            if progress is not None:
                progress(estimate.share_done(task, fraction), _message(estimate, task, fraction))

        report(0.0)
        outcome = failed[index] if index in failed else coding.do(task, share, report)
        estimate.add(task, None if outcome.row.error else outcome.seconds)
        yield index, outcome
    if progress is not None and tasks:
        progress(1.0, _message(estimate, tasks[-1]))


def _side_by_side(
    tasks: Sequence[Task],
    workers: Sequence[pool.Share],
    executor: pool.Executor,
    progress: Progress | None,
) -> Iterator[tuple[int, Outcome]]:
    estimate = Estimate(tasks, len(workers))
    tasks, failed = _loaded(tasks, remote=executor.remote)

    def report(task: Task) -> None:
        if progress is not None:
            progress(estimate.share_done(), _message(estimate, task))

    for index, outcome in failed.items():
        estimate.add(tasks[index], None)
        yield index, outcome
    left = [index for index in range(len(tasks)) if index not in failed]
    if left:
        report(tasks[left[0]])
    for nth, result in executor.run(coding.do, [tasks[index] for index in left], workers):
        index = left[nth]
        task = tasks[index]
        died = isinstance(result, pool.Died)
        outcome = Outcome(task.row(error=result.cause)) if died else result
        estimate.add(task, None if outcome.row.error else outcome.seconds)
        report(task)
        yield index, outcome


def _loaded(tasks: Sequence[Task], *, remote: bool) -> tuple[list[Task], dict[int, Outcome]]:
    """Return the tasks with the images that their worker cannot read, and those that fail here.

    Standard input is this process's own; remote workers do not see its files either.
    """
    loaded: dict[str, bytes | SadError] = {}
    ready = list(tasks)
    failed = {}
    for index, task in enumerate(tasks):
        if task.data is not None or not (remote or task.path == files.STANDARD):
            continue
        if task.path not in loaded:
            try:
                loaded[task.path] = files.read_input(task.path)
            except SadError as error:
                loaded[task.path] = error
        data = loaded[task.path]
        if isinstance(data, SadError):
            failed[index] = Outcome(task.row(error=coding.one_line(data)))
        else:
            ready[index] = task.with_data(data)
    return ready, failed


def _message(estimate: Estimate, task: Task, fraction: float = 0.0) -> str:
    """Return how far a sweep is; the last row done, or with one worker the one under way."""
    left = estimate.seconds_left(task if fraction else None, fraction)
    time = "" if left is None else f", {duration(left)} left"
    what = f"{stem(image_name(task.path))} {task.codec} {task.value:g} {task.kind}"
    return f"{estimate.done}/{estimate.total} rows{time}: {what}"
