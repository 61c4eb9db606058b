"""The templates of a composition as they lie in a file: whole PNG or WebP files, checked outside.

Which picture is in them is for others to decode; what is here bounds what that can cost.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from sadcodec.errors import BitstreamError, OptionError

__all__ = [
    "MAX_TEMPLATES",
    "TEMPLATE_SIDE",
    "pack_templates",
    "template_problem",
    "unpack_templates",
]

TEMPLATE_SIDE = 128  # px
MAX_TEMPLATES = 256
MAX_TEMPLATE_BYTES = 1 << 17

_LENGTH = struct.Struct("<I")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOR_TYPES = (0, 4, 6)  # gray; gray and alpha; red, green, blue and alpha


def template_problem(data: bytes) -> str | None:
    """Say what is wrong with the file of a template, by its frame alone; None if nothing is."""
    if len(data) > MAX_TEMPLATE_BYTES:
        return f"has more than {MAX_TEMPLATE_BYTES} bytes"
    if data.startswith(_PNG):
        return _png_problem(data)
    if data.startswith(b"RIFF"):
        return _webp_problem(data)
    return "is neither a PNG nor a WebP file"


def _png_problem(data: bytes) -> str | None:
    names, at = [], len(_PNG)
    while at + 12 <= len(data):
        names.append(data[at + 4 : at + 8])
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return "is no whole PNG file"
        at = end
    if at != len(data) or names[:1] != [b"IHDR"] or data[-12:-4] != b"\0\0\0\0IEND":
        return "is no whole PNG file"
    if set(names[1:-1]) != {b"IDAT"} or len(data) < 33:
        return "is a PNG file with other chunks than IHDR, IDAT and IEND"
    width, height, depth, color, *rest = struct.unpack_from(">IIBBBBB", data, 16)
    if (width, height) != (TEMPLATE_SIDE, TEMPLATE_SIDE):
        return f"has {width} x {height} pixels"
    if depth != 8 or color not in _PNG_COLOR_TYPES or rest != [0, 0, 0]:
        return "is a PNG file of a kind that templates do not have"
    return None


def _webp_problem(data: bytes) -> str | None:
    """Source: RFC 9649, sections 2.3 to 2.6 and 3.4: one chunk of lossless pixels."""
    if len(data) < 25 or data[8:16] != b"WEBPVP8L" or data[20] != 0x2F:
        return "is no simple lossless WebP file"
    whole, part = (int.from_bytes(data[at : at + 4], "little") for at in (4, 16))
    if whole + 8 != len(data) or 20 + part + (part & 1) != len(data):
        return "is no whole WebP file"
    bits = int.from_bytes(data[21:25], "little")
    width, height, version = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 29
    if (width, height) != (TEMPLATE_SIDE, TEMPLATE_SIDE):
        return f"has {width} x {height} pixels"
    return "is a WebP file of an unknown version" if version else None


def pack_templates(templates: Sequence[bytes]) -> bytes:
    """Return the data of a chunk of templates.

    Raises
    ------
    OptionError
        If there are none or too many, or one is not as `template_problem` wants it.
    """
    if not 1 <= len(templates) <= MAX_TEMPLATES:
        raise OptionError(f"{len(templates)} templates; 1 to {MAX_TEMPLATES} can be")
    for number, template in enumerate(templates):
        problem = template_problem(template)
        if problem:
            raise OptionError(f"template {number} {problem}")
    return b"".join(_LENGTH.pack(len(template)) + template for template in templates)


def unpack_templates(data: bytes, count: int) -> tuple[bytes, ...]:
    """Return the files of `count` templates.

    Raises
    ------
    BitstreamError
        If the chunk holds another number, or one that no encoder writes.
    """
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) < count:
        end = at + _LENGTH.size + int.from_bytes(data[at : at + _LENGTH.size], "little")
        found.append(data[at + _LENGTH.size : end])
        problem = "is cut short" if end > len(data) else template_problem(found[-1])
        if problem:
            raise BitstreamError(f"template {len(found) - 1} {problem}")
        at = end
    if at != len(data) or len(found) != count:
        raise BitstreamError("another number of templates than stated")
    return tuple(found)
