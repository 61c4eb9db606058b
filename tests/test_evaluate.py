"""Sweeps, their tables and rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadcodec import codec
from sadcodec.errors import InputError, OptionError, SadError
from sadcodec.evaluate.reading import check_comparable, read_rows
from sadcodec.evaluate.row import Row
from sadcodec.evaluate.sweep import run_sweep
from sadcodec.evaluate.table import markdown, summary
from sadcodec.evaluate.writing import COLUMNS, table_text
from sadcodec.metrics import psnr, ssim


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    out = {}
    for name, shape in (("a", (24, 36, 3)), ("b", (16, 20, 3))):
        out[name] = rng.integers(0, 256, shape).astype(np.uint8)
        Image.fromarray(out[name]).save(tmp_path / f"{name}.png")
    return out


@pytest.fixture
def fake_codec(monkeypatch):
    """Stands in for the codec: files of the length asked for, pictures off by 2 code values."""
    calls = []

    def encode_with_report(image, *, progress=None, **options):
        calls.append(options)
        if options.get("bpp") == 9:
            raise OptionError("cannot\nbe reached")
        progress(0.5, "half")
        height, width, _ = image.shape
        size = round(options.get("bpp", 1) * height * width / 8)
        encode_with_report.last = image
        report = types.SimpleNamespace(sites=7, fit_psnr=50.0)
        return b"x" * size, report

    def decode(data, *, backend="auto", threads=None, max_pixels=None):
        return (encode_with_report.last.astype(int) ^ 2).astype(np.uint8)

    monkeypatch.setattr(codec, "encode_with_report", encode_with_report)
    monkeypatch.setattr(codec, "decode", decode)
    return calls


def test_rows_hold_what_was_measured(tmp_path, images, fake_codec):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    options = {"metric": "ssim", "effort": 3, "seed": 4, "threads": 1, "backend": "cpu"}
    rows = list(run_sweep(paths, "bpp", [0.5, 2], **options))
    assert [(row.image, row.value) for row in rows] == [
        ("a.png", 0.5),
        ("a.png", 2.0),
        ("b.png", 0.5),
        ("b.png", 2.0),
    ]
    row = rows[1]
    assert (row.width, row.height, row.codec, row.setting) == (36, 24, "sad", "bpp")
    assert (row.metric, row.effort, row.seed, row.backend) == ("ssim", 3, 4, "cpu")
    assert row.error == ""
    assert (row.bytes, row.bpp, row.sites, row.fit_psnr_db) == (216, 2.0, 7, 50.0)
    decoded = images["a"] ^ np.uint8(2)
    assert row.psnr_db == psnr(images["a"], decoded)
    assert row.ssim == ssim(images["a"], decoded)
    assert row.encode_s >= 0
    assert row.decode_s >= 0
    assert row.version
    assert fake_codec[0] == {"bpp": 0.5, **options}


@pytest.mark.parametrize("kind", ["sites", "size"])
def test_counts_are_integers(tmp_path, images, fake_codec, kind):
    list(run_sweep([tmp_path / "a.png"], kind, [1500.0]))
    assert fake_codec[0][kind] == 1500
    assert isinstance(fake_codec[0][kind], int)


def test_failures_are_rows_and_the_sweep_goes_on(tmp_path, images, fake_codec):
    (tmp_path / "text.png").write_text("no image")
    paths = [tmp_path / "missing.png", tmp_path / "text.png", tmp_path / "a.png"]
    rows = list(run_sweep(paths, "bpp", [9, 1]))
    assert [bool(row.error) for row in rows] == [True, True, True, True, True, False]
    assert all("\n" not in row.error for row in rows)
    assert rows[4].error == "cannot be reached"
    assert (rows[0].width, rows[0].bytes, rows[0].psnr_db) == (None, None, None)
    assert (rows[4].width, rows[4].bytes) == (36, None)


def test_progress_rises_to_the_end(tmp_path, images, fake_codec):
    seen = []
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    list(run_sweep(paths, "bpp", [1, 2], progress=lambda f, m: seen.append((f, m))))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert 0.8 < fractions[-1] <= 1
    assert any("a sad 1 bpp" in message for _, message in seen)


def test_an_image_too_small_for_ssim_has_none(tmp_path, fake_codec):
    Image.fromarray(np.zeros((5, 9, 3), np.uint8)).save(tmp_path / "tiny.png")
    (row,) = run_sweep([tmp_path / "tiny.png"], "bpp", [8])
    assert row.ssim is None
    assert row.psnr_db > 40
    assert row.error == ""


def test_bad_sweeps_are_refused_at_once(tmp_path):
    with pytest.raises(OptionError, match="speed"):
        run_sweep([], "speed", [1])
    with pytest.raises(OptionError, match="value"):
        run_sweep([], "bpp", [])


# ---- Tables -------------------------------------------------------------------------------------


def row(image="a.png", value=0.5, error="", **fields):
    measured = {
        "bytes": 1000,
        "bpp": 0.501,
        "psnr_db": 30.0,
        "ssim": 0.9,
        "fit_psnr_db": 31.0,
        "sites": 100,
        "encode_s": 2.0,
        "decode_s": 0.02,
    }
    base = Row(image, 64, 48, "sad", "bpp", value, 5, 0, "auto", error=error)
    return Row(**(vars(base) | ({} if error else measured) | fields))


def test_csv_reads_back():
    rows = [row(), row("b.png", error="bad, very bad"), row("c.png", psnr_db=math.inf, ssim=None)]
    text = table_text(rows)
    assert "\r" not in text
    back = list(csv.DictReader(io.StringIO(text)))
    assert tuple(back[0]) == COLUMNS
    assert COLUMNS[:6] == ("image", "width", "height", "codec", "setting", "value")
    assert (back[0]["bytes"], back[0]["bpp"], back[0]["psnr_db"]) == ("1000", "0.50100", "30.0000")
    assert (back[1]["error"], back[1]["bytes"], back[1]["bpp"]) == ("bad, very bad", "", "")
    assert (back[2]["psnr_db"], back[2]["ssim"]) == ("inf", "")


def test_summary_gives_means_and_the_worst_deviation():
    rows = [
        row(bpp=0.498, psnr_db=30.0),
        row("b.png", bpp=0.503, psnr_db=33.0, sites=201),
        row("c.png", error="broken"),
        row(value=1.0, bpp=0.9),
    ]
    lines = summary(rows).splitlines()
    assert len(lines) == 8
    assert len({len(line) for line in lines[:3]}) == 1
    assert " ".join(lines[1].split()) == (
        "0.5 bpp 2 0.5005 31.50 31.00 0.9000 150 2.00 0.020 +0.60 %"
    )
    assert lines[2].split()[-2:] == ["-10.00", "%"]
    assert lines[3:6] == ["", "Standard deviation over the images:", " target  PSNR    SSIM"]
    assert lines[6].split() == ["0.5", "bpp", "2.12", "0.0000"]
    assert lines[7] == "1 of 4 failed"


def test_tables_of_failures_alone():
    text = summary([row(error="broken")])
    assert "0.5 bpp" in text
    assert text.splitlines()[1].split()[2:5] == ["0", "-", "-"]
    assert "1 of 1 failed" in markdown([row(error="broken")])
    unmeasured = row(error="broken", psnr_db=None, ssim=None, fit_psnr_db=None)
    assert "Standard deviation" not in summary([unmeasured])


def test_quality_has_no_deviation():
    assert summary([row(setting="quality", value=75.0)]).splitlines()[1].split()[-1] == "-"


def test_markdown_has_the_cells_of_the_summary():
    rows = [row(), row(value=1.0)]
    lines = markdown(rows).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert set(lines[1]) <= set("|-: ")
    plain = [line.replace("|", " ").split() for line in (lines[0], *lines[2:])]
    assert plain == [line.split() for line in summary(rows).splitlines()]


# ---- Rows of earlier sweeps ---------------------------------------------------------------------


def test_rows_read_back():
    rows = [row(), row("b,c.png", error="bad, very bad"), row("d.png", psnr_db=math.inf, ssim=None)]
    rows.append(row("e.png", width=None, height=None, error="no image"))
    assert read_rows(table_text(rows)) == rows
    short = "\n".join(",".join(line.split(",")[:18]) for line in table_text(rows[:1]).splitlines())
    assert "version" not in short  # as an older version might have written it
    assert read_rows(short) == rows[:1]


def test_unknown_columns_are_ignored():
    lines = table_text([row()]).splitlines()
    wider = f"mood,{lines[0]}\ngood,{lines[1]}\n"
    assert read_rows(wider) == [row()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "", "lacks the column image"),
        (lambda text: text.replace("psnr_db", "quality"), "lacks the column psnr_db"),
        (lambda text: text.splitlines()[0], "without rows"),
        (lambda text: text.replace("1000", "many"), "line 2: bytes is 'many'"),
        (lambda text: text.replace("1000", "-1000"), "line 2: bytes is -1000"),
        (lambda text: text.replace("0.50100", "nan"), "line 2: bpp is nan"),
        (lambda text: text.replace("0.50100", "0"), "line 2: bpp is 0"),
        (lambda text: text.replace("30.0000", ""), "line 2: psnr_db is empty"),
        (lambda text: text.replace(",64,", ",,").replace(",5,", ",,"), "line 2: effort is empty"),
        (lambda text: text.replace(",bpp,0.5,", ",speed,0.5,"), "line 2: setting is 'speed'"),
        (lambda text: text[:60] + text[60:].rsplit(",", 5)[0], "line 2: it is cut short"),
    ],
)
def test_bad_rows_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        read_rows(change(table_text([row()])))


def test_rows_of_two_efforts_or_metrics_do_not_mix():
    check_comparable([row(), row("b.png", value=2.0, seed=1)])
    with pytest.raises(InputError, match="effort 5 and 9"):
        check_comparable([row(), row(effort=9)])
    with pytest.raises(InputError, match="metric psnr and ssim"):
        check_comparable([row(), row(metric="ssim")])
    check_comparable([row(), row(codec="jpeg", effort=None, seed=None, metric=""), row(seed=1)])
    with pytest.raises(InputError, match=r"row of a\.png by sad at 0\.5 bpp is there twice"):
        check_comparable([row(), row()])


# ---- With the codec itself -----------------------------------------------------------------------


def test_end_to_end(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    rows = list(run_sweep([tmp_path / "photo.png"], "bpp", [0.5, 2.0], effort=1, threads=1))
    for wanted, got in zip((0.5, 2.0), rows, strict=True):
        assert got.error == ""
        assert got.bpp == pytest.approx(wanted, rel=0.05)
        assert got.bytes == round(got.bpp * photo.shape[0] * photo.shape[1] / 8)
        assert got.sites > 1
    assert rows[1].psnr_db > rows[0].psnr_db + 2
    assert rows[1].ssim > rows[0].ssim
    assert rows[1].fit_psnr_db >= rows[1].psnr_db - 1


def test_other_codecs_meet_the_same_targets(tmp_path, photo):
    """The same rows for any number of jobs; other codecs are run once, whatever the repeats."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(photo.astype(np.uint16)[:, :, 0] * 257).save(tmp_path / "deep.png")
    options = {"codecs": ("jpeg", "sad"), "metrics": ("ssim", "ms-ssim"), "repeats": 2}
    options |= {"effort": 1, "backend": "cpu", "seed": 7}
    tables = []
    for jobs in (1, 2):
        files = {}
        rows = run_sweep(
            [tmp_path / "photo.png", tmp_path / "deep.png"],
            "bpp",
            [2.0],
            jobs=jobs,
            receive=lambda row, data, files=files: files.__setitem__(row.key, data),
            **options,
        )
        untimed = [dataclasses.replace(row, encode_s=None, decode_s=None) for row in rows]
        tables.append((untimed, files))
    assert tables[0] == tables[1]
    rows, files = tables[0]
    assert [(row.image, row.codec, row.repeat, row.seed) for row in rows] == [
        *(("photo.png", "jpeg", 0, None), ("photo.png", "sad", 0, 7), ("photo.png", "sad", 1, 8)),
        *(("deep.png", "jpeg", 0, None), ("deep.png", "sad", 0, 7), ("deep.png", "sad", 1, 8)),
    ]
    assert [bool(row.error) for row in rows] == [False] * 3 + [True, False, False]
    jpeg = rows[0]
    assert (jpeg.metric, jpeg.backend, jpeg.effort) == ("", "", None)
    assert jpeg.bpp == pytest.approx(2, rel=0.05)
    assert "quality" in jpeg.detail
    assert "libjpeg" in jpeg.codec_version
    with Image.open(io.BytesIO(files[jpeg.key])) as image:
        assert jpeg.psnr_db == psnr(photo, np.asarray(image))
    assert (jpeg.ms_ssim, jpeg.measured) == (None, "psnr ssim ms-ssim")  # too small for it
    assert len(files) == 5


def test_errors_of_the_codec_are_of_this_package():
    with pytest.raises(SadError):
        codec.decode(b"")
