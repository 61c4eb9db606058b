"""The metrics against hand-made values and against scikit-image and SciPy where they are
installed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from diagrams import smooth_target

from sadcodec.alpha import premultiplied
from sadcodec.errors import InputError, OptionError, SadError
from sadcodec.metrics import bd_rate, ms_ssim, psnr, ssim


def pair(width=61, height=47, channels=3, dtype=np.uint8, noise=0.05, seed=0):
    peak = np.iinfo(dtype).max
    image = smooth_target(seed, width, height, channels)
    noisy = image + np.random.default_rng(seed).normal(0, noise, image.shape)
    return tuple(
        np.floor(np.clip(x, 0, 1) * peak + 0.5).astype(dtype).reshape(height, width, channels)
        for x in (image, noisy)
    )


def test_psnr_by_hand():
    a = np.zeros((4, 5, 3), np.uint8)
    b = a.copy()
    b[1, 2, 0] = 30  # MSE = 900 / 60 = 15
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / 15))
    assert psnr(b, a) == psnr(a, b)  # no wrap-around of unsigned differences
    assert psnr(a, a) == math.inf
    assert psnr(a + np.uint8(255), a) == 0.0


def test_psnr_of_16_bit_and_float():
    a = np.full((4, 4), 65535, np.uint16)
    assert psnr(a, a - np.uint16(655)) == pytest.approx(20 * math.log10(65535 / 655))
    x = np.full((4, 4), 0.5)
    assert psnr(x, x + 0.01, data_range=1.0) == pytest.approx(40)


@pytest.mark.parametrize("metric", [psnr, ssim, ms_ssim])
def test_refuses_what_cannot_be_compared(metric):
    a = np.zeros((200, 200, 3), np.uint8)
    with pytest.raises(InputError, match="shapes"):
        metric(a, a[:-1])
    with pytest.raises(InputError, match="uint16"):
        metric(a, a.astype(np.uint16))
    with pytest.raises(InputError, match="shape"):
        metric(a[..., None], a[..., None])
    with pytest.raises(OptionError, match="data range"):
        metric(a.astype(float), a.astype(float))
    with pytest.raises(OptionError, match="positive"):
        metric(a, a, data_range=0)


def test_ssim_of_identical_images_is_one():
    a, _ = pair()
    assert ssim(a, a) == pytest.approx(1, abs=1e-6)
    big, _ = pair(180, 177)
    assert ms_ssim(big, big) == pytest.approx(1, abs=1e-6)


def test_ssim_of_two_constants_by_hand():
    a, b = np.full((20, 20), 100, np.uint8), np.full((20, 20), 110, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert ssim(a, b) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("noise", [0.003, 0.05, 0.4])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((61, 47, 3), np.uint8), ((61, 47, 1), np.uint16), ((11, 11, 4), np.uint8)],
)
def test_ssim_is_scikit_image_s(shape, dtype, noise):
    skimage = pytest.importorskip("skimage.metrics")
    a, b = pair(*shape, dtype, noise)
    expected = skimage.structural_similarity(
        *(premultiplied(image, 255) for image in (a, b)),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=np.iinfo(dtype).max,
        channel_axis=2,
    )
    assert ssim(a, b) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("metric", [psnr, ssim, ms_ssim])
@pytest.mark.parametrize("channels", [2, 4])
def test_colours_that_are_not_seen_do_not_count(metric, channels):
    image, other = pair(180, 177, channels)
    image[..., -1] = other[..., -1] = 255 * (np.arange(180) > 90)
    hidden = image.copy()
    hidden[:, :80, :-1] = other[:, :80, :-1]
    assert metric(image, hidden) == metric(image, image)
    seen = image.copy()
    seen[:, 100:, :-1] = other[:, 100:, :-1]
    assert metric(image, seen) < metric(image, image)
    half = image.copy()
    half[..., -1] //= 2
    if metric is psnr:
        mse = np.mean((image[..., :-1].astype(float) - seen[..., :-1]) ** 2)
        mse *= (127 / 255) ** 2 * (channels - 1) / channels
        seen[..., -1] //= 2
        assert psnr(half, seen) == pytest.approx(10 * math.log10(255**2 / mse))


def test_gray_images_may_have_two_axes():
    a, b = pair(channels=1)
    assert ssim(a[..., 0], b[..., 0]) == ssim(a, b)
    assert psnr(a[..., 0], b[..., 0]) == psnr(a, b)


def test_small_images_are_refused_by_name():
    a = np.zeros((10, 300), np.uint8)
    with pytest.raises(InputError, match=r"SSIM needs at least 11 x 11 pixels, not 300 x 10"):
        ssim(a, a)
    b = np.zeros((175, 300), np.uint8)
    with pytest.raises(InputError, match=r"MS-SSIM needs at least 176 x 176"):
        ms_ssim(b, b)
    assert ms_ssim(np.zeros((176, 176), np.uint8), np.zeros((176, 176), np.uint8)) == 1


def test_ms_ssim_by_its_definition():
    """Scale by scale with scikit-image's filters: contrast-structure, and luminance at the last."""
    ndimage = pytest.importorskip("scipy.ndimage")
    a, b = (x[..., 0].astype(float) for x in pair(190, 181, 1, noise=0.1))
    value = ms_ssim(a, b, data_range=255)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def smooth(x):
        return ndimage.gaussian_filter(x, 1.5, truncate=3.5)[5:-5, 5:-5]

    expected = 1.0
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    for scale, weight in enumerate(weights):
        if scale:
            a, b = (
                x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
                .reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2)
                .mean(axis=(1, 3))
                for x in (a, b)
            )
        ma, mb = smooth(a), smooth(b)
        va, vb, ab = smooth(a * a) - ma**2, smooth(b * b) - mb**2, smooth(a * b) - ma * mb
        term = (2 * ab + c2) / (va + vb + c2)
        if scale == 4:
            term = term * (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
        expected *= term.mean() ** weight
    assert value == pytest.approx(expected, abs=2e-5)
    assert 0.3 < value < 0.99


def test_more_noise_is_worse():
    values = []
    for noise in (0.01, 0.05, 0.2):
        a, b = pair(200, 180, noise=noise)
        values.append((psnr(a, b), ssim(a, b), ms_ssim(a, b)))
    assert values == sorted(values, reverse=True)
    assert all(np.diff(values, axis=0).ravel() < 0)


# ---- BD-rate ------------------------------------------------------------------------------------

CURVE = [(0.1, 28.0), (0.22, 30.1), (0.5, 32.9), (1.0, 36.2), (2.1, 40.0)]


@pytest.mark.parametrize("factor", [0.5, 0.93, 1.0, 2.0])
def test_bd_rate_of_scaled_rates(factor):
    other = [(rate * factor, quality) for rate, quality in CURVE]
    assert bd_rate(CURVE, other) == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert bd_rate(CURVE, other[::-1]) == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_bd_rate_of_two_points_is_the_straight_line():
    # log rates 0..2 over 30..32 dB against 1..2 over 31..32: equal where both are defined.
    a = [(1.0, 30.0), (math.e**2, 32.0)]
    assert bd_rate(a, [(math.e, 31.0), (math.e**2, 32.0)]) == pytest.approx(0, abs=1e-9)
    assert bd_rate(a, [(1.0, 31.0), (math.e, 32.0)]) == pytest.approx(100 * (1 / math.e - 1))


def test_bd_rate_uses_the_common_range_and_is_scipy_s_pchip():
    interpolate = pytest.importorskip("scipy.interpolate")
    other = [(0.15, 29.5), (0.3, 31.9), (0.8, 36.0), (1.5, 39.0), (3.0, 43.0)]
    low, high = 29.5, 40.0
    areas = [
        interpolate.PchipInterpolator([q for _, q in c], np.log([r for r, _ in c])).integrate(
            low, high
        )
        for c in (CURVE, other)
    ]
    expected = 100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1)
    assert bd_rate(CURVE, other) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (CURVE[:1], "two points"),
        ([(0.0, 28.0), (0.5, 30.0)], "positive"),
        ([(0.1, 28.0), (0.5, math.inf)], "finite"),
        ([(0.1, 30.0), (0.5, 29.0)], "rise"),
        ([(0.1, 30.0), (0.5, 30.0)], "rise"),
        ([(0.1, 50.0), (0.5, 60.0)], "share"),
    ],
)
def test_bd_rate_refuses(curve, message):
    with pytest.raises(SadError, match=message):
        bd_rate(CURVE, curve)
