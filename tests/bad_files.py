"""The files of tests/golden/bad: damaged and hostile, each with the error that it must give.

`make golden` runs this file. `errors.tsv` has a line for each: name, error, and what comes of it
with `repair`. Only what is missing is added; a decoder that was fooled once gets a file here.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import zstandard
from symbol_samples import sample

import sadcodec
from sadcodec import _coder, bitstream
from sadcodec.bitstream.container import pack_chunk
from sadcodec.bitstream.header import pack_header
from sadcodec.errors import SadError

FOLDER = Path(__file__).resolve().parent / "golden" / "bad"
TABLE = FOLDER / "errors.tsv"

HEADER = 42  # bytes of a header with one channel


def sites(count: int = 6, *, groups: int = 1, coder: str = "range") -> bytes:
    """A small file with a profile; one channel."""
    header, symbols = sample(count, seed=3, width=9, height=7, channels=1, groups=groups)
    return bitstream.write(header, symbols, chunks=[(b"iCCP", b"profile")], coder=coder)


def parts(data: bytes) -> list[bytes]:
    """The header and each chunk of a file."""
    found, at = [data[:HEADER]], HEADER
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "little")
        found.append(data[at:end])
        at = end
    return found


def changed(data: bytes, at: int, value: int | None = None) -> bytes:
    """One byte replaced, or one of its bits inverted."""
    out = bytearray(data)
    out[at] = out[at] ^ 0x10 if value is None else value
    return bytes(out)


def with_field(at: int, layout: str, value: int, data: bytes | None = None) -> bytes:
    """A header field replaced and the header's CRC made right."""
    out = bytearray(sites() if data is None else data)
    struct.pack_into(layout, out, at, value)
    end = 36 + 2 * (out[10] & 7)
    struct.pack_into("<I", out, end, zlib.crc32(bytes(out[:end])))
    return bytes(out)


def raw_chunk(name: bytes, data: bytes = b"") -> bytes:
    """A chunk of any type, its CRC right."""
    body = struct.pack("<I", len(data)) + name + data
    return body + struct.pack("<I", zlib.crc32(body))


def with_sites(name: bytes, data: bytes) -> bytes:
    """Another chunk of sites."""
    return sites()[:HEADER] + pack_chunk(name, data)


def payload(coder: str = "range") -> bytes:
    """The sites of `sites()`."""
    return parts(sites(coder=coder))[-1][8:-4]


def group(number: int, **fields: int) -> bytes:
    """Chunk `number` of a file of three groups, with fields replaced and its CRC right."""
    content = parts(sites(groups=3))[2 + number][8:-4]
    names = ("header", "first", "sites", "low", "high", "spacing")
    values = dict(zip(names, struct.unpack_from("<IIIHHH", content))) | fields
    return pack_chunk(b"GRPE", struct.pack("<IIIHHH", *values.values()) + content[18:])


def grouped(*chunks: bytes) -> bytes:
    """A file of these chunks."""
    return sites(groups=3)[:HEADER] + b"".join(chunks)


def flipped(file: bytes, number: int, at: int) -> bytes:
    """A bit inverted in byte `at` of part `number` of a file."""
    pieces = parts(file)
    pieces[number] = changed(pieces[number], at % len(pieces[number]))
    return b"".join(pieces)


def bomb(size: int) -> bytes:
    """A zstd frame of so many zeros."""
    return zstandard.ZstdCompressor(level=19).compress(bytes(size))


def swollen() -> bytes:
    """The most sites in the least data: a header that promises more than the chunk can hold."""
    data = with_field(12, "<I", 1 << 14)
    data = with_field(16, "<I", 1 << 14, data)
    return with_field(20, "<I", 1 << 24, data)


def identical(count: int, side: int) -> bytes:
    """Sites that differ in nothing, in the fewest bytes: no encoder may write so many."""
    zero = np.zeros(count, np.int32)
    header, _ = sample(count, width=side, height=side, channels=1)
    arguments = (side, side, header.quantizer.as_tuple(), zero, zero, zero, zero, zero, None)
    groups, *_ = _coder.encode(*arguments, zero[:, None])
    return pack_header(header) + pack_chunk(b"SITE", groups[0][0])


def everywhere(coder: str = "range", **fields: int) -> bytes:
    """Sites in one place that differ in colour alone: each may be one of the first at any pixel."""
    count = 2400
    header, symbols = sample(count, width=160, height=120, channels=1, coincident=True)
    zero = np.zeros(count, np.int32)
    same = replace(symbols, log_tau=zero, log_anisotropy=zero, angle=zero)
    return bitstream.write(replace(header, **fields), same, coder=coder)


