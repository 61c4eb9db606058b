"""Print what a mask and a region of interest bring: PSNR inside and outside at equal bytes.

Each image is encoded at one rate, by itself and with its rectangle as a mask or a region; the crop
is the rectangle alone in as many bytes as the whole image has.

python benchmarks/importance.py data/astronaut.png:80,10,80,90 data/chelsea.png:60,60,150,80
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import numpy as np
from timing import markdown_table

from sadcodec import bitstream, codec
from sadcodec.image_io import decode_image
from sadcodec.importance import Importance, importance_of
from sadcodec.metrics import psnr
from sadcodec.quantize import dequantize

Rectangle = tuple[int, int, int, int]
Options = dict[str, Any]


class Setting(NamedTuple):
    """A way to encode: options from the rectangle and its mask, and what is left out."""

    name: str
    options: Callable[[Rectangle, np.ndarray], Options]
    without: Callable[[Importance], Importance] | None = None


def _alike(importance: Importance) -> Importance:
    return replace(importance, area=float(importance.weights.size))


def _anywhere(importance: Importance) -> Importance:
    return replace(importance, density=np.ones_like(importance.density))


SETTINGS = (
    Setting("neither", lambda _, __: {}),
    *(
        Setting(f"`--roi X,Y,W,H:{s}`", lambda r, _, s=s: {"roi": [(*r, s)]})
        for s in (2, 4, 16, 100)
    ),
    Setting("`--mask`, outside 1/4", lambda _, m: {"mask": np.where(m, 4, 1)}),
    Setting("`--mask`, outside black", lambda _, m: {"mask": m}),
    Setting("the same, sites start anywhere", lambda _, m: {"mask": m}, _anywhere),
    Setting("the same, rates and steps of the whole", lambda _, m: {"mask": m}, _alike),
)


class Result(NamedTuple):
    """One image encoded."""

    bytes: int
    sites: int
    sites_inside: int
    inside: float
    outside: float


def encoded(image: np.ndarray, rectangle: Rectangle, setting: Setting, options: Options) -> Result:
    """Encode with a setting and measure both sides of the rectangle."""
    x, y, width, height = rectangle
    mask = np.zeros(image.shape[:2], bool)
    mask[y : y + height, x : x + width] = True
    context: AbstractContextManager[Any] = nullcontext()
    if setting.without is not None:
        without = setting.without

        def changed(*arguments: Any) -> Importance:
            return without(cast(Importance, importance_of(*arguments)))

        context = patch("sadcodec.options.importance_of", changed)
    with context:
        data = codec.encode(image, **options, **setting.options(rectangle, mask))
    decoded = codec.decode(data)
    header, symbols = bitstream.read(data)
    sites = dequantize(symbols, header.width, header.height, header.quantizer)
    column, row = np.floor(sites.params[:, :2]).astype(int).T
    inside = mask[np.minimum(row, header.height - 1), np.minimum(column, header.width - 1)]
    return Result(
        len(data),
        len(symbols),
        int(inside.sum()),
        *(
            psnr(image, decoded, weights=side / side.mean())
            for side in (mask.astype(float), 1.0 - mask)
        ),
    )


def table(images: Sequence[tuple[np.ndarray, Rectangle]], options: Options) -> str:
    """Return the means over the images, in Markdown."""
    lines = []
    for setting in SETTINGS:
        results = [encoded(*image, setting, options) for image in images]
        share = mean(100 * r.sites_inside / r.sites for r in results)
        lines.append(
            [
                setting.name,
                f"{mean(r.bytes for r in results):.0f}",
                f"{share:.0f} %",
                *(
                    f"{mean(getattr(r, side) for r in results):.2f}"
                    for side in ("inside", "outside")
                ),
            ]
        )
    crops = []
    for image, (x, y, width, height) in images:
        crop = np.ascontiguousarray(image[y : y + height, x : x + width])
        size = int(options["bpp"] * image.shape[0] * image.shape[1] / 8)
        data = codec.encode(crop, **{**options, "bpp": None, "size": size})
        crops.append((len(data), psnr(crop, codec.decode(data))))
    size, inside = (mean(of) for of in zip(*crops, strict=True))
    lines.append(["the rectangle alone, cut out", f"{size:.0f}", "100 %", f"{inside:.2f}", "-"])
    return markdown_table(["", "bytes", "sites inside", "dB inside", "dB outside"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", nargs="+", metavar="IMAGE:X,Y,W,H")
    parser.add_argument("--bpp", type=float, default=0.3)
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    images = []
    for argument in given.images:
        path, _, numbers = argument.rpartition(":")
        x, y, width, height = (int(number) for number in numbers.split(","))
        images.append((decode_image(Path(path).read_bytes()), (x, y, width, height)))
    options = {"bpp": given.bpp, "effort": given.effort, "threads": given.threads}
    print(table(images, {**options, "backend": "cpu"}))


if __name__ == "__main__":
    main()
