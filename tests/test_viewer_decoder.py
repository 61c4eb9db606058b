"""The viewer's decoder, run by Node.js: symbols and pixels of every kind of file, its errors."""

from __future__ import annotations

import base64
import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import bad_files
import format_arithmetic
import golden_files
import numpy as np
import pytest
import zstandard
from conftest import load
from symbol_samples import sample
from test_format_document import CASES

from sadcodec import bitstream
from sadcodec.bitstream import color_classes
from sadcodec.diagram import open_diagram
from sadcodec.image_io import pnm

DRIVER = Path(__file__).resolve().parent / "viewer_decoder.mjs"
GOLDEN = sorted(golden_files.MAKERS)
BAD = bad_files.table()

# Files that the page refuses with other words.
OTHER_WORDS = {
    "many-sites-in-few-bytes": "16777216 sites exceed the limit of 2097152",
    "too-many-sites": "16777217 sites exceed the limit of 2097152",
    "reserved-letter": "chunk news at byte 42: bad chunk type",
    "type-not-letters": "chunk 61 31 42 63 at byte 42: bad chunk type",
}
COLUMNS = {"x": "x", "y": "y", "logTau": "log_tau", "angle": "angle"}
COLUMNS["logAnisotropy"] = "log_anisotropy"

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")


class Decoder:
    """One process that answers all questions."""

    def __init__(self) -> None:
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(["node", str(DRIVER)], **options)

    def __call__(self, kind: str, path: Path | str = "") -> Any:
        self.process.stdin.write(json.dumps([kind, str(path)]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def ask():
    decoder = Decoder()
    yield decoder
    decoder.process.communicate(timeout=60)
    assert decoder.process.returncode == 0


def extreme() -> tuple[bitstream.Header, bitstream.Symbols]:
    """Colour steps so large that sums of the colour prediction exceed 53 bits."""
    steps = {"step_color": (65535, 65535, 65535), "class_tau_gain": 255}
    header, symbols = sample(300, seed=3, **steps)
    classes = color_classes(symbols, header.width, header.height, header.quantizer)
    units = 65535 * np.array(format_arithmetic.SCALE)[classes.astype(int) + 8]
    limit = (2**29 // units)[:, None]
    colors = np.clip(symbols.color * 4, -limit, limit).astype(np.int32)
    assert np.abs(colors).max() > 20
    return header, replace(symbols, color=colors)


def test_tables_are_those_of_the_document(ask):
    prior = [[p for row in kind for p in row] for kind in format_arithmetic.PRIOR]
    direction = [p for row in format_arithmetic.DIRECTION_PRIOR for p in row]
    expected = [format_arithmetic.LOGISTIC, format_arithmetic.SCALE, *prior, direction]
    assert ask("tables") == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files_have_their_pixels(ask, name):
    expected = pnm.decode((golden_files.FOLDER / f"{name}.pam").read_bytes(), 1 << 20)
    pixels = base64.b64decode(ask("picture", golden_files.FOLDER / f"{name}.sad")["pixels"])
    got = np.frombuffer(pixels, "<u2").reshape(expected.shape)
    assert np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", ["rgb", "k-1", "one-site", "radius"])
def test_range_of_inverse_temperature_is_that_of_the_views(ask, name):
    path = golden_files.FOLDER / f"{name}.sad"
    _, limits = open_diagram(path.read_bytes(), threads=1).tau()
    found = [math.exp(v) for v in ask("picture", path)["tauRange"]]
    assert found == pytest.approx(limits, rel=1e-5)


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files_are_refused_with_the_words_of_the_command(ask, name):
    expected = OTHER_WORDS.get(name, BAD[name][0].split(": ", 1)[1])
    if name.startswith("all-sites-matter"):
        expected = "too many of its 2400 sites matter at one pixel"
    assert ask("picture", bad_files.FOLDER / f"{name}.sad") == {"error": expected}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sequences/moving", "holds a sequence of pictures, which is not shown here"),
        (
            "compositions/masks",
            "holds a composition of bitmap primitives, which is not shown here",
        ),
    ],
)
def test_what_is_not_shown_is_told(ask, name, words):
    assert ask("picture", golden_files.FOLDER / f"{name}.sad") == {"error": words}


@pytest.mark.parametrize("coder", bitstream.CODERS)
def test_symbols_of_all_kinds_of_files(ask, tmp_path, coder):
    samples = [sample(count, seed=count, **options) for count, options in CASES]
    for number, (header, symbols) in enumerate([*samples, extreme()]):
        path = tmp_path / f"{number}.sad"
        path.write_bytes(bitstream.write(header, symbols, coder=coder))
        _, expected = bitstream.read(path.read_bytes())
        sites = ask("symbols", path)
        for mine, theirs in COLUMNS.items():
            assert sites[mine] == getattr(expected, theirs).tolist(), (number, mine)
        radius = [0] * len(expected) if expected.radius is None else expected.radius.tolist()
        assert sites["radius"] == radius, number
        classes = color_classes(expected, header.width, header.height, header.quantizer)
        steps = np.array(format_arithmetic.SCALE)[classes.astype(int) + 8, None]
        values = expected.color * (steps * np.array(header.quantizer.step_color))
        assert sites["value"] == values.ravel().tolist(), number


def test_zstd_frames_of_all_kinds(ask, tmp_path, rng):
    photo = load("coffee.png").tobytes()[:60_000]
    contents = [b"", b"a", b"abc" * 50, bytes(150_000), rng.bytes(5000), photo]
    contents.append(rng.integers(0, 4, 5000, np.uint8).tobytes())
    contents.append(b"".join(rng.bytes(7) * int(n) for n in rng.integers(1, 40, 2000)))
    contents.append(rng.geometric(0.02, 30_000).astype(np.uint16).tobytes())
    path = tmp_path / "frame"
    for number, content in enumerate(contents):
        for level in (-5, 3, 16):
            compressor = zstandard.ZstdCompressor(level=level, write_checksum=level == 3)
            path.write_bytes(compressor.compress(content))
            got = ask("frame", path).get("content", "?")
            assert base64.b64decode(got) == content, (number, level)


def test_damaged_zstd_frames_are_errors_or_contents(ask, tmp_path, rng):
    frame = zstandard.ZstdCompressor(level=19).compress(load("camera.png").tobytes()[:5000])
    path = tmp_path / "frame"
    for number in range(100):
        damaged = bytearray(frame)
        for at in rng.integers(9, len(frame), 3):
            damaged[at] ^= 1 << rng.integers(0, 8)
        cut = len(frame) if number % 2 else int(rng.integers(0, len(frame)))
        path.write_bytes(damaged[:cut])
        answer = ask("frame", path)
        assert set(answer) in ({"error"}, {"content"})
        assert number % 2 or "error" in answer
        assert len(answer.get("error", "").splitlines()) <= 1