def wide_window() -> bytes:
    """A frame that asks for a window of 2^28 bytes, though it holds 200."""
    # Descriptor: content size of 4 bytes, window stated. Then the window, the size, and a block of
    # one byte that is repeated.
    block = (200 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + bytes([0x80, 18 << 3]) + (200).to_bytes(4, "little") + block


def layers(*sites: int, crc: bytes = b"") -> bytes:
    """A chunk that says that the layers have so many sites."""
    return pack_chunk(
        b"LAYR", (crc or parts(layered())[0][-4:]) + struct.pack(f"<{len(sites)}I", *sites)
    )


def layered(*chunks: bytes) -> bytes:
    """A file of two layers in one and two groups, or its header with other chunks."""
    header, symbols = sample(7, seed=3, width=9, height=7, channels=1, layers=(1, 2))
    whole = bitstream.write(header, symbols)
    return whole[:HEADER] + b"".join(chunks) if chunks else whole


def with_layers(*chunks: bytes) -> bytes:
    """The groups of that file behind other chunks."""
    return layered(*chunks, *parts(layered())[2:])


LAYERED: dict[str, Callable[[], bytes]] = {
    "missing": lambda: layered(*parts(layered())[2:]),
    "twice": lambda: with_layers(layers(4, 3), layers(4, 3)),
    "single": lambda: with_layers(layers(7)),
    "empty-one": lambda: with_layers(layers(4, 0, 3)),
    "too-many-sites": lambda: with_layers(layers(4, 4)),
    "overflow": lambda: with_layers(layers(4, 3, (1 << 32) - 4, 4)),
    "odd-length": lambda: with_layers(pack_chunk(b"LAYR", layers(4, 3)[8:-5])),
    "of-other-header": lambda: with_layers(layers(4, 3, crc=b"SADS")),
    "across-group": lambda: with_layers(layers(3, 4)),
    "across-groups": lambda: with_layers(layers(1, 1, 1, 1, 1, 1, 1)),
    "after-group": lambda: layered(
        *parts(layered())[2:3], *parts(layered())[1:2], *parts(layered())[3:]
    ),
    "without-groups": lambda: layered(layers(4, 3), parts(sites(7))[-1]),
    "flip": lambda: flipped(layered(), 1, 9),
    "first-group-flip": lambda: flipped(layered(), 2, 30),
    "last-group-flip": lambda: flipped(layered(), 4, 30),
    "cut-after-first": lambda: layered(*parts(layered())[1:3]),
    "cut-in-last": lambda: layered()[:-3],
    "swapped": lambda: layered(*(parts(layered())[i] for i in (1, 3, 4, 2))),
}


def modelled() -> list[bytes]:
    """Return the parts of a file of several groups with models."""
    header, symbols = sample(60, seed=3, width=19, height=17, channels=1, groups=-20)
    return parts(bitstream.write(header, symbols))


def with_models(content: Callable[[bytes], bytes], *more: bytes) -> bytes:
    """Return such a file, the content of the chunk changed."""
    header, models, *rest = modelled()
    return b"".join([header, raw_chunk(b"MODL", content(models[8:-4])), *more, *rest])


MODELLED: dict[str, Callable[[], bytes]] = {
    "flip": lambda: flipped(b"".join(modelled()), 1, 40),
    "missing": lambda: b"".join(part for i, part in enumerate(modelled()) if i != 1),
    "twice": lambda: with_models(bytes, modelled()[1]),
    "after-group": lambda: b"".join(modelled()[i] for i in (0, 2, 1, 3, 4)),
    "of-other-header": lambda: with_models(lambda content: b"SADS" + content[4:]),
    "without-table": lambda: with_models(lambda content: content[:4]),
    "cut": lambda: with_models(lambda content: content[:-5]),
    "data-to-spare": lambda: with_models(lambda content: content + b"12345"),
    "zero-at-the-end": lambda: with_models(lambda content: content + b"\0"),
    "noise": lambda: with_models(lambda content: content[:4] + bytes(range(7, 97))),
    "of-zstd": lambda: b"".join([*modelled()[:2], *parts(sites(groups=3, coder="zstd"))[2:]]),
    "without-groups": lambda: b"".join([*modelled()[:2], parts(sites())[-1]]),
}


def other_header() -> bytes:
    """A group of a file that differs in K only."""
    header, symbols = sample(6, seed=3, width=9, height=7, channels=1, groups=3)
    other = bitstream.write(replace(header, k=9), symbols)
    return grouped(group(0), parts(other)[2], group(2))


def hidden() -> bytes:
    """A chunk of sites inside a chunk whose length is damaged; the real one is cut off."""
    inner = pack_chunk(b"SITE", payload())
    outer = changed(pack_chunk(b"teXt", inner + bytes(5)), 1, 0x7F)
    return sites()[:HEADER] + outer + parts(sites())[-1][:-1]


def unsized(coder: str = "zstd") -> bytes:
    """A zstd frame that does not state its size."""
    raw = zstandard.ZstdDecompressor().decompress(payload(coder))
    return zstandard.ZstdCompressor(write_content_size=False).compress(raw)


MAKERS: dict[str, Callable[[], bytes]] = {
    # The header
    "empty": lambda: b"",
    "other-format": lambda: b"\x89PNG\r\n\x1a\n" + bytes(40),
    "cut-in-signature": lambda: sites()[:5],
    "cut-in-header": lambda: sites()[:30],
    "text-mode": lambda: sites().replace(b"\r\n", b"\n"),
    "header-flip": lambda: changed(sites(), 12),
    "version-2": lambda: with_field(8, "<B", 2),
    "flags": lambda: with_field(9, "<B", 1),
    "pixel-format-reserved": lambda: with_field(10, "<B", 0x11),
    "no-channels": lambda: with_field(10, "<B", 0),
    "five-channels": lambda: with_field(10, "<B", 5, sites()[:36] + bytes(20) + sites()[42:]),
    "k-0": lambda: with_field(11, "<B", 0),
    "k-17": lambda: with_field(11, "<B", 17),
    "no-width": lambda: with_field(12, "<I", 0),
    "too-many-pixels": lambda: with_field(16, "<I", 1 << 26),
    "too-many-sites": lambda: with_field(20, "<I", (1 << 24) + 1),
    "more-sites-than-places": lambda: with_field(20, "<I", 4 * 63 + 65),
    "no-sites": lambda: with_field(20, "<I", 0),
    "too-wide": lambda: with_field(24, "<H", 65535, with_field(12, "<I", (1 << 23) + 1)),
    "grid-too-fine": lambda: with_field(24, "<H", 1, with_field(12, "<I", 600)),
    "step-0": lambda: with_field(24, "<H", 0),
    "color-step-0": lambda: with_field(36, "<H", 0),
    # Chunks
    "cut-after-header": lambda: sites()[:HEADER],
    "cut-in-chunk-head": lambda: sites()[: HEADER + 7],
    "cut-between-chunks": lambda: b"".join(parts(sites())[:2]),
    "cut-in-sites": lambda: sites()[:-9],
    "cut-by-a-byte": lambda: sites()[:-1],
    "profile-length": lambda: flipped(sites(), 1, 0),
    "profile-type": lambda: flipped(sites(), 1, 5),
    "profile-data": lambda: flipped(sites(), 1, 9),
    "profile-crc": lambda: flipped(sites(), 1, -1),
    "sites-length": lambda: flipped(sites(), 2, 1),
    "sites-type": lambda: flipped(sites(), 2, 4),
    "sites-data": lambda: flipped(sites(), 2, 12),
    "sites-crc": lambda: flipped(sites(), 2, -2),
    "unknown-critical": lambda: sites()[:HEADER] + raw_chunk(b"NEWS") + sites()[HEADER:],
    "reserved-letter": lambda: sites()[:HEADER] + raw_chunk(b"news") + sites()[HEADER:],
    "type-not-letters": lambda: sites()[:HEADER] + raw_chunk(b"a1Bc") + sites()[HEADER:],
    "data-after-sites": lambda: sites() + b"\0",
    "chunk-after-sites": lambda: sites() + raw_chunk(b"teXt"),
    "sites-twice": lambda: sites() + parts(sites())[-1],
    "too-many-chunks": lambda: sites()[:HEADER] + 1024 * raw_chunk(b"teXt") + parts(sites())[-1],
    "hidden-sites": hidden,
    # The sites of a chunk
    "one-site-more": lambda: with_field(20, "<I", 7),
    "one-site-less": lambda: with_field(20, "<I", 5),
    "many-sites-in-few-bytes": swollen,
    "identical-sites": lambda: identical(12000, 64),
    "all-sites-matter-everywhere": everywhere,
    "all-sites-matter-everywhere-zstd": lambda: everywhere("zstd"),
    "all-sites-matter-in-16-bits": lambda: everywhere(bit_depth=16, k=16),
    "no-data": lambda: with_sites(b"SITE", b""),
    "zero-at-the-end": lambda: with_sites(b"SITE", payload() + b"\0"),
    "data-to-spare": lambda: with_sites(b"SITE", payload() + b"12345"),
    "coefficient-too-large": lambda: with_sites(b"SITE", b"\x80\x80\x80\x02" + payload()[2:]),
    "varint-too-long": lambda: with_sites(b"SITE", b"\xff" * 6 + payload()),
    "noise": lambda: with_sites(b"SITE", bytes(range(7, 7 + 60))),
    "range-as-zstd": lambda: with_sites(b"SITZ", payload()),
    "zstd-as-range": lambda: with_sites(b"SITE", payload("zstd")),
    "zstd-bomb": lambda: with_sites(b"SITZ", bomb(1 << 26)),
    "zstd-bomb-in-bounds": lambda: with_sites(b"SITZ", bomb(200)),
    "zstd-without-size": lambda: with_sites(b"SITZ", unsized()),
    "zstd-wide-window": lambda: with_sites(b"SITZ", wide_window()),
    "zstd-skippable": lambda: with_sites(b"SITZ", b"\x50\x2a\x4d\x18" + bytes(4)),
    "zstd-data-after-frame": lambda: with_sites(b"SITZ", payload("zstd") + b"\0"),
    "zstd-two-frames": lambda: with_sites(b"SITZ", 2 * payload("zstd")),
    "zstd-cut": lambda: with_sites(b"SITZ", payload("zstd")[:-2]),
    "zstd-flip": lambda: flipped(sites(coder="zstd"), 2, 20),
    # Groups
    "group-length": lambda: flipped(sites(groups=3), 3, 1),
    "group-type": lambda: flipped(sites(groups=3), 3, 6),
    "group-data": lambda: flipped(sites(groups=3), 3, 30),
    "group-crc": lambda: flipped(sites(groups=3), 3, -1),
    "group-first-flip": lambda: flipped(sites(groups=3), 2, 30),
    "group-last-cut": lambda: sites(groups=3)[:-3],
    "group-profile-length": lambda: flipped(sites(groups=3), 1, 2),
    "group-zstd-flip": lambda: flipped(sites(groups=3, coder="zstd"), 4, 30),
    "groups-cut-between": lambda: grouped(group(0), group(1)),
    "groups-gap": lambda: grouped(group(0), group(2)),
    "groups-without-first": lambda: grouped(group(1), group(2)),
    "groups-twice": lambda: grouped(group(0), group(1), group(1), group(2)),
    "groups-swapped": lambda: grouped(group(1), group(0), group(2)),
    "groups-with-text": lambda: grouped(group(0), raw_chunk(b"teXt"), group(1), group(2)),
    "groups-of-both-profiles": lambda: grouped(
        group(0), group(1), parts(sites(groups=3, coder="zstd"))[4]
    ),
    "groups-and-sites": lambda: grouped(group(0), group(1), group(2), parts(sites())[-1]),
    "group-alone": lambda: grouped(group(0, sites=6)),
    "group-empty": lambda: grouped(group(0, sites=0), group(1), group(2)),
    "group-too-many": lambda: grouped(group(0), group(1), group(2, sites=1 << 31)),
    "group-overlap": lambda: grouped(group(0), group(1, first=1), group(2)),
    "group-short": lambda: grouped(group(0), pack_chunk(b"GRPE", group(1)[8:20]), group(2)),
    "group-of-other-header": other_header,
    "group-interval-reversed": lambda: grouped(group(0, low=900, high=1), group(1), group(2)),
    "group-interval-off-grid": lambda: grouped(group(0), group(1), group(2, high=65535)),
    **{f"layers-{name}": make for name, make in LAYERED.items()},
    **{f"models-{name}": make for name, make in MODELLED.items()},
    "group-outside-interval": lambda: grouped(group(0, low=0, high=0), group(1), group(2)),
}


def outcome(data: bytes, *, repair: bool) -> str:
    """The error of a decode; of a repair its warnings, of a whole picture nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            sadcodec.decode(data, backend="cpu", threads=1, repair=repair)
        except SadError as error:
            return f"{type(error).__name__}: {error}"
    return " | ".join(str(warning.message) for warning in caught)


def table() -> dict[str, tuple[str, str]]:
    """Error, and outcome with `repair`, by name."""
    lines = TABLE.read_text(encoding="utf-8").splitlines() if TABLE.exists() else []
    rows = (line.split("\t") for line in lines)
    return {name: (error, repaired) for name, error, repaired in rows}


def added(known: dict[str, tuple[str, str]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """What the files do that `known` does not have."""
    for name in MAKERS:
        if name not in known:
            data = (FOLDER / f"{name}.sad").read_bytes()
            yield name, (outcome(data, repair=False), outcome(data, repair=True))


def main() -> None:
    """Write the files and the lines of the table that are missing."""
    FOLDER.mkdir(exist_ok=True, parents=True)
    for name, make in MAKERS.items():
        path = FOLDER / f"{name}.sad"
        if not path.exists():
            path.write_bytes(make())
    known = table()
    rows = known | dict(added(known))
    lines = ["\t".join((name, *row)) + "\n" for name, row in sorted(rows.items())]
    TABLE.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
