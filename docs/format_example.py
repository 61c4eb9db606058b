"""Prints the parts of FORMAT.md that come from the code: the example of section 13 and the tables.

python docs/format_example.py          print both
python docs/format_example.py --write  put them into FORMAT.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

from sadcodec.bitstream import Header, QuantizerParameters, Symbols, write

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "FORMAT.md"
PRIORS = ROOT / "kernels" / "coder" / "priors.h"

# Bytes a line of the example, and what they are: three sites, one channel.
FIELDS = (
    (8, "signature"),
    (1, "version 1"),
    (1, "flags"),
    (1, "pixel_format: 1 channel, 8 bits"),
    (1, "k = 8"),
    (4, "width = 6"),
    (4, "height = 4"),
    (4, "site_count = 3"),
    (2, "step_position = 512: 1/2 px, a grid of 12 x 8 cells"),
    (2, "step_log_tau = 256"),
    (2, "step_log_anisotropy = 256"),
    (2, "step_angle = 128"),
    (2, "step_radius = 0: no radius column"),
    (1, "class_distance_gain = 128"),
    (1, "class_tau_gain = 58"),
    (2, "step_color = 512: 1/32"),
    (4, "header_crc"),
    (4, "length of the chunk's data"),
    (4, "type SITE"),
)


def example() -> tuple[Header, Symbols]:
    """Three sites on a picture of 6 x 4 px."""

    def column(*values: int) -> np.ndarray:
        return np.array(values, np.int32)

    quantizer = QuantizerParameters(512, 256, 256, 128, 0, (512,))
    symbols = Symbols(
        x=column(1, 9, 10),
        y=column(2, 1, 6),
        log_tau=column(2, 1, 0),
        log_anisotropy=column(0, 3, 2),
        angle=column(0, 5, 2),
        radius=None,
        color=column(8, 22, 12)[:, None],
    )
    return Header(6, 4, 1, 8, 8, 3, quantizer), symbols


def example_text() -> str:
    """The example as it stands in the document."""
    header, symbols = example()
    data = write(header, symbols)
    lines = [
        "The file of these three sites (in stored order), as `docs/format_example.py` prints it:",
        "",
    ]
    lines += ["| x | y | T | A | D | S |", "|---|---|---|---|---|---|"]
    names = ("x", "y", "log_tau", "log_anisotropy", "angle")
    rows = np.column_stack([*(getattr(symbols, name) for name in names), symbols.color])
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines.append("")
    start = 0
    payload = len(data) - 4 - sum(length for length, _ in FIELDS)
    coefficients = 0
    body = data[-4 - payload : -4]
    for _ in range(4):  # varints
        while body[coefficients] >= 128:
            coefficients += 1
        coefficients += 1
    tail = ((coefficients, "alpha, beta, delta, gamma"), (payload - coefficients, "range coder"))
    for length, meaning in (*FIELDS, *tail, (4, "CRC-32 of the chunk")):
        piece = data[start : start + length]
        for at in range(0, length, 16):
            note = meaning if at == 0 else ""
            lines.append(f"    {start + at:3d}  {piece[at : at + 16].hex(' '):<48} {note}".rstrip())
        start += length
    return "\n".join(lines)


def tables_text() -> str:
    """The tables of initial probabilities as they stand in the document."""
    rows = re.findall(r"\{((?:\d+,\s*){15}\d+)\}", PRIORS.read_text(encoding="utf-8"))
    values = [bytes(int(v) for v in row.split(",")) for row in rows]
    parts = (
        ("PRIOR[0] (colours), one row a scale, hexadecimal, bins 0 to 15:", values[:24]),
        ("PRIOR[1] (log_tau, log_anisotropy, radius):", values[24:48]),
        ("DIRECTION_PRIOR, one row a coherence, nodes 0 to 15 (node 0 is not used):", values[48:]),
    )
    return "\n\n".join(
        title + "\n\n" + "\n".join("    " + row.hex(" ") for row in table) for title, table in parts
    )


def filled(text: str) -> str:
    """The document `text` with both parts as the code has them."""
    head, rest = text.split("## 13. Example\n\n")
    _, rest = rest.split("\n\n## 14.")
    text = head + "## 13. Example\n\n" + example_text() + "\n\n## 14." + rest
    logistic_end = text.index("65514\n") + len("65514\n")
    return text[:logistic_end] + "\n" + tables_text() + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(example_text() + "\n\n" + tables_text() + "\n")
