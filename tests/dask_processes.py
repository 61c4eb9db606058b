"""A Dask scheduler and workers as processes of this machine.

As a script, a sweep on them, of whose workers one is killed after every few rows, and another
started: ``python tests/dask_processes.py [--workers 2] [--kills 3] [--size 128]``.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from sadcodec.cluster import Cluster
from sadcodec.evaluate.row import Row
from sadcodec.evaluate.sweep import run_sweep

DATA = Path(__file__).resolve().parent.parent / "data"
PATIENCE = 60.0  # seconds; machines may be busy
SCHEDULER = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
WORKER = ("worker", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--nthreads")


class Processes:
    """A scheduler and its workers, which are given a folder for what they write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return str(json.loads(self._file.read_text())["address"])

    def start(self, *threads: int) -> None:
        """Start what is not there: the scheduler, and workers of so many threads."""
        if self._scheduler is None:
            self._file.unlink(missing_ok=True)
            arguments = (*SCHEDULER, "--scheduler-file", str(self._file))
            # Without the path to this package, which a scheduler need not have.
            self._scheduler = self._process(arguments, path=())
        for number in threads[len(self._workers) :]:
            arguments = (*WORKER, str(number), "--scheduler-file", str(self._file))
            path = [os.path.abspath(each) for each in sys.path if each]
            self._workers.append(self._process(arguments, path))
        deadline = time.monotonic() + PATIENCE
        while not self._file.exists():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def _process(self, arguments: tuple[str, ...], path: object) -> subprocess.Popen[bytes]:
        names = os.pathsep.join(path) if isinstance(path, list) else ""
        with open(self._folder / "log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", *arguments],
                cwd=self._folder,
                env={
                    **os.environ,
                    "PYTHONPATH": names,
                    "DASK_TEMPORARY_DIRECTORY": str(self._folder),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill_worker(self) -> None:
        """Kill the worker that was started first by SIGKILL."""
        worker = self._workers.pop(0)
        worker.kill()
        worker.wait()

    def kill_scheduler(self) -> None:
        """Kill the scheduler, and the workers, which are of no use without it."""
        self.stop()

    def bury(self) -> None:
        """Forget workers that are dead."""
        alive = []
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(0.1)
                continue
            alive.append(worker)
        self._workers = alive

    def stop(self) -> None:
        """End all processes."""
        everyone = [*([self._scheduler] if self._scheduler else []), *self._workers]
        for process in everyone:
            process.kill()
        for process in everyone:
            process.wait()
        self._workers.clear()
        self._scheduler = None


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[Processes]:
    """Stop all processes in the end."""
    started = Processes(folder)
    try:
        yield started
    finally:
        started.stop()


def untimed(row: Row) -> Row:
    """Return a row without its times, the only columns that differ between runs."""
    return dataclasses.replace(row, encode_s=None, decode_s=None)


def main() -> None:
    """Run a sweep here and on the processes, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    threads = [1] * options.workers
    values = [50.0, 100.0, 150.0, 200.0, 250.0, 300.0]
    with tempfile.TemporaryDirectory() as name, processes(Path(name)) as started:
        paths = []
        for image in sorted(DATA.glob("*.png")):
            paths.append(Path(name) / image.name)
            with Image.open(image) as opened:
                opened.crop((50, 50, 50 + options.size, 50 + options.size)).save(paths[-1])
        sweep = {"kind": "sites", "values": values, "effort": 1, "backend": "cpu"}
        begin = time.monotonic()
        here = list(run_sweep(paths, **sweep, threads=1))  # type: ignore[arg-type]
        print(f"here, one at a time: {len(here)} rows, {time.monotonic() - begin:.1f} s")
        started.start(*threads)
        with Cluster(started.address, connecting=PATIENCE) as cluster:
            cluster.check("cpu")
            begin = time.monotonic()
            rows: list[Row] = []
            kills = 0
            every = len(here) // (options.kills + 1)
            for row in run_sweep(paths, **sweep, executor=cluster):  # type: ignore[arg-type]
                rows.append(row)
                if kills < options.kills and len(rows) >= every * (kills + 1):
                    started.kill_worker()
                    started.start(*threads)
                    kills += 1
                    print(f"after {len(rows)} rows: a worker killed, another started")
        print(f"{options.workers} workers: {len(rows)} rows, {time.monotonic() - begin:.1f} s")
        assert [untimed(row) for row in rows] == [untimed(row) for row in here]
        assert not any(row.error for row in rows)
        print("every row once, equal to those of this process but for the times")


if __name__ == "__main__":
    main()
