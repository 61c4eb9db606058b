"""Sweeps, their tables and the comparison with other codecs."""

from __future__ import annotations

import csv
import io
import math
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadcodec import codec
from sadcodec.errors import InputError, OptionError, SadError
from sadcodec.evaluate.peers import read_peers
from sadcodec.evaluate.sweep import Row, run_sweep
from sadcodec.evaluate.table import COLUMNS, markdown, summary, write_csv
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

    def decode(data, *, backend="auto", threads=None):
        return (encode_with_report.last.astype(int) ^ 2).astype(np.uint8)

    monkeypatch.setattr(codec, "encode_with_report", encode_with_report)
    monkeypatch.setattr(codec, "decode", decode)
    return calls


def test_rows_hold_what_was_measured(tmp_path, images, fake_codec):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    rows = list(run_sweep(paths, "bpp", [0.5, 2], effort=3, seed=4, threads=1, backend="cpu"))
    assert [(row.image, row.value) for row in rows] == [
        ("a.png", 0.5),
        ("a.png", 2.0),
        ("b.png", 0.5),
        ("b.png", 2.0),
    ]
    row = rows[1]
    assert (row.width, row.height, row.codec, row.setting) == (36, 24, "sad", "bpp")
    assert (row.effort, row.seed, row.backend, row.error) == (3, 4, "cpu", "")
    assert (row.bytes, row.bpp, row.sites, row.fit_psnr_db) == (216, 2.0, 7, 50.0)
    decoded = images["a"] ^ np.uint8(2)
    assert row.psnr_db == psnr(images["a"], decoded)
    assert row.ssim == ssim(images["a"], decoded)
    assert row.encode_s >= 0
    assert row.decode_s >= 0
    assert row.version
    assert fake_codec[0] == {"bpp": 0.5, "effort": 3, "seed": 4, "threads": 1, "backend": "cpu"}


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
    assert any("a.png" in message for _, message in seen)


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
    file = io.StringIO(newline="")
    write_csv(rows, file)
    assert "\r" not in file.getvalue()
    back = list(csv.DictReader(io.StringIO(file.getvalue())))
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
    assert len(lines) == 4
    assert len({len(line) for line in lines[:3]}) == 1
    assert " ".join(lines[1].split()) == (
        "0.5 bpp 2 0.5005 31.50 31.00 0.9000 150 2.00 0.020 +0.60 %"
    )
    assert lines[2].split()[-2:] == ["-10.00", "%"]
    assert lines[3] == "1 of 4 failed"


def test_tables_of_failures_alone():
    text = summary([row(error="broken")])
    assert "0.5 bpp" in text
    assert text.splitlines()[1].split()[2:5] == ["0", "-", "-"]
    assert "1 of 1 failed" in markdown([row(error="broken")])


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


# ---- Other codecs -------------------------------------------------------------------------------

PEERS = """codec,quality,image,bytes,bpp,psnr,ssim,encode_s,decode_s
jpeg420,1,a,1,0.25,28,0.8,0,0
jpeg420,2,a,1,1.0,34,0.9,0,0
jpeg444,1,a,1,0.5,30,0.8,0,0
jpeg444,2,a,1,2.0,40,0.9,0,0
jpeg420,1,b,1,0.25,24,0.8,0,0
jpeg420,2,b,1,4.0,32,0.9,0,0
webp,1,a,1,4.0,50,0.8,0,0
webp,2,a,1,1.0,42,0.9,0,0
png,,a,1,12.0,99.0,1,0,0
"""


def test_peers_interpolate_in_log_rate():
    peers = read_peers(PEERS)
    assert peers.codecs == ["jpeg", "webp"]  # variants joined, lossless left out
    assert peers.psnr_at("jpeg", "b.png", 1.0) == pytest.approx(28)
    assert peers.psnr_at("webp", "folder/a.png", 2.0) == pytest.approx(46)  # unsorted in the file
    assert peers.psnr_at("jpeg", "a", 0.25) == pytest.approx(28)
    assert peers.psnr_at("webp", "a", 0.9) is None
    assert peers.psnr_at("webp", "b", 2.0) is None


def test_the_better_variant_counts_at_each_rate():
    peers = read_peers(PEERS)
    assert peers.psnr_at("jpeg", "a", 0.5) == pytest.approx(31)  # 4:2:0; 4:4:4 has 30
    assert peers.psnr_at("jpeg", "a", 1.0) == pytest.approx(35)  # 4:4:4; 4:2:0 has 34
    assert peers.psnr_at("jpeg", "a", 1.9) == pytest.approx(30 + 10 * math.log(3.8, 4))


def test_means_need_four_fifths_of_the_images():
    images = [f"i{index}" for index in range(5)]
    points = [f"x,{image},{bpp},{30 + bpp}" for image in images for bpp in (1, 2)]
    peers = read_peers("codec,image,bpp,psnr\n" + "\n".join(points))
    full = peers.mean_psnr("x", [(image, 2.0) for image in images])
    assert (full.psnr_db, full.covered, full.images) == (pytest.approx(32), 5, 5)
    partial = peers.mean_psnr("x", [(image, 2.0) for image in images[:4]] + [("i4", 3.0)])
    assert (partial.psnr_db, partial.covered) == (pytest.approx(32), 4)
    assert peers.mean_psnr("x", [(image, 2.0) for image in images[:3]] + [("i4", 3.0)]) is None
    assert peers.mean_psnr("x", []) is None


def test_tables_show_peers_beside_ours():
    rows = [row("a.png", bpp=1.0), row("b.png", bpp=1.0), row("c.png", error="broken")]
    lines = summary(rows, read_peers(PEERS)).splitlines()
    assert lines[0].split()[-2:] == ["jpeg", "webp"]
    assert lines[1].split()[-2:] == ["31.50", "-"]  # (35 + 28) / 2; webp lacks b
    five = [row(f"{name}.png", bpp=1.0) for name in "aaaab"]
    text = markdown(five, read_peers(PEERS))
    assert r"42.00\*" in text
    assert text.splitlines()[-1].startswith(r"\* mean over")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column codec"),
        ("codec,image,bpp\nx,a,1\n", "column psnr"),
        ("codec,image,bpp,psnr\n", "no lossy points"),
        ("codec,image,bpp,psnr\nx,a,1,99.0\n", "no lossy points"),
        ("codec,image,bpp,psnr\nx,a,1,30\nx,a,none,30\n", "line 3"),
        ("codec,image,bpp,psnr\nx,a,0,30\n", "line 2"),
        ("codec,image,bpp,psnr\nx,a,1\n", "line 2"),
    ],
)
def test_bad_tables_of_peers_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        read_peers(text)


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


def test_errors_of_the_codec_are_of_this_package():
    with pytest.raises(SadError):
        codec.decode(b"")
