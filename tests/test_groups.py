"""Groups of sites: coded alone, the same symbols back, and what they cost."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import load
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_samples import rows_of, sample

import sadcodec
from sadcodec import bitstream
from sadcodec.bitstream import AUTOMATIC_GROUPS, color_classes, encode_payload
from sadcodec.bitstream.container import pack_chunk
from sadcodec.bitstream.region import key_of
from sadcodec.errors import BitstreamError, OptionError

CODERS = pytest.mark.parametrize("coder", bitstream.CODERS)


def chunks_of(data: bytes) -> list[bytes]:
    return [data[c.offset : c.offset + c.length + 12] for c in bitstream.inspect(data).chunks]


@CODERS
@pytest.mark.parametrize(("count", "groups"), [(2, 2), (40, 37), (500, 3), (500, 16)])
def test_groups_give_the_same_symbols_back(coder, count, groups):
    header, symbols = sample(count, seed=3, width=300, height=200, radius=True, groups=groups)
    header = replace(header, coder=coder)
    data = bitstream.write(header, symbols)
    found, got = bitstream.read(data)
    assert found == header
    order = encode_payload(header, symbols).order
    assert np.array_equal(rows_of(got), rows_of(symbols)[order])
    expected = color_classes(symbols, header.width, header.height, header.quantizer)
    assert np.array_equal(got.classes, expected[order])
    assert bitstream.write(found, got) == data
    assert [c[4:7] for c in chunks_of(data)] == [b"GRP"] * groups


def test_the_number_of_threads_changes_nothing():
    header, symbols = sample(3000, seed=4, width=300, height=200, groups=5)
    one, three = (encode_payload(header, symbols, threads) for threads in (1, 3))
    assert one.groups == three.groups
    data = bitstream.write(header, symbols)
    first, other = (bitstream.read(data, threads=threads)[1] for threads in (1, 4))
    assert np.array_equal(rows_of(first), rows_of(other))
    assert np.array_equal(first.classes, other.classes)


@CODERS
def test_a_group_knows_nothing_of_the_others(coder):
    header, symbols = sample(300, seed=5, groups=3)
    header = replace(header, coder=coder)
    before = chunks_of(bitstream.write(header, symbols))
    order = encode_payload(header, symbols).order
    symbols.log_tau[order[100:200]] = 7
    symbols.color[order[100:200]] += 3
    symbols.angle[order[100:200]] = 0
    after = chunks_of(bitstream.write(header, symbols))
    assert [a == b for a, b in zip(before, after)] == [True, False, True]


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 3), st.integers(0, 200), st.integers(1, 255), st.booleans())
def test_damage_below_the_checksum_is_an_error_or_sites_in_order(number, at, flip, zstd):
    header, symbols = sample(60, seed=7, groups=4)
    chunks = chunks_of(bitstream.write(header, symbols, coder="zstd" if zstd else "range"))
    content = bytearray(chunks[number][8:-4])
    content[at % len(content)] ^= flip
    chunks[number] = pack_chunk(chunks[number][4:8], bytes(content))
    data = bitstream.write(header, symbols)[:46] + b"".join(chunks)
    try:
        _, got = bitstream.read(data)
    except BitstreamError:
        return
    cells = header.quantizer.grid_size(header.width, header.height)
    keys = [key_of(x, y, cells) for x, y in zip(got.x.tolist(), got.y.tolist())]
    assert keys == sorted(keys)
    assert got.x.min() >= 0
    assert got.x.max() < cells[0]
    assert got.y.max() < cells[1]


def test_the_file_size_is_known_before_the_file():
    header, symbols = sample(200, groups=4)
    payload = encode_payload(header, symbols)
    assert len(bitstream.write(header, symbols)) == bitstream.file_size(header, payload)


def test_there_are_no_empty_groups():
    header, symbols = sample(5, groups=9)
    data = bitstream.write(header, symbols)
    assert bitstream.inspect(data).groups == 5
    assert np.array_equal(
        np.sort(rows_of(bitstream.read(data)[1]), axis=0), np.sort(rows_of(symbols), axis=0)
    )


def test_small_files_have_one_group_unless_asked():
    _, symbols = sample(4)
    quantizer = replace(sample(4)[0].quantizer, groups=AUTOMATIC_GROUPS)
    assert [quantizer.group_count(n) for n in (1, 1 << 16, (1 << 17) - 1)] == [1, 1, 1]
    assert [quantizer.group_count(n) for n in (1 << 17, 3 << 20, 1 << 24)] == [-1536, -1573, -8389]
    assert len(symbols) == 4


def test_colours_for_other_groups_are_refused():
    """The groups decide the step classes: symbols cannot be regrouped as they are."""
    header, symbols = sample(300, seed=6)
    _, read = bitstream.read(bitstream.write(header, symbols))
    regrouped = replace(header, quantizer=replace(header.quantizer, groups=4))
    with pytest.raises(OptionError, match="other steps"):
        bitstream.write(regrouped, read)
    bitstream.write(header, read)


def test_targets_count_the_groups():
    image = load("chelsea.png")[60:140, 80:200]
    options = {"size": 2500, "effort": 1, "backend": "cpu", "threads": 1}
    data = sadcodec.encode(image, groups=3, **options)
    assert sadcodec.info(data).groups == 3
    assert 0.99 * 2500 <= len(data) <= 2500
    whole = sadcodec.encode(image, **options)
    assert sadcodec.info(whole).groups == 1
    assert whole == sadcodec.encode(image, groups=1, **options)

    def error(data: bytes) -> float:
        return float(np.mean((sadcodec.decode(data).astype(float) - image) ** 2))

    assert error(data) < 1.25 * error(whole)


@pytest.mark.parametrize("groups", [0, -1, 257])
def test_impossible_numbers_of_groups_are_refused(groups):
    with pytest.raises(OptionError, match="groups"):
        sadcodec.encode(np.zeros((4, 4), np.uint8), groups=groups, backend="cpu")


def test_the_benchmark_recodes_the_same_sites(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parent.parent / "benchmarks")
    benchmark = importlib.import_module("groups")
    image = load("coffee.png")[96:128, 112:160]
    rows = list(benchmark.measure([image], [2.0], effort=1, threads=1))
    assert [row.groups for row in rows[::2]] == list(benchmark.GROUPS)
    for coder in bitstream.CODERS:
        sizes = [row.bytes for row in rows if row.coder == coder]
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0] + 15 * 30
    assert np.ptp([row.psnr for row in rows]) < 0.5
    assert len(benchmark.table(rows).splitlines()) == 4
