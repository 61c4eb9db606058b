"""The compiled coder on its own: integer functions against floats, order, costs, bad input."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from symbol_samples import quantizer, rows_of, sample

from sadcodec import _coder
from sadcodec.bitstream import angle_levels, color_classes, encode_payload
from sadcodec.errors import OptionError


def encode(header, symbols):
    """Payload, order and bits of the columns of a single group."""
    groups, order, bits, *_ = _coder.encode(
        header.width,
        header.height,
        header.quantizer.as_tuple(),
        symbols.x,
        symbols.y,
        symbols.log_tau,
        symbols.log_anisotropy,
        symbols.angle,
        symbols.radius,
        symbols.color,
    )
    assert [group[1:] for group in groups] == [(0, len(symbols), 0, 0, 0)]
    return groups[0][0], order, bits


def morton_order(symbols, header):
    """The traversal order by its definition: bits of x and y from the top, longer side first."""
    columns, rows = header.quantizer.grid_size(header.width, header.height)
    rx, ry = (columns - 1).bit_length(), (rows - 1).bit_length()
    key = np.zeros(len(symbols), np.int64)
    while rx or ry:
        if rx >= ry:
            rx -= 1
            key = 2 * key + (symbols.x >> rx & 1)
        else:
            ry -= 1
            key = 2 * key + (symbols.y >> ry & 1)
    return np.argsort(key, kind="stable")


def reference_classes(symbols, quantizer):
    """Colour step classes in floating point, neighbours by brute force."""
    x, y, t = (c.astype(np.int64) for c in (symbols.x, symbols.y, symbols.log_tau))
    d2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    np.fill_diagonal(d2, np.iinfo(np.int64).max)
    near = np.argsort(d2, axis=1, kind="stable")[:, :6]
    spacing = (np.log2(np.take_along_axis(d2, near, 1) + 1.0) / 2).mean(axis=1)
    excess = (t - t[near].mean(axis=1)) * quantizer.step_log_tau / 1024 * math.log2(math.e)
    k = 2 * (
        quantizer.class_tau_gain * excess
        - quantizer.class_distance_gain * (spacing - spacing.mean())
    )
    return k / 128


def test_sites_come_back_in_traversal_order():
    header, symbols = sample(400, seed=3)
    data, order, _ = encode(header, symbols)
    assert np.array_equal(order, morton_order(symbols, header))
    decoded = _coder.decode(data, 400, 3, header.width, header.height, header.quantizer.as_tuple())
    assert np.array_equal(decoded[0], symbols.x[order])
    assert np.array_equal(decoded[6], symbols.color[order])


def test_encoding_does_not_depend_on_the_order_of_distinct_sites(rng):
    header, symbols = sample(300, seed=4, step_position=1024)
    cells = np.unique(symbols.x.astype(np.int64) << 32 | symbols.y, return_index=True)[1]
    symbols = symbols.take(cells)
    shuffled = symbols.take(rng.permutation(len(symbols)))
    assert encode(header, symbols)[0] == encode(header, shuffled)[0]


def test_stored_order_is_kept_by_a_second_encoding():
    header, symbols = sample(200, seed=5, width=9, height=7, step_position=4096)
    first, order, _ = encode(header, symbols)
    second, again, _ = encode(header, symbols.take(order))
    assert first == second
    assert np.array_equal(again, np.arange(200))


def test_what_a_thread_has_coded_before_makes_no_difference():
    header, symbols = sample(300, seed=8, width=300, height=200)
    moved = replace(symbols, y=np.where(np.arange(300) == 7, symbols.y[::-1], symbols.y))
    expected = []
    for given in (symbols, moved):
        with ThreadPoolExecutor(1) as fresh:
            expected.append(fresh.submit(encode, header, given).result()[0])
    assert expected[0] != expected[1]
    for number in (0, 1, 1, 0):
        assert encode(header, (symbols, moved)[number])[0] == expected[number]


@pytest.mark.parametrize("coincident", [False, True])
def test_color_classes_agree_with_floating_point(coincident):
    # Traversal order, because ties between neighbours go to the lower index in that order.
    header, symbols = sample(500, seed=6, width=300, height=200, coincident=coincident)
    symbols = symbols.take(morton_order(symbols, header))
    classes = color_classes(symbols, header.width, header.height, header.quantizer)
    expected = reference_classes(symbols, header.quantizer)
    assert (
        np.abs(classes - np.clip(expected, -8, 8)).max() < 0.56
    )  # rounding, and a rough logarithm
    if not coincident:
        assert np.ptp(classes) > 4


def test_color_classes_follow_the_order_of_the_input(rng):
    header, symbols = sample(300, seed=7, width=300, height=200)
    shuffle = rng.permutation(300)
    classes = color_classes(symbols, header.width, header.height, header.quantizer)
    other = color_classes(symbols.take(shuffle), header.width, header.height, header.quantizer)
    assert np.array_equal(classes[shuffle], other)


def test_one_site_has_class_zero():
    header, symbols = sample(1)
    assert color_classes(symbols, header.width, header.height, header.quantizer).tolist() == [0]


def test_angle_levels_follow_the_hyperbolic_sine():
    q = quantizer(step_log_anisotropy=100, step_angle=60)
    levels = angle_levels(6 * 1024 // 100 + 1, q)
    a = np.arange(len(levels)) * 100 / 1024
    expected = np.clip(np.round(np.pi * np.sinh(a) * 1024 / 60), 1, 4096)
    assert levels[0] == 1
    assert np.all(np.diff(levels) >= 0)
    assert np.abs(levels - expected).max() <= np.maximum(1, 0.02 * expected).max()
    assert np.all(np.abs(levels - expected) <= np.maximum(1, 0.02 * expected))


def test_levels_beyond_the_largest_symbol_are_refused():
    with pytest.raises(OptionError):
        angle_levels(6 * 1024 // 170 + 2, quantizer())


def test_column_costs_add_up_to_the_payload():
    header, symbols = sample(2000, seed=8, width=768, height=512, radius=True)
    data, _, bits = encode(header, symbols)
    assert bits.shape == (8,)
    assert np.all(bits > 0)
    assert bits.sum() / 8 == pytest.approx(len(data), abs=20)


def test_positions_cost_no_more_than_a_random_set():
    for count in (200, 3000):
        header, symbols = sample(count, seed=9, width=768, height=512)
        columns, rows = header.quantizer.grid_size(768, 512)
        ideal = count * math.log2(columns * rows) - math.lgamma(count + 1) / math.log(2)
        assert encode(header, symbols)[2][0] < 1.02 * ideal + 30


def test_clustered_positions_cost_less(rng):
    header, symbols = sample(3000, seed=10, width=768, height=512)
    spread = encode(header, symbols)[2][0]
    symbols.x[:] = np.clip(rng.normal(1300, 150, 3000), 0, 2600).astype(np.int32)
    assert encode(header, symbols)[2][0] < spread - 3000


def test_predictable_columns_cost_little():
    header, symbols = sample(2000, seed=11, width=768, height=512)
    ramp = np.round(symbols.x / 40).astype(np.int32)
    symbols.log_tau[:] = 3
    symbols.log_anisotropy[:] = 0
    symbols.angle[:] = 0
    symbols.color[:] = ramp[:, None] - 30
    bits = encode(header, symbols)[2] / 2000
    assert bits[1] < 0.05
    assert bits[2] < 0.05
    assert bits[3] == 0
    assert bits[6] + bits[7] < bits[5]  # the chroma axes follow luma


def test_chroma_that_follows_luma_is_cheaper_than_independent_chroma(rng):
    header, symbols = sample(
        2000, seed=12, width=768, height=512, class_tau_gain=0, class_distance_gain=0
    )
    independent = encode(header, symbols)[2]
    symbols.color[:, 1] = symbols.color[:, 0] // 2
    assert encode(header, symbols)[2][6] < 0.6 * independent[6]


def test_many_sites_in_one_cell_take_no_longer_than_others():
    header, symbols = sample(60_000, seed=13, coincident=True, width=400, height=300)
    data, order, _ = encode(header, symbols)
    assert np.array_equal(order, np.arange(60_000))
    decoded = _coder.decode(
        data, 60_000, 3, header.width, header.height, header.quantizer.as_tuple()
    )
    assert np.array_equal(decoded[6], symbols.color)


def arrangement(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells on a grid of 4096 x 4096 that are hard on a search for neighbours."""
    index = np.arange(count)
    turn = index / count * 2 * np.pi
    x, y = {
        "one cell": (0 * index + 77, 0 * index + 4000),
        "two corners": (index % 2 * 4095, index % 2 * 4095),
        "two edges": (index % 2 * 4095, index % 4096),
        "diagonal": (index % 4096, index % 4096),
        "antidiagonal": (index % 4096, 4095 - index % 4096),
        # All sites of the rim are equally far from those in the centre.
        "rim and centre": (
            2048 + index % 2 * np.rint(2000 * np.cos(turn)),
            2048 + index % 2 * np.rint(2000 * np.sin(turn)),
        ),
    }[name]
    return x.astype(np.int32), y.astype(np.int32)


