"""Bits of every column of a file, beside what ideal models of the same symbols would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from timing import markdown_table

from sadcodec import _coder, bitstream
from sadcodec.bitstream import angle_levels
from sadcodec.bitstream.payload import coder_arguments, column_names

MODELS = ("coded", "static", "contexts")
_HEADINGS = {"coded": "{:g} bpp", "static": "static", "contexts": "in contexts"}


@dataclass(frozen=True)
class ColumnBits:
    """Bits a site of one column.

    Attributes
    ----------
    coded : float
        In the file.
    static : float
        Entropy of the residuals that the coder's prediction leaves, their counts known beforehand.
        Positions: of a random set of as many cells of the grid; angles: of random directions.
    contexts : float or None
        The same within each of the coder's classes of expected size; None for these two.
    """

    name: str
    coded: float
    static: float
    contexts: float | None


def entropy(values: np.ndarray, classes: np.ndarray | None = None) -> float:
    """Return the empirical entropy of integers, within classes if there are any, in bits each."""
    classes = np.zeros_like(values) if classes is None else classes
    total = 0.0
    for each in np.unique(classes):
        counts = np.unique(values[classes == each], return_counts=True)[1]
        total -= float(counts @ np.log2(counts / counts.sum()))
    return total / len(values)


def position_bits(count: int, cells: int) -> float:
    """Return log2 of the number of sets, with repetition, of `count` cells, in bits a site."""
    ways = math.lgamma(cells + count) - math.lgamma(count + 1) - math.lgamma(cells)
    return ways / math.log(2) / count


def columns_of(data: bytes) -> list[ColumnBits]:
    """Return the columns of a file."""
    header, symbols = bitstream.read(data)
    coded = {column.name: column.bits_per_site for column in bitstream.inspect(data).columns}
    partition = header.quantizer.partition(symbols)
    residuals, classes = _coder.analyze(*coder_arguments(header, symbols), 1, *partition)
    across, down = header.quantizer.grid_size(header.width, header.height)
    found = []
    for j, name in enumerate(column_names(header.channels)):
        if name not in coded:  # no radius
            continue
        contexts = None
        if name == "position":
            static = position_bits(len(symbols), across * down)
        elif name == "angle":
            levels = angle_levels(int(symbols.log_anisotropy.max()) + 1, header.quantizer)
            static = float(np.mean(np.log2(levels[symbols.log_anisotropy])))
        else:
            static = entropy(residuals[:, j])
            contexts = entropy(residuals[:, j], classes[:, j])
        found.append(ColumnBits(name, coded[name], static, contexts))
    return found


def rows(image: str, bpp: float, data: bytes) -> list[dict[str, Any]]:
    """Return the columns of a file as rows of the report."""
    header, _ = bitstream.read(data)
    file_bits = 8 * len(data) / header.site_count
    found = [
        {
            "image": image,
            "bpp": bpp,
            "column": c.name,
            **{name: getattr(c, name) for name in MODELS},
        }
        for c in columns_of(data)
    ]
    sums = {name: sum(row[name] for row in found) for name in ("coded", "static")}
    # Positions and angles have no such classes: they count there as in the static model.
    sums["contexts"] = sum(
        row["static"] if row["contexts"] is None else row["contexts"] for row in found
    )
    found.append({"image": image, "bpp": bpp, "column": "all", **sums})
    whole = {"coded": file_bits, "static": None, "contexts": None}
    return [*found, {"image": image, "bpp": bpp, "column": "file", **whole}]


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the means over the images, in Markdown."""
    rates = list(dict.fromkeys(row["bpp"] for row in found))
    names = list(dict.fromkeys(row["column"] for row in found))
    names = [*(name for name in names if name not in ("all", "file")), "all", "file"]
    lines = []
    for name in names:
        line = [name]
        for bpp in rates:
            mine = [row for row in found if (row["column"], row["bpp"]) == (name, bpp)]
            for model in MODELS:
                values = [row[model] for row in mine if row[model] is not None]
                line.append(f"{mean(values):.2f}" if values else "-")
        lines.append(line)
    header = ["bits a site", *(_HEADINGS[m].format(bpp) for bpp in rates for m in MODELS)]
    return markdown_table(header, lines)
