"""Damaged files drawn from the groups that are left, and the report of what is missing."""

from __future__ import annotations

import contextlib
import time
import warnings

import numpy as np
import pytest
from conftest import load
from exhaustive_damage import table
from hypothesis import given, settings
from hypothesis import strategies as st
from symbol_samples import sample

import sadcodec
from sadcodec import bitstream
from sadcodec.bitstream import Limits, region
from sadcodec.bitstream.container import pack_chunk
from sadcodec.errors import BitstreamError, DamageWarning, LimitError, SadError


def grouped(groups: int = 5, count: int = 100, coder: str = "range") -> bytes:
    header, symbols = sample(count, seed=8, width=120, height=90, groups=groups)
    return bitstream.write(header, symbols, coder=coder, chunks=[(b"iCCP", b"profile" * 9)])


def offsets(data: bytes) -> list[int]:
    """Where the chunks begin."""
    return [chunk.offset for chunk in bitstream.inspect(data).chunks]


def flipped(data: bytes, *places: int) -> bytes:
    out = bytearray(data)
    for at in places:
        out[at] ^= 0x41
    return bytes(out)


def runs(report: bitstream.Repair) -> list[tuple[int, int]]:
    return [(run.first, run.count) for run in report.lost]


def check_left(data: bytes, whole: bytes) -> bitstream.Repair:
    """What is left of `data` are sites of `whole`, all but those that are reported."""
    _, got, report = bitstream.salvage(data)
    _, symbols = bitstream.read(whole)
    lost = [np.arange(first, first + count) for first, count in runs(report)]
    kept = np.setdiff1d(np.arange(len(symbols)), np.concatenate([*lost, []]))
    assert np.array_equal(table(got), table(symbols)[kept])
    return report


@pytest.mark.parametrize("coder", bitstream.CODERS)
def test_a_damaged_group_costs_its_own_sites(coder):
    data = grouped(coder=coder)
    for number, at in enumerate(offsets(data)[1:]):
        for place in (at, at + 3, at + 5, at + 9, at + 40):  # length, type, fields, sites
            report = check_left(flipped(data, place), data)
            assert runs(report) == [(20 * number, 20)]
            assert [damage.offset for damage in report.damage] == [at]
            assert report.sites_lost == 20


def test_neighbouring_and_separate_losses():
    data = grouped()
    at = offsets(data)
    assert runs(check_left(flipped(data, at[2] + 30, at[3] + 30), data)) == [(20, 40)]
    assert runs(check_left(flipped(data, at[1] + 30, at[5] + 30), data)) == [(0, 20), (80, 20)]
    assert runs(check_left(flipped(data, *(a + 30 for a in at[2:])), data)) == [(20, 80)]


def test_truncated_files_keep_their_whole_groups():
    data = grouped()
    at = [*offsets(data), len(data)]
    for groups in range(1, 5):
        for cut in (at[groups + 1], at[groups + 1] + 5, at[groups + 2] - 1):
            report = check_left(data[:cut], data)
            assert runs(report) == [(20 * groups, 100 - 20 * groups)]
    with pytest.raises(BitstreamError, match="no sites are left"):
        bitstream.salvage(data[: at[2] - 1])


@pytest.mark.parametrize("noise", [b"", b"x", bytes(300), b"GRPE" * 9, b"\0\0\0\0GRPE\0\0\0\0" * 3])
def test_the_next_chunk_is_found_behind_lost_and_foreign_bytes(noise):
    data = grouped()
    at = offsets(data)
    replaced = data[: at[2] + 20] + noise + data[at[3] - 7 :]  # bytes of the second group are gone
    assert runs(check_left(replaced, data)) == [(20, 20)]
    inserted = data[: at[3]] + noise + data[at[3] :]
    assert runs(check_left(inserted, data)) == []
    after = check_left(data + noise, data)
    assert runs(after) == []
    assert bool(after.damage) == bool(noise)


def test_damage_to_metadata_loses_no_site():
    for data in (grouped(), grouped(groups=1)):
        for place in (46, 48, 51, 60):
            report = check_left(flipped(data, place), data)
            assert (runs(report), len(report.damage)) == ([], 1)
            assert "whole" in report.messages()[-1]


def test_a_single_chunk_of_sites_cannot_be_repaired():
    data = grouped(groups=1)
    with pytest.raises(BitstreamError, match=r"chunk SITE at byte \d+: .*no sites are left"):
        bitstream.salvage(flipped(data, offsets(data)[1] + 30))


def test_a_damaged_header_cannot_be_repaired():
    for at in range(46):
        with pytest.raises(BitstreamError, match="without a right header"):
            bitstream.salvage(flipped(grouped(), at))


def test_groups_of_another_file_are_not_mixed_in():
    """The same sites with another K: all that differs is the header."""
    header, symbols = sample(100, seed=8, width=120, height=90, groups=5)
    mine = bitstream.write(header, symbols)
    other = bitstream.write(type(header)(**(header.__dict__ | {"k": 3})), symbols)
    assert len(mine) == len(other)
    at = offsets(mine)
    mixed = mine[: at[2]] + other[at[2] : at[3]] + mine[at[3] :]
    report = check_left(mixed, mine)
    assert runs(report) == [(40, 20)]
    assert "another header" in report.damage[0].problem


