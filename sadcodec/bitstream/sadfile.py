"""Whole files: header, ancillary chunks and the chunks of sites."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sadcodec.errors import BitstreamError, OptionError

from .container import CHUNK_OVERHEAD, MAX_CHUNKS, MAX_MODELLED, Chunk, iterate_chunks, pack_chunk
from .groups import FIELD_BYTES, SITE_TYPES, decode_chunks, site_chunks
from .header import Header, Limits, header_crc, pack_header, unpack_header
from .layers import LAYERS, Layers, layers_bytes, pack_layers, unpack_layers
from .models import MODELS, models_bytes, pack_models
from .parts import Parts, parse
from .payload import Payload, encode_payload
from .reach import REACH, unpack_reach
from .region import Box
from .symbols import Symbols
from .zstd_profile import pack_metadata, unpack_metadata

__all__ = [
    "METADATA",
    "chunks_size",
    "file_size",
    "first_metadata",
    "group_starts",
    "insert_chunks",
    "metadata",
    "read",
    "read_header",
    "read_layers",
    "unpacked",
    "write",
]

# Ancillary chunks whose content is one zstd frame, and the names of what they hold.
METADATA = {b"iCCP": "icc_profile", b"eXIF": "exif", b"xMLP": "xmp"}


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
    crc = header_crc(packed)
    sites = site_chunks(header.coder, payload, crc)
    if payload.models:
        sites.insert(0, (MODELS, pack_models(crc, payload.models)))
    if payload.layers:
        sites.insert(0, (LAYERS, pack_layers(crc, payload.layers)))
    most = MAX_MODELLED if payload.models else MAX_CHUNKS
    if len(chunks) + len(sites) > most:
        raise OptionError(f"more than {most} chunks")
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
    before = len(pack_header(header)) + layers_bytes(len(payload.layers))
    before += models_bytes(payload.models)
    return before + groups * each + sum(len(data) for _, data in payload.groups)


def read_header(data: bytes, limits: Limits | None = None) -> Header:
    """The header of a file, without what its chunks add: the coder and the number of groups.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, of the header alone.
    """
    return unpack_header(data, limits or Limits())[0]


def read(
    data: bytes,
    limits: Limits | None = None,
    threads: int = 1,
    region: Box | None = None,
    layers: int | None = None,
) -> tuple[Header, Symbols]:
    """Header and symbols of a file, sites in stored order.

    With a `region` (x0, y0, x1, y1), px of the picture, groups of which the file says that they do
    not matter there may be left out: they are checked, but not decoded. With a number of `layers`
    what follows them is not looked at, and may be missing; the header has the number of sites that
    they have.

    Raises
    ------
    BitstreamError
        If the file is damaged, cut short or needs a feature this version does not know.
    LimitError
        If it asks for more than `limits`.
    OptionError
        If the file has fewer layers.
    """
    parts = parse(data, limits or Limits(), layers)
    wanted = None if region is None else _wanted(data, parts, region)
    symbols, _ = decode_chunks(
        parts.header, parts.sites, parts.listed, parts.layers, threads, wanted
    )
    header = parts.header
    if layers is not None:
        header = replace(header, site_count=parts.listed[-1].end)
    return header, symbols


def read_layers(data: bytes, limits: Limits | None = None) -> Layers:
    """Return the layers of a file; a file without them is a single one.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, of the header and of what comes before the sites.
    """
    header, offset = unpack_header(data, limits or Limits())
    for chunk in iterate_chunks(data, offset):
        if chunk.type in SITE_TYPES:
            break
        if chunk.type == LAYERS:
            return unpack_layers(header, header_crc(data), chunk)
    return Layers((header.site_count,))


def _wanted(data: bytes, parts: Parts, region: Box) -> set[int] | None:
    """Numbers of the groups that matter in a region; None for all."""
    header, groups = parts.header, len(parts.sites)
    content = next((chunk.data for chunk in parts.others if chunk.type == REACH), None)
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


def insert_chunks(data: bytes, chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A file of any kind with ancillary chunks before its others, given as for `write`.

    Raises
    ------
    OptionError
        If a type is no ancillary one.
    """
    _, end = unpack_header(data, Limits(max_pixels=1 << 62))
    return b"".join([data[:end], *_packed(chunks), data[end:]])


def group_starts(data: bytes, limits: Limits | None = None) -> list[int]:
    """The first site of each group of a file, in stored order.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, but the sites themselves are not decoded.
    """
    return [fields.first for fields in parse(data, limits or Limits()).listed]


def metadata(data: bytes, limits: Limits | None = None) -> tuple[tuple[bytes, bytes], ...]:
    """Ancillary chunks of a file as `write` takes them: (type, content), metadata unpacked.

    Of each metadata type there is the first one, so that `limits` bound what is unpacked.

    Raises
    ------
    BitstreamError, LimitError
        As `read`, and if a metadata chunk cannot be unpacked.
    """
    limits = limits or Limits()
    others = parse(data, limits).others
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
