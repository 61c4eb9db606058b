"""The ``.sad`` file format, version 1: integer symbols to bytes and back (docs/FORMAT.md).

Nothing here knows floating-point sites or pixels: ``quantize`` turns sites into `Symbols`.
"""

from __future__ import annotations

from .composition import (
    CompositionFile,
    CompositionFrame,
    PrimitiveQuantizer,
    is_composition,
    open_composition,
    primitive_directions,
    write_composition,
)
from .container import Chunk
from .costs import ColumnCosts, symbol_costs
from .frame_index import MAX_CHAIN, MAX_FRAMES
from .header import CODERS, MAX_GRID, Header, Limits, header_crc
from .inspection import ChunkInfo, ColumnInfo, FileInfo, LayerInfo, inspect
from .layers import Layer, Layers, layers_bytes
from .opening import front_metadata, read_front
from .payload import GroupFields, Payload, decode_payload, encode_payload
from .reach import REACH, pack_reach, reach_bytes
from .repair import Damage, FirstLayers, LostSites, Repair, salvage, salvage_metadata
from .sadfile import (
    METADATA,
    chunks_size,
    file_size,
    group_starts,
    insert_chunks,
    metadata,
    read,
    read_header,
    read_layers,
    write,
)
from .sequence import (
    Frame,
    Sequence,
    is_sequence,
    open_sequence,
    write_sequence,
)
from .symbols import (
    AUTOMATIC_GROUPS,
    MAX_GROUPED,
    MAX_GROUPS,
    QuantizerParameters,
    Symbols,
    angle_levels,
    color_classes,
    from_table,
    groups_for,
    to_table,
)
from .templates import TEMPLATE_SIDE, template_problem

__all__ = [
    "AUTOMATIC_GROUPS",
    "CODERS",
    "MAX_CHAIN",
    "MAX_FRAMES",
    "MAX_GRID",
    "MAX_GROUPED",
    "MAX_GROUPS",
    "METADATA",
    "REACH",
    "TEMPLATE_SIDE",
    "Chunk",
    "ChunkInfo",
    "ColumnCosts",
    "ColumnInfo",
    "CompositionFile",
    "CompositionFrame",
    "Damage",
    "FileInfo",
    "FirstLayers",
    "Frame",
    "GroupFields",
    "Header",
    "Layer",
    "LayerInfo",
    "Layers",
    "Limits",
    "LostSites",
    "Payload",
    "PrimitiveQuantizer",
    "QuantizerParameters",
    "Repair",
    "Sequence",
    "Symbols",
    "angle_levels",
    "chunks_size",
    "color_classes",
    "decode_payload",
    "encode_payload",
    "file_size",
    "from_table",
    "front_metadata",
    "group_starts",
    "groups_for",
    "header_crc",
    "insert_chunks",
    "inspect",
    "is_composition",
    "is_sequence",
    "layers_bytes",
    "metadata",
    "open_composition",
    "open_sequence",
    "pack_reach",
    "primitive_directions",
    "reach_bytes",
    "read",
    "read_front",
    "read_header",
    "read_layers",
    "salvage",
    "salvage_metadata",
    "symbol_costs",
    "template_problem",
    "to_table",
    "write",
    "write_composition",
    "write_sequence",
]
