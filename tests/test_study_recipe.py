"""The study of the authors' recipe runs and tabulates what it says."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("study_recipe")


def test_the_study(
    study: ModuleType,
    tmp_path: Path,
    photo: np.ndarray,
    gray: np.ndarray,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = [str(tmp_path / name) for name in ("one.png", "two.png")]
    for path, image in zip(paths, (photo, gray[:, :, 0])):
        Image.fromarray(image).save(path)
    out = tmp_path / "study.json"
    options = ["--sites", "40", "--seeds", "2", "--efforts", "1", "--iterations", "40"]
    options += ["--crop", "48x32", "--jobs", "1", "--out", str(out)]
    assert study.main(["--images", *paths, *options]) == 0
    rows = json.loads(out.read_text())["fits"]
    assert len(rows) == 2 * 2 * (len(study.VARIANTS) + 1)
    for row in rows:
        assert row["sites"] == 40
        assert 15 < row["psnr_db"] < 45
        assert 0.3 < row["ssim"] < 1
        paper = row["recipe"].startswith("paper")
        assert row["iterations"] == (40 if paper else 52)
        assert [at["iteration"] for at in row["checkpoints"]] == ([5, 10, 20, 30] if paper else [])
        if paper:
            assert row["checkpoints"][0]["sites"] > 300
            times = [at["cpu_s"] for at in row["checkpoints"]]
            assert times == sorted(times)
            assert times[-1] <= row["cpu_s"]
    printed = capsys.readouterr().out
    assert printed.count("| --- |") == 3
    mine = [row for row in rows if row["recipe"] == "paper"]
    seeds = [np.mean([r["psnr_db"] for r in mine if r["seed"] == seed]) for seed in (0, 1)]
    assert f"{np.mean(seeds):.2f} ± {np.std(seeds, ddof=1):.2f}" in printed
    assert mine[0]["psnr_db"] != mine[1]["psnr_db"]


def test_what_is_missing_is_one_line(
    study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main(["--images", str(tmp_path / "none.png"), "--jobs", "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("study_recipe: ")
    assert error.count("\n") == 1
