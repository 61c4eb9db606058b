"""Diagrams as objects: fitted, differentiated, edited, saved and loaded, in NumPy's terms."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagrams import random_sites
from PIL import Image

import sadcodec
from sadcodec import Diagram
from sadcodec.backends import at_points
from sadcodec.backends.points import PointSession, pixel_centers
from sadcodec.backends.reference import pull_back, render
from sadcodec.backends.reference_sample import sample
from sadcodec.errors import InputError, LimitError, OptionError, OutputError, SadError
from sadcodec.metrics import psnr
from sadcodec.pixels import code_values

DATA = Path(__file__).resolve().parent.parent / "data"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(DATA / "coffee.png") as file:
        return np.asarray(file.convert("RGB").resize((60, 40)))


@pytest.fixture(scope="module")
def fitted(photo: np.ndarray) -> Diagram:
    return Diagram.fit(photo, sites=120, effort=1, threads=1, k=6)


@pytest.fixture
def small() -> Diagram:
    return Diagram.from_sites(random_sites(4, 60, 45, 37), 45, 37, threads=1)


def test_a_fit_is_what_encode_starts_from(fitted: Diagram, photo: np.ndarray):
    assert (fitted.width, fitted.height, fitted.k, len(fitted.sites)) == (60, 40, 6, 120)
    assert psnr(photo, fitted.picture()) > 22
    np.testing.assert_array_equal(code_values(fitted.render(), 8), fitted.picture())
    by_rate = Diagram.fit(photo, bpp=1.0, effort=1, threads=1)
    assert 40 < len(by_rate.sites) < 120  # 300 bytes, of which the sites have 22 to 30 bits each
    assert (by_rate.sites.radius == 0).all()
    with pytest.raises(OptionError, match="sites, bpp or size"):
        Diagram.fit(photo, quality=50)
    with pytest.raises(OptionError, match="K must"):
        Diagram.fit(photo, sites=10, k=17)


def test_save_and_load(fitted: Diagram, photo: np.ndarray, tmp_path: Path):
    path = tmp_path / "a.sad"
    fitted.save(path, photo, effort=1)
    found = Diagram.load(path, threads=1)
    assert (len(found.sites), found.k) == (120, 6)
    assert psnr(photo, found.picture()) > psnr(photo, fitted.picture()) - 1.5
    np.testing.assert_array_equal(sadcodec.decode(path.read_bytes()), found.picture())
    with pytest.raises(OutputError, match="exists"):
        fitted.save(path)
    fitted.save(path, force=True, scale=0.2, effort=1)  # without an image: as it draws
    np.testing.assert_allclose(Diagram.load(str(path)).render(), fitted.render(), atol=0.05)
    file = io.BytesIO()
    fitted.save(file, size=400, effort=1)
    assert len(file.getvalue()) <= 400
    assert len(Diagram.load(file.getvalue()).sites) <= 120
    with pytest.raises(InputError, match="the diagram draws"):
        fitted.save(file, photo[:-1])
    with pytest.raises(OptionError, match="effort"):
        fitted.to_bytes(effort=10)
    with pytest.raises(InputError, match=r"none\.sad: No such file"):
        Diagram.load(tmp_path / "none.sad")
    with pytest.raises(OutputError, match=r"no/a\.sad: No such file"):
        fitted.save("no/a.sad")


def test_gradient_is_the_reference_s(small: Diagram):
    g = np.random.default_rng(1).normal(size=(37, 45, 3))
    expected = pull_back(small.sites.params.astype(np.float64), g)
    found = small.gradient(g)
    assert (found.dtype, found.shape) == (np.float32, (60, 9))
    assert (np.abs(found - expected).max(axis=0) < 1e-5 * np.abs(expected).max(axis=0)).all()
    with pytest.raises(OptionError, match="shape"):
        small.gradient(g[:-1])


@pytest.mark.parametrize(("k", "channels"), [(1, 3), (8, 3), (16, 4), (5, 1)])
def test_points_in_double_are_the_reference_s(k: int, channels: int):
    sites = random_sites(7, 300, 40, 30, channels)
    params = sites.params.astype(np.float64)
    whole = PointSession(params, pixel_centers(40, 30), k)
    np.testing.assert_allclose(
        whole.forward().reshape(30, 40, channels), render(sites, 40, 30, k), rtol=0, atol=1e-13
    )
    g = np.random.default_rng(1).normal(size=(1200, channels))
    found, _ = whole.backward(g)
    expected = pull_back(params, g.reshape(30, 40, channels), k)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    anywhere = np.random.default_rng(2).uniform(-30, 70, (700, 2))
    np.testing.assert_allclose(
        PointSession(params, anywhere, k).forward(), sample(sites, anywhere, k), atol=1e-13
    )


def test_ties_at_points_go_to_the_lower_index():
    params = random_sites(8, 40, 20, 20).params
    params[:, :6] = params[0, :6]
    np.testing.assert_allclose(
        PointSession(params, [[3.0, 4.0]], 3).forward()[0], params[:3, 6:].mean(axis=0), atol=1e-7
    )


def test_slopes_at_points_are_differences(small: Diagram):
    rng = np.random.default_rng(3)
    points, g = rng.uniform(0, 40, (25, 2)), rng.normal(size=(25, 3))
    d_params, d_points = small.sample_gradient(points, g)
    assert d_params.shape == (60, 9)
    for axis in (0, 1):
        step = np.zeros(2)
        step[axis] = 1e-5
        ahead, behind = small.sample(points + step), small.sample(points - step)
        found = ((ahead - behind) * g).sum(axis=1) / 2e-5
        np.testing.assert_allclose(d_points[:, axis], found, rtol=1e-4, atol=1e-7)
    with pytest.raises(OptionError, match="colours"):
        small.sample_gradient(points, g[:-1])
    with pytest.raises(OptionError, match="finite"):
        small.sample_gradient([[np.nan, 0.0]], g[:1])
    empty = small.sample_gradient(np.empty((0, 2)), np.empty((0, 3)))
    assert not empty[0].any()


def test_threads_do_not_change_points():
    sites = random_sites(9, 2000, 200, 150)
    points = np.random.default_rng(4).uniform(0, 200, (30000, 2))
    one, three = (at_points(sites, points, 8, threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.forward(), three.forward())
    g = np.ones((30000, 3))
    for a, b in zip(one.backward(g), three.backward(g)):
        np.testing.assert_array_equal(a, b)


def test_sites_that_matter_everywhere_are_refused():
    params = random_sites(3, 1, 100, 100).params
    points = np.random.default_rng(1).uniform(0, 100, (20000, 2))
    with pytest.raises(LimitError, match="matter at a point"):
        PointSession(np.tile(params[:1], (20000, 1)), points)
    crowd = Diagram.from_sites(np.tile(params[:1], (3000, 1)), 45, 37, threads=1)
    of_file = replace(crowd, max_work=1)
    with pytest.raises(LimitError, match="too many"):
        of_file.gradient(np.zeros((37, 45, 3)))


def test_editing_makes_another_diagram(small: Diagram):
    before = small.sites.params.copy()
    other = small.edited(3, color=[1.0, 0.0, 0.0], shift=(2.0, -1.0), log_tau=0.5)
    assert other.sites.params[3, :3].tolist() == pytest.approx(
        [before[3, 0] + 2, before[3, 1] - 1, 0.5]
    )
    np.testing.assert_array_equal(np.delete(other.sites.params, 3, 0), np.delete(before, 3, 0))
    left = small.sites.position[:, 0] < 20
    moved = small.edited(left, position=(5.0, 5.0), radius=0.0, anisotropy=(1.0, 0.0))
    assert (moved.sites.position[left] == 5.0).all()
    assert (moved.sites.anisotropy[left] == (1.0, 0.0)).all()
    assert len(small.without(left).sites) == 60 - left.sum()
    assert len(small.without([0, -1]).sites) == 58
    np.testing.assert_array_equal(small.sites.params, before)
    assert np.abs(other.render() - small.render()).max() > 0.1


def test_diagrams_refuse(small: Diagram):
    with pytest.raises(OptionError, match="fit 2 sites"):
        small.edited([1, 2], color=np.zeros((3, 3)))
    with pytest.raises(OptionError, match="60 sites"):
        small.edited(60, radius=1.0)
    with pytest.raises(OptionError, match="at least one"):
        small.without(slice(None))
    with pytest.raises(SadError, match="finite"):
        small.edited(0, radius=np.inf)
    with pytest.raises(OptionError, match="bit_depth"):
        Diagram.from_sites(small.sites, 9, 9, bit_depth=12)
    with pytest.raises(OptionError, match="cannot be 0"):
        Diagram.from_sites(small.sites, 0, 9)
    with pytest.raises(LimitError, match="limit"):
        Diagram.from_sites(small.sites, 1 << 20, 1 << 20).gradient(np.zeros((1, 1, 3)))
