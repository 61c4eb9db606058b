"""Frames of a file: where each lies, and which are coded against the one before."""

from __future__ import annotations

import struct
from itertools import accumulate

from sadcodec.errors import BitstreamError, LimitError, OptionError

from .container import CHUNK_OVERHEAD, MAX_CHUNKS, Chunk, chunk_at
from .header import Header, Limits, unpack_header

__all__ = ["MAX_CHAIN", "MAX_FRAMES", "FrameIndex", "leading_chunk", "pack_index"]

MAX_FRAMES = 1 << 16
MAX_CHAIN = 255  # delta frames after a key frame: what decoding any frame costs at most

_KEY_BIT = 1 << 31
_NUMBER = struct.Struct("<I")


def leading_chunk(data: bytes, limits: Limits, name: bytes) -> tuple[Header, Chunk] | None:
    """Header and first critical chunk of a file if that is of this type; else None.

    Raises
    ------
    BitstreamError
        If the header or a chunk up to there is damaged or cut short.
    LimitError
        If the header asks for more than `limits`, or the chunk is none of the first 1024.
    """
    header, offset = unpack_header(data, limits)
    for _ in range(MAX_CHUNKS):
        found = data[offset + 4 : offset + 8]
        if len(data) - offset < CHUNK_OVERHEAD:
            return None
        if found == name:
            return header, chunk_at(data, offset)
        if not found[0] & 0x20:  # critical
            return None
        offset = chunk_at(data, offset).end
    raise LimitError(f"more than {MAX_CHUNKS} chunks, at byte {offset}")


def pack_index(frames: list[tuple[bytes, bool]]) -> bytes:
    """Return the index of frames: (data of the chunk, whether it is a key frame) each.

    Raises
    ------
    OptionError
        If there are none or too many, the first is no key frame, or a key frame is missing.
    """
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise OptionError(f"a sequence has 1 to {MAX_FRAMES} frames, not {len(frames)}")
    problem = _order_problem([key for _, key in frames])
    if problem:
        raise OptionError(problem)
    entries = [len(content) | (_KEY_BIT if key else 0) for content, key in frames]
    return struct.pack(f"<{len(entries)}I", *entries)


def _order_problem(keys: list[bool]) -> str | None:
    chain = MAX_CHAIN
    for number, key in enumerate(keys):
        chain = 0 if key else chain + 1
        if chain > MAX_CHAIN:
            where = f"frame {number} is coded against the one before"
            return f"{where}, but there is no key frame in the {MAX_CHAIN} before it"
    return None


class FrameIndex:
    """The frames of an opened file; their chunks are checked when they are asked for.

    Parameters
    ----------
    data : bytes
        The whole file.
    label : str
        How messages name the index.
    entries : bytes
        The index as `pack_index` makes it.
    start : int
        Offset of the first frame's chunk.
    key, delta : bytes
        Types of the chunks of key frames and of the others.

    Raises
    ------
    BitstreamError
        If it is no index, or the frames do not end where the file does.
    """

    def __init__(
        self, data: bytes, label: str, entries: bytes, start: int, key: bytes, delta: bytes
    ) -> None:
        self._data, self._types = data, (delta, key)
        count, rest = divmod(len(entries), 4)
        if rest or not 1 <= count <= MAX_FRAMES:
            raise BitstreamError(f"{label}: not an index of 1 to {MAX_FRAMES} frames")
        numbers = struct.unpack(f"<{count}I", entries)
        self.keys = [bool(number & _KEY_BIT) for number in numbers]
        self.lengths = [number & ~_KEY_BIT for number in numbers]
        ends = list(accumulate((n + CHUNK_OVERHEAD for n in self.lengths), initial=start))
        self.offsets = ends[:-1]
        problem = _order_problem(self.keys)
        if problem:
            raise BitstreamError(f"{label}: {problem}")
        if ends[-1] != len(data):
            raise BitstreamError(
                f"{label}: its frames end at byte {ends[-1]}, the file at {len(data)}"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def check(self, number: int) -> None:
        """Raise OptionError if there is no such frame."""
        if not 0 <= number < len(self):
            raise OptionError(f"there is no frame {number}; the sequence has 0 to {len(self) - 1}")

    def key_before(self, number: int) -> int:
        """Return the last key frame up to this one."""
        return max(i for i in range(number + 1) if self.keys[i])

    def chunk(self, number: int) -> tuple[Chunk, bytes]:
        """Return the chunk of a frame, and what follows its number.

        Raises
        ------
        BitstreamError
            If it is damaged or another one than the index says.
        """
        chunk = chunk_at(self._data, self.offsets[number])
        if chunk.type != self._types[self.keys[number]] or chunk.length != self.lengths[number]:
            raise BitstreamError(f"{chunk.label}: the index has another chunk here")
        if chunk.length < _NUMBER.size:
            raise BitstreamError(f"{chunk.label}: too short for a frame")
        (stated,) = _NUMBER.unpack_from(chunk.data)
        if stated != number:
            raise BitstreamError(f"{chunk.label}: is frame {stated}, not {number}")
        return chunk, chunk.data[_NUMBER.size :]
