"""The rate term of a fit: its derivatives, what sessions do with it, and what it is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from backends_under_test import ALL, OTHERS, backend_named
from conftest import load
from cuda_host.stand_in import make_cupy
from diagrams import random_sites, smooth_target

from sadcodec.backends.base import Backend, RateTerm
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.backends.reference_fit import rate_gradient
from sadcodec.bitstream import Header
from sadcodec.errors import OptionError
from sadcodec.fit.loop import fine_tune, fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.quantize import STEP_UNIT, color_axes, quantize
from sadcodec.rate_term import rate_term
from sadcodec.refine import choose_quantizer, coded_size
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, Sites, X, Y

WIDTH, HEIGHT, COUNT = 17, 13, 40


def term(channels: int, price: float = 0.02, seed: int = 5) -> RateTerm:
    """Return a term around random sites; some of their numbers have no bits."""
    rng = np.random.default_rng(seed)
    params = random_sites(seed + 1, COUNT, WIDTH, HEIGHT, channels).params
    scale = rng.uniform(0.02, 2.0, params.shape).astype(np.float32)
    scale[rng.random(params.shape) < 0.1] = 0.0
    return RateTerm(params, scale, color_axes(channels).astype(np.float32), 0.05, price)


def start(backend: Backend, channels: int = 3):
    params = random_sites(70, COUNT, WIDTH, HEIGHT, channels).params
    params[0, [P, Q]] = 0.0
    session = backend.fit_session(smooth_target(70, WIDTH, HEIGHT, channels), params, 8)
    session.refresh(30.0)
    session.gradient()
    return session


def rates(channels: int) -> np.ndarray:
    return np.array([0.2, 0.2, 0.1, 0.3, 0.1, 0.1] + [0.05] * channels, np.float32)


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_derivatives_are_those_of_the_bits(channels):
    params = random_sites(71, COUNT, WIDTH, HEIGHT, channels).params.astype(np.float64)
    params[0, [P, Q]] = 0.0
    rate = term(channels)
    gradient = rate_gradient(params, rate)[1]
    measured = np.empty_like(params)
    step = 1e-5
    for place in np.ndindex(params.shape):
        around = []
        for way in (step, -step):
            moved = params.copy()
            moved[place] += way
            around.append(rate_gradient(moved, rate)[0])
        measured[place] = (around[0] - around[1]) / (2 * step)
    np.testing.assert_allclose(gradient, measured, rtol=1e-5, atol=1e-6)
    assert not gradient[:, [X, Y]].any()
    for columns in (LOG_TAU, RADIUS, P, Q, slice(COLOR, None)):
        assert np.abs(gradient[:, columns]).max() > 0.1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", OTHERS)
def test_steps_with_a_rate_are_the_reference_s(name, channels):
    sessions = [start(backend_named(other), channels) for other in (name, "reference", "reference")]
    ours, exact, without = sessions
    for session in (ours, exact):
        session.set_rate(term(channels))
    for _ in range(3):
        for session in sessions:
            session.refresh(30.0)
            session.gradient()
            session.adam(rates(channels), 0.9, 0.95, 1e-3)
    np.testing.assert_allclose(ours.params, exact.params, rtol=2e-6, atol=2e-4)
    moved = np.abs(exact.params - without.params).max(axis=0)
    assert (moved[[LOG_TAU, RADIUS, P, Q, COLOR]] > 0.02).all()


def test_a_rate_leaves_the_gradients_alone(any_backend: Backend):
    """They are the loss's: a second step along them has the rate once, not twice."""
    session = start(any_backend)
    before = session.gradients
    session.set_rate(term(3))
    session.adam(rates(3), 0.9, 0.95)
    np.testing.assert_array_equal(session.gradients, before)


@pytest.mark.parametrize("end", ["none", "keep", "append", "free"])
def test_a_rate_ends(any_backend: Backend, end):
    found = []
    for rated in (False, True):
        session = start(any_backend)
        if rated:
            session.set_rate(term(3, price=0.0 if end == "free" else 0.02))
        if end == "none":
            session.set_rate(None)
        if end == "keep":
            session.keep(np.arange(COUNT))
        if end == "append":
            session.append(random_sites(72, 2, WIDTH, HEIGHT).params)
        session.gradient()
        session.adam(rates(3), 0.9, 0.95)
        found.append(session.params)
    np.testing.assert_array_equal(*found)


