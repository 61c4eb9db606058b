"""Integer descent: what every refiner promises, and the CPU's against the reference's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from backends_under_test import ALL, ON_CPU, OTHERS, backend_named
from descents import (
    ANGLE,
    CASES,
    COLOR,
    DEGENERATE,
    LOG_ANISOTROPY,
    LOG_TAU,
    RADIUS,
    Case,
    add_costs,
    alone,
    bits,
    make_case,
)

from sadcodec import _core
from sadcodec.backends.base import Backend
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.reference_backend import ReferenceBackend
from sadcodec.bitstream import QuantizerParameters
from sadcodec.quantize import dequantize, from_table

CPU = CpuBackend(1)
REFERENCE = ReferenceBackend()


def by_backend(backends: list, cases: list[int], emulated: list[int]) -> list:
    """Some cases on every backend; few or none where the kernels are emulated, which is slow."""
    found = []
    for entry in backends:
        name, marks = (entry, ()) if isinstance(entry, str) else (entry.values[0], entry.marks)
        found += [
            pytest.param(name, CASES[i], marks=marks, id=f"{name}-case{i}")
            for i in (emulated if name == ON_CPU else cases)
        ]
    return found


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


# ---- What every refiner promises ----------------------------------------------------------------


@pytest.mark.parametrize("case", [CASES[1], CASES[3]])
def test_symbols_stand_for_what_the_format_says(any_backend: Backend, case: Case):
    refiner = case.start(any_backend)
    np.testing.assert_array_equal(refiner.symbols, case.symbols)
    assert refiner.symbols.dtype == np.int32
    height, width, channels = case.target.shape
    steps = QuantizerParameters(
        300, 200, 200, 120, 512 * (case.arguments["radius"] > 0), (700,) * channels
    )
    symbols = from_table(case.symbols, radius=steps.step_radius > 0)
    expected = dequantize(symbols, width, height, steps).params
    np.testing.assert_array_equal(refiner.params[:, :COLOR], expected[:, :COLOR])
    np.testing.assert_allclose(refiner.params[:, COLOR:], expected[:, COLOR:], atol=1e-6)
    assert refiner.params.dtype == np.float32


def test_a_refiner_starts_from_copies(any_backend: Backend):
    case = make_case(31, 10, 16, 16)
    target = case.target.copy()
    refiner = case.start(any_backend)
    before, params = refiner.build_lists(), refiner.params
    refiner.symbols[:] = 0
    refiner.params[:] = 0
    target[:] = 0
    np.testing.assert_array_equal(refiner.params, params)
    assert refiner.build_lists() == before


@pytest.mark.parametrize(("name", "case"), by_backend(OTHERS, list(range(len(CASES))), [3, 4]))
def test_the_error_falls_and_is_that_of_the_picture(name: str, case: Case):
    refiner = case.start(backend_named(name))
    error = refiner.build_lists()
    assert error == pytest.approx(case.error(refiner.params), rel=1e-5)
    for geometry in (True, True, False, True):
        assert refiner.sweep(0.0, geometry) > 0
        before, error = error, refiner.build_lists()
        assert error < before
        assert error == pytest.approx(case.error(refiner.params), rel=1e-5)
    assert error < 0.5 * case.error(Case.start(case, CPU).params)


@pytest.mark.parametrize(("name", "case"), by_backend(ALL, [0, 1, 2, 3], [1, 3]))
def test_symbols_stay_within_the_format(name: str, case: Case):
    """Also where a symbol starts at its bound, and the error would fall beyond it."""
    table, levels = case.symbols.copy(), case.arguments["angle_levels"]
    height, width, _ = case.target.shape
    cells = [int(np.ceil(extent / case.arguments["position"])) for extent in (width, height)]
    table[::4, 0], table[1::4, 1] = 0, cells[1] - 1
    table[::5, LOG_TAU] = int(8 / case.arguments["log_tau"])
    table[::3, LOG_ANISOTROPY], table[::3, ANGLE] = 0, 0
    table[1::3, LOG_ANISOTROPY] = len(levels) - 1
    table[1::3, ANGLE] = levels[-1] - 1
    refiner = backend_named(name).refiner(case.target, case.k)
    refiner.set_sites(**{**case.arguments, "symbols": table})
    for _ in range(3):
        assert refiner.sweep(0.0, True) > 0
    after = refiner.symbols
    assert (after[:, :2] >= 0).all()
    assert (after[:, :2] < cells).all()
    assert np.abs(after[:, LOG_TAU] * case.arguments["log_tau"]).max() <= 8
    assert (after[:, LOG_ANISOTROPY] >= 0).all()
    assert (after[:, LOG_ANISOTROPY] < len(levels)).all()
    assert (after[:, ANGLE] >= 0).all()
    assert (after[:, ANGLE] < levels[after[:, LOG_ANISOTROPY]]).all()
    assert np.abs(after[:, COLOR:] * case.arguments["color_steps"]).max() <= 4


def test_columns_stay_that_may_not_move(any_backend: Backend):
    case = make_case(32, 30, 32, 32)
    refiner = case.start(any_backend)
    assert refiner.sweep(0.0, False) > 0
    np.testing.assert_array_equal(refiner.symbols[:, :COLOR], case.symbols[:, :COLOR])
    assert refiner.sweep(0.0, True) > 0
    moved = (refiner.symbols != case.symbols).any(axis=0)
    assert moved[[0, 1, LOG_TAU, LOG_ANISOTROPY, ANGLE]].all()
    assert not moved[RADIUS]  # there is no radius column
    case = make_case(32, 30, 32, 32, radius=True)
    refiner = case.start(any_backend)
    refiner.sweep(0.0, True)
    assert (refiner.symbols != case.symbols).any(axis=0).all()


def test_descent_comes_to_rest(any_backend: Backend):
    case = make_case(33, 12, 24, 24, channels=1)
    refiner = case.start(any_backend)
    for _ in range(200):
        if refiner.sweep(0.0, True) == 0:
            break
    else:
        pytest.fail("200 sweeps were not enough")
    symbols, error = refiner.symbols, refiner.build_lists()
    # With 12 sites the lists leave out none, so no step inside the image lowers the error.
    cells = [int(np.ceil(24 / case.arguments["position"]))] * 2
    for site, column in np.ndindex(len(symbols), LOG_TAU + 1):
        for delta in (-1, 1):
            trial = symbols.copy()
            trial[site, column] += delta
            if column < LOG_TAU and not 0 <= trial[site, column] < cells[column]:
                continue
            other = CPU.refiner(case.target, case.k)  # all agree on an error, and it is quick
            other.set_sites(**{**case.arguments, "symbols": trial})
            assert other.build_lists() > error * (1 - 1e-5)


@pytest.mark.parametrize("lambda_", [0.02, 0.5])
def test_lambda_buys_bits(any_backend: Backend, lambda_: float):
    case = make_case(34, 40, 40, 40, radius=True)
    results = []
    for factor in (0.0, lambda_):
        refiner = case.start(any_backend)
        costs = add_costs(refiner, case)
        costed = [refiner.build_lists() + factor * bits(refiner.symbols, costs)]
        for _ in range(3):
            refiner.sweep(factor, True)
            costed.append(refiner.build_lists() + factor * bits(refiner.symbols, costs))
        assert costed == sorted(costed, reverse=True)
        results.append((refiner.build_lists(), bits(refiner.symbols, costs)))
    assert results[1][1] < 0.9 * results[0][1]
    assert results[1][0] + lambda_ * results[1][1] < results[0][0] + lambda_ * results[0][1]


def test_costs_end_with_their_sites(any_backend: Backend):
    case = make_case(35, 20, 20, 20)
    plain = case.start(any_backend)
    refiner = case.start(any_backend)
    add_costs(refiner, case)
    refiner.set_sites(**case.arguments)
    assert refiner.sweep(5.0, True) == plain.sweep(5.0, True)
    np.testing.assert_array_equal(refiner.symbols, plain.symbols)


def test_new_sites_replace_all_of_the_old(any_backend: Backend):
    """The picture, the lists and the count follow, also without a call of `build_lists`."""
    first, second = make_case(36, 50, 24, 24), make_case(36, 11, 24, 24)
    for before, after in ((first, second), (second, first)):
        refiner, fresh = before.start(any_backend), after.start(any_backend)
        refiner.sweep(0.0, True)
        refiner.set_sites(**after.arguments)
        np.testing.assert_array_equal(refiner.removal_deltas(), fresh.removal_deltas())
        for each in (refiner, fresh):
            each.solve_colors(20)
            each.sweep(0.0, True)
        np.testing.assert_array_equal(refiner.symbols, fresh.symbols)
        assert refiner.build_lists() == fresh.build_lists()


# ---- Removal ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "case"), by_backend(ALL, [1, 2, 3, 6, 8, 9], []))
def test_removal_deltas_are_what_removal_does(name: str, case: Case):
    refiner = case.start(backend_named(name))
    refiner.sweep(0.0, True)
    error = refiner.build_lists()
    deltas, params = refiner.removal_deltas(), refiner.params
    assert deltas.dtype == np.float64
    expected = [case.error(np.delete(params, site, axis=0)) - error for site in range(len(params))]
    np.testing.assert_allclose(deltas, expected, rtol=1e-4, atol=2e-5 * error)


def test_without_its_only_site_a_picture_is_wrong_everywhere(any_backend: Backend):
    case = alone()
    refiner = case.start(any_backend)
    error = refiner.build_lists()
    assert refiner.removal_deltas() == pytest.approx([case.target.size - error], rel=1e-6)


# ---- The CPU against the reference --------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lambda_", [0.0, 0.05])
def test_the_descent_is_the_reference(case: Case, lambda_: float):
    """Float32 sometimes decides otherwise between equal moves, and later moves follow from it."""
    refiners = [case.start(CPU), case.start(REFERENCE)]
    errors, taken = [], []
    for refiner in refiners:
        refiner.solve_colors(100)
        add_costs(refiner, case)
        taken.append([refiner.sweep(lambda_, True) for _ in range(2)])
        errors.append(refiner.build_lists())
    assert errors[0] == pytest.approx(errors[1], rel=5e-3)
    assert taken[0] == pytest.approx(taken[1], rel=0.02, abs=3)
    differing = np.mean(refiners[0].symbols != refiners[1].symbols)
    assert differing < 0.03


@pytest.mark.parametrize("case", CASES[:3])
def test_one_sweep_is_the_reference_move_by_move(case: Case):
    refiners = [case.start(CPU), case.start(REFERENCE)]
    taken = [refiner.sweep(0.0, True) for refiner in refiners]
    assert taken[0] == taken[1]
    np.testing.assert_array_equal(refiners[0].symbols, refiners[1].symbols)


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_descents_are_the_reference(case: Case):
    refiners = [case.start(CPU), case.start(REFERENCE)]
    errors = []
    for refiner in refiners:
        before = [refiner.build_lists()]
        for geometry in (False, True, True):
            refiner.sweep(0.0, geometry)
            before.append(refiner.build_lists())
        assert all(after <= error * (1 + 1e-6) for error, after in pairwise(before))
        assert before[-1] == pytest.approx(case.error(refiner.params), rel=1e-4, abs=1e-9)
        assert np.isfinite(refiner.removal_deltas()).all()
        refiner.solve_colors(30)
        assert np.isfinite(refiner.params).all()
        errors.append(before[-1])
    assert errors[0] == pytest.approx(errors[1], rel=5e-3, abs=1e-7)


def run(backend: Backend, case: Case) -> list[np.ndarray]:
    refiner = case.start(backend)
    add_costs(refiner, case)
    refiner.solve_colors(10)
    refiner.sweep(0.01, True)
    error = refiner.build_lists()
    refiner.sweep(0.0, True)
    return [refiner.symbols, refiner.params, refiner.removal_deltas(), np.array(error)]


# Nine blocks; sites of a few pixels and some that reach over all of them.
LARGE = make_case(50, 1500, 330, 290, radius=True, log_tau=(-3, 1))


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_change_a_descent(threads: int):
    for one, several in zip(run(CPU, LARGE), run(CpuBackend(threads), LARGE)):
        np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize("isa", _core.isas())
def test_the_instruction_set_does_not_change_a_descent(isa: str):
    for case in (LARGE, CASES[2], CASES[3], CASES[4]):
        for one, other in zip(run(CpuBackend(1), case), run(CpuBackend(1, isa), case)):
            np.testing.assert_array_equal(one, other)
