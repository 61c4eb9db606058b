"""Layered files of Photoshop: one layer a primitive, by psd-tools.

Its document class rebuilds all layers for every one that is added, which takes minutes for a
thousand; the records of the format, which psd-tools has too, are written once.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.layers import Layer
from sadcodec.errors import BackendError, OutputError

__all__ = ["psd_file"]

_MOST_SIDE = 30_000  # px; Adobe Photoshop File Formats Specification, "File Header Section"
_MOST_LAYERS = 32_767  # the number of layers is a signed 16-bit one
_ALPHA = -1


def psd_file(picture: NDArray[np.uint8], layers: Sequence[tuple[str, Layer]]) -> bytes:
    """Return a PSD file.

    Parameters
    ----------
    picture : uint8 [H, W, 4]
        What the layers look like together, straight RGBA: what programs show that read no layers.
    layers : sequence of (name, Layer)
        From the back to the front.

    Raises
    ------
    BackendError
        If psd-tools is missing.
    OutputError
        If the picture is too large for the format, or has too many layers.
    """
    try:
        from psd_tools.constants import ChannelID, ColorMode, Compression
        from psd_tools.psd import layer_and_mask as sections
        from psd_tools.psd.document import PSD
        from psd_tools.psd.header import FileHeader
        from psd_tools.psd.image_data import ImageData
    except ImportError:
        raise BackendError(
            "PSD files need the package psd-tools: pip install 'sadcodec[compose]'"
        ) from None
    height, width = picture.shape[:2]
    if max(width, height) > _MOST_SIDE or len(layers) > _MOST_LAYERS:
        raise OutputError(
            f"psd cannot hold more than {_MOST_SIDE} px a side and {_MOST_LAYERS} layers"
        )
    records, channels = sections.LayerRecords(), sections.ChannelImageData()
    for name, layer in layers:
        rows, columns = layer.pixels.shape[:2]
        infos, planes = [], sections.ChannelDataList()
        for channel in (_ALPHA, 0, 1, 2):
            plane = sections.ChannelData(Compression.RLE)
            plane.set_data(
                np.ascontiguousarray(layer.pixels[..., channel]).tobytes(), columns, rows, 8
            )
            infos.append(sections.ChannelInfo(ChannelID(channel), len(plane.data) + 2))
            planes.append(plane)
        record = sections.LayerRecord(
            top=layer.top,
            left=layer.left,
            bottom=layer.top + rows,
            right=layer.left + columns,
            channel_info=infos,
        )
        record.name = name
        records.append(record)
        channels.append(planes)
    header = FileHeader(channels=4, height=height, width=width, depth=8, color_mode=ColorMode.RGB)
    merged = ImageData(Compression.RLE)
    # What is transparent lies over white there, as Photoshop has it.
    share = picture[..., 3:] / 255
    white = np.floor(255 + share * (picture[..., :3].astype(np.float64) - 255) + 0.5)
    shown = np.concatenate([white.astype(np.uint8), picture[..., 3:]], axis=-1)
    merged.set_data([shown[..., channel].tobytes() for channel in range(4)], header)
    # A negative number says that the fourth channel of the merged picture is its alpha.
    info = sections.LayerInfo(-len(records), records, channels)
    file = PSD(
        header=header,
        layer_and_mask_information=sections.LayerAndMaskInformation(layer_info=info),
        image_data=merged,
    )
    buffer = io.BytesIO()
    file.write(buffer)
    return buffer.getvalue()
