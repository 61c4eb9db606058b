"""The fixed header: field table, packing, and the limits checked before anything is allocated."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from sadcodec.errors import BitstreamError, LimitError, OptionError

from .symbols import QuantizerParameters

__all__ = [
    "CODERS",
    "FORMAT_VERSION",
    "MAX_HEADER_BYTES",
    "SIGNATURE",
    "Header",
    "Limits",
    "header_crc",
    "pack_header",
    "unpack_header",
]

# The first byte is not ASCII; CR LF, ^Z and LF break under newline translation and stop `type`.
SIGNATURE = b"\x89SAD\r\n\x1a\n"
FORMAT_VERSION = 1
CODERS = ("range", "zstd")
MAX_GRID = 1 << 19  # cells along one axis of the position grid
MAX_SITES = 1 << 24

# version, flags, pixel format, K, width, height, sites, steps (position, log_tau,
# log_anisotropy, angle, radius), gains (distance, tau); then C colour steps and the CRC.
_FIXED = struct.Struct("<BBBBIII5H2B")
MAX_HEADER_BYTES = len(SIGNATURE) + _FIXED.size + 2 * 7 + 4  # with the most channels it may state
_SIXTEEN_BIT = 0x08
_CHANNELS_MASK = 0x07


@dataclass(frozen=True)
class Limits:
    """What a reader is willing to allocate.

    Parameters
    ----------
    max_pixels : int
        Largest width x height.
    max_side : int
        Largest width, and largest height: float32 knows the pixels' centres up to here.
    max_sites : int
        Largest number of sites.
    max_metadata : int
        Largest size of one unpacked metadata chunk, bytes.
    """

    max_pixels: int = 1 << 28
    max_side: int = 1 << 23
    max_sites: int = MAX_SITES
    max_metadata: int = 1 << 24


@dataclass(frozen=True)
class Header:
    """Everything that is stored outside the site columns.

    Parameters
    ----------
    width, height : int
        Image size, px.
    channels : int, 1..4
        1 gray, 2 gray + alpha, 3 RGB, 4 RGB + alpha.
    bit_depth : int
        8 or 16 bits a channel.
    k : int, 1..16
        Sites blended at a pixel.
    site_count : int, 1..2^24
    quantizer : QuantizerParameters
    flags : int
        All bits are reserved in version 1: must be 0.
    coder : str
        "range" or "zstd". Not a header field: the type of the site chunk says it.
    models : bytes
        Table of what the models of all groups start from; empty without one. Not a header field:
        a chunk says it. Not used to write, which makes a new one.

    Raises
    ------
    OptionError
        If a value lies outside its range.
    """

    width: int
    height: int
    channels: int
    bit_depth: int
    k: int
    site_count: int
    quantizer: QuantizerParameters
    flags: int = 0
    coder: str = "range"
    models: bytes = b""

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise OptionError(problem)


def pack_header(header: Header) -> bytes:
    """Signature, fields and CRC-32 of `header`: 40 + 2 C bytes."""
    quantizer = header.quantizer
    steps = quantizer.as_tuple()
    fields = _FIXED.pack(
        FORMAT_VERSION,
        header.flags,
        header.channels | (_SIXTEEN_BIT if header.bit_depth == 16 else 0),
        header.k,
        header.width,
        header.height,
        header.site_count,
        *steps[:7],
    )
    data = SIGNATURE + fields + struct.pack(f"<{header.channels}H", *steps[7:])
    return data + struct.pack("<I", zlib.crc32(data))


def header_crc(data: bytes) -> int:
    """CRC-32 that the header at the start of `data` states; `data` must hold a whole one."""
    end = len(SIGNATURE) + _FIXED.size + 2 * (data[10] & _CHANNELS_MASK)
    return int.from_bytes(data[end : end + 4], "little")


def unpack_header(data: bytes, limits: Limits) -> tuple[Header, int]:
    """The header at the start of `data`, and the number of bytes it takes.

    Raises
    ------
    BitstreamError
        If it is not a version 1 header, is cut short, or fails its CRC.
    LimitError
        If the image or the number of sites exceeds `limits`.
    """
    if not data.startswith(SIGNATURE):
        raise BitstreamError(_signature_problem(data))
    start = len(SIGNATURE)
    if len(data) < start + _FIXED.size:
        raise BitstreamError("file ends inside the header")
    version, flags, pixel_format, k, width, height, sites, *steps = _FIXED.unpack_from(data, start)
    if version != FORMAT_VERSION:
        raise BitstreamError(f"format version {version} is not supported (this is version 1)")
    channels = pixel_format & _CHANNELS_MASK
    end = start + _FIXED.size + 2 * channels
    if len(data) < end + 4:
        raise BitstreamError("file ends inside the header")
    if zlib.crc32(data[:end]) != int.from_bytes(data[end : end + 4], "little"):
        raise BitstreamError("header does not match its checksum")
    if pixel_format & ~(_CHANNELS_MASK | _SIXTEEN_BIT):
        raise BitstreamError("header has reserved bits set")
    if width * height > limits.max_pixels:
        raise LimitError(
            f"image of {width} x {height} pixels exceeds the limit of {limits.max_pixels}"
        )
    if max(width, height) > limits.max_side:
        raise LimitError(f"image of {width} x {height} pixels has a side over {limits.max_side}")
    if sites > limits.max_sites:
        raise LimitError(f"{sites} sites exceed the limit of {limits.max_sites}")
    colors = struct.unpack_from(f"<{channels}H", data, end - 2 * channels)
    try:
        header = Header(
            width=width,
            height=height,
            channels=channels,
            bit_depth=16 if pixel_format & _SIXTEEN_BIT else 8,
            k=k,
            site_count=sites,
            quantizer=QuantizerParameters.from_tuple((*steps, *colors)),
            flags=flags,
        )
    except OptionError as error:
        raise BitstreamError(f"bad header: {error}") from None
    return header, end + 4


def _signature_problem(data: bytes) -> str:
    if not data:
        return "file is empty"
    if len(data) < len(SIGNATURE) and SIGNATURE.startswith(data):
        return "file ends inside the signature"
    if data[1:4] == SIGNATURE[1:4]:
        return "file was damaged in transfer (text mode?)"
    return "not a .sad file"


def _problem(header: Header) -> str | None:
    quantizer = header.quantizer
    checks = [
        (1 <= header.width < 1 << 31 and 1 <= header.height < 1 << 31, "image size out of range"),
        (1 <= header.channels <= 4, f"{header.channels} channels; 1 to 4 are possible"),
        (quantizer.channels == header.channels, "colour steps do not match the channels"),
        (header.bit_depth in (8, 16), f"bit depth {header.bit_depth}; 8 and 16 are possible"),
        (1 <= header.k <= 16, f"K is {header.k}; it must lie in 1..16"),
        (header.flags == 0, "reserved flags are set"),
        (header.coder in CODERS, f"unknown coder {header.coder!r}"),
        (
            1 <= header.site_count <= min(MAX_SITES, 4 * header.width * header.height + 64),
            f"{header.site_count} sites are not possible for {header.width} x {header.height} px",
        ),
        (
            max(quantizer.grid_size(header.width, header.height)) <= MAX_GRID,
            "image too large for its position step",
        ),
    ]
    return next((message for ok, message in checks if not ok), None)
