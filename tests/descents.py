"""Targets and quantized diagrams for tests of refiners, and costs of their symbols."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from diagrams import random_sites, smooth_target

from sadcodec.backends.base import Backend, Refiner
from sadcodec.backends.quantization import MAX_REFINER_K
from sadcodec.backends.reference import render as reference_render
from sadcodec.bitstream import QuantizerParameters
from sadcodec.quantize import (
    STEP_UNIT,
    color_axes,
    color_steps,
    levels_for,
    quantize,
    to_table,
)
from sadcodec.sites import Sites

LOG_TAU, LOG_ANISOTROPY, ANGLE, RADIUS, COLOR = 2, 3, 4, 5, 6  # columns of a symbol table


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