@pytest.mark.parametrize(
    "name", ["one cell", "two corners", "two edges", "diagonal", "antidiagonal", "rim and centre"]
)
def test_the_work_is_bounded_for_any_arrangement(name):
    count = 200_000
    x, y = arrangement(name, count)
    zero, color = np.zeros(count, np.int32), np.zeros((count, 1), np.int32)
    q = quantizer(1, step_position=1024).as_tuple()
    start = time.process_time()
    groups, order, *_ = _coder.encode(4096, 4096, q, x, y, zero, zero, zero, None, color)
    decoded = _coder.decode(groups[0][0], count, 1, 4096, 4096, q)
    assert time.process_time() - start < 5  # 0.4 s; a search over all sites takes minutes
    assert np.array_equal(decoded[0], x[order])
    assert np.array_equal(decoded[1], y[order])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x", -1),
        ("x", 97 * 1024 // 300 + 1),
        ("y", 1 << 20),
        ("log_tau", 10 * 1024 // 150 + 1),
        ("log_tau", -(1 << 31)),
        ("log_anisotropy", -1),
        ("log_anisotropy", 6 * 1024 // 170 + 1),
        ("angle", -1),
        ("angle", 5000),
        ("radius", (1 << 20) // 200 + 1),
        ("color", 1 << 30),
        ("color", -(1 << 31)),
    ],
)
def test_symbols_out_of_range_are_refused(column, value):
    header, symbols = sample(50, radius=True)
    getattr(symbols, column)[17] = value
    with pytest.raises(OptionError):
        encode_payload(header, symbols)


def test_columns_of_different_length_are_refused():
    header, symbols = sample(50)
    with pytest.raises(ValueError, match="length"):
        _coder.encode(
            header.width,
            header.height,
            header.quantizer.as_tuple(),
            symbols.x,
            symbols.y[:-1].copy(),
            symbols.log_tau,
            symbols.log_anisotropy,
            symbols.angle,
            None,
            symbols.color,
        )


def test_analysis_returns_residuals_in_the_order_of_the_input(rng):
    header, symbols = sample(300, seed=14, width=300, height=200)

    def analyze(s):
        return _coder.analyze(
            header.width, header.height, header.quantizer.as_tuple(), s.x, s.y, s.log_tau,
            s.log_anisotropy, s.angle, s.radius, s.color,
        )  # fmt: skip

    residuals, contexts = analyze(symbols)
    assert residuals.shape == contexts.shape == (300, 8)
    assert contexts.min() >= 0
    assert contexts.max() < 24
    shuffle = rng.permutation(300)
    again, _ = analyze(symbols.take(shuffle))
    assert np.array_equal(again, residuals[shuffle])
    assert rows_of(symbols).shape == (300, 8)
