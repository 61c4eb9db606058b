"""Files written and read again, in both profiles, over the whole range of what they can hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_samples import sample, sorted_rows

from sadcodec import bitstream
from sadcodec.bitstream import (
    Header,
    QuantizerParameters,
    Symbols,
    angle_levels,
    color_classes,
)
from sadcodec.errors import OptionError

CODERS = pytest.mark.parametrize("coder", bitstream.CODERS)


def same(a: Symbols, b: Symbols) -> bool:
    return np.array_equal(sorted_rows(a), sorted_rows(b))


@CODERS
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("radius", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7, 300])
def test_round_trip(coder, channels, radius, count):
    header, symbols = sample(count, channels=channels, radius=radius, seed=count)
    got_header, got = bitstream.read(bitstream.write(header, symbols, coder=coder))
    assert same(got, symbols)
    assert got_header == Header(**{**header.__dict__, "coder": coder})


@CODERS
def test_a_reader_knows_the_color_classes_of_its_sites(coder):
    header, symbols = sample(300, seed=5)
    _, got = bitstream.read(bitstream.write(header, symbols, coder=coder))
    expected = bitstream.color_classes(got, header.width, header.height, header.quantizer)
    assert np.array_equal(got.classes, expected)
    assert len(set(expected.tolist())) > 3


@CODERS
def test_both_profiles_store_the_same_order(coder):
    header, symbols = sample(200, seed=1)
    _, first = bitstream.read(bitstream.write(header, symbols))
    _, other = bitstream.read(bitstream.write(header, symbols, coder=coder))
    assert np.array_equal(first.x, other.x)
    assert np.array_equal(first.color, other.color)


@CODERS
def test_threads_change_nothing(coder):
    header, symbols = sample(5000, width=400, height=300, seed=6)
    header = Header(**(header.__dict__ | {"coder": coder}))
    one, three = (bitstream.encode_payload(header, symbols, threads) for threads in (1, 3))
    assert one.data == three.data
    data = bitstream.write(header, symbols)
    _, got = bitstream.read(data, threads=4)
    assert same(got, symbols)


@st.composite
def files(draw: st.DrawFn) -> tuple[Header, Symbols]:
    """Any header and symbols that the format allows, small in extent and count."""
    width = draw(st.integers(1, 40))
    height = draw(st.integers(1, 40))
    channels = draw(st.integers(1, 4))
    count = draw(st.integers(1, min(40, 4 * width * height + 64)))
    step = st.one_of(st.integers(1, 65535), st.integers(50, 800))
    q = QuantizerParameters(
        step_position=draw(step),
        step_log_tau=draw(step),
        step_log_anisotropy=draw(step),
        step_angle=draw(step),
        step_radius=draw(st.one_of(st.just(0), step)),
        step_color=tuple(draw(st.integers(1, 65535)) for _ in range(channels)),
        class_distance_gain=draw(st.integers(0, 255)),
        class_tau_gain=draw(st.integers(0, 255)),
    )
    columns, rows = q.grid_size(width, height)

    def column(low: int, high: int) -> np.ndarray:
        spread = draw(st.sampled_from([0, 2, high - low]))
        values = st.integers(max(low, min(0, high) - spread), min(high, max(low, 0) + spread))
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), np.int32)

    log_tau = column(-(10 * 1024 // q.step_log_tau), 10 * 1024 // q.step_log_tau)
    log_anisotropy = column(0, 6 * 1024 // q.step_log_anisotropy)
    levels = angle_levels(int(log_anisotropy.max()) + 1, q)[log_anisotropy]
    angle = (column(0, 4095) % levels).astype(np.int32)
    limit = (1 << 20) // q.step_radius if q.step_radius else 0
    largest = 1 << 21  # at the smallest step of the lowest class
    color = np.stack([column(-largest, largest) for _ in range(channels)], axis=1)
    symbols = Symbols(
        column(0, columns - 1),
        column(0, rows - 1),
        log_tau,
        log_anisotropy,
        angle,
        column(-limit, limit) if q.step_radius else None,
        color,
    )
    scale = np.array([round(2 ** (k / 2) * 4096) for k in range(-8, 9)])
    steps = scale[color_classes(symbols, width, height, q).astype(int) + 8][:, None] * q.step_color
    np.clip(color, -((8 << 26) // steps), (8 << 26) // steps, out=color, casting="unsafe")
    depth = draw(st.sampled_from([8, 16]))
    return Header(width, height, channels, depth, draw(st.integers(1, 16)), count, q), symbols


@settings(max_examples=150, deadline=None)
@given(files(), st.sampled_from(bitstream.CODERS))
def test_round_trip_of_anything(file, coder):
    header, symbols = file
    data = bitstream.write(header, symbols, coder=coder)
    _, got = bitstream.read(data)
    assert same(got, symbols)
    assert bitstream.write(header, got, coder=coder) == data


@CODERS
@pytest.mark.parametrize("size", [1, -1])
def test_extreme_colours(coder, size):
    header, symbols = sample(
        60, step_color=(1, 2, 3), class_tau_gain=0, class_distance_gain=0, seed=2
    )
    limit = (8 << 26) // 4096
    symbols.color[:] = 0
    symbols.color[::3, 0] = size * limit
    symbols.color[1::3, 1] = -size * (limit // 2)
    _, got = bitstream.read(bitstream.write(header, symbols, coder=coder))
    assert same(got, symbols)


def test_a_file_with_three_channels_has_58_bytes_beside_the_payload():
    header, symbols = sample(300)
    payload = bitstream.encode_payload(header, symbols)
    data = bitstream.write(header, symbols)
    assert len(data) == bitstream.file_size(header, payload) == len(payload.data) + 58


@CODERS
def test_metadata_travels(coder):
    header, symbols = sample(20)
    chunks = ((b"iCCP", b"profile" * 100), (b"eXIF", b""), (b"zzZz", bytes(range(256))))
    data = bitstream.write(header, symbols, chunks=chunks, coder=coder)
    assert bitstream.metadata(data) == chunks
    assert same(bitstream.read(data)[1], symbols)
    assert len(data) < len(bitstream.write(header, symbols, coder=coder)) + 256 + 120


def test_inspect_accounts_for_every_byte():
    header, symbols = sample(500, seed=3)
    data = bitstream.write(header, symbols, chunks=[(b"xMLP", b"<x/>")])
    info = bitstream.inspect(data)
    assert [c.type for c in info.chunks] == ["xMLP", "SITE"]
    assert [c.critical for c in info.chunks] == [False, True]
    assert info.file_bytes == len(data) == 46 + sum(c.length + 12 for c in info.chunks)
    assert [c.name for c in info.columns] == [
        "position", "log_tau", "log_anisotropy", "angle", "y", "co", "cg",
    ]  # fmt: skip
    assert sum(c.bytes for c in info.columns) == pytest.approx(info.chunks[-1].length, abs=16)
    assert info.bits_per_pixel == pytest.approx(8 * len(data) / (97 * 61))
    zstd = bitstream.inspect(bitstream.write(header, symbols, coder="zstd"))
    assert sum(c.bytes for c in zstd.columns) == pytest.approx(zstd.chunks[-1].length, abs=16)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": 1 << 31},
        {"channels": 4},
        {"bit_depth": 10},
        {"k": 0},
        {"k": 17},
        {"flags": 1},
        {"coder": "huffman"},
        {"site_count": 0},
        {"site_count": 4 * 97 * 61 + 65},
    ],
)
def test_headers_out_of_range_are_refused(change):
    header, _ = sample(5)
    with pytest.raises(OptionError):
        Header(**(header.__dict__ | change))


def test_symbols_that_do_not_match_the_header_are_refused():
    header, _ = sample(5)
    _, more = sample(6)
    with pytest.raises(OptionError, match="match"):
        bitstream.write(header, more)
    _, with_radius = sample(5, radius=True)
    with pytest.raises(OptionError):
        bitstream.write(header, with_radius)


@pytest.mark.parametrize("name", [b"SITE", b"ICCP", b"icp", b"ic1P", b"iccP"])
def test_only_ancillary_chunks_may_be_added(name):
    header, symbols = sample(5)
    with pytest.raises(OptionError):
        bitstream.write(header, symbols, chunks=[(name, b"")])
