"""Mutated files, some; `make fuzz` decodes a million on a build with sanitizers."""

from __future__ import annotations

from random import Random

import fuzz
import mutations
import pytest
from golden_files import FOLDER as GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = mutations.corpus()
SEQUENCE = (GOLDEN / "sequences" / "moving.sad").read_bytes()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(draw=st.randoms(use_true_random=False))
def test_a_mutated_file_gives_an_error_or_a_picture(draw: Random):
    data, _ = mutations.mutated(FILES, draw)
    fuzz.check(data, 1, frozenset(FILES))


@pytest.mark.parametrize("data", FILES[:3])
def test_pieces_make_the_same_file_again(data: bytes):
    pieces = mutations.opened(data)
    assert pieces is not None
    assert pieces.sealed() == data
    assert mutations.sound(data)
    for at in (9, 20, len(data) // 2, len(data) - 1):
        changed = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        assert not mutations.sound(changed)
        assert not mutations.sound(data[:at])


def test_a_number_stands_for_one_file():
    drawn = [fuzz.file_of(FILES, 5, index) for index in range(40)]
    assert drawn == [fuzz.file_of(FILES, 5, index) for index in range(40)]
    assert len({data for data, _ in drawn}) > 30
    assert len({name for _, changes in drawn for name in changes.split("+")}) > 8


def test_mutations_reach_every_outcome():
    found = set()
    for index in range(400):
        data, _ = fuzz.file_of(FILES, 0, index)
        found.update(fuzz.check(data, index, frozenset()))
    kinds = {"picture", "BitstreamError", "LimitError"}
    assert found >= kinds | {f"repair: {kind}" for kind in kinds}


@pytest.mark.parametrize("data", [FILES[0], SEQUENCE])
def test_an_accepted_file_with_a_wrong_checksum_is_noticed(
    data: bytes, monkeypatch: pytest.MonkeyPatch
):
    assert fuzz.check(data, 1, frozenset()) == ("picture", "repair: picture")
    monkeypatch.setattr(fuzz, "drawn", lambda *_, **__: True)
    fuzz.check(data, 1, frozenset())
    with pytest.raises(AssertionError, match="wrong checksum"):
        fuzz.check(data[:-1], 1, frozenset())
