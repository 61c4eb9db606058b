"""Random symbols that look like those of a fitted diagram, for the tests of the bitstream."""

from __future__ import annotations

import numpy as np

from sadcodec.bitstream import Header, QuantizerParameters, Symbols, angle_levels


def quantizer(channels: int = 3, *, radius: bool = False, **changes: object) -> QuantizerParameters:
    fields: dict = {
        "step_position": 300,
        "step_log_tau": 150,
        "step_log_anisotropy": 170,
        "step_angle": 80,
        "step_radius": 200 if radius else 0,
        "step_color": (400, 300, 300, 500)[:channels],
    }
    return QuantizerParameters(**(fields | changes))


def sample(
    count: int,
    *,
    width: int = 97,
    height: int = 61,
    channels: int = 3,
    radius: bool = False,
    seed: int = 0,
    coincident: bool = False,
    **changes: object,
) -> tuple[Header, Symbols]:
    """Header and symbols of `count` sites; positions uniform, or all in one cell.

    With `layers`, groups of each, the sites are shared out to them evenly, at random.
    """
    rng = np.random.default_rng(seed)
    q = quantizer(channels, radius=radius, **changes)
    columns, rows = q.grid_size(width, height)
    x = rng.integers(0, columns, count)
    y = rng.integers(0, rows, count)
    if coincident:
        x[:], y[:] = x[0], y[0]
    log_tau = np.clip(np.round(rng.normal(0, 4, count)), -60, 60)
    log_anisotropy = np.clip(np.round(np.abs(rng.normal(5, 3, count))), 0, 30).astype(np.int32)
    angle = np.floor(rng.random(count) * angle_levels(31, q)[log_anisotropy])
    color = np.round(rng.normal(0, 8, (count, channels)))
    dealt = (np.arange(count) % max(len(q.layers), 1)).astype(np.int32)
    symbols = Symbols(
        x.astype(np.int32),
        y.astype(np.int32),
        log_tau.astype(np.int32),
        log_anisotropy,
        angle.astype(np.int32),
        np.round(rng.normal(10, 4, count)).astype(np.int32) if radius else None,
        color.astype(np.int32),
        layer=rng.permutation(dealt) if q.layers else None,
    )
    return Header(width, height, channels, 8, 8, count, q), symbols


def rows_of(symbols: Symbols) -> np.ndarray:
    """All columns side by side, int32 [N, columns], in the order of the symbols."""
    columns = [symbols.x, symbols.y, symbols.log_tau, symbols.log_anisotropy, symbols.angle]
    if symbols.radius is not None:
        columns.append(symbols.radius)
    return np.column_stack([*columns, symbols.color])


def sorted_rows(symbols: Symbols) -> np.ndarray:
    """`rows_of` in an order that does not depend on that of the sites."""
    rows = rows_of(symbols)
    return rows[np.lexsort(rows.T[::-1])]
