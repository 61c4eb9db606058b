"""Print how a picture drawn at four times its size compares with its pixels enlarged.

An image is shrunk by averaging 4 x 4 px, the small one is coded, and the file is drawn at the size
of the original: from the diagram (`decode(scale=4)`), and from the decoded pixels, enlarged by
bicubic and by Lanczos interpolation (Pillow). PSNR and SSIM are against the original.

python benchmarks/enlarge.py ../kodak/*.png
python benchmarks/enlarge.py --figure docs/figures/scale4.png   of data/: side by side
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image
from timing import DATA, markdown_table, read

import sadcodec
from sadcodec.metrics import psnr, ssim

SCALE = 4
METHODS = {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}


def shrunk(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image cut to a multiple of the scale, and its averages."""
    height, width = (side // SCALE * SCALE for side in image.shape[:2])
    cut = image[:height, :width]
    cells = cut.reshape(height // SCALE, SCALE, width // SCALE, SCALE, -1)
    return cut, np.rint(cells.mean(axis=(1, 3))).astype(image.dtype)


def enlarged(image: np.ndarray, method: Image.Resampling) -> np.ndarray:
    """Return an image at four times its size."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    size = (SCALE * image.shape[1], SCALE * image.shape[0])
    return np.asarray(picture.resize(size, method)).reshape(*size[::-1], -1)


def drawings(image: np.ndarray, bpp: float, effort: int) -> dict[str, np.ndarray]:
    """Return the original and what stands for it."""
    original, small = shrunk(image)
    data = sadcodec.encode(small, bpp=bpp, effort=effort, backend="cpu", threads=1)
    decoded = sadcodec.decode(data, threads=1)
    found = {"original": original, "diagram": sadcodec.decode(data, scale=SCALE, threads=1)}
    for name, method in METHODS.items():
        found[name] = enlarged(decoded, method)
    found["small, bicubic"] = enlarged(small, Image.Resampling.BICUBIC)
    return found


def table(images: list[str], rates: list[float], effort: int) -> str:
    """Return PSNR and SSIM of every image and rate, in Markdown."""
    rows, every = [], {}
    for path in images:
        image = read(path)
        for bpp in rates:
            found = drawings(image, bpp, effort)
            original = found.pop("original")
            cells = []
            for name, drawn in found.items():
                scores = psnr(original, drawn), ssim(original, drawn)
                every.setdefault((bpp, name), []).append(scores)
                cells.append("{:.2f}, {:.4f}".format(*scores))
            rows.append([Path(path).stem, f"{bpp:g}", *cells])
    names = list(dict.fromkeys(name for _, name in every))
    for bpp in rates if len(images) > 1 else ():
        means = [tuple(map(mean, zip(*every[bpp, name]))) for name in names]
        rows.append(["mean", f"{bpp:g}", *("{:.2f}, {:.4f}".format(*each) for each in means)])
    return markdown_table(["image", "bpp of the small one", *names], rows)


def figure(path: str, out: str, box: tuple[int, int, int, int], bpp: float, effort: int) -> None:
    """Write original, diagram and bicubic side by side, a part of each."""
    found = drawings(read(path), bpp, effort)
    x, y, width, height = box
    parts = [found[n][y : y + height, x : x + width] for n in ("original", "diagram", "bicubic")]
    gap = np.full((height, 6, 3), 255, np.uint8)
    picture = Image.fromarray(np.hstack([parts[0], gap, parts[1], gap, parts[2]]))
    buffer = io.BytesIO()
    picture.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    Path(out).write_bytes(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", nargs="*")
    parser.add_argument("--bpp", default="1,3")
    parser.add_argument("--effort", type=int, default=5)
    parser.add_argument("--figure")
    parser.add_argument("--box", default="60,40,200,160", help="x, y, width and height")
    options = parser.parse_args()
    rates = [float(rate) for rate in options.bpp.split(",")]
    names = ("astronaut", "camera", "chelsea", "coffee", "drawing")
    images = options.images or [str(DATA / f"{name}.png") for name in names]
    if options.figure:
        box = tuple(map(int, options.box.split(",")))
        figure(str(DATA / "coffee.png"), options.figure, box, rates[-1], options.effort)
    else:
        print(table(images, rates, options.effort))


if __name__ == "__main__":
    main()
