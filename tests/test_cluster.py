"""A Dask cluster of two workers: rows, deaths of workers and of the scheduler, refusals."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import run_sad as sad
from PIL import Image
from pool_tasks import work

from sadcodec import cluster
from sadcodec.cluster import Cluster
from sadcodec.errors import ClusterError, OptionError
from sadcodec.evaluate import rowfile
from sadcodec.evaluate.reading import read_rows
from sadcodec.evaluate.sweep import run_sweep
from sadcodec.pool import Died, Share

distributed = pytest.importorskip("distributed", reason="distributed is not installed")
if os.name == "nt":
    pytest.skip("signals as on Unix", allow_module_level=True)

from dask_processes import DATA, PATIENCE, Processes, processes, untimed  # noqa: E402

THREADS = (1, 2)  # of the two workers
OPTIONS = ("--sites", "10,20,30,40", "-e", "1", "--backend", "cpu", "--quiet")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("dask")) as them:
        yield them


@pytest.fixture
def address(started: Processes) -> str:
    """The scheduler, with one worker or more."""
    started.bury()
    started.start(THREADS[0])
    return started.address


@pytest.fixture
def executor(address: str) -> Iterator[Cluster]:
    """Connected to them."""
    with Cluster(address, connecting=PATIENCE) as connected:
        connected.check("cpu")
        yield connected


def start_both(started: Processes, executor: Cluster) -> None:
    started.start(*THREADS)
    executor._client.wait_for_workers(len(THREADS), timeout=PATIENCE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photographs, and a file that is none."""
    for name in ("camera", "chelsea", "coffee"):
        with Image.open(DATA / f"{name}.png") as image:
            image.crop((100, 100, 164, 148)).save(tmp_path / f"{name}.png")
    (tmp_path / "none.png").write_text("no image")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "CONNECTING", PATIENCE)
    return tmp_path


PATHS = ("camera.png", "chelsea.png", "none.png", "coffee.png")


def results(executor: Cluster, tasks: list[tuple[str, Any]]) -> list[Any]:
    answers = list(executor.run(work, tasks, executor.shares(1, len(tasks), "cpu", None)))
    assert sorted(index for index, _ in answers) == list(range(len(tasks)))
    found = dict(answers)
    return [found[index] for index in range(len(tasks))]


def allow_failures(executor: Cluster, count: int) -> None:
    def change(dask_scheduler: Any) -> None:
        dask_scheduler.allowed_failures = count

    executor._client.run_on_scheduler(change)


# ---- Rows ---------------------------------------------------------------------------------------


def test_every_row_is_there_once_though_a_worker_is_killed(started, executor, folder):
    sweep: dict[str, Any] = {"kind": "sites", "values": [10, 20, 30, 40], "effort": 1}
    here = list(run_sweep(PATHS, **sweep, backend="cpu", threads=1))
    there = []
    start_both(started, executor)
    for row in run_sweep(PATHS, **sweep, backend="cpu", executor=executor):
        if not there:
            started.kill_worker()
        there.append(row)
    assert [untimed(row) for row in there] == [untimed(row) for row in here]
    assert [bool(row.error) for row in there] == [False] * 8 + [True] * 4 + [False] * 4


def test_a_task_whose_worker_is_killed_is_done_again(started, executor, tmp_path):
    start_both(started, executor)
    tasks = [("square", 2), ("kill once", str(tmp_path / "killed")), ("square", 3), ("square", 4)]
    assert results(executor, tasks) == [4, "done again", 9, 16]
    assert (tmp_path / "killed").exists()
    # Not for ever: this is the other worker's end, and the last that the scheduler allows.
    allow_failures(executor, 0)
    assert results(executor, [("kill", 0)]) == [Died("its worker died")]
    allow_failures(executor, 3)


def test_tasks_have_a_thread_each(executor):
    threads = sum(executor._client.nthreads().values())
    assert executor.shares(9, 100, "cpu", None) == [Share("cpu", 1)] * threads
    assert executor.shares(1, 1, "auto", 4) == [Share("auto", 4)]
    assert executor.shares(1, 0, "auto", None) == [Share("auto", 1)]
    found = results(executor, [("share", 0)] * 6)
    assert {share for _, share in found} == {Share("cpu", 1)}
    assert os.getpid() not in {pid for pid, _ in found}


def test_an_error_ends_the_run(executor):
    with pytest.raises(OptionError, match="no such thing"):
        results(executor, [("refuse", "no such thing"), ("square", 1)])
    assert results(executor, [("square", 2)]) == [4]


def test_leaving_the_loop_cancels_what_is_left(executor):
    def known(dask_scheduler: Any) -> int:
        return len(dask_scheduler.tasks)

    running = executor.run(work, [("square", 1)] + [("square", 30)] * 20, [Share("cpu", 1)])
    assert next(running) == (0, 1)
    running.close()
    deadline = time.monotonic() + PATIENCE
    while executor._client.run_on_scheduler(known):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- The commands -------------------------------------------------------------------------------


