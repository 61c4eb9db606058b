"""Compact groups whose models start from a table of the file: bytes, regions, threads, repair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import load
from symbol_samples import rows_of, sample

import sadcodec
from sadcodec import bitstream
from sadcodec.bitstream import encode_payload
from sadcodec.errors import BitstreamError
from sadcodec.quantize import dequantize, quantize


@pytest.fixture(scope="module")
def fitted():
    """Header and sites of a photograph in 2600 sites."""
    image = np.ascontiguousarray(load("coffee.png")[:240, :240])
    data = sadcodec.encode(image, sites=2600, effort=1, backend="cpu", threads=1)
    header, symbols = bitstream.read(data)
    return header, dequantize(symbols, 240, 240, header.quantizer)


def payload_of(fitted, groups: int, threads: int = 1):
    header, sites = fitted
    header = replace(header, quantizer=replace(header.quantizer, groups=groups))
    symbols = quantize(sites, 240, 240, header.quantizer)
    return header, symbols, encode_payload(header, symbols, threads)


def test_small_groups_take_fewer_bytes_than_those_that_start_from_nothing(fitted):
    *_, modelled = payload_of(fitted, -150)
    *_, plain = payload_of(fitted, len(modelled.groups))
    *_, single = payload_of(fitted, 1)
    assert modelled.models
    assert not plain.models
    # The table alone takes 2 KB, which so few sites do not pay for.
    assert len(single.data) < len(modelled.data) < 0.98 * len(plain.data)
    assert 15 < len(modelled.groups) < 40
    assert max(fields.sites for fields, _ in modelled.groups) <= 150


def test_sites_come_back_with_any_number_of_threads(fitted):
    header, symbols, payload = payload_of(fitted, -150, threads=2)
    data = bitstream.write(header, symbols)
    assert len(data) == bitstream.file_size(header, payload)
    for threads in (1, 2):
        got, read = bitstream.read(data, threads=threads)
        np.testing.assert_array_equal(rows_of(read), rows_of(symbols)[payload.order])
        assert got.models == payload.models
        assert bitstream.write(got, read) == data


def test_groups_are_runs_between_round_keys(fitted):
    """Of 2 x 2 dense clusters, none shares a group with another."""
    header, symbols = sample(400, seed=3, width=256, height=256, step_position=1024, groups=-100)
    corner = np.arange(400) % 4
    x = (40 * (corner % 2) + 180 * (corner % 2) + symbols.x % 30).astype(np.int32)
    y = (220 * (corner // 2) + symbols.y % 30).astype(np.int32)
    symbols = replace(symbols, x=x, y=y, classes=None)
    classes = bitstream.color_classes(symbols, 256, 256, header.quantizer)
    payload = encode_payload(header, replace(symbols, classes=classes))
    assert [fields.sites for fields, _ in payload.groups] == [100] * 4


def test_damage_to_the_table_leaves_nothing_to_draw():
    header, symbols = sample(200, seed=8, groups=-40)
    data = bytearray(bitstream.write(header, symbols))
    chunk = next(c for c in bitstream.inspect(bytes(data)).chunks if c.type == "MODL")
    data[chunk.offset + 30] ^= 4
    for read in (bitstream.read, bitstream.salvage):
        with pytest.raises(BitstreamError, match=f"chunk MODL at byte {chunk.offset}"):
            read(bytes(data))
