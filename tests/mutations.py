"""Files that are nearly right: blind damage, and changes that know the format.

`mutated` takes its choices from a `random.Random`; hypothesis hands one to a test, tests/fuzz.py
makes one for each file. `sound` is a check of all checksums that shares nothing with the package.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import zstandard
from bad_files import FOLDER as BAD
from bad_files import raw_chunk
from golden_files import FOLDER as GOLDEN

TYPES = (b"SITE", b"SITZ", b"GRPE", b"GRPZ", b"GRPM", b"LAYR", b"MODL")
TYPES += (b"SEQH", b"FKEY", b"FDLT", b"CMPH", b"TMPL", b"PKEY", b"PDLT")
TYPES += (b"reCH", b"iCCP", b"eXIF", b"xMLP", b"teXt", b"NEWS")
FIELDS = [(8, "B"), (9, "B"), (10, "B"), (11, "B"), (12, "<I"), (16, "<I"), (20, "<I")]
FIELDS += [(at, "<H") for at in range(24, 36, 2)]
COMPOSITION_FIELDS = [(0, "<H"), (2, "B"), (3, "B"), (24, "<I")]
COMPOSITION_FIELDS += [(at, "<H") for at in range(4, 24, 2)]
GROUP_FIELDS = [(0, "<I"), (4, "<I"), (8, "<I"), (12, "<H"), (14, "<H"), (16, "<H")]
MOST = 1 << 16  # bytes of a mutated file


def corpus() -> list[bytes]:
    """The files of tests/golden; the bad ones too, each a fourth as often."""
    folders = (GOLDEN, GOLDEN / "sequences", GOLDEN / "compositions", BAD)
    good, frames, composed, bad = (
        [path.read_bytes() for path in sorted(folder.glob("*.sad"))] for folder in folders
    )
    return 4 * good + 8 * (frames + composed) + bad


@dataclass(frozen=True)
class File:
    """A file in pieces, none with its checksum."""

    header: bytes
    chunks: tuple[tuple[bytes, bytes], ...]  # type, data

    def sealed(self) -> bytes:
        """The file, all checksums right; those that groups have of the header, too."""
        crc = zlib.crc32(self.header)
        parts = [self.header + struct.pack("<I", crc)]
        for name, data in self.chunks:
            seal = name in (b"GRPE", b"GRPZ", b"GRPM", b"LAYR", b"MODL") and len(data) >= 4
            parts.append(raw_chunk(name, struct.pack("<I", crc) + data[4:] if seal else data))
        return b"".join(parts)


def opened(data: bytes) -> File | None:
    """The pieces of a file, right or wrong, if it has any."""
    end = 36 + 2 * (data[10] & 7) if len(data) > 40 else len(data)
    if end + 4 > len(data):
        return None
    chunks, at = [], end + 4
    while at + 12 <= len(data):
        length = min(int.from_bytes(data[at : at + 4], "little"), len(data) - at - 12)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return File(data[:end], tuple(chunks))


def sound(data: bytes) -> bool:
    """Whether the checksums of header and chunks are right, up to the last byte."""
    end = 36 + 2 * (data[10] & 7) if len(data) > 40 else len(data)
    if data[end : end + 4] != struct.pack("<I", zlib.crc32(data[:end])):
        return False
    at = end + 4
    while at < len(data):
        length = 8 + int.from_bytes(data[at : at + 4], "little")
        if data[at + length : at + length + 4] != struct.pack(
            "<I", zlib.crc32(data[at : at + length])
        ):
            return False
        at += length + 4
    return True


# ---- any bytes ------------------------------------------------------------------------------


def flip(data: bytes, draw: Random) -> bytes:
    """Some bits."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8)) if data else 0):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return bytes(out)


def overwrite(data: bytes, draw: Random) -> bytes:
    """A few bytes, by others or by one value."""
    at, count = draw.randint(0, len(data)), draw.randint(1, 8)
    new = bytes(draw.choice((0, 1, 127, 128, 255, draw.randrange(256))) for _ in range(count))
    return data[:at] + new + data[at + count :]


def cut(data: bytes, draw: Random) -> bytes:
    """Truncated."""
    return data[: draw.randint(0, len(data))]


def insert(data: bytes, draw: Random) -> bytes:
    """Bytes more, at any place or at the end."""
    at = draw.choice((len(data), draw.randint(0, len(data))))
    new = bytes(draw.randrange(256) for _ in range(draw.choice((1, 2, 4, 40))))
    return data[:at] + new + data[at:]


def delete(data: bytes, draw: Random) -> bytes:
    """Some bytes fewer."""
    at = draw.randint(0, len(data))
    return data[:at] + data[at + draw.choice((1, 2, 4, 40)) :]


def repeat(data: bytes, draw: Random) -> bytes:
    """A part of it again."""
    start, end = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
    return data[:end] + data[start:]


BLIND: tuple[Callable[[bytes, Random], bytes], ...] = (flip, overwrite, cut, insert, delete, repeat)

# ---- with the checksums made right ----------------------------------------------------------


