"""Sites to integer symbols and back: the float side of docs/FORMAT.md, "Dequantization"."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.bitstream import (
    QuantizerParameters,
    Symbols,
    angle_levels,
    color_classes,
    from_table,
    to_table,
)
from sadcodec.errors import BitstreamError, SiteError
from sadcodec.sites import LOG_TAU_RANGE, Sites

__all__ = [
    "COLOR_UNIT",
    "STEP_UNIT",
    "color_axes",
    "color_steps",
    "dequantize",
    "from_table",
    "levels_for",
    "quantize",
    "quantize_with_steps",
    "to_table",
]

STEP_UNIT = 1.0 / 1024.0  # of all geometry steps
COLOR_UNIT = 1.0 / 16384.0  # of the base colour steps
_MOST_CODED = 6.0  # log_anisotropy; fits stay within sites.MAX_LOG_ANISOTROPY
_HALF_OCTAVE = tuple(round(2 ** (k / 2) * 4096) for k in range(-8, 9))  # Q12


def color_axes(channels: int) -> NDArray[np.float64]:
    """Return the colour axes: row j holds axis j in image channels; rows are orthonormal.

    1 channel: gray. 2: gray, alpha. 3: Y = (R + G + B)/sqrt 3, Co = (R - B)/sqrt 2,
    Cg = (-R + 2 G - B)/sqrt 6. 4: the same and alpha.
    """
    axes = np.eye(channels)
    if channels >= 3:
        axes[:3, :3] = [
            np.array([1.0, 1.0, 1.0]) / np.sqrt(3.0),
            np.array([1.0, 0.0, -1.0]) / np.sqrt(2.0),
            np.array([-1.0, 2.0, -1.0]) / np.sqrt(6.0),
        ]
    return axes


def color_steps(
    symbols: Symbols,
    width: int,
    height: int,
    quantizer: QuantizerParameters,
    threads: int = 1,
) -> NDArray[np.float64]:
    """Return each site's colour steps, float64 [N, C]: the base steps times 2^(class / 2)."""
    classes = symbols.classes
    if classes is None:
        classes = color_classes(symbols, width, height, quantizer, threads)
    factor = np.asarray(_HALF_OCTAVE, np.float64)[classes.astype(np.int64) + 8] / 4096.0
    return factor[:, None] * (np.asarray(quantizer.step_color, np.float64) * COLOR_UNIT)


def levels_for(quantizer: QuantizerParameters) -> NDArray[np.int32]:
    """Return the number of directions of every log_anisotropy symbol that may be coded."""
    top = int(_MOST_CODED / (quantizer.step_log_anisotropy * STEP_UNIT))
    return angle_levels(top + 1, quantizer)


def _round(values: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.floor(np.asarray(values, np.float64) + 0.5).astype(np.int32)


def quantize(
    sites: Sites, width: int, height: int, quantizer: QuantizerParameters, threads: int = 1
) -> Symbols:
    """Round sites to symbols, column by column.

    Parameters
    ----------
    sites : Sites
    width, height : int, px
        Of the image; positions are clamped to it.
    quantizer : QuantizerParameters
    threads : int
        Changes nothing but the time.

    Returns
    -------
    Symbols
        In the order of `sites`.

    Raises
    ------
    SiteError
        If the quantizer is of another number of channels.
    """
    return quantize_with_steps(sites, width, height, quantizer, threads)[0]


def quantize_with_steps(
    sites: Sites, width: int, height: int, quantizer: QuantizerParameters, threads: int = 1
) -> tuple[Symbols, NDArray[np.float64]]:
    """Return what `quantize` does, and the `color_steps` that the colours were rounded to.

    Raises
    ------
    SiteError
        If the quantizer is of another number of channels.
    """
    if sites.channels != quantizer.channels:
        raise SiteError(f"{sites.channels} channels do not fit {quantizer.channels} colour steps")
    cells = quantizer.grid_size(width, height)
    step = quantizer.step_position * STEP_UNIT
    grid = np.floor(sites.position.astype(np.float64) / step)
    grid = np.clip(grid, 0, np.asarray(cells) - 1).astype(np.int32)
    tau_step = quantizer.step_log_tau * STEP_UNIT
    log_tau = _round(np.clip(sites.log_tau, *LOG_TAU_RANGE) / tau_step)

    levels = levels_for(quantizer)
    a = sites.log_anisotropy.astype(np.float64)
    log_anisotropy = _round(a / (quantizer.step_log_anisotropy * STEP_UNIT))
    log_anisotropy = np.clip(log_anisotropy, 0, len(levels) - 1)
    n = levels[log_anisotropy]
    turn = np.arctan2(sites.anisotropy[:, 1], sites.anisotropy[:, 0]).astype(np.float64)
    angle = _round(turn / (2.0 * np.pi) * n) % n  # t = angle of (p, q) / 2, modulo pi

    radius = None
    if quantizer.step_radius:
        radius = _round(sites.radius / (quantizer.step_radius * STEP_UNIT))
    bare = Symbols(
        np.ascontiguousarray(grid[:, 0]),
        np.ascontiguousarray(grid[:, 1]),
        log_tau,
        log_anisotropy.astype(np.int32),
        angle.astype(np.int32),
        radius,
        np.zeros((len(sites), sites.channels), np.int32),
    )
    values = sites.color.astype(np.float64) @ color_axes(sites.channels).T
    steps = color_steps(bare, width, height, quantizer, threads)
    return replace(bare, color=_round(values / steps)), steps


def dequantize(symbols: Symbols, width: int, height: int, quantizer: QuantizerParameters) -> Sites:
    """Return the sites that symbols stand for; computed in float64, rounded once to float32.

    Raises
    ------
    BitstreamError
        If the symbols do not give finite sites.
    """
    count, channels = len(symbols), quantizer.channels
    step = quantizer.step_position * STEP_UNIT
    a = symbols.log_anisotropy * (quantizer.step_log_anisotropy * STEP_UNIT)
    levels = angle_levels(int(symbols.log_anisotropy.max(initial=0)) + 1, quantizer)
    turn = (2.0 * np.pi) * symbols.angle / levels[symbols.log_anisotropy]
    values = symbols.color * color_steps(symbols, width, height, quantizer)
    params = np.empty((count, 6 + channels), np.float32)
    params[:, 0] = (symbols.x + 0.5) * step
    params[:, 1] = (symbols.y + 0.5) * step
    params[:, 2] = symbols.log_tau * (quantizer.step_log_tau * STEP_UNIT)
    params[:, 3] = 0.0
    if symbols.radius is not None:
        params[:, 3] = symbols.radius * (quantizer.step_radius * STEP_UNIT)
    params[:, 4] = a * np.cos(turn)
    params[:, 5] = a * np.sin(turn)
    params[:, 6:] = values @ color_axes(channels)
    try:
        return Sites(params)
    except SiteError as error:
        raise BitstreamError(f"symbols do not give valid sites: {error}") from None
