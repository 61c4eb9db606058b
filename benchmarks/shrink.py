"""Print what a picture drawn at a smaller size is worth by each way of averaging.

The images of data/ are coded and drawn at sizes from two thirds to a thirty-second. PSNR, mean over
the images, is against the original shrunk by exact averages over each pixel's area. Columns: the
whole decoded picture shrunk in the same way; what `decode(size=)` draws; samples of the diagram, so
many a pixel along each axis, averaged as they are displayed or as light (sRGB made linear).

python benchmarks/shrink.py
"""

from __future__ import annotations

import argparse
from statistics import mean

import numpy as np
from timing import DATA, markdown_table, read, shares

import sadcodec
from sadcodec.backends.place import Place
from sadcodec.diagram import Diagram, open_diagram

FACTORS = (1.5, 2.0, 3.0, 5.5, 8.0, 16.0, 32.0)
SAMPLES = (1, 2, 4, 8)


def areas(length: int, pixels: int) -> np.ndarray:
    """Return the share of each of `length` px in each of the pixels, [pixels, length]."""
    edges = np.arange(pixels + 1) * (length / pixels)
    low, high = edges[:-1, None], edges[1:, None]
    at = np.arange(length)
    return np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, None) / (high - low)


def averaged(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float [H, W, C] at another size, width and height, by averages over areas."""
    across, down = areas(image.shape[1], size[0]), areas(image.shape[0], size[1])
    return np.einsum("ij,jkc,lk->ilc", down, image, across, optimize=True)


def sampled(diagram: Diagram, size: tuple[int, int], count: int, *, light: bool) -> np.ndarray:
    """Return the mean of count x count samples a pixel."""
    width, height = (side * count for side in size)
    place = Place(0.0, 0.0, diagram.width / width, diagram.height / height)
    drawn = diagram.backend.render(diagram.sites, width, height, diagram.k, place=place)
    values = np.clip(drawn.astype(np.float64), 0.0, 1.0)
    if light:
        values = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    values = values.reshape(size[1], count, size[0], count, -1).mean(axis=(1, 3))
    if light:
        dark = values <= 0.0031308
        values = np.where(dark, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)
    return values


def score(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the PSNR of values rounded to 8 bits."""
    rounded = np.floor(255 * values + 0.5)
    return float(10 * np.log10(255**2 / np.mean((rounded - np.rint(255 * reference)) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bpp", type=float, default=1.0)
    parser.add_argument("--effort", type=int, default=3)
    options = parser.parse_args()
    found: dict[float, list[list[float]]] = {factor: [] for factor in FACTORS}
    for path in sorted(DATA.glob("*.png")):
        image = read(str(path))
        data = sadcodec.encode(
            image, bpp=options.bpp, effort=options.effort, backend="cpu", threads=1
        )
        diagram = open_diagram(data, backend="cpu", threads=1)
        whole = shares(diagram.picture()).astype(np.float64)
        for factor in FACTORS:
            size = (round(diagram.width / factor), round(diagram.height / factor))
            reference = averaged(shares(image).astype(np.float64), size)
            drawings = [averaged(whole, size), shares(diagram.picture(size=size))]
            drawings += [sampled(diagram, size, count, light=False) for count in SAMPLES]
            drawings.append(sampled(diagram, size, SAMPLES[-1], light=True))
            found[factor].append([score(drawn, reference) for drawn in drawings])
    heads = ["factor", "whole, averaged", "`size`", *(f"{n} x {n} samples" for n in SAMPLES)]
    rows = [
        [f"{factor:g}", *(f"{mean(column):.2f}" for column in zip(*scores, strict=True))]
        for factor, scores in found.items()
    ]
    print(markdown_table([*heads, f"{SAMPLES[-1]} x {SAMPLES[-1]}, light"], rows))


if __name__ == "__main__":
    main()
