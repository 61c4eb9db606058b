"""Pixels of every supported kind of file pass unchanged; damaged files are refused."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from sadcodec import image_io
from sadcodec.errors import InputError, LimitError, OutputError, SadError

CHANNELS = [1, 2, 3, 4]
DTYPES = [np.uint8, np.uint16]


def random_image(
    channels: int, dtype: type = np.uint8, height: int = 5, width: int = 7
) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(channels).integers(
        0, top, (height, width, channels), dtype, endpoint=True
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def plain_png(
    image: np.ndarray,
    color_type: int,
    extra: bytes = b"",
    interlace: int = 0,
    bit_depth: int | None = None,
) -> bytes:
    """A PNG without filters, so that reader and writer are not only tested against each other."""
    height, width = image.shape[:2]
    depth = 8 * image.dtype.itemsize if bit_depth is None else bit_depth
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlace)
    big = image.astype(image.dtype.newbyteorder(">"))
    parts = [big]
    if interlace:
        starts = [
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]
        parts = [big[y::dy, x::dx] for y, x, dy, dx in starts]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    body = (
        chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_png_of_every_kind(channels: int, dtype: type, interlace: int) -> None:
    image = random_image(channels, dtype)
    data = plain_png(image, {1: 0, 2: 4, 3: 2, 4: 6}[channels], interlace=interlace)
    result = image_io.decode_image(data)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("kind", ["png", "pam", "pnm", "tiff", "webp", "bmp", "pgm", "ppm"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_lossless_formats_come_back_or_are_refused(channels: int, dtype: type, kind: str) -> None:
    image = random_image(channels, dtype)
    holds_16 = kind in ("png", "pam", "pnm", "pgm", "ppm") or (kind == "tiff" and channels == 1)
    only = {"pgm": 1, "ppm": 3}.get(kind, channels)
    no_alpha = kind == "bmp" and channels in (2, 4)
    if only != channels or no_alpha or (dtype == np.uint16 and not holds_16):
        with pytest.raises(OutputError):
            image_io.encode_image(image, kind)
        return
    result = image_io.decode_image(image_io.encode_image(image, kind))
    assert result.dtype == dtype
    if result.shape[2] != channels:  # WebP has no gray
        assert kind == "webp"
        result = result[:, :, [0, -1][:channels]] if result.shape[2] == 4 else result[:, :, :1]
    np.testing.assert_array_equal(result, image)


def test_16_bit_png_is_read_by_others() -> None:
    """Pillow sees the high bytes of what we write, over several bands of rows."""
    image = random_image(3, np.uint16, 900, 1100)
    with Image.open(io.BytesIO(image_io.encode_image(image, "png"))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), image >> 8)


def test_jpeg_is_close_and_refuses_what_it_cannot_hold() -> None:
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, axis=0) * np.ones(
        3, np.uint8
    )
    result = image_io.decode_image(image_io.encode_image(ramp, "jpeg"))
    assert np.abs(result.astype(int) - ramp).max() <= 3
    for image in (random_image(4), random_image(2), random_image(3, np.uint16)):
        with pytest.raises(OutputError, match=r"write a \.png"):
            image_io.encode_image(image, "jpeg")


def test_palette_bitmap_and_transparent_colours() -> None:
    rgb = Image.fromarray(random_image(3) // 64 * 64)
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    expected = np.asarray(palette.convert("RGB"))
    for kind in ("PNG", "GIF", "BMP"):
        np.testing.assert_array_equal(image_io.decode_image(saved(palette, kind)), expected)
    transparent = image_io.decode_image(saved(palette, "PNG", transparency=0))
    np.testing.assert_array_equal(transparent[:, :, :3], expected)
    np.testing.assert_array_equal(transparent[:, :, 3] == 0, np.asarray(palette) == 0)
    bitmap = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    for kind in ("PNG", "PPM", "TIFF"):
        result = image_io.decode_image(saved(Image.fromarray(bitmap).convert("1"), kind))
        np.testing.assert_array_equal(result[:, :, 0], bitmap)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_colour_becomes_alpha(channels: int, dtype: type) -> None:
    image = random_image(channels, dtype)
    image[2, 3] = image[4, 1] = (7 << 8 if dtype == np.uint16 else 7) + np.arange(channels)
    tail = chunk(b"tRNS", struct.pack(f">{channels}H", *image[2, 3].tolist()))
    result = image_io.decode_image(plain_png(image, {1: 0, 3: 2}[channels], tail))
    np.testing.assert_array_equal(result[:, :, :channels], image)
    alpha = np.where((image == image[2, 3]).all(axis=2), 0, np.iinfo(dtype).max)
    np.testing.assert_array_equal(result[:, :, channels], alpha)


def test_transparent_gray_below_8_bits() -> None:
    packed = np.array([[0b00011011]], np.uint8)  # 2 bits a pixel: 0, 1, 2, 3
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"\0" + packed.tobytes()))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"tRNS", b"\0\2") + rows + chunk(b"IEND", b"")
    result = image_io.decode_image(data)
    np.testing.assert_array_equal(result[0], [[0, 255], [85, 255], [170, 0], [255, 255]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_pnm_with_comments_and_other_maxima(dtype: type) -> None:
    maximum = 15 if dtype == np.uint8 else 1023
    body = np.array([0, 1, maximum], dtype).astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    full = np.iinfo(dtype).max
    for header in (f"P5 # gray\n3\n# a comment\n1 {maximum}\n", f"P5\n3 1 {maximum} "):
        result = image_io.decode_image(header.encode() + body)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result[0, :, 0], [0, round(full / maximum), full])


@pytest.mark.parametrize("kind", ["png", "pam", "ppm"])
def test_cut_files_are_refused_at_every_length(kind: str) -> None:
    data = image_io.encode_image(random_image(3), kind)
    for length in range(len(data)):
        with pytest.raises(InputError) as caught:
            image_io.decode_image(data[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flipped_bytes_of_a_png_are_refused(dtype: type) -> None:
    data = image_io.encode_image(random_image(3, dtype), "png")
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        with pytest.raises(SadError):
            image_io.decode_image(bytes(damaged))


def test_damaged_files_of_other_kinds_raise_nothing_but_our_errors() -> None:
    picture = Image.fromarray(random_image(3, height=16, width=16))
    random = np.random.default_rng(0)
    for kind in ("JPEG", "WEBP", "TIFF", "BMP", "GIF", "QOI", "TGA"):
        data = saved(picture, kind)
        for _ in range(150):
            damaged = bytearray(data[: random.integers(1, len(data) + 1)])
            for at in random.integers(0, min(len(damaged), 120), 3):
                damaged[at] = random.integers(256)
            with contextlib.suppress(SadError):
                assert image_io.decode_image(bytes(damaged), max_pixels=1 << 20).ndim == 3


@pytest.mark.parametrize(
    "data",
    [b"", b"this is text, not pixels\n" * 9, b"\x89PNG\r\n\x1a\n", b"P6", b"P7\n", b"<svg/>"],
)
def test_what_is_not_an_image(data: bytes) -> None:
    with pytest.raises(InputError):
        image_io.decode_image(data)


def test_unsupported_kinds_are_named() -> None:
    frames = [Image.fromarray(random_image(3) // (i + 1)) for i in range(2)]
    cases = {
        "CMYK": saved(Image.new("CMYK", (4, 4)), "JPEG"),
        "floating-point": saved(Image.new("F", (4, 4)), "TIFF"),
        "^CMYK": saved(Image.new("CMYK", (4, 4)), "TIFF"),
        "^floating-point": saved(Image.new("F", (4, 4)), "PPM"),
        "32-bit": saved(Image.new("I", (4, 4)), "TIFF"),
        "animations": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "multi-page": saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "plain text": b"P3 1 1 65535 1 2 3\n",
    }
    for word, data in cases.items():
        with pytest.raises(InputError, match=word):
            image_io.decode_image(data)


def tiff(image: np.ndarray, order: str = "<", more: dict[int, int] | None = None) -> bytes:
    """A TIFF of one strip; `more` are tags of one number. Compression 8 (zlib) packs the pixels."""
    height, width, channels = image.shape
    pixels = image.astype(image.dtype.newbyteorder(order)).tobytes()
    bits = struct.pack(f"{order}{channels}H", *[8 * image.dtype.itemsize] * channels)
    tags = {256: width, 257: height, 259: 1, 262: 2 if channels > 2 else 1, 277: channels}
    tags |= {278: height} | (more or {})
    pixels = zlib.compress(pixels) if tags[259] == 8 else pixels
    start = 10 + 12 * (len(tags) + 3) + 4
    tags |= {273: start + len(bits), 279: len(pixels)}
    fields = {tag: (4, 1, struct.pack(order + "I", value)) for tag, value in tags.items()}
    at = struct.pack(order + "I", start) if len(bits) > 4 else bits.ljust(4, b"\0")
    fields[258] = (3, channels, at)
    head = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(fields))
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, count) + value
        for tag, (kind, count, value) in sorted(fields.items())
    )
    return head + entries + struct.pack(order + "I", 0) + bits + pixels


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff_has_all_its_bits(channels: int, order: str, compression: int) -> None:
    image = random_image(channels, np.uint16)
    more = {259: compression} | ({338: 2} if channels == 4 else {})
    result = image_io.decode_image(tiff(image, order, more))
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, image)


def test_tiff_whose_pixels_would_change_is_refused() -> None:
    deep = random_image(4, np.uint16)
    cases = {
        "plane for each channel": tiff(deep, more={284: 2, 338: 2}),
        "premultiplied": tiff(deep, more={338: 1}),
        "white as zero": tiff(deep[:, :, :1].copy(), more={262: 0}),
        "3 channels of 32 floating-point bits": tiff(
            deep[:, :, :3].astype(np.float32), more={339: 3}
        ),
        "2 channels of 16 bits": tiff(deep[:, :, :2].copy(), more={338: 2}),
        "of an unknown kind": b"II*\0" + bytes(range(60)),
    }
    for words, data in cases.items():
        with pytest.raises(InputError, match=words):
            image_io.decode_image(data)


def test_pixel_limits_hold_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain_png(random_image(3), 2)
    for limited in (
        data,
        image_io.encode_image(random_image(3), "ppm"),
        image_io.encode_image(random_image(3), "pam"),
    ):
        assert image_io.decode_image(limited, max_pixels=35).shape == (5, 7, 3)
        with pytest.raises(LimitError, match="7 x 5"):
            image_io.decode_image(limited, max_pixels=34)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17)
    with pytest.raises(LimitError, match="Pillow"):
        image_io.decode_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow warns here, and must not be heard
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_io.decode_image(data).shape == (5, 7, 3)


@pytest.mark.parametrize("name", ["a", "a.", "a.sad", "png", "a.png.txt"])
def test_unknown_suffixes(name: str) -> None:
    with pytest.raises(OutputError, match=r"one of \.png"):
        image_io.format_of(name)


def test_suffixes() -> None:
    assert [image_io.format_of(name) for name in ("-", "a.PNG", "b.c/d.jpg", "x.tif")] == [
        "png",
        "png",
        "jpeg",
        "tiff",
    ]
    assert {image_io.format_of(f"a.{kind}") for kind in image_io.FORMATS} == set(image_io.FORMATS)
