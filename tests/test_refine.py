"""Integer descent: what every refiner promises, and the CPU's against the reference's."""

from __future__ import annotations

from dataclasses import dataclass

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
    COLOR_UNIT,
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
