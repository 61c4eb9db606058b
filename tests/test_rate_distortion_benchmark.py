"""benchmarks/rate_distortion.py: its tables run, its switches switch, its models are right."""

from __future__ import annotations

import json
import math
import types
from pathlib import Path

import numpy as np
import pytest
from conftest import Load
from PIL import Image

import sadcodec
from sadcodec.codec import encode_with_report


@pytest.fixture
def image(tmp_path: Path, photo: np.ndarray) -> Path:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_tables(image: Path, module: Load, capsys: pytest.CaptureFixture[str]) -> None:
    out = image.with_name("rd.json")
    options = ["--images", str(image), "--effort", "1", "--bpp", "0.5,1", "--sites", "60,100"]
    options += ["--efforts", "1,2", "--efforts-bpp", "1", "--threads", "1", "--out", str(out)]
    assert module("rate_distortion").main(options) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    titles = [line for line in shown.out.splitlines() if line.endswith(":")]
    assert [title.split(" ")[0] for title in titles] == ["Bits", "PSNR", "Bytes", "Efforts"]
    report = json.loads(out.read_text())

    for bpp in (0.5, 1.0):
        columns = {row["column"]: row for row in report["columns"] if row["bpp"] == bpp}
        assert list(columns)[:5] == ["position", "log_tau", "log_anisotropy", "angle", "y"]
        assert columns["all"]["coded"] == pytest.approx(
            sum(row["coded"] for name, row in columns.items() if name not in ("all", "file"))
        )
        assert columns["all"]["coded"] < columns["file"]["coded"]
        assert columns["y"]["contexts"] <= columns["y"]["static"]
        assert columns["position"]["contexts"] is None

    techniques = module("rd_techniques").TECHNIQUES
    names = ["", *(technique.name for technique in techniques)]
    assert [row["technique"] for row in report["techniques"]] == 2 * names
    for row in report["techniques"]:
        octaves = math.log2(8 * row["bytes"] / (64 * 96 * row["bpp"]))
        assert row["score_db"] == pytest.approx(row["psnr_db"] - 2.3 * octaves)
    line = next(line for line in shown.out.splitlines() if line.startswith("| integer descent"))
    whole, without = (
        next(row["score_db"] for row in report["techniques"] if row["technique"] == name)
        for name in ("", "integer descent")
    )
    assert line.split(" | ")[2] == f"{without - whole:+.2f}"
    assert without < whole - 0.2

    assert [row["sites"] for row in report["accounting"]] == [60, 100]
    for row in report["accounting"]:
        assert row["share"] == row["bytes"] / (16 * row["sites"])
        assert 0.15 < row["share"] < 1
        coded = encode_with_report(
            np.asarray(Image.open(image)), size=round(row["bytes"]), effort=1, backend="cpu"
        )[1]
        assert coded.psnr == pytest.approx(row["fit_psnr_db"], abs=1.0)
    assert [row["effort"] for row in report["efforts"]] == [1, 2]
    assert all(row["seconds"] > 0 and 0 < row["ssim"] < 1 for row in report["efforts"])


def test_every_switch_does_something_and_is_undone(photo: np.ndarray, module: Load) -> None:
    bench = module("rd_techniques")
    options = {"effort": 1, "threads": 1, "backend": "cpu"}
    data, whole = encode_with_report(photo, bpp=1.0, **options)
    for technique in bench.TECHNIQUES:
        off = bench.encode_without(technique, data, photo, 1.0, **options)
        assert (off.bytes, off.psnr) != (whole.bytes, whole.psnr), technique.name
    assert sadcodec.encode(photo, bpp=1.0, **options) == data


def test_models(module: Load) -> None:
    columns = module("rd_columns")
    values = np.repeat([0, 1, 2, 3], 8)
    assert columns.entropy(values) == pytest.approx(2.0)
    assert columns.entropy(values, values // 2) == pytest.approx(1.0)
    assert columns.entropy(np.zeros(5, int)) == 0.0
    # Two of three cells, with repetition: 6 sets.
    assert columns.position_bits(2, 3) == pytest.approx(math.log2(6) / 2)
    assert columns.position_bits(1, 1024) == pytest.approx(10)


@pytest.mark.parametrize("first", [100, 1000, 9000])
def test_the_bytes_at_a_psnr(module: Load, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    bench = module("rate_distortion")
    sizes = []

    def encode(image: None, *, size: int, **_: object) -> tuple[bytes, types.SimpleNamespace]:
        sizes.append(size)
        psnr = 30 + 2.0 * math.log2(size / 1000) + 0.05 * math.log2(size / 1000) ** 2
        return b"", types.SimpleNamespace(bytes=size, psnr=psnr)

    monkeypatch.setattr(bench, "encode_with_report", encode)
    assert bench.bytes_at(30.0, first, None, {}) == pytest.approx(1000, rel=0.01)
    assert len(sizes) <= 3


def test_wrong_use(tmp_path: Path, module: Load, capsys: pytest.CaptureFixture[str]) -> None:
    bench = module("rate_distortion")
    assert bench.main(["--images", str(tmp_path / "none.png")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    for wrong in (["--only", "speed"], ["--bpp", "0"], ["--efforts", "x"]):
        with pytest.raises(SystemExit) as caught:
            bench.main(wrong)
        assert caught.value.code == 2
