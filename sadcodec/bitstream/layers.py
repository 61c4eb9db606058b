"""Layers: parts of the stored order that each begin with the lowest keys again.

A layer is one or several groups, with sites from anywhere in the picture. What it holds is up to
who writes it: the sites that matter most, so that the first part of a file is a rough picture, or
those that reach far, so that a region is drawn from few others (docs/FORMAT.md, section 11).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from sadcodec.errors import BitstreamError, OptionError

from .container import CHUNK_OVERHEAD, Chunk
from .header import Header

__all__ = ["LAYERS", "Layer", "Layers", "layers_bytes", "pack_layers", "unpack_layers"]

LAYERS = b"LAYR"
_NUMBER = struct.Struct("<I")  # CRC of the header; sites of a layer


class Layer(NamedTuple):
    """Sites begin..end - 1 of the stored order."""

    number: int
    begin: int
    end: int

    @property
    def sites(self) -> int:
        """Number of its sites."""
        return self.end - self.begin


@dataclass(frozen=True)
class Layers:
    """The layers of a file; one without the chunk is a single layer.

    Attributes
    ----------
    ends : tuple of int
        First site after each layer, in stored order.
    """

    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[Layer]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Layer:
        return Layer(number, self.ends[number - 1] if number else 0, self.ends[number])

    def first(self, count: int) -> Layer:
        """Return the last of the first `count` layers.

        Raises
        ------
        OptionError
            If there are fewer.
        """
        if 1 <= count <= len(self):
            return self[count - 1]
        has = f"{len(self)} layers" if len(self) > 1 else "no layers"
        raise OptionError(f"the first {count} layers are asked for, and the file has {has}")

    def of(self, site: int) -> Layer:
        """Return the layer of a site below the number of all sites."""
        return self[bisect_right(self.ends, site)]


def layers_bytes(layers: int) -> int:
    """Bytes of the chunk in a file of so many layers; 0 for none."""
    return CHUNK_OVERHEAD + _NUMBER.size * (1 + layers) if layers else 0


def pack_layers(header_crc: int, sites: Sequence[int]) -> bytes:
    """Content of the chunk; `sites` of each layer."""
    return b"".join(_NUMBER.pack(value) for value in (header_crc, *sites))


def unpack_layers(header: Header, header_crc: int, chunk: Chunk) -> Layers:
    """Return the layers that the chunk states.

    Raises
    ------
    BitstreamError
        If it is not of this file, or its layers do not share out the sites.
    """
    if len(chunk.data) % _NUMBER.size or len(chunk.data) < 3 * _NUMBER.size:
        raise BitstreamError(f"{chunk.label}: {len(chunk.data)} bytes cannot be layers")
    crc, *sites = (value for (value,) in _NUMBER.iter_unpack(chunk.data))
    if crc != header_crc:
        raise BitstreamError(f"{chunk.label}: belongs to another header")
    if 0 in sites or sum(sites) != header.site_count:
        raise BitstreamError(f"{chunk.label}: the layers do not have {header.site_count} sites")
    return Layers(tuple(accumulate(sites)))
