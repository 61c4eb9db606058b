"""Sequences: frames in a file, what changes between them, and what damage to one does."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import format_decoder
import format_sequence
import numpy as np
import pytest
from backends_under_test import ON_CPU, backend_named
from command_line import run_sad
from conftest import load

import sadcodec
from sadcodec import bitstream, codec, image_io, metrics, sequence
from sadcodec.bitstream import Frame, Limits, open_sequence, to_table, write_sequence
from sadcodec.diagram import Diagram
from sadcodec.errors import BitstreamError, InputError, LimitError, OptionError
from sadcodec.motion import motion_at

FAST = {"effort": 1, "backend": "cpu", "threads": 1}
Sad = Callable[..., tuple[int, str, str]]


def crops(count: int, step: int = 2, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """uint8 [48, 64, 3] each: a view that moves over a photograph."""
    cat = load("chelsea.png")
    return [
        np.ascontiguousarray(cat[60 : 60 + height, 100 + step * i : 100 + step * i + width])
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def still() -> bytes:
    """A whole file of 150 sites."""
    return codec.encode(crops(1)[0], sites=150, **FAST)


@pytest.fixture(scope="module")
def coded() -> tuple[list[np.ndarray], bytes, sequence.SequenceReport]:
    """Frames that move, one twice, and one of other content; as a sequence."""
    frames = crops(3)
    frames.append(frames[-1])
    frames.append(np.ascontiguousarray(load("coffee.png")[90:138, 90:154]))
    frames += crops(2)
    data, report = sequence.encode_sequence_with_report(frames, bpp=1.5, key_interval=6, **FAST)
    return frames, data, report


def disturbed(frame: Frame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random changes of a frame's sites within their ranges, removals and additions."""
    rng = np.random.default_rng(seed)
    rows, q, h = to_table(frame.symbols), frame.header.quantizer, frame.header
    count = np.where(rng.uniform(size=len(rows)) < 0.9, 1, 0)
    count[rng.uniform(size=len(rows)) < 0.1] += rng.integers(0, 3)
    count[0] = max(count[0], 1)
    source = np.repeat(np.arange(len(rows)), count).astype(np.int32)
    rows = rows[source]
    moves = rng.uniform(size=rows.shape) < rng.choice([0.02, 0.5])
    rows = rows + np.where(moves, rng.integers(-9, 10, rows.shape), 0).astype(np.int32)
    cells = q.grid_size(h.width, h.height)
    rows[:, 0], rows[:, 1] = (rows[:, i].clip(0, cells[i] - 1) for i in (0, 1))
    rows[:, 3] = rows[:, 3].clip(0, 6144 // q.step_log_anisotropy)
    rows[:, 4] %= bitstream.angle_levels(int(rows[:, 3].max()) + 1, q)[rows[:, 3]]
    if not q.step_radius:
        rows[:, 5] = 0
    return np.ascontiguousarray(rows, np.int32), source


# ---- The bitstream ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_any_change_comes_back(still: bytes, seed: int):
    frame = Frame.of_key(still)
    for step in range(3):
        rows, source = disturbed(frame, 100 * step + seed)
        payload, after = frame.delta(rows, source)
        np.testing.assert_array_equal(to_table(after.symbols), rows)
        np.testing.assert_array_equal(after.symbols.classes, frame.symbols.classes[source])
        again = frame.following(payload, len(rows))
        np.testing.assert_array_equal(again.changed, after.changed)
        kept = (rows == to_table(frame.symbols)[source]).all(axis=1)
        kept &= np.r_[True, source[1:] != source[:-1]]
        np.testing.assert_array_equal(after.changed == 0, kept)
        frame = after


@pytest.mark.parametrize("seed", range(4))
def test_a_decoder_written_from_the_document_agrees(still: bytes, seed: int):
    header, _ = format_decoder.decode(still)
    frame = Frame.of_key(still)
    for step in range(2):
        rows, source = disturbed(frame, 10 * seed + step)
        payload, after = frame.delta(rows, source)
        before = to_table(frame.symbols).tolist(), frame.changed.tolist()
        found = format_sequence.following(header, *before, payload, len(rows))
        for actual, expected in zip(found, (rows, after.changed, source), strict=True):
            np.testing.assert_array_equal(actual, expected)
        frame = after


def test_what_stays_costs_next_to_nothing(still: bytes):
    frame = Frame.of_key(still)
    rows = to_table(frame.symbols)
    payload, after = frame.delta(rows, np.arange(len(rows), dtype=np.int32))
    assert len(payload) <= 2
    assert not after.changed.any()


def test_bad_sites_are_refused(still: bytes):
    frame = Frame.of_key(still)
    rows = to_table(frame.symbols)
    source = np.arange(len(rows), dtype=np.int32)
    for column, value in ((0, -1), (0, 1 << 20), (2, 1 << 20), (3, -1), (4, 5000), (6, 1 << 29)):
        wrong = rows.copy()
        wrong[7, column] = value
        with pytest.raises(OptionError, match="out of range"):
            frame.delta(wrong, source)
    for order in (source[::-1], source + 1, source - 1):
        with pytest.raises(OptionError, match="sources out of order"):
            frame.delta(rows, np.ascontiguousarray(order))


def test_payloads_that_no_encoder_writes(still: bytes):
    frame = Frame.of_key(still)
    rows, source = disturbed(frame, 5)
    payload, _ = frame.delta(rows, source)
    for wrong, sites in (
        (payload + bytes(9), len(rows)),
        (payload, len(rows) + 1),
        (payload, len(rows) - 1),
        (b"", len(rows)),
    ):
        with pytest.raises(BitstreamError, match="damaged site data"):
            frame.following(wrong, sites)
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        noise = rng.integers(0, 256, rng.integers(0, 40), np.uint8).tobytes()
        try:
            frame.following(noise, len(rows))
        except BitstreamError:
            refused += 1
    assert refused >= 295


def test_any_frame_is_found(coded):
    _, data, _ = coded
    opened = open_sequence(data)
    assert len(opened) == 7
    every = list(opened.frames())
    for number in (6, 0, 3, 4, 1):
        frame = opened.frame(number)
        np.testing.assert_array_equal(to_table(frame.symbols), to_table(every[number].symbols))
    for number in (-1, 7):
        with pytest.raises(OptionError, match=f"there is no frame {number}; the sequence has 0 to"):
            opened.frame(number)


def test_a_single_picture_is_no_sequence(still: bytes):
    assert open_sequence(still) is None
    assert not bitstream.is_sequence(still)
    with pytest.raises(BitstreamError, match="holds a single picture"):
        next(sequence.decode_frames(still))


@pytest.mark.parametrize(
    "read", [bitstream.read, sadcodec.export_sites, sadcodec.info, Diagram.load]
)
def test_readers_of_pictures_say_that_it_is_a_sequence(coded, read):
    with pytest.raises(BitstreamError, match="chunk SEQH at byte 46: holds a sequence of frames"):
        read(coded[1])


def test_every_cut_and_every_changed_byte_is_noticed(still: bytes):
    frame = Frame.of_key(still)
    rows, source = disturbed(frame, 1)
    payload, _ = frame.delta(rows, source)
    data = write_sequence([still, (payload, len(rows))])

    def read(content: bytes) -> None:
        opened = open_sequence(content)
        if opened is None:
            bitstream.read(content)
        else:
            list(opened.frames())

    read(data)
    for end in range(len(data)):
        with pytest.raises((BitstreamError, LimitError)):
            read(data[:end])
    for at in range(0, len(data), 3):
        wrong = bytearray(data)
        wrong[at] ^= 1 << at % 8
        with pytest.raises((BitstreamError, LimitError)):
            read(bytes(wrong))


def resealed(data: bytes, at: int, fields: bytes) -> bytes:
    """The file with other bytes in a chunk, and the checksum that goes with them."""
    import zlib

    out = bytearray(data)
    out[at : at + len(fields)] = fields
    offset = bitstream.open_sequence(data)._index.offsets
    starts = [46, *offset]
    start = max(s for s in starts if s <= at)
    end = start + 8 + int.from_bytes(out[start : start + 4], "little")
    out[end : end + 4] = struct.pack("<I", zlib.crc32(out[start:end]))
    return bytes(out)


def test_rules_between_chunks(still: bytes):
    frame = Frame.of_key(still)
    rows = to_table(frame.symbols)
    same = frame.delta(rows, np.arange(len(rows), dtype=np.int32))[0], len(rows)
    data = write_sequence([still, same, same])
    second = open_sequence(data)._index.offsets[1] + 8
    for at, fields, message in (
        (second, struct.pack("<I", 2), "is frame 2, not 1"),
        (second + 4, struct.pack("<I", 0), "0 sites are not possible"),
        (second + 4, struct.pack("<I", 1 << 24), "sites are not possible for 64 x 48 px"),
        (second + 4, struct.pack("<I", len(rows) + 1), "another number of sites than stated"),
        (second + 4, struct.pack("<I", len(rows) + 999), "too short for its number of sites"),
        (54, struct.pack("<I", 1), "no key frame"),
        (58, struct.pack("<I", 7), "its frames end at byte"),
    ):
        with pytest.raises(BitstreamError, match=message):
            list(open_sequence(resealed(data, at, fields)).frames())
    other = codec.encode(crops(1, width=60)[0], sites=20, **FAST)
    with pytest.raises(BitstreamError, match="the width differs from the first frame's"):
        list(open_sequence(write_sequence([still, other])).frames())
    fewer = codec.encode(crops(1)[0], sites=140, **FAST)
    end = 40 + 2 * (still[10] & 7)
    with pytest.raises(BitstreamError, match="its header is not the sequence's"):
        list(open_sequence(fewer[:end] + write_sequence([still])[end:]).frames())
    ancillary = bitstream.container.pack_chunk(b"teXt", b"")
    assert len(open_sequence(data[:end] + 1023 * ancillary + data[end:])) == 3
    with pytest.raises(LimitError, match="more than 1024 chunks"):
        open_sequence(data[:end] + 1024 * ancillary + data[end:])
    with pytest.raises(LimitError, match="exceeds the limit of 100"):
        open_sequence(data, Limits(max_pixels=100))
    with pytest.raises(LimitError, match="exceed the limit of 100"):
        list(open_sequence(data, Limits(max_sites=100)).frames())


def test_what_cannot_be_written(still: bytes):
    for frames in ([], [(b"", 5)], [still, *[(b"", 5)] * 256]):
        with pytest.raises(OptionError):
            write_sequence(frames)


# ---- Encoding -----------------------------------------------------------------------------------


def test_frames_follow_each_other(coded):
    frames, data, report = coded
    assert len(data) == report.bytes
    decoded = list(sequence.decode_frames(data, backend="cpu"))
    for frame, picture, row in zip(frames, decoded, report.frames, strict=True):
        assert row.psnr == pytest.approx(metrics.psnr(frame, picture))
    first, *others = report.frames
    assert [first.key, *(row.key for row in others[:3])] == [True, False, False, False]
    for row in others[:2]:
        assert row.bytes < 0.8 * first.bytes
        assert row.psnr > first.psnr - 1
    assert others[2].bytes <= 30  # the same frame again
    assert others[2].changed == 0
    assert others[3].key  # other content
    np.testing.assert_array_equal(next(sequence.decode_frames(data, start=3)), decoded[3])
    held = sum(row.bytes for row in report.frames)
    assert len(data) == held + 46 + 12  # and the header and the frame of the index


def test_bytes_do_not_depend_on_the_threads():
    frames = crops(2)
    first, second = (
        sequence.encode_sequence(frames, sites=80, **{**FAST, "threads": threads})
        for threads in (1, 2)
    )
    assert first == second


def test_key_frames_come_at_their_interval():
    frames = [crops(1)[0]] * 5
    options = {"sites": 40, **FAST}
    for interval, keys in ((1, [True] * 5), (2, [True, False] * 2 + [True])):
        _, report = sequence.encode_sequence_with_report(frames, key_interval=interval, **options)
        assert [frame.key for frame in report.frames] == keys


@pytest.mark.parametrize("options", [{"radius": True}, {"metric": "ssim"}, {"mask": True}])
def test_other_ways_to_fit(options):
    """Sites with a radius, another metric, a mask: a frame is still as good as the one before."""
    frames = crops(2)
    mask = np.ones(frames[0].shape[:2]) if "mask" in options else None
    target = {"sites": 100} if "radius" in options else {"size": 700}
    _, report = sequence.encode_sequence_with_report(
        frames, mask=mask, metric=options.get("metric", "psnr"), **target, **FAST
    )
    assert report.frames[1].psnr > report.frames[0].psnr - 1.5


@pytest.mark.parametrize("name", ["reference", ON_CPU])
def test_other_backends_follow(name: str, monkeypatch):
    frames = crops(2, step=1, width=16, height=12)
    monkeypatch.setattr("sadcodec.options.engine_for", lambda *_: backend_named(name))
    data, report = sequence.encode_sequence_with_report(frames, sites=6, effort=1)
    assert report.frames[1].psnr > report.frames[0].psnr - 1.5
    last = list(sequence.decode_frames(data, backend="cpu"))[-1]
    assert metrics.psnr(frames[1], last) == pytest.approx(report.frames[1].psnr, abs=0.1)


def test_what_does_not_go_together():
    frame = crops(1)[0]
    with pytest.raises(InputError, match="at least one frame"):
        sequence.encode_sequence([], **FAST)
    with pytest.raises(InputError, match="frame 1 is 63 x 48 with 3 channels of 8 bits, the first"):
        sequence.encode_sequence([frame, frame[:, 1:]], sites=20, **FAST)
    with pytest.raises(OptionError, match=r"key_interval must be 1\.\.256"):
        sequence.encode_sequence([frame], key_interval=0, **FAST)
    with pytest.raises(OptionError, match="recipe paper"):
        sequence.encode_sequence([frame], recipe="paper", sites=20, **FAST)


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-9, 4)])
def test_motion_is_found(shift: tuple[int, int]):
    photo = load("coffee.png").astype(np.float32) / 255
    x, y = shift
    before, after = photo[60:180, 60:220], photo[60 - y : 180 - y, 60 - x : 220 - x]
    position = np.random.default_rng(0).uniform(20, 100, (50, 2)).astype(np.float32)
    found = motion_at(before, after, position)
    assert (np.abs(found - shift).max(axis=1) == 0).mean() > 0.9


