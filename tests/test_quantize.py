"""Symbols and what they stand for: rounding within half a step, and the symmetries folded away."""

from __future__ import annotations

import numpy as np
import pytest
from diagrams import random_sites
from hypothesis import given, settings
from hypothesis import strategies as st

from sadcodec.bitstream import QuantizerParameters, Symbols
from sadcodec.errors import OptionError, SiteError
from sadcodec.pixels import code_values
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

WIDTH, HEIGHT = 70, 50
COLUMNS = ("x", "y", "log_tau", "log_anisotropy", "angle", "radius", "color")


def quantizer(channels: int = 3, **changes: object) -> QuantizerParameters:
    fields = {
        "step_position": 300,
        "step_log_tau": 200,
        "step_log_anisotropy": 270,
        "step_angle": 140,
        "step_radius": 500,
        "step_color": (400, 300, 200, 500)[:channels],
    }
    return QuantizerParameters(**{**fields, **changes})


def there_and_back(sites: Sites, q: QuantizerParameters) -> tuple[Symbols, Sites]:
    symbols = quantize(sites, WIDTH, HEIGHT, q)
    return symbols, dequantize(symbols, WIDTH, HEIGHT, q)


def assert_within_half_a_step(sites: Sites, q: QuantizerParameters) -> None:
    symbols, back = there_and_back(sites, q)

    def close(one: np.ndarray, other: np.ndarray, step: object) -> None:
        assert (np.abs(one.astype(float) - other) <= 0.5 * np.asarray(step) + 1e-4).all()

    inside = np.clip(sites.position, 0, (WIDTH, HEIGHT))
    close(inside, back.position, q.step_position * STEP_UNIT)
    close(sites.log_tau, back.log_tau, q.step_log_tau * STEP_UNIT)
    close(sites.radius, back.radius, q.step_radius * STEP_UNIT)
    close(sites.log_anisotropy, back.log_anisotropy, q.step_log_anisotropy * STEP_UNIT)
    # One of n directions of half a turn; where n is 1 any direction is as good.
    n = levels_for(q)[symbols.log_anisotropy]
    one, other = (np.arctan2(s.anisotropy[:, 1], s.anisotropy[:, 0]) / 2 for s in (sites, back))
    apart = np.abs((one - other + np.pi / 2) % np.pi - np.pi / 2)
    assert (apart[n > 1] <= (np.pi / n[n > 1]) / 2 + 1e-3).all()
    axes = color_axes(sites.channels)
    steps = color_steps(symbols, WIDTH, HEIGHT, q)
    close(sites.color.astype(float) @ axes.T, back.color.astype(float) @ axes.T, steps)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_rounding_moves_no_parameter_by_more_than_half_a_step(channels):
    sites = random_sites(1, 400, WIDTH, HEIGHT, channels, anisotropy=(0.0, 4.0))
    assert_within_half_a_step(sites, quantizer(channels))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 30),
    channels=st.integers(1, 4),
    steps=st.tuples(
        st.integers(60, 4000), st.integers(10, 2000), st.integers(10, 2000), st.integers(10, 2000)
    ),
    base=st.integers(20, 4000),
)
def test_half_a_step_for_any_quantizer(seed, count, channels, steps, base):
    position, log_tau, log_anisotropy, angle = steps
    q = QuantizerParameters(position, log_tau, log_anisotropy, angle, 77, (base,) * channels)
    sites = random_sites(
        seed, count, WIDTH, HEIGHT, channels, log_tau=(-8, 8), radius=(0, 512), anisotropy=(0, 4)
    )
    assert_within_half_a_step(sites, q)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 4), radius=st.booleans())
def test_symbols_stand_for_themselves(seed, channels, radius):
    """Dequantized and quantized again, symbols are what they were."""
    q = quantizer(channels, step_radius=500 if radius else 0)
    sites = random_sites(seed, 50, WIDTH, HEIGHT, channels, anisotropy=(0, 4))
    symbols, back = there_and_back(sites, q)
    again = quantize(back, WIDTH, HEIGHT, q)
    for name in COLUMNS:
        assert np.array_equal(getattr(symbols, name), getattr(again, name)), name


def test_symbols_are_in_range():
    q = quantizer()
    sites = random_sites(2, 500, WIDTH, HEIGHT, log_tau=(-12, 12), anisotropy=(0, 9), margin=30)
    symbols = quantize(sites, WIDTH, HEIGHT, q)
    across, down = q.grid_size(WIDTH, HEIGHT)
    assert (symbols.x.min(), symbols.x.max()) == (0, across - 1)
    assert (symbols.y.min(), symbols.y.max()) == (0, down - 1)
    assert (np.abs(symbols.log_tau) * q.step_log_tau * STEP_UNIT <= 10).all()
    levels = levels_for(q)
    assert symbols.log_anisotropy.max() == len(levels) - 1  # 9 is cut to 6
    assert (symbols.angle >= 0).all()
    assert (symbols.angle < levels[symbols.log_anisotropy]).all()


