"""Print what groups cost: files recoded with more of them, in bytes.

Each image is encoded once with a single group. Its sites are then coded in 2, 4, 8 and 16: the
colours are rounded to the steps that the new neighbourhoods give, all else stays.

python benchmarks/groups.py kodim05.png kodim13.png --bpp 0.3,1
python benchmarks/groups.py kodim*.png --bpp 1 --together    the images side by side as one
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
from timing import markdown_table

from sadcodec import bitstream, encode
from sadcodec.backends.cpu import CpuBackend
from sadcodec.bitstream import CODERS, Header, Symbols, encode_payload, file_size
from sadcodec.image_io import decode_image
from sadcodec.metrics import psnr
from sadcodec.quantize import color_steps
from sadcodec.refine import draw

GROUPS = (1, 2, 4, 8, 16)


class Row(NamedTuple):
    """One image coded in so many groups."""

    bpp: float
    coder: str
    groups: int
    sites: int
    bytes: int
    psnr: float


def regrouped(header: Header, symbols: Symbols, groups: int) -> tuple[Header, Symbols]:
    """Return the diagram as it is coded in `groups` groups."""
    header = replace(header, quantizer=replace(header.quantizer, groups=groups))
    bare = replace(symbols, classes=None)
    before = color_steps(symbols, header.width, header.height, header.quantizer)
    after = color_steps(bare, header.width, header.height, header.quantizer)
    color = np.floor(symbols.color * (before / after) + 0.5).astype(np.int32)
    return header, replace(bare, color=color)


def measure(
    images: Sequence[np.ndarray], rates: Sequence[float], effort: int, threads: int
) -> Iterator[Row]:
    """Give a row for every image, rate, coder and number of groups."""
    backend = CpuBackend(threads)
    for image in images:
        for bpp in rates:
            data = encode(image, bpp=bpp, effort=effort, groups=1, backend="cpu", threads=threads)
            header, symbols = bitstream.read(data)
            for groups in GROUPS:
                other, sites = regrouped(header, symbols, groups)
                score = psnr(image, draw(backend, other, sites))
                for coder in CODERS:
                    coded = replace(other, coder=coder)
                    size = file_size(coded, encode_payload(coded, sites, threads))
                    yield Row(bpp, coder, groups, len(sites), size, score)


def table(rows: Sequence[Row]) -> str:
    """Return the means over the images, in Markdown."""
    lines = []
    for bpp, coder in dict.fromkeys((row.bpp, row.coder) for row in rows):
        mine = [row for row in rows if (row.bpp, row.coder) == (bpp, coder)]

        def of(groups: int, name: str, mine: list[Row] = mine) -> float:
            return mean(getattr(row, name) for row in mine if row.groups == groups)

        one = of(1, "bytes")
        line = [f"{bpp:g}", coder, f"{of(1, 'sites'):.0f}", f"{one:.0f}"]
        for groups in GROUPS[1:]:
            more = of(groups, "bytes") - one
            loss = of(groups, "psnr") - of(1, "psnr")
            line.append(f"+{more:.0f} (+{100 * more / one:.2f} %), {loss:+.2f} dB")
        lines.append(line)
    header = ["bpp", "coder", "sites", "bytes", *(f"{n} groups" for n in GROUPS[1:])]
    return markdown_table(header, lines)


def beside(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return images of one size as one, three in a row."""
    rows = [np.hstack(images[i : i + 3]) for i in range(0, len(images), 3)]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--bpp", default="0.3,1")
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--together", action="store_true")
    options = parser.parse_args()
    images = [decode_image(Path(path).read_bytes()) for path in options.images]
    if options.together:
        images = [beside(images)]
    rates = [float(rate) for rate in options.bpp.split(",")]
    print(table(list(measure(images, rates, options.effort, options.threads))))


if __name__ == "__main__":
    main()
