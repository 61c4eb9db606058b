"""Images with alpha: what is under it costs nothing, what is seen is coded on any background."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load
from diagrams import smooth_target

from sadcodec.alpha import premultiplied, visible
from sadcodec.codec import decode, encode_with_report

SIZES = [(1, 1), (1, 9), (8, 1), (5, 7), (64, 48)]


def cutout() -> np.ndarray:
    """uint8 [96, 128, 4]: a part of a photograph, with an edge one pixel wide around it."""
    image = load("coffee.png")[60:156, 120:248]
    y, x = np.mgrid[:96, :128]
    inside = np.clip(0.5 + 34 + 8 * np.sin(x / 9) - np.hypot(x - 64, 1.2 * (y - 48)), 0, 1)
    return np.dstack([image, (255 * inside).astype(np.uint8)])


def seen(image: np.ndarray, background: float) -> np.ndarray:
    """Float64 [H, W, C - 1] in code values: an image on a background."""
    alpha = image[..., -1:] / 255
    return alpha * image[..., :-1] + (1 - alpha) * 255 * background


def seen_error(image: np.ndarray, other: np.ndarray) -> float:
    """Mean squared error over black, white and squares of 8 px of both."""
    squares = np.indices(image.shape[:2]).sum(axis=0) // 8 % 2
    grounds = (0.0, 1.0, squares[..., None])
    return float(np.mean([np.mean((seen(image, g) - seen(other, g)) ** 2) for g in grounds]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("drawn", [False, True])
def test_of_an_opaque_image_the_target_is_the_image(channels, size, drawn):
    image = smooth_target(1, *size, channels)
    opaque = np.concatenate([image, np.ones_like(image[..., :1])], axis=2)
    for each in (image, opaque):
        target, weights = visible(each, 1 - each if drawn else None)
        assert target is each
        assert weights is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [2, 4])
def test_colours_that_are_not_seen_have_no_influence(channels, size):
    image = smooth_target(1, *size, channels)
    image[..., -1] = np.random.default_rng(0).integers(0, 3, image.shape[:2]) / 2
    image[0, 0, -1] = 0
    other = np.where(image[..., -1:] > 0, image, 1 - image)
    other[..., -1] = image[..., -1]
    (target, weights), (same, also) = visible(image), visible(other)
    assert target.dtype == weights.dtype == np.float32
    np.testing.assert_array_equal(target, same)
    np.testing.assert_array_equal(weights, also)
    np.testing.assert_array_equal(target[..., -1], image[..., -1])
    opaque = image[..., -1] == 1
    np.testing.assert_array_equal(target[opaque], image[opaque])
    assert target.min() >= 0
    assert target.max() <= 1
    assert weights.min() >= 0.5
    assert weights.mean(dtype=np.float64) == pytest.approx(1, abs=1e-5)


def test_the_rest_is_the_colour_of_its_surroundings():
    image = np.zeros((40, 60, 4), np.float32)
    image[:, 20:40] = (0.2, 0.5, 0.9, 1.0)
    colors = visible(image)[0][..., :-1]
    np.testing.assert_allclose(colors, np.full((40, 60, 3), (0.2, 0.5, 0.9)), atol=1e-6)
    assert not visible(np.zeros((40, 60, 4), np.float32))[0].any()


def test_the_derivatives_at_the_drawn_picture_are_those_of_the_error_that_is_seen():
    image, drawn = smooth_target(1, 30, 20, 4), smooth_target(2, 30, 20, 4) * np.float32(1.5)
    image[..., -1] = np.linspace(0, 1, 30, dtype=np.float32)
    target, weights = visible(image, drawn)
    there, color = np.clip(drawn[..., :-1], 0, 1), image[..., :-1]
    np.testing.assert_array_equal(target[:, 0, :-1], there[:, 0])
    np.testing.assert_array_equal(target[:, -1], image[:, -1])
    ours = weights[..., None] * (there - target[..., :-1])
    seen_alone = np.square(image[..., -1:]) * (there - color) / (0.5 + image[..., -1].mean() / 2)
    np.testing.assert_allclose(ours, seen_alone, atol=1e-6)


def test_premultiplied_by_hand():
    image = np.array([[[200, 51], [7, 255], [90, 0]]], np.uint8)
    np.testing.assert_allclose(premultiplied(image, 255)[0], [[40, 51], [7, 255], [0, 0]])
    plain = image[..., :1]
    assert premultiplied(plain, 255) is plain


def test_what_lies_under_zero_alpha_costs_nothing():
    """Files and what is seen of them are the same whatever colours are hidden."""
    image = cutout()
    noise = np.random.default_rng(3).integers(0, 256, image.shape, dtype=np.uint8)
    noisy = np.where(image[..., -1:] > 0, image, noise)
    noisy[..., -1] = image[..., -1]
    files = [encode_with_report(each, bpp=0.6, effort=1, threads=1) for each in (image, noisy)]
    assert files[0][0] == files[1][0]
    assert files[0][1].psnr == pytest.approx(files[1][1].psnr)


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_an_edge_of_alpha_is_seen_as_well_on_any_background(metric):
    """Against colours taken as they are, as many bytes bring 2 dB or more, and edges no halo."""
    image = cutout()
    image[..., :-1][image[..., -1] == 0] = 0
    coded = {"bpp": 0.6, "effort": 1, "threads": 1, "metric": metric}
    data, report = encode_with_report(image, **coded)
    colors, alpha = (
        decode(encode_with_report(part.copy(), **coded | {"bpp": bpp})[0])
        for part, bpp in ((image[..., :-1], 0.5), (image[..., -1:], 0.1))
    )
    apart = np.dstack([colors, alpha])
    assert seen_error(image, decode(data)) < 0.63 * seen_error(image, apart)
    # A dark halo would show on white, where the hidden black bled into the edge.
    edge = (image[..., -1] > 0) & (image[..., -1] < 255)
    error = (seen(decode(data), 1.0) - seen(image, 1.0))[edge]
    assert abs(error.mean()) < 5
    expected = premultiplied(image, 255) - premultiplied(decode(data), 255)
    assert report.psnr == pytest.approx(10 * np.log10(255**2 / np.mean(expected**2)))
