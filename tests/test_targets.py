"""Targets: bytes, PSNR and quality are met closely, in order, or a warning says what is nearest."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import load

import sadcodec
from sadcodec import metrics
from sadcodec.codec import encode_with_report
from sadcodec.errors import TargetError
from sadcodec.fill import fills
from sadcodec.targets import psnr as psnr_target
from sadcodec.targets.curve import Curve
from sadcodec.targets.trial import count_at, usual_gain


def crop(name: str, x: int, y: int, width: int, height: int) -> np.ndarray:
    return load(name)[y : y + height, x : x + width].copy()


def gray() -> np.ndarray:
    return crop("camera.png", 90, 30, 100, 100)[:, :, :1]


def with_alpha() -> np.ndarray:
    ramp = np.tile(np.clip(np.arange(120) * 4, 0, 255).astype(np.uint8), (96, 1))
    return np.dstack([crop("astronaut.png", 80, 20, 120, 96), ramp])


def deep() -> np.ndarray:
    image = crop("chelsea.png", 100, 60, 120, 90).astype(np.int64) * 257
    image += np.random.default_rng(1).integers(-128, 128, image.shape)
    return np.clip(image, 0, 65535).astype(np.uint16)


def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 40, 3), dtype=np.uint8)


IMAGES = {
    "coffee": lambda: crop("coffee.png", 90, 60, 96, 96),
    "chelsea": lambda: crop("chelsea.png", 100, 60, 200, 150),
    "drawing": lambda: crop("drawing.png", 80, 60, 128, 128),
    "small": lambda: crop("astronaut.png", 100, 40, 32, 32),
    "gray": gray,
    "with_alpha": with_alpha,
    "deep": deep,
    "noise": noise,
}


def decoded_psnr(image: np.ndarray, data: bytes) -> float:
    return metrics.psnr(image, sadcodec.decode(data))


# PSNR


@pytest.mark.parametrize("psnr", [25.0, 31.0, 38.0, 44.0])
@pytest.mark.parametrize("name", [name for name in IMAGES if name != "noise"])
def test_a_psnr_is_met_to_a_twentieth_of_a_db(name, psnr):
    image = IMAGES[name]()
    data, report = encode_with_report(image, psnr=psnr, effort=1)
    assert report.warning is None
    assert psnr <= decoded_psnr(image, data) <= psnr + 0.05


@pytest.mark.parametrize("psnr", [18.0, 26.0, 34.0, 44.0])
def test_a_psnr_of_noise_is_met_or_a_warning_says_what_is(psnr):
    """Near a site for every pixel, one site is worth more than 0.05 dB."""
    image = IMAGES["noise"]()
    data, report = encode_with_report(image, psnr=psnr, effort=1)
    reached = decoded_psnr(image, data)
    assert psnr <= reached <= psnr + 0.5
    assert (report.warning is None) == (reached <= psnr + 0.05)
    assert report.warning is None or f"; {reached:.2f} dB is the nearest" in report.warning


def test_a_psnr_is_met_at_other_efforts():
    image = IMAGES["gray"]()
    for effort in (3, 5):
        data, report = encode_with_report(image, psnr=33.0, effort=effort)
        assert report.warning is None
        assert 33.0 <= decoded_psnr(image, data) <= 33.05


@pytest.mark.parametrize("psnr", [30.0, 41.0])
def test_a_psnr_costs_no_more_bytes_than_a_size(psnr):
    """The size target at the same bytes is at most a little better: fits differ by chance."""
    gained = []
    for name in ("coffee", "gray", "with_alpha"):
        image = IMAGES[name]()
        data, report = encode_with_report(image, psnr=psnr, effort=3)
        gained.append(encode_with_report(image, size=len(data), effort=3)[1].psnr - report.psnr)
    assert np.mean(gained) < 0.15


@pytest.mark.parametrize(
    ("psnr", "words"),
    [(90.0, "90 dB is out of reach; ([0-9.]+) dB is the nearest"),
     (5.0, "5 dB cannot be met closely; ([0-9.]+) dB is the nearest")],
)  # fmt: skip
def test_a_psnr_that_no_file_has(psnr, words):
    image = crop("coffee.png", 90, 60, 24, 20)
    data, report = encode_with_report(image, psnr=psnr, effort=1)
    told = re.fullmatch(words, report.warning)
    assert told is not None
    assert float(told[1]) == pytest.approx(decoded_psnr(image, data), abs=0.006)
    with pytest.raises(TargetError, match="nearest"):
        encode_with_report(image, psnr=psnr, effort=1, strict=True)
    # Nearest: about what a site for every pixel reaches (with a radius), or as little as one has.
    others = [encode_with_report(image, sites=n, effort=1)[1].psnr for n in (1, 60, 480)]
    assert report.psnr > max(others) - 0.5 if psnr > 50 else report.sites == 1


def test_the_next_count_lies_between_the_nearest():
    job = SimpleNamespace(pixels=100_000, area=100_000)
    tried = {500: 27.0, 1000: 30.0, 4000: 36.0}
    assert 1000 < psnr_target._next_count(job, tried, 4000, 32.0) < 4000
    assert 500 < psnr_target._next_count(job, tried, 1000, 28.0) < 1000
    assert 4000 < psnr_target._next_count(job, tried, 4000, 38.0) <= 32_000
    assert psnr_target._next_count(job, {4: 30.0, 6: 31.0}, 6, 30.1) == 5
    assert psnr_target._next_count(job, {4: 30.0}, 4, -200.0) == 1
    assert psnr_target._next_count(job, {90_000: 30.0}, 90_000, 99.0) == 100_000


@pytest.mark.parametrize("sites", [3, 700, 1000, 20_000, 100_000])
def test_sites_from_their_usual_gain(sites):
    job = SimpleNamespace(pixels=100_000, area=100_000)
    assert count_at(job, usual_gain(job, sites)) == pytest.approx(sites)


# Quality


@pytest.mark.parametrize("name", ["drawing", "gray", "small", "with_alpha"])
def test_quality_rises_in_bytes_and_psnr(name):
    image = IMAGES[name]()
    reports = [encode_with_report(image, quality=q, effort=1)[1] for q in range(0, 101, 20)]
    assert (np.diff([r.bytes for r in reports]) >= 0).all()
    assert (np.diff([r.psnr for r in reports]) >= 0).all()
    assert reports[5].psnr > reports[3].psnr > reports[2].psnr
    assert {r.warning for r in reports} == {None}


def test_quality_never_falls_by_chance():
    """Fits with 1 % more sites each would fall by 0.1 to 0.4 dB at four of these steps."""
    image = IMAGES["coffee"]()
    reports = [encode_with_report(image, quality=q, effort=1)[1] for q in range(61, 77)]
    assert (np.diff([r.bytes for r in reports]) >= 0).all()
    assert (np.diff([r.psnr for r in reports]) >= 0).all()
    assert len({r.bytes for r in reports}) > 10


def test_three_qualities_share_a_fit():
    image = IMAGES["gray"]()
    reports = [encode_with_report(image, quality=q, effort=1)[1] for q in (74, 75, 75.9, 76, 77)]
    sites = [r.sites for r in reports]
    assert sites[0] == sites[1] == sites[2] == sites[3] < sites[4] / 1.2
    assert reports[0].bytes < reports[1].bytes == reports[2].bytes < reports[3].bytes


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (48, 48)])
def test_quality_of_images_that_need_one_site(size):
    image = np.full((*size, 3), 90, np.uint8)
    worst, best = (encode_with_report(image, quality=q, effort=1)[1] for q in (0, 100))
    assert worst.bytes <= best.bytes < 100
    assert worst.psnr <= best.psnr


def test_quality_rises_at_every_step_of_a_photograph():
    image = load("chelsea.png")
    reports = [encode_with_report(image, quality=q, effort=1)[1] for q in (66, 67, 68, 69)]
    assert (np.diff([r.bytes for r in reports]) > 0).all()
    assert (np.diff([r.psnr for r in reports]) > 0).all()


def test_a_drawing_does_not_get_sites_that_it_cannot_use():
    """More sites than reach 48 dB fit it no better: finer steps take their place."""
    image = IMAGES["drawing"]()
    good, better, best = (encode_with_report(image, quality=q, effort=1)[1] for q in (86, 93, 100))
    assert good.psnr < better.psnr < best.psnr
    assert 128 * 128 / 40 < good.sites == better.sites == best.sites <= 128 * 128 // 32
    assert best.bytes < 1.5 * good.bytes


# Quality of smooth pictures


def ramp(width: int, height: int, channels: int = 3, white: int = 255) -> np.ndarray:
    row = np.rint(np.linspace(0, white, width)).astype(np.uint16 if white > 255 else np.uint8)
    return np.broadcast_to(row[None, :, None], (height, width, channels)).copy()


def color_ramps() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 1, 160), np.linspace(0, 1, 120))
    return np.rint(255 * np.dstack([x, y, 1 - x])).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "least"),
    [
        (lambda: ramp(100, 64, 1, 65535), 36),
        (color_ramps, 31),
        (lambda: ramp(2000, 3), 31),
        (lambda: ramp(330, 221), 36),  # measured at half the size
    ],
)
def test_quality_of_gradients_is_well_above_that_of_photographs(image, least):
    """From the slope of photographs they were given one site, which is the mean colour."""
    middle, high = (encode_with_report(image(), quality=q, effort=1)[1] for q in (50, 75))
    assert middle.psnr > least
    assert middle.bytes < 150
    assert middle.psnr + 2 < high.psnr
    assert middle.bytes < high.bytes


def test_quality_of_a_gradient_rises():
    reports = [encode_with_report(ramp(64, 40), quality=q, effort=1)[1] for q in range(0, 101, 20)]
    assert (np.diff([r.bytes for r in reports]) >= 0).all()
    assert (np.diff([r.psnr for r in reports]) >= 0).all()
    assert reports[5].psnr > 48


def test_sites_by_their_price_from_a_measured_curve():
    curve = Curve({1: 100.0, 4: 10.0, 9: 30.0, 16: 4.0, 64: 3.904}, 1.0)  # 9 sites: worse by chance
    assert curve.sites_at(1e6) == 1
    assert curve.sites_at(30.0) == pytest.approx(2)  # between 1 and 4 sites, 90 for 3 of them
    assert curve.sites_at(0.5) == pytest.approx(8)
    assert 2 < curve.sites_at(4.0) < 8
    assert curve.sites_at(0.002) == pytest.approx(32)
    assert curve.sites_at(0.002 / 4) == pytest.approx(64)  # more than were tried
    assert Curve({1: 5.0, 8: 5.0, 64: 6.0}, 1.0).sites_at(1e-9) == 1


# One colour


@pytest.mark.parametrize("target", [{}, {"quality": 0}, {"bpp": 4}, {"size": 120}, {"psnr": 70}])
@pytest.mark.parametrize("color", [(90,), (200, 31, 90), (7, 99), (255, 0, 3, 120)])
def test_one_color_takes_one_site_and_is_exact(color, target):
    image = np.broadcast_to(np.array(color, np.uint8), (50, 70, len(color))).copy()
    data, report = encode_with_report(image, **target)
    assert np.array_equal(sadcodec.decode(data), image)
    assert (report.sites, report.fit_psnr, report.fit_seconds) == (1, math.inf, 0.0)
    assert len(data) < 80
    assert (report.warning is None) == (target.keys() <= {"quality"})


def test_one_color_of_16_bits_is_as_near_as_the_steps_of_one_site():
    rng = np.random.default_rng(2)
    for channels in (1, 2, 3, 4):
        image = np.broadcast_to(rng.integers(0, 65536, channels, np.uint16), (9, 12, channels))
        decoded = sadcodec.decode(sadcodec.encode(image)).reshape(image.shape)
        assert np.abs(decoded.astype(int) - image).max() <= 2


def test_one_color_in_fewer_bytes_and_with_more_sites():
    image = np.full((40, 60, 3), (200, 31, 90), np.uint8)
    data, report = encode_with_report(image, size=68)
    assert len(data) <= 68
    assert 30 < decoded_psnr(image, data) < 70
    assert report.warning is None
    report = encode_with_report(image, size=30)[1]
    assert re.match("cannot be encoded in 30 bytes; the smallest file takes 6", report.warning)
    assert encode_with_report(image, sites=5, effort=1)[1].sites == 5
    layered = encode_with_report(image, progressive=3, groups=2, coder="zstd")[0]
    assert np.array_equal(sadcodec.decode(layered), image)


def test_a_large_picture_of_one_color_takes_no_fit(monkeypatch):
    monkeypatch.setattr("sadcodec.backends.cpu.CpuBackend.fit_session", None)
    image = np.full((1200, 1500, 1), 77, np.uint8)
    assert np.array_equal(sadcodec.decode(sadcodec.encode(image)).reshape(image.shape), image)


# Bytes


@pytest.mark.parametrize("size", [75, 110, 160, 240, 330, 420, 600])
@pytest.mark.parametrize("name", ["coffee", "drawing", "small", "gray"])
def test_few_bytes_are_met_or_a_warning_says_what_is(name, size):
    data, report = encode_with_report(IMAGES[name](), size=size, effort=1)
    assert len(data) <= size
    if report.warning is None:
        assert fills(len(data), size)
    else:
        assert report.warning == f"{size} bytes cannot be met closely; {len(data)} is the nearest"
        assert size < 100
        with pytest.raises(TargetError):
            encode_with_report(IMAGES[name](), size=size, effort=1, strict=True)


@pytest.mark.parametrize("bpp", [0.03, 0.1, 1.0, 4.0, 8.0])
def test_rates_from_very_low_to_very_high(bpp):
    image = IMAGES["chelsea"]()
    data, report = encode_with_report(image, bpp=bpp, effort=1)
    wanted = int(bpp * 200 * 150 / 8)
    assert fills(len(data), wanted)
    assert report.warning is None
    assert report.psnr > 17 + 3.0 * math.log2(bpp / 0.03)


def test_what_fills_a_size():
    assert [fills(n, 1000) for n in (994, 995, 1000, 1001)] == [False, True, True, False]
    assert [fills(n, 150) for n in (148, 149, 150, 151)] == [False, True, True, False]


@pytest.mark.parametrize("name", ["ramp", "photograph"])
def test_the_smallest_file_is_near_the_mean_colour(name: str):
    image = crop("astronaut.png", 180, 40, 96, 64)
    if name == "ramp":
        image = np.linspace(0, 255, 96 * 64).astype(np.uint8).reshape(64, 96, 1)
    flat = np.broadcast_to(np.rint(image.mean(axis=(0, 1))).astype(np.uint8), image.shape)
    data = sadcodec.encode(image, size=1, effort=1, threads=1)
    assert decoded_psnr(image, data) > metrics.psnr(image, flat) - 1.0
