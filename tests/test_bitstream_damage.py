"""Damaged, cut and hostile files: a named error, quickly, and nothing large allocated."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_samples import sample, sorted_rows

from sadcodec import _coder, bitstream
from sadcodec.bitstream import Limits
from sadcodec.bitstream.container import pack_chunk
from sadcodec.errors import BitstreamError, LimitError

HEADER_BYTES = 46  # of three channels, its CRC included


def small_file(coder: str) -> bytes:
    header, symbols = sample(12, seed=1)
    return bitstream.write(header, symbols, chunks=[(b"iCCP", b"profile")], coder=coder)


def residuals(header, symbols) -> bytes:
    """The zstd profile before compression."""
    return _coder.residuals(
        header.width,
        header.height,
        header.quantizer.as_tuple(),
        symbols.x,
        symbols.y,
        symbols.log_tau,
        symbols.log_anisotropy,
        symbols.angle,
        symbols.radius,
        symbols.color,
    )[0][0][0]


def with_header(data: bytes, **fields: int) -> bytes:
    """Change header fields and make the CRC right again."""
    offsets = {
        "version": (8, "<B"),
        "flags": (9, "<B"),
        "pixel_format": (10, "<B"),
        "k": (11, "<B"),
    }
    offsets |= {"width": (12, "<I"), "height": (16, "<I"), "site_count": (20, "<I")}
    offsets |= {"step_position": (24, "<H"), "step_log_tau": (26, "<H"), "step_color": (36, "<H")}
    out = bytearray(data)
    for name, value in fields.items():
        offset, layout = offsets[name]
        struct.pack_into(layout, out, offset, value)
    channels = out[10] & 7
    end = 36 + 2 * channels
    struct.pack_into("<I", out, end, zlib.crc32(bytes(out[:end])))
    return bytes(out)


def with_payload(data: bytes, name: bytes, payload: bytes) -> bytes:
    return data[:HEADER_BYTES] + pack_chunk(name, payload)


@pytest.mark.parametrize("coder", bitstream.CODERS)
def test_every_truncation_is_detected(coder):
    data = small_file(coder)
    for length in range(len(data)):
        with pytest.raises(BitstreamError):
            bitstream.read(data[:length])


@pytest.mark.parametrize("coder", bitstream.CODERS)
def test_every_changed_byte_is_detected(coder):
    data = small_file(coder)
    for at in range(len(data)):
        for flip in (1, 0x20, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= flip
            with pytest.raises((BitstreamError, LimitError)):
                bitstream.read(bytes(damaged))


@pytest.mark.parametrize("tail", [b"\0", b"SITE", bytes(12)])
def test_bytes_after_the_last_chunk_are_refused(tail):
    with pytest.raises(BitstreamError):
        bitstream.read(small_file("range") + tail)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(60), b"GIF89a", b"\x89SAD\n\x1a\n" + bytes(60)]
)
def test_other_files_are_refused(data):
    with pytest.raises(BitstreamError):
        bitstream.read(data)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"version": 2}, BitstreamError),
        ({"flags": 1}, BitstreamError),
        ({"pixel_format": 3 | 0x10}, BitstreamError),
        ({"k": 0}, BitstreamError),
        ({"width": 0}, BitstreamError),
        ({"width": 1 << 31, "height": 1}, LimitError),
        ({"width": 1 << 16, "height": 1 << 15}, LimitError),
        ({"site_count": 1 << 31}, LimitError),
        ({"site_count": (1 << 24) + 1}, LimitError),
        ({"site_count": 0}, BitstreamError),
        ({"site_count": 4 * 97 * 61 + 65}, BitstreamError),
        ({"site_count": 11}, BitstreamError),
        ({"site_count": 13}, BitstreamError),
        ({"step_position": 0}, BitstreamError),
        ({"step_color": 0}, BitstreamError),
    ],
)
def test_headers_with_a_right_checksum_and_wrong_fields(fields, error):
    data = with_header(small_file("range"), **fields)
    with pytest.raises(error):
        bitstream.read(data)
    with pytest.raises(error):
        bitstream.inspect(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": (1 << 31) - 1},
        {"width": 1 << 16, "height": 1 << 15},
        {"site_count": 1 << 31},
        {"site_count": 1 << 24},
    ],
)
def test_what_a_header_asks_for_is_not_allocated(fields):
    data = with_header(small_file("range"), **fields)
    tracemalloc.start()
    try:
        start = time.process_time()
        with pytest.raises((BitstreamError, LimitError)):
            bitstream.read(data)
        assert time.process_time() - start < 0.1
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_limits_are_those_of_the_caller():
    header, symbols = sample(20, width=100, height=50)
    data = bitstream.write(header, symbols)
    bitstream.read(data, Limits(max_pixels=5000, max_sites=20))
    with pytest.raises(LimitError, match="100 x 50"):
        bitstream.read(data, Limits(max_pixels=4999))
    with pytest.raises(LimitError, match="20 sites"):
        bitstream.read(data, Limits(max_sites=19))


def test_a_short_file_cannot_ask_for_many_sites():
    data = with_header(small_file("range"), width=1 << 14, height=1 << 14, site_count=1 << 24)
    start = time.perf_counter()
    with pytest.raises(BitstreamError):
        bitstream.read(data)
    assert time.perf_counter() - start < 0.5


def test_unknown_critical_chunks_are_refused_and_ancillary_ones_skipped():
    header, symbols = sample(12, seed=1)
    data = bitstream.write(header, symbols)
    head, body = data[:HEADER_BYTES], data[HEADER_BYTES:]
    assert bitstream.read(head + pack_chunk(b"abCd", b"x" * 99) + body)[0] == header
    with pytest.raises(BitstreamError, match="ABCD"):
        bitstream.read(head + pack_chunk(b"ABCD", b"x") + body)
    with pytest.raises(BitstreamError, match="after"):
        bitstream.read(data + pack_chunk(b"abCd", b""))
    with pytest.raises(BitstreamError, match="after"):
        bitstream.read(data + body)
    with pytest.raises(BitstreamError, match="before"):
        bitstream.read(head + pack_chunk(b"abCd", b""))


@pytest.mark.parametrize("name", [b"1abc", b"si\0e", b"sItE"])
def test_malformed_chunk_types_are_refused(name):
    data = small_file("range")
    chunk = struct.pack("<I", 0) + name
    chunk += struct.pack("<I", zlib.crc32(chunk))
    with pytest.raises(BitstreamError, match="type"):
        bitstream.read(data[:HEADER_BYTES] + chunk + data[HEADER_BYTES:])


def test_the_wrong_profile_is_refused():
    for coder, name in (("range", b"SITZ"), ("zstd", b"SITE")):
        header, symbols = sample(12, seed=1)
        payload = bitstream.encode_payload(
            type(header)(**(header.__dict__ | {"coder": coder})), symbols
        )
        with pytest.raises(BitstreamError):
            bitstream.read(with_payload(small_file("range"), name, payload.data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"SITE", b"SITZ"]))
def test_any_payload_gives_symbols_or_an_error(payload, name):
    data = with_payload(small_file("range"), name, payload)
    try:
        header, symbols = bitstream.read(data)
    except BitstreamError:
        return
    assert len(symbols) == header.site_count
    assert symbols.x.max() < 97 * 1024 / 300 + 1


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_damage_below_the_checksum_is_an_error_or_symbols_in_range(at, flip, zstd):
    header, symbols = sample(40, seed=2, radius=True)
    data = bytearray(bitstream.encode_payload(header, symbols).data)
    decode, count = _coder.decode, 40
    if zstd:
        data = bytearray(residuals(header, symbols))
        decode = _coder.from_residuals
    data[at % len(data)] ^= flip
    try:
        x, y, log_tau, log_anisotropy, angle, radius, color, *_ = decode(
            bytes(data), count, 3, header.width, header.height, header.quantizer.as_tuple()
        )
    except ValueError:
        return
    # Whatever comes out can be coded again: every range was checked.
    _coder.encode(
        header.width, header.height, header.quantizer.as_tuple(),
        x, y, log_tau, log_anisotropy, angle, radius, color,
    )  # fmt: skip


@pytest.mark.parametrize("extra", [b"\0", bytes(5), b"12345"])
def test_the_payload_must_be_consumed_exactly(extra):
    header, symbols = sample(12, seed=1)
    payload = bitstream.encode_payload(header, symbols).data
    quantizer = header.quantizer.as_tuple()
    args = (12, 3, header.width, header.height, quantizer)
    assert len(_coder.decode(payload, *args)[0]) == 12
    with pytest.raises(ValueError, match=r"payload|zero"):
        _coder.decode(payload + extra, *args)


def test_a_zstd_bomb_is_refused_before_it_is_unpacked():
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 27))
    assert len(bomb) < 20_000
    start = time.perf_counter()
    with pytest.raises(BitstreamError, match="over"):
        bitstream.read(with_payload(small_file("range"), b"SITZ", bomb))
    data = small_file("range")
    file = data[:HEADER_BYTES] + pack_chunk(b"iCCP", bomb) + data[HEADER_BYTES:]
    with pytest.raises(BitstreamError, match="over"):
        bitstream.metadata(file, Limits(max_metadata=1 << 20))
    assert time.perf_counter() - start < 0.5


def test_zstd_frames_must_state_their_size_and_stand_alone():
    header, symbols = sample(12, seed=1)
    raw = residuals(header, symbols)
    good = zstandard.ZstdCompressor().compress(raw)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(raw)
    data = small_file("range")
    _, got = bitstream.read(with_payload(data, b"SITZ", good))
    assert np.array_equal(sorted_rows(got), sorted_rows(symbols))
    for bad in (unsized, good + b"\0", good + good, good[:-1]):
        with pytest.raises(BitstreamError):
            bitstream.read(with_payload(data, b"SITZ", bad))
