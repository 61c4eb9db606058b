"""Compositions as files: symbols, templates, frames, parts and sizes; damage and limits."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from bad_files import raw_chunk
from compositions import drawn_templates, random_composition
from golden_files import COMPOSITIONS, FOLDER
from PIL import Image

import sadcodec
from sadcodec import bitstream
from sadcodec.bitstream import PrimitiveQuantizer, open_composition, write_composition
from sadcodec.compose import drawing, stored
from sadcodec.compose.composition import ANGLE, COLOR, OPACITY, R, X, Y
from sadcodec.errors import BitstreamError, LimitError, OptionError

FINE = PrimitiveQuantizer(16, 4, 16, 4095, 4095)
MASK = stored.template_file(drawn_templates()[0], color=False)


def golden(name: str) -> bytes:
    return (FOLDER / "compositions" / f"{name}.sad").read_bytes()


def rows_of(count: int, seed: int, quantizer: PrimitiveQuantizer = FINE) -> np.ndarray:
    """Any symbols, the extreme ones among them."""
    random = np.random.default_rng(seed)
    directions = bitstream.primitive_directions(quantizer)
    most = [*quantizer.grid(60, 40), len(directions), 1, quantizer.opacity_levels + 1]
    rows = random.integers(0, [*most, *[quantizer.color_levels + 1] * 3], (count, 8))
    rows[0], rows[-1] = 0, np.array([*most, *[quantizer.color_levels + 1] * 3]) - 1
    rows[:, 3] = random.integers(0, directions[rows[:, 2]])
    return rows.astype(np.int32)


@pytest.mark.parametrize("quantizer", [FINE, PrimitiveQuantizer(), PrimitiveQuantizer(9, 1024, 9)])
@pytest.mark.parametrize("count", [2, 300])
def test_symbols_come_back(quantizer: PrimitiveQuantizer, count: int):
    first, other = (rows_of(count, seed, quantizer) for seed in (0, 1))
    near = first.copy()
    near[::3, 5:] = np.maximum(near[::3, 5:] - 1, 0)
    turned = near.copy()
    turned[:, 3] = (near[:, 3] + 1) % bitstream.primitive_directions(quantizer)[near[:, 2]]
    frames = [first, near, near, turned, other, other[:1]]
    file = open_composition(write_composition(60, 40, frames, [MASK], quantizer))
    assert file is not None
    for decoded, rows in zip(file.frames(), frames, strict=True):
        np.testing.assert_array_equal(decoded.rows, rows)
    np.testing.assert_array_equal(file.frame(3).rows, turned)
    assert not file.keys[2]
    assert file.keys[0]
    assert file.keys[5]
    if count == 300:  # nothing changed: a few bits for each run of primitives
        assert file.lengths[2] < 20
        assert file.frame(0).bits.sum() / 8 == pytest.approx(file.lengths[0] - 8, abs=4)


def test_parameters_are_rounded_to_half_a_step():
    given = random_composition(200, 90, 60, largest=30)
    q = PrimitiveQuantizer()
    rows = stored.quantized(given, q)
    params = stored.dequantized(rows, q, 90, 60)
    error = np.abs(params - given.params)
    assert error[:, [X, Y]].max() <= q.step_position / 2048 + 1e-5
    octaves = np.abs(np.log2(params[:, R] / given.params[:, R]))
    assert octaves.max() <= q.step_log_radius / 2048 + 1e-5
    turn = np.abs(np.exp(1j * params[:, ANGLE]) - np.exp(1j * given.params[:, ANGLE]))
    far = params[:, R] > 1
    assert (turn * params[:, R])[far].max() <= 1.1 * q.step_arc / 2048
    for columns, levels in ((OPACITY, q.opacity_levels), (slice(COLOR, None), q.color_levels)):
        shares = [1 / (1 + np.exp(-p[:, columns])) for p in (params, given.params)]
        assert np.abs(shares[0] - shares[1]).max() <= 0.5 / levels + 1e-4


def test_a_file_of_fine_steps_draws_what_was_composed():
    for blend, background in ((0.0, True), (0.7, True), (0.4, False)):
        given = random_composition(20, blend=blend, background=background)
        picture = sadcodec.decode(stored.pack([given], FINE), threads=1)
        wanted = drawing.draw(given, threads=1)
        assert picture.shape == (38, 45, 3 if background else 4)
        seen = slice(None) if background else picture[..., 3] > 16
        error = np.abs(picture[seen].astype(int) - wanted[seen])
        assert error.mean() < 0.6  # the most where a hard edge lies a little elsewhere
        assert (error > 4).mean() < 0.02


def test_templates_are_kept_by_the_smallest_file():
    disc, bar, ramp = drawn_templates()
    for template, color in ((disc, True), (disc, False), (bar, True), (ramp, True)):
        data = stored.template_file(template, color=color)
        pixels = stored.template_pixels(data)
        np.testing.assert_array_equal(pixels[..., 3], template[..., 3])
        seen = template[..., 3] > 0
        wanted = template[seen] if color else 255
        np.testing.assert_array_equal(pixels[seen][:, : 4 if color else 3], wanted)
    opaque = np.full_like(disc, 255)
    opaque[..., 1] = 7
    assert np.array_equal(stored.template_pixels(stored.template_file(opaque, color=True)), opaque)
    assert len(stored.template_file(disc, color=False)) < len(
        stored.template_file(disc, color=True)
    )


def test_parts_and_sizes():
    data = golden("colored")
    whole = sadcodec.decode(data)
    part = sadcodec.decode(data, region=(10, 5, 20, 25))
    assert np.abs(part.astype(int) - whole[5:30, 10:30]).max() <= 1
    twice = sadcodec.decode(data, scale=2.0)
    assert twice.shape == (76, 90, 3)
    again = sadcodec.decode(data, region=(10, 5, 20, 25), scale=2)
    assert np.abs(again.astype(int) - twice[10:60, 20:60]).max() <= 1
    means = twice.reshape(38, 2, 45, 2, 3).mean(axis=(1, 3))
    assert np.abs(means - whole).mean() < 4
    assert sadcodec.decode(data, size=(7, 30)).shape == (30, 7, 3)
    for reference in (sadcodec.decode(data, backend="reference"), sadcodec.decode(data, threads=2)):
        assert np.abs(reference.astype(int) - whole).max() <= 1
    with pytest.raises(OptionError, match="not inside of 45 x 38"):
        sadcodec.decode(data, region=(40, 0, 10, 10))


def test_frames():
    data = golden("frames")
    frames = list(sadcodec.decode_frames(data))
    assert len(frames) == 5
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(sadcodec.decode(data, frame=number), frame)
    assert len(list(sadcodec.decode_frames(data, start=3))) == 2
    with pytest.raises(OptionError, match="a sequence of 5 frames: choose one"):
        sadcodec.decode(data)
    with pytest.raises(OptionError, match="there is no frame 5"):
        sadcodec.decode(data, frame=5)
    with pytest.raises(OptionError, match="holds a single picture"):
        sadcodec.decode(golden("masks"), frame=0)
    with pytest.raises(BitstreamError, match="holds a single picture"):
        next(sadcodec.decode_frames(golden("masks")))
    same = [random_composition(3, 20, 20)] * 300
    file = open_composition(stored.pack(same))
    assert file is not None
    assert [number for number, key in enumerate(file.keys) if key] == [0, 256]


def test_pillow_and_repair():
    for name in ("masks", "transparent"):
        wanted = sadcodec.decode(golden(name))
        with Image.open(io.BytesIO(golden(name))) as picture:
            assert picture.size == (45, 38)
            np.testing.assert_array_equal(np.asarray(picture), wanted)
        np.testing.assert_array_equal(sadcodec.decode(golden(name), repair=True), wanted)
    with pytest.raises(BitstreamError):
        sadcodec.decode(golden("masks")[:-1], repair=True)


def read_all(data: bytes) -> None:
    """Read every frame, as one who decodes all does."""
    file = open_composition(data)
    if file is None:
        bitstream.read(data)
    else:
        list(stored.compositions_of(file))


@pytest.mark.parametrize("name", sorted(COMPOSITIONS))
def test_no_damage_is_drawn(name: str):
    data = golden(name)
    for at in range(0, len(data), 5):
        for damaged in (data[:at], data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]):
            with pytest.raises((BitstreamError, LimitError)):
                read_all(damaged)


def changed(data: bytes, at: int, layout: str, value: int) -> bytes:
    """A file whose first chunk has another field, its checksum right."""
    start = 40 + 2 * (data[10] & 7)
    length = int.from_bytes(data[start : start + 4], "little")
    content = bytearray(data[start + 8 : start + 8 + length])
    struct.pack_into(layout, content, at, value)
    return data[:start] + raw_chunk(b"CMPH", bytes(content)) + data[start + 12 + length :]


@pytest.mark.parametrize(
    ("at", "layout", "value", "words"),
    [
        (0, "<H", 0, "out of range"),
        (0, "<H", 4, "another number of templates than stated"),
        (2, "B", 2, "reserved bits are set"),
        (2, "B", 0, "bad header: not that of a composition"),
        (3, "B", 1, "reserved bits are set"),
        (12, "<H", 0, "out of range"),
        (14, "<H", 0, "quantizer field"),
        (16, "<H", 1025, "quantizer field"),
        (22, "<H", 0, "quantizer field"),
        (24, "<I", 99, "not an index|no key frame|frames end"),
        (24, "<I", 1 << 31, "frames end"),
        (22, "<H", 1, "damaged primitives"),
    ],
)
def test_rules_of_the_fields(at: int, layout: str, value: int, words: str):
    with pytest.raises(BitstreamError, match=words):
        sadcodec.decode(changed(golden("colored"), at, layout, value))


def test_what_has_no_background_has_no_colour_of_it():
    data = golden("transparent")
    for at in (4, 6, 8):
        with pytest.raises(BitstreamError, match="reserved bits are set"):
            sadcodec.decode(changed(data, at, "<H", 1))


def test_chunks_before_the_first_frame_are_counted():
    data = golden("one-primitive")
    start = 40 + 2 * (data[10] & 7)
    ancillary = raw_chunk(b"teXt", b"")
    whole = data[:start] + 1023 * ancillary + data[start:]
    assert np.array_equal(sadcodec.decode(whole), sadcodec.decode(data))
    with pytest.raises(LimitError, match="more than 1024 chunks"):
        sadcodec.decode(data[:start] + 1024 * ancillary + data[start:])


def png(width: int = 128, height: int = 128, mode: str = "L", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "png", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (b"", "neither a PNG nor a WebP"),
        (png()[:50] + b"?" + png()[51:], "no whole PNG"),
        (png(64), "has 64 x 128 pixels"),
        (png(mode="P"), "other chunks"),
        (png(mode="RGB"), "of a kind that templates do not have"),
        (png(dpi=(9, 9)), "other chunks"),
        (png() + b"x", "is no whole PNG"),
        (png()[:-12], "is no whole PNG"),
        (png()[:-12] + b"\0\0\0\1IEND!" + zlib.crc32(b"IEND!").to_bytes(4, "big"), "no whole PNG"),
        (b"RIFF" + bytes(40), "no simple lossless WebP"),
        (bytes(1 << 18), "more than 131072 bytes"),
    ],
)
def test_templates_are_checked_before_they_are_decoded(template: bytes, words: str):
    with pytest.raises(OptionError, match=words):
        write_composition(9, 9, [np.zeros((1, 8), np.int32)], [template], PrimitiveQuantizer())


def test_a_template_that_cannot_be_decoded():
    whole = png()
    length = int.from_bytes(whole[33:37], "big")
    pixels = b"IDAT" + b"\xff" * length  # no stream of zlib starts so
    broken = whole[:37] + pixels + zlib.crc32(pixels).to_bytes(4, "big") + whole[45 + length :]
    data = write_composition(9, 9, [np.zeros((1, 8), np.int32)], [broken], FINE)
    with pytest.raises(BitstreamError, match="a template cannot be decoded"):
        sadcodec.decode(data)
    with pytest.raises(BitstreamError, match="a template cannot be decoded"):
        stored.template_pixels(broken)


def test_limits():
    data = golden("masks")
    with pytest.raises(LimitError, match="45 x 38"):
        sadcodec.decode(data, max_pixels=1000)
    with pytest.raises(LimitError, match="90 x 76 pixels exceed the limit of 2000"):
        sadcodec.decode(data, max_pixels=2000, scale=2)
    with pytest.raises(LimitError, match="cover the picture more than 1 times"):
        sadcodec.decode(data, max_work=1)
    assert drawing.default_work(2000, 1 << 16) == 4096
    assert drawing.default_work(0, 1 << 26) == 24
    params = np.zeros((60_000, 8), np.float32)
    params[:, R], params[:, OPACITY] = 400, -9
    heavy = stored.pack([replace(random_composition(1, 99, 99), params=params)])
    assert len(heavy) < 200_000
    with pytest.raises(LimitError, match="60000 primitives cover"):
        sadcodec.decode(heavy)


def test_others_say_what_it_is():
    for use in (bitstream.read, bitstream.inspect, sadcodec.export_sites):
        with pytest.raises(BitstreamError, match="holds a composition of bitmap primitives"):
            use(golden("masks"))


def test_what_cannot_be_packed():
    one = random_composition(2)
    with pytest.raises(OptionError, match="at least one"):
        stored.pack([])
    with pytest.raises(OptionError, match="differ in their primitives alone"):
        stored.pack([one, replace(one, blend=0.5)])
    with pytest.raises(OptionError, match="too large for its position step"):
        stored.pack([replace(one, width=1 << 20)])
