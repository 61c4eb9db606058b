"""PNG where Pillow falls short: strict checks, and 16 bits a channel in colour.

Pillow accepts a file whose last chunks are missing, and keeps the high byte alone of 16-bit colour.
Source: Portable Network Graphics (PNG) Specification, third edition, W3C; the section numbers below
are its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sadcodec.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS_OF_COLOR_TYPE = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # 11.2.1; type 3 is a palette index
COLOR_TYPE_OF_CHANNELS = {1: 0, 2: 4, 3: 2, 4: 6}
_BAND_BYTES = 1 << 22  # rows are filtered in bands of about this size, to bound memory


class PngHeader(NamedTuple):
    """Fields of the IHDR chunk, and the content of tRNS."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    transparent: bytes  # empty when there is no tRNS chunk


def check(data: bytes) -> PngHeader:
    """Walk all chunks of a PNG up to IEND, checking order, lengths and CRCs (sections 5.3 to 5.6).

    Raises
    ------
    InputError
        If the file is cut short or a chunk is damaged.
    """
    at = len(SIGNATURE)
    header: PngHeader | None = None
    while True:
        if at + 12 > len(data):
            raise InputError("PNG is cut short")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise InputError("PNG is cut short")
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise InputError(
                f"PNG is damaged: CRC of chunk {kind.decode('latin-1')!r} does not match"
            )
        body = data[at + 8 : end - 4]
        if header is None:
            header = _header(kind, body)
        elif kind == b"tRNS":
            header = header._replace(transparent=body)
        elif kind == b"IEND":
            return header  # what follows IEND is not part of the picture
        at = end


def _header(kind: bytes, body: bytes) -> PngHeader:
    if kind != b"IHDR" or len(body) != 13:
        raise InputError("PNG does not begin with a header")
    width, height, bit_depth, color_type = struct.unpack_from(">IIBB", body)
    if color_type not in CHANNELS_OF_COLOR_TYPE or width == 0 or height == 0:
        raise InputError("PNG has an invalid header")
    return PngHeader(width, height, bit_depth, color_type, b"")


def encode_16bit(image: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel.

    Parameters
    ----------
    image : uint16 [H, W, C], C = 1..4
    """
    height, width, channels = image.shape
    pixel_bytes = 2 * channels
    rows = (
        np.ascontiguousarray(image, dtype=">u2").view(np.uint8).reshape(height, width * pixel_bytes)
    )
    compressor = zlib.compressobj(6)
    packed = []
    band = max(1, _BAND_BYTES // rows.shape[1])
    for top in range(0, height, band):
        filtered = np.empty((min(band, height - top), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 4  # Paeth in every row: the best single choice for photographs
        filtered[:, 1:] = _paeth_residual(rows, top, top + len(filtered), pixel_bytes)
        packed.append(compressor.compress(filtered.tobytes()))
    packed.append(compressor.flush())
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPE_OF_CHANNELS[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"".join(packed)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)


def with_metadata(data: bytes, metadata: Mapping[str, bytes]) -> bytes:
    """A PNG with metadata, right after its header (sections 11.3.2.3, 11.3.3.1 and 11.3.4).

    Parameters
    ----------
    data : bytes
        A PNG without such chunks.
    metadata : mapping of str to bytes
        "icc_profile", "exif" and "xmp" of `sadcodec.image_io.metadata`.
    """
    at = len(SIGNATURE) + 12 + 13
    chunks = []
    if "icc_profile" in metadata:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata["icc_profile"])))
    if "exif" in metadata:
        chunks.append((b"eXIf", metadata["exif"]))
    if "xmp" in metadata:  # not compressed, as XMP asks for
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata["xmp"]))
    return data[:at] + b"".join(_chunk(kind, body) for kind, body in chunks) + data[at:]


def _paeth_residual(rows: np.ndarray, top: int, bottom: int, pixel_bytes: int) -> np.ndarray:
    """Bytes of rows top..bottom minus their Paeth prediction modulo 256 (section 9.4), uint8."""
    current = rows[top:bottom]
    above = np.zeros_like(current)
    above[1:] = current[:-1]
    if top > 0:
        above[0] = rows[top - 1]
    a = np.zeros(current.shape, np.int16)  # left
    a[:, pixel_bytes:] = current[:, :-pixel_bytes]
    b = above.astype(np.int16)
    c = np.zeros(current.shape, np.int16)  # above left
    c[:, pixel_bytes:] = above[:, :-pixel_bytes]
    to_a = np.abs(b - c)
    to_b = np.abs(a - c)
    to_c = np.abs(a + b - 2 * c)
    prediction = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return current - prediction.astype(np.uint8)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
