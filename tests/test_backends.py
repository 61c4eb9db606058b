"""Every backend against the float64 reference, and what all fit sessions promise."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import ALL, ON_CPU, OTHERS, backend_named, host
from diagrams import Diagram, degenerate_diagrams, random_diagrams, random_sites, smooth_target
from hypothesis import given, settings
from hypothesis import strategies as st

from sadcodec import _core
from sadcodec.backends import get_backend
from sadcodec.backends.base import Backend, FitSession
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.reference import render as reference_render
from sadcodec.backends.reference_backend import ReferenceBackend
from sadcodec.errors import OptionError, SadError
from sadcodec.sites import Sites

DIAGRAMS = random_diagrams() + degenerate_diagrams()
SHAPES = ((3, 8), (1, 8), (2, 8), (4, 8), (3, 3), (3, 16))  # channels, K


@pytest.fixture(params=OTHERS)
def backend(request) -> Backend:
    return backend_named(request.param)


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


def code_values(image: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(image.astype(np.float64), 0, 1) * 255 + 0.5).astype(int)


def assert_same_picture(actual: np.ndarray, expected: np.ndarray) -> None:
    """At most 1 code value of 8 bits apart, and then only by rounding: 0.05 before it."""
    assert actual.shape == expected.shape
    assert actual.dtype in (np.float32, np.float64)
    assert np.isfinite(actual).all()
    worst = np.abs(actual - expected).max(axis=2)
    where = np.unravel_index(np.argmax(worst), worst.shape)
    assert worst.max() * 255 <= 0.05, f"off by {worst.max() * 255:.3f} code values at {where}"
    assert np.abs(code_values(actual) - code_values(expected)).max() <= 1


# ---- Pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=str)
def test_render_is_the_reference(backend: Backend, diagram: Diagram):
    arguments = (diagram.sites, diagram.width, diagram.height, diagram.k)
    assert_same_picture(backend.render(*arguments), reference_render(*arguments))


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([1, 2, 7, 8, 9, 16, 33, 150]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 16)),
    log_tau=st.tuples(st.floats(-10, 8), st.floats(0, 10)),
    radius=st.tuples(st.floats(-64, 512), st.floats(0, 64)),
    anisotropy=st.tuples(st.floats(0, 6), st.floats(0, 2)),
    grid=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    constant=st.booleans(),
)
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("name", OTHERS)
def test_render_of_any_diagram_is_the_reference(
    name, seed, count, width, height, shape, log_tau, radius, anisotropy, grid, constant
):
    """Also with positions on a grid, and one geometry for all sites: many exact and near ties."""
    channels, k = shape
    if name == ON_CPU:  # each shape is compiled: those of the other tests serve
        channels, k = SHAPES[(channels + 4 * k) % len(SHAPES)]
    params = random_sites(
        seed,
        count,
        width,
        height,
        channels,
        log_tau=(log_tau[0], min(sum(log_tau), 10.0)),
        radius=(radius[0], sum(radius)),
        anisotropy=(anisotropy[0], min(sum(anisotropy), 6.0)),
        margin=4.0,
    ).params.copy()
    if grid:
        params[:, :2] = np.round(params[:, :2] / grid) * grid
    if constant:
        params[:, 2:6] = params[0, 2:6]
    sites = Sites(params)
    actual = backend_named(name).render(sites, width, height, k)
    assert_same_picture(actual, reference_render(sites, width, height, k))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_a_bit(threads):
    sites = random_sites(50, 700, 300, 170)
    expected = get_backend("cpu", threads=1).render(sites, 300, 170)
    actual = get_backend("cpu", threads=threads).render(sites, 300, 170)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("isa", _core.isas())
def test_instruction_sets_do_not_change_a_bit(isa):
    pictures, fits = [], []
    for name in ("baseline", isa):
        backend = CpuBackend(threads=1, isa=name)
        drawn = [backend.render(d.sites, d.width, d.height, d.k) for d in DIAGRAMS]
        pictures.append(np.concatenate([image.ravel() for image in drawn]))
        params = random_sites(52, 200, 61, 43).params
        fit = backend.fit_session(smooth_target(52, 61, 43, 3), params)
        fit.gradient(1)
        fit.adam(np.full(9, 0.1, np.float32), 0.9, 0.95)
        fits.append(np.concatenate([fit.params.ravel(), *fit.statistics(), fit.removal_deltas()]))
    np.testing.assert_array_equal(*pictures)
    np.testing.assert_array_equal(*fits)


def test_render_leaves_the_sites_alone(any_backend: Backend):
    sites = random_sites(51, 60, 20, 20)
    before = sites.params.copy()
    any_backend.render(sites, 20, 20)
    np.testing.assert_array_equal(sites.params, before)


@pytest.mark.parametrize("arguments", [(0, 5, 8), (5, 0, 8), (5, 5, 0), (5, 5, 17)])
def test_render_refuses(any_backend: Backend, arguments):
    with pytest.raises(OptionError):
        any_backend.render(random_sites(0, 3, 5, 5), *arguments)


def test_get_backend_by_name():
    assert get_backend("reference").name == "reference"
    assert get_backend("cpu").name == "cpu"
    assert get_backend("auto").name in {"cpu", "reference"}
    with pytest.raises(SadError, match="nonsense"):
        get_backend("nonsense")


# ---- Fit sessions against the reference
# -----------------------------------------------------------

# name, sites, width, height, channels, K, ranges of the geometry
CASES = {
    "color": (300, 70, 50, 3, 8, {}),
    "gray": (200, 45, 61, 1, 8, {}),
    "gray alpha": (100, 33, 20, 2, 8, {}),
    "color alpha": (200, 40, 40, 4, 8, {}),
    "K 3": (200, 50, 40, 3, 3, {}),
    "K 16": (200, 50, 40, 3, 16, {}),
    "N < K": (5, 30, 20, 3, 8, {}),
    "one site": (1, 17, 9, 3, 8, {}),
    "1 x N": (30, 1, 40, 3, 8, {}),
    "soft": (200, 50, 40, 3, 8, {"log_tau": (-4, -2)}),
    "hard": (200, 50, 40, 3, 8, {"log_tau": (2, 4)}),
    "long and thin": (200, 50, 40, 3, 8, {"anisotropy": (3, 4), "log_tau": (-3, 0)}),
    "isotropic": (200, 50, 40, 3, 8, {"anisotropy": (0, 0)}),
}
WIDE_CUT = 30.0  # what is left out weighs under 1e-12


def sessions(backend: Backend, case: str, seed: int = 60) -> tuple[FitSession, FitSession]:
    count, width, height, channels, k, ranges = CASES[case]
    target = smooth_target(seed, width, height, channels)
    params = random_sites(seed, count, width, height, channels, **ranges).params
    pair = backend.fit_session(target, params, k), ReferenceBackend().fit_session(target, params, k)
    for session in pair:
        session.refresh(WIDE_CUT)
    return pair


def assert_columns_close(actual, expected, tolerance):
    """Each column to `tolerance` of its largest value (or of a hundredth of the largest of all).

    Rounding is absolute in a sum, and a column may be 0 throughout, as geometry is for one site.
    """
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    scale = np.maximum(np.abs(expected).max(axis=0), 1e-2 * np.abs(expected).max())
    difference = np.abs(actual.astype(np.float64) - expected).max(axis=0)
    assert (difference <= tolerance * scale).all(), difference / scale


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_reference_s(backend: Backend, case: str):
    ours, exact = sessions(backend, case)
    for phase in (None, 0, 1, 2, 3):
        loss, expected = float(ours.gradient(phase)), exact.gradient(phase)
        assert loss == pytest.approx(expected, rel=2e-5, abs=1e-12)
        assert_columns_close(ours.gradients, exact.gradients, 2e-4)


@pytest.mark.parametrize("case", CASES)
def test_statistics_are_the_reference_s(backend: Backend, case: str):
    ours, exact = sessions(backend, case)
    for actual, expected in zip(ours.statistics(), exact.statistics(), strict=True):
        assert_columns_close(host(actual)[:, None], expected[:, None], 2e-5)


@pytest.mark.parametrize("case", CASES)
def test_removal_deltas_are_the_reference_s(backend: Backend, case: str):
    ours, exact = sessions(backend, case)
    actual, expected = host(ours.removal_deltas()), exact.removal_deltas()
    assert_columns_close(actual[:, None], expected[:, None], 1e-4)
    if len(expected) >= 100:  # pruning goes by the order
        cheap = set(np.argsort(expected)[:20])
        assert len(cheap & set(np.argsort(actual)[:20])) >= 19


@pytest.mark.parametrize("case", CASES)
def test_adam_is_the_reference_s(backend: Backend, case: str):
    ours, exact = sessions(backend, case)
    channels = CASES[case][3]
    rates = np.array([0.2, 0.2, 0.1, 0.3, 0.1, 0.1] + [0.05] * channels, np.float32)
    for _ in range(3):
        for session in (ours, exact):
            session.refresh(WIDE_CUT)
            session.gradient()
            # A large epsilon: with a small one, a gradient of nearly 0 moves by its sign alone.
            session.adam(rates, 0.9, 0.95, 1e-3)
    assert np.abs(exact.params - random_params(case)).max() > 1e-3
    np.testing.assert_allclose(ours.params, exact.params, rtol=2e-6, atol=2e-4)


def random_params(case: str, seed: int = 60) -> np.ndarray:
    count, width, height, channels, _, ranges = CASES[case]
    return random_sites(seed, count, width, height, channels, **ranges).params


def test_adam_with_a_small_epsilon(backend: Backend):
    ours, exact = sessions(backend, "color")
    for _ in range(3):
        for session in (ours, exact):
            session.refresh(WIDE_CUT)
            session.gradient()
            session.adam([0.1] * 9, 0.9, 0.95)
    difference = np.abs(ours.params - exact.params)
    assert (difference < 1e-3).mean() > 0.99


def test_noise_is_the_reference_s(backend: Backend):
    ours, exact = sessions(backend, "color")
    exact_plain = exact.gradient()
    noise = np.tile(
        np.array([0.03, 0.03, 0.02, 0.05, 0.04, 0.02, 0.05, 0.05, 0.05], np.float32),
        (exact.site_count, 1),
    )
    for seed in (0, 1, 2**63 + 5):
        loss, expected = float(ours.gradient(None, noise, seed)), exact.gradient(None, noise, seed)
        assert abs(expected / exact_plain - 1) > 1e-3
        assert loss == pytest.approx(expected, rel=1e-4)
        # Lists were made before the disturbance, so that a few pixels lack a site it brings near.
        assert_columns_close(ours.gradients, exact.gradients, 1e-2)
    np.testing.assert_array_equal(ours.params, exact.params)  # only evaluated there, not moved


def test_a_narrow_cut_costs_little(backend: Backend):
    ours, exact = sessions(backend, "color")
    ours.refresh(7.0)
    assert float(ours.gradient()) == pytest.approx(exact.gradient(), rel=1e-2)
    assert_columns_close(ours.gradients, exact.gradients, 2e-2)
