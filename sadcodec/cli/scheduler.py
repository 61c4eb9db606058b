"""Where tasks are done: this machine, or with ``--scheduler`` the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sadcodec.cli.common import blame, load_backend
from sadcodec.cli.parameters import F
from sadcodec.errors import OptionError

if TYPE_CHECKING:
    from sadcodec.pool import Executor


@dataclass(frozen=True)
class Machine:
    """What several tasks may use: the arguments of `sadcodec.pool.Executor.shares`, and where.

    Without an executor they are done on this machine.
    """

    jobs: int
    backend: str
    threads: int | None
    executor: Executor | None = None


class _Address(click.ParamType[str]):
    """The address of a Dask scheduler."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address if it has the form of one."""
        from sadcodec.cluster import check_address

        try:
            check_address(value)
        except OptionError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)


def scheduler_option(command: F) -> F:
    """``--scheduler``."""
    return click.option(
        "--scheduler",
        type=_Address(),
        metavar="tcp://HOST:PORT",
        help="Work on the workers of this Dask cluster instead of this machine, as many at a time "
        "as they have threads; --threads are those of each. Needs the extra distributed.",
    )(command)


@contextlib.contextmanager
def connected(scheduler: str | None, backend: str, quiet: bool) -> Iterator[Executor | None]:
    """Connect to the cluster of --scheduler, None being this machine, and load the backend there.

    What is missing, and what fails inside, becomes a Failure that names the scheduler.
    """
    if scheduler is None:
        load_backend(backend, "encode", quiet)
        yield None
        return
    from sadcodec.cluster import Cluster

    with blame(scheduler), Cluster(scheduler) as cluster:
        cluster.check(backend)
        yield cluster


def check_scheduler(scheduler: str | None) -> None:
    """Refuse --jobs beside --scheduler."""
    source = click.get_current_context().get_parameter_source("jobs")
    if scheduler is not None and source is not ParameterSource.DEFAULT:
        raise click.UsageError(
            "--jobs and --scheduler exclude each other: the workers say how many."
        )
