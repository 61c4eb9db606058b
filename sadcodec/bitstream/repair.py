"""What can be drawn of a damaged file: whole groups of sites, wherever their chunks are found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sadcodec.errors import BitstreamError, LimitError

from .container import CHUNK_OVERHEAD, MAX_CHUNKS, MAX_MODELLED, Chunk, chunk_at
from .groups import (
    GROUPED,
    SITE_TYPES,
    check_models,
    check_order,
    decode_chunk,
    group_fields,
    in_layer,
)
from .header import Header, Limits, header_crc, unpack_header
from .layers import LAYERS, Layer, Layers, unpack_layers
from .models import MODELS, unpack_models
from .parts import with_groups
from .payload import GroupFields
from .region import Box, boxes_of_run, key_of
from .sadfile import METADATA, first_metadata, unpacked
from .symbols import Symbols, joined

__all__ = ["Damage", "FirstLayers", "LostSites", "Repair", "salvage", "salvage_metadata"]

_KNOWN = re.compile(b"|".join(sorted(SITE_TYPES | {LAYERS, MODELS} | set(METADATA))))
Metadata = dict[str, bytes]

# Bytes under checksums that a search for the next chunk may cost, times the length of the file.
_SEARCH = 8

_ALL = GroupFields(0, 1, 0, 0, 0)  # stands for the only chunk of sites of a file


@dataclass(frozen=True)
class Damage:
    """A part of a file that was not used.

    Attributes
    ----------
    offset, length : int
        Bytes of the file.
    problem : str
        One line with the chunk's type and offset.
    """

    offset: int
    length: int
    problem: str


@dataclass(frozen=True)
class LostSites:
    """A run of sites that no whole chunk holds: one group, or several in a row.

    Attributes
    ----------
    first, count : int
        In stored order.
    layer : int or None
        Number of their layer, 0 the first; None without layers.
    boxes : tuple of (x0, y0, x1, y1)
        Columns x0 to x1 - 1 and rows y0 to y1 - 1 of the picture, px: the lost sites lay in these
        boxes. Around them, within a few spacings of sites, colours differ from the whole picture's
        as well.
    """

    first: int
    count: int
    boxes: tuple[Box, ...]
    layer: int | None = None

    def message(self) -> str:
        """One line."""
        run = f"sites {self.first} to {self.first + self.count - 1}"
        if self.layer is not None:
            run += f" of layer {self.layer + 1}"
        return f"{run} are lost: {_text(self.boxes)}"


@dataclass(frozen=True)
class FirstLayers:
    """The first layers of a file.

    Attributes
    ----------
    layers, sites : int
        Drawn.
    all_layers, all_sites : int
        Of the file.
    """

    layers: int
    all_layers: int
    sites: int
    all_sites: int


@dataclass(frozen=True)
class Repair:
    """What is left of a file, and what is not.

    Attributes
    ----------
    sites : int
        Stated by the header.
    damage : tuple of Damage
        In the order of the file; empty if the file is whole.
    lost : tuple of LostSites
        Empty if all sites are there: the picture is then the one that was stored.
    first_layers : FirstLayers or None
        What there is of a file of which only the first layers were asked for.
    """

    sites: int
    damage: tuple[Damage, ...]
    lost: tuple[LostSites, ...]
    first_layers: FirstLayers | None = None

    @property
    def sites_lost(self) -> int:
        """Number of sites that are not drawn."""
        return sum(run.count for run in self.lost)

    def messages(self) -> tuple[str, ...]:
        """One line for each damage and each run of lost sites, and a summary; none if whole."""
        if not self.damage:
            return ()
        drawn = self.sites - self.sites_lost
        lines = [damage.problem for damage in self.damage]
        lines += [run.message() for run in self.lost]
        if self.lost:
            lines.append(f"drawn from the {drawn} of {self.sites} sites that are left")
        else:
            lines.append("all sites are there: the picture is whole")
        return tuple(lines)


def salvage(
    data: bytes, limits: Limits | None = None, threads: int = 1
) -> tuple[Header, Symbols, Repair]:
    """Header, the symbols that are left, in stored order, and a report.

    Whatever passes its checksums is used, in its place; nothing else is. The header's site count
    becomes the number of symbols. Of a file that `read` takes, all symbols are left.

    Raises
    ------
    BitstreamError
        If the header is damaged, no chunk of sites is left, or the file needs a feature this
        version does not know.
    LimitError
        If it asks for more than `limits`.
    """
    try:
        header, offset = unpack_header(data, limits or Limits())
    except BitstreamError as error:
        raise BitstreamError(f"{error}; without a right header nothing can be drawn") from None
    left = _Left(header, header_crc(data), len(data), threads, Layers((header.site_count,)))
    for item in _found(data, offset):
        if isinstance(item, Damage):
            left.damage.append(item)
        elif item.type in SITE_TYPES:
            left.take(item)
        elif item.type == LAYERS:
            left.take_layers(item)
        elif item.type == MODELS:
            left.take_models(item)
        elif item.critical:
            raise BitstreamError(f"{item.label}: unknown critical chunk")
        elif left.used:
            left.refuse(item, f"{item.label}: data after the sites")
    damage = left.damage
    if not left.parts:
        problem = damage[0].problem if damage else "file ends before the sites"
        raise BitstreamError(f"{problem}; no sites are left to draw")
    lost = _lost(header, left) if left.groups else ()
    if lost and not damage:
        damage.append(Damage(len(data), 0, "chunks of sites are missing"))
    report = Repair(header.site_count, tuple(damage), lost)
    symbols = joined(left.parts)
    return replace(left.header_of(left.used), site_count=len(symbols)), symbols, report


def salvage_metadata(data: bytes, limits: Limits | None = None) -> tuple[Metadata, list[str]]:
    """The metadata that is left of a file, whole or damaged, and what is wrong with the rest.

    Returns
    -------
    metadata : dict of bytes
        By the names of `METADATA`.
    problems : list of str
        One line for each chunk that passes its checksum and cannot be unpacked. What does not
        pass it is in the report of `salvage`.

    Raises
    ------
    BitstreamError, LimitError
        As `salvage`, for the header.
    """
    limits = limits or Limits()
    _, offset = unpack_header(data, limits)
    metadata: Metadata = {}
    problems = []
    for chunk in first_metadata(item for item in _found(data, offset) if isinstance(item, Chunk)):
        try:
            metadata[METADATA[chunk.type]] = unpacked(chunk, limits)
        except BitstreamError as error:
            problems.append(str(error))
    return metadata, problems


@dataclass
class _Left:
    """The chunks of sites that can be used, one after the other."""

    header: Header
    header_crc: int
    file_bytes: int
    threads: int
    layers: Layers
    used: list[Chunk] = field(default_factory=list)
    groups: list[GroupFields] = field(default_factory=list)  # none if all sites are in one chunk
    parts: list[Symbols] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    def refuse(self, chunk: Chunk, problem: str) -> None:
        """Note that a chunk is not used."""
        self.damage.append(Damage(chunk.offset, chunk.end - chunk.offset, problem))

    def header_of(self, chunks: list[Chunk]) -> Header:
        """Return the header with what these chunks of sites add."""
        return with_groups(self.header, chunks, self.groups or [_ALL], self.layers)

    def take_layers(self, chunk: Chunk) -> None:
        """Read the layers, or note why they cannot be used."""
        try:
            layers = unpack_layers(self.header, self.header_crc, chunk)
        except BitstreamError as error:
            self.refuse(chunk, str(error))
            return
        if self.used or len(self.layers) > 1:
            self.refuse(chunk, f"{chunk.label}: out of place")
        else:
            self.layers = layers

    def take_models(self, chunk: Chunk) -> None:
        """Read what models start from, or note why it cannot be used."""
        try:
            table = unpack_models(self.header, self.header_crc, chunk)
        except BitstreamError as error:
            self.refuse(chunk, str(error))
            return
        if self.used or self.header.models:
            self.refuse(chunk, f"{chunk.label}: out of place")
        else:
            self.header = replace(self.header, models=table)

    def take(self, chunk: Chunk) -> None:
        """Decode a chunk of sites, or note why it cannot be used."""
        grouped = chunk.type in GROUPED
        if self.used and (chunk.type != self.used[0].type or not grouped):
            self.refuse(chunk, f"{chunk.label}: data after the sites")
            return
        if not grouped and len(self.layers) > 1:
            self.refuse(chunk, f"{chunk.label}: layers are made of groups")
            return
        # One found by a search might be part of the content of a damaged chunk. A group names its
        # header; a single chunk of sites is the last of the file.
        if self.damage and not grouped and chunk.end != self.file_bytes:
            self.refuse(chunk, f"{chunk.label}: not at the end of the file")
            return
        header = self.header_of([chunk])
        fields = None
        try:
            check_models(self.header, chunk)
            if grouped:
                before = self.groups[-1] if self.groups else None
                fields = group_fields(header, self.header_crc, chunk, before, self.layers)
            symbols, _ = decode_chunk(header, chunk, fields, self.threads)
            if fields is not None:
                layer = self.layers.of(fields.first)
                if before and before.end > layer.begin:
                    check_order(header, self.parts[-1], symbols, chunk)
                symbols = in_layer(symbols, layer.number, self.layers)
        except BitstreamError as error:
            self.refuse(chunk, str(error))
            return
        self.parts.append(symbols)
        self.used.append(chunk)
        if fields is not None:
            self.groups.append(fields)


def _found(data: bytes, offset: int) -> Iterator[Chunk | Damage]:
    """Chunks that pass their checksum, and what lies between them, to the end of the file."""
    budget = _SEARCH * len(data)
    count, most = 0, MAX_CHUNKS
    while offset < len(data):
        count += 1
        if count > most:
            raise LimitError(f"more than {most} chunks, at byte {offset}")
        try:
            chunk = chunk_at(data, offset)
        except BitstreamError as error:
            end, budget = _next_chunk(data, offset, budget)
            yield Damage(offset, end - offset, str(error))
            offset = end
        else:
            if chunk.type == MODELS:
                most = MAX_MODELLED
            yield chunk
            offset = chunk.end


def _next_chunk(data: bytes, offset: int, budget: int) -> tuple[int, int]:
    """Offset of the chunk after the damaged one at `offset`, or the end; what is left of `budget`.

    First where the damaged chunk's length says, then wherever a known type stands in front of a
    checksum that is right.
    """
    length = int.from_bytes(data[offset : offset + 4], "little")
    stated = offset + CHUNK_OVERHEAD + length
    budget -= _cost(data, offset)
    for at in _positions(data, offset + 5, [stated] if stated < len(data) else []):
        budget -= _cost(data, at)
        if budget < 0:
            break
        try:
            chunk_at(data, at)
        except BitstreamError:
            continue
        return at, budget
    return len(data), budget


def _cost(data: bytes, offset: int) -> int:
    """Bytes that a look at the chunk at `offset` takes under its checksum."""
    length = int.from_bytes(data[offset : offset + 4], "little")
    return length if offset + CHUNK_OVERHEAD + length <= len(data) else 0


def _positions(data: bytes, start: int, first: list[int]) -> Iterator[int]:
    """Where a chunk may begin: `first`, then wherever a known type stands from `start` on."""
    yield from first
    for match in _KNOWN.finditer(data, start):
        yield match.start() - 4


def _lost(header: Header, left: _Left) -> tuple[LostSites, ...]:
    """The runs between the groups that are left, and where their sites can lie."""
    found = list(zip(left.groups, left.parts))
    lost = []
    for layer in left.layers:
        inside = [item for item in found if layer.begin <= item[0].first < layer.end]
        number = layer.number if len(left.layers) > 1 else None
        lost += [LostSites(*run, number) for run in _lost_of_layer(header, inside, layer)]
    return tuple(lost)


def _lost_of_layer(
    header: Header, found: list[tuple[GroupFields, Symbols]], layer: Layer
) -> Iterator[tuple[int, int, tuple[Box, ...]]]:
    """First site, number and boxes of the runs that are missing of a layer."""
    h, q = header, header.quantizer
    cells = q.grid_size(h.width, h.height)
    at, low = layer.begin, 0
    for fields, part in found:
        if fields.first > at:
            high = key_of(int(part.x[0]), int(part.y[0]), cells)
            boxes = boxes_of_run(low, high, h.width, h.height, q.step_position)
            yield at, fields.first - at, boxes
        at, low = fields.end, key_of(int(part.x[-1]), int(part.y[-1]), cells)
    if layer.end > at:
        boxes = boxes_of_run(low, None, h.width, h.height, q.step_position)
        yield at, layer.end - at, boxes


def _text(boxes: tuple[Box, ...]) -> str:
    return "; ".join(f"columns {x0} to {x1 - 1}, rows {y0} to {y1 - 1}" for x0, y0, x1, y1 in boxes)
