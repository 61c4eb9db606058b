"""Whole files: header, ancillary chunks and the site chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sadcodec.errors import BitstreamError, LimitError, OptionError

from .container import CHUNK_OVERHEAD, Chunk, iterate_chunks, pack_chunk
from .header import Header, Limits, pack_header, unpack_header
from .payload import CHUNK_TYPES, Payload, column_names, decode_payload, encode_payload
from .symbols import Symbols
from .zstd_profile import pack_metadata, unpack_metadata

__all__ = [
    "METADATA",
    "ChunkInfo",
    "ColumnInfo",
    "FileInfo",
    "file_size",
    "inspect",
    "metadata",
    "read",
    "write",
]

# Ancillary chunks whose content is one zstd frame.
METADATA = {b"iCCP": "ICC profile", b"eXIF": "Exif", b"xMLP": "XMP"}

_CODER_OF = {name: coder for coder, name in CHUNK_TYPES.items()}


@dataclass(frozen=True)
class ChunkInfo:
    """Where one chunk lies in a file."""

    type: str
    offset: int  # of its length field
    length: int  # of its data, bytes
    critical: bool
    crc: int


@dataclass(frozen=True)
class ColumnInfo:
    """Size of one column of the sites."""

    name: str
    bits: float
    bits_per_site: float

    @property
    def bytes(self) -> float:
        """Size in bytes; columns do not end on byte boundaries."""
        return self.bits / 8


@dataclass(frozen=True)
class FileInfo:
    """What `inspect` found; every checksum was right."""

    header: Header
    file_bytes: int
    chunks: tuple[ChunkInfo, ...]
    columns: tuple[ColumnInfo, ...]

    @property
    def bits_per_pixel(self) -> float:
        """8 x file bytes / pixels."""
        return 8 * self.file_bytes / (self.header.width * self.header.height)


def write(
    header: Header,
    symbols: Symbols,
    chunks: Sequence[tuple[bytes, bytes]] = (),
    coder: str | None = None,
) -> bytes:
    """A complete file.

    Parameters
    ----------
    header : Header
    symbols : Symbols
        Sites in any order; the file has them in traversal order.
    chunks : sequence of (type, content)
        Ancillary chunks, written in this order; the contents of metadata chunks (iCCP, eXIF,
        xMLP) are compressed here.
    coder : "range", "zstd" or None
        None takes the header's.

    Raises
    ------
    OptionError
        If something is out of range or a chunk is not ancillary.
    """
    if coder is not None:
        header = replace(header, coder=coder)
    return assemble(header, encode_payload(header, symbols), chunks)


def assemble(header: Header, payload: Payload, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """As `write`, from a payload that was encoded with the same header."""
    parts = [pack_header(header)]
    for name, content in chunks:
        if not name[:1].islower():
            raise OptionError(f"chunk type {name!r} is not ancillary")
        parts.append(pack_chunk(name, pack_metadata(content) if name in METADATA else content))
    parts.append(pack_chunk(CHUNK_TYPES[header.coder], payload.data))
    return b"".join(parts)


def file_size(header: Header, payload: Payload) -> int:
    """Bytes of a file with this payload and no ancillary chunks."""
    return len(pack_header(header)) + CHUNK_OVERHEAD + len(payload.data)


def read(data: bytes, limits: Limits | None = None, threads: int = 1) -> tuple[Header, Symbols]:
    """Header and symbols of a file, sites in traversal order.

    Raises
    ------
    BitstreamError
        If the file is damaged, cut short or needs a feature this version does not know.
    LimitError
        If it asks for more than `limits`.
    """
    header, chunks = _parse(data, limits or Limits())
    symbols, _ = decode_payload(header, chunks[-1].data, threads)
    return header, symbols


def metadata(data: bytes, limits: Limits | None = None) -> tuple[tuple[bytes, bytes], ...]:
    """Ancillary chunks of a file as `write` takes them: (type, content), metadata unpacked.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, and if a metadata chunk cannot be unpacked.
    """
    limits = limits or Limits()
    _, chunks = _parse(data, limits)
    return tuple(
        (c.type, unpack_metadata(c.data, limits.max_metadata) if c.type in METADATA else c.data)
        for c in chunks
        if not c.critical
    )


def inspect(data: bytes, limits: Limits | None = None) -> FileInfo:
    """Sizes of everything in a file, after decoding it and checking every checksum.

    Raises
    ------
    BitstreamError, LimitError
        As `read`.
    """
    header, chunks = _parse(data, limits or Limits())
    _, bits = decode_payload(header, chunks[-1].data)
    names = column_names(header.channels)
    columns = (
        ColumnInfo(name, float(cost), float(cost) / header.site_count)
        for name, cost in zip(names, bits)
        if name != "radius" or header.quantizer.step_radius > 0
    )
    return FileInfo(
        header=header,
        file_bytes=len(data),
        chunks=tuple(
            ChunkInfo(c.type.decode("ascii"), c.offset, len(c.data), c.critical, c.crc)
            for c in chunks
        ),
        columns=tuple(columns),
    )


def _parse(data: bytes, limits: Limits) -> tuple[Header, list[Chunk]]:
    """Header (with its coder) and chunks; the last one holds the sites."""
    header, offset = unpack_header(data, limits)
    chunks: list[Chunk] = []
    for chunk in iterate_chunks(data, offset):
        if chunks and chunks[-1].critical:
            raise BitstreamError("data after the site chunk")
        if chunk.critical and chunk.type not in _CODER_OF:
            raise BitstreamError(f"unknown critical chunk {chunk.type.decode('ascii')}")
        chunks.append(chunk)
        if len(chunks) > 1024:
            raise LimitError("more than 1024 chunks")
    if not chunks or not chunks[-1].critical:
        raise BitstreamError("file ends before the site chunk")
    return replace(header, coder=_CODER_OF[chunks[-1].type]), chunks
