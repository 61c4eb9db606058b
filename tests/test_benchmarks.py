"""The benchmark runs and measures what it says; its figures are for people to look at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BENCHMARKS, Load, load
from cuda_host.stand_in import make_cupy
from diagrams import random_sites
from PIL import Image

from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_fit_kernels import (
    ADAM,
    GATHER_ROWS,
    GRADIENT_TILES,
    GRADIENT_TILES_SAMPLED,
)

SPEED = BENCHMARKS / "speed.py"


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
    done = run(folder, "photo.png", "--sites", "200", "--iterations", "20", "--seeds", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    first, second = (line for line in lines if line and line[0] == "photo.png")
    assert first[1:4] == ["200", "20", "0"]
    assert second[1:4] == ["200", "20", "1"]
    deviation = abs(float(first[5]) - float(second[5])) / 2**0.5  # of two PSNRs
    assert abs(float(lines[-1][-2]) - deviation) < 0.01
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


def test_compositions(folder: Path, module: Load, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--side 32 --count 8 --iterations 2 --seeds 1 --threads 1 --images coffee"
    frames = [str(folder / "photo.png")] * 2
    module("compose").main([*options.split(), *frames])
    printed = capsys.readouterr().out
    assert printed.count("\n\n|") == 4
    assert "| coffee | " in printed
    assert printed.count("| noisy canvas | ") == printed.count("| 2 frames | ") == 1


# ---- GPU ----------------------------------------------------------------------------------------


@pytest.fixture
def runtime() -> Runtime:
    """A device whose kernels run on the CPU."""
    return Runtime(make_cupy(), 0)


def test_gpu_parts(
    folder: Path,
    module: Load,
    runtime: Runtime,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu, out = module("gpu"), folder / "gpu.json"
    other = f"'{sys.executable}' -c 'print(48.5)' {{image}} {{sites}} {{iterations}}"
    options = ["--quick", "--images", str(folder / "photo.png"), "--out", str(out)]
    assert gpu.main([*options, "--authors", other], runtime) == 0
    report = json.loads(out.read_text())
    assert (report["errors"], report["left_out"]) == ({}, {})
    assert set(gpu.LIMITS) < set(report)
    assert report["machine"][0]["gpu"] == "CUDA on the host"
    rates = {row["name"]: row["rate"] for row in report["ceilings"] if "rate" in row}
    assert set(rates) == {"copy", *module("gpu_costs").UNITS}
    assert min(rates.values()) > 0
    assert "an empty kernel: in a graph" in {row["name"] for row in report["ceilings"]}
    assert [row["iterations"] for row in report["fits"]] == [2, 3]
    assert report["fits"][0]["equal_when_repeated"]
    assert report["time_to"]["means"][1]["psnr_db"] > 15
    assert abs(report["cpu"][1]["difference_db"]) < 0.1
    stages = {row["stage"] for row in report["passes"]}
    assert stages > {"candidate lists", "gradient, all pixels", "gradient, 1 of 4", "Adam"}
    assert stages > {"statistics", "keep", "session that places sites", "render"}
    kernels = [row for row in report["passes"] if "bytes" in row]
    assert all(row["bytes"] > 0 and row["times_floor"] > 0 for row in kernels)
    launched = [row for row in kernels if row["kernel"] != "argsort of entries"]
    assert all(row["in_a_graph"]["median"] > 0 and "num_regs" in row for row in launched)
    assert all(row["step_device_ms"]["median"] > 0 for row in report["iterations"])
    assert {row["pixels"] for row in report["iterations"]} == {"all", "1 of 4"}
    for row in report["descent"]:
        assert 1 <= row["sites_at_once"] <= 30
        assert row["launches"] >= (row["classes"] if "sweep" in row["stage"] else 1)
    for row in report["decode"]:
        assert row["most_difference"] <= 1
    for row in report["memory"]:
        assert row["fit_foreseen"] > 0
        assert row["render_foreseen"] > 0
    assert report["authors"][0]["printed"].strip() == "48.5"
    assert "time to 46 dB" in capsys.readouterr().out


def test_gpu_part_that_fails(
    folder: Path,
    module: Load,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu, out = module("gpu"), folder / "gpu.json"

    def rows(*_: object) -> object:
        yield {"image": "first", "seconds": 1.0}
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(gpu.gpu_fits, "authors_rows", rows)
    options = ["--quick", "--parts", "authors,memory", "--authors", "x", "--out", str(out)]
    assert gpu.main([*options, "--markdown"], runtime) == 1
    report = json.loads(out.read_text())
    assert report["authors"] == [{"image": "first", "seconds": 1.0}]
    assert "illegal memory access" in report["errors"]["authors"]
    assert len(report["memory"]) == 2
    shown = capsys.readouterr()
    assert "| size | fit_bytes |" in shown.out
    assert "illegal memory access" in shown.err


def test_gpu_without_a_gpu(module: Load, tmp_path: Path) -> None:
    (tmp_path / "cupy").mkdir()  # hides an installed one
    (tmp_path / "cupy" / "__init__.py").write_text("")
    path = os.pathsep.join([str(tmp_path), str(SPEED.parent.parent)])
    command = [sys.executable, str(SPEED.with_name("gpu.py")), "--quick"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("gpu: machine: gpu: CuPy is installed but cannot be imported")
    assert done.stderr.count("\n") == 1


def test_pairs_of_lists(module: Load) -> None:
    costs = module("gpu_costs")
    lists = {"offsets": np.array([0, 3, 5, 5, 12])}  # 2 x 2 tiles of an image of 13 x 10
    lengths = costs.lengths_of(lists)
    assert lengths.tolist() == [3, 2, 0, 7]
    apart = {"offsets": np.array([2, 0, 5, 5, 5, 2, 5, 12]), "ends": 4}
    assert costs.lengths_of(apart).tolist() == [3, 2, 0, 7]
    assert costs.tile_pairs(lengths, 2, 13, 10) == 3 * 64 + 2 * 5 * 8 + 7 * 5 * 2
    # Squares of 8 px in squares of 16: 3 x 2 in 2 x 1.
    grid = {"side": 8, "parent_side": 16, "children_x": 3, "parents_x": 2}
    assert costs.filter_pairs(np.array([4, 7]), grid, 6) == 2 * (4 + 4 + 7)


def test_active_entries(module: Load) -> None:
    costs = module("gpu_costs")
    sites = np.zeros((3, 16), np.float32)
    sites[:, [2, 4, 5]] = 1.0, 1.0, 3.0  # round, tau 3
    sites[:, 0], sites[:, 1] = [0.5, 4.5, 40.5], 0.5  # the last is far from everything
    arguments = {"sites": sites, "offsets": np.array([0, 3]), "ids": np.arange(3)}
    arguments |= {"tiles_x": 1, "width": 8, "height": 4}
    found = costs.active_entries(arguments, 8, 7.0)
    y, x = np.mgrid[0:4, 0:8]
    near, far = np.hypot(x, y), np.hypot(x - 4, y)
    expected = (near <= far + 7 / 3).sum() + (far <= near + 7 / 3).sum()
    assert found.per_pixel == pytest.approx(expected / 32)
    assert found.warp_share == pytest.approx(2 / 6)  # the second warp has no pixel
    assert costs.active_entries(arguments, 1, 7.0).per_pixel == pytest.approx(36 / 32)  # ties


def test_estimates_follow_the_lists(module: Load) -> None:
    estimate = module("gpu_estimate")
    few, many = (random_sites(5, count, 256, 192).params for count in (300, 3000))
    sites = estimate.Sampled(few)
    ids = sites.listed(np.arange(300), (64, 64), 8, 7.0)
    reached = sites.blended(ids, (64, 64))
    assert 8 <= len(ids) < 300
    assert reached.sum(axis=1).max() == 8
    for x, y in ((0, 0), (4, 4)):
        pixels = np.ravel_multi_index(np.mgrid[y : y + 4, x : x + 4].reshape(2, -1), (8, 8))
        needed = int(reached[pixels].any(axis=0).sum())
        assert needed <= sites.chosen(ids, (64 + x, 64 + y)) < len(ids)
    short, long = (estimate.estimates(estimate.measured(p, 256, 192, 6)) for p in (few, many))
    assert all(short[part] < long[part] for part in short)


def test_bytes_and_floor(module: Load) -> None:
    costs = module("gpu_costs")
    rows = np.zeros((10, 9), np.float32)
    tables = dict.fromkeys(("gradients", "params", "first", "second"), rows)
    arguments = {**tables, "sites": np.zeros((10, 16), np.float32)}
    assert costs.bytes_moved(ADAM, arguments) == 360 + 2 * 3 * 360 + 640
    kept = {"in": rows, "index": np.arange(4, dtype=np.int32), "out": rows[:4]}
    assert costs.bytes_moved(GATHER_ROWS, kept) == 144 + 16 + 144
    lists = {"offsets": np.array([0, 5], np.int32), "ids": np.zeros(20, np.int32)}
    arguments = {"sites": arguments["sites"], **lists, "target": np.zeros((8, 8, 3), np.float32)}
    arguments |= {"rows": np.zeros((20, 9), np.float32), "losses": np.zeros(66, np.uint64)}
    arguments["weights"] = np.zeros(64, np.float32)
    fixed = 640 + 8 + 5 * 4 + 5 * 36 + 66 * 8
    assert costs.bytes_moved(GRADIENT_TILES, arguments) == fixed + 768 + 256
    sampled = costs.bytes_moved(GRADIENT_TILES_SAMPLED, {**arguments, "phase": 0})
    assert sampled == fixed + 384 + 128

    work = costs.Work(arithmetic=100, logit=10) + costs.Work(insert=2)
    assert work.operations == 100 + 10 * costs.UNITS["logit"] + 2 * costs.UNITS["insert"]
    rates = {"arithmetic": 50.0, "logit": 5.0, "insert": 1.0}
    assert costs.floor_seconds(30, work, 10.0, rates) == (3.0, 2.0 + 2.0 + 2.0)
    assert costs.floor_seconds(0, costs.Work(), 10.0, {}) == (0.0, 0.0)


def test_time_to_a_quality(module: Load) -> None:
    fits = module("gpu_fits")
    quality = {("a", 200): 44.0, ("b", 200): 46.5, ("a", 500): 45.8, ("b", 500): 47.0}
    quality["a", 1000] = 47.0
    rows = [
        {"image": name, "iterations": n, "seconds": n / 1000, "psnr_db": psnr, "ssim": None}
        for (name, n), psnr in quality.items()
    ]
    found = fits.time_to(rows, 46.0)
    assert found["mean"]["iterations"] == 500
    assert found["mean"]["psnr_db"] == pytest.approx(46.4)
    assert [mean["iterations"] for mean in found["means"]] == [200, 500]
    assert found["images"]["a"]["seconds"] == 1.0
    assert found["images"]["b"]["iterations"] == 200
    assert fits.time_to(rows, 50.0)["mean"] is None


def test_layers(module: Load) -> None:
    progressive = module("progressive")
    image = load("coffee.png")[96:144, 112:184]
    costs, prefixes = progressive.measure(image, 2.0, 1, layers=(2, 3))
    assert [cost.layers for cost in costs] == [2, 3]
    assert 0.0 < costs[0].more < costs[1].more
    assert [prefix.layers for prefix in prefixes] == [1, 2, 3]
    assert prefixes[0].psnr < prefixes[0].alone
    assert prefixes[-1].bytes == prefixes[-1].sites == 1.0
    assert len(progressive.tables([(costs, prefixes)]).splitlines()) == 10
    scores = progressive.orders(image, 2.0, 1)
    assert scores[-1][0] > scores[0][0]
    assert len(progressive.order_table(np.array(scores)).splitlines()) == 7
