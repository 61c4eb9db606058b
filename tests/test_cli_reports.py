"""What the command line prints: info, eval, progress bar; around a stand-in for the codec."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import types
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

import sadcodec
from sadcodec import files, image_io
from sadcodec.errors import BitstreamError, SadError


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
    assert codec.calls[-1] == {"data": b"stored"}
    assert sad("info", "in.sad", "--quiet").out == b""


def test_json_of_info(sad: Sad) -> None:
    report = json.loads(sad("info", "in.sad", "--json").out)
    assert report["quantizer"]["step_color"] == [1000]
    expected = {"input": "in.sad", "bytes": 60, "bpp": 40.0, "width": 4, "height": 3}
    expected |= {"channels": 1, "bit_depth": 8, "sites": 2, "k": 8, "coder": "range"}
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


@dataclasses.dataclass
class Row:
    image: str
    bytes: int | None
    error: str = ""


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stand-in for sadcodec.evaluate: reads the images, and counts rows for a table."""
    calls: list[dict[str, Any]] = []

    def run_sweep(paths: list[str], kind: str, values: list[float], **options: Any) -> Any:
        options.pop("progress")(0.5, "half")
        calls.append({"kind": kind, "values": values, **options})
        for path in paths:
            error = ""
            try:
                image_io.decode_image(files.read_input(path))
            except SadError as caught:
                error = str(caught)
            for value in values:
                yield Row(path, None if error else int(1000 * value), error)

    def write_csv(rows: list[Row], file: Any) -> None:
        file.write("image,bytes\n" + "".join(f"{row.image},{row.bytes}\n" for row in rows))

    def summary(rows: list[Row], peers: object, ranges: list[tuple[float, float]]) -> str:
        return f"{len(rows)} rows, {peers}" + (f", {ranges}" if ranges else "")

    def markdown(rows: list[Row], peers: object, ranges: object) -> str:
        return f"| {len(rows)} | {peers} |"

    def read_rows(text: str) -> list[Row]:
        cells = [line.split(",") for line in text.splitlines()[1:]]
        return [Row(image, int(size)) for image, size in cells]

    def check_comparable(rows: list[Row]) -> None:
        if "odd.png" in (row.image for row in rows):
            raise SadError("odd rows")

    parts = {
        "sweep": types.SimpleNamespace(run_sweep=run_sweep),
        "table": types.SimpleNamespace(write_csv=write_csv, summary=summary, markdown=markdown),
        "peers": types.SimpleNamespace(read_peers=str.upper, join="+".join),
        "reading": types.SimpleNamespace(read_rows=read_rows, check_comparable=check_comparable),
    }
    package = types.SimpleNamespace(**parts)
    monkeypatch.setitem(sys.modules, "sadcodec.evaluate", package)  # type: ignore[arg-type]
    for name in ("peers", "reading"):
        monkeypatch.setitem(sys.modules, f"sadcodec.evaluate.{name}", parts[name])  # type: ignore[arg-type]
    monkeypatch.setattr(sadcodec, "evaluate", package, raising=False)
    return calls


def test_eval_prints_a_table_and_writes_csv(sad: Sad, evaluation: list[dict[str, Any]]) -> None:
    options = ["--bpp=0.2, 0.5,0.2", "--out=t.csv", "--effort=2", "--threads=1"]
    result = sad("eval", "in.png", "in.png", *options)
    assert (result.status, result.out, result.err) == (0, b"4 rows, None\n", "")
    assert Path("t.csv").read_text() == "image,bytes\n" + "in.png,200\nin.png,500\n" * 2
    expected = {"metric": "psnr", "effort": 2, "seed": 0, "threads": 1}
    expected |= {"backend": "auto", "jobs": 1}
    assert evaluation == [{"kind": "bpp", "values": [0.2, 0.5], **expected}]
    assert_one_line_error(sad("eval", "in.png", "--out", "t.csv"), "t.csv: exists already")


