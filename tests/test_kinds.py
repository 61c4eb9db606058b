"""Every kind of image goes into a file and comes back: format, channels, depth, palette, size."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from conftest import load
from PIL import Image

import sadcodec
from sadcodec import image_io, metrics

HEIGHT, WIDTH = 15, 21
CODED = {"effort": 1, "threads": 1, "backend": "cpu", "sites": 40}


def picture(channels: int, depth: int = 8) -> np.ndarray:
    """The rim of a cup; alpha is a ramp."""
    rgb = load("coffee.png")[100 : 100 + HEIGHT, 120 : 120 + WIDTH]
    alpha = np.linspace(0, 255, WIDTH).astype(np.uint8)[:, None]
    color = rgb if channels > 2 else rgb[:, :, 1:2]
    image = np.dstack([color, np.broadcast_to(alpha, (HEIGHT, WIDTH, 1))])[:, :, :channels]
    image = np.ascontiguousarray(image)
    return image if depth == 8 else image * np.uint16(257) - np.uint16(3) * (image > 0)


def ours(kind: str, channels: int, depth: int = 8) -> Callable[[], bytes]:
    return lambda: image_io.encode_image(picture(channels, depth), kind)


def pillows(kind: str, mode: str, **options: object) -> Callable[[], bytes]:
    """A file of one of Pillow's modes: "P" is a palette, "1" has one bit a pixel."""

    def write() -> bytes:
        source = picture(2 if mode == "LA" else 4 if mode in ("RGBA", "PA") else 3)
        image = Image.fromarray(source).convert("P" if mode == "PA" else mode)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return write


def bits_of_png(bits: int) -> bytes:
    """A gray PNG of fewer bits."""
    levels = picture(1)[:, :, 0] >> (8 - bits)
    places = np.unpackbits(levels[:, :, None], axis=2)[:, :, 8 - bits :]
    rows = np.packbits(places.reshape(HEIGHT, -1), axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def deep_tiff(channels: int) -> bytes:
    from test_image_io import tiff

    return tiff(picture(channels, 16), more={338: 2} if channels == 4 else {})


# What a file is, how it is made, and channels and bits that it has for us.
KINDS: dict[str, tuple[Callable[[], bytes], int, int]] = {
    **{f"png {c} x {d}": (ours("png", c, d), c, d) for c in (1, 2, 3, 4) for d in (8, 16)},
    **{f"pam {c} x {d}": (ours("pam", c, d), c, d) for c in (1, 2, 3, 4) for d in (8, 16)},
    **{f"pgm x {d}": (ours("pgm", 1, d), 1, d) for d in (8, 16)},
    **{f"ppm x {d}": (ours("ppm", 3, d), 3, d) for d in (8, 16)},
    **{f"tiff {c}": (ours("tiff", c), c, 8) for c in (1, 2, 3, 4)},
    **{f"tiff {c} x 16": (lambda c=c: deep_tiff(c), c, 16) for c in (1, 3, 4)},
    "jpeg gray": (pillows("jpeg", "L"), 1, 8),
    "jpeg": (pillows("jpeg", "RGB"), 3, 8),
    "webp": (pillows("webp", "RGB", lossless=True), 3, 8),
    "webp alpha": (pillows("webp", "RGBA", lossless=True), 4, 8),
    **{f"{kind} palette": (pillows(kind, "P"), 3, 8) for kind in ("png", "gif", "tiff", "bmp")},
    "png palette and alpha": (pillows("png", "P", transparency=0), 4, 8),
    **{f"{kind} 1 bit": (pillows(kind, "1"), 1, 8) for kind in ("png", "tiff", "bmp", "ppm")},
    **{f"png {bits} bits": (lambda bits=bits: bits_of_png(bits), 1, 8) for bits in (1, 2, 4)},
    "bmp": (pillows("bmp", "RGB"), 3, 8),
    "qoi": (pillows("qoi", "RGBA"), 4, 8),
    "tga": (pillows("tga", "RGB"), 3, 8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_comes_back_as_it_was(kind: str) -> None:
    make, channels, depth = KINDS[kind]
    image = image_io.decode_image(make())
    dtype = np.uint16 if depth == 16 else np.uint8
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, channels), dtype)
    decoded = sadcodec.decode(sadcodec.encode(image, **CODED))
    assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
    dithered = "1 bit" in kind or "palette" in kind
    assert metrics.psnr(image, decoded) > (10 if dithered else 24)
    if depth == 16:  # more than 8 bits repeated
        assert len(np.unique(decoded)) > 256
    for name in ("png", "pam"):
        again = image_io.decode_image(image_io.encode_image(decoded, name))
        np.testing.assert_array_equal(again, decoded)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("size", [(1, 1), (1, 15), (13, 1), (2, 3), (5, 7)])
def test_odd_sizes_and_fewer_pixels_than_a_pixel_blends_sites(
    size: tuple[int, int], depth: int, channels: int
) -> None:
    image = picture(channels, depth)[: size[0], -size[1] :]
    decoded = sadcodec.decode(sadcodec.encode(image, **CODED))
    assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
    assert metrics.psnr(image, decoded) > 27
    if depth == 8:
        small = sadcodec.encode(image, **CODED | {"sites": None, "size": 90})
        assert sadcodec.decode(small).shape == image.shape


def test_an_image_that_is_not_seen_at_all() -> None:
    image = picture(4)
    image[:, :, 3] = 0
    decoded = sadcodec.decode(sadcodec.encode(image, **CODED))
    assert not decoded[:, :, 3].any()
