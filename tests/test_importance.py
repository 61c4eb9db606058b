"""Masks and regions of interest: what they weigh, and what that does to a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from backends_under_test import ON_CPU, backend_named
from conftest import load

from sadcodec import bitstream, cli, codec, image_io, metrics
from sadcodec.backends.initialize import initialize
from sadcodec.errors import InputError, OptionError
from sadcodec.importance import importance_of
from sadcodec.objective import Objective, weighted
from sadcodec.quantize import dequantize
from sadcodec.sites import X, Y

FAST = {"effort": 1, "backend": "cpu", "threads": 1}
Sad = Callable[..., tuple[int, str, str]]
REGION = (60, 10, 40, 44)  # in `face`


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """uint8 [72, 128, 3]: a face beside a busy background."""
    return load("astronaut.png")[8:80, 32:160].copy()


@pytest.fixture(scope="module")
def inside() -> np.ndarray:
    """Bool [72, 128]: `REGION`."""
    x, y, width, height = REGION
    mask = np.zeros((72, 128), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def psnr_in(image: np.ndarray, data: bytes, where: np.ndarray) -> float:
    return metrics.psnr(image[where], codec.decode(data)[where])


def share_inside(data: bytes, where: np.ndarray) -> float:
    header, symbols = bitstream.read(data)
    params = dequantize(symbols, header.width, header.height, header.quantizer).params
    row = np.minimum(params[:, Y].astype(int), header.height - 1)
    column = np.minimum(params[:, X].astype(int), header.width - 1)
    return float(where[row, column].mean())


# ---- What counts how much -----------------------------------------------------------------------


def test_a_mask_is_weights_of_mean_1():
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 1:7] = 255
    found = importance_of(mask, (), 6, 8)
    assert found is not None
    np.testing.assert_allclose(found.weights, np.where(mask, 4, 0))
    np.testing.assert_array_equal(found.mask, found.weights)
    assert (found.area, found.total) == (pytest.approx(12), 12)
    assert not found.density[mask == 0].any()
    assert importance_of(None, (), 6, 8) is None


@pytest.mark.parametrize("scale", [True, np.uint8(7), np.uint16(65535), 1e-30, 1e30])
def test_only_ratios_of_a_mask_count(scale):
    pattern = np.arange(48).reshape(6, 8) % 3 == 0
    plain, scaled = (importance_of(mask, (), 6, 8) for mask in (pattern, pattern * scale))
    np.testing.assert_allclose(scaled.weights, plain.weights)
    assert scaled.total == pytest.approx(plain.total)


def test_regions_move_errors_but_are_not_measured():
    found = importance_of(None, [(1, 2, 3, 2, 9.0), (2, 3, 4, 2)], 6, 8)
    raised = np.ones((6, 8))
    raised[3:5, 2:6] = 4  # the default
    raised[2:4, 1:4] = 9  # the stronger where both are
    np.testing.assert_allclose(found.weights, raised / raised.mean(), rtol=1e-6)
    assert found.mask is None
    assert found.total == pytest.approx(raised.sum())
    assert 1.5 < found.density.max() / found.density.min() < 9
    mask = np.eye(6, 8)
    both = importance_of(mask, [(1, 2, 3, 2, 9.0)], 6, 8)
    np.testing.assert_allclose(both.mask, mask / mask.mean())
    assert both.weights[2, 2] == pytest.approx(9 * both.weights[0, 0])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((6, 8)), "black everywhere"),
        (np.ones((8, 6)), "the mask has 6 x 8 pixels, the image 8 x 6"),
        (np.ones((6, 8, 3)), r"a mask is numbers \[H, W\]"),
        (np.full((6, 8), "1"), r"a mask is numbers \[H, W\]"),
        (np.full((6, 8), -1.0), "finite and not negative"),
        (np.full((6, 8), np.nan), "finite and not negative"),
        (np.full((6, 8), np.inf), "finite and not negative"),
    ],
)
def test_bad_masks_are_refused(mask, message: str):
    with pytest.raises(InputError, match=message):
        codec.encode(np.zeros((6, 8, 3), np.uint8), mask=mask, **FAST)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((0, 0, 9, 6), "region 0,0,9,6 is not inside of 8 x 6 pixels"),
        ((7, 5, 1, 2), "is not inside"),
        ((-1, 0, 2, 2), "whole pixels from 0 on"),
        ((0, 0, 0, 2), "whole pixels from 0 on"),
        ((0.5, 0, 2, 2), "whole pixels from 0 on"),
        ((0, 0, 2), "not 3 numbers"),
        ((0, 0, 2, 2, 0.5), "strength of a region is 1..100, not 0.5"),
        ((0, 0, 2, 2, float("nan")), "strength of a region is 1..100"),
        (7, "roi is a sequence of regions, each X, Y, W, H"),
    ],
)
def test_bad_regions_are_refused(region, message: str):
    with pytest.raises(OptionError, match=message):
        codec.encode(np.zeros((6, 8, 3), np.uint8), roi=[region], **FAST)


def test_regions_may_be_an_array():
    regions = [(0, 0, 2, 2), (1, 1, 3, 4)]
    for given in (regions, np.array(regions)):
        found = importance_of(None, given, 6, 8)
        np.testing.assert_array_equal(found.weights, importance_of(None, regions, 6, 8).weights)
    assert importance_of(None, np.zeros((0, 4)), 6, 8) is None


def test_weights_of_a_metric_and_of_a_mask_are_multiplied():
    rng = np.random.default_rng(0)
    first, second = (rng.uniform(0, 2, (5, 7)).astype(np.float32) for _ in range(2))
    both = weighted(Objective(np.zeros((5, 7, 1), np.float32), first), second).weights
    product = first * second
    np.testing.assert_allclose(both, product / product.mean(), rtol=1e-5)


def test_sites_start_where_the_factor_is(face, inside):
    target = face.astype(np.float32) / 255
    params = initialize(target, 200, factor=inside.astype(np.float32))
    row, column = params[:, Y].astype(int), params[:, X].astype(int)
    assert inside[row, column].all()
    ones = np.ones(inside.shape, np.float32)
    np.testing.assert_array_equal(initialize(target, 200, factor=ones), initialize(target, 200))


def test_psnr_by_weights():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 256, (2, 5, 7, 3), np.uint8)
    mask = rng.uniform(size=(5, 7)) < 0.5
    found = metrics.psnr(first, second, weights=mask / mask.mean())
    assert found == pytest.approx(metrics.psnr(first[mask], second[mask]))


# ---- Files --------------------------------------------------------------------------------------


def test_what_is_black_costs_nothing(face, inside):
    plain = codec.encode(face, size=600, **FAST)
    data, report = codec.encode_with_report(face, size=600, mask=inside, **FAST)
    assert 0.99 * 600 <= len(data) <= 600
    assert share_inside(data, inside) > 0.95
    assert psnr_in(face, data, inside) > psnr_in(face, plain, inside) + 4
    assert report.weighted_psnr == pytest.approx(psnr_in(face, data, inside))
    assert report.psnr == pytest.approx(metrics.psnr(face, codec.decode(data)))
    x, y, width, height = REGION
    crop = np.ascontiguousarray(face[y : y + height, x : x + width])
    alone = metrics.psnr(crop, codec.decode(codec.encode(crop, size=600, **FAST)))
    assert report.weighted_psnr > alone - 1


def test_a_white_mask_changes_no_byte(photo):
    options = {"sites": 60, **FAST}
    white = np.full(photo.shape[:2], 255, np.uint8)
    assert codec.encode(photo, mask=white, **options) == codec.encode(photo, **options)


def test_a_region_gets_more_sites_and_less_error(face, inside):
    found = []
    for roi in ((), [REGION], [(*REGION, 30)]):
        data, report = codec.encode_with_report(face, size=700, roi=roi, **FAST)
        assert report.weighted_psnr is None
        assert report.psnr == pytest.approx(metrics.psnr(face, codec.decode(data)))
        found.append((psnr_in(face, data, inside), share_inside(data, inside)))
    assert found[0][0] + 1 < found[1][0] < found[2][0] - 1
    assert 1.2 * found[0][1] < found[1][1] < found[2][1] / 1.2


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_a_psnr_is_reached_where_the_mask_is(face, inside, metric: str):
    data, report = codec.encode_with_report(face, psnr=27, mask=inside, metric=metric, **FAST)
    assert 27 <= psnr_in(face, data, inside) <= 27.06
    assert report.warning is None
    assert share_inside(data, inside) > 0.9


def test_a_quality_costs_what_the_crop_costs(face, inside):
    x, y, width, height = REGION
    crop = np.ascontiguousarray(face[y : y + height, x : x + width])
    alone, masked, whole = (
        len(codec.encode(image, quality=66, mask=mask, **FAST))
        for image, mask in ((crop, None), (face, inside), (face, None))
    )
    assert 0.75 * alone < masked < 1.25 * alone
    assert masked < 0.5 * whole


@pytest.mark.parametrize("target", [{"quality": 75}, {"psnr": 30}, {"size": 90}, {"sites": 9}])
def test_a_single_pixel_may_be_all_that_counts(photo, target):
    mask = np.zeros(photo.shape[:2])
    mask[20, 31] = 1
    data, _ = codec.encode_with_report(photo, mask=mask, **target, **FAST)
    assert np.abs(codec.decode(data)[20, 31].astype(int) - photo[20, 31]).max() <= 4


@pytest.mark.parametrize("name", ["reference", ON_CPU])
def test_other_backends_follow_a_mask(name: str, photo, monkeypatch):
    image = photo[8:24, 20:44].copy()
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[:, 14:] = 255
    monkeypatch.setattr("sadcodec.options.engine_for", lambda *_: backend_named(name))
    found = []
    for given in (None, mask):
        data = codec.encode(image, sites=12, effort=1, mask=given)
        found.append((psnr_in(image, data, mask > 0), share_inside(data, mask > 0)))
    assert found[1][0] > found[0][0] + 3
    assert found[1][1] > 0.9


# ---- The command --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, face, inside, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in.png").write_bytes(image_io.encode_image(face, "png"))
    gray = np.where(inside, 255, 0).astype(np.uint8)[:, :, None]
    images = {
        "mask": gray,
        "rgb": gray.repeat(3, axis=2),
        "black": gray * 0,
        "small": gray[1:],
        "colors": face,
        "glass": gray.repeat(2, axis=2),
    }
    for name, image in images.items():
        Path(f"{name}.png").write_bytes(image_io.encode_image(image, "png"))
    return tmp_path


@pytest.fixture
def sad(capfd) -> Sad:
    """Runs ``sad encode``; gives the exit status and what was printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["encode", *arguments, "--backend", "cpu", "-e", "1", "--threads", "1"])
        return int(caught.value.code or 0), *capfd.readouterr()

    return run


