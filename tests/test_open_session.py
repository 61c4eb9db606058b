"""Sessions for an optimizer of one's own: the CPU's against the float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import backend_named
from diagrams import random_sites, smooth_target

from sadcodec.backends import get_backend
from sadcodec.backends.cpu import CpuFitSession
from sadcodec.backends.cuda_fit import CudaFitSession
from sadcodec.backends.open_session import OpenFitSession
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.reference import render
from sadcodec.backends.reference_sums import error_moments, neighbours
from sadcodec.errors import OptionError, SadError
from sadcodec.sites import COLOR, Sites, X, Y

OPEN = ["cpu", "reference"]
WIDE_CUT = 30.0


def start(name: str, channels: int = 3, count: int = 60, *, cut: float = WIDE_CUT):
    width, height = 45, 37
    target = smooth_target(3, width, height, channels)
    params = random_sites(4, count, width, height, channels).params
    session = backend_named(name).fit_session(target, params, 8)
    assert isinstance(session, OpenFitSession)
    session.refresh(cut)
    return session, target, params


def test_a_gpu_has_no_open_sessions():
    for name in ("move", "error_moments", "neighbours"):
        assert hasattr(CpuFitSession, name)
        assert not hasattr(CudaFitSession, name)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_error_moments_are_those_of_the_reference(channels, weighted):
    target = smooth_target(3, 45, 37, channels)
    params = random_sites(4, 60, 45, 37, channels).params
    weights = None
    if weighted:
        weights = np.random.default_rng(1).uniform(0.2, 2.0, (37, 45)).astype(np.float32)
        weights /= weights.mean()
    session = backend_named("cpu").fit_session(target, params, 8, weights)
    session.refresh(WIDE_CUT)
    doubles = None if weights is None else weights.astype(np.float64)
    expected = error_moments(params.astype(np.float64), target.astype(np.float64), 8, doubles)
    found = session.error_moments()
    scale = np.abs(expected).max(axis=0)
    assert (np.abs(found - expected) <= 2e-4 * scale).all()
    mass, error = session.statistics()
    np.testing.assert_allclose(found[:, 0], mass, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:, 1], error, rtol=1e-3, atol=1e-4 * scale[1])


def test_moments_of_a_single_site_are_plain_sums():
    _, target, params = start("reference", channels=1, count=1)
    y, x = np.mgrid[:37, :45] + 0.5
    e = (params[0, COLOR] - target[:, :, 0].astype(np.float64)) ** 2
    dx, dy = x - params[0, X], y - params[0, Y]
    expected = [37 * 45, *((e * f).sum() for f in (1, dx, dy, dx * dx, dx * dy, dy * dy))]
    for name in OPEN:
        session, _, _ = start(name, channels=1, count=1)
        np.testing.assert_allclose(session.error_moments()[0], expected, rtol=1e-5)


@pytest.mark.parametrize("after_gradient", [False, True])
def test_neighbours_are_the_sites_of_largest_logit(after_gradient):
    session, _, params = start("cpu", count=300)
    if after_gradient:
        session.gradient()
    found = session.neighbours()
    expected = neighbours(params.astype(np.float64), 45, 37)
    assert (found.dtype, found.shape) == (np.int32, (300, 8))
    # Lists leave out what weighs nothing at a pixel: these are the last of a row.
    present = found >= 0
    assert present.mean() > 0.6
    assert (present[:, :-1] | ~present[:, 1:]).all()
    assert (found == expected)[present].mean() > 0.995  # float logits may swap two


def test_few_sites_have_few_neighbours():
    for name in OPEN:
        session, _, _ = start(name, count=3, cut=1e6)
        found = session.neighbours()
        assert (np.sort(found[:, :3], axis=1) == [0, 1, 2]).all()
        assert (found[:, 3:] == -1).all()


@pytest.mark.parametrize("name", OPEN)
def test_a_move_keeps_the_lists_and_nothing_else(name):
    session, target, params = start(name)
    session.gradient()
    moved = params + np.float32(0.05)
    session.move(moved)
    moved_on, moved = moved, moved.copy()
    moved_on[:] = 0.0  # it was copied
    np.testing.assert_array_equal(session.params, moved)
    image = render(Sites(moved), 45, 37)
    expected = np.mean((image - target) ** 2)
    assert float(session.gradient()) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(OptionError, match="shape"):
        session.move(params[:-1])
    with pytest.raises(SadError):
        session.move(np.full_like(params, np.inf))


@pytest.mark.parametrize("name", OPEN)
def test_lists_are_made_where_there_are_none(name):
    session, _, params = start(name)
    session.keep(np.arange(20, dtype=np.int32))
    assert session.error_moments().shape == (20, 7)
    session.append(params[20:])
    assert session.neighbours().shape == (60, 8)


def test_a_map_serves_moments_and_neighbours():
    target, params = smooth_target(5, 64, 48, 3), random_sites(6, 400, 64, 48).params
    exact = backend_named("cpu").fit_session(target, params)
    mapped = backend_named("cpu").fit_session(target, params, propagation=Propagation())
    mapped.refresh()
    mapped.gradient()
    expected, found = exact.error_moments(), mapped.error_moments()
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    present = mapped.neighbours() >= 0
    assert (mapped.neighbours() == exact.neighbours())[present].mean() > 0.9


def test_threads_do_not_change_moments_and_neighbours():
    found = []
    for threads in (1, 3):
        target, params = smooth_target(5, 100, 90, 3), random_sites(6, 3000, 100, 90).params
        session = get_backend("cpu", threads).fit_session(target, params, 8)
        session.gradient()
        found.append((session.error_moments(), session.neighbours()))
    for one, several in zip(*found):
        np.testing.assert_array_equal(one, several)