def test_an_angle_just_under_a_half_turn_is_angle_0():
    q = quantizer()
    turn = 2 * np.pi - 1e-4  # of (p, q), twice the direction's
    ends = [[2 * np.cos(t), 2 * np.sin(t)] for t in (0.0, turn, np.pi)]
    sites = random_sites(3, 3, WIDTH, HEIGHT)
    params = sites.params.copy()
    params[:, 4:6] = ends
    symbols = quantize(Sites(params), WIDTH, HEIGHT, q)
    n = levels_for(q)[symbols.log_anisotropy]
    assert symbols.angle[:2].tolist() == [0, 0]
    assert symbols.angle[2] in (n[2] // 2, (n[2] + 1) // 2)


def test_where_a_rounds_to_0_there_is_one_angle():
    sites = random_sites(4, 200, WIDTH, HEIGHT, anisotropy=(0.0, 0.1))
    symbols, back = there_and_back(sites, quantizer())
    assert not symbols.log_anisotropy.any()
    assert not symbols.angle.any()
    assert not back.anisotropy.any()


def test_the_steps_of_the_angle_shrink_with_the_anisotropy():
    levels = levels_for(quantizer())
    assert levels[0] == 1
    assert (np.diff(levels) >= 0).all()
    assert levels[-1] > 100


def test_without_a_radius_column_radii_are_0():
    sites = random_sites(5, 100, WIDTH, HEIGHT, radius=(1, 5))
    symbols, back = there_and_back(sites, quantizer(step_radius=0))
    assert symbols.radius is None
    assert not back.radius.any()
    symbols, back = there_and_back(sites, quantizer())
    assert symbols.radius is not None
    assert (back.radius > 0.5).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_color_axes_are_orthonormal(channels):
    axes = color_axes(channels)
    assert np.allclose(axes @ axes.T, np.eye(channels), atol=1e-15)
    if channels >= 3:
        assert np.allclose(axes[:, :3] @ np.ones(3), [np.sqrt(3), 0, 0, 0][:channels])
    if channels in (2, 4):
        assert axes[-1].tolist() == [0.0] * (channels - 1) + [1.0]  # alpha alone


def test_color_steps_are_half_octaves_of_the_base_step():
    q = quantizer()
    symbols = quantize(random_sites(6, 300, WIDTH, HEIGHT), WIDTH, HEIGHT, q)
    octaves = np.log2(
        color_steps(symbols, WIDTH, HEIGHT, q) / (np.array(q.step_color) * COLOR_UNIT)
    )
    assert np.allclose(2 * octaves, np.rint(2 * octaves), atol=1e-3)
    assert len(np.unique(np.rint(2 * octaves))) > 3
    assert np.allclose(octaves, octaves[:, :1])


@pytest.mark.parametrize("radius", [False, True])
def test_a_table_is_the_same_symbols(radius):
    q = quantizer(step_radius=300 if radius else 0)
    symbols = quantize(random_sites(7, 40, WIDTH, HEIGHT), WIDTH, HEIGHT, q)
    table = to_table(symbols)
    assert (table.shape, table.dtype) == ((40, 9), np.int32)
    back = from_table(table, radius=radius)
    for name in COLUMNS:
        assert np.array_equal(getattr(back, name), getattr(symbols, name)), name


def test_channels_must_fit():
    with pytest.raises(SiteError):
        quantize(random_sites(8, 5, WIDTH, HEIGHT, 1), WIDTH, HEIGHT, quantizer(3))


def test_the_largest_symbols_are_finite_sites():
    q = quantizer(1, step_color=(65535,), step_radius=65535)
    symbols = quantize(random_sites(9, 5, WIDTH, HEIGHT, 1), WIDTH, HEIGHT, q)
    for name in ("color", "radius"):
        getattr(symbols, name)[:] = 2**31 - 1
    assert np.isfinite(dequantize(symbols, WIDTH, HEIGHT, q).params).all()


@pytest.mark.parametrize(("column", "value"), [("x", -1), ("y", 2**31 - 1), ("log_anisotropy", 99)])
def test_symbols_out_of_range_are_refused(column, value):
    q = quantizer()
    symbols = quantize(random_sites(10, 5, WIDTH, HEIGHT), WIDTH, HEIGHT, q)
    getattr(symbols, column)[2] = value
    with pytest.raises(OptionError):
        dequantize(symbols, WIDTH, HEIGHT, q)


@pytest.mark.parametrize(("depth", "white"), [(8, 255), (16, 65535)])
def test_code_values(depth, white):
    y = np.array([-1.0, 0.0, 0.499 / white, 0.5 / white, 1.5 / white, 0.5, 1.0, 7.0])
    values = code_values(y, depth)
    assert values.tolist() == [0, 0, 0, 1, 2, (white + 1) // 2, white, white]
    assert values.dtype.itemsize * 8 == depth
