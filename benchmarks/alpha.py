"""Print what images with alpha look like on several backgrounds, by how they are fitted.

Photographs and a drawing of data/ with three masks (an ellipse that fades out, letters, a shape
with an edge of a pixel) are encoded into as many bytes each, five ways. PSNR is that of the decoded
file on black, on white and on squares of 8 px of both.

python benchmarks/alpha.py --bpp 0.25,0.6 --effort 5
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from timing import DATA, markdown_table, read

from sadcodec import alpha, bitstream, encode, objective
from sadcodec.backends.cpu import CpuBackend
from sadcodec.pixels import code_values
from sadcodec.quantize import dequantize

Image = np.ndarray[Any, Any]
IMAGES = ("astronaut.png", "chelsea.png", "coffee.png", "drawing.png")
GROUNDS = ("black", "white", "squares")


# ---- Masks, uint8 [H, W] ------------------------------------------------------------------------


def fading(height: int, width: int) -> Image:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x / width - 0.5, y / height - 0.5) / 0.42
    return (255 * np.clip((1.1 - distance) / 0.35, 0, 1)).astype(np.uint8)


def letters(height: int, width: int) -> Image:
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    large = Pictures.new("L", (4 * width, 4 * height), 0)
    draw = ImageDraw.Draw(large)
    for line, (text, size) in enumerate((("Sites", 0.42), ("soft edges", 0.2), ("0123", 0.3))):
        font = ImageFont.load_default(size=4 * height * size)
        draw.text((0.12 * width, 1.3 * line * height), text, font=font, fill=255)
    return np.asarray(large.resize((width, height), Pictures.Resampling.BOX))


def shape(height: int, width: int) -> Image:
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = x - width / 2, y - height / 2
    reach = 0.45 * min(width, height) * (0.85 + 0.15 * np.sin(7 * np.arctan2(y, x)))
    return (255 * np.clip(reach - np.hypot(x, y), 0, 1)).astype(np.uint8)


MASKS = (fading, letters, shape)


# ---- What the encoder may do --------------------------------------------------------------------


def as_stored(image: Image, _: Image | None = None) -> tuple[Image, None]:
    return image, None


def filled(image: Image, _: Image | None = None) -> tuple[Image, None]:
    return alpha.visible(image)[0], None


def unweighted(image: Image, drawn: Image | None = None) -> tuple[Image, None]:
    """Shares that are right for weights of 1."""
    if drawn is None:
        return filled(image)
    share = np.square(image[..., -1:])
    target = share * image + (1 - share) * np.clip(drawn, 0, 1)
    target[..., -1] = image[..., -1]
    return target.astype(np.float32), None


class Way(NamedTuple):
    """A way to code alpha: what is fitted to, and whether colours are premultiplied in the file."""

    name: str
    visible: Callable[..., tuple[Image, Image | None]]
    premultiplied: bool = False


WAYS = (
    Way("colours as stored", as_stored),
    Way("premultiplied colours in the file", as_stored, premultiplied=True),
    Way("hidden colours of the surroundings", filled),
    Way("and then of the drawn picture", unweighted),
    Way("and pixels weighted: `sad encode`", alpha.visible),
)


def coded(way: Way, image: Image, bpp: float, effort: int, threads: int) -> Image:
    """Return what the file decodes to, uint8 [H, W, 4]."""
    source = image
    if way.premultiplied:
        source = np.rint(alpha.premultiplied(image, 255)).astype(np.uint8)
    with patch.object(objective, "visible", way.visible):
        data = encode(source, bpp=bpp, effort=effort, threads=threads, backend="cpu")
    header, symbols = bitstream.read(data)
    sites = dequantize(symbols, header.width, header.height, header.quantizer)
    drawn = np.clip(CpuBackend(threads).render(sites, header.width, header.height), 0, 1)
    if way.premultiplied:
        opacity = drawn[..., 3:]
        drawn[..., :3] *= (opacity > 0.5 / 255) / np.maximum(opacity, 0.5 / 255)
    return code_values(drawn, 8)


# ---- The table ----------------------------------------------------------------------------------


def errors(image: Image, decoded: Image) -> list[float]:
    """Return the mean squared error on each background, 0..1."""
    squares = np.indices(image.shape[:2]).sum(axis=0) // 8 % 2
    found = []
    for ground in (0.0, 1.0, squares[..., None]):
        a, b = (
            each[..., :3] * (each[..., 3:] / 255**2) + (1 - each[..., 3:] / 255) * ground
            for each in (image, decoded)
        )
        found.append(float(np.mean((a - b) ** 2)))
    return found


def images(masks: Sequence[Callable[[int, int], Image]]) -> Iterator[tuple[str, Image]]:
    for mask in masks:
        for name in IMAGES:
            image = read(str(DATA / name))[:, :, :3]
            yield mask.__name__, np.dstack([image, mask(*image.shape[:2])])


def psnr(mse: Image) -> Image:
    return np.asarray(-10 * np.log10(mse))


def rows(options: argparse.Namespace) -> Iterator[list[str]]:
    for bpp in options.bpp:
        for way in WAYS:
            by_mask: dict[str, list[list[float]]] = {}
            for mask, image in images(MASKS):
                decoded = coded(way, image, bpp, options.effort, options.threads)
                by_mask.setdefault(mask, []).append(errors(image, decoded))
            every = np.array(list(by_mask.values()))  # mask, image, background
            means = np.mean(psnr(every.mean(axis=2)), axis=1)
            grounds = np.mean(psnr(every), axis=(0, 1))
            figures = [*means, *grounds, np.mean(means)]
            yield [f"{bpp:g}", way.name, *(f"{figure:.2f}" for figure in figures)]


def rates(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bpp", type=rates, default=[0.25, 0.6])
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    heads = ["bpp", "alpha", *(mask.__name__ for mask in MASKS), *GROUNDS, "all"]
    print(markdown_table(heads, list(rows(options))), flush=True)


if __name__ == "__main__":
    main()