def test_eval_in_other_forms(sad: Sad, evaluation: list[dict[str, Any]]) -> None:
    assert sad("eval", "in.png", "--sites", "10", "--markdown").out == b"| 1 | None |\n"
    assert evaluation[-1]["kind"] == "sites"
    lines = sad("eval", "in.png", "--psnr", "30,40", "--json").out.splitlines()
    assert [json.loads(line)["bytes"] for line in lines] == [30000, 40000]
    result = sad("eval", "in.png", "--quality", "50", "--out", "-")
    assert result.out == b"image,bytes\nin.png,50000\n"
    png = Path("in.png").read_bytes()
    result = sad("eval", "-", "--quiet", "--out", "q.csv", stdin=png)
    assert (result.status, result.out, result.err) == (0, b"", "")
    assert evaluation[-1]["kind"] == "bpp"


def test_eval_beside_other_codecs(sad: Sad, evaluation: list[dict[str, Any]]) -> None:
    Path("peers.csv").write_text("jpeg")
    assert sad("eval", "in.png", "--size=9", "--peers=peers.csv").out == b"1 rows, JPEG\n"
    assert_one_line_error(sad("eval", "in.png", "--peers=none.csv"), "none.csv: No such file")
    assert [call["kind"] for call in evaluation] == ["size"]
    Path("more.csv").write_text("vvc")
    options = ["--peers=peers.csv", "--peers=more.csv", "--bd-range=0.1, 0.5", "--bd-range=1,2"]
    result = sad("eval", "in.png", "--size=9", *options)
    assert result.out == b"1 rows, JPEG+VVC, [(0.1, 0.5), (1.0, 2.0)]\n"
    for wrong in ("1", "2,1", "1,1", "0,1", "1,2,3", "a,b"):
        assert sad("eval", "in.png", "--peers=peers.csv", f"--bd-range={wrong}").status == 2
    result = sad("eval", "in.png", "--bd-range=1,2")
    assert result.status == 2
    assert "--bd-range needs --peers" in result.err


def test_eval_of_saved_rows(sad: Sad, evaluation: list[dict[str, Any]]) -> None:
    Path("one.csv").write_text("image,bytes\na.png,10\nb.png,20\n")
    Path("two.csv").write_text("image,bytes\nc.png,30\n")
    result = sad("eval", "--from=one.csv", "--from=two.csv", "--markdown")
    assert (result.status, result.out, result.err) == (0, b"| 3 | None |\n", "")
    result = sad("eval", "--from=-", "--from=two.csv", "--out=-", stdin=b"image,bytes\nd.png,1\n")
    assert result.out == b"image,bytes\nd.png,1\nc.png,30\n"
    lines = sad("eval", "--from=one.csv", "--json").out.splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["a.png", "b.png"]
    Path("odd.csv").write_text("image,bytes\nodd.png,30\n")
    assert_one_line_error(sad("eval", "--from=one.csv", "--from=odd.csv"), "odd.csv: odd rows")
    assert_one_line_error(sad("eval", "--from=none.csv"), "none.csv: No such file")
    assert evaluation == []  # nothing was coded
    for wrong in (["in.png"], ["--bpp=1"], ["--effort=5"], ["--jobs=1"], ["--backend=cpu"]):
        result = sad("eval", "--from=one.csv", *wrong)
        assert result.status == 2
        assert f"{wrong[0].split('=')[0].replace('in.png', 'IMAGES')} and --from" in result.err
    result = sad("eval")
    assert result.status == 2
    assert "IMAGES" in result.err


def test_eval_goes_on_after_a_failure(sad: Sad, evaluation: list[dict[str, Any]]) -> None:
    images = ["none.png", "in.png", "in.sad"]
    result = sad("eval", *images, "--bpp", "1,2", "--out", "t.csv")
    assert result.status == 3
    assert result.out == b"6 rows, None\n"
    lines = result.err.splitlines()  # one for each image, not for each target
    assert [line.split(": ")[:2] for line in lines] == [["sad", "none.png"], ["sad", "in.sad"]]
    assert "in.png,1000\nin.png,2000\n" in Path("t.csv").read_text()


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