def test_whole_files_are_what_they_are_without_repair():
    for data in (grouped(), grouped(groups=1), grouped(coder="zstd")):
        assert check_left(data, data).messages() == ()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(sadcodec.decode(data, repair=True), sadcodec.decode(data))


def test_limits_hold_for_repairs():
    data = flipped(grouped(), 120)
    for limits in (Limits(max_pixels=120 * 90 - 1), Limits(max_sites=99)):
        with pytest.raises(LimitError):
            bitstream.salvage(data, limits)


@pytest.mark.parametrize("between", [b"", pack_chunk(b"iCCP", b"")])
def test_a_search_for_chunks_is_bounded(between):
    """Every few bytes a chunk begins that seems to reach to the end of the file."""
    length = 600_000
    each = 8 + len(between)
    fake = b"".join(
        (at - 12).to_bytes(4, "little") + b"GRPE" + between for at in range(length, 20, -each)
    )
    start = time.process_time()
    with pytest.raises(SadError):
        bitstream.salvage(grouped()[:46] + fake)
    assert time.process_time() - start < 1  # 0.1 s; without a bound it takes minutes


def test_what_is_lost_lies_in_the_boxes_and_the_rest_is_drawn():
    image = load("coffee.png")[:128, 100:292]
    data = sadcodec.encode(image, bpp=1.2, effort=1, backend="cpu", threads=1, groups=6)
    header, symbols = bitstream.read(data)
    whole = sadcodec.decode(data).astype(int)
    step = header.quantizer.step_position / 1024
    for chunk in sadcodec.info(data).chunks[1:]:  # behind the one that says where they matter
        file = flipped(data, chunk.offset + 50)
        picture, report = sadcodec.decode_with_report(file, repair=True)
        run = report.lost[0]
        inside = np.zeros(image.shape[:2], bool)
        for x0, y0, x1, y1 in run.boxes:
            inside[y0:y1, x0:x1] = True
        sites = slice(run.first, run.first + run.count)
        x, y = (symbols.x[sites] + 0.5) * step, (symbols.y[sites] + 0.5) * step
        assert inside[np.floor(y).astype(int), np.floor(x).astype(int)].all()
        assert inside.mean() < 0.35
        changed = np.abs(picture - whole).max(axis=2) > 4
        assert changed[inside].mean() > 8 * changed[~inside].mean()
        with pytest.warns(DamageWarning) as told:
            again = sadcodec.decode(file, repair=True)
        assert tuple(str(w.message) for w in told) == report.messages()
        assert np.array_equal(again, picture)
        with pytest.raises(BitstreamError, match=f"chunk GRPE at byte {chunk.offset}: "):
            sadcodec.decode(file)


@pytest.mark.parametrize(
    ("width", "height", "step"), [(16, 16, 1024), (13, 5, 1024), (7, 40, 2000), (9, 9, 500)]
)
def test_boxes_hold_every_cell_of_a_run(width, height, step, rng):
    across, down = -(-width * 1024 // step), -(-height * 1024 // step)
    key = np.array(
        [[region.key_of(x, y, (across, down)) for x in range(across)] for y in range(down)]
    )
    assert len(np.unique(key)) == across * down
    for low, high in np.sort(rng.integers(0, key.max() + 1, (60, 2)), axis=1).tolist():
        covered = np.zeros((height, width), bool)
        boxes = region.boxes_of_run(low, high, width, height, step)
        assert len(boxes) <= 8
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            covered[y0:y1, x0:x1] = True
        y, x = np.nonzero((key >= low) & (key <= high))
        px = np.minimum((x + 0.5) * step / 1024, width - 0.5).astype(int)
        py = np.minimum((y + 0.5) * step / 1024, height - 0.5).astype(int)
        assert covered[py, px].all()


WHOLE = grouped(groups=4, count=24)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(46, len(WHOLE)), st.integers(0, 60), st.binary(max_size=30)),
        min_size=1,
        max_size=3,
    )
)
def test_any_damage_leaves_sites_of_the_file_or_an_error(edits):
    data = WHOLE
    for at, removed, put in edits:
        data = data[:at] + put + data[at + removed :]
    with contextlib.suppress(SadError):
        check_left(data, WHOLE)
    try:
        _, symbols = bitstream.read(data)
    except SadError:
        return
    assert np.array_equal(table(symbols), table(bitstream.read(WHOLE)[1]))


def test_chunks_of_sites_inside_metadata_are_not_drawn():
    """A search for the next chunk must not take one from the content of another."""
    header, symbols = sample(24, seed=1, width=120, height=90)
    decoy = bitstream.write(header, sample(24, seed=2, width=120, height=90)[1])
    data = bitstream.write(header, symbols, chunks=[(b"teXt", decoy + b"more")])
    at = offsets(data)[0]
    assert runs(check_left(flipped(data, at + 1), data)) == []
    _, got, _ = bitstream.salvage(flipped(data, at + 1))
    assert np.array_equal(table(got), table(bitstream.read(data)[1]))
    cut = flipped(data, at + 1)[:-1]
    with pytest.raises(BitstreamError, match="no sites are left"):
        bitstream.salvage(cut)
    assert pack_chunk(b"SITE", b"")[4:8] in data
