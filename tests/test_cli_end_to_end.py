"""The command line as users run it: real processes, the real codec, files damaged on disk."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from command_line import run_sad

from sadcodec import cli, image_io, info

PHOTOGRAPH = Path(__file__).parents[1] / "data" / "chelsea.png"
SAD = [sys.executable, "-m", "sadcodec"]
WIDTH_AT, SITES_AT, HEADER_CRC_AT = 12, 20, 42  # offsets in a file of 3 channels, docs/FORMAT.md


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    coding = arguments[0] in {"encode", "eval"} and "--from" not in arguments
    if coding:  # "auto" has a word to say where CuPy finds no GPU
        arguments += ("--backend", "cpu")
    done = subprocess.run(
        [*SAD, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env=environment(),
    )
    assert b"Traceback" not in done.stderr
    return done


def environment() -> dict[str, str]:
    """Ours, with a PYTHONPATH that holds in other folders too."""
    paths = [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(float) - second.astype(float)) ** 2)
    return float(10 * np.log10(np.iinfo(first.dtype).max ** 2 / error)) if error else np.inf


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Uint8 [48, 64, 3]."""
    return image_io.decode_image(PHOTOGRAPH.read_bytes())[100:148, 120:184]


@pytest.fixture(scope="module")
def stored(photograph: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small .sad file."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "in.png").write_bytes(image_io.encode_image(photograph[:16, :16], "png"))
    done = run(folder, "encode", "in.png", "-o", "out.sad", "--sites", "20", "--effort", "1")
    assert done.returncode == 0, done.stderr
    return (folder / "out.sad").read_bytes()


def test_there_and_back(tmp_path: Path, photograph: np.ndarray) -> None:
    (tmp_path / "in.png").write_bytes(image_io.encode_image(photograph, "png"))
    done = run(tmp_path, "encode", "in.png", "-o", "out.sad", "--bpp", "2", "-e", "2", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    size = (tmp_path / "out.sad").stat().st_size
    assert report["bytes"] == size
    assert report["bpp"] == pytest.approx(8 * size / (64 * 48))
    keys = ("sites", "iterations", "fit_psnr", "psnr", "seconds", "warning")
    assert set(keys) <= set(report)
    done = run(tmp_path, "decode", "out.sad", "-o", "twice.png", "--scale", "2", "--json")
    enlarged = json.loads(done.stdout)
    assert (enlarged["width"], enlarged["bpp"]) == (128, report["bpp"])

    done = run(tmp_path, "decode", "out.sad", "-o", "back.png", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    back = image_io.decode_image((tmp_path / "back.png").read_bytes())
    assert back.shape == photograph.shape
    assert psnr(photograph, back) == pytest.approx(report["psnr"], abs=0.01)
    assert report["psnr"] > 25

    found = json.loads(run(tmp_path, "info", "out.sad", "--json").stdout)
    assert (found["bytes"], found["sites"], found["width"]) == (size, report["sites"], 64)
    assert sum(column["bytes"] for column in found["columns"]) < size
    assert b"64 x 48, RGB, 8 bits" in run(tmp_path, "info", "out.sad").stdout


def test_a_pipeline_gives_the_same_bytes_as_files(tmp_path: Path, photograph: np.ndarray) -> None:
    png = image_io.encode_image(photograph, "png")
    (tmp_path / "in.png").write_bytes(png)
    options = ["--sites", "60", "--effort", "1"]
    piped = run(tmp_path, "encode", "-", "-o", "-", "--quiet", *options, stdin=png)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert run(tmp_path, "encode", "in.png", "--threads", "2", *options).returncode == 0
    assert (tmp_path / "in.sad").read_bytes() == piped.stdout
    back = run(tmp_path, "decode", "-", "-o", "-", "--quiet", stdin=piped.stdout)
    assert (back.returncode, back.stderr) == (0, b"")
    assert image_io.decode_image(back.stdout).shape == photograph.shape
    assert b"64 x 48" in run(tmp_path, "info", "-", stdin=piped.stdout).stdout


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_of_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, dtype: type
) -> None:
    monkeypatch.chdir(tmp_path)
    row, column = np.mgrid[0:12, 0:10]
    planes = [np.full((12, 10), 0.5), column / 9, row / 11, (row + column) / 20][:channels]
    image = np.rint(np.stack(planes, axis=2) * np.iinfo(dtype).max).astype(dtype)
    Path("in.png").write_bytes(image_io.encode_image(image, "png"))
    for arguments in (
        ["encode", "in.png", "--sites", "30", "--effort", "1"],
        ["decode", "in.sad", "-o", "back.png"],
    ):
        assert run_sad(*arguments) == 0
    back = image_io.decode_image(Path("back.png").read_bytes())
    assert (back.shape, back.dtype) == (image.shape, dtype)
    assert psnr(image, back) > 20


def test_eval_of_good_and_bad_images(tmp_path: Path, photograph: np.ndarray) -> None:
    (tmp_path / "good.png").write_bytes(image_io.encode_image(photograph, "png"))
    (tmp_path / "bad.png").write_bytes(b"text")
    done = run(
        tmp_path, "eval", "good.png", "bad.png", "--bpp", "1,2", "-e", "1", "--out", "table.csv"
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"sad: bad.png: ")
    assert done.stderr.count(b"\n") == 1
    assert done.stdout != b""
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + 4
    again = run(tmp_path, "eval", "--from", "table.csv", "--out", "-")
    assert again.stdout == (tmp_path / "table.csv").read_bytes()
    assert (again.returncode, again.stderr) == (3, b"")
    again = run(tmp_path, "eval", "--from", "table.csv")
    assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]
    assert b"2 of 4 failed" in again.stdout


def expect_refusal(capfd: pytest.CaptureFixture[str], data: bytes, command: str) -> None:
    """One line, exit 1, and no output file, for these bytes as in.sad."""
    Path("in.sad").write_bytes(data)
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "in.sad", *(["-o", "out.png"] if command == "decode" else [])])
    out, err = capfd.readouterr()
    assert (caught.value.code, out) == (1, "")
    assert err.startswith("sad: in.sad: ")
    assert err.count("\n") == 1
    assert "internal" not in err
    assert os.listdir() == ["in.sad"]


