"""What the examples share: images of data/, fits, tables and figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "data"
FIGURES = DATA.parent / "docs" / "figures"
IMAGES = ("astronaut", "camera", "chelsea", "coffee", "drawing")

Array = np.ndarray[Any, np.dtype[Any]]


def read(name: str, side: int) -> Array:
    """Return the middle of an image of data/, float64 [side, side, 1 or 3], 0..1."""
    image = np.asarray(Image.open(DATA / f"{name}.png"), np.float64) / 255
    image = image.reshape(*image.shape[:2], -1)
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def psnr(picture: Array, image: Array) -> float:
    """Return the PSNR in dB of a picture clamped to 0..1."""
    return float(-10 * np.log10(np.mean((np.clip(picture, 0, 1) - image) ** 2)))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_figure(path: Path, panels: dict[str, Array], columns: int = 0) -> None:
    """Write pictures in 0..1 side by side with their titles, a PNG of 128 colours."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    height, width = next(iter(panels.values())).shape[:2]
    size = (2.3 * columns, (2.3 * height / width + 0.25) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, dpi=100)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, picture) in zip(axes.flat, panels.items(), strict=False):
        shown = np.clip(picture, 0, 1)
        axis.imshow(np.broadcast_to(shown, (*shown.shape[:2], 3)), interpolation="nearest")
        axis.set_title(title, fontsize=8, pad=3)
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.22 / size[1], 0.02, 0.12)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    plt.close(figure)
    drawn = Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    drawn.save(path, "PNG", optimize=True)
