"""Files that were written once: every decoder, on any processor, still draws them as it did."""

from __future__ import annotations

import format_composition
import format_decoder
import format_sequence
import numpy as np
import pytest
from golden_files import COMPOSITIONS, FOLDER, MAKERS, SEQUENCES, drawn_composition, stacked

import sadcodec
from sadcodec import _core, bitstream
from sadcodec.backends import get_backend
from sadcodec.backends.cpu import CpuBackend
from sadcodec.image_io import pnm
from sadcodec.refine import draw

NAMES = sorted(MAKERS)
SEQUENCE_NAMES = sorted(SEQUENCES)
COMPOSITION_NAMES = sorted(COMPOSITIONS)


def expected(name: str) -> np.ndarray:
    return pnm.decode((FOLDER / f"{name}.pam").read_bytes(), 1 << 20)


def coded(name: str) -> bytes:
    return (FOLDER / f"{name}.sad").read_bytes()


def worst(actual: np.ndarray, name: str) -> int:
    assert actual.dtype == expected(name).dtype
    return int(np.abs(actual.astype(np.int64) - expected(name)).max())


def test_no_file_is_missing_and_none_is_unknown():
    assert sorted(path.stem for path in FOLDER.glob("*.sad")) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.pam")) == NAMES
    for suffix in ("sad", "pam"):
        for folder, names in (("sequences", SEQUENCE_NAMES), ("compositions", COMPOSITION_NAMES)):
            found = (FOLDER / folder).glob(f"*.{suffix}")
            assert sorted(path.stem for path in found) == names


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_draws_the_same_pixels(name):
    header, symbols = bitstream.read(coded(name))
    assert worst(draw(get_backend("reference"), header, symbols), name) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_cpu_draws_them_within_one_code_value_and_always_alike(name):
    data = coded(name)
    pictures = []
    for isa in _core.isas():
        for threads in (1, 2):
            header, symbols = bitstream.read(data, threads=threads)
            pictures.append(draw(CpuBackend(threads=threads, isa=isa), header, symbols))
    assert worst(pictures[0], name) <= 1
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_written_from_the_document_draws_them_within_one_code_value(name):
    fields, sites = format_decoder.decode(coded(name))
    rows = format_decoder.draw(fields, format_decoder.dequantize(fields, sites))
    deep = fields["bit_depth"] == 16
    assert worst(np.array(rows, np.uint16 if deep else np.uint8), name) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_writing_the_symbols_again_gives_the_same_picture(name):
    header, symbols = bitstream.read(coded(name))
    again, same = bitstream.read(bitstream.write(header, symbols))
    assert again == header
    assert worst(draw(get_backend("reference"), again, same), name) == 0


@pytest.mark.parametrize("name", SEQUENCE_NAMES)
def test_sequences_are_drawn_as_they_were(name):
    data = coded(f"sequences/{name}")
    assert worst(stacked(data), f"sequences/{name}") == 0
    frames = list(sadcodec.decode_frames(data, backend="cpu", threads=1))
    assert worst(np.concatenate(frames), f"sequences/{name}") <= 1
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(sadcodec.decode(data, frame=number, threads=2), frame)


@pytest.mark.parametrize("name", SEQUENCE_NAMES)
def test_a_decoder_written_from_the_document_draws_sequences(name):
    frames = [
        np.array(format_decoder.draw(fields, rows), np.uint16 if "16" in name else np.uint8)
        for fields, rows in format_sequence.decode(coded(f"sequences/{name}"))
    ]
    assert worst(np.concatenate(frames), f"sequences/{name}") <= 1


@pytest.mark.parametrize("name", COMPOSITION_NAMES)
def test_compositions_are_drawn_as_they_were(name):
    data, path = coded(f"compositions/{name}"), f"compositions/{name}"
    assert worst(drawn_composition(data), path) == 0
    assert worst(drawn_composition(data, "cpu"), path) <= 1


@pytest.mark.parametrize("name", COMPOSITION_NAMES)
def test_a_decoder_written_from_the_document_draws_compositions(name):
    frames = [
        format_composition.draw(fields, rows)
        for fields, rows in format_composition.decode(coded(f"compositions/{name}"))
    ]
    assert worst(np.concatenate(frames), f"compositions/{name}") <= 1
