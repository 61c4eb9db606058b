"""What integer symbols stand for, as plain steps and tables; the checks that refiners share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec.errors import OptionError
from sadcodec.sites import MAX_CHANNELS

__all__ = [
    "LIST_LENGTH",
    "MAX_REFINER_K",
    "SYMBOL_COLUMNS",
    "ColumnCost",
    "Quantization",
    "check_cost_column",
    "check_lambda",
    "checked_target",
    "parameters",
]

# Columns of a symbol table, in the order of `sadcodec.quantize.to_table`; colour axes follow.
SYMBOL_COLUMNS = ("x", "y", "log_tau", "log_anisotropy", "angle", "radius")
_COLOR = len(SYMBOL_COLUMNS)
_LOG_TAU, _LOG_ANISOTROPY, _ANGLE, _RADIUS = 2, 3, 4, 5

# Sites that a refiner keeps for each pixel (kernels/cpu/types.h has the same), and how many of them
# may be blended: one is left to take the place of a site that falls out.
LIST_LENGTH = 12
MAX_REFINER_K = LIST_LENGTH - 1

# Largest magnitudes the bitstream allows: ln(1/px), and px.
_LOG_TAU_LIMIT = 10.0
_RADIUS_LIMIT = 1024.0


def _table(values: ArrayLike, dtype: Any, ndim: int, name: str) -> NDArray[Any]:
    """Return values as a contiguous array of this type; integers must not change by it."""
    array = np.asarray(values)
    if array.ndim != ndim:
        raise OptionError(f"{name} must have {ndim} dimensions, not {array.ndim}")
    kinds = "iu" if np.issubdtype(dtype, np.integer) else "iuf"
    if array.dtype.kind not in kinds:
        raise OptionError(f"{name} must not be {array.dtype}")
    with np.errstate(over="ignore"):  # what overflows is not finite
        out = np.ascontiguousarray(array, dtype)
    if kinds == "iu" and not np.array_equal(out, array):
        raise OptionError(f"{name} does not fit {np.dtype(dtype).name}")
    if not np.isfinite(out).all():
        raise OptionError(f"{name} must be finite")
    return out


def checked_target(target: ArrayLike, k: int) -> NDArray[np.float32]:
    """Return the target image as float32 [H, W, C].

    Raises
    ------
    OptionError
        If it is no image of 1 to 4 channels with finite values, or k is not 1..MAX_REFINER_K.
    """
    if not 1 <= k <= MAX_REFINER_K:
        raise OptionError(f"K must be 1..{MAX_REFINER_K} to refine, not {k}")
    image = _table(target, np.float32, 3, "target")
    if 0 in image.shape or image.shape[2] > MAX_CHANNELS:
        raise OptionError(f"a target of shape {list(image.shape)} is not [H, W, 1..{MAX_CHANNELS}]")
    return image


def check_cost_column(column: int, channels: int) -> None:
    """Raise OptionError unless a column of the symbol table can have a cost."""
    last = _COLOR + channels - 1
    if not _LOG_TAU <= column <= last:
        raise OptionError(f"columns {_LOG_TAU}..{last} have a cost, column {column} has none")


def check_lambda(value: float) -> None:
    """Raise OptionError unless a Lagrange multiplier is finite and not negative."""
    if not (value >= 0 and math.isfinite(value)):
        raise OptionError(f"lambda must be 0 or more, not {value}")


@dataclass(frozen=True, eq=False)
class Quantization:
    """Steps and tables that turn symbols into parameters (docs/FORMAT.md, "Dequantization").

    Site i with the symbols (x, y, t, a, g, r, s_0..s_{C-1}) lies at ((x + 1/2) position,
    (y + 1/2) position) px and has log_tau t * log_tau, log anisotropy a * anisotropy, radius
    r * radius, direction pi g / angle_levels[a] and colour sum_j s_j color_steps[i, j] axes[j].

    Parameters
    ----------
    position, log_tau, anisotropy : float > 0
        Steps in px, ln(1/px), and of the log anisotropy.
    radius : float >= 0, px
        0: there is no radius column.
    angle_levels : int32 [L], >= 1
        Directions of each log_anisotropy symbol 0..L - 1.
    color_steps : float32 [N, C], > 0
    axes : float32 [C, C]
        Row j is colour axis j; the rows are orthonormal.

    Raises
    ------
    OptionError
        If a value is out of range or the shapes do not fit together.
    """

    position: float
    log_tau: float
    anisotropy: float
    radius: float
    angle_levels: NDArray[np.int32]
    color_steps: NDArray[np.float32]
    axes: NDArray[np.float32]

    def __post_init__(self) -> None:
        def put(name: str, dtype: Any, ndim: int) -> NDArray[Any]:
            array = _table(getattr(self, name), dtype, ndim, name)
            object.__setattr__(self, name, array)
            return array

        for name in ("position", "log_tau", "anisotropy"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise OptionError(f"the step of {name} must be positive, not {value}")
        if not (self.radius >= 0 and math.isfinite(self.radius)):
            raise OptionError(f"the step of radius must be 0 or more, not {self.radius}")
        levels = put("angle_levels", np.int32, 1)
        if len(levels) == 0 or levels.min() < 1:
            raise OptionError("angle_levels must hold positive numbers")
        axes = put("axes", np.float32, 2)
        if axes.shape[0] != axes.shape[1] or not 1 <= len(axes) <= MAX_CHANNELS:
            raise OptionError(f"axes of shape {list(axes.shape)} are not [C, C], C = 1..4")
        if not np.allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-4):
            raise OptionError("the axes must be orthonormal")
        self.check_color_steps(put("color_steps", np.float32, 2))

    @property
    def channels(self) -> int:
        """Number of colour axes C."""
        return len(self.axes)

    def check_color_steps(self, steps: NDArray[np.float32]) -> None:
        """Raise OptionError unless `steps` is [N, C] and positive."""
        if steps.ndim != 2 or steps.shape[1] != self.channels:
            raise OptionError(f"colour steps of shape {list(steps.shape)} are not [N, C]")
        if not (steps > 0).all():
            raise OptionError("colour steps must be positive")

    def with_color_steps(self, steps: ArrayLike) -> Quantization:
        """The same with other colour steps for the same sites."""
        table = _table(steps, np.float32, 2, "color_steps")
        if table.shape != self.color_steps.shape:
            raise OptionError(
                f"colour steps of shape {list(table.shape)} are not {list(self.color_steps.shape)}"
            )
        return Quantization(
            self.position,
            self.log_tau,
            self.anisotropy,
            self.radius,
            self.angle_levels,
            table,
            self.axes,
        )

    def checked_symbols(self, symbols: ArrayLike, channels: int) -> NDArray[np.int32]:
        """Return symbols as int32 [N, 6 + C], once they are known to give a diagram.

        Raises
        ------
        OptionError
            If the shapes differ from the colour steps' or from the target's number of channels, or
            a symbol is outside what the bitstream allows.
        """
        table = _table(symbols, np.int32, 2, "symbols")
        if self.channels != channels:
            raise OptionError(f"{self.channels} colour axes do not fit {channels} channels")
        expected = (len(self.color_steps), _COLOR + channels)
        if table.shape != expected or len(table) == 0:
            raise OptionError(f"symbols of shape {list(table.shape)} are not {list(expected)}")
        log_anisotropy, angle = table[:, _LOG_ANISOTROPY], table[:, _ANGLE]
        if log_anisotropy.min() < 0 or log_anisotropy.max() >= len(self.angle_levels):
            raise OptionError(f"log_anisotropy symbols must be 0..{len(self.angle_levels) - 1}")
        if (angle < 0).any() or (angle >= self.angle_levels[log_anisotropy]).any():
            raise OptionError("an angle symbol is outside its number of levels")
        largest = np.abs(table[:, [_LOG_TAU, _RADIUS]].astype(np.float64)).max(axis=0)
        if largest[0] * self.log_tau > _LOG_TAU_LIMIT:
            raise OptionError(f"log_tau is outside -{_LOG_TAU_LIMIT:g}..{_LOG_TAU_LIMIT:g}")
        if largest[1] * self.radius > _RADIUS_LIMIT:
            raise OptionError(f"the radius is outside -{_RADIUS_LIMIT:g}..{_RADIUS_LIMIT:g} px")
        return table


@dataclass(frozen=True, eq=False)
class ColumnCost:
    """Approximate bits of one column's symbols: table[klass[i], clip(s_i - prediction[i]) + R].

    Parameters
    ----------
    prediction : int32 [N]
    klass : uint8 [N], row of the table
    table : float32 [classes, 2 R + 1], bits of the differences -R..R, at which others are clipped
    """

    prediction: NDArray[np.int32]
    klass: NDArray[np.uint8]
    table: NDArray[np.float32]

    @classmethod
    def checked(
        cls, prediction: ArrayLike, klass: ArrayLike, table: ArrayLike, count: int
    ) -> ColumnCost:
        """Convert and check the arrays of `count` sites; raise OptionError if they do not fit."""
        cost = cls(
            _table(prediction, np.int32, 1, "prediction"),
            _table(klass, np.uint8, 1, "klass"),
            _table(table, np.float32, 2, "the cost table"),
        )
        if cost.prediction.shape != (count,) or cost.klass.shape != (count,):
            raise OptionError(f"prediction and klass must have {count} values, one a site")
        if cost.table.shape[1] % 2 != 1:
            raise OptionError("the cost table must have 2 R + 1 columns")
        if cost.klass.max(initial=0) >= len(cost.table):
            raise OptionError("a class is outside the cost table")
        return cost

    def bits(self, site: int, symbol: int) -> float:
        """Bits of one symbol."""
        reach = self.table.shape[1] // 2
        difference = min(max(int(symbol) - int(self.prediction[site]), -reach), reach)
        return float(self.table[self.klass[site], difference + reach]) if reach else 0.0


def parameters(
    symbols: NDArray[np.int32], site: slice | int, steps: Quantization
) -> NDArray[np.float64]:
    """Return what symbols stand for, float64 [M, 6 + C], each number rounded to float32.

    Parameters
    ----------
    symbols : int32 [M, 6 + C]
    site : slice or int
        Whose colour steps are meant: the rows of `steps.color_steps` for the M rows, or for all.
    steps : Quantization
    """
    x, y, log_tau, log_anisotropy, angle, radius = symbols[:, :_COLOR].T
    a = log_anisotropy * steps.anisotropy
    turn = 2.0 * np.pi * angle / steps.angle_levels[log_anisotropy]
    columns = [
        (x + 0.5) * steps.position,
        (y + 0.5) * steps.position,
        log_tau * steps.log_tau,
        radius * steps.radius,
        a * np.cos(turn),
        a * np.sin(turn),
    ]
    colors = (symbols[:, _COLOR:] * np.atleast_2d(steps.color_steps[site])) @ steps.axes
    rounded = np.concatenate([np.stack(columns, axis=1), colors], axis=1).astype(np.float32)
    return rounded.astype(np.float64)
