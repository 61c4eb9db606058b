"""Print what layers by importance cost, and what the first of them are worth.

First table: each image is encoded without layers and its sites are then shared out to them (bytes
of the same sites); and encoded with layers to the same size (PSNR). Second table: PSNR of what the
first layers draw; of as many bytes of a progressive JPEG of the whole file's size, as Pillow draws
them; and of a .sad file of as many bytes made for itself. With --orders: PSNR of the first 40, 16
and 6.4 % of the sites of files without layers, by the order of the encoder and by others. All are
means over the images.

python benchmarks/progressive.py
python benchmarks/progressive.py kodim05.png kodim23.png --bpp 0.5 --orders
"""

from __future__ import annotations

import argparse
import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile
from timing import DATA, markdown_table, read

from sadcodec import bitstream, decode, encode, info
from sadcodec.backends.cpu import CpuBackend
from sadcodec.bitstream import Header, Symbols
from sadcodec.layering import arrange, by_importance, layer_ends
from sadcodec.metrics import psnr
from sadcodec.pixels import code_values
from sadcodec.quantize import dequantize
from sadcodec.refine import Refinement
from sadcodec.sites import Sites

LAYERS = (2, 4, 6)
SHOWN = 4  # layers of the second table
SHARES, SCORES = ("sites", "bytes"), ("psnr", "jpeg", "alone")


class Cost(NamedTuple):
    """One image with so many layers."""

    layers: int
    more: float  # bytes of the same sites, as a share
    decibels: float  # PSNR at the same size, against no layers


class Prefix(NamedTuple):
    """The first layers of one image."""

    layers: int
    sites: float  # as a share of all, as the bytes
    bytes: float
    psnr: float
    jpeg: float
    alone: float


# Orders of the third table: name, share removed in a round, neighbours of which one goes.
ORDERS = (
    ("one round for a layer", 1.0, 1),
    ("rounds of 30 %", 0.3, 1),
    ("rounds of 15 %", 0.15, 1),
    ("rounds of 15 %, one of 4 neighbours", 0.15, 4),
)


def orders(image: np.ndarray, bpp: float, effort: int) -> list[list[float]]:
    """Return the PSNR of the first sites by each order, those at random first."""
    data = encode(image, bpp=bpp, effort=effort, groups=1, backend="cpu", threads=1)
    header, symbols = bitstream.read(data)
    params = dequantize(symbols, header.width, header.height, header.quantizer).params
    ends = layer_ends(len(symbols), SHOWN)
    refinement = refinement_of(image, header, symbols)
    kept = [np.random.default_rng(0).permutation(len(symbols))]
    bare = replace(symbols, classes=None)
    kept += [by_importance(refinement, bare, ends, *how) for _, *how in ORDERS]

    def score(first: np.ndarray) -> float:
        sites = Sites(params[np.sort(first)])
        drawn = CpuBackend(1).render(sites, header.width, header.height, header.k)
        return psnr(image, code_values(drawn, 8))

    return [[score(order[:end]) for end in ends[-2::-1]] for order in kept]


def refinement_of(image: np.ndarray, header: Header, symbols: Symbols) -> Refinement:
    """Return a refinement that holds the sites of a file."""
    target = image.reshape(*image.shape[:2], -1).astype(np.float32) / np.float32(255)
    refinement = Refinement(CpuBackend(1).refiner(target, header.k), header, 1)
    refinement.set_symbols(symbols)
    return refinement


def recoded(image: np.ndarray, data: bytes, layers: int) -> int:
    """Return the bytes of a file's sites in so many layers, its metadata left out."""
    refinement = refinement_of(image, *bitstream.read(data))
    arrange(refinement, layers)
    return refinement.size()


def jpeg_of(image: np.ndarray, size: int) -> bytes:
    """Return the best progressive JPEG of at most `size` bytes, or the smallest there is."""
    picture = Image.fromarray(image.squeeze())
    best = b""
    for quality in range(1, 96):
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality, progressive=True, optimize=True)
        if best and out.tell() > size:
            break
        best = out.getvalue()
    return best


def jpeg_psnr(image: np.ndarray, data: bytes) -> float:
    """Return what the first bytes of a JPEG draw; what is missing is gray."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with Image.open(io.BytesIO(data)) as picture, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.asarray(picture)
    except OSError:  # it has no picture yet
        pixels = np.full(image.shape, 128, np.uint8)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    return psnr(image, pixels.reshape(image.shape))


def measure(
    image: np.ndarray, bpp: float, effort: int, layers: Sequence[int] = LAYERS
) -> tuple[list[Cost], list[Prefix]]:
    """Return the rows of one image."""
    options = {"effort": effort, "backend": "cpu", "threads": 1}
    plain = encode(image, bpp=bpp, groups=1, **options)
    score = psnr(image, decode(plain))
    coded = {n: encode(image, bpp=bpp, progressive=n, **options) for n in layers}
    costs = [
        Cost(n, recoded(image, plain, n) / len(plain) - 1, psnr(image, decode(coded[n])) - score)
        for n in layers
    ]
    data = coded[min(layers, key=lambda n: abs(n - SHOWN))]
    jpeg = jpeg_of(image, len(data))
    found = info(data)
    prefixes, sites = [], 0
    for number, layer in enumerate(found.layers, 1):
        sites += layer.sites
        alone = encode(image, size=layer.end, groups=1, **options)
        prefixes.append(
            Prefix(
                number,
                sites / found.header.site_count,
                layer.end / len(data),
                psnr(image, decode(data, layers=number)),
                jpeg_psnr(image, jpeg[: layer.end]),
                psnr(image, decode(alone)),
            )
        )
    return costs, prefixes


def tables(rows: Sequence[tuple[list[Cost], list[Prefix]]]) -> str:
    """Return the means over the images, in Markdown."""
    costs, prefixes = [], []
    for same in zip(*(row[0] for row in rows), strict=True):
        more = 100 * mean(cost.more for cost in same)
        decibels = mean(cost.decibels for cost in same)
        costs.append([f"{same[0].layers}", f"+{more:.1f} %", f"{decibels:+.2f} dB"])
    for first in zip(*(row[1] for row in rows), strict=True):
        sites, size = (100 * mean(getattr(each, name) for each in first) for name in SHARES)
        scores = [f"{mean(getattr(each, name) for each in first):.2f}" for name in SCORES]
        prefixes.append([f"{first[0].layers}", f"{sites:.0f} %", f"{size:.1f} %", *scores])
    first = markdown_table(["layers", "bytes of the same sites", "PSNR at the same size"], costs)
    names = ["first layers", "sites", "bytes", "PSNR", "progressive JPEG", "a file of that size"]
    return first + "\n\n" + markdown_table(names, prefixes)


def order_table(scores: np.ndarray) -> str:
    """Return the PSNR by order and share of the sites, in Markdown."""
    names = ["at random", *(name for name, *_ in ORDERS)]
    rows = [[name, *(f"{v:.2f}" for v in row)] for name, row in zip(names, scores, strict=True)]
    return markdown_table(["order", "40 %", "16 %", "6.4 %"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", nargs="*", default=sorted(DATA.glob("*.png")))
    parser.add_argument("--bpp", type=float, default=1.0)
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--orders", action="store_true", help="which sites come first")
    options = parser.parse_args()
    if options.orders:
        found = [orders(read(path), options.bpp, options.effort) for path in options.images]
        print(order_table(np.array(found).mean(axis=0)))
        return
    rows = [measure(read(path), options.bpp, options.effort) for path in options.images]
    print(tables(rows))


if __name__ == "__main__":
    main()
