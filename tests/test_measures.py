"""The measures by name, and SSIMULACRA 2 against scores of the tool that defines it."""

from __future__ import annotations

import math
import sys
import types

import numpy as np
import pytest
from conftest import load

from sadcodec import metrics
from sadcodec.errors import BackendError, InputError, OptionError
from sadcodec.evaluate import measures
from sadcodec.evaluate.measures import MEASURES, check_measure, measure
from sadcodec.evaluate.ssimulacra2 import _TAPS

OWN = tuple(name for name in MEASURES if name != "lpips")


def coarse(image):
    """Eight levels a channel."""
    return (image & 0xE0) + np.uint8(16)


def blocks(image):
    """One value for each 4 x 4 px."""
    height, width = (side // 4 * 4 for side in image.shape[:2])
    out = image.copy()
    out[:height, :width] = image[:height:4, :width:4].repeat(4, 0).repeat(4, 1)
    return out


def pattern(image):
    """A faint regular pattern on top."""
    height, width = image.shape[:2]
    values = (np.arange(height)[:, None] * 13 + np.arange(width) * 7) % 9 - 4
    return np.clip(image.astype(int) + values[:, :, None], 0, 255).astype(np.uint8)


def with_ramp(image):
    """Transparent at the top, opaque at the bottom of 256 rows."""
    ramp = np.arange(256, dtype=np.uint8)[:, None, None]
    return np.dstack([image, np.broadcast_to(ramp, (*image.shape[:2], 1))])


# Printed by `ssimulacra2` of https://github.com/cloudinary/ssimulacra2 (2.1) for these pictures.
# It blurs by a recursive filter in single precision, the rounding of which shows in flat areas once
# there is little else: ours in double precision is within 0.02 of ours in single.
@pytest.mark.parametrize(
    ("name", "damage", "score", "tolerance"),
    [
        ("coffee.png", coarse, 36.6077607, 0.02),
        ("coffee.png", blocks, -58.79934832, 0.01),
        ("coffee.png", pattern, 88.91771886, 0.2),
        ("chelsea.png", coarse, 43.46462531, 0.01),
        ("chelsea.png", pattern, 90.03135507, 0.2),
        ("drawing.png", coarse, 33.10519237, 0.1),
        ("camera.png", coarse, -13.99432449, 0.02),
        ("camera.png", pattern, 87.79375116, 0.4),
    ],
)
def test_ssimulacra2_is_that_of_its_tool(name, damage, score, tolerance):
    image = load(name)
    assert measure("ssimulacra2", image, damage(image)) == pytest.approx(score, abs=tolerance)


def test_ssimulacra2_of_small_images_and_of_alpha_is_that_of_its_tool():
    image = load("astronaut.png")
    small = image[40:153, 60:173]
    assert measure("ssimulacra2", small, pattern(small)) == pytest.approx(87.93740343, abs=0.1)
    assert measure("ssimulacra2", with_ramp(image), with_ramp(blocks(image))) == pytest.approx(
        -54.57207565, abs=0.01
    )


def test_the_blur_of_ssimulacra2_has_unit_sum_and_the_variance_of_its_gaussian():
    n = np.arange(1 - len(_TAPS), len(_TAPS))
    taps = _TAPS[np.abs(n)].astype(float)
    assert taps.sum() == pytest.approx(1, abs=1e-6)
    assert taps @ n**2 == pytest.approx(1.5**2, abs=1e-5)


def test_ssimulacra2_of_16_bits_is_that_of_8():
    image = load("coffee.png")
    deep = [x.astype(np.uint16) * 257 for x in (image, coarse(image))]
    expected = measure("ssimulacra2", image, coarse(image))
    assert measure("ssimulacra2", *deep) == pytest.approx(expected, abs=1e-3)


def test_measures_of_pixels_are_those_of_metrics():
    image = load("coffee.png")
    damaged = pattern(image)
    assert measure("psnr", image, damaged) == metrics.psnr(image, damaged)
    assert measure("ssim", image, damaged) == metrics.ssim(image, damaged)
    assert measure("ms-ssim", image, damaged) == metrics.ms_ssim(image, damaged)


@pytest.mark.parametrize(
    ("name", "best"), [("psnr", math.inf), ("ssim", 1), ("ms-ssim", 1), ("ssimulacra2", 100)]
)
def test_identical_images(name, best):
    for image in (load("chelsea.png"), load("camera.png"), load("camera.png")[:, :, 0]):
        assert measure(name, image, image.copy()) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(("name", "least"), [("ssim", 11), ("ms-ssim", 176), ("ssimulacra2", 113)])
def test_an_image_too_small_has_no_measure(name, least):
    image = load("coffee.png")[:, : max(least, 120)]
    assert measure(name, image[: least - 1], image[: least - 1]) is None
    assert measure(name, image[:least], image[:least]) is not None
    assert measure("psnr", image[:1, :1], image[:1, :1]) == math.inf


def test_what_is_refused():
    image = load("camera.png")
    for wrong in (image[:-1], image.astype(np.uint16)):
        with pytest.raises(InputError, match="cannot be compared"):
            measure("ssim", image, wrong)
    for refused in (check_measure, lambda name: measure(name, image, image)):
        with pytest.raises(OptionError, match="one of psnr, ssim, ms-ssim, ssimulacra2, lpips"):
            refused("vmaf")
    for name in OWN:
        check_measure(name)


# ---- LPIPS: torch is too large for these tests, a module stands in for each -----------------


@pytest.fixture
def torch_stand_in(monkeypatch, tmp_path):
    """Modules of the interface that is used; the network returns the mean absolute difference."""
    torch = types.ModuleType("torch")
    torch.from_numpy = lambda array: array
    torch.hub = types.SimpleNamespace(get_dir=lambda: str(tmp_path))
    torch.no_grad = lambda: __import__("contextlib").nullcontext()
    torchvision = types.ModuleType("torchvision")
    url = "https://example.org/alexnet-0.pth"
    weights = types.SimpleNamespace(IMAGENET1K_V1=types.SimpleNamespace(url=url))
    torchvision.models = types.SimpleNamespace(AlexNet_Weights=weights)
    lpips = types.ModuleType("lpips")

    class Network:
        made = 0

        def __init__(self, net, verbose):
            assert (net, verbose) == ("alex", False)
            type(self).made += 1

        def eval(self):
            return self

        def __call__(self, first, second, normalize):
            assert normalize
            assert first.shape == second.shape
            assert (first.shape[:2], first.dtype) == ((1, 3), np.float32)
            return np.abs(first - second).mean()

    lpips.LPIPS = Network
    for module in (torch, torchvision, lpips):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    measures._lpips_network.cache_clear()
    yield tmp_path / "checkpoints" / "alexnet-0.pth", Network
    measures._lpips_network.cache_clear()


def test_lpips_gets_images_of_0_to_1_and_the_worse_background(torch_stand_in):
    weights, network = torch_stand_in
    weights.parent.mkdir()
    weights.touch()
    check_measure("lpips")
    image = load("coffee.png")[:31, :40]
    black = np.zeros_like(image)
    assert measure("lpips", image, black) == pytest.approx(image.mean() / 255, rel=1e-5)
    gray = image[:, :, :1]
    assert measure("lpips", gray, black[:, :, :1]) == pytest.approx(gray.mean() / 255, rel=1e-5)
    clear = np.zeros((31, 40, 4), np.uint8)
    solid = clear + np.uint8([0, 0, 0, 255])
    assert measure("lpips", clear, solid) == pytest.approx(0.9, rel=1e-5)  # on the light one
    assert measure("lpips", image[:30], black[:30]) is None
    assert network.made == 1


def test_lpips_says_what_is_missing(torch_stand_in, monkeypatch):
    with pytest.raises(BackendError, match=r"weights of AlexNet: python -c"):
        check_measure("lpips")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"pip install 'sadcodec\[lpips\]'"):
        check_measure("lpips")
