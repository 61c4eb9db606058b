"""The authors' recipe: each piece against plain code for the same, then whole fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import load
from diagrams import random_sites, smooth_target

from sadcodec.backends import get_backend
from sadcodec.backends.propagation import Propagation
from sadcodec.codec import encode_with_report
from sadcodec.errors import OptionError
from sadcodec.fit.loop import fit
from sadcodec.fit.paper.density import halves, scores
from sadcodec.fit.paper.loop import fit_paper, open_session
from sadcodec.fit.paper.optimizer import (
    COLORS,
    A,
    U,
    V,
    from_params,
)
from sadcodec.fit.paper.schedule import plan, start_count
from sadcodec.fit.paper.start import THRESHOLD, luma_gradient, place, r2_points
from sadcodec.fit.schedule import FitOptions
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, X, Y


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    """float32 [64, 96, 3]: the rim of a cup, a handle and wood grain."""
    return load("coffee.png")[96:160, 96:192].astype(np.float32) / 255


@pytest.fixture(scope="module")
def cpu():
    return get_backend("cpu", 1)


def psnr(mse: float) -> float:
    return float(-10 * np.log10(mse))


# ---- Start --------------------------------------------------------------------------------------


def test_r2_points_are_the_sequence():
    g = 1.0
    for _ in range(60):
        g = (1.0 + g) ** (1 / 3)  # to the root of g^3 = g + 1
    x, y = 0.5, 0.5
    points = r2_points(0, 500)
    for n in range(500):
        assert np.allclose(points[n], [x, y], atol=1e-9)
        x, y = (x + 1 / g) % 1.0, (y + 1 / g**2) % 1.0
    assert np.array_equal(r2_points(123, 7), points[123:130])
    # Low discrepancy: as many in each of 25 cells.
    cells = np.histogram2d(points[:, 0], points[:, 1], bins=5, range=[[0, 1], [0, 1]])[0]
    assert (np.abs(cells - 20) <= 3).all()


def sobel_of_luma(target: np.ndarray, row: int, column: int) -> float:
    height, width, _ = target.shape
    total = np.zeros(2)
    for j in (-1, 0, 1):
        for i in (-1, 0, 1):
            pixel = target[min(max(row + j, 0), height - 1), min(max(column + i, 0), width - 1)]
            luma = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
            total += luma * np.array([i * (2 - abs(j)), j * (2 - abs(i))])
    return float(np.hypot(*total)) / 4


def test_sites_start_at_the_points_with_a_gradient():
    target = load("drawing.png")[96:112, 200:224].astype(np.float32) / 255
    height, width, _ = target.shape
    params = place(target, 30)
    n = 0
    for site in params:
        while True:
            x, y = r2_points(n, 1)[0] * (width - 1, height - 1)
            n += 1
            strength = sobel_of_luma(target, int(y), int(x))
            if strength > THRESHOLD:
                break
        assert np.allclose(site[[X, Y]], [x + 0.5, y + 0.5], atol=1e-4)
        assert site[LOG_TAU] == pytest.approx(5 - np.log(width) + 2 * strength**0.25, abs=1e-4)
        assert site[RADIUS] == 4.0
        assert not site[[P, Q]].any()
        assert np.array_equal(site[COLOR:], target[int(y), int(x)])
    assert n > 40  # some were refused
    assert not np.array_equal(params, place(target, 30, seed=1))
    assert np.array_equal(place(target, 30, seed=1), place(target, 30, seed=1))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_flat_images_have_sites_too(channels):
    params = place(np.full((20, 30, channels), 0.25, np.float32), 50)
    assert np.allclose(params[:, [X, Y]], r2_points(0, 50) * (29, 19) + 0.5, atol=1e-4)
    assert (params[:, COLOR:] == 0.25).all()


def test_the_gradient_is_of_luma_without_alpha():
    target = smooth_target(3, 9, 8, 4)
    gx, gy = luma_gradient(target)
    for row in range(8):
        for column in range(9):
            expected = sobel_of_luma(target, row, column)
            assert np.hypot(gx, gy)[row, column] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(luma_gradient(target[:, :, :2])[0], luma_gradient(target[:, :, :1])[0])


# ---- Schedule -----------------------------------------------------------------------------------


@pytest.mark.parametrize("splitting", [True, False])
@pytest.mark.parametrize(
    ("start", "sites", "iterations"),
    [(128_000, 5000, 4000), (128_000, 50_000, 4000), (128_000, 1, 4000), (128_000, 127_999, 4000),
     (900, 100, 4000), (2000, 150, 300), (2000, 2000, 4000), (5, 3, 200)],
)  # fmt: skip
def test_the_solved_fractions_end_at_the_sites(start, sites, iterations, splitting):
    steps = plan(start, sites, iterations, splitting=splitting)
    count, splits, prunes = start, 0, 0
    for i in range(iterations):
        splits, prunes = steps.splits.get(i, 0), steps.prunes.get(i, 0)
        assert 0 <= splits <= count
        count += splits
        assert 0 <= prunes < count
        count -= prunes
    assert count == steps.final == sites
    if splitting:
        assert steps.split_share == pytest.approx(steps.prune_share * 0.01 / 0.033)
    else:
        assert not any(steps.splits.values())
    if start - sites > 100:
        assert any(steps.splits.values()) == splitting


def test_steps_come_when_the_authors_have_them():
    steps = plan(128_000, 5000, splitting=True)
    assert sorted(steps.splits) == list(range(20, 3001, 20))
    assert sorted(steps.prunes) == list(range(120, 3000, 40))
    # What is split and pruned is the solved share of what there is, all along.
    count = 128_000
    for i in range(2960):
        if i in steps.splits:
            assert steps.splits[i] == int(count * steps.split_share)
            count += steps.splits[i]
        if i in steps.prunes:
            assert steps.prunes[i] == int(count * steps.prune_share)
            count -= steps.prunes[i]
    # A shorter run has them closer together.
    short = plan(2000, 150, 400, splitting=True)
    assert sorted(short.splits) == list(range(5, 301, 5))
    assert sorted(short.prunes) == list(range(10, 300, 10))
    assert plan(100, 50, 10).final == 100  # too short for a single step
    assert start_count(768, 512, 5000) == 128_000
    assert start_count(96, 64, 150) == 2048
    assert start_count(96, 64, 3000) == 3000


# ---- Density ------------------------------------------------------------------------------------


def test_the_score_is_error_over_a_power_of_the_mass():
    moments = np.zeros((3, 7))
    moments[:, 0], moments[:, 1] = (16.0, 200.0, 0.9), (0.3, 0.5, 9.0)
    assert scores(moments) == pytest.approx([0.3 / 16**0.7, 0.5 / 200**0.7, 0.0])


def moments_of(error: np.ndarray, x: float, y: float, mass: float) -> np.ndarray:
    """Moments of a site at (x, y) that answers for all of an error image [H, W]."""
    dy, dx = np.mgrid[: error.shape[0], : error.shape[1]] + 0.5
    dx, dy = dx - x, dy - y
    return np.array([[mass, *((error * f).sum() for f in (1, dx, dy, dx * dx, dx * dy, dy * dy))]])


def test_halves_lie_along_the_error():
    target = np.random.default_rng(1).uniform(0, 1, (60, 80, 3)).astype(np.float32)
    error = np.zeros((60, 80))
    for n in range(20):
        error[20 + n // 2, 30 + n] = 0.1  # a line with a slope of 1 to 2, its middle at (40, 25)
    parent = from_params(random_sites(1, 1, 80, 60).params)
    parent[[X, Y], 0] = 38.0, 30.0
    found = halves(parent, moments_of(error, 38, 30, 100.0), target, luma_gradient(target))
    assert found.shape == (10, 2)
    points = np.argwhere(error)[:, ::-1] + 0.5
    values, vectors = np.linalg.eigh(np.cov(points.T, bias=True))
    axis = vectors[:, 1]
    assert np.allclose(np.abs(found[[U, V]].T @ axis), 1, atol=1e-5)
    center = 0.4 * np.array([38, 30]) + 0.6 * points.mean(axis=0)
    assert np.allclose(found[[X, Y]].mean(axis=1), center, atol=1e-4)
    assert np.allclose(np.abs((found[[X, Y], 0] - center) @ axis), 5, atol=1e-4)  # sqrt(100) / 2
    assert np.allclose(found[A], max(-0.5 * np.log(values[1] / values[0]), -2), atol=1e-4)
    assert np.allclose(found[LOG_TAU], parent[LOG_TAU] - 0.25)
    assert np.allclose(found[RADIUS], 0.85 * parent[RADIUS])
    for half in found.T:
        assert np.array_equal(half[COLORS:], target[int(half[Y]), int(half[X])])


def test_halves_of_a_site_without_error_lie_along_the_gradient():
    target = np.zeros((60, 80, 1), np.float32)
    target[30:] = 1.0
    parents = from_params(random_sites(1, 2, 80, 60, 1).params)
    parents[[X, Y]] = [[40.0, 5.0], [30.0, 10.0]]  # on the edge, and far from it
    moments = np.zeros((2, 7))
    moments[:, 0] = 4.0, 1e6
    found = halves(parents, moments, target, luma_gradient(target))
    assert np.allclose(found[[X, Y]][:, [0, 2]], [[40, 40], [31.5, 28.5]], atol=1e-4)
    assert np.allclose(found[[U, V]][:, 1], parents[[U, V]][:, 1], atol=1e-6)
    assert np.allclose(found[A], 0.8 * np.tile(parents[A], 2))
    # Half of 1000 px is too far, and the image ends before.
    assert (found[X] >= 0.5).all()
    assert (found[Y] >= 0.5).all()


# ---- Fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splitting", "propagation"),
    [(False, None), (True, None), (False, Propagation()), (True, Propagation())],
)
def test_a_fit_ends_with_its_sites_and_a_good_picture(cpu, target, splitting, propagation):
    counts: list[int] = []
    result = fit_paper(
        *(cpu, target, 200),
        iterations=200,
        propagation=propagation,
        splitting=splitting,
        watch=lambda _, params: counts.append(len(params)),
    )
    assert len(result.params) == 200
    assert (len(counts), counts[0], counts[-1]) == (200, 2048, 200)
    assert set(counts[151:]) == {200}
    assert (np.diff(counts) > 0).any() == splitting
    assert (np.diff(counts) < 0).any()
    assert psnr(result.mse) > 27.0
    session = cpu.fit_session(target, result.params)
    assert float(session.gradient()) == pytest.approx(result.mse, rel=0.05)


def test_a_recipe_of_the_fit(target):
    options = FitOptions(recipe="paper", iterations=60, seed=3, propagation=Propagation(seed=3))
    one = fit(get_backend("cpu", 1), target, 150, options)
    two = fit(get_backend("cpu", 2), target, 150, options)
    assert np.array_equal(one.params, two.params)
    other = fit(get_backend("cpu", 2), target, 150, replace(options, seed=4))
    assert not np.array_equal(one.params, other.params)
    with pytest.raises(OptionError, match="number of sites"):
        fit(get_backend("cpu"), target, 150, options, budget=lambda *_: 10)
    with pytest.raises(OptionError, match="backend cpu"):
        open_session(object(), "cuda")


def test_the_reference_fits_alike(target):
    small = np.ascontiguousarray(target[:24, :32])
    paths: list[list[np.ndarray]] = []
    for name in ("cpu", "reference"):
        path: list[np.ndarray] = []
        fit_paper(
            *(get_backend(name, 1), small, 200),
            iterations=12,
            splitting=True,
            watch=lambda _, params, path=path: path.append(params),
        )
        paths.append(path)
    assert [len(params) for params in paths[0]] == [len(params) for params in paths[1]]
    first = place(small, 256)
    for one, other in zip(*(path[:5] for path in paths)):  # until sites are split and pruned
        # Where there is next to no gradient, its sign is chance, and Adam's step as long.
        difference = np.abs(one - other)
        assert np.median(difference) < 1e-4
        assert difference.mean() < 0.1 * np.abs(one - first).mean()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (3, 2)])
def test_tiny_images(cpu, height, width):
    target = smooth_target(2, width, height, 3)
    result = fit_paper(cpu, target, 4, iterations=30)
    assert len(result.params) == min(4, height * width)


def test_encoding_with_the_recipe(monkeypatch, target):
    monkeypatch.setattr("sadcodec.job.PAPER_ITERATIONS", 200)
    image = np.round(target * 255).astype(np.uint8)
    data, report = encode_with_report(image, sites=120, recipe="paper", effort=1, threads=1)
    assert (report.sites, report.iterations, report.recipe) == (120, 200, "paper")
    assert report.backend == "cpu"
    assert report.bytes == len(data)
    assert report.psnr > 25
    _, plain = encode_with_report(image, sites=120, effort=1, threads=1)
    assert (plain.recipe, plain.iterations) == ("default", 52)
    assert plain.fit_psnr != report.fit_psnr
    for options in ({"bpp": 0.5}, {"sites": 9, "backend": "cuda"}, {}):
        with pytest.raises(OptionError, match="recipe paper"):
            encode_with_report(image, recipe="paper", **options)
    with pytest.raises(OptionError, match="recipe must be"):
        encode_with_report(image, recipe="ours")
