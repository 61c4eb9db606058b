"""Sequences: many pictures of one size in a file, most of them coded against the one before.

docs/FORMAT.md, section 15. A frame is a whole diagram (key frame) or what changed since the frame
before it (delta frame); an index says where each lies, so that any can be decoded alone.
"""

from __future__ import annotations

import collections.abc
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder
from sadcodec.errors import BitstreamError, LimitError, OptionError

from .container import CHUNK_OVERHEAD, Chunk, chunk_at, pack_chunk
from .header import MAX_SITES, Header, Limits, unpack_header
from .payload import MAX_SITES_PER_BYTE
from .sadfile import read
from .symbols import Symbols, color_classes, from_table, to_table

__all__ = [
    "MAX_CHAIN",
    "MAX_FRAMES",
    "Frame",
    "Sequence",
    "is_sequence",
    "open_sequence",
    "write_sequence",
]

MAX_FRAMES = 1 << 16
MAX_CHAIN = 255  # delta frames after a key frame: what decoding any frame costs at most
INDEX, KEY, DELTA = b"SEQH", b"FKEY", b"FDLT"

_KEY_BIT = 1 << 31
_NUMBER = struct.Struct("<I")
_DELTA_FIELDS = struct.Struct("<II")  # number of the frame, sites


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded frame, and what the next one is coded against.

    Attributes
    ----------
    header : Header
        Of the key frame that it goes back to, with the present number of sites.
    symbols : Symbols
        In stored order. Their step classes are those that the sites got in the key frame.
    changed : uint8 [N]
        Whether a site differs from the frame before; 0 in a key frame.
    """

    header: Header
    symbols: Symbols
    changed: NDArray[np.uint8]

    @classmethod
    def of_key(cls, data: bytes, limits: Limits | None = None, threads: int = 1) -> Frame:
        """Return the frame that a whole file holds.

        Raises
        ------
        BitstreamError, LimitError
            As `read`.
        """
        header, symbols = read(data, limits, threads)
        if symbols.classes is None:
            classes = color_classes(symbols, header.width, header.height, header.quantizer)
            symbols = replace(symbols, classes=classes)
        return cls(header, symbols, np.zeros(len(symbols), np.uint8))

    def delta(self, rows: NDArray[np.int32], source: NDArray[np.int32]) -> tuple[bytes, Frame]:
        """Code the sites of the next frame.

        Parameters
        ----------
        rows : int32 [M, 6 + C], M >= 1
            As `to_table` gives them.
        source : int32 [M]
            The site of this frame that each goes back to, ascending: the first of each is that site
            itself, others were put beside it. Sites that none goes back to are gone.

        Returns
        -------
        payload : bytes
        frame : Frame
            As a decoder has it.

        Raises
        ------
        OptionError
            If a symbol is out of range or the sources are out of order.
        """
        h = self.header
        try:
            payload = _coder.delta(
                *(h.width, h.height, h.quantizer.as_tuple(), *self._state()),
                np.ascontiguousarray(rows, np.int32),
                np.ascontiguousarray(source, np.int32),
            )
        except ValueError as error:
            raise OptionError(str(error)) from None
        if len(rows) > len(self.symbols) + MAX_SITES_PER_BYTE * len(payload):
            raise OptionError("more new sites than a payload of this size may hold")
        return payload, self.following(payload, len(rows))

    def following(self, payload: bytes, sites: int) -> Frame:
        """Return the next frame, of so many sites.

        Raises
        ------
        BitstreamError
            If no encoder writes such a payload after this frame.
        """
        h = self.header
        try:
            rows, classes, changed, _ = _coder.from_delta(
                payload, sites, h.width, h.height, h.quantizer.as_tuple(), *self._state()
            )
        except ValueError as error:
            raise BitstreamError(f"damaged site data: {error}") from None
        symbols = replace(from_table(rows, radius=h.quantizer.step_radius > 0), classes=classes)
        return Frame(replace(h, site_count=sites), symbols, changed)

    def _state(self) -> tuple[NDArray[np.int32], NDArray[np.int8], NDArray[np.uint8]]:
        classes = self.symbols.classes
        assert classes is not None  # noqa: S101  (of every frame: see of_key and following)
        return to_table(self.symbols), np.ascontiguousarray(classes), self.changed


def write_sequence(frames: collections.abc.Sequence[bytes | tuple[bytes, int]]) -> bytes:
    """Return a file of frames: a whole file each for key frames, (payload, sites) for the others.

    Raises
    ------
    OptionError
        If there are none or too many, the first is no key frame, or a key frame is missing.
    """
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise OptionError(f"a sequence has 1 to {MAX_FRAMES} frames, not {len(frames)}")
    chunks, index = [], []
    for number, frame in enumerate(frames):
        if isinstance(frame, bytes):
            content, name = _NUMBER.pack(number) + frame, KEY
        else:
            payload, sites = frame
            content, name = _DELTA_FIELDS.pack(number, sites) + payload, DELTA
        chunks.append(pack_chunk(name, content))
        index.append(len(content) | (_KEY_BIT if name == KEY else 0))
    problem = _order_problem([bool(entry & _KEY_BIT) for entry in index])
    if problem:
        raise OptionError(problem)
    first = frames[0]
    assert isinstance(first, bytes)  # noqa: S101  (checked with the order)
    _, end = unpack_header(first, Limits())
    return b"".join(
        [first[:end], pack_chunk(INDEX, struct.pack(f"<{len(index)}I", *index)), *chunks]
    )


def _order_problem(keys: list[bool]) -> str | None:
    chain = MAX_CHAIN
    for number, key in enumerate(keys):
        chain = 0 if key else chain + 1
        if chain > MAX_CHAIN:
            where = f"frame {number} is coded against the one before"
            return f"{where}, but there is no key frame in the {MAX_CHAIN} before it"
    return None


def is_sequence(data: bytes, limits: Limits | None = None) -> bool:
    """Whether a file holds a sequence; damage that is met on the way is for others to report."""
    try:
        return _index_chunk(data, limits or Limits()) is not None
    except (BitstreamError, LimitError):
        return False


def _index_chunk(data: bytes, limits: Limits) -> tuple[Header, Chunk] | None:
    """Header and index of a sequence; None for a single picture."""
    header, offset = unpack_header(data, limits)
    while len(data) - offset >= CHUNK_OVERHEAD:
        name = data[offset + 4 : offset + 8]
        if name == INDEX:
            return header, chunk_at(data, offset)
        if not name[0] & 0x20:  # critical: the sites of a picture
            break
        offset = chunk_at(data, offset).end
    return None


class Sequence:
    """A file of frames, opened; chunks are checked when they are asked for."""

    def __init__(self, data: bytes, header: Header, index: Chunk, limits: Limits) -> None:
        self.header = header
        self._data, self._limits = data, limits
        count, rest = divmod(len(index.data), 4)
        if rest or not 1 <= count <= MAX_FRAMES:
            raise BitstreamError(f"{index.label}: not an index of 1 to {MAX_FRAMES} frames")
        entries = struct.unpack(f"<{count}I", index.data)
        self.keys = [bool(entry & _KEY_BIT) for entry in entries]
        self.lengths = [entry & ~_KEY_BIT for entry in entries]
        ends = list(accumulate((n + CHUNK_OVERHEAD for n in self.lengths), initial=index.end))
        self._offsets = ends[:-1]
        problem = _order_problem(self.keys)
        if problem:
            raise BitstreamError(f"{index.label}: {problem}")
        if ends[-1] != len(data):
            raise BitstreamError(
                f"{index.label}: its frames end at byte {ends[-1]}, the file at {len(data)}"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def frame(self, number: int, threads: int = 1) -> Frame:
        """Return frame `number`, counted from 0.

        Raises
        ------
        OptionError
            If there is no such frame.
        BitstreamError, LimitError
            If it, or a frame that it is coded against, is damaged or over the limits.
        """
        return next(self.frames(threads, number))

    def frames(self, threads: int = 1, start: int = 0) -> Iterator[Frame]:
        """Give the frames from `start` on in order; raises as `frame`."""
        if not 0 <= start < len(self):
            raise OptionError(f"there is no frame {start}; the sequence has 0 to {len(self) - 1}")
        frame = None
        for i in range(max(i for i in range(start + 1) if self.keys[i]), len(self)):
            frame = self._after(frame, i, threads)
            if i >= start:
                yield frame

    def sites(self, number: int) -> int:
        """Return the stated number of sites of a frame, its checksum checked; decodes nothing.

        Raises
        ------
        BitstreamError, LimitError
            If the chunk is damaged or its header over the limits.
        """
        _, content, stated = self._chunk(number)
        return unpack_header(content, self._limits)[0].site_count if self.keys[number] else stated

    def _chunk(self, number: int) -> tuple[Chunk, bytes, int]:
        """Return the chunk of a frame, what is after its fields, and the sites of a delta frame."""
        chunk = chunk_at(self._data, self._offsets[number])
        key = self.keys[number]
        fields = _NUMBER if key else _DELTA_FIELDS
        wanted = KEY if key else DELTA
        if chunk.type != wanted or len(chunk.data) != self.lengths[number]:
            raise BitstreamError(f"{chunk.label}: the index has another chunk here")
        if len(chunk.data) < fields.size:
            raise BitstreamError(f"{chunk.label}: too short for a frame")
        stated, *rest = fields.unpack_from(chunk.data)
        if stated != number:
            raise BitstreamError(f"{chunk.label}: is frame {stated}, not {number}")
        return chunk, chunk.data[fields.size :], 0 if key else rest[0]

    def _after(self, before: Frame | None, number: int, threads: int) -> Frame:
        chunk, content, sites = self._chunk(number)
        try:
            if before is None or self.keys[number]:
                return self._key(content, threads)
            return self._delta(before, content, sites)
        except BitstreamError as error:
            raise BitstreamError(f"{chunk.label}: {error}") from None

    def _key(self, content: bytes, threads: int) -> Frame:
        frame = Frame.of_key(content, self._limits, threads)
        for name in ("width", "height", "channels", "bit_depth"):
            if getattr(frame.header, name) != getattr(self.header, name):
                raise BitstreamError(f"the {name} differs from the first frame's")
        return frame

    def _delta(self, before: Frame, content: bytes, sites: int) -> Frame:
        h = self.header
        if not 1 <= sites <= min(MAX_SITES, 4 * h.width * h.height + 64):
            raise BitstreamError(f"{sites} sites are not possible for {h.width} x {h.height} px")
        if sites > len(before.symbols) + MAX_SITES_PER_BYTE * len(content):
            raise BitstreamError("too short for its number of sites")
        if sites > self._limits.max_sites:
            raise LimitError(f"{sites} sites exceed the limit of {self._limits.max_sites}")
        return before.following(content, sites)


def open_sequence(data: bytes, limits: Limits | None = None) -> Sequence | None:
    """Open a sequence; None for a file that holds a single picture.

    Raises
    ------
    BitstreamError
        If the header, the index or a chunk before it is damaged, or the file is cut short.
    LimitError
        If the frames exceed the limits.
    """
    limits = limits or Limits()
    found = _index_chunk(data, limits)
    return None if found is None else Sequence(data, *found, limits)
