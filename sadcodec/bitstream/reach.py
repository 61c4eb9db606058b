"""The chunk that says where in the picture the sites of each group matter.

A reader that draws a part of the picture leaves out the other groups (docs/FORMAT.md, section 11).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .container import CHUNK_OVERHEAD
from .region import Box

__all__ = ["REACH", "pack_reach", "reach_bytes", "unpack_reach"]

REACH = b"reCH"
_HEAD = struct.Struct("<I")  # CRC of the header
_BOX = struct.Struct("<4H")


def reach_bytes(groups: int, layers: int = 1) -> int:
    """Bytes of the chunk in a file of so many groups; 0 if none is a part of its layer."""
    return CHUNK_OVERHEAD + _HEAD.size + groups * _BOX.size if groups > max(layers, 1) else 0


def _unit(width: int, height: int) -> int:
    """Return what a coordinate is counted in, px."""
    return -(-max(width, height) // 65535)


def pack_reach(header_crc: int, width: int, height: int, boxes: Sequence[Box]) -> bytes:
    """Content of the chunk; boxes are widened to whole units."""
    unit = _unit(width, height)
    packed = [
        _BOX.pack(x0 // unit, y0 // unit, -(-x1 // unit), -(-y1 // unit))
        for x0, y0, x1, y1 in boxes
    ]
    return _HEAD.pack(header_crc) + b"".join(packed)


def unpack_reach(
    content: bytes, header_crc: int, width: int, height: int, groups: int
) -> list[Box] | None:
    """Boxes in px of all groups; None if the content is not of this file's groups."""
    if (
        len(content) != _HEAD.size + groups * _BOX.size
        or _HEAD.unpack_from(content)[0] != header_crc
    ):
        return None
    unit = _unit(width, height)
    return [
        (x0 * unit, y0 * unit, x1 * unit, y1 * unit)
        for x0, y0, x1, y1 in _BOX.iter_unpack(content[_HEAD.size :])
    ]
