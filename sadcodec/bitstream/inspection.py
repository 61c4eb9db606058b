"""What is in a file, and how large each part of it is."""

from __future__ import annotations

from dataclasses import dataclass

from sadcodec.errors import BitstreamError

from .groups import decode_chunks
from .header import Header, Limits
from .parts import Parts, parse
from .payload import column_names
from .sadfile import METADATA, first_metadata, unpacked

__all__ = ["ChunkInfo", "ColumnInfo", "FileInfo", "LayerInfo", "inspect"]


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
class LayerInfo:
    """Size of one layer.

    Attributes
    ----------
    sites, groups : int
    bytes : int
        Of its chunks.
    end : int
        Bytes of the file from its start that hold this layer and those before it.
    """

    sites: int
    groups: int
    bytes: int
    end: int


@dataclass(frozen=True)
class FileInfo:
    """What `inspect` found; every checksum was right.

    `layers` is empty for a file without them. `metadata` has the bytes of "icc_profile", "exif" and
    "xmp", unpacked; None for one that cannot be unpacked.
    """

    header: Header
    file_bytes: int
    groups: int
    chunks: tuple[ChunkInfo, ...]
    columns: tuple[ColumnInfo, ...]
    metadata: dict[str, int | None]
    layers: tuple[LayerInfo, ...] = ()

    @property
    def bits_per_pixel(self) -> float:
        """8 x file bytes / pixels."""
        return 8 * self.file_bytes / (self.header.width * self.header.height)


def inspect(data: bytes, limits: Limits | None = None) -> FileInfo:
    """Sizes of everything in a file, after decoding it and checking every checksum.

    Raises
    ------
    BitstreamError, LimitError
        As `read`.
    """
    limits = limits or Limits()
    parts = parse(data, limits)
    header, others, sites = parts.header, parts.others, parts.sites
    _, bits = decode_chunks(header, sites, parts.listed, parts.layers)
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
            ChunkInfo(c.type.decode("ascii"), c.offset, c.length, c.critical, c.crc)
            for c in sorted((*others, *parts.critical, *sites), key=lambda c: c.offset)
        ),
        columns=tuple(columns),
        metadata=sizes,
        layers=_layer_sizes(parts),
    )


def _layer_sizes(parts: Parts) -> tuple[LayerInfo, ...]:
    """What the layers take, if there are several."""
    if len(parts.layers) == 1:
        return ()
    found = []
    for layer in parts.layers:
        inside = [
            c for c, f in zip(parts.sites, parts.listed) if layer.begin <= f.first < layer.end
        ]
        size = sum(chunk.end - chunk.offset for chunk in inside)
        found.append(LayerInfo(layer.sites, len(inside), size, inside[-1].end))
    return tuple(found)
