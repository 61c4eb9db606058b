"""Chunks: length, type, data and CRC-32, after the manner of PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from sadcodec.errors import BitstreamError, OptionError

__all__ = [
    "CHUNK_OVERHEAD",
    "MAX_CHUNKS",
    "MAX_MODELLED",
    "Chunk",
    "chunk_at",
    "chunk_label",
    "chunk_type",
    "iterate_chunks",
    "pack_chunk",
]

CHUNK_OVERHEAD = 12
MAX_CHUNKS = 1024  # of a file
MAX_MODELLED = 4096  # of one with models, in small groups
MAX_CHUNK = (1 << 31) - 1

_HEAD = struct.Struct("<I4s")  # length of the data, type
_CRC = struct.Struct("<I")


class Chunk(NamedTuple):
    """One chunk as it lies in the file."""

    type: bytes  # four ASCII letters
    length: int  # of its data
    offset: int  # of its length field, from the start of the file
    crc: int
    source: bytes  # what it was read from
    begin: int  # of its data, there

    @property
    def data(self) -> bytes:
        """Its data, a copy."""
        return self.source[self.begin : self.begin + self.length]

    @property
    def label(self) -> str:
        """How messages name it."""
        return chunk_label(self.type, self.offset)

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""
        return self.offset + CHUNK_OVERHEAD + self.length

    @property
    def critical(self) -> bool:
        """Whether a reader that does not know the type must refuse the file."""
        return not self.type[0] & 0x20


def _is_type(name: bytes) -> bool:
    return len(name) == 4 and name.isalpha() and not name[2] & 0x20


def chunk_type(name: bytes) -> bytes:
    """Check a chunk type: four ASCII letters, the third upper-case (lower-case is reserved).

    Raises
    ------
    OptionError
        If `name` is none.
    """
    if not _is_type(name):
        raise OptionError(f"bad chunk type {name!r}")
    return name


def pack_chunk(name: bytes, data: bytes) -> bytes:
    """Length, type, data and CRC-32 (over length, type and data).

    Raises
    ------
    OptionError
        If the type is malformed or the data too long.
    """
    if len(data) > MAX_CHUNK:
        raise OptionError(f"chunk of {len(data)} bytes exceeds {MAX_CHUNK}")
    body = struct.pack("<I", len(data)) + chunk_type(name) + data
    return body + struct.pack("<I", zlib.crc32(body))


def chunk_label(name: bytes, offset: int) -> str:
    """Type and byte offset of a chunk, for messages; `name` may be damaged."""
    letters = len(name) == 4 and name.isascii() and name.isalpha()
    return f"chunk {name.decode('ascii') if letters else name.hex(' ')} at byte {offset}"


def chunk_at(data: bytes, offset: int, start: int = 0) -> Chunk:
    """The chunk whose length field is at `offset`; `data` begins at byte `start` of its file.

    Raises
    ------
    BitstreamError
        If it is cut short, has a malformed type, or fails its CRC.
    """
    if len(data) - offset < CHUNK_OVERHEAD:
        raise BitstreamError(f"file ends inside the head of a chunk at byte {start + offset}")
    length, name = _HEAD.unpack_from(data, offset)
    end = offset + 8 + length
    if end + 4 > len(data):
        where = chunk_label(name, start + offset)
        raise BitstreamError(f"{where}: the file ends inside it, or its length is damaged")
    crc = zlib.crc32(data[offset:end])
    if crc != _CRC.unpack_from(data, end)[0]:
        where = chunk_label(name, start + offset)
        raise BitstreamError(f"{where}: does not match its checksum")
    if not _is_type(name):
        raise BitstreamError(f"{chunk_label(name, start + offset)}: bad chunk type {name!r}")
    return Chunk(name, length, start + offset, crc, data, offset + 8)


def iterate_chunks(data: bytes, offset: int) -> Iterator[Chunk]:
    """The chunks from `offset` to the end of the file.

    Raises
    ------
    BitstreamError
        As `chunk_at`.
    """
    while offset < len(data):
        chunk = chunk_at(data, offset)
        yield chunk
        offset += CHUNK_OVERHEAD + chunk.length
