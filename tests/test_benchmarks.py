"""The benchmark runs and measures what it says; its figures are for people to look at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPEED = Path(__file__).resolve().parent.parent / "benchmarks" / "speed.py"


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return subprocess.run(
        [sys.executable, str(SPEED), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path


def test_files_and_passes(folder: Path) -> None:
    options = ["--effort", "1,2", "--decodes", "3", "--commands", "1", "--repeats", "2"]
    done = run(folder, "photo.png", *options, "--passes", "50,100", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["machine"]["threads"] >= 1
    assert [row["effort"] for row in report["files"]] == [1, 2]
    for row in report["files"]:
        assert row["bytes"] <= 0.5 * 64 * 96 / 8
        for name, runs in (("encode_ms", 1), ("decode_ms", 3), ("command_ms", 1)):
            times = row[name]
            assert 0 < times["least"] <= times["median"] <= times["most"]
            assert times["runs"] == runs
    assert list(report["passes"]) == ["50", "100"]
    for found in report["passes"].values():
        assert {"fit: Adam", "refine: sweep", "coder: encode", "decode: render"} <= set(found)


def test_tables(folder: Path) -> None:
    done = run(folder, "photo.png", "--sites", "200", "--iterations", "20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "photo.png    200          20" in done.stdout
    options = ["--effort", "1", "--decodes", "1", "--commands", "0", "--passes", "40"]
    done = run(folder, "photo.png", *options, "--repeats", "1")
    assert done.returncode == 0
    assert "96x64" in done.stdout
    assert "fit: candidate lists" in done.stdout


def test_a_missing_image(folder: Path) -> None:
    done = run(folder, "none.png")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "none.png" in done.stderr
