"""Layers: the order of keys starts again, and the first of them draw a picture of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from symbol_samples import rows_of, sample

from sadcodec import bitstream
from sadcodec.bitstream import color_classes, encode_payload
from sadcodec.bitstream.region import key_of
from sadcodec.errors import BitstreamError, OptionError

CODERS = pytest.mark.parametrize("coder", bitstream.CODERS)


def keys_of(header, symbols) -> list[int]:
    cells = header.quantizer.grid_size(header.width, header.height)
    return [key_of(x, y, cells) for x, y in zip(symbols.x.tolist(), symbols.y.tolist())]


@CODERS
@pytest.mark.parametrize("layers", [(1, 1), (1, 3, 2), (1,) * 30])
def test_layers_give_the_same_symbols_back(coder, layers):
    header, symbols = sample(300, seed=3, radius=True, layers=layers)
    header = replace(header, coder=coder)
    data = bitstream.write(header, symbols)
    found, got = bitstream.read(data, threads=2)
    assert found == replace(header, quantizer=replace(header.quantizer, groups=sum(layers)))
    payload = encode_payload(header, symbols)
    assert np.array_equal(rows_of(got), rows_of(symbols)[payload.order])
    assert np.array_equal(got.layer, np.sort(symbols.layer))
    expected = color_classes(symbols, header.width, header.height, header.quantizer)
    assert np.array_equal(got.classes, expected[payload.order])
    assert bitstream.write(found, got) == data
    assert len(data) == bitstream.file_size(header, payload)
    for number in range(len(layers)):
        keys = keys_of(header, got.take(np.flatnonzero(got.layer == number)))
        assert keys == sorted(keys)
    info = bitstream.inspect(data)
    assert [layer.groups for layer in info.layers] == list(layers)
    assert sum(layer.sites for layer in info.layers) == 300
    assert info.layers[-1].end == len(data)
    assert info.chunks[0].type == "LAYR"


@CODERS
def test_a_layer_is_read_without_what_follows_it(coder):
    header, symbols = sample(90, seed=4, layers=(1, 2, 1))
    data = bitstream.write(replace(header, coder=coder), symbols)
    _, whole = bitstream.read(data)
    layers = bitstream.read_layers(data)
    assert [(layer.number, layer.sites) for layer in layers] == [(0, 30), (1, 30), (2, 30)]
    for count, layer in enumerate(bitstream.inspect(data).layers, 1):
        for cut in (data[: layer.end], data[: layer.end] + b"junk", data):
            found, got = bitstream.read(cut, layers=count)
            assert found.site_count == len(got) == 30 * count
            assert np.array_equal(rows_of(got), rows_of(whole)[: 30 * count])
            assert np.array_equal(got.classes, whole.classes[: 30 * count])
        with pytest.raises(BitstreamError, match="the file ends inside it"):
            bitstream.read(data[: layer.end - 1], layers=count)
        if count < 3:
            with pytest.raises(BitstreamError, match="file ends before the other groups"):
                bitstream.read(data[: layer.end])


def test_damage_within_the_layers_that_are_read_is_an_error():
    header, symbols = sample(90, seed=4, layers=(1, 2, 1))
    data = bitstream.write(header, symbols)
    end = bitstream.inspect(data).layers[1].end
    for at in range(end):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(BitstreamError):
            bitstream.read(changed, layers=2)


@pytest.mark.parametrize("layers", [0, -1, 4])
def test_layers_that_a_file_does_not_have_are_refused(layers):
    header, symbols = sample(30, layers=(1, 1, 1))
    with pytest.raises(OptionError, match="the file has 3 layers"):
        bitstream.read(bitstream.write(header, symbols), layers=layers)


def test_a_file_without_layers_is_one_layer():
    header, symbols = sample(30, groups=3)
    data = bitstream.write(header, symbols)
    assert [layer.sites for layer in bitstream.read_layers(data)] == [30]
    assert bitstream.inspect(data).layers == ()
    assert len(bitstream.read(data, layers=1)[1]) == 30
    with pytest.raises(OptionError, match="the file has no layers"):
        bitstream.read(data, layers=2)


def test_repair_finds_what_is_left_of_every_layer():
    header, symbols = sample(120, seed=5, layers=(1, 3, 2))
    data = bitstream.write(header, symbols)
    _, whole = bitstream.read(data)
    chunks = bitstream.inspect(data).chunks[1:]
    for lost in range(6):
        at = chunks[lost].offset + 20
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        _, got, report = bitstream.salvage(changed)
        (run,) = report.lost
        left = np.r_[0 : run.first, run.first + run.count : 120]
        assert np.array_equal(rows_of(got), rows_of(whole)[left])
        assert run.layer == (0, 1, 1, 1, 2, 2)[lost]
        boxes = np.array(run.boxes)
        gone = whole.take(np.arange(run.first, run.first + run.count))
        px = np.column_stack([gone.x, gone.y]) * header.quantizer.step_position / 1024
        inside = (boxes[:, None, :2] <= px + 1) & (px < boxes[:, None, 2:])
        assert inside.all(axis=2).any(axis=0).all()
    _, got, report = bitstream.salvage(data[: chunks[2].offset + 9])
    assert len(got) == 40 + 13
    assert [(run.layer, run.count) for run in report.lost] == [(1, 27), (2, 40)]


def test_without_its_layers_a_file_is_repaired_from_the_first():
    header, symbols = sample(120, seed=5, layers=(2, 3))
    data = bytearray(bitstream.write(header, symbols))
    data[bitstream.inspect(bytes(data)).chunks[0].offset + 9] ^= 1
    with pytest.raises(BitstreamError, match="chunk LAYR"):
        bitstream.read(bytes(data))
    _, got, report = bitstream.salvage(bytes(data))
    assert len(got) >= 60
    assert "chunk LAYR at byte 46: does not match its checksum" in report.messages()[0]


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ((3,), "1 layers"),
        ((1001, 1), "layers"),
        ((1, -(1 << 25)), "groups is -33554432"),
        ((1,) * 1001, "layers"),
    ],
)
def test_layers_that_cannot_be_written(layers, problem):
    with pytest.raises(OptionError, match=problem):
        sample(30, layers=layers)


def test_layers_and_sites_must_fit_together():
    header, symbols = sample(30, layers=(1, 1))
    for other in (None, np.zeros(30, np.int32), np.full(30, 2, np.int32)):
        with pytest.raises(OptionError, match="layer"):
            bitstream.write(header, replace(symbols, layer=other))
    single = replace(header, quantizer=replace(header.quantizer, layers=()))
    with pytest.raises(OptionError, match="other layers"):
        bitstream.write(single, symbols)
