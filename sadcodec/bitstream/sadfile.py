"""Whole files: header, ancillary chunks and the chunks of sites."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sadcodec.errors import BitstreamError, LimitError, OptionError

from .container import CHUNK_OVERHEAD, MAX_CHUNKS, Chunk, iterate_chunks, pack_chunk
from .groups import (
    FIELD_BYTES,
    SITE_TYPES,
    coder_of,
    decode_chunks,
    listed_groups,
    site_chunks,
)
from .header import Header, Limits, header_crc, pack_header, unpack_header
from .payload import CHUNK_TYPES, Payload, column_names, encode_payload
from .reach import REACH, unpack_reach
from .region import Box
from .symbols import MAX_GROUPS, Symbols
from .zstd_profile import pack_metadata, unpack_metadata

__all__ = [
    "METADATA",
    "ChunkInfo",
    "ColumnInfo",
    "FileInfo",
    "chunks_size",
    "file_size",
    "first_metadata",
    "group_starts",
    "insert_chunk",
    "inspect",
    "metadata",
    "read",
    "read_header",
    "unpacked",
    "write",
]

# Ancillary chunks whose content is one zstd frame, and the names of what they hold.
METADATA = {b"iCCP": "icc_profile", b"eXIF": "exif", b"xMLP": "xmp"}

_SINGLE = frozenset(CHUNK_TYPES.values())


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
    """What `inspect` found; every checksum was right.

    `metadata` has the bytes of "icc_profile", "exif" and "xmp", unpacked; None for one that cannot
    be unpacked.
    """

    header: Header
    file_bytes: int
    groups: int
    chunks: tuple[ChunkInfo, ...]
    columns: tuple[ColumnInfo, ...]
    metadata: dict[str, int | None]

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
    packed = pack_header(header)
    parts = [packed, *_packed(chunks)]
    sites = site_chunks(header.coder, payload, header_crc(packed))
    if len(chunks) + len(sites) > MAX_CHUNKS:
        raise OptionError(f"more than {MAX_CHUNKS} chunks")
    parts += [pack_chunk(name, content) for name, content in sites]
    return b"".join(parts)


def _packed(chunks: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    packed = []
    for name, content in chunks:
        if not name[:1].islower():
            raise OptionError(f"chunk type {name!r} is not ancillary")
        packed.append(pack_chunk(name, pack_metadata(content) if name in METADATA else content))
    return packed


def chunks_size(chunks: Sequence[tuple[bytes, bytes]]) -> int:
    """Bytes of a file that ancillary chunks take."""
    return sum(len(chunk) for chunk in _packed(chunks))


def file_size(header: Header, payload: Payload) -> int:
    """Bytes of a file with this payload and no ancillary chunks."""
    groups = len(payload.groups)
    each = CHUNK_OVERHEAD + (FIELD_BYTES if groups > 1 else 0)
    return len(pack_header(header)) + groups * each + sum(len(data) for _, data in payload.groups)


def read_header(data: bytes, limits: Limits | None = None) -> Header:
    """The header of a file, without what its chunks add: the coder and the number of groups.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, of the header alone.
    """
    return unpack_header(data, limits or Limits())[0]


def read(
    data: bytes, limits: Limits | None = None, threads: int = 1, region: Box | None = None
) -> tuple[Header, Symbols]:
    """Header and symbols of a file, sites in traversal order.

    With a `region` (x0, y0, x1, y1), px of the picture, groups of which the file says that they do
    not matter there may be left out: they are checked, but not decoded.

    Raises
    ------
    BitstreamError
        If the file is damaged, cut short or needs a feature this version does not know.
    LimitError
        If it asks for more than `limits`.
    """
    header, others, sites = _parse(data, limits or Limits())
    wanted = None if region is None else _wanted(data, header, others, len(sites), region)
    symbols, _ = decode_chunks(header, header_crc(data), sites, threads, wanted)
    return header, symbols


def _wanted(
    data: bytes, header: Header, others: Sequence[Chunk], groups: int, region: Box
) -> set[int] | None:
    """Numbers of the groups that matter in a region; None for all."""
    content = next((chunk.data for chunk in others if chunk.type == REACH), None)
    if content is None or groups == 1:
        return None
    boxes = unpack_reach(content, header_crc(data), header.width, header.height, groups)
    if boxes is None:
        return None
    x0, y0, x1, y1 = region
    wanted = {
        number
        for number, box in enumerate(boxes)
        if box[0] < x1 and x0 < box[2] and box[1] < y1 and y0 < box[3]
    }
    return wanted or None  # a picture has sites everywhere


def insert_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """A file with an ancillary chunk before its others.

    Raises
    ------
    OptionError
        If the type is no ancillary one.
    """
    if not name[:1].islower():
        raise OptionError(f"chunk type {name!r} is not ancillary")
    _, end = unpack_header(data, Limits(max_pixels=1 << 62))
    return data[:end] + pack_chunk(name, content) + data[end:]


def group_starts(data: bytes, limits: Limits | None = None) -> list[int]:
    """The first site of each group of a file, in stored order.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, but the sites themselves are not decoded.
    """
    header, _, sites = _parse(data, limits or Limits())
    return [fields.first for fields in listed_groups(header, header_crc(data), sites)]


def metadata(data: bytes, limits: Limits | None = None) -> tuple[tuple[bytes, bytes], ...]:
    """Ancillary chunks of a file as `write` takes them: (type, content), metadata unpacked.

    Of each metadata type there is the first one, so that `limits` bound what is unpacked.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, and if a metadata chunk cannot be unpacked.
    """
    limits = limits or Limits()
    _, others, _ = _parse(data, limits)
    first = first_metadata(others)
    return tuple(
        (c.type, unpacked(c, limits) if c.type in METADATA else c.data)
        for c in others
        if c in first or c.type not in METADATA
    )


def first_metadata(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The first chunk of each metadata type, in their order."""
    found: dict[bytes, Chunk] = {}
    for chunk in chunks:
        if chunk.type in METADATA:
            found.setdefault(chunk.type, chunk)
    return list(found.values())


