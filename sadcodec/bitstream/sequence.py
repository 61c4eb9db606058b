"""Sequences: many pictures of one size in a file, most of them coded against the one before.

docs/FORMAT.md, section 15. A frame is a whole diagram (key frame) or what changed since the frame
before it (delta frame); an index says where each lies, so that any can be decoded alone.
"""

from __future__ import annotations

import collections.abc
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder
from sadcodec.errors import BitstreamError, LimitError, OptionError

from .container import Chunk, pack_chunk
from .frame_index import MAX_CHAIN, MAX_FRAMES, FrameIndex, leading_chunk, pack_index
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

INDEX, KEY, DELTA = b"SEQH", b"FKEY", b"FDLT"

_NUMBER = struct.Struct("<I")
_SITES = struct.Struct("<I")  # of a delta frame


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
    contents = []
    for number, frame in enumerate(frames):
        key = isinstance(frame, bytes)
        rest = frame if isinstance(frame, bytes) else _SITES.pack(frame[1]) + frame[0]
        contents.append((_NUMBER.pack(number) + rest, key))
    index = pack_index(contents)
    chunks = [pack_chunk(KEY if key else DELTA, content) for content, key in contents]
    first = frames[0]
    assert isinstance(first, bytes)  # noqa: S101  (checked with the order)
    _, end = unpack_header(first, Limits())
    return b"".join([first[:end], pack_chunk(INDEX, index), *chunks])


def is_sequence(data: bytes, limits: Limits | None = None) -> bool:
    """Whether a file holds a sequence; damage that is met on the way is for others to report."""
    try:
        return leading_chunk(data, limits or Limits(), INDEX) is not None
    except (BitstreamError, LimitError):
        return False


class Sequence:
    """A file of frames, opened; chunks are checked when they are asked for."""

    def __init__(self, data: bytes, header: Header, index: Chunk, limits: Limits) -> None:
        self.header = header
        self._first = data[: unpack_header(data, limits)[1]]
        self._limits = limits
        self._index = FrameIndex(data, index.label, index.data, index.end, KEY, DELTA)
        self.keys, self.lengths = self._index.keys, self._index.lengths

    def __len__(self) -> int:
        return len(self._index)

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
        self._index.check(start)
        frame = None
        for i in range(self._index.key_before(start), len(self)):
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
        chunk, content = self._index.chunk(number)
        if self.keys[number]:
            return chunk, content, 0
        if len(content) < _SITES.size:
            raise BitstreamError(f"{chunk.label}: too short for a frame")
        return chunk, content[_SITES.size :], _SITES.unpack_from(content)[0]

    def _after(self, before: Frame | None, number: int, threads: int) -> Frame:
        chunk, content, sites = self._chunk(number)
        try:
            if before is None or self.keys[number]:
                return self._key(number, content, threads)
            return self._delta(before, content, sites)
        except BitstreamError as error:
            raise BitstreamError(f"{chunk.label}: {error}") from None

    def _key(self, number: int, content: bytes, threads: int) -> Frame:
        frame = Frame.of_key(content, self._limits, threads)
        for name in ("width", "height", "channels", "bit_depth"):
            if getattr(frame.header, name) != getattr(self.header, name):
                raise BitstreamError(f"the {name} differs from the first frame's")
        if number == 0 and not content.startswith(self._first):
            raise BitstreamError("its header is not the sequence's")
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
    found = leading_chunk(data, limits, INDEX)
    return None if found is None else Sequence(data, *found, limits)
