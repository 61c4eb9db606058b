"""What the command line prints: info, eval, progress bar; around a stand-in for the codec."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_stand_in import (
    Codec,
    Sad,
    assert_one_line_error,
    codec_fixture,  # noqa: F401
    sad_fixture,  # noqa: F401
)

from sadcodec import files, image_io
from sadcodec.errors import BitstreamError, SadError
from sadcodec.evaluate import coding
from sadcodec.evaluate.coding import Outcome
from sadcodec.evaluate.plan import Task
from sadcodec.evaluate.row import Row
from sadcodec.evaluate.writing import table_text
from sadcodec.pool import Share


def test_info(sad: Sad, codec: Codec) -> None:
    result = sad("info", "in.sad")
    assert (result.status, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert lines[0] == "in.sad: 60 bytes, 40.0000 bpp"
    assert [line.split() for line in lines[4:7]] == [
        ["position", "1.5", "6.000"],
        ["gray", "0.5", "2.000"],
        ["all", "2.0", "8.000"],
    ]
    assert lines[8].split() == ["SITE", "46", "2", "000000ab", "right"]
    assert sad("info", "-", stdin=b"stored").out.startswith(b"stdin: 60 bytes")
    assert codec.calls[-1] == {"data": b"stored", "max_pixels": None}
    assert sad("info", "in.sad", "--quiet").out == b""


def test_json_of_info(sad: Sad) -> None:
    report = json.loads(sad("info", "in.sad", "--json").out)
    assert report["quantizer"]["step_color"] == [1000]
    expected = {"input": "in.sad", "bytes": 60, "bpp": 40.0, "width": 4, "height": 3}
    expected |= {"channels": 1, "bit_depth": 8, "sites": 2, "k": 8, "coder": "range"}
    expected |= {"groups": 1, "layers": [], "metadata": {}}
    expected["chunks"] = [
        {"type": "SITE", "offset": 46, "length": 2, "critical": True, "crc": 0xAB}
    ]
    expected["columns"] = [
        {"name": "position", "bytes": 1.5, "bits": 12.0, "bits_per_site": 6.0},
        {"name": "gray", "bytes": 0.5, "bits": 4.0, "bits_per_site": 2.0},
    ]
    del report["quantizer"]
    assert report == expected


def test_info_of_a_damaged_file(sad: Sad, codec: Codec) -> None:
    codec.error = BitstreamError("chunk at byte 46 does not match its checksum")
    assert_one_line_error(sad("info", "in.sad"), "sad: in.sad: chunk at byte 46")


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Task, Share]]:
    """A stand-in for coding: reads the image, and counts bytes for a row."""
    calls: list[tuple[Task, Share]] = []

    def do(task: Task, share: Share, progress: Any = None) -> Outcome:
        progress(0.5, "half")
        calls.append((task, share))
        try:
            image_io.decode_image(task.data or files.read_input(task.path))
        except SadError as error:
            return Outcome(task.row(error=str(error)))
        size = round(1000 * task.value)
        return Outcome(task.row(4, 3, bytes=size, bpp=task.value, psnr_db=30.0), b"x" * size)

    monkeypatch.setattr(coding, "do", do)
    return calls


Calls = list[tuple[Task, Share]]


def cells(text: bytes | str, *names: str) -> list[list[str]]:
    """Some columns of a CSV."""
    text = text.decode() if isinstance(text, bytes) else text
    return [[row[name] for name in names] for row in csv.DictReader(io.StringIO(text))]


def test_eval_prints_a_table_and_writes_csv(sad: Sad, evaluation: Calls) -> None:
    shutil.copy("in.png", "more.png")
    options = ["--bpp=0.2, 0.5,0.2", "--out=t.csv", "--effort=2", "--threads=1", "--seed=3"]
    result = sad("eval", ".", *options, "--backend=cpu")  # the images of a folder
    assert (result.status, result.err) == (0, "")
    assert [line.split()[:3] for line in result.out.decode().splitlines()[1:3]] == [
        *(["0.2", "bpp", "2"], ["0.5", "bpp", "2"]),
    ]
    found = cells(Path("t.csv").read_text(), "image", "bytes", "codec", "effort", "seed", "backend")
    assert found == [
        [image, size, "sad", "2", "3", "cpu"]
        for image in ("in.png", "more.png")
        for size in ("200", "500")
    ]
    assert {share for _, share in evaluation} == {Share("cpu", 1)}
    assert_one_line_error(sad("eval", "in.png", "--out", "t.csv"), "t.csv: exists already")
    assert len(evaluation) == 4


def test_eval_in_other_forms(sad: Sad, evaluation: Calls) -> None:
    assert sad("eval", "in.png", "--sites", "10", "--markdown").out.startswith(b"| target |")
    assert evaluation[-1][0].kind == "sites"
    lines = sad("eval", "in.png", "--psnr", "30,40", "--json").out.splitlines()
    assert [json.loads(line)["bytes"] for line in lines] == [30000, 40000]
    result = sad("eval", "in.png", "--quality", "50", "--out", "-")
    assert cells(result.out, "image", "bytes") == [["in.png", "50000"]]
    png = Path("in.png").read_bytes()
    result = sad("eval", "-", "--quiet", "--out", "q.csv", stdin=png)
    assert (result.status, result.out, result.err) == (0, b"", "")
    assert evaluation[-1][0].kind == "bpp"
    assert cells(Path("q.csv").read_text(), "image")[0] == ["stdin"]


def test_eval_writes_the_format_of_the_suffix(sad: Sad, evaluation: Calls) -> None:
    for suffix in ("csv", "tsv", "jsonl", "dat"):
        assert sad("eval", "in.png", "--size=9,8", "--quiet", "--out", f"t.{suffix}").status == 0
    text = Path("t.csv").read_text()
    assert Path("t.dat").read_text() == text
    assert Path("t.tsv").read_text() == text.replace(",", "\t")
    rows = [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == 2 * [text.splitlines()[0].split(",")]
    assert [(row["bytes"], row["ssim"], row["error"]) for row in rows] == [
        *((9000, None, ""), (8000, None, "")),
    ]
    for suffix in ("csv", "tsv", "jsonl"):
        assert sad("eval", "--from", f"t.{suffix}", "--out=-").out.decode() == text


def test_eval_keeps_the_coded_files(sad: Sad, evaluation: Calls) -> None:
    options = ["--size=2,1", "--repeat=2", "--quiet", "--out=t.csv", "--keep=files"]
    assert sad("eval", "in.png", *options).status == 0
    found = {path.name: path.stat().st_size for path in Path("files").iterdir()}
    assert found == {
        "in.sad.size2.sad": 2000,
        "in.sad.size2.r1.sad": 2000,
        "in.sad.size1.sad": 1000,
        "in.sad.size1.r1.sad": 1000,
    }
    assert [task.seed for task, _ in evaluation] == [0, 1, 0, 1]
    Path("t.csv").unlink()
    refused = sad("eval", "in.png", *options)
    assert_one_line_error(refused, "files/in.sad.size2.sad: exists already")
    assert len(evaluation) == 4
    assert sad("eval", "in.png", *options, "--force").status == 0
    # What is resumed has its file; a row whose file is gone is measured again.
    Path("files/in.sad.size1.sad").unlink()
    assert sad("eval", "in.png", *options, "--resume").status == 0
    assert [(task.value, task.repeat) for task, _ in evaluation[8:]] == [(1, 0)]
    assert Path("files/in.sad.size1.sad").exists()


def test_eval_refuses_what_it_cannot_do(sad: Sad, evaluation: Calls) -> None:
    os.mkdir("folder")
    shutil.copy("in.png", "folder/in.png")
    for arguments, word in {
        ("in.png", "folder"): "in.png and folder/in.png have one name",
        ("in.png", "--metrics=vmaf"): "'vmaf'",
        ("in.png", "--metrics=,"): "comma-separated",
        ("in.png", "--codecs=sad,jpeg", "--sites=9"): "jpeg has no sites",
        ("in.png", "--repeat=2", "--seed=4294967295"): "seed",
        ("in.png", "--resume"): "--resume needs --out",
        ("in.png", "--resume", "--out=-"): "--resume needs --out",
        ("in.png", "--resume", "--out=t.csv", "--force"): "exclude each other",
    }.items():
        result = sad("eval", *arguments)
        assert (result.status, result.out) == (2, b"")
        assert word in result.err
    assert evaluation == []
    assert not Path("t.csv").exists()


PEERS = """codec,image,bpp,psnr
jpeg,in,0.5,25
jpeg,in,16,35
"""


def test_eval_beside_other_codecs(sad: Sad, evaluation: Calls) -> None:
    Path("peers.csv").write_text(PEERS)
    out = sad("eval", "in.png", "--bpp=1", "--peers=peers.csv").out.decode()
    assert out.splitlines()[-1].split() == ["1", "bpp", "30.00", "27.00"]
    assert_one_line_error(sad("eval", "in.png", "--peers=none.csv"), "none.csv: No such file")
    assert len(evaluation) == 1
    Path("more.csv").write_text(PEERS.replace("jpeg", "vvc"))
    options = ["--peers=peers.csv", "--peers=more.csv", "--bd-range=0.1, 0.5", "--bd-range=1,2"]
    out = sad("eval", "in.png", "--bpp=1,2", *options).out.decode()
    assert "PSNR, 0.1 to 0.5 bpp  PSNR, 1 to 2 bpp" in out
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["jpeg", "vvc"]
    for wrong in ("1", "2,1", "1,1", "0,1", "1,2,3", "a,b"):
        assert sad("eval", "in.png", "--peers=peers.csv", f"--bd-range={wrong}").status == 2
    result = sad("eval", "in.png", "--bd-range=1,2")
    assert result.status == 2
    assert "--bd-range needs --peers" in result.err


def rows_of(*images: str, **fields: Any) -> str:
    rows = [
        Row(name, 4, 3, "sad", "bpp", 1.0, 5, 0, "cpu", bytes=10, bpp=1.0, psnr_db=30.0)
        for name in images
    ]
    return table_text(dataclasses.replace(row, **fields) for row in rows)


def test_eval_of_saved_rows(sad: Sad, evaluation: Calls) -> None:
    Path("one.csv").write_text(rows_of("a.png", "b.png"))
    Path("two.csv").write_text(rows_of("c.png"))
    result = sad("eval", "--from=one.csv", "--from=two.csv", "--markdown")
    assert (result.status, result.err) == (0, "")
    assert result.out.decode().splitlines()[2].startswith("| 1 bpp | 3 | 1.0000 | 30.00 |")
    stdin = rows_of("d.png").encode()
    result = sad("eval", "--from=-", "--from=two.csv", "--out=-", stdin=stdin)
    assert result.out.decode() == rows_of("d.png", "c.png")
    lines = sad("eval", "--from=one.csv", "--json").out.splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["a.png", "b.png"]
    Path("odd.csv").write_text(rows_of("odd.png", effort=6))
    refused = sad("eval", "--from=one.csv", "--from=odd.csv")
    assert_one_line_error(refused, "odd.csv: rows of effort 5 and 6 do not go into one table")
    assert_one_line_error(sad("eval", "--from=none.csv"), "none.csv: No such file")
    assert evaluation == []  # nothing was coded
    for wrong in (
        *(["in.png"], ["--bpp=1"], ["--effort=5"], ["--jobs=1"], ["--backend=cpu"]),
        *(["--codecs=sad"], ["--repeat=1"], ["--resume", "--out=t.csv"]),
    ):
        result = sad("eval", "--from=one.csv", *wrong)
        assert result.status == 2
        assert f"{wrong[0].split('=')[0].replace('in.png', 'PATHS')} and --from" in result.err
    result = sad("eval")
    assert result.status == 2
    assert "PATHS" in result.err


def test_eval_goes_on_after_a_failure(sad: Sad, evaluation: Calls) -> None:
    Path("text.png").write_text("no image")
    images = ["none.png", "in.png", "text.png"]
    result = sad("eval", *images, "--bpp", "1,2", "--out", "t.csv")
    assert result.status == 3
    assert result.out.splitlines()[-1] == b"4 of 6 failed"
    lines = result.err.splitlines()  # one for each image, not for each target
    assert [line.split(": ")[:2] for line in lines] == [["sad", "none.png"], ["sad", "text.png"]]
    found = cells(Path("t.csv").read_text(), "image", "bytes")
    assert found[2:4] == [["in.png", "1000"], ["in.png", "2000"]]
    # What failed is tried again, and nothing else.
    shutil.copy("in.png", "none.png")
    del evaluation[:]
    result = sad("eval", *images, "--bpp", "1,2", "--out", "t.csv", "--resume")
    assert [task.path for task, _ in evaluation] == 2 * ["none.png"] + 2 * ["text.png"]
    assert result.status == 3
    found = cells(Path("t.csv").read_text(), "image", "bytes")
    assert found == [
        *(["none.png", "1000"], ["none.png", "2000"], ["in.png", "1000"], ["in.png", "2000"]),
        *(["text.png", ""], ["text.png", ""]),
    ]


def test_progress_is_drawn_on_a_terminal_alone(sad: Sad, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\r" not in sad("encode", "in.png", "-o", "a.sad").err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for quiet in ([], ["--quiet"]):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        sad("encode", "in.png", "-o", "a.sad", "--force", *quiet)
        drawn, _, after = terminal.getvalue().rpartition("\r")
        if quiet:
            assert terminal.getvalue() == ""
        else:
            assert "[############............]  50 % half" in drawn
            assert drawn.split("\r")[-1].strip() == ""  # wiped
            assert after.startswith("a.sad: ")
