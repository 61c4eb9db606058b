"""Worker processes: results, shares of the machine, deaths and interruptions."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_sad as sad
from pool_tasks import work

from sadcodec import backends, codec, image_io, pool
from sadcodec.backends import cuda
from sadcodec.errors import OptionError
from sadcodec.evaluate.sweep import run_sweep
from sadcodec.evaluate.writing import table_text
from sadcodec.pool import Died, Share, run, shares

CPU = Share("cpu", 1)


def results(tasks: list[tuple[str, Any]], workers: int = 2) -> list[Any]:
    found = dict(run(work, tasks, [CPU] * workers))
    return [found[index] for index in range(len(tasks))]


# ---- Shares of the machine ----------------------------------------------------------------------


def test_processors_are_divided(monkeypatch):
    monkeypatch.setattr(pool, "default_threads", lambda: 8)
    assert shares(3, 9, "cpu") == [Share("cpu", 2)] * 3
    assert shares(16, 99, "cpu") == [Share("cpu", 1)] * 16
    assert shares(3, 9, "reference", threads=5) == [Share("reference", 5)] * 3


def test_there_are_no_more_workers_than_tasks(monkeypatch):
    monkeypatch.setattr(pool, "default_threads", lambda: 8)
    assert shares(4, 2, "cpu") == [Share("cpu", 4)] * 2
    assert shares(4, 1, "auto") == [Share("auto", None)]  # alone: as if without a pool
    assert shares(4, 0, "auto") == [Share("auto", None)]


def test_gpus_are_taken_in_turn(monkeypatch):
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(pool, "default_threads", lambda: 6)
    turns = [Share(f"cuda:{n}", 2) for n in (0, 1, 0)]
    assert shares(3, 9, "cuda") == turns
    assert shares(3, 9, "cuda:1") == [Share("cuda:1", 2)] * 3
    monkeypatch.setattr(backends, "_fastest", lambda: "cuda")
    assert shares(3, 9, "auto") == turns
    monkeypatch.setattr(backends, "_fastest", lambda: "cpu")
    assert shares(3, 9, "auto") == [Share("cpu", 2)] * 3


# ---- Results, failures, deaths ------------------------------------------------------------------


def test_results_come_with_their_index():
    tasks = [("square", n) for n in (5, 0, 3, 1, 2)]
    assert results(tasks) == [25, 0, 9, 1, 4]
    assert list(run(work, [], [CPU])) == []


def test_every_worker_has_its_share_and_stays():
    workers = [Share("cpu", 1), Share("reference", 2)]
    found = [result for _, result in run(work, [("share", 0)] * 8, workers)]
    assert len({pid for pid, _ in found}) == 2
    assert {(share.backend, share.threads) for _, share in found} == {("cpu", 1), ("reference", 2)}
    assert os.getpid() not in {pid for pid, _ in found}


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_a_death_is_that_of_one_task():
    tasks = [("square", 2), ("kill", 0), ("square", 3), ("exit", 4), ("square", 4), ("kill", 0)]
    killed = Died("its process was killed by SIGKILL")
    ended = Died("its process ended with status 4")
    for workers in (1, 2):
        assert results(tasks, workers) == [4, killed, 9, ended, 16, killed]


def test_an_error_ends_the_run_with_its_trace():
    with pytest.raises(OptionError, match="no such thing") as caught:
        results([("refuse", "no such thing"), ("sleep", 0)])
    assert any("pool_tasks.py" in note for note in caught.value.__notes__)
    with pytest.raises(RuntimeError, match="Unportable: this and that"):
        results([("unportable", 0)])


def test_leaving_the_loop_stops_the_workers():
    start = time.monotonic()
    tasks = [("share", 0), ("sleep", 0), ("sleep", 0)]
    running = run(work, tasks, [CPU] * 2)
    _, (pid, _) = next(running)
    running.close()  # as the end of a loop does
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# ---- The commands that use it -------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images a.png to c.png in in/, the first the largest, and a file of text there."""
    (tmp_path / "in").mkdir()
    for name, side in (("a", 40), ("b", 16), ("c", 20)):
        row, column = np.mgrid[0:side, 0:side]
        planes = [6 * row, 6 * column, rng.integers(0, 40, (side, side))]
        image = np.stack(planes, axis=2).astype(np.uint8)
        (tmp_path / f"in/{name}.png").write_bytes(image_io.encode_image(image, "png"))
    (tmp_path / "in/notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OPTIONS = ("--backend", "cpu", "-e", "1", "--sites", "20")


def test_files_do_not_depend_on_the_number_of_jobs(folder, capfd):
    for jobs in ("1", "2"):
        assert sad("encode", "in", "--out-dir", f"out/{jobs}", "-j", jobs, "--json", *OPTIONS) == 0
        out, err = capfd.readouterr()
        assert err == ""
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["input"] for line in lines] == [f"in/{name}.png" for name in "abc"]
        assert [line["output"] for line in lines] == [f"out/{jobs}/{name}.sad" for name in "abc"]
    one, two = contents(folder / "out/1"), contents(folder / "out/2")
    assert sorted(one) == ["a.sad", "b.sad", "c.sad"]
    assert one == two
    assert codec.decode(one["a.sad"]).shape == (40, 40, 3)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_batch_goes_on_after_failures(folder, capfd, jobs):
    os.mkdir("out")
    (folder / "out/c.sad").write_bytes(b"old")
    sources = ("in/notes.txt", "in/a.png", "none.png", "in/c.png", "in/b.png")
    arguments = ("--out-dir", "out", "--jobs", jobs, "--json", *OPTIONS)
    assert sad("encode", *sources, *arguments) == 3
    out, err = capfd.readouterr()
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        *("in/notes.txt", "none.png", "out/c.sad"),
    ]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["input"] for line in lines] == list(sources)
    assert ["error" in line for line in lines] == [True, False, True, True, False]
    assert sorted(os.listdir("out")) == ["a.sad", "b.sad", "c.sad"]
    assert (folder / "out/c.sad").read_bytes() == b"old"
    assert sad("encode", *sources, *arguments, "--force") == 3
    assert (folder / "out/c.sad").read_bytes() != b"old"