# ---- The command --------------------------------------------------------------------------------


@pytest.fixture
def sad(capfd, tmp_path: Path, monkeypatch) -> Sad:
    """Runs ``sad`` in a folder with frames; gives the exit status and what was printed."""
    monkeypatch.chdir(tmp_path)
    for i, frame in enumerate(crops(3)):
        Path(f"f{i}.png").write_bytes(image_io.encode_image(frame, "png"))
    Path("odd.png").write_bytes(image_io.encode_image(crops(1, width=60)[0], "png"))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = run_sad(*arguments)
        return status, *capfd.readouterr()

    return run


ENCODE = ("encode", "f0.png", "f1.png", "f2.png", "-o", "out.sad", "--sequence", "--sites", "60")
QUICK = ("-e", "1", "--backend", "cpu", "--threads", "1")


def test_there_and_back_by_the_command(sad: Sad):
    status, out, err = sad(*ENCODE, *QUICK, "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    data = Path("out.sad").read_bytes()
    assert (report["bytes"], len(report["frames"])) == (len(data), 3)
    assert data == sequence.encode_sequence(crops(3), sites=60, **FAST)
    assert sad("decode", "out.sad", "--frame", "2", "-o", "two.png", "--quiet")[0] == 0
    assert sad("decode", "out.sad", "--out-dir", "all", "--quiet")[0] == 0
    assert sorted(path.name for path in Path("all").iterdir()) == [f"out-{i}.png" for i in range(3)]
    two = image_io.decode_image(Path("two.png").read_bytes())
    for first, second in pairwise([two, image_io.decode_image(Path("all/out-2.png").read_bytes())]):
        np.testing.assert_array_equal(first, second)
    status, out, _ = sad("info", "out.sad")
    assert status == 0
    assert "3 frames" in out.splitlines()[0]
    assert json.loads(sad("info", "out.sad", "--json")[1])["frames"][0]["key"] is True


def test_what_the_command_warns_of(sad: Sad):
    frame = image_io.encode_image(crops(1)[0], "png", {"icc_profile": b"a profile"})
    Path("f0.png").write_bytes(frame)
    status, _, err = sad(
        "encode", "f0.png", "f1.png", "-o", "a.sad", "--sequence", "--size", "9", *QUICK
    )
    profile, target, _ = err.splitlines()
    assert status == 0
    assert profile.startswith("sad: f1.png: warning: the file has another ICC profile, or none")
    assert target.startswith("sad: a.sad: warning: frame 0: cannot be encoded in 9 bytes")
    assert sadcodec.metadata(Path("a.sad").read_bytes()) == {"icc_profile": b"a profile"}
    assert sad("decode", "a.sad", "--out-dir", "all", "--quiet")[0] == 0
    assert sad("decode", "a.sad", "--frame", "1", "-o", "one.png", "--quiet")[0] == 0
    for name in ("all/a-0.png", "all/a-1.png", "one.png"):
        assert image_io.read_image(Path(name).read_bytes())[1] == {"icc_profile": b"a profile"}
    assert sad(*ENCODE, *QUICK, "--strip", "--quiet")[0] == 0
    assert sadcodec.metadata(Path("out.sad").read_bytes()) == {}


def test_a_frame_of_a_long_sequence(sad: Sad, still: bytes):
    frame = Frame.of_key(still)
    rows = to_table(frame.symbols)
    same = frame.delta(rows, np.arange(len(rows), dtype=np.int32))[0], len(rows)
    data = write_sequence([still, *[same] * 250] * 5)
    Path("long.sad").write_bytes(data)
    assert sad("decode", "long.sad", "--frame", "251", "-o", "one.png", "--quiet")[0] == 0
    np.testing.assert_array_equal(
        image_io.decode_image(Path("one.png").read_bytes()), sadcodec.decode(still)
    )
    assert sadcodec.metadata(data) == {}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("decode", "out.sad"), 1, "holds a sequence of 3 frames: choose one with --frame"),
        (("decode", "out.sad", "--frame", "3"), 1, "there is no frame 3"),
        (("decode", "f.sad", "--frame", "1"), 1, "holds a single picture"),
        (("decode", "out.sad", "--frame", "1", "--repair"), 2, "Usage: "),
        (("encode", "f0.png", "odd.png", "-o", "b.sad", "--sequence", *QUICK), 1, "sad: odd.png: "),
        (("encode", "f0.png", "no.png", "-o", "b.sad", "--sequence", *QUICK), 1, "sad: no.png: "),
        (("encode", "f0.png", "--sequence", "--out-dir", "x", *QUICK), 2, "Usage: "),
        (("encode", "f0.png", "f1.png", "--sequence", *QUICK), 2, "Usage: "),
        (("encode", "f0.png", "--key-interval", "5", *QUICK), 2, "Usage: "),
    ],
)
def test_what_the_command_refuses(sad: Sad, still, coded, arguments, status: int, message: str):
    frame = Frame.of_key(still)
    rows = to_table(frame.symbols)
    same = frame.delta(rows, np.arange(len(rows), dtype=np.int32))[0], len(rows)
    Path("out.sad").write_bytes(write_sequence([still, same, same]))
    Path("f.sad").write_bytes(still)
    before = sorted(path.name for path in Path().iterdir())
    found, out, err = sad(*arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert sorted(path.name for path in Path().iterdir()) == before