def test_a_batch_writes_the_same_files(address, folder, capfd):
    arguments = ("encode", *PATHS, *OPTIONS[2:], "--sites", "20")
    assert sad(*arguments, "--out-dir", "here") == 3
    capfd.readouterr()
    os.mkdir("there")
    (folder / "there/coffee.sad").write_bytes(b"old")
    assert sad(*arguments, "missing.png", "--out-dir", "there", "--scheduler", address) == 3
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        *("none.png", "there/coffee.sad", "missing.png")
    ]
    names = ["camera.sad", "chelsea.sad", "coffee.sad"]
    assert sorted(os.listdir("there")) == names
    assert (folder / "there/coffee.sad").read_bytes() == b"old"
    assert sad(*arguments, "--out-dir", "there", "--force", "--scheduler", address) == 3
    for name in names:
        assert (folder / "there" / name).read_bytes() == (folder / "here" / name).read_bytes()


def rows_of(path: str) -> list[Any]:
    return [untimed(row) for row in read_rows(Path(path).read_text())]


def after_rows(monkeypatch: pytest.MonkeyPatch, count: int, action: Any) -> None:
    """Let something happen once so many rows are in the file."""
    add = rowfile.RowFile.add
    written = []

    def interrupted(self: rowfile.RowFile, row: Any) -> None:
        add(self, row)
        written.append(row)
        if len(written) == count:
            action()

    monkeypatch.setattr(rowfile.RowFile, "add", interrupted)


def test_an_interrupted_sweep_is_resumed(address, folder, monkeypatch, capfd):
    def interrupt() -> None:
        raise KeyboardInterrupt

    images = [name for name in PATHS if name != "none.png"]
    arguments = ("eval", *images, *OPTIONS, "--out")
    with monkeypatch.context() as patch:
        after_rows(patch, 2, interrupt)
        assert sad(*arguments, "a.csv", "--scheduler", address) == 130
    assert "".join(capfd.readouterr()).strip() == ""
    assert len(rows_of("a.csv")) == 2
    assert sad(*arguments, "a.csv", "--scheduler", address, "--resume", "--keep", "files") == 0
    assert sad(*arguments, "b.csv", "--threads", "1") == 0
    assert rows_of("a.csv") == rows_of("b.csv")
    assert len(rows_of("a.csv")) == len(os.listdir("files")) == 12


# ---- Refusals -----------------------------------------------------------------------------------


def test_what_cannot_work_is_refused_at_once(folder, capfd, monkeypatch):
    address = "tcp://127.0.0.1:1"  # nobody listens there
    encode = ("encode", "camera.png", "--out-dir", "out")
    for arguments in (
        (*encode, "--scheduler", "127.0.0.1:1"),
        (*encode, "--scheduler", "tcp://here"),
        (*encode, "--scheduler", "http://127.0.0.1:1"),
        (*encode, "--scheduler", address, "--jobs", "1"),
        ("encode", "camera.png", "--scheduler", address),
        ("eval", "camera.png", "--scheduler", address, "-j", "2"),
        ("eval", "--from", "rates.csv", "--scheduler", address),
    ):
        assert sad(*arguments) == 2
    capfd.readouterr()
    monkeypatch.setattr(cluster, "CONNECTING", 0.1)
    assert sad(*encode, "--scheduler", address) == 1
    line = f"sad: {address}: no scheduler has answered within 0.1 s\n"
    assert capfd.readouterr() == ("", line)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert sad(*encode, "--scheduler", address) == 1
    line = f"sad: {address}: no scheduler has answered within 0.1 s\n"
    assert capfd.readouterr() == ("", line)
    assert sad(*encode, "--scheduler", "tls://127.0.0.1:1") == 1
    assert capfd.readouterr().err.startswith("sad: tls://127.0.0.1:1: no connection")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert sad(*encode, "--scheduler", address) == 1
    err = capfd.readouterr().err
    assert err.startswith(f"sad: {address}: needs distributed: pip install")
    assert err.count("\n") == 1
    assert not os.path.exists("out")


def test_workers_are_checked(executor, monkeypatch):
    with pytest.raises(ClusterError, match=r"worker tcp://.*(GPU|CuPy)"):
        executor.check("cuda:9999")
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "__version__", "0.0.9")
        with pytest.raises(ClusterError, match=r"has version 0.1.0 of sadcodec; 0.0.9 is needed"):
            executor.check()
        with pytest.raises(ClusterError, match=r"has version 0.1.0 of sadcodec; 0.0.9 is needed"):
            results(executor, [("square", 1)])  # of workers that come later
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "__package__", "sadcodec_of_nobody")
        with pytest.raises(ClusterError, match=r"has no sadcodec .*No module named"):
            executor.check()


def test_no_worker_is_waited_for_in_vain(executor, monkeypatch):
    monkeypatch.setattr(executor, "_patience", 0.2)
    monkeypatch.setattr(executor._client, "nthreads", dict)
    with pytest.raises(ClusterError, match=r"no worker for 0.2 s"):
        executor.check()


# ---- The last one: there is no scheduler afterwards ---------------------------------------------


def test_the_end_of_the_scheduler_is_one_line(started, address, folder, monkeypatch, capfd):
    arguments = ("eval", "camera.png", "coffee.png", "chelsea.png", *OPTIONS, "--out", "a.csv")
    with monkeypatch.context() as patch:
        after_rows(patch, 1, started.kill_scheduler)
        assert sad(*arguments, "--scheduler", address) == 1
    line = f"sad: {address}: the connection to the scheduler was lost\n"
    assert capfd.readouterr() == ("", line)
    assert 1 <= len(rows_of("a.csv")) < 12
    assert sad(*arguments, "--threads", "1", "--resume") == 0
    assert len(rows_of("a.csv")) == 12
