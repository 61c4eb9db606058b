"""Integer descent: what every refiner promises, and the CPU's against the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from diagrams import random_sites, smooth_target

from sadcodec import _core
from sadcodec.backends import get_backend
from sadcodec.backends.base import Backend, Refiner
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.quantization import MAX_REFINER_K
from sadcodec.backends.reference import ReferenceBackend
from sadcodec.backends.reference import render as reference_render
from sadcodec.bitstream import QuantizerParameters
from sadcodec.errors import OptionError
from sadcodec.quantize import (
    STEP_UNIT,
    color_axes,
    color_steps,
    dequantize,
    from_table,
    levels_for,
    quantize,
    to_table,
)
from sadcodec.sites import Sites

LOG_TAU, LOG_ANISOTROPY, ANGLE, RADIUS, COLOR = 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Case:
    """A target and what `set_sites` takes for it."""

    target: np.ndarray
    arguments: dict
    k: int

    @property
    def symbols(self) -> np.ndarray:
        return self.arguments["symbols"]

    @property
    def channels(self) -> int:
        return self.target.shape[2]

    def start(self, backend: Backend) -> Refiner:
        refiner = backend.refiner(self.target, self.k)
        refiner.set_sites(**self.arguments)
        return refiner

    def error(self, params: np.ndarray) -> float:
        """Squared error of the picture, by the reference."""
        height, width, _ = self.target.shape
        image = reference_render(Sites(params), width, height, self.k)
        return float(np.sum((np.clip(image, 0, 1) - self.target) ** 2))


def make_case(
    seed: int = 0,
    count: int = 60,
    width: int = 64,
    height: int = 64,
    channels: int = 3,
    *,
    radius: bool = False,
    k: int = 8,
    params: np.ndarray | None = None,
    **ranges: tuple[float, float],
) -> Case:
    if params is None:
        params = random_sites(seed, count, width, height, channels, **ranges).params
    quantizer = QuantizerParameters(300, 200, 200, 120, 512 * radius, (700,) * channels)
    symbols = quantize(Sites(params), width, height, quantizer)
    return Case(
        smooth_target(seed, width, height, channels),
        {
            "symbols": to_table(symbols),
            "position": quantizer.step_position * STEP_UNIT,
            "log_tau": quantizer.step_log_tau * STEP_UNIT,
            "anisotropy": quantizer.step_log_anisotropy * STEP_UNIT,
            "radius": quantizer.step_radius * STEP_UNIT,
            "angle_levels": levels_for(quantizer),
            "color_steps": color_steps(symbols, width, height, quantizer).astype(np.float32),
            "axes": color_axes(channels).astype(np.float32),
        },
        k,
    )


@pytest.fixture(params=["cpu", "reference"])
def any_backend(request) -> Backend:
    return get_backend(request.param)


CPU = CpuBackend(1)
REFERENCE = ReferenceBackend()

CASES = [
    make_case(),
    make_case(1, radius=True),
    make_case(2, channels=1, radius=True),
    make_case(3, channels=4, k=5),
    make_case(4, channels=2, width=33, height=50),
    make_case(5, 80, 300, 40),  # four blocks of 128 px, and sites that reach beyond theirs
    make_case(6, log_tau=(2, 5)),
    make_case(7, 150, log_tau=(-6, -3)),
    make_case(8, k=1),
    make_case(9, k=MAX_REFINER_K, radius=True),
]


def alone(value: float = 0.4) -> Case:
    params = random_sites(20, 1, 9, 7).params.copy()
    params[:, COLOR:] = value
    return make_case(20, width=9, height=7, params=params)


def coincident() -> Case:
    """Eight sites in two places: every logit has a tie."""
    params = random_sites(21, 8, 20, 20).params.copy()
    params[1:4, :6] = params[0, :6]
    params[5:, :6] = params[4, :6]
    return make_case(21, width=20, height=20, params=params)


def hidden() -> Case:
    """The last site is in the list of no pixel: 20 others reach further everywhere."""
    params = random_sites(22, 21, 20, 20, radius=(400, 410), log_tau=(0, 0)).params.copy()
    params[-1, 3] = 0.0
    return make_case(22, width=20, height=20, params=params, radius=True)


DEGENERATE = [
    pytest.param(alone(), id="one site"),
    pytest.param(coincident(), id="coincident sites"),
    pytest.param(hidden(), id="hidden site"),
    pytest.param(make_case(23, 1, 1, 1), id="one pixel"),
    pytest.param(make_case(24, 5, 1, 1), id="five sites on one pixel"),
    pytest.param(make_case(25, 7, 1, 40), id="one column"),
    pytest.param(make_case(26, 7, 40, 1), id="one row"),
    pytest.param(make_case(27, 40, 30, 30, log_tau=(8, 8)), id="hard"),
]


def add_costs(refiner: Refiner, case: Case, seed: int = 30) -> dict[int, tuple]:
    """Give every column that may have one a cost of 1.5 bits per unit from a random prediction."""
    rng = np.random.default_rng(seed)
    table = 1.0 + np.abs(np.arange(-20, 21))[None] * np.array([[1.5], [0.5]])
    costs = {}
    for column in range(LOG_TAU, COLOR + case.channels):
        near = case.symbols[:, column] + rng.integers(-4, 5, len(case.symbols))
        klass = rng.integers(0, 2, len(near)).astype(np.uint8)
        costs[column] = (near.astype(np.int32), klass, table.astype(np.float32))
        refiner.set_cost(column, *costs[column])
    return costs


def bits(symbols: np.ndarray, costs: dict[int, tuple]) -> float:
    total = 0.0
    for column, (prediction, klass, table) in costs.items():
        reach = table.shape[1] // 2
        difference = np.clip(symbols[:, column] - prediction, -reach, reach)
        total += float(table[klass, difference + reach].sum())
    return total


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


@pytest.mark.parametrize("case", CASES)
def test_the_error_falls_and_is_that_of_the_picture(case: Case):
    refiner = case.start(CPU)
    error = refiner.build_lists()
    assert error == pytest.approx(case.error(refiner.params), rel=1e-5)
    for geometry in (True, True, False, True):
        assert refiner.sweep(0.0, geometry) > 0
        before, error = error, refiner.build_lists()
        assert error < before
        assert error == pytest.approx(case.error(refiner.params), rel=1e-5)
    assert error < 0.5 * case.error(Case.start(case, CPU).params)


@pytest.mark.parametrize("case", CASES[:4])
def test_symbols_stay_within_the_format(any_backend: Backend, case: Case):
    """Also where a symbol starts at its bound, and the error would fall beyond it."""
    table, levels = case.symbols.copy(), case.arguments["angle_levels"]
    height, width, _ = case.target.shape
    cells = [int(np.ceil(extent / case.arguments["position"])) for extent in (width, height)]
    table[::4, 0], table[1::4, 1] = 0, cells[1] - 1
    table[::5, LOG_TAU] = int(8 / case.arguments["log_tau"])
    table[::3, LOG_ANISOTROPY], table[::3, ANGLE] = 0, 0
    table[1::3, LOG_ANISOTROPY] = len(levels) - 1
    table[1::3, ANGLE] = levels[-1] - 1
    refiner = any_backend.refiner(case.target, case.k)
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
            other = any_backend.refiner(case.target, case.k)
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


# ---- Colours ------------------------------------------------------------------------------------


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
    refiner.solve_colors(200)
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


# ---- Removal ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [CASES[i] for i in (1, 2, 3, 6, 8, 9)])
def test_removal_deltas_are_what_removal_does(any_backend: Backend, case: Case):
    refiner = case.start(any_backend)
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


# ---- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, MAX_REFINER_K + 1])
def test_a_refiner_refuses_k(any_backend: Backend, k: int):
    with pytest.raises(OptionError, match="K must be"):
        any_backend.refiner(np.zeros((4, 4, 3), np.float32), k)


@pytest.mark.parametrize("shape", [(4, 4), (4, 0, 3), (4, 4, 5), (0, 4, 1)])
def test_a_refiner_refuses_a_target(any_backend: Backend, shape: tuple[int, ...]):
    with pytest.raises(OptionError):
        any_backend.refiner(np.zeros(shape, np.float32))
    with pytest.raises(OptionError, match="finite"):
        any_backend.refiner(np.full((2, 2, 1), np.nan, np.float32))


def test_a_refiner_without_sites_refuses_everything(any_backend: Backend):
    case = make_case(60, 5, 8, 8)
    refiner = any_backend.refiner(case.target, case.k)
    for call in (
        lambda: refiner.symbols,
        lambda: refiner.params,
        refiner.build_lists,
        lambda: refiner.solve_colors(1),
        lambda: refiner.sweep(0.0, True),
        refiner.removal_deltas,
        lambda: refiner.set_color_steps(case.arguments["color_steps"]),
        lambda: add_costs(refiner, case),
    ):
        with pytest.raises(OptionError, match="set_sites"):
            call()


def bad_arguments() -> list:
    case = make_case(61, 5, 8, 8)
    table, steps = case.symbols, case.arguments["color_steps"]

    def changed(column: int, value: int) -> np.ndarray:
        out = table.copy()
        out[2, column] = value
        return out

    return [
        pytest.param({name: value}, id=f"{name} {label}")
        for name, label, value in [
            ("symbols", "columns", table[:, :-1]),
            ("symbols", "rows", table[:-1]),
            ("symbols", "none", table[:0]),
            ("symbols", "dimensions", table[0]),
            ("symbols", "dtype", table.astype(np.float32)),
            ("symbols", "range", table.astype(np.int64) + 2**40),
            ("symbols", "log_tau", changed(LOG_TAU, 10_000)),
            ("symbols", "negative log_anisotropy", changed(LOG_ANISOTROPY, -1)),
            ("symbols", "log_anisotropy", changed(LOG_ANISOTROPY, 10_000)),
            ("symbols", "negative angle", changed(ANGLE, -1)),
            ("symbols", "angle", changed(ANGLE, 10_000)),
            ("position", "0", 0.0),
            ("log_tau", "negative", -1.0),
            ("anisotropy", "not a number", np.nan),
            ("radius", "negative", -0.5),
            ("angle_levels", "none", np.zeros(0, np.int32)),
            ("angle_levels", "0", np.zeros(100, np.int32)),
            ("color_steps", "columns", steps[:, :-1]),
            ("color_steps", "rows", steps[:-1]),
            ("color_steps", "0", 0 * steps),
            ("color_steps", "infinite", steps * np.float32(np.inf)),
            ("axes", "shape", np.eye(3, 2, dtype=np.float32)),
            ("axes", "channels", np.eye(4, dtype=np.float32)),
            ("axes", "length", 2 * np.eye(3, dtype=np.float32)),
        ]
    ]


@pytest.mark.parametrize("wrong", bad_arguments())
def test_set_sites_refuses(any_backend: Backend, wrong: dict):
    case = make_case(61, 5, 8, 8)
    refiner = case.start(any_backend)
    with pytest.raises(OptionError):
        refiner.set_sites(**{**case.arguments, **wrong})
    np.testing.assert_array_equal(refiner.symbols, case.symbols)  # as they were


def test_set_sites_refuses_a_radius_outside_the_format(any_backend: Backend):
    case = make_case(62, 5, 8, 8, radius=True)
    table = case.symbols.copy()
    table[0, RADIUS] = 1_000_000
    with pytest.raises(OptionError, match="radius"):
        any_backend.refiner(case.target, 8).set_sites(**{**case.arguments, "symbols": table})


def test_a_refiner_refuses_costs_steps_and_lambda(any_backend: Backend):
    case = make_case(63, 5, 8, 8)
    refiner = case.start(any_backend)
    prediction, klass = np.zeros(5, np.int32), np.zeros(5, np.uint8)
    table = np.ones((1, 3), np.float32)
    for column in (-1, 0, 1, COLOR + 3):
        with pytest.raises(OptionError, match="column"):
            refiner.set_cost(column, prediction, klass, table)
    for wrong in (
        (prediction[:-1], klass, table),
        (prediction, klass[:-1], table),
        (prediction, klass + np.uint8(1), table),
        (prediction, klass, np.ones((1, 4), np.float32)),
        (prediction, klass, np.ones(3, np.float32)),
    ):
        with pytest.raises(OptionError):
            refiner.set_cost(LOG_TAU, *wrong)
    with pytest.raises(OptionError):
        refiner.set_color_steps(case.arguments["color_steps"][:-1])
    with pytest.raises(OptionError):
        refiner.set_color_steps(-case.arguments["color_steps"])
    for lambda_ in (-1.0, np.nan, np.inf):
        with pytest.raises(OptionError, match="lambda"):
            refiner.sweep(lambda_, True)
