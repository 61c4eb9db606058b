"""benchmarks/study_topk.py: its tables run, and what it measures is what it says."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import Load
from diagrams import random_sites, smooth_target
from PIL import Image

from sadcodec import _core
from sadcodec.backends.base import Propagation
from sadcodec.backends.cpu_propagate import CpuTopKMap
from sadcodec.backends.reference import blends
from sadcodec.sites import LOG_TAU


def test_tables(
    tmp_path: Path, photo: np.ndarray, module: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = tmp_path / "photo.png", tmp_path / "topk.json"
    Image.fromarray(photo).save(image)
    options = ["--images", str(image), "--sites", "60", "--iterations", "24", "--jobs", "1"]
    options += ["--seeds", "0,1", "--probes", "8,24", "--injected", "0,4", "--passes", "1,2"]
    options += ["--intervals", "4", "--ks", "4,8", "--out", str(out)]
    assert module("study_topk").main(options) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    titles = [line for line in shown.out.splitlines() if line.endswith(":")]
    assert [title.split(" ")[0] for title in titles] == ["Maps", "Angle", "Maps", "Fits", "Fits"]
    assert module("study_topk").main(["--from", str(out)]) == 0
    assert capsys.readouterr().out == shown.out
    report = json.loads(out.read_text())
    assert report["case"]["sites"] == 60

    rows = report["fidelity"]
    moments = {(8, "before"), (8, "after"), (24, "before"), (24, "after")}
    assert {(row["iteration"], row["moment"]) for row in rows} == moments
    assert {(row["injected"], row["passes"]) for row in rows} == {(0, 1), (4, 1), (4, 2)}
    assert len(rows) == 2 * 2 * (2 + 3)
    for row in rows + report["coverage"]:
        assert 0 <= row["best_missed"] <= row["differs"] <= 1
        assert 0 <= row["missed"] <= row["missed_most"] <= 1
        assert 0 <= row["missed_999"] <= row["missed_most"]
        assert 0 <= row["angle"]["all"] <= 180
    settled = [row for row in report["coverage"] if (row["injected"], row["passes"]) == (4, 32)]
    assert all(row["missed"] < 0.02 for row in settled)

    fits = report["fits"]
    assert {row["k"] for row in fits} == {4, 8}
    assert len(fits) == 2 * 7
    assert len({row["psnr_db"] for row in fits}) > 10
    exact = [row["psnr_db"] for row in fits if row["injected"] is None and row["k"] == 8]
    line = next(line for line in shown.out.splitlines() if line.startswith("| exact |"))
    mean, spread = np.mean(exact), np.std(exact, ddof=1)
    assert line.split(" | ")[4] == f"{mean:.2f} ± {spread:.2f}"


@pytest.fixture
def probe_case(module: Load) -> tuple[ModuleType, np.ndarray, np.ndarray, np.ndarray]:
    sites = random_sites(40, 80, 40, 32)
    target = smooth_target(40, 40, 32, 3)
    ids = _core.exact_lists(sites.params, 40, 32, 8, 1)
    return module("topk_measures"), sites.params, target, ids


def test_exact_lists_miss_nothing(probe_case) -> None:
    measures, params, target, ids = probe_case
    row = measures.Exact(params, target, ids).compare(ids[:, ::-1])  # in any order
    assert row["differs"] == row["best_missed"] == row["missed_most"] == 0
    assert abs(row["psnr_change_db"]) < 1e-4
    lists = CpuTopKMap(40, 32, 8, 1, Propagation(injected=8))
    lists.start(params, passes=60)
    row = measures.Probe(target, params, 8, 1).row(lists)
    assert row["missed"] < 1e-6
    assert row["angle"]["all"] < 0.5


def test_a_missing_site_is_missed_by_its_weight(probe_case) -> None:
    measures, params, target, ids = probe_case
    weights, wanted = np.zeros(len(ids)), np.arange(len(ids))
    for blend in blends(params.astype(np.float64), 40, 8, wanted):
        np.testing.assert_array_equal(blend.ids, ids[blend.pixels])
        weights[blend.pixels] = blend.weights[:, 1]
    wrong = ids.copy()
    wrong[::2, 1] = -1
    row = measures.Exact(params, target, ids).compare(wrong)
    assert row["differs"] == pytest.approx(0.5)
    assert row["best_missed"] == 0
    assert row["missed"] == pytest.approx(weights[::2].sum() / len(ids), rel=1e-3)
    assert row["missed_most"] == pytest.approx(weights[::2].max(), rel=1e-3)
    wrong[0, 0] = -1
    assert measures.Exact(params, target, ids).compare(wrong)["best_missed"] == 1 / len(ids)


def test_angles(module: Load) -> None:
    angle = module("topk_measures").angle
    x, y = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
    assert angle(x, 3 * x) == pytest.approx(0, abs=1e-5)
    assert angle(x, y) == pytest.approx(90)
    assert angle(x, x + np.array([[0.0, 1.0]])) == pytest.approx(45)
    assert angle(x, 0 * x) == 0
    assert LOG_TAU in module("topk_measures").COLUMNS["log_tau"]


@pytest.mark.parametrize(
    ("options", "status"), [(["--images", "missing.png"], 1), (["--only", "guess"], 2)]
)
def test_wrong_use(
    module: Load, capsys: pytest.CaptureFixture[str], options: list[str], status: int
) -> None:
    study = module("study_topk")
    if status == 1:
        assert study.main([*options, "--jobs", "1"]) == 1
        assert capsys.readouterr().err.startswith("study_topk: ")
    else:
        with pytest.raises(SystemExit) as caught:
            study.main(options)
        assert caught.value.code == 2
