"""Images as arrays: what an encoder takes, checked, and as numbers of 0..1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import InputError, LimitError

__all__ = ["MAX_ENCODE_PIXELS", "Image", "check_image", "code_values", "display_referred"]

MAX_ENCODE_PIXELS = 1 << 26

Image = NDArray[Any]


def check_image(image: Image, task: str = "encode", max_pixels: int = MAX_ENCODE_PIXELS) -> Image:
    """Return the image as [H, W, C], uint8 or uint16.

    Parameters
    ----------
    image : uint8 or uint16 [H, W] or [H, W, C], C = 1..4
    task : str
        What it is for; for messages.
    max_pixels : int

    Raises
    ------
    InputError
        If the image has another shape or type.
    LimitError
        If it has more pixels.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4 or 0 in image.shape:
        raise InputError(f"an image is [H, W] or [H, W, C] with C = 1..4, not {image.shape}")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an image is uint8 or uint16, not {image.dtype}")
    if image.shape[0] * image.shape[1] > max_pixels:
        raise LimitError(f"{image.shape[1]} x {image.shape[0]} pixels are too many to {task}")
    return image


def display_referred(image: Image) -> NDArray[np.float32]:
    """Return code values, uint8 or uint16, as float32 of 0..1 in the same shape."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def code_values(picture: NDArray[Any], bit_depth: int) -> NDArray[Any]:
    """Return floor(clamp(y, 0, 1) * M + 0.5), M = 255 or 65535, as uint8 or uint16.

    Parameters
    ----------
    picture : float [H, W, C], display-referred
    bit_depth : int, 8 or 16
    """
    values = np.clip(picture, 0.0, 1.0)
    values *= (1 << bit_depth) - 1
    values += 0.5
    return values.astype(np.uint8 if bit_depth == 8 else np.uint16)
