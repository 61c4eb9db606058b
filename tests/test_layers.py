"""Layers: the order of keys starts again, and the first of them draw a picture of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import load
from golden_files import FOLDER
from symbol_samples import rows_of, sample

import sadcodec
from sadcodec import bitstream
from sadcodec.backends.cpu import CpuBackend
from sadcodec.bitstream import color_classes, encode_payload
from sadcodec.bitstream.region import key_of
from sadcodec.codec import encode_with_report
from sadcodec.decoding import decode_with_report
from sadcodec.diagram import open_diagram
from sadcodec.errors import BitstreamError, DamageWarning, OptionError
from sadcodec.layering import layer_ends
from sadcodec.metrics import psnr
from sadcodec.pixels import code_values
from sadcodec.sites import Sites

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
    with pytest.raises(OptionError, match="3 layers of sites, and groups for 2"):
        bitstream.write(header, replace(symbols, layer=(np.arange(30) % 3).astype(np.int32)))


FAST = {"effort": 1, "backend": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return load("coffee.png")[80:176, 100:228]


@pytest.fixture(scope="module")
def progressive(picture) -> bytes:
    return sadcodec.encode(picture, size=1500, progressive=4, **FAST)


def test_a_progressive_file_meets_its_size_and_gains_with_every_layer(picture, progressive):
    assert 0.99 * 1500 <= len(progressive) <= 1500
    whole = sadcodec.encode(picture, size=1500, **FAST)
    layers = sadcodec.info(progressive).layers
    assert [layer.groups for layer in layers] == [1] * 4
    ends = np.cumsum([layer.sites for layer in layers])
    np.testing.assert_allclose(ends[:-1] / ends[1:], 0.4, atol=0.15)  # some were removed
    scores = [psnr(picture, sadcodec.decode(progressive, layers=n)) for n in range(1, 5)]
    assert scores == sorted(scores)
    assert scores[-1] > psnr(picture, sadcodec.decode(whole)) - 2.5  # so few sites suffer most
    assert scores[-1] == psnr(picture, sadcodec.decode(progressive))


def test_layers_by_importance_are_better_than_others(picture, progressive):
    """Of the same size; the chance of the draw is far below the difference."""
    diagram = open_diagram(progressive, threads=1)
    params, height, width = diagram.sites.params, *picture.shape[:2]
    count = sadcodec.info(progressive).layers[0].sites + sadcodec.info(progressive).layers[1].sites
    kept = np.sort(np.random.default_rng(1).permutation(len(params))[:count])
    drawn = CpuBackend(1).render(Sites(params[kept]), width, height, diagram.k)
    mine = psnr(picture, sadcodec.decode(progressive, layers=2))
    assert mine > psnr(picture, code_values(drawn, 8)) + 1.0


def test_the_first_layers_draw_their_sites(progressive):
    diagram = open_diagram(progressive, threads=1)
    end = 0
    for count, layer in enumerate(sadcodec.info(progressive).layers, 1):
        end += layer.sites
        drawn, report = decode_with_report(progressive[: layer.end], layers=count, threads=1)
        sites = Sites(diagram.sites.params[:end])
        other = CpuBackend(1).render(sites, diagram.width, diagram.height, diagram.k)
        np.testing.assert_array_equal(drawn, code_values(other, 8))
        first = report.first_layers
        assert (first.layers, first.all_layers) == (count, 4)
        assert (first.sites, first.all_sites) == (end, len(diagram.sites))
        opened = open_diagram(progressive, layers=count, threads=1)
        np.testing.assert_array_equal(opened.picture(), drawn)
        region = (10, 20, 50, 30)
        part = sadcodec.decode(progressive, layers=count, region=region, threads=1)
        np.testing.assert_array_equal(part, drawn[20:50, 10:60])


def test_a_cut_file_is_an_error_unless_asked_for(progressive):
    layers = sadcodec.info(progressive).layers
    for cut in (layers[1].end, layers[2].end - 5):
        with pytest.raises(BitstreamError, match="file ends"):
            sadcodec.decode(progressive[:cut])
        with pytest.warns(DamageWarning) as told:
            repaired = sadcodec.decode(progressive[:cut], repair=True)
        assert any("of layer 4 are lost" in str(warning.message) for warning in told)
        np.testing.assert_array_equal(repaired, sadcodec.decode(progressive, layers=2))


def test_layers_go_with_the_other_targets_and_options(picture):
    small = picture[:40, :56]
    for options in ({"psnr": 27.0}, {"quality": 60.0}, {"sites": 60}, {"size": 700, "groups": 2}):
        data, report = encode_with_report(small, progressive=2, **FAST, **options)
        assert report.warning is None
        layers = sadcodec.info(data).layers
        assert len(layers) == 2
        assert [layer.groups for layer in layers] == [options.get("groups", 1)] * 2
        assert data == sadcodec.encode(small, progressive=2, **FAST, **options)
        if "psnr" in options:
            assert 27.0 <= report.psnr <= 27.05
    data = sadcodec.encode(small, sites=1, progressive=3, **FAST)
    assert sadcodec.info(data).layers == ()
    with pytest.raises(OptionError, match="not progressive"):
        sadcodec.encode_sequence([small], progressive=2, **FAST)
    for wrong in (0, 1, 17):
        with pytest.raises(OptionError, match="progressive must be"):
            sadcodec.encode(small, progressive=wrong, **FAST)
    with pytest.raises(OptionError, match="1000 groups at most"):
        sadcodec.encode(small, progressive=5, groups=201, **FAST)
    with pytest.raises(OptionError, match="layers"):
        sadcodec.decode(data, layers=1, repair=True)


def test_few_sites_make_few_layers():
    assert layer_ends(1000, 4) == [64, 160, 400, 1000]
    assert layer_ends(3, 4) == [1, 3]
    assert layer_ends(1, 4) == [1]
    assert layer_ends(7, 16) == [1, 2, 7]


def test_a_composition_has_no_layers():
    data = (FOLDER / "compositions" / "colored.sad").read_bytes()
    with pytest.raises(OptionError, match="no layers of sites"):
        sadcodec.decode(data, layers=1)
