"""What every fit session promises, the reference's included."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import ALL, backend_named, host
from diagrams import random_sites, smooth_target

from sadcodec.backends import get_backend
from sadcodec.backends.base import Backend
from sadcodec.backends.reference import render as reference_render
from sadcodec.errors import OptionError, SadError
from sadcodec.sites import Sites

WIDE_CUT = 30.0  # what is left out weighs under 1e-12


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


# ------------------------------------------------------------------------


def start(backend: Backend, seed: int = 70, count: int = 30, width: int = 17, height: int = 13):
    target = smooth_target(seed, width, height, 3)
    sites = random_sites(seed, count, width, height)
    fit = backend.fit_session(target, sites.params, 8)
    fit.refresh()
    return fit, target, sites


def test_a_session_starts_from_a_copy(any_backend: Backend):
    fit, target, sites = start(any_backend)
    np.testing.assert_array_equal(fit.params, sites.params)
    assert fit.params.dtype == np.float32
    assert fit.site_count == 30
    before = float(fit.gradient())
    sites.params[:] = 0.5
    target[:] = 0.0
    fit.params[:] = 0.0
    fit.gradients[:] = 0.0
    fit.refresh()
    assert float(fit.gradient()) == before
    assert np.abs(fit.gradients).max() > 0


def test_phases_part_the_image(any_backend: Backend):
    fit, target, sites = start(any_backend)
    fit.refresh(WIDE_CUT)
    total, count = 0.0, 0
    summed = np.zeros(sites.params.shape)
    for phase in range(4):
        loss = float(fit.gradient(phase))
        samples = target[phase // 2 :: 2, phase % 2 :: 2].size
        total, count = total + loss * samples, count + samples
        summed += fit.gradients.astype(np.float64) * samples
    assert count == target.size
    assert float(fit.gradient(None)) == pytest.approx(total / count, rel=1e-5)
    expected = summed / count
    scale = np.abs(expected).max(axis=0)
    assert (np.abs(fit.gradients - expected).max(axis=0) <= 1e-4 * scale).all()


def test_a_phase_without_pixels_is_nothing(any_backend: Backend):
    fit, _, _ = start(any_backend, width=1, height=9)
    fit.gradient(0)
    assert np.abs(fit.gradients).max() > 0
    assert float(fit.gradient(1)) == 0.0
    np.testing.assert_array_equal(fit.gradients, 0)


def test_adam_goes_down_and_clamps(any_backend: Backend):
    fit, target, _ = start(any_backend)
    before = float(fit.gradient())
    for _ in range(30):
        fit.refresh()
        fit.gradient()
        fit.adam([0.1, 0.1, 0.05, 0.1, 0.05, 0.05, 0.02, 0.02, 0.02], 0.9, 0.95)
    fit.refresh()
    assert float(fit.gradient()) < 0.6 * before
    for _ in range(3):
        fit.refresh()
        fit.gradient()
        fit.adam([1e4] * 9, 0.9, 0.95)
    params = fit.params
    height, width, _ = target.shape
    length = np.hypot(params[:, 4], params[:, 5])
    for values, low, high in (
        (params[:, 0], 0, width),
        (params[:, 1], 0, height),
        (params[:, 2], -8, 8),
        (params[:, 3], 0, 512),
        (params[:, 6:], -1, 2),
    ):
        assert values.min() >= low
        assert values.max() <= high
        assert ((values == low) | (values == high)).any()
    assert length.max() == pytest.approx(4, rel=1e-5)


def test_the_first_adam_step_has_the_length_of_the_rate(any_backend: Backend):
    fit, _, sites = start(any_backend)
    fit.gradient()
    moved = np.abs(fit.gradients[:, 6:]) > 1e-5
    assert moved.mean() > 0.5
    fit.adam([0.0] * 6 + [0.01] * 3, 0.9, 0.999)
    step = np.abs(fit.params - sites.params)
    np.testing.assert_array_equal(step[:, :6], 0)
    np.testing.assert_allclose(step[:, 6:][moved], 0.01, rtol=2e-3)


def test_keep_and_append(any_backend: Backend):
    fit, target, _ = start(any_backend)
    fit.gradient()
    fit.adam([0.01] * 9, 0.9, 0.95)
    params = fit.params
    fit.keep(np.array([5, 2, 9], dtype=np.int32))
    assert fit.site_count == 3
    np.testing.assert_array_equal(fit.params, params[[5, 2, 9]])
    added = random_sites(99, 2, 17, 13).params
    fit.append(added)
    assert fit.site_count == 5
    np.testing.assert_array_equal(fit.params, np.concatenate([params[[5, 2, 9]], added]))
    np.testing.assert_array_equal(fit.gradients, np.zeros((5, 9)))
    fit.refresh()
    image = reference_render(Sites(fit.params), 17, 13)
    assert float(fit.gradient()) == pytest.approx(np.mean((image - target) ** 2), rel=1e-2)
    assert fit.statistics()[0].shape == (5,)
    assert fit.removal_deltas().shape == (5,)
    np.testing.assert_array_equal(host(fit.rows(np.array([4, 0]))), fit.params[[4, 0]])


def test_moments_go_with_their_sites(any_backend: Backend):
    fit, _, _ = start(any_backend)
    fit.gradient()
    fit.adam([0.01] * 9, 0.9, 0.95)
    params = fit.params
    fit.keep(np.array([5, 2, 9], dtype=np.int32))
    added = random_sites(99, 2, 17, 13).params
    fit.append(added)
    # Gradients are zero now, so that only moments move anything: the added sites stay.
    fit.adam([0.01] * 9, 0.9, 0.95)
    np.testing.assert_array_equal(fit.params[3:], added)
    assert np.abs(fit.params[:3] - params[[5, 2, 9]]).max() > 1e-3


def test_keeping_everything_changes_nothing(any_backend: Backend):
    fit, _, _ = start(any_backend)
    other, _, _ = start(any_backend)
    for step in range(3):
        for session in (fit, other):
            session.refresh()
            session.gradient()
            session.adam([0.01] * 9, 0.9, 0.95)
        if step == 1:
            fit.keep(np.arange(30, dtype=np.int32))
    np.testing.assert_array_equal(fit.params, other.params)


def test_a_session_refuses(any_backend: Backend):
    fit, target, sites = start(any_backend)
    with pytest.raises(OptionError, match="phase"):
        fit.gradient(4)
    with pytest.raises(OptionError):
        any_backend.fit_session(target, sites.params, 17)
    with pytest.raises(OptionError):
        any_backend.fit_session(target[..., :1].copy(), sites.params, 8)
    with pytest.raises(SadError):
        any_backend.fit_session(target, np.full_like(sites.params, np.nan), 8)
    with pytest.raises(SadError):
        fit.append(np.zeros((1, 7), np.float32))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_fit(threads):
    results = []
    for count in (1, threads):
        target = smooth_target(80, 150, 140, 3)
        params = random_sites(80, 400, 150, 140).params
        fit = get_backend("cpu", threads=count).fit_session(target, params, 8)
        for _ in range(3):
            fit.refresh()
            fit.gradient(0)
            fit.adam([0.1] * 9, 0.9, 0.95)
        fit.refresh()
        results.append((fit.params, *fit.statistics(), fit.removal_deltas()))
    for one, several in zip(*results, strict=True):
        np.testing.assert_array_equal(one, several)
