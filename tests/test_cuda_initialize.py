"""The first sites of a fit, placed by CUDA kernels, against those that NumPy places."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import load
from cuda_host.stand_in import make_cupy
from diagrams import smooth_target

from sadcodec.backends.base import Start
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_initialize import initialize_on_device
from sadcodec.backends.initialize import initialize
from sadcodec.backends.launch import Launcher
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, X, Y


def placed(target: np.ndarray, start: Start, order: int = 0) -> np.ndarray:
    cp = make_cupy(order=order)
    launcher = Launcher(Runtime(cp, 0), {"SAD_CHANNELS": target.shape[2]})
    params = initialize_on_device(launcher, cp.asarray(target), start).get()
    assert (params.shape, params.dtype) == ((start.count, 6 + target.shape[2]), np.float32)
    return params


def crop(name: str, x: int, y: int, width: int, height: int) -> np.ndarray:
    return load(name)[y : y + height, x : x + width].astype(np.float32) / 255


def compare(target: np.ndarray, start: Start, agree: float = 0.98) -> np.ndarray:
    """Check the device's sites against NumPy's, and return the former."""
    ours = placed(target, start)
    theirs = initialize(
        target, start.count, power=start.power, radius=start.radius, seed=start.seed
    )
    assert np.isfinite(ours).all()
    same = (np.abs(ours[:, :2] - theirs[:, :2]) < 1e-3).all(axis=1)
    assert same.mean() >= agree
    a, b = ours[same], theirs[same]
    np.testing.assert_allclose(a[:, LOG_TAU], b[:, LOG_TAU], atol=1e-4)
    np.testing.assert_allclose(a[:, RADIUS], b[:, RADIUS], rtol=1e-4)
    np.testing.assert_allclose(a[:, [P, Q]], b[:, [P, Q]], atol=1e-3)
    np.testing.assert_allclose(a[:, COLOR:], b[:, COLOR:], atol=1e-5)
    counts = [
        np.histogram2d(p[:, Y], p[:, X], bins=[np.arange(0, side + 64, 32) for side in sides])[0]
        for p, sides in ((ours, target.shape[:2]), (theirs, target.shape[:2]))
    ]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    return ours


PHOTOS = {
    "coffee": ("coffee.png", 96, 96, 96, 64),
    "cat": ("chelsea.png", 100, 60, 75, 101),
    "drawing": ("drawing.png", 180, 96, 96, 64),
    "gray": ("camera.png", 80, 32, 70, 40),
}


@pytest.mark.parametrize("count", [40, 1500])
@pytest.mark.parametrize("name", PHOTOS)
def test_sites_of_a_photograph_lie_where_numpy_places_them(name: str, count: int):
    target = crop(*PHOTOS[name])
    compare(target, Start(count))


def test_a_whole_photograph():
    compare(crop("chelsea.png", 0, 0, 301, 235), Start(4000))


@pytest.mark.parametrize("power", [0.6, 1.7])
def test_the_power_of_the_density(power: float):
    compare(crop(*PHOTOS["coffee"]), Start(900, power=power))


def test_the_radius_is_left_out_where_it_is_not_wanted():
    ours = compare(crop(*PHOTOS["coffee"]), Start(200, radius=False))
    assert not ours[:, RADIUS].any()


def test_another_seed_gives_other_sites():
    target = crop(*PHOTOS["coffee"])
    first, second = (compare(target, Start(300, seed=seed)) for seed in (0, 5))
    assert not np.array_equal(first[:, :2], second[:, :2])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 45), (70, 1), (3, 2), (33, 31), (61, 43)]
)
def test_images_of_any_size_and_number_of_channels(width: int, height: int, channels: int):
    target = smooth_target(3, width, height, channels)
    pixels = width * height
    for count in sorted({1, max(1, pixels // 7), pixels}):
        compare(target, Start(count))


@pytest.mark.parametrize("size", [(64, 64), (50, 37)])
def test_sites_of_a_flat_image_are_spread_evenly(size: tuple[int, int]):
    width, height = size
    ours = compare(np.full((height, width, 3), 0.25, np.float32), Start(width * height // 16))
    np.testing.assert_allclose(ours[:, COLOR:], 0.25)
    np.testing.assert_allclose(ours[:, RADIUS], 2.0, rtol=5e-3)


def test_every_pixel_of_a_flat_image_gets_its_site():
    ours = placed(np.full((37, 50, 1), 0.5, np.float32), Start(37 * 50))
    cells = np.floor(ours[:, [Y, X]]).astype(int)  # a jitter of a quarter stays in the pixel
    assert len(np.unique(cells, axis=0)) == 37 * 50


def test_a_steep_density_puts_many_sites_on_a_pixel():
    target = np.zeros((48, 64, 1), np.float32)
    target[20:, 30:] = 1.0
    compare(target, Start(64 * 48, power=4.0))


@pytest.mark.parametrize("name", ["coffee", "cat"])
def test_the_order_of_threads_does_not_matter(name: str):
    target = crop(*PHOTOS[name])
    start = Start(700, power=0.8, seed=2)
    first = placed(target, start)
    for order in (1, 2, 3):
        np.testing.assert_array_equal(placed(target, start, order), first)
