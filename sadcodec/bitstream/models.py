"""The chunk that says what the adaptive models of all groups start from.

Small groups that each learn from nothing take some 2 % more bytes (docs/FORMAT.md,
section 11). The table is the coder's (kernels/coder/model_table.h).
"""

from __future__ import annotations

import struct
from functools import lru_cache

from sadcodec import _coder
from sadcodec.errors import BitstreamError

from .container import CHUNK_OVERHEAD, Chunk
from .header import Header

__all__ = ["MODELS", "models_bytes", "models_of", "pack_models", "unpack_models"]

MODELS = b"MODL"
_HEAD = struct.Struct("<I")  # CRC of the header


def models_bytes(table: bytes) -> int:
    """Bytes of the chunk with this table; 0 for none."""
    return CHUNK_OVERHEAD + _HEAD.size + len(table) if table else 0


def pack_models(header_crc: int, table: bytes) -> bytes:
    """Content of the chunk."""
    return _HEAD.pack(header_crc) + table


def unpack_models(header: Header, header_crc: int, chunk: Chunk) -> bytes:
    """Return the table of the chunk, checked.

    Raises
    ------
    BitstreamError
        If it is not of this file, or no encoder writes such a table.
    """
    if len(chunk.data) <= _HEAD.size:
        raise BitstreamError(f"{chunk.label}: too short for models")
    if _HEAD.unpack_from(chunk.data)[0] != header_crc:
        raise BitstreamError(f"{chunk.label}: belongs to another header")
    table = chunk.data[_HEAD.size :]
    try:
        _read(table, header.width, header.height, header.quantizer.as_tuple())
    except ValueError as error:
        raise BitstreamError(f"{chunk.label}: damaged models: {error}") from None
    return table


def models_of(header: Header) -> _coder.Models | None:
    """Return the models that a header's table gives; None without one."""
    if not header.models:
        return None
    return _read(header.models, header.width, header.height, header.quantizer.as_tuple())


@lru_cache(maxsize=2)  # for the groups of one file
def _read(table: bytes, width: int, height: int, quantizer: tuple[int, ...]) -> _coder.Models:
    return _coder.read_models(table, width, height, quantizer)
