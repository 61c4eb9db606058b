"""Files of rows: formats, appending, resuming, and what a killed sweep leaves."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import signal
from typing import Any

import killed_sweeps
import pytest

from sadcodec import cli, pool
from sadcodec.errors import InputError, OptionError, OutputError
from sadcodec.evaluate.estimate import Estimate, duration
from sadcodec.evaluate.plan import Options, Task, plan
from sadcodec.evaluate.reading import read_rows
from sadcodec.evaluate.row import Row
from sadcodec.evaluate.rowfile import RowFile, saved_rows
from sadcodec.evaluate.sweep import run_sweep
from sadcodec.evaluate.writing import COLUMNS, FORMATS, format_of, header, line, table_text

CPU = {"effort": 1, "backend": "cpu", "threads": 1}


def tasks_of(*values: float, repeats: int = 1, **options: Any) -> list[Task]:
    return plan(["a.png", "b.png"], "bpp", values, Options(**options), repeats=repeats)


def measured(task: Task, **columns: Any) -> Row:
    known = {"bytes": 96, "bpp": 0.75, "psnr_db": 30.25, "ssim": 0.875, "sites": 5}
    return task.row(32, 32, **(known | columns))


ROWS = [measured(task) for task in tasks_of(0.5, 1, repeats=2)]


# ---- Formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_read_back(kind):
    odd = 'a,b "c"\tü.png'
    rows = [*ROWS, dataclasses.replace(ROWS[0], image=odd, psnr_db=math.inf, ssim=None)]
    rows.append(tasks_of(0.1)[0].row(error="this, and\tthat"))
    text = table_text(rows, kind)
    assert read_rows(text) == rows
    assert text == header(kind) + "".join(line(row, kind) for row in rows)
    assert text.count("\n") == len(rows) + (kind != "jsonl")


def test_the_suffix_tells_the_format():
    assert [format_of(name) for name in ("a.csv", "a.b.TSV", "a.jsonl", "jsonl", "-", "a.txt")] == [
        *("csv", "tsv", "jsonl", "jsonl", "csv", "csv")
    ]


def test_names_stay_on_one_line(tmp_path):
    (task,) = plan([tmp_path / "two\nlines\x1b\udcff.png"], "bpp", [1], Options())
    assert task.row().image == "two\\nlines\\x1b\\udcff.png"


def test_columns_of_earlier_versions_come_first():
    assert COLUMNS[:20] == (
        *("image", "width", "height", "codec", "setting", "value", "effort", "seed", "backend"),
        *("metric", "bytes", "bpp", "psnr_db", "ssim", "fit_psnr_db", "sites", "encode_s"),
        *("decode_s", "error", "version"),
    )


def test_json_lines_that_are_none():
    for text in ('{"image": 1\n', "{}\n", '{"image": "a"}\n[]\n'):
        with pytest.raises(InputError, match=r"line 1|lacks the column"):
            read_rows(text)


# ---- Appending ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_are_in_the_file_at_once(tmp_path, kind):
    path = tmp_path / f"t.{kind}"
    with RowFile(str(path)) as file:
        assert not path.exists()
        for count, row in enumerate(reversed(ROWS), 1):
            file.add(row)
            assert read_rows(path.read_text()) == ROWS[::-1][:count]
        file.finish(ROWS)
    assert path.read_text() == table_text(ROWS, kind)
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_is_replaced_with_the_first_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with RowFile(str(path), force=True) as file:
        assert path.read_text() == "old"
        file.add(ROWS[0])
    assert read_rows(path.read_text()) == ROWS[:1]
    with pytest.raises(OutputError, match="exists already"):
        RowFile(str(path)).add(ROWS[0])


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    with RowFile(str(path)) as file:
        file.add(ROWS[0])
        write = os.write

        def fail(handle: int, data: bytes) -> int:
            if len(data) < 50:
                raise OSError(28, "No space left on device")
            return write(handle, data[:-40])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fail)
            with pytest.raises(OutputError, match="No space left"):
                file.add(ROWS[1])
        assert read_rows(path.read_text()) == ROWS[:1]
        file.add(ROWS[2])
    assert read_rows(path.read_text()) == [ROWS[0], ROWS[2]]


# ---- Resuming -----------------------------------------------------------------------------------


def test_what_is_missing_or_failed_or_torn_is_left_to_do(tmp_path):
    path = tmp_path / "t.csv"
    tasks = tasks_of(0.5, 1, 2, repeats=2)
    assert saved_rows(str(path), tasks) == {}
    path.write_text("")
    assert saved_rows(str(path), tasks) == {}
    rows = [measured(tasks[4]), tasks[1].row(error="killed"), measured(tasks[2])]
    text = table_text(rows) + line(measured(tasks[3]), "csv")
    for cut in range(1, len(line(measured(tasks[3]), "csv"))):
        path.write_text(text[:-cut])
        assert saved_rows(str(path), tasks) == {4: rows[0], 2: rows[2]}
    path.write_text(header("csv"))
    assert saved_rows(str(path), tasks) == {}
    path.write_text("no line")
    with pytest.raises(InputError, match="not a table"):
        saved_rows(str(path), tasks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effort": 4}, "rows of effort 5, now it is 4"),
        ({"seed": 9}, "rows of seed 0, now it is 9"),
        ({"metric": "ssim"}, "rows of metric psnr, now it is ssim"),
        ({"backend": "reference"}, "rows of backend auto, now it is reference"),
        ({"metrics": ("psnr",)}, "rows of metrics psnr ssim, now it is psnr"),
    ],
)
def test_another_sweep_is_not_resumed(tmp_path, change, message):
    path = tmp_path / "t.csv"
    path.write_text(table_text(ROWS))
    assert len(saved_rows(str(path), tasks_of(2, 1, 0.5, repeats=3))) == len(ROWS)
    with pytest.raises(InputError, match=message):
        saved_rows(str(path), tasks_of(0.5, 1, repeats=2, **change))


def test_rows_of_another_version_or_of_no_task_are_not_resumed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(table_text([dataclasses.replace(ROWS[0], version="0.0.9")]))
    with pytest.raises(InputError, match=r"rows of version 0\.0\.9"):
        saved_rows(str(path), tasks_of(0.5, 1))
    path.write_text(table_text(ROWS))
    with pytest.raises(InputError, match=r"a row of a\.png by sad at 0\.5 bpp, repeat 1, which"):
        saved_rows(str(path), tasks_of(0.5, 1))


# ---- Tasks --------------------------------------------------------------------------------------


def test_bad_plans_are_refused():
    for paths, options, more, message in (
        (["x/a.png", "y/a.jpg"], {}, {}, "x/a.png and y/a.jpg have one name"),
        (["-", "-"], {}, {}, "one name"),
        (["a.png"], {"metrics": ("vmaf",)}, {}, "'vmaf'"),
        (["a.png"], {}, {"repeats": 0}, "repeats"),
        (["a.png"], {}, {"codecs": ()}, "codec"),
        (["a.png"], {}, {"codecs": ("sad", "sad")}, "twice"),
        (["a.png"], {"seed": 2**32 - 2}, {"repeats": 3}, "seed"),
    ):
        with pytest.raises(OptionError, match=message):
            plan(paths, "bpp", [1], Options(**options), **more)


def test_tasks_of_remote_workers_carry_their_image(tmp_path, photo, monkeypatch):
    """An executor whose workers see none of our files gets everything in the task."""
    from PIL import Image

    image = tmp_path / "photo.png"
    Image.fromarray(photo).save(image)

    class Remote:
        remote = True

        def shares(self, *_):
            return [pool.Share("cpu", 1)] * 2

        def run(self, function, tasks, workers):
            sent = [pickle.dumps(task) for task in tasks]
            image.unlink()
            for index in (2, 0, 1):
                yield index, function(pickle.loads(sent[index]), workers[0])  # noqa: S301
            yield 3, pool.Died("its machine is gone")

    received = {}
    rows = list(
        run_sweep(
            [image],
            "sites",
            [10, 20],
            repeats=2,
            executor=Remote(),
            receive=lambda row, data: received.__setitem__(row.key, data),
            **CPU,
        )
    )
    assert [(row.value, row.repeat, row.seed) for row in rows] == [
        *((10, 0, 0), (10, 1, 1), (20, 0, 0), (20, 1, 1)),
    ]
    assert [row.error for row in rows] == ["", "", "", "its machine is gone"]
    assert {key: len(data) for key, data in received.items()} == {
        row.key: row.bytes for row in rows if not row.error
    }


# ---- Time left ----------------------------------------------------------------------------------


def test_the_time_left_is_that_of_like_rows(monkeypatch):
    tasks = [
        Task(f"{image}.png", codec, "bpp", value, 0, Options())
        for image in "ab"
        for codec in ("sad", "jpeg")
        for value in (0.5, 1.0)
    ]
    estimate = Estimate(tasks, workers=2)
    assert (estimate.done, estimate.total, estimate.seconds_left()) == (0, 8, None)
    assert estimate.share_done() == 0
    estimate.add(tasks[0], 10.0)
    first = estimate.seconds_left()
    assert first is not None
    assert 15 < first < 20  # two workers, three rows of sad, the others short
    estimate.add(tasks[1], 20.0)
    estimate.add(tasks[2], 1.0)
    estimate.add(tasks[3], None)  # failed: says nothing of the others
    assert estimate.seconds_left() == pytest.approx((10 + 20 + 1 + 1) / 2)
    assert estimate.share_done() == pytest.approx(1 - 32 / 64)
    assert estimate.seconds_left(tasks[4], 0.5) == pytest.approx((5 + 20 + 1 + 1) / 2)
    for task in tasks[4:]:
        estimate.add(task, 2.0)
    assert (estimate.seconds_left(), estimate.share_done()) == (0, 1)
    assert [duration(s) for s in (0, 61.6, 3600)] == ["0:00", "1:02", "1:00:00"]


# ---- Killed -------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_a_killed_sweep_is_completed(tmp_path, monkeypatch):
    killed_sweeps.make_images(tmp_path, 32)
    monkeypatch.chdir(tmp_path)
    images = [f"{name}.png" for name in killed_sweeps.NAMES]

    def sweep(*more: str) -> list[Row]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["eval", *images, *killed_sweeps.OPTIONS, "--jobs", "1", *more])
        assert not caught.value.code
        return read_rows((tmp_path / more[1]).read_text())

    whole = sweep("--out", "whole.csv")
    for lines, number in ((3, signal.SIGKILL), (1, signal.SIGINT)):
        done = killed_sweeps.kill_and_check(tmp_path, "t.csv", lines, 0.02, whole, number)
        assert done.before < done.after
    before = read_rows((tmp_path / "t.csv").read_text())
    rows = sweep("--out", "t.csv", "--resume")
    assert [killed_sweeps.untimed(row) for row in rows] == [
        killed_sweeps.untimed(row) for row in whole
    ]
    assert all(row in rows for row in before)
    assert not [name for name in os.listdir() if name.endswith(".part")]
