"""Pixels in and out of image files.

Arrays are uint8 or uint16 of shape [H, W, C]: gray, gray + alpha, RGB or RGBA. What a file holds
beside pixels (Exif with its orientation, colour profile, text) is neither read nor kept; pixels are
taken as stored.
"""

from __future__ import annotations

from sadcodec.image_io.reading import MAX_PIXELS, decode_image
from sadcodec.image_io.writing import FORMATS, encode_image, format_of, split_prefix

__all__ = ["FORMATS", "MAX_PIXELS", "decode_image", "encode_image", "format_of", "split_prefix"]
