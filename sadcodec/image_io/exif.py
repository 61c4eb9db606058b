"""Exif as far as pixels need it: which way up an image is, and whether its directories are sound.

Own code because what is read may be hostile: entries of a directory may all state the same large
range of bytes, which a reader that copies each would take thousands of times. Source: Exif 2.32 and
TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

__all__ = ["DIRECTORIES", "ORIENTATION", "is_sound", "oriented"]

ORIENTATION = 274
DIRECTORIES = (34665, 34853)  # of Exif, of GPS: tags that hold the offset of another directory
_INTEROPERABILITY = 40965  # in that of Exif

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_NUMBERS = {3: "H", 4: "I", 13: "I"}

# Whether rows and columns change places, and which of them run backwards after that, by tag 274.
_TURNS = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


class _Entry(NamedTuple):
    bytes: int  # that its values take
    number: int  # if it is a single integer, else 0


def oriented(image: np.ndarray, exif: bytes) -> np.ndarray:
    """Return an image [H, W, C] the way up that Exif states; as it is where it states none."""
    try:
        stated = _directory(exif, None)[ORIENTATION].number
    except (struct.error, KeyError):
        return image
    swapped, down, right = _TURNS.get(stated, (False, 1, 1))
    image = image.swapaxes(0, 1) if swapped else image
    return np.ascontiguousarray(image[::down, ::right])


def is_sound(exif: bytes) -> bool:
    """Whether all directories are there, and their values take no more bytes than Exif has."""
    try:
        first = _directory(exif, None)
        found = [first]
        found += [_directory(exif, first[tag].number) for tag in DIRECTORIES if tag in first]
        more = [each[_INTEROPERABILITY] for each in found if _INTEROPERABILITY in each]
        found += [_directory(exif, entry.number) for entry in more]
    except (struct.error, KeyError):
        return False
    return sum(entry.bytes for each in found for entry in each.values()) <= len(exif)


def _directory(exif: bytes, offset: int | None) -> dict[int, _Entry]:
    """Entries by tag; struct.error or KeyError where there are none. None: the first directory."""
    order = _ORDERS[exif[:4]]
    if offset is None:
        offset = struct.unpack_from(order + "I", exif, 4)[0]
    (count,) = struct.unpack_from(order + "H", exif, offset)
    entries = {}
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", exif, at)
        number = 0
        if length == 1 and kind in _NUMBERS:
            (number,) = struct.unpack_from(order + _NUMBERS[kind], exif, at + 8)
        entries[tag] = _Entry(length * _SIZES.get(kind, 0), number)
    return entries
