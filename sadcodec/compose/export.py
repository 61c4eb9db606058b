"""Compositions to files of other programs, one layer for each primitive."""

from __future__ import annotations

import numpy as np

from sadcodec.compose.composition import Composition
from sadcodec.compose.drawing import draw
from sadcodec.compose.layers import Layer, layers
from sadcodec.errors import LimitError

__all__ = ["KINDS", "exported"]

KINDS = ("psd", "ora", "svg")
MAX_LAYER_PIXELS = 1 << 30  # of all layers together


def exported(composition: Composition, kind: str, threads: int | None = None) -> tuple[bytes, int]:
    """Return a layered file.

    Parameters
    ----------
    composition : Composition
    kind : str
        One of `KINDS`: Photoshop, OpenRaster or SVG.
    threads : int, optional

    Returns
    -------
    data : bytes
    count : int
        Layers: a background, if there is one, and the primitives that are seen; in SVG all.

    Raises
    ------
    SadError
        If a package is missing, or the composition too large for the format.
    """
    if kind == "svg":
        from sadcodec.compose.svg import svg_file

        return svg_file(composition), len(composition) + (composition.background is not None)
    found: list[tuple[str, Layer]] = []
    picture = draw(composition, threads=threads)
    if composition.background is not None:
        ground = np.full((*picture.shape[:2], 4), 255, np.uint8)
        ground[..., :3] = np.floor(composition.background * 255 + np.float32(0.5))
        found.append(("background", Layer(-1, 0, 0, ground)))
        picture = np.dstack([picture, ground[..., 3]])
    left = MAX_LAYER_PIXELS
    for layer in layers(composition):
        found.append((f"primitive {layer.number}", layer))
        left -= layer.pixels.shape[0] * layer.pixels.shape[1]
        if left < 0:
            raise LimitError(f"its layers have more than {MAX_LAYER_PIXELS} pixels together")
    if kind == "psd":
        from sadcodec.compose.psd import psd_file

        return psd_file(picture, found), len(found)
    from sadcodec.compose.openraster import openraster_file

    return openraster_file(picture, found), len(found)