def test_the_command_takes_both_and_says_so(sad: Sad, folder: Path, face, inside):
    options = ("in.png", "--size", "600", "--mask", "mask.png", "--roi", "70,20,10,10:3")
    status, out, err = sad(*options, "-o", "a.sad", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert (report["mask"], report["roi"]) == ("mask.png", [[70, 20, 10, 10, 3.0]])
    data = (folder / "a.sad").read_bytes()
    assert report["weighted_psnr"] == pytest.approx(psnr_in(face, data, inside))
    assert data == codec.encode(face, size=600, mask=inside, roi=[(70, 20, 10, 10, 3)], **FAST)
    err = sad(*options, "-o", "b.sad")[2]
    assert f"{report['weighted_psnr']:.2f} dB weighted by the mask," in err
    assert sad("in.png", "--size", "600", "--mask", "rgb.png", "--out-dir", "out")[0] == 0
    assert (folder / "out/in.sad").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("small", "sad: in.png: the mask has 128 x 71 pixels, the image 128 x 72\n"),
        ("black", "sad: in.png: the mask is black everywhere: no pixel would count\n"),
        ("colors", "sad: colors.png: a mask is gray; this image has colours\n"),
        ("glass", "sad: glass.png: a mask is gray; this image has transparent pixels\n"),
        ("missing", "sad: missing.png: "),
    ],
)
def test_the_command_refuses_bad_masks(sad: Sad, folder: Path, mask: str, message: str):
    status, _, err = sad("in.png", "-o", "a.sad", "--sites", "9", "--mask", f"{mask}.png")
    assert status == 1
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert not (folder / "a.sad").exists()


def test_the_mask_is_not_overwritten(sad: Sad, folder: Path):
    before = (folder / "mask.png").read_bytes()
    (folder / "mask.sad").write_bytes(before)
    options = ("-o", "mask.sad", "--sites", "9", "--mask", "mask.sad", "--force")
    assert sad("in.png", *options)[0] == 1
    assert (folder / "mask.sad").read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        ["--roi", "1,2,3"],
        ["--roi", "1,2,3,0"],
        ["--roi", "1,2,3,4:0.5"],
        ["--roi", "1,2,3,4:101"],
        ["--roi", "1,2,3,4:x"],
        ["--roi", "-1,2,3,4"],
        ["--mask", "-", "-o", "a.sad"],
    ],
)
def test_wrong_usage(sad: Sad, options: list[str]):
    status, _, err = sad("-", *options)
    assert status == 2
    assert "Usage: " in err


def test_the_command_and_the_library_agree_on_strengths():
    from sadcodec import importance
    from sadcodec.cli import importance as of_command

    for name in ("DEFAULT_STRENGTH", "MAX_STRENGTH"):
        assert getattr(importance, name) == getattr(of_command, name)