def test_a_rate_of_other_shapes_is_refused(any_backend: Backend):
    session, rate = start(any_backend), term(3)
    for wrong in (
        replace(rate, prediction=rate.prediction[1:]),
        replace(rate, scale=rate.scale[:, 1:]),
        replace(rate, axes=rate.axes[:2]),
        term(4),
    ):
        with pytest.raises(OptionError, match="rate term of shapes"):
            session.set_rate(wrong)
    for wrong in ({"price": -1.0}, {"price": np.nan}, {"turn": 0.0}):
        with pytest.raises(OptionError, match="no rate has turn"):
            session.set_rate(replace(rate, **wrong))


def test_steps_with_a_rate_do_not_wait_for_the_device():
    backend = CudaBackend(Runtime(make_cupy(), 0), threads=1)
    cp = backend.runtime.cp
    session = start(backend)
    session.refresh()
    waited, sent = cp.synchronizations, cp.machine.uploads
    session.set_rate(term(3))
    assert cp.machine.uploads - sent == 3
    for _ in range(5):
        session.gradient()
        session.adam(rates(3), 0.9, 0.95)
    assert cp.machine.uploads - sent == 3
    assert cp.synchronizations == waited


# ---- What it is made of, and what it is for -----------------------------------------------------


def header_for(params: np.ndarray, mse: float, width: int, height: int, **options) -> Header:
    channels = params.shape[1] - COLOR
    quantizer = choose_quantizer(mse, width, height, len(params), channels, **options)
    return Header(width, height, channels, 8, 8, len(params), quantizer)


@pytest.mark.parametrize("radius", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_priced_is_what_is_coded(channels, radius):
    params = random_sites(73, 200, 60, 40, channels).params
    header = header_for(params, 1e-3, 60, 40, radius=radius)
    rate = rate_term(params, 1e-3, header)
    rate.check(200, COLOR + channels)
    coded = np.ones(COLOR + channels, bool)
    coded[[X, Y, Q]] = False
    coded[RADIUS] = radius
    np.testing.assert_array_equal(rate.scale > 0, np.tile(coded, (200, 1)))
    assert rate.price == pytest.approx(1e-3 / (32 * 200))
    # A prediction is a symbol, in the column's unit.
    step = header.quantizer.step_log_tau * STEP_UNIT
    steps = rate.prediction[:, LOG_TAU] / step
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    # Scales are about the mean distance to it.
    off = np.abs(params[:, LOG_TAU] - rate.prediction[:, LOG_TAU]).mean()
    assert 0.7 * off < rate.scale[:, LOG_TAU].mean() < 1.5 * off


def test_a_single_site_has_a_rate():
    params = random_sites(74, 1, 8, 8).params
    rate = rate_term(params, 1e-3, header_for(params, 1e-3, 8, 8))
    assert np.isfinite(rate.prediction).all()
    assert (rate.scale[:, [LOG_TAU, P, COLOR]] > 0).all()


def test_a_fit_with_a_rate_takes_fewer_bits():
    target = load("coffee.png")[:128, :192].astype(np.float32) / 255
    backend, options = backend_named("cpu"), FitOptions(iterations=150, radius=False)

    def rate(params: np.ndarray, mse: float) -> RateTerm:
        rate = rate_term(params, mse, header_for(params, mse, 192, 128))
        return replace(rate, price=3 * rate.price)  # so that it stands out

    found = {}
    for name, asked in (("with", rate), ("without", None)):
        fitted = fit(backend, target, 400, options, rate=asked)
        tuned = fine_tune(backend, target, fitted.params, 60, noise=np.zeros_like, rate=asked)
        # The same steps for both.
        header = header_for(tuned.params, 1e-3, 192, 128)
        size = coded_size(header, quantize(Sites(tuned.params), 192, 128, header.quantizer))
        found[name] = 8 * size / 400, -10 * np.log10(tuned.mse)
    assert found["with"][0] < 0.96 * found["without"][0]
    assert found["with"][1] > found["without"][1] - 0.5


def test_a_rate_is_asked_for_in_the_second_half_and_when_sites_go():
    target = smooth_target(75, 60, 40, 3)
    asked: list[int] = []

    def rate(params: np.ndarray, mse: float) -> RateTerm:
        assert 0 < mse < 1
        asked.append(len(params))
        return rate_term(params, mse, header_for(params, mse, 60, 40))

    backend = backend_named("cpu")
    fitted = fit(backend, target, 50, FitOptions(iterations=160, radius=False), rate=rate)
    # From 80 on; sites go at 80 and 100, when the last of them have; then every 28: 128, 156.
    assert len(asked) == 4
    assert asked[0] > asked[1] == 50
    asked.clear()
    fine_tune(backend, target, fitted.params, 57, noise=np.zeros_like, rate=rate)
    assert asked == [50, 50, 50]
