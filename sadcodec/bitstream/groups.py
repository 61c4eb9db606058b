"""The chunks of groups: their fields, the rules among them, and their sites put together.

A group is a run of the stored order that is coded alone, so that damage to one chunk leaves the
others to be drawn (docs/FORMAT.md, section 11).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import BitstreamError

from .container import Chunk
from .header import Header
from .layers import Layers
from .payload import CHUNK_TYPES, GROUP_TYPES, MODELLED, GroupFields, Payload, decode_payload
from .region import key_of
from .symbols import Symbols, joined

__all__ = [
    "FIELD_BYTES",
    "GROUPED",
    "SITE_TYPES",
    "check_models",
    "check_order",
    "coder_of",
    "decode_chunk",
    "decode_chunks",
    "end_of",
    "group_fields",
    "in_layer",
    "listed_groups",
    "site_chunks",
]

# CRC of the header, first site, sites, low, high, spacing.
_FIELDS = struct.Struct("<IIIHHH")
FIELD_BYTES = _FIELDS.size
GROUPED = frozenset([*GROUP_TYPES.values(), MODELLED])
SITE_TYPES = frozenset(CHUNK_TYPES.values()) | GROUPED
_CODERS = {name: coder for types in (CHUNK_TYPES, GROUP_TYPES) for coder, name in types.items()}
_CODERS[MODELLED] = "range"


def coder_of(name: bytes) -> str:
    """The coder of a chunk of sites, "range" or "zstd"."""
    return _CODERS[name]


def site_chunks(coder: str, payload: Payload, header_crc: int) -> list[tuple[bytes, bytes]]:
    """Types and contents of the chunks of `payload`."""
    if len(payload.groups) == 1:
        return [(CHUNK_TYPES[coder], payload.groups[0][1])]
    name = MODELLED if payload.models else GROUP_TYPES[coder]
    return [(name, _FIELDS.pack(header_crc, *fields) + data) for fields, data in payload.groups]


def check_models(header: Header, chunk: Chunk) -> None:
    """Check that a chunk of sites starts from models if there are any, and otherwise does not.

    Raises
    ------
    BitstreamError
        If it is not so.
    """
    if chunk.type == MODELLED and not header.models:
        raise BitstreamError(f"{chunk.label}: its models are missing")
    if chunk.type != MODELLED and header.models:
        raise BitstreamError(f"{chunk.label}: does not start from models")


def end_of(chunk: Chunk) -> int:
    """Index of the site after a group's last one, by its fields, unchecked."""
    return GroupFields(*_FIELDS.unpack_from(chunk.data)[1:]).end


def group_fields(
    header: Header, header_crc: int, chunk: Chunk, before: GroupFields | None, layers: Layers
) -> GroupFields:
    """Fields of the chunk of a group after the group `before`.

    Sites may be missing between the two.

    Raises
    ------
    BitstreamError
        If the chunk cannot stand in this file after `before`.
    """
    if chunk.length < FIELD_BYTES:
        raise BitstreamError(f"{chunk.label}: too short for a group")
    crc, first, sites, low, high, spacing = _FIELDS.unpack_from(chunk.source, chunk.begin)
    fields = GroupFields(first, sites, low, high, spacing)
    if crc != header_crc:
        raise BitstreamError(f"{chunk.label}: belongs to another header")
    if not 1 <= sites < header.site_count:
        raise BitstreamError(f"{chunk.label}: a group of {sites} sites is not possible")
    end_before = before.end if before else 0
    if first < end_before or first + sites > header.site_count:
        raise BitstreamError(f"{chunk.label}: sites {_run(fields)} are out of place")
    layer = layers.of(first)
    if first + sites > layer.end:
        raise BitstreamError(f"{chunk.label}: sites {_run(fields)} are in two layers")
    least = before.high if before and end_before > layer.begin else 0
    if not least <= low <= high:
        raise BitstreamError(f"{chunk.label}: the group's positions are out of place")
    return fields


def decode_chunk(
    header: Header, chunk: Chunk, fields: GroupFields | None, threads: int = 1
) -> tuple[Symbols, NDArray[np.float64]]:
    """Symbols and column costs of one chunk of sites.

    Raises
    ------
    BitstreamError
        As `decode_payload`, with the chunk's type and offset in front.
    """
    data = chunk.data if fields is None else chunk.data[FIELD_BYTES:]
    try:
        return decode_payload(header, data, threads, fields)
    except BitstreamError as error:
        raise BitstreamError(f"{chunk.label}: {error}") from None


