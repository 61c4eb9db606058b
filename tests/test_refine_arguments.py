"""What a refiner refuses: every bad argument is an OptionError and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import ALL, backend_named
from descents import ANGLE, COLOR, LOG_ANISOTROPY, LOG_TAU, RADIUS, add_costs, make_case

from sadcodec.backends.base import Backend
from sadcodec.backends.quantization import MAX_REFINER_K
from sadcodec.errors import OptionError


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


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
