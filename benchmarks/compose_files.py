"""Files of compositions: bytes and PSNR by quantization step; layers against `sad decode`.

Prints the tables of docs/COMPOSE.md, as Markdown. Fits 1000 primitives (a leaf and two letters) to
two photographs of data/; half a minute on one core.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np

from sadcodec import bitstream, image_io
from sadcodec.bitstream import PrimitiveQuantizer
from sadcodec.compose.composition import Composition
from sadcodec.compose.drawing import draw
from sadcodec.compose.export import exported
from sadcodec.compose.fit import fit
from sadcodec.compose.stored import dequantized, pack, quantized
from sadcodec.compose.templates import glyph_templates, template_of
from sadcodec.metrics import psnr

DATA = Path(__file__).resolve().parent.parent / "data"
IMAGES = ("coffee.png", "chelsea.png")
COUNT, ITERATIONS = 1000, 250
QUANTIZERS = (
    PrimitiveQuantizer(),
    PrimitiveQuantizer(256, 16, 256, 255, 255),
    PrimitiveQuantizer(256, 32, 512, 31, 31),
    PrimitiveQuantizer(512, 48, 1024, 63, 63),
    PrimitiveQuantizer(1024, 48, 1024, 63, 63),
)


def fitted() -> Iterator[tuple[np.ndarray, Composition]]:
    """Yield each image with the composition fitted to it."""
    leaf = template_of((DATA / "shapes" / "leaf.svg").read_bytes())
    templates = np.concatenate([leaf[None], glyph_templates("Ab")])
    for name in IMAGES:
        image = image_io.decode_image((DATA / name).read_bytes())
        target = np.ascontiguousarray(image / np.float32(255), np.float32)
        result = fit(target, templates, count=COUNT, iterations=ITERATIONS, threads=1)
        yield image, result.composition


def steps(made: list[tuple[np.ndarray, Composition]]) -> None:
    """Print the table of quantization steps."""
    print("| position | log radius | arc | opacity | colour | bits a primitive | PSNR, dB |")
    print("|---|---|---|---|---|---|---|")
    for quantizer in QUANTIZERS:
        bits, quality = [], []
        for image, whole in made:
            file = bitstream.open_composition(pack([whole], quantizer))
            bits.append(8 * sum(file.lengths if file else ()) / len(whole))
            rows = quantized(whole, quantizer)
            params = dequantized(rows, quantizer, whole.width, whole.height)
            quality.append(psnr(image, draw(replace(whole, params=params), threads=1)))
        fields = " | ".join(map(str, astuple(quantizer)))
        print(f"| {fields} | {np.mean(bits):.1f} | {np.mean(quality):.2f} |")
    before = np.mean([psnr(image, draw(whole, threads=1)) for image, whole in made])
    print(f"| not rounded | | | | | 256 | {before:.2f} |")


def layers(made: list[tuple[np.ndarray, Composition]]) -> None:
    """Print how far psd-tools' composite is from the picture."""
    from psd_tools import PSDImage

    print("| image | layers | bytes | largest difference | mean |")
    print("|---|---|---|---|---|")
    for name, (_, whole) in zip(IMAGES, made, strict=True):
        data, count = exported(whole, "psd", threads=1)
        read = PSDImage.open(io.BytesIO(data)).composite(ignore_preview=True)
        error = np.abs(np.asarray(read)[..., :3].astype(int) - draw(whole, threads=1))
        print(f"| {name} | {count} | {len(data)} | {error.max()} | {error.mean():.2f} |")


def main() -> int:
    """Print the tables."""
    made = list(fitted())
    steps(made)
    print()
    layers(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
