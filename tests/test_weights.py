"""Weights of the pixels' squared errors, in fit sessions and refiners of every backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from backends_under_test import ALL, OTHERS, backend_named, host
from descents import CASES, COLOR, Case, add_costs, alone, make_case
from diagrams import random_sites, smooth_target

from sadcodec import _core
from sadcodec.backends.base import Backend, Refiner
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.reference import gradients
from sadcodec.backends.reference import render as reference_render
from sadcodec.backends.reference_backend import ReferenceBackend
from sadcodec.backends.reference_sums import removal_deltas, statistics
from sadcodec.errors import OptionError
from sadcodec.sites import Sites

WIDE_CUT = 30.0  # what is left out weighs under 1e-12
REFERENCE = ReferenceBackend()


@pytest.fixture(params=OTHERS)
def backend(request) -> Backend:
    return backend_named(request.param)


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


def random_weights(seed: int, width: int, height: int) -> np.ndarray:
    """Float32 [height, width] of mean 1, over two decades, a quarter of them 0."""
    rng = np.random.default_rng(seed)
    weights = 10 ** rng.uniform(-1, 1, (height, width))
    weights[rng.uniform(size=weights.shape) < 0.25] = 0.0
    return (weights / weights.mean()).astype(np.float32)


# ---- The reference against calculus -------------------------------------------------------------


@dataclass(frozen=True)
class Small:
    """As many sites as are blended, or fewer: no site enters or leaves a top K."""

    params: np.ndarray
    target: np.ndarray
    weights: np.ndarray


@pytest.fixture
def small() -> Small:
    params = random_sites(9, 7, 9, 8, log_tau=(-1.5, 1), radius=(0, 4)).params
    target, weights = smooth_target(0, 9, 8, 3), random_weights(0, 9, 8)
    return Small(*(array.astype(np.float64) for array in (params, target, weights)))


def test_weighted_gradients_are_finite_differences(small: Small):
    for pixels in (None, np.array([0, 9, 31, 70])):
        loss, analytic = gradients(small.params, small.target, 8, pixels, small.weights)
        numeric = np.empty_like(small.params)
        for index in np.ndindex(numeric.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = small.params.copy()
                moved[index] += step
                sides.append(gradients(moved, small.target, 8, pixels, small.weights)[0])
            numeric[index] = (sides[0] - sides[1]) / 2e-5
        scale = np.abs(numeric).max(axis=0)
        assert (scale > 0).all()
        np.testing.assert_allclose(analytic / scale, numeric / scale, atol=2e-6)
        image = reference_render(Sites(small.params.astype(np.float32)), 9, 8)
        squared = small.weights[..., None] * (image - small.target) ** 2
        sampled = squared.reshape(-1, 3)[slice(None) if pixels is None else pixels]
        assert loss == pytest.approx(np.mean(sampled), rel=1e-5)


def test_weighted_statistics_add_up(small: Small):
    mass, error = statistics(small.params, small.target, 8, small.weights)
    loss, _ = gradients(small.params, small.target, 8, None, small.weights)
    assert mass.sum() == pytest.approx(72, rel=1e-12)
    assert error.sum() == pytest.approx(loss * small.target.size, rel=1e-12)


def test_weighted_removal_deltas_are_what_removal_does(small: Small):
    def error(params: np.ndarray) -> float:
        return gradients(params, small.target, 8, None, small.weights)[0] * small.target.size

    before = error(small.params)
    expected = [error(np.delete(small.params, i, axis=0)) - before for i in range(7)]
    actual = removal_deltas(small.params, small.target, 8, small.weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


# ---- Sessions of the other backends against the reference ---------------------------------------

SESSIONS = {  # sites, width, height, channels, K
    "color": (300, 70, 50, 3, 8),
    "gray": (200, 45, 61, 1, 8),
    "color alpha": (200, 40, 40, 4, 8),
    "K 3": (200, 50, 40, 3, 3),
    "N < K": (5, 30, 20, 3, 8),
}


def assert_columns_close(actual: np.ndarray, expected: np.ndarray, tolerance: float):
    """Each column to `tolerance` of its largest value (or of a hundredth of the largest of all)."""
    scale = np.maximum(np.abs(expected).max(axis=0), 1e-2 * np.abs(expected).max())
    difference = np.abs(actual.astype(np.float64) - expected).max(axis=0)
    assert (difference <= tolerance * scale).all(), difference / scale


@pytest.mark.parametrize("case", SESSIONS)
def test_weighted_sessions_are_the_reference_s(backend: Backend, case: str):
    count, width, height, channels, k = SESSIONS[case]
    target = smooth_target(60, width, height, channels)
    params = random_sites(60, count, width, height, channels).params
    weights = random_weights(60, width, height)
    ours, exact = (b.fit_session(target, params, k, weights) for b in (backend, REFERENCE))
    ours.refresh(WIDE_CUT)
    plain = REFERENCE.fit_session(target, params, k)
    for phase in (None, 0, 1, 2, 3):
        loss, expected = float(ours.gradient(phase)), exact.gradient(phase)
        assert loss == pytest.approx(expected, rel=2e-5, abs=1e-12)
        assert_columns_close(ours.gradients, exact.gradients, 2e-4)
        plain.gradient(phase)
        largest = np.abs(plain.gradients).max()
        assert np.abs(exact.gradients - plain.gradients).max() > 1e-3 * largest
    for actual, expected in zip(ours.statistics(), exact.statistics(), strict=True):
        assert_columns_close(host(actual)[:, None], expected[:, None], 2e-5)
    actual, expected = host(ours.removal_deltas()), exact.removal_deltas()
    assert_columns_close(actual[:, None], expected[:, None], 1e-4)


def test_weights_of_1_change_no_bit_of_a_session(any_backend: Backend):
    target = smooth_target(61, 37, 30, 3)
    params = random_sites(61, 80, 37, 30).params
    found = []
    for weights in (None, np.ones((30, 37), np.float32)):
        fit = any_backend.fit_session(target, params, 8, weights)
        losses = []
        for phase in (None, 2):
            fit.refresh()
            losses.append(float(fit.gradient(phase)))
            fit.adam([0.1] * 9, 0.9, 0.95)
        sums = [host(array) for array in (*fit.statistics(), fit.removal_deltas())]
        found.append([np.array(losses), fit.gradients, fit.params, *sums])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_has_no_weight_moves_no_site(any_backend: Backend):
    """Hard sites, so that those of the right half are seen by it alone."""
    width, height = 48, 24
    params = random_sites(62, 60, width, height, log_tau=(3, 3), anisotropy=(0, 0)).params
    params[:, 3] = 0.0
    weights = np.zeros((height, width), np.float32)
    weights[:, : width // 2] = 2.0
    fit = any_backend.fit_session(smooth_target(62, width, height, 3), params, 8, weights)
    fit.gradient()
    reach = np.abs(fit.gradients).max(axis=1)
    mass, error = (host(array) for array in fit.statistics())
    right = params[:, 0] > 0.75 * width
    assert right.sum() > 5
    assert not reach[right].any()
    assert not error[right].any()
    assert mass[right].sum() > 0
    assert (reach[params[:, 0] < 0.25 * width] > 0).any()


def test_a_session_copies_its_weights(any_backend: Backend):
    weights = random_weights(63, 20, 16)
    target, params = smooth_target(63, 20, 16, 3), random_sites(63, 30, 20, 16).params
    fit = any_backend.fit_session(target, params, 8, weights)
    before = float(fit.gradient())
    weights[:] = 0.0
    assert float(fit.gradient()) == before


# ---- Refiners -----------------------------------------------------------------------------------


def start(backend: Backend, case: Case, seed: int = 70) -> tuple[Refiner, np.ndarray]:
    height, width, _ = case.target.shape
    weights = random_weights(seed, width, height)
    refiner = backend.refiner(case.target, case.k, weights)
    refiner.set_sites(**case.arguments)
    return refiner, weights


def weighted_error(
    case: Case, params: np.ndarray, weights: np.ndarray, *, clamped: bool = True
) -> float:
    height, width, _ = case.target.shape
    image = reference_render(Sites(params), width, height, case.k)
    if clamped:
        image = np.clip(image, 0, 1)
    return float(np.sum(weights[..., None] * (image - case.target) ** 2))


@pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 5)])
def test_the_weighted_error_falls_and_is_that_of_the_picture(any_backend: Backend, case: Case):
    refiner, weights = start(any_backend, case)
    error = refiner.build_lists()
    assert error == pytest.approx(weighted_error(case, refiner.params, weights), rel=1e-5)
    for _ in range(2):
        assert refiner.sweep(0.0, True) > 0
        before, error = error, refiner.build_lists()
        assert error < before
        assert error == pytest.approx(weighted_error(case, refiner.params, weights), rel=1e-5)
    # A descent by the plain error ends higher, once both have the colours that suit their geometry.
    plain = case.start(any_backend)
    for _ in range(2):
        plain.sweep(0.0, True)
    for each in (refiner, plain):
        each.solve_colors(50)
        each.sweep(0.0, False)
    assert refiner.build_lists() < weighted_error(case, plain.params, weights)


@pytest.mark.parametrize("case", CASES[:3])
def test_one_weighted_sweep_is_the_reference_move_by_move(case: Case):
    refiners = [start(b, case)[0] for b in (CpuBackend(1), REFERENCE)]
    taken = [refiner.sweep(0.0, True) for refiner in refiners]
    assert taken[0] == taken[1]
    np.testing.assert_array_equal(refiners[0].symbols, refiners[1].symbols)


@pytest.mark.parametrize("case", [CASES[i] for i in (1, 2, 3)])
def test_a_refiner_s_weighted_removal_deltas(any_backend: Backend, case: Case):
    refiner, weights = start(any_backend, case)
    refiner.sweep(0.0, True)
    error, params = refiner.build_lists(), refiner.params
    expected = [
        weighted_error(case, np.delete(params, site, axis=0), weights) - error
        for site in range(len(params))
    ]
    actual = refiner.removal_deltas()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=2e-5 * error)


def test_without_its_only_site_a_picture_is_wrong_by_the_weights(any_backend: Backend):
    case = alone()
    refiner, weights = start(any_backend, case)
    expected = case.channels * weights.sum() - refiner.build_lists()
    assert refiner.removal_deltas() == pytest.approx([expected], rel=1e-5)


def test_solved_colors_are_the_weighted_least_squares_optimum(any_backend: Backend):
    case = make_case(40, 25, 30, 26, log_tau=(-1, 0), anisotropy=(0, 0.5))
    fine = {**case.arguments, "color_steps": np.full((25, 3), 1e-5, np.float32)}
    weights = random_weights(40, 30, 26)
    refiner = any_backend.refiner(case.target, case.k, weights)
    refiner.set_sites(**fine)
    refiner.solve_colors(300)

    def error(params: np.ndarray) -> float:
        return weighted_error(case, params, weights, clamped=False)

    solved = error(refiner.params)
    rng = np.random.default_rng(40)
    for size in (1e-1, 1e-2):
        for _ in range(10):
            params = refiner.params
            params[:, COLOR:] += rng.normal(0, size, (25, 3)).astype(np.float32)
            assert error(params) > solved
    plain = any_backend.refiner(case.target, case.k)
    plain.set_sites(**fine)
    plain.solve_colors(300)
    assert solved < 0.98 * error(plain.params)


def run(backend: Backend, case: Case, weights: np.ndarray | None) -> list[np.ndarray]:
    refiner = backend.refiner(case.target, case.k, weights)
    refiner.set_sites(**case.arguments)
    add_costs(refiner, case)
    refiner.solve_colors(10)
    refiner.sweep(0.01, True)
    error = refiner.build_lists()
    return [refiner.symbols, refiner.removal_deltas(), np.array(error)]


def test_weights_of_1_change_no_bit_of_a_descent(any_backend: Backend):
    case = CASES[1]
    ones = np.ones(case.target.shape[:2], np.float32)
    for one, other in zip(run(any_backend, case, None), run(any_backend, case, ones)):
        np.testing.assert_array_equal(one, other)


def test_threads_and_instruction_sets_do_not_change_a_bit():
    case = make_case(50, 400, 330, 130, radius=True, log_tau=(-3, 1))
    height, width, _ = case.target.shape
    weights = random_weights(50, width, height)
    params = random_sites(50, 400, width, height).params
    found = []
    for backend in (CpuBackend(1), CpuBackend(3), *(CpuBackend(1, isa) for isa in _core.isas())):
        fit = backend.fit_session(case.target, params, 8, weights)
        fit.gradient(1)
        fit.adam([0.1] * 9, 0.9, 0.95)
        sums = [*fit.statistics(), fit.removal_deltas()]
        found.append([fit.params, *sums, *run(backend, case, weights)])
    for other in found[1:]:
        for one, array in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(array, one)


# ---- Bad weights --------------------------------------------------------------------------------

BAD = {
    "do not fit 5 x 4": np.ones((5, 4)),
    "do not fit": np.ones((4, 5, 1)),
    "finite": np.where(np.eye(4, 5), np.nan, 1.0),
    "negative": np.where(np.eye(4, 5), -4.0, 2.25),
    "mean 1": np.full((4, 5), 1.01),
    "mean 1, not 0": np.zeros((4, 5)),
    "numbers": np.ones((4, 5), complex),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_weights_are_refused(any_backend: Backend, message: str):
    target, params = smooth_target(0, 5, 4, 3), random_sites(0, 3, 5, 4).params
    with pytest.raises(OptionError, match=message):
        any_backend.fit_session(target, params, 8, BAD[message])
    with pytest.raises(OptionError, match=message):
        any_backend.refiner(target, 8, BAD[message])