def test_refusals_come_before_any_work(folder, capfd, monkeypatch):
    monkeypatch.setattr(codec, "encode_with_report", pytest.fail)
    os.mkdir("more")
    (folder / "more/a.jpg").write_bytes(b"")
    (folder / "more/a.txt").write_bytes(b"")
    os.mkdir("empty")
    for sources, line in {
        ("in", "more/a.jpg"): "sad: out/a.sad: is the output of both in/a.png and more/a.jpg\n",
        ("in/b.png", "in/b.png"): "sad: out/b.sad: is the output of both in/b.png and in/b.png\n",
        ("in", "empty"): "sad: empty: holds no images\n",
    }.items():
        assert sad("encode", *sources, "--out-dir", "out") == 1
        assert capfd.readouterr() == ("", line)
    assert sad("encode", "in", "--out-dir", "in/a.png/out") == 1
    assert capfd.readouterr().err == "sad: in/a.png/out: Not a directory\n"
    for arguments in (
        ("in/a.png", "in/b.png"),
        ("in/a.png", "--jobs", "2"),
        ("in/a.png", "--out-dir", "out", "-o", "a.sad"),
        ("-", "--out-dir", "out"),
        ("in/a.png", "--out-dir", "out", "--jobs", "0"),
    ):
        assert sad("encode", *arguments) == 2
    assert not os.path.exists("out")


def test_a_batch_reports_a_death(folder, capfd, monkeypatch):
    def deaths(function, tasks, workers):
        cause = "its process was killed by SIGKILL"
        return ((index, Died(cause)) for index in reversed(range(len(tasks))))

    monkeypatch.setattr(pool, "run", deaths)
    assert sad("encode", "in", "--out-dir", "out", "--jobs", "2", *OPTIONS) == 3
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"sad: in/{n}.png: its process was killed by SIGKILL" for n in "abc"]
    assert os.listdir("out") == []
    rows = list(run_sweep(["in/a.png", "in/b.png"], "bpp", [1, 2], jobs=2, backend="cpu"))
    assert [(row.image, row.value) for row in rows] == [
        *(("a.png", 1.0), ("a.png", 2.0), ("b.png", 1.0), ("b.png", 2.0)),
    ]
    assert {row.error for row in rows} == {"its process was killed by SIGKILL"}


def test_a_sweep_gives_the_same_rows(folder, monkeypatch):
    png = (folder / "in/b.png").read_bytes()
    paths = ["in/a.png", "in/notes.txt", "-", "none.png"]
    tables, seen = [], []
    for jobs in (1, 2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png)))
        rows = run_sweep(
            paths,
            "sites",
            [5, 9],
            effort=1,
            backend="cpu",
            jobs=jobs,
            progress=lambda fraction, _: seen.append(fraction),
        )
        tables.append(list(csv.DictReader(io.StringIO(table_text(rows)))))
        assert seen == sorted(seen)
        assert 0.5 < seen[-1] <= 1
        seen.clear()
    assert len(tables[0]) == 8
    assert [bool(row["error"]) for row in tables[0]] == 2 * [False] + 2 * [True] + [
        *(False, False, True, True)
    ]
    for one, two in zip(*tables):
        untimed = one.keys() - {"encode_s", "decode_s"}
        assert {key: one[key] for key in untimed} == {key: two[key] for key in untimed}
    with pytest.raises(OptionError, match="jobs"):
        run_sweep(paths, "sites", [5], jobs=0)


def exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
@pytest.mark.parametrize("command", ["encode", "eval"])
def test_an_interruption_stops_every_process(folder, command):
    output = ["--out-dir", "out"] if command == "encode" else ["--out", "rates.csv"]
    sources = ["in/a.png", "in/b.png", "in/c.png"]
    # The reference is slow: nothing is done when the signal comes.
    slow = ["--jobs", "2", "--backend", "reference", "--effort", "9"]
    arguments = [command, *sources, *output, *slow, "--sites", "900"]
    # Background jobs of a shell inherit an ignored SIGINT, hence the first statement.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from sadcodec.cli import main; main({arguments})"
    )
    paths = [os.path.abspath(p) for p in sys.path if p]
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    ) as process:
        time.sleep(1.5)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
        assert process.wait(timeout=10) == 128 + signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read().strip() == b""
    deadline = time.monotonic() + 5  # multiprocessing's own helper ends a moment later
    while exists(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not os.path.exists("rates.csv")
    assert not os.path.exists("out") or os.listdir("out") == []