def number(draw: Random, old: int, layout: str) -> int:
    """Another value of a field: a neighbour, a bound, a power of two or any."""
    top = (1 << 8 * struct.calcsize(layout)) - 1
    near = old + draw.choice((-2, -1, 1, 2))
    power = (1 << draw.randint(0, top.bit_length())) + draw.choice((-1, 0, 1))
    anything = draw.randint(0, top)
    new = draw.choice((near, near, 0, top, power, 2 * old, old // 2, anything))
    return min(max(new, 0), top)


def with_field(data: bytes, draw: Random, fields: Sequence[tuple[int, str]]) -> bytes:
    """One of these fields changed."""
    at, layout = draw.choice(fields)
    if at + struct.calcsize(layout) > len(data):
        return data
    out = bytearray(data)
    struct.pack_into(layout, out, at, number(draw, struct.unpack_from(layout, data, at)[0], layout))
    return bytes(out)


def header_field(file: File, _: File, draw: Random) -> File:
    """A field of the header; the colour steps follow the number of channels."""
    colors = [(at, "<H") for at in range(36, len(file.header) - 1, 2)]
    header = with_field(file.header, draw, FIELDS + colors)
    return replace(file, header=header)


def with_chunk(file: File, draw: Random, change: Callable[[bytes, bytes], bytes]) -> File:
    """The data of one chunk changed; the last, which has sites, as often as the others together."""
    if not file.chunks:
        return file
    at = draw.choice((len(file.chunks) - 1, draw.randrange(len(file.chunks))))
    name, data = file.chunks[at]
    chunks = (*file.chunks[:at], (name, change(name, data)), *file.chunks[at + 1 :])
    return replace(file, chunks=chunks)


def chunk_data(file: File, _: File, draw: Random) -> File:
    """The data of a chunk, blindly."""
    return with_chunk(file, draw, lambda _, data: draw.choice(BLIND)(data, draw))


def group_field(file: File, _: File, draw: Random) -> File:
    """A field of a group."""

    def change(name: bytes, data: bytes) -> bytes:
        return with_field(data, draw, GROUP_FIELDS) if name.startswith(b"GRP") else data

    return with_chunk(file, draw, change)


def layer_field(file: File, _: File, draw: Random) -> File:
    """Sites moved from one layer to another."""

    def change(name: bytes, data: bytes) -> bytes:
        count = len(data) // 4 - 1
        if name != b"LAYR" or count < 2:
            return data
        sites = list(struct.unpack_from(f"<{count}I", data, 4))
        source, target, moved = draw.randrange(count), draw.randrange(count), draw.randint(1, 9)
        if sites[source] >= moved and sites[target] + moved < 1 << 32:
            sites[source] -= moved
            sites[target] += moved
        return data[:4] + struct.pack(f"<{count}I", *sites)

    return replace(file, chunks=tuple((name, change(name, data)) for name, data in file.chunks))


def composition_field(file: File, _: File, draw: Random) -> File:
    """A field of a composition."""
    chunks = tuple(
        (name, with_field(data, draw, COMPOSITION_FIELDS) if name == b"CMPH" else data)
        for name, data in file.chunks
    )
    return replace(file, chunks=chunks)


def frame(file: File, _: File, draw: Random) -> File:
    """What a zstd frame holds."""

    def change(name: bytes, data: bytes) -> bytes:
        start = 18 if name == b"GRPZ" else 0
        try:
            # Whatever size a frame states would be allocated, even that of one to be skipped.
            if zstandard.get_frame_parameters(data[start:]).content_size > MOST:
                return data
            inner = zstandard.ZstdDecompressor().decompress(data[start:], max_output_size=MOST)
        except zstandard.ZstdError:
            return data
        return data[:start] + zstandard.compress(draw.choice(BLIND)(inner, draw))

    return with_chunk(file, draw, change)


def chunk_type(file: File, _: File, draw: Random) -> File:
    """Another type for a chunk."""
    if not file.chunks:
        return file
    at = draw.randrange(len(file.chunks))
    name = draw.choice((*TYPES, bytes(draw.randrange(256) for _ in range(4))))
    chunks = (*file.chunks[:at], (name, file.chunks[at][1]), *file.chunks[at + 1 :])
    return replace(file, chunks=chunks)


def chunk_order(file: File, _: File, draw: Random) -> File:
    """A chunk elsewhere, twice or nowhere."""
    if not file.chunks:
        return file
    chunks = list(file.chunks)
    one = draw.choice(chunks)
    if draw.choice((True, False)):
        chunks.remove(one)
    if draw.choice((True, False)):
        chunks.insert(draw.randint(0, len(chunks)), one)
    return replace(file, chunks=tuple(chunks))


def chunk_of_other(file: File, other: File, draw: Random) -> File:
    """Chunks of another file among its own, or in their place."""
    at = draw.randint(0, len(file.chunks))
    kept = draw.choice((file.chunks[at:], file.chunks[at + 1 :], ()))
    return replace(file, chunks=file.chunks[:at] + other.chunks + kept)


def header_of_other(file: File, other: File, _: Random) -> File:
    """The header of another file."""
    return replace(file, header=other.header)


AWARE: tuple[Callable[[File, File, Random], File], ...] = (
    header_field,
    header_field,
    chunk_data,
    chunk_data,
    chunk_data,
    group_field,
    layer_field,
    composition_field,
    frame,
    chunk_type,
    chunk_order,
    chunk_of_other,
    header_of_other,
)


def mutated(files: Sequence[bytes], draw: Random) -> tuple[bytes, str]:
    """A file made of one or two of these, and the names of what was done to it.

    Parameters
    ----------
    files : sequence of bytes
    draw : random.Random
        The same state gives the same file.
    """
    data, other = draw.choice(files), draw.choice(files)
    done = []
    pieces, others = opened(data), opened(other)
    if pieces and others and draw.choice((True, True, False)):
        for _ in range(draw.choice((1, 1, 2, 3))):
            change = draw.choice(AWARE)
            pieces = change(pieces, others, draw)
            done.append(change.__name__)
        data = pieces.sealed()
    elif draw.choice((True, False, False)):
        data = data[: draw.randint(0, len(data))] + other[draw.randint(0, len(other)) :]
        done.append("splice")
    if not done or draw.randrange(8) == 0:
        for _ in range(draw.choice((1, 1, 2, 3))):
            blind = draw.choice(BLIND)
            data = blind(data, draw)
            done.append(blind.__name__)
    return data[:MOST], "+".join(done)
