"""What the sites of a fit would cost in a file, from the entropy coder's own model of them.

The parameters are rounded, and the coder says what it would predict for each number and in which of
its classes that prediction is (`sadcodec.bitstream.symbol_costs`). The residuals of a class give
the scale of a Laplace distribution, whose bits are smooth enough to be descended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import RateTerm
from sadcodec.bitstream import Header, Symbols, symbol_costs
from sadcodec.quantize import STEP_UNIT, color_axes, quantize_with_steps
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Sites

__all__ = ["BITS_PER_SITE", "rate_term"]

Floats = NDArray[np.float32]

BITS_PER_SITE = 32.0  # of files, near enough for the exchange rate of error and bits

_FLOOR = 0.2  # steps: least mean magnitude of a residual
_PRIOR = 8.0  # symbols' weight of the column's mean in that of each class


def rate_term(params: Floats, mse: float, header: Header, threads: int = 1) -> RateTerm:
    """Return the bits of these parameters around where they are.

    Parameters
    ----------
    params : float32 [N, 6 + C]
    mse : float
        Mean squared error that they fit with. It is shared out over the bits of the file, as in the
        descent after rounding: that is the price of a bit.
    header : Header
        With the image's size, N and the quantizer that they will meet.
    threads : int
        Changes nothing but the time.
    """
    width, height, quantizer = header.width, header.height, header.quantizer
    symbols, of_colors = quantize_with_steps(Sites(params), width, height, quantizer, threads)
    steps: dict[str, tuple[int, float | NDArray[np.float64]]] = {
        "log_tau": (LOG_TAU, quantizer.step_log_tau * STEP_UNIT),
        "radius": (RADIUS, quantizer.step_radius * STEP_UNIT),
        "log_anisotropy": (P, quantizer.step_log_anisotropy * STEP_UNIT),
    }
    steps |= {f"color{c}": (COLOR + c, of_colors[:, c]) for c in range(header.channels)}
    prediction, scale = np.zeros_like(params), np.zeros_like(params)
    for cost in symbol_costs(header, symbols, threads):
        column, step = steps[cost.name]
        prediction[:, column] = cost.prediction * step
        magnitude = np.abs(_column(symbols, cost.name) - cost.prediction).astype(np.float64)
        count = np.bincount(cost.klass) + _PRIOR
        mean = (np.bincount(cost.klass, magnitude) + _PRIOR * magnitude.mean()) / count
        scale[:, column] = (mean[cost.klass] + _FLOOR) * step
    axes = color_axes(header.channels).astype(np.float32)
    turn = quantizer.step_angle * STEP_UNIT / np.pi
    return RateTerm(prediction, scale, axes, turn, mse / (BITS_PER_SITE * len(params)))


def _column(symbols: Symbols, name: str) -> NDArray[np.int32]:
    if name.startswith("color"):
        return symbols.color[:, int(name.removeprefix("color"))]
    column: NDArray[np.int32] = getattr(symbols, name)
    return column
