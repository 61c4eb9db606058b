"""What `--metric ssim` optimizes: weights and targets, and what they bring on a photograph."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load
from diagrams import smooth_target

from sadcodec import codec, metrics
from sadcodec.errors import OptionError
from sadcodec.objective import objective_for


def stripes(low: float, high: float) -> np.ndarray:
    """Float32 [40, 60, 3]: noise of one contrast on the left, of another on the right."""
    rng = np.random.default_rng(3)
    contrast = np.where(np.arange(60) < 30, low, high)[None, :, None]
    return (0.5 + contrast * rng.uniform(-1, 1, (40, 60, 3))).astype(np.float32)


def test_psnr_is_the_image_without_weights():
    image = stripes(0.02, 0.2)
    objective = objective_for("psnr", image, image * 0.5)
    assert objective.target is image
    assert objective.weights is None


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("size", [(40, 30), (3, 50), (1, 1)])
def test_weights_are_what_sessions_take(channels: int, drawn: bool, size: tuple[int, int]):
    image = smooth_target(1, *size, channels)
    picture = smooth_target(2, *size, channels) * np.float32(3) - 1 if drawn else None
    objective = objective_for("ssim", image, picture)
    assert objective.target.shape == image.shape
    assert objective.weights is not None
    assert objective.weights.shape == image.shape[:2]
    assert objective.target.dtype == objective.weights.dtype == np.float32
    assert np.isfinite(objective.target).all()
    assert objective.weights.min() > 0
    assert objective.weights.mean(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_low_contrast_counts_more():
    weights = objective_for("ssim", stripes(0.02, 0.2)).weights
    assert weights[:, :20].mean() > 2 * weights[:, 40:].mean()
    flat = objective_for("ssim", np.full((20, 20, 3), 0.3, np.float32)).weights
    np.testing.assert_allclose(flat, 1, rtol=1e-5)


def test_nothing_lost_raises_no_contrast():
    image = stripes(0.02, 0.2)
    for drawn in (None, image):
        np.testing.assert_allclose(objective_for("ssim", image, drawn).target, image, atol=1e-5)


def test_lost_contrast_is_raised_within_bounds():
    image = stripes(0.1, 0.2)
    drawn = 0.5 + 0.5 * (image - 0.5)
    blank = np.full_like(image, 0.5)
    raised = [
        np.std(objective_for("ssim", image, picture).target) / np.std(image)
        for picture in (image, drawn, blank)
    ]
    assert raised == sorted(raised)
    assert 1.05 < raised[1] < 1.5
    assert 1.8 < raised[2] < 2.6


def test_going_towards_the_target_betters_ssim_more_than_going_towards_the_image():
    """A blurred picture moved by steps of one length: along the weighted gradient and the plain."""
    image = load("chelsea.png")[60:188, 120:280].astype(np.float32) / 255
    drawn = image.copy()
    for axis in (0, 1):
        for _ in range(4):
            drawn = (np.roll(drawn, 1, axis) + 2 * drawn + np.roll(drawn, -1, axis)) / 4
    objective = objective_for("ssim", image, drawn)
    steps = (
        objective.weights[..., None] * (objective.target - drawn),
        image - drawn,
    )
    found = [
        metrics.ssim(image, drawn + np.float32(2.0 / np.linalg.norm(step)) * step, 1.0)
        for step in steps
    ]
    assert metrics.ssim(image, drawn, 1.0) < found[1] < found[0]


def test_ssim_is_higher_and_psnr_lower_at_one_size():
    image = load("chelsea.png")[40:232, 100:340].copy()
    found = {}
    for metric in ("psnr", "ssim"):
        data, report = codec.encode_with_report(
            image, size=2400, metric=metric, effort=3, backend="cpu"
        )
        assert 0.99 * 2400 <= len(data) <= 2400
        assert report.metric == metric
        decoded = codec.decode(data)
        found[metric] = metrics.ssim(image, decoded), metrics.psnr(image, decoded)
        assert report.psnr == pytest.approx(found[metric][1])
    assert found["ssim"][0] > found["psnr"][0] + 0.005
    assert found["ssim"][1] < found["psnr"][1]


def test_psnr_is_the_default():
    image = load("chelsea.png")[60:100, 120:168].copy()
    options = {"sites": 60, "effort": 1, "backend": "cpu"}
    plain = codec.encode(image, **options)
    assert codec.encode(image, metric="psnr", **options) == plain
    assert codec.encode(image, metric="ssim", **options) != plain


def test_a_psnr_target_stays_one_of_psnr():
    image = load("chelsea.png")[60:124, 120:200].copy()
    data, report = codec.encode_with_report(
        image, psnr=28.0, metric="ssim", effort=1, backend="cpu"
    )
    assert report.warning is None
    assert 28.0 <= metrics.psnr(image, codec.decode(data)) < 29.0


def test_another_metric_is_refused():
    with pytest.raises(OptionError, match="metric must be one of psnr, ssim"):
        codec.encode(np.zeros((8, 8, 3), np.uint8), metric="vmaf")