def unpacked(chunk: Chunk, limits: Limits) -> bytes:
    """Content of a metadata chunk.

    Raises
    ------
    BitstreamError
        If it cannot be unpacked, or is larger than `limits` say.
    """
    try:
        return unpack_metadata(chunk.data, limits.max_metadata)
    except BitstreamError as error:
        raise BitstreamError(f"{chunk.label}: {error}") from None


def inspect(data: bytes, limits: Limits | None = None) -> FileInfo:
    """Sizes of everything in a file, after decoding it and checking every checksum.

    Raises
    ------
    BitstreamError, LimitError
        As `read`.
    """
    limits = limits or Limits()
    header, others, sites = _parse(data, limits)
    _, bits = decode_chunks(header, header_crc(data), sites)
    names = column_names(header.channels)
    columns = (
        ColumnInfo(name, float(cost), float(cost) / header.site_count)
        for name, cost in zip(names, bits)
        if name != "radius" or header.quantizer.step_radius > 0
    )
    sizes: dict[str, int | None] = {}
    for chunk in first_metadata(others):
        try:
            sizes[METADATA[chunk.type]] = len(unpacked(chunk, limits))
        except BitstreamError:
            sizes[METADATA[chunk.type]] = None
    return FileInfo(
        header=header,
        file_bytes=len(data),
        groups=len(sites),
        chunks=tuple(
            ChunkInfo(c.type.decode("ascii"), c.offset, len(c.data), c.critical, c.crc)
            for c in (*others, *sites)
        ),
        columns=tuple(columns),
        metadata=sizes,
    )


def _parse(data: bytes, limits: Limits) -> tuple[Header, list[Chunk], list[Chunk]]:
    """Header (with coder and number of groups), ancillary chunks and chunks of sites."""
    header, offset = unpack_header(data, limits)
    others: list[Chunk] = []
    sites: list[Chunk] = []
    for chunk in iterate_chunks(data, offset):
        if sites and (chunk.type != sites[0].type or chunk.type in _SINGLE):
            raise BitstreamError(f"{chunk.label}: data after the sites")
        if chunk.type in SITE_TYPES:
            sites.append(chunk)
        elif chunk.critical:
            raise BitstreamError(f"{chunk.label}: unknown critical chunk")
        else:
            others.append(chunk)
        if len(others) + len(sites) > MAX_CHUNKS:
            raise LimitError(f"{chunk.label}: more than {MAX_CHUNKS} chunks")
    if not sites:
        raise BitstreamError("file ends before the sites")
    return with_groups(header, sites), others, sites


def with_groups(header: Header, sites: Sequence[Chunk]) -> Header:
    """The header with what the chunks of sites add: the coder, and a number of groups to write."""
    quantizer = replace(header.quantizer, groups=min(len(sites), MAX_GROUPS))
    return replace(header, coder=coder_of(sites[0].type), quantizer=quantizer)
