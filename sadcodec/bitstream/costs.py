"""Estimates of what symbols cost, for an encoder that weighs bits against error.

The range coder adapts, and a symbol's context depends on its neighbours; an estimate that serves
takes the present symbols' residuals as they are, and their histogram in each context as the cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder

from .header import Header
from .payload import coder_arguments
from .symbols import Symbols, angle_levels

__all__ = ["ColumnCosts", "symbol_costs"]

RANGE = 24  # largest residual that the tables tell apart
_LARGEST_LOG_ANISOTROPY = 6 * 1024  # in the unit of its step
_PRIOR = 8.0  # weight, in symbols, of the two-sided geometric distribution behind each histogram
_LOG_TAU, _LOG_ANISOTROPY, _ANGLE, _RADIUS, _COLOR = 1, 2, 3, 4, 5  # columns of `analyze`


@dataclass(frozen=True, eq=False)
class ColumnCosts:
    """Costs of one column: symbol s of site i costs table[klass[i], s - prediction[i] + RANGE].

    Attributes
    ----------
    name : str
        "log_tau", "log_anisotropy", "radius" or "color0", "color1", ...
    prediction : int32 [N]
    klass : uint8 [N]
    table : float32 [classes, 2 * RANGE + 1]
        Bits; residuals beyond the range cost as much as the last entry.
    """

    name: str
    prediction: NDArray[np.int32]
    klass: NDArray[np.uint8]
    table: NDArray[np.float32]


def _table(residual: NDArray[np.int32], context: NDArray[np.int32]) -> NDArray[np.float32]:
    """Bits by context and residual, float32 [contexts, 2 * RANGE + 1]."""
    width = 2 * RANGE + 1
    contexts = int(context.max(initial=0)) + 1
    clipped = np.clip(residual, -RANGE, RANGE) + RANGE
    counts = np.bincount(context * width + clipped, minlength=contexts * width)
    counts = counts.reshape(contexts, width).astype(np.float64)
    magnitude = np.abs(np.arange(-RANGE, RANGE + 1))
    total = counts.sum(axis=1, keepdims=True)
    mean = (counts @ magnitude)[:, None] / np.maximum(total, 1.0)
    decay = (mean + 0.5) / (mean + 1.5)
    prior = decay**magnitude
    prior /= prior.sum(axis=1, keepdims=True)
    smooth = 0.5 * counts
    smooth[:, 1:] += 0.25 * counts[:, :-1]
    smooth[:, :-1] += 0.25 * counts[:, 1:]
    smooth[:, magnitude == 0] = counts[:, magnitude == 0]  # zero has a bin of its own
    share = (smooth + _PRIOR * prior) / (smooth.sum(axis=1, keepdims=True) + _PRIOR)
    return (-np.log2(share)).astype(np.float32)


def symbol_costs(header: Header, symbols: Symbols, threads: int = 1) -> list[ColumnCosts]:
    """Return the costs of every column but positions and angles.

    An angle costs log2 of the number of directions that the site's log_anisotropy leaves it, so
    that column's bits are counted with log_anisotropy.

    Parameters
    ----------
    header : Header
    symbols : Symbols
        In any order.
    threads : int
        Changes nothing but the time.
    """
    partition = header.quantizer.partition(symbols)
    residuals, contexts = _coder.analyze(*coder_arguments(header, symbols), threads, *partition)
    out = []

    def add(name: str, column: int, values: NDArray[np.int32]) -> None:
        prediction = (values - residuals[:, column]).astype(np.int32)
        context = contexts[:, column]
        table = _table(residuals[:, column], context)
        if column == _LOG_ANISOTROPY:
            # One class a prediction, so that the number of directions is known.
            last = int(prediction.max(initial=0))
            by_prediction = np.minimum(np.arange(last + 1) // 2, 7)
            table = _table(residuals[:, column], by_prediction[prediction])
            symbol = np.arange(last + 1)[:, None] + np.arange(-RANGE, RANGE + 1)
            largest = _LARGEST_LOG_ANISOTROPY // header.quantizer.step_log_anisotropy
            count = min(int(values.max(initial=0)) + 1, largest) + 1
            levels = angle_levels(count, header.quantizer)
            turns = np.log2(levels[np.clip(symbol, 0, len(levels) - 1)])
            table = (table[by_prediction] + turns).astype(np.float32)
            context = prediction
        out.append(ColumnCosts(name, prediction, context.astype(np.uint8), table))

    add("log_tau", _LOG_TAU, symbols.log_tau)
    add("log_anisotropy", _LOG_ANISOTROPY, symbols.log_anisotropy)
    if symbols.radius is not None:
        add("radius", _RADIUS, symbols.radius)
    for c in range(header.channels):
        add(f"color{c}", _COLOR + c, np.ascontiguousarray(symbols.color[:, c]))
    return out
