"""OpenRaster files: one layer a primitive, in a zip archive of PNG images.

Source: OpenRaster specification, version 0.0.5 (freedesktop.org).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.layers import Layer

__all__ = ["openraster_file"]

_THUMBNAIL = 256  # px, the longer side
_DATE = (1980, 1, 1, 0, 0, 0)  # one file for one composition


def openraster_file(picture: NDArray[np.uint8], layers: Sequence[tuple[str, Layer]]) -> bytes:
    """Return an OpenRaster file.

    Parameters
    ----------
    picture : uint8 [H, W, 4]
        What the layers look like together, straight RGBA.
    layers : sequence of (name, Layer)
        From the back to the front.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    merged = Image.fromarray(picture)
    small = merged.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stack = [
        f'<layer name={quoteattr(name)} src="data/layer{number:05}.png" x="{layer.left}" '
        f'y="{layer.top}" opacity="1.0" visibility="visible" composite-op="svg:src-over"/>'
        for number, (name, layer) in enumerate(layers)
    ]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<image version="0.0.5" w="{width}" h="{height}">',
        "<stack>",
        *reversed(stack),  # the first is on top
        "</stack>",
        "</image>",
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:

        def add(name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> None:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = compression
            archive.writestr(entry, data)

        add("mimetype", b"image/openraster")  # first, and stored: how programs know the file
        add("stack.xml", "\n".join(lines).encode(), zipfile.ZIP_DEFLATED)
        for number, (_, layer) in enumerate(layers):
            add(f"data/layer{number:05}.png", _png(Image.fromarray(layer.pixels)))
        add("mergedimage.png", _png(merged))
        add("Thumbnails/thumbnail.png", _png(small))
    return buffer.getvalue()


def _png(image: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=6)  # type: ignore[attr-defined]
    return buffer.getvalue()
