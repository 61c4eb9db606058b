"""How long a sweep still takes, from what its rows have taken so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sadcodec.evaluate.plan import Task
from sadcodec.evaluate.row import OURS

__all__ = ["Estimate", "duration"]

# Of another codec against `sad`, until a row of it is done: it codes an image several times to meet
# a rate, each in less than a second.
_OTHERS = 0.15


@dataclass
class _Group:
    """Tasks of one codec and value, which take about equally long."""

    codec: str
    left: int = 0
    done: int = 0
    timed: int = 0  # of those done
    seconds: float = 0.0  # of these


class Estimate:
    """Seconds left, and the share that is done.

    A row is taken to last as long as the mean of the rows of its codec and value that are done,
    else of its codec, else a share of what is known of other codecs.

    Parameters
    ----------
    tasks : sequence of Task
        All that are to be done.
    workers : int, >= 1
        How many are done at a time.

    Attributes
    ----------
    total : int
        Number of tasks.
    """

    def __init__(self, tasks: Sequence[Task], workers: int) -> None:
        self._workers = workers
        self.total = len(tasks)
        self._groups: dict[tuple[str, float], _Group] = {}
        for task in tasks:
            self._group(task).left += 1

    def _group(self, task: Task) -> _Group:
        return self._groups.setdefault((task.codec, task.value), _Group(task.codec))

    @property
    def done(self) -> int:
        """Number of tasks done."""
        return sum(group.done for group in self._groups.values())

    def add(self, task: Task, seconds: float | None) -> None:
        """Count a task as done; the seconds are None where they say nothing of the others."""
        group = self._group(task)
        group.left -= 1
        group.done += 1
        if seconds is not None:
            group.timed += 1
            group.seconds += seconds

    def seconds_left(self, under_way: Task | None = None, share: float = 0.0) -> float | None:
        """Seconds until the end; None as long as no row is done.

        Parameters
        ----------
        under_way : Task, optional
            One of those not done.
        share : float, 0..1
            What is done of it.
        """
        if not any(group.timed for group in self._groups.values()):
            return None
        left = sum(group.left for group in self._groups.values())
        return self._work_left(under_way, share) / max(1, min(self._workers, left))

    def share_done(self, under_way: Task | None = None, share: float = 0.0) -> float:
        """Share 0..1 of all work that is done, weighted by the seconds that rows take."""
        groups = self._groups.values()
        total = sum((group.left + group.done) * self._cost(group) for group in groups)
        return 1.0 - self._work_left(under_way, share) / total if total > 0 else 1.0

    def _work_left(self, under_way: Task | None, share: float) -> float:
        work = sum(group.left * self._cost(group) for group in self._groups.values())
        return work - (share * self._cost(self._group(under_way)) if under_way else 0.0)

    def _cost(self, group: _Group) -> float:
        """Seconds of a row; before any is done, in units of a row of `sad`."""
        if group.timed:
            return group.seconds / group.timed
        groups = self._groups.values()
        same = _mean(each for each in groups if each.codec == group.codec)
        if same is not None:
            return same
        ours = _mean(each for each in groups if each.codec == OURS)
        if ours is None:
            others = _mean(groups)
            ours = 1.0 if others is None else others / _OTHERS
        return ours * (1.0 if group.codec == OURS else _OTHERS)


def _mean(groups: Iterable[_Group]) -> float | None:
    pairs = [(group.seconds, group.timed) for group in groups]
    count = sum(timed for _, timed in pairs)
    return sum(seconds for seconds, _ in pairs) / count if count else None


def duration(seconds: float) -> str:
    """Return seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