def listed_groups(
    header: Header, header_crc: int, chunks: Sequence[Chunk], layers: Layers, sites: int
) -> list[GroupFields]:
    """Fields of the chunks of the first `sites` sites of a file; those of a single one are made up.

    Raises
    ------
    BitstreamError
        If the chunks do not hold exactly these sites.
    """
    if chunks[0].type not in GROUPED:
        return [GroupFields(0, header.site_count, 0, 0, 0)]
    listed = _in_order(header, header_crc, chunks, layers)
    if listed and listed[-1].end == sites:
        return listed
    listed = []
    for chunk in chunks:
        fields = group_fields(header, header_crc, chunk, listed[-1] if listed else None, layers)
        if fields.first != (listed[-1].end if listed else 0):
            raise BitstreamError(f"{chunk.label}: the sites before {_run(fields)} are missing")
        listed.append(fields)
    if listed[-1].end != sites:
        raise BitstreamError(f"{chunks[-1].label}: file ends before the other groups of sites")
    return listed


def _in_order(
    header: Header, header_crc: int, chunks: Sequence[Chunk], layers: Layers
) -> list[GroupFields]:
    """Fields of many groups of a single layer at once; none if there is anything to tell."""
    if len(layers) > 1 or min(chunk.length for chunk in chunks) < FIELD_BYTES:
        return []
    heads = [_FIELDS.unpack_from(chunk.source, chunk.begin) for chunk in chunks]
    rows = np.array(heads, np.int64).T
    crc, first, sites, low, high, _ = rows
    ends = np.cumsum(sites)
    right = (crc == header_crc) & (sites >= 1) & (sites < header.site_count)
    right &= (first == ends - sites) & (ends <= header.site_count) & (low <= high)
    if not right.all() or (low[1:] < high[:-1]).any():
        return []
    return [GroupFields(*row) for row in rows[1:].T.tolist()]


def decode_chunks(
    header: Header,
    chunks: Sequence[Chunk],
    listed: Sequence[GroupFields],
    layers: Layers,
    threads: int = 1,
    wanted: set[int] | None = None,
) -> tuple[Symbols, NDArray[np.float64]]:
    """Symbols and column costs of chunks of sites with the fields `listed`.

    With a set `wanted`, which is not empty, of those with these numbers alone.

    Raises
    ------
    BitstreamError
        If one does not hold what its fields say.
    """
    if chunks[0].type not in GROUPED:
        return decode_chunk(header, chunks[0], None, threads)
    if wanted is not None:
        chunks = [chunk for number, chunk in enumerate(chunks) if number in wanted]
        listed = [fields for number, fields in enumerate(listed) if number in wanted]
    workers = min(threads, len(chunks))
    if workers == 1:
        parts = [decode_chunk(header, c, f) for c, f in zip(chunks, listed)]
    else:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(lambda c, f: decode_chunk(header, c, f), chunks, listed))
    several = len(layers) > 1
    numbers = [layers.of(fields.first).number if several else 0 for fields in listed]
    for i in range(1, len(parts)):
        if numbers[i] == numbers[i - 1]:
            check_order(header, parts[i - 1][0], parts[i][0], chunks[i])
    bits = np.sum([cost for _, cost in parts], axis=0)
    return joined([in_layer(part[0], n, layers) for part, n in zip(parts, numbers)]), bits


def in_layer(symbols: Symbols, number: int, layers: Layers) -> Symbols:
    """The sites, with the number of their layer if there are several."""
    if len(layers) == 1:
        return symbols
    return replace(symbols, layer=np.full(len(symbols), number, np.int32))


def check_order(header: Header, before: Symbols, after: Symbols, chunk: Chunk) -> None:
    """Check that no site of `chunk`, which are `after`, has a key below those of `before`.

    Raises
    ------
    BitstreamError
        If one has.
    """
    cells = header.quantizer.grid_size(header.width, header.height)
    last = key_of(int(before.x[-1]), int(before.y[-1]), cells)
    if key_of(int(after.x[0]), int(after.y[0]), cells) < last:
        raise BitstreamError(f"{chunk.label}: the group's positions are out of order")


def _run(fields: GroupFields) -> str:
    return f"{fields.first} to {fields.end - 1}"
