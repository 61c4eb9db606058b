"""Damaged and hostile files: the error that each must give, and what a repair makes of it."""

from __future__ import annotations

import time

import bad_files
import exhaustive_damage
import format_decoder
import pytest
from golden_files import FOLDER as GOLDEN

NAMES = sorted(bad_files.MAKERS)
TABLE = bad_files.table()

# What the decoder in plain Python has no limits for.
LIMITED = {"too-many-pixels", "too-many-chunks", "many-sites-in-few-bytes", "zstd-bomb"}
LIMITED |= {"too-wide", "identical-sites", "zstd-wide-window"}
LIMITED |= {name for name in NAMES if name.startswith("all-sites-matter")}


def stored(name: str) -> bytes:
    return (bad_files.FOLDER / f"{name}.sad").read_bytes()


def test_no_file_is_missing_and_none_is_unknown():
    assert sorted(path.stem for path in bad_files.FOLDER.glob("*.sad")) == NAMES
    assert sorted(TABLE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_gives_its_error_soon(name):
    start = time.process_time()
    assert bad_files.outcome(stored(name), repair=False) == TABLE[name][0]
    assert TABLE[name][0].startswith(("BitstreamError: ", "LimitError: "))
    assert bad_files.outcome(stored(name), repair=True) == TABLE[name][1]
    assert TABLE[name][1]
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", sorted(set(NAMES) - LIMITED))
def test_a_decoder_written_from_the_document_refuses_them_too(name):
    with pytest.raises(Exception):  # noqa: B017, PT011 - it has no errors of its own
        format_decoder.decode(stored(name))


@pytest.mark.parametrize(
    ("name", "values", "repaired"),
    [
        ("one-site", exhaustive_damage.EVERY_VALUE, set()),
        ("chunks", (0x01, 0xFF), {"repair: whole"}),
        ("groups-small", exhaustive_damage.EVERY_BIT, {"repair: a part"}),
        ("groups-small-zstd", (0x20,), {"repair: a part"}),
    ],
)
def test_no_damage_gives_another_picture_without_a_word(name, values, repaired):
    data = (GOLDEN / f"{name}.sad").read_bytes()
    count = exhaustive_damage.check(data, values)
    assert count["error"] == len(data) * (1 + len(values))
    assert set(count) == {"error", "repair: error"} | repaired
