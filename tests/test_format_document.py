"""docs/FORMAT.md against the code: its example, its tables, and the decoder written from it."""

from __future__ import annotations

import runpy

import format_decoder
import numpy as np
import pytest
from format_arithmetic import DOCUMENT, SCALE
from symbol_samples import sample

from sadcodec import bitstream
from sadcodec.bitstream import color_classes
from sadcodec.quantize import dequantize

TOOL = DOCUMENT.parent / "format_example.py"

# Numbers of sites, and options of `sample`.
CASES: list[tuple[int, dict]] = [
    (1, {}),
    (2, {"channels": 1}),
    (3, {"channels": 2}),
    (60, {"channels": 4, "radius": True}),
    (250, {"width": 400, "height": 300}),
    (150, {"coincident": True}),
    (200, {"width": 3, "height": 700, "channels": 2}),
    (80, {"step_position": 5, "width": 500, "height": 2}),
    (120, {"step_angle": 2000, "step_color": (1, 150, 9), "class_tau_gain": 255}),
    (250, {"width": 400, "height": 300, "groups": 3}),
    (9, {"groups": 9}),
    (150, {"coincident": True, "groups": 4}),
    (80, {"step_position": 5, "width": 500, "height": 2, "groups": 5, "radius": True}),
    (60, {"step_position": 4000, "groups": 7, "channels": 2}),
]


def test_example_and_tables_of_the_document_are_those_of_the_code():
    tool = runpy.run_path(str(TOOL))
    text = DOCUMENT.read_text(encoding="utf-8")
    assert tool["filled"](text) == text


def test_bytes_of_the_example_decode_to_its_symbols():
    tool = runpy.run_path(str(TOOL))
    header, symbols = tool["example"]()
    text = DOCUMENT.read_text(encoding="utf-8").split("## 13.")[1].split("## 14.")[0]
    lines = [line[9:57] for line in text.splitlines() if line.startswith("    ")]
    data = bytes.fromhex("".join(lines))
    assert data == bitstream.write(header, symbols)
    _, got = bitstream.read(data)
    assert np.array_equal(got.x, symbols.x)
    assert np.array_equal(got.color, symbols.color)


@pytest.mark.parametrize("coder", bitstream.CODERS)
@pytest.mark.parametrize(("count", "options"), CASES)
def test_a_decoder_written_from_the_document_agrees(coder, count, options):
    header, symbols = sample(count, seed=count, **options)
    data = bitstream.write(header, symbols, coder=coder, chunks=[(b"zzZz", b"skip me")])
    _, expected = bitstream.read(data)
    fields, sites = format_decoder.decode(data)
    assert fields["site_count"] == count
    assert sites.xy == list(zip(expected.x.tolist(), expected.y.tolist()))
    assert expected.log_tau.tolist() == sites.T
    assert expected.log_anisotropy.tolist() == sites.A
    assert expected.angle.tolist() == sites.D
    assert (None if expected.radius is None else expected.radius.tolist()) == sites.R
    assert expected.color.tolist() == sites.S
    classes = color_classes(expected, header.width, header.height, header.quantizer)
    steps = np.array(SCALE)[classes.astype(int) + 8]
    assert [u[0] for u in sites.u] == (steps * header.quantizer.step_color[0]).tolist()
    drawn = dequantize(expected, header.width, header.height, header.quantizer).params
    rows = np.array(format_decoder.dequantize(fields, sites), np.float32)
    # Cosines and sums may be rounded differently before the one rounding to float32.
    np.testing.assert_allclose(rows, drawn, rtol=2**-22, atol=1e-9)
    assert np.array_equal(rows[:, :4], drawn[:, :4])


def test_smooth_columns_reach_every_rule():
    """Symbols with structure: predictions, slopes and coherent directions all matter."""
    header, symbols = sample(300, seed=5, width=300, height=200)
    x, y = symbols.x / 1000.0, symbols.y / 700.0
    symbols.log_tau[:] = np.round(10 * np.sin(3 * x) + symbols.log_tau / 4)
    symbols.log_anisotropy[:] = np.clip(np.round(8 + 6 * np.cos(4 * y)), 0, 30)
    levels = bitstream.angle_levels(31, header.quantizer)[symbols.log_anisotropy]
    symbols.angle[:] = np.floor((x + y) / 2 % 1 * levels)
    luma = np.round(20 * x + symbols.color[:, 0] / 4)
    symbols.color[:] = np.stack([luma, luma // 2 + 1, 3 - luma // 3], axis=1)
    data = bitstream.write(header, symbols)
    _, expected = bitstream.read(data)
    _, sites = format_decoder.decode(data)
    assert expected.angle.tolist() == sites.D
    assert expected.color.tolist() == sites.S