@pytest.mark.parametrize("command", ["decode", "info"])
def test_a_file_cut_at_every_length(
    stored: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for length in range(len(stored)):
        expect_refusal(capfd, stored[:length], command)


def test_a_file_with_any_byte_changed(
    stored: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for at in range(len(stored)):
        expect_refusal(capfd, stored[:at] + bytes([stored[at] ^ 0x10]) + stored[at + 1 :], "decode")


@pytest.mark.parametrize(
    ("at", "value"),
    [(WIDTH_AT, 2**27), (SITES_AT, 2**31)],
    ids=["2^31 pixels", "2^31 sites"],  # the image is 16 px high
)
def test_a_header_that_asks_for_too_much(
    stored: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    at: int,
    value: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    header, rest = bytearray(stored[:HEADER_CRC_AT]), stored[HEADER_CRC_AT + 4 :]
    assert zlib.crc32(header) == struct.unpack_from("<I", stored, HEADER_CRC_AT)[0]
    header[at : at + 4] = struct.pack("<I", value)
    checksum = struct.pack("<I", zlib.crc32(header))
    for command in ("decode", "info"):
        expect_refusal(capfd, bytes(header) + checksum + rest, command)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_device(tmp_path: Path, stored: bytes, unbuffered: str) -> None:
    (tmp_path / "in.sad").write_bytes(stored)
    done = run(tmp_path, "decode", "in.sad", "-o", "/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        b"sad: /dev/full: No space left on device\n",
    )
    source = str(tmp_path / "in.sad")
    for arguments in (["decode", source, "-o", "-"], ["info", source], ["--help"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*SAD, *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                env=environment() | {"PYTHONUNBUFFERED": unbuffered},
            )
        assert (done.returncode, done.stderr) == (1, b"sad: stdout: No space left on device\n")


def test_a_reader_that_goes_away_is_no_message(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "in.sad").write_bytes(stored)
    for arguments in (["decode", "in.sad", "-o", "-", "--quiet"], ["info", "in.sad"], ["--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            done = subprocess.run(
                [*SAD, *arguments],
                cwd=tmp_path,
                stdout=closed,
                stderr=subprocess.PIPE,
                check=False,
                env=environment(),
            )
        assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_an_interrupted_process(tmp_path: Path) -> None:
    # Background jobs of a shell inherit an ignored SIGINT, hence the first statement.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from sadcodec.cli import main; main(['encode', '-', '-o', 'out.sad', '--backend', 'cpu'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        # More than a pipe holds: this returns once the process has started and reads.
        process.stdin.write(bytes(1 << 20))
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 128 + signal.SIGINT
        assert process.stderr.read().strip() == b""
    assert os.listdir(tmp_path) == []


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    program = "import sys, sadcodec, sadcodec.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    loaded = set(done.stdout.split())
    assert "sadcodec.cli.encode" in loaded
    assert not loaded & {"numpy", "PIL", "imageio", "sadcodec._core", "sadcodec.codec"}


def test_strict_writes_no_nearest_file(tmp_path: Path, photograph: np.ndarray) -> None:
    (tmp_path / "in.ppm").write_bytes(image_io.encode_image(photograph, "ppm"))
    options = ("in.ppm", "-o", "out.sad", "--size", "12", "--effort", "1")
    done = run(tmp_path, "encode", *options, "--strict")
    assert done.returncode == 1
    assert done.stderr.startswith(b"sad: in.ppm: cannot be encoded in 12 bytes")
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "out.sad").exists()
    done = run(tmp_path, "encode", *options)
    assert done.returncode == 0
    assert b"sad: in.ppm: warning: cannot be encoded in 12 bytes" in done.stderr
    assert (tmp_path / "out.sad").exists()


def test_metric_is_what_is_optimized_and_what_reports_say(tmp_path: Path) -> None:
    """A photograph coded for SSIM has more of it, and less PSNR, in as many bytes."""
    image = image_io.decode_image(PHOTOGRAPH.read_bytes())[60:220, 100:300]
    (tmp_path / "in.png").write_bytes(image_io.encode_image(image, "png"))
    rows, reports = {}, {}
    for metric in ("psnr", "ssim"):
        chosen = ("--metric", metric, "-e", "2")
        done = run(tmp_path, "eval", "in.png", "--size", "2000", *chosen, "--json", "--quiet")
        assert (done.returncode, done.stderr) == (0, b"")
        rows[metric] = json.loads(done.stdout)
        options = ("in.png", "-o", f"{metric}.sad", "--size", "2000", *chosen, "--json")
        reports[metric] = json.loads(run(tmp_path, "encode", *options).stdout)
        assert rows[metric]["metric"] == reports[metric]["metric"] == metric
        assert rows[metric]["psnr_db"] == pytest.approx(reports[metric]["psnr"])
        assert 1980 <= rows[metric]["bytes"] <= 2000
    assert rows["ssim"]["ssim"] > rows["psnr"]["ssim"] + 0.005
    assert rows["ssim"]["psnr_db"] < rows["psnr"]["psnr_db"] - 0.1
    default = run(tmp_path, "encode", "in.png", "-o", "d.sad", "--size", "2000", "-e", "2")
    assert default.returncode == 0
    assert (tmp_path / "d.sad").read_bytes() == (tmp_path / "psnr.sad").read_bytes()
    done = run(
        tmp_path, "eval", "in.png", "--bpp", "1", "-e", "1", "--metric", "ssim", "-o", "r.csv"
    )
    header, row = (tmp_path / "r.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(",")))["metric"] == "ssim"


def test_a_damaged_file_is_an_error_unless_repaired(photograph: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(image_io.encode_image(photograph, "png"))
    options = ["--size", "900", "--effort", "1", "--groups", "3", "--quiet"]
    assert run(tmp_path, "encode", "in.png", "-o", "in.sad", *options).returncode == 0
    data = bytearray((tmp_path / "in.sad").read_bytes())
    chunks = info(bytes(data)).chunks
    assert [chunk.type for chunk in chunks] == ["reCH"] + ["GRPE"] * 3
    assert len(data) <= 900
    data[chunks[2].offset + 60] ^= 1
    (tmp_path / "in.sad").write_bytes(data)
    refused = run(tmp_path, "decode", "in.sad", "-o", "out.png")
    named = f"chunk GRPE at byte {chunks[2].offset}: does not match its checksum"
    assert (refused.returncode, refused.stderr.decode()) == (1, f"sad: in.sad: {named}\n")
    assert not (tmp_path / "out.png").exists()
    repaired = run(tmp_path, "decode", "in.sad", "-o", "out.png", "--repair", "--quiet")
    assert repaired.returncode == 0
    first, second, third = repaired.stderr.decode().splitlines()
    assert first == f"sad: in.sad: warning: {named}"
    assert "are lost: columns " in second
    assert "sites that are left" in third
    assert image_io.decode_image((tmp_path / "out.png").read_bytes()).shape == photograph.shape
