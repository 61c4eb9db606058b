"""Colours of a refiner: the least-squares solution and new colour steps."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import ALL, backend_named
from descents import COLOR, Case, hidden, make_case

from sadcodec.backends.base import Backend
from sadcodec.backends.reference import render as reference_render
from sadcodec.sites import Sites


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


def weights_of(case: Case, params: np.ndarray) -> np.ndarray:
    """float64 [H * W, N]: the blend weights, from pictures of one site in white at a time."""
    height, width, _ = case.target.shape
    out = np.empty((height * width, len(params)))
    for site in range(len(params)):
        white = np.concatenate([params[:, :COLOR], np.zeros((len(params), 1))], axis=1)
        white[site, COLOR] = 1.0
        sites = Sites(white.astype(np.float32))
        out[:, site] = reference_render(sites, width, height, case.k).ravel()
    return out


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_solved_colors_are_the_least_squares_optimum(any_backend: Backend, channels: int):
    # Well-conditioned and soft; tiny colour steps, so that rounding does not hide the solution.
    case = make_case(40, 25, 30, 26, channels, log_tau=(-1, 0), anisotropy=(0, 0.5))
    fine = np.full((25, channels), 1e-5, np.float32)
    refiner = any_backend.refiner(case.target, case.k)
    refiner.set_sites(**{**case.arguments, "color_steps": fine})
    refiner.solve_colors(100)
    matrix = weights_of(case, refiner.params)
    wanted = case.target.reshape(-1, channels).astype(np.float64)
    expected = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    assert np.abs(expected - 0.5).max() < 1.5  # within the bounds: none is clamped
    error = np.sum((matrix @ refiner.params[:, COLOR:] - wanted) ** 2)
    best = np.sum((matrix @ expected - wanted) ** 2)
    assert error == pytest.approx(best, rel=1e-3)
    np.testing.assert_allclose(refiner.params[:, COLOR:], expected, atol=5e-3)
    np.testing.assert_array_equal(refiner.symbols[:, :COLOR], case.symbols[:, :COLOR])


def test_solved_colors_are_rounded_and_bounded(any_backend: Backend):
    case = make_case(41, 60, 12, 12, log_tau=(-3, -2))  # soft: the optimum is far outside 0..1
    refiner = case.start(any_backend)
    refiner.solve_colors(100)
    half = 0.5 * case.arguments["color_steps"].sum(axis=1, keepdims=True)
    assert (refiner.params[:, COLOR:] <= 2 + half).all()
    assert (refiner.params[:, COLOR:] >= -1 - half).all()


def test_no_iterations_change_no_color(any_backend: Backend):
    case = make_case(42, 20, 20, 20)
    refiner = case.start(any_backend)
    refiner.solve_colors(0)
    np.testing.assert_array_equal(refiner.symbols, case.symbols)


def test_a_hidden_site_keeps_its_color(any_backend: Backend):
    case = hidden()
    refiner = case.start(any_backend)
    refiner.solve_colors(50)
    refiner.sweep(0.0, True)
    np.testing.assert_array_equal(refiner.symbols[-1], case.symbols[-1])
    assert refiner.removal_deltas()[-1] == 0.0


def test_new_color_steps_keep_the_colors(any_backend: Backend):
    case = make_case(43, 30, 20, 20)
    refiner = case.start(any_backend)
    steps = case.arguments["color_steps"] * np.float32(0.7)
    refiner.set_color_steps(steps)
    axes = case.arguments["axes"].astype(np.float64)
    before = case.symbols[:, COLOR:] * case.arguments["color_steps"].astype(np.float64)
    after = refiner.symbols[:, COLOR:] * steps.astype(np.float64)
    assert (np.abs(after - before) <= 0.5001 * steps).all()
    np.testing.assert_allclose(refiner.params[:, COLOR:], after @ axes, atol=1e-6)
    np.testing.assert_array_equal(refiner.symbols[:, :COLOR], case.symbols[:, :COLOR])
    assert refiner.build_lists() == pytest.approx(case.error(refiner.params), rel=1e-5)
