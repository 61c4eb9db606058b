"""Compositions: pictures made of bitmap primitives, as integers (docs/FORMAT.md, section 16)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder
from sadcodec.errors import BitstreamError, LimitError, OptionError

from .container import Chunk, chunk_at, pack_chunk
from .frame_index import MAX_CHAIN, FrameIndex, leading_chunk, pack_index
from .header import Header, Limits, pack_header
from .payload import MAX_SITES_PER_BYTE
from .symbols import QuantizerParameters
from .templates import MAX_TEMPLATES, pack_templates, unpack_templates

__all__ = [
    "MAX_PRIMITIVES",
    "CompositionFile",
    "CompositionFrame",
    "PrimitiveQuantizer",
    "is_composition",
    "open_composition",
    "primitive_directions",
    "write_composition",
]

COMPOSITION, TEMPLATES, KEY, DELTA = b"CMPH", b"TMPL", b"PKEY", b"PDLT"
MAX_PRIMITIVES = 1 << 20
MAX_GRID = 1 << 20  # cells along one axis of the grid, which is twice as wide as the picture

# templates, flags, reserved, background, blend, opacity, then the quantizer; the index follows.
_FIELDS = struct.Struct("<HBB3HHH5H")
_FRAME = struct.Struct("<II")  # number, primitives
_HAS_BACKGROUND = 1
_ONE = 65535  # what fractions are stored in

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class PrimitiveQuantizer:
    """What the symbols of primitives are worth; all integers 1..65535.

    Parameters
    ----------
    step_position : int
        1/1024 px.
    step_log_radius : int
        1/1024 octave, at most 1024. (A radius is never a power of two, where templates change.)
    step_arc : int
        1/1024 px: how far what lies a radius away from the centre turns with a step of the angle.
    opacity_levels, color_levels : int
        The symbols that stand for 1.
    """

    step_position: int = 384
    step_log_radius: int = 40
    step_arc: int = 768
    opacity_levels: int = 23
    color_levels: int = 31

    def __post_init__(self) -> None:
        if not all(1 <= value <= 65535 for value in astuple(self)) or self.step_log_radius > 1024:
            raise OptionError("a quantizer field of primitives is out of range")

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Return the cells of the grid: it reaches half a picture beyond each side."""
        across, down = (-(-2048 * side // self.step_position) for side in (width, height))
        return across, down

    def for_coder(self, width: int, height: int) -> tuple[int, ...]:
        """Return what `_coder` takes."""
        return (*self.grid(width, height), *astuple(self)[1:])


def primitive_directions(quantizer: PrimitiveQuantizer) -> Rows:
    """Return how many directions each radius symbol has, int32."""
    return _coder.primitive_directions(quantizer.for_coder(1, 1))


@dataclass(frozen=True, eq=False)
class CompositionFrame:
    """The symbols of one frame.

    Attributes
    ----------
    rows : int32 [N, 8]
        Front to back: x, y, radius, angle, opacity, red, green, blue.
    bits : float64 [8]
        What each column takes in the file.
    """

    rows: Rows
    bits: NDArray[np.float64]


def _header(width: int, height: int, channels: int) -> Header:
    """Return the header of a composition: size and channels, the other fields have one value."""
    quantizer = QuantizerParameters(1024, 1024, 1024, 1024, 0, (1024,) * channels, 0, 0)
    return Header(width, height, channels, 8, 1, 1, quantizer)


def write_composition(
    width: int,
    height: int,
    frames: Sequence[Rows],
    templates: Sequence[bytes],
    quantizer: PrimitiveQuantizer,
    background: tuple[int, int, int] | None = None,
    blend: int = 0,
    opacity: int = _ONE,
) -> bytes:
    """Return the file of a composition, or of several that share all but the primitives.

    Parameters
    ----------
    width, height : int, px
    frames : sequence of int32 [N, 8]
        As in `CompositionFrame`. A frame is coded against the one before where that is smaller.
    templates : sequence of bytes
        A PNG or WebP file each (`sadcodec.bitstream.templates`).
    quantizer : PrimitiveQuantizer
    background : three ints or None
        Red, green and blue, as blend and opacity in 1/65535.

    Raises
    ------
    OptionError
        If something is out of range.
    """
    _check_grid(quantizer, width, height)
    contents: list[tuple[bytes, bool]] = []
    chain, before = 0, None
    for number, given in enumerate(frames):
        rows = np.ascontiguousarray(given, np.int32)
        key, payload = _smaller(quantizer.for_coder(width, height), rows, before, chain)
        contents.append((_FRAME.pack(number, len(rows)) + payload, key))
        chain, before = 0 if key else chain + 1, rows
    fields = _FIELDS.pack(
        len(templates),
        0 if background is None else _HAS_BACKGROUND,
        0,
        *(background or (0, 0, 0)),
        blend,
        opacity,
        *astuple(quantizer),
    )
    parts = [
        pack_header(_header(width, height, 4 if background is None else 3)),
        pack_chunk(COMPOSITION, fields + pack_index(contents)),
        pack_chunk(TEMPLATES, pack_templates(templates)),
    ]
    parts += [pack_chunk(KEY if key else DELTA, content) for content, key in contents]
    return b"".join(parts)


def _smaller(
    quantizer: tuple[int, ...], rows: Rows, before: Rows | None, chain: int
) -> tuple[bool, bytes]:
    """Code a frame: whether it is a key frame, and its payload."""
    try:
        payload, _ = _coder.primitives(quantizer, rows)
        if before is not None and len(before) == len(rows) and chain < MAX_CHAIN:
            delta, _ = _coder.primitives(quantizer, rows, before)
            if len(delta) < len(payload):
                return False, delta
    except ValueError as error:
        raise OptionError(str(error)) from None
    if len(rows) > MAX_SITES_PER_BYTE * len(payload):
        raise OptionError("more primitives than a payload of this size may hold")
    return True, payload


def _check_grid(quantizer: PrimitiveQuantizer, width: int, height: int) -> None:
    if max(quantizer.grid(width, height)) > MAX_GRID:
        raise OptionError("picture too large for its position step")


class CompositionFile:
    """A file of primitives, opened: templates and fields are checked, frames when asked for.

    Attributes
    ----------
    header : Header
        Its width, height and channels: 3 with a background, 4 without.
    templates : tuple of bytes
        A whole PNG or WebP file each, 128 x 128 px; an outside check only.
    background : three ints or None
        Red, green and blue, as `blend` and `opacity` in 1/65535.
    quantizer : PrimitiveQuantizer
    keys, lengths : list
        Of each frame: whether it is a key frame, and the bytes of its chunk's data.
    """

    def __init__(self, data: bytes, header: Header, chunk: Chunk, limits: Limits) -> None:
        self.header, self._limits = header, limits
        if chunk.length < _FIELDS.size:
            raise BitstreamError(f"{chunk.label}: too short for a composition")
        count, flags, reserved, *values = _FIELDS.unpack_from(chunk.data)
        if flags & ~_HAS_BACKGROUND or reserved:
            raise BitstreamError(f"{chunk.label}: reserved bits are set")
        self.background = tuple(values[:3]) if flags & _HAS_BACKGROUND else None
        self.blend, self.opacity = values[3:5]
        if not self.opacity or not 1 <= count <= MAX_TEMPLATES:
            raise BitstreamError(f"{chunk.label}: opacity or number of templates out of range")
        if header != _header(header.width, header.height, 3 if self.background else 4):
            raise BitstreamError("bad header: not that of a composition")
        if self.background is None and any(values[:3]):
            raise BitstreamError(f"{chunk.label}: reserved bits are set")
        try:
            self.quantizer = PrimitiveQuantizer(*values[5:])
            _check_grid(self.quantizer, header.width, header.height)
        except OptionError as error:
            raise BitstreamError(f"{chunk.label}: {error}") from None
        stored = chunk_at(data, chunk.end)
        if stored.type != TEMPLATES:
            raise BitstreamError(f"{stored.label}: the templates should be here")
        try:
            self.templates = unpack_templates(stored.data, count)
        except BitstreamError as error:
            raise BitstreamError(f"{stored.label}: {error}") from None
        entries = chunk.data[_FIELDS.size :]
        self._index = FrameIndex(data, chunk.label, entries, stored.end, KEY, DELTA)
        self.keys, self.lengths = self._index.keys, self._index.lengths

    def __len__(self) -> int:
        return len(self._index)

    def primitives(self, number: int) -> int:
        """Return the stated number of primitives of a frame, its checksum checked.

        Raises
        ------
        BitstreamError
            If its chunk is damaged.
        """
        return self._chunk(number)[2]

    def frame(self, number: int) -> CompositionFrame:
        """Return frame `number`, counted from 0.

        Raises
        ------
        OptionError
            If there is no such frame.
        BitstreamError, LimitError
            If it, or a frame that it is coded against, is damaged or over the limits.
        """
        return next(self.frames(number))

    def frames(self, start: int = 0) -> Iterator[CompositionFrame]:
        """Give the frames from `start` on in order; raises as `frame`."""
        self._index.check(start)
        before: Rows | None = None
        for number in range(self._index.key_before(start), len(self)):
            frame = self._decoded(number, before)
            before = frame.rows
            if number >= start:
                yield frame

    def _chunk(self, number: int) -> tuple[Chunk, bytes, int]:
        chunk, content = self._index.chunk(number)
        if len(content) < 4:
            raise BitstreamError(f"{chunk.label}: too short for a frame")
        return chunk, content[4:], int.from_bytes(content[:4], "little")

    def _decoded(self, number: int, before: Rows | None) -> CompositionFrame:
        chunk, payload, count = self._chunk(number)
        if self.keys[number]:
            before = None
            if count > MAX_SITES_PER_BYTE * len(payload):
                raise BitstreamError(f"{chunk.label}: too short for its number of primitives")
        if count > min(MAX_PRIMITIVES, self._limits.max_sites):
            raise LimitError(f"{chunk.label}: {count} primitives exceed the limit")
        fields = self.quantizer.for_coder(self.header.width, self.header.height)
        try:
            rows, bits = _coder.from_primitives(payload, count, fields, before)
        except ValueError as error:
            raise BitstreamError(f"{chunk.label}: damaged primitives: {error}") from None
        return CompositionFrame(rows, bits)


def is_composition(data: bytes, limits: Limits | None = None) -> bool:
    """Whether a file holds a composition; damage that is met on the way is for others to report."""
    try:
        return leading_chunk(data, limits or Limits(), COMPOSITION) is not None
    except (BitstreamError, LimitError):
        return False


def open_composition(data: bytes, limits: Limits | None = None) -> CompositionFile | None:
    """Open a composition; None for a file that holds something else.

    Raises
    ------
    BitstreamError
        If the header, a field, a template or a chunk before the primitives is damaged.
    LimitError
        If the picture exceeds the limits.
    """
    limits = limits or Limits()
    found = leading_chunk(data, limits, COMPOSITION)
    return None if found is None else CompositionFile(data, *found, limits)
