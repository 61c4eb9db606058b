"""Pixels in and out of image files.

Arrays are uint8 or uint16 of shape [H, W, C]: gray, gray + alpha, RGB or RGBA, as stored. ICC
profile, Exif and XMP are read and written beside them, as bytes.
"""

from __future__ import annotations

from sadcodec.image_io.exif import oriented
from sadcodec.image_io.metadata import NAMES, holds
from sadcodec.image_io.reading import MAX_PIXELS, decode_image, read_image
from sadcodec.image_io.writing import FORMATS, encode_image, format_of, split_prefix

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "NAMES",
    "decode_image",
    "encode_image",
    "format_of",
    "holds",
    "oriented",
    "read_image",
    "split_prefix",
]
