"""The ``.sad`` file format, version 1: integer symbols to bytes and back (docs/FORMAT.md).

Nothing here knows floating-point sites or pixels: ``quantize`` turns sites into `Symbols`.
"""

from __future__ import annotations

from .container import Chunk
from .costs import ColumnCosts, symbol_costs
from .header import CODERS, MAX_GRID, Header, Limits
from .payload import Payload, decode_payload, encode_payload
from .sadfile import ChunkInfo, ColumnInfo, FileInfo, file_size, inspect, metadata, read, write
from .symbols import QuantizerParameters, Symbols, angle_levels, color_classes

__all__ = [
    "CODERS",
    "MAX_GRID",
    "Chunk",
    "ChunkInfo",
    "ColumnCosts",
    "ColumnInfo",
    "FileInfo",
    "Header",
    "Limits",
    "Payload",
    "QuantizerParameters",
    "Symbols",
    "angle_levels",
    "color_classes",
    "decode_payload",
    "encode_payload",
    "file_size",
    "inspect",
    "metadata",
    "read",
    "symbol_costs",
    "write",
]
