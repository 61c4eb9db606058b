"""Arrays to image files."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

import numpy as np

from sadcodec.errors import OutputError
from sadcodec.image_io import png, pnm
from sadcodec.image_io.metadata import holds, pillow_options

# Suffix -> format. Pillow's name, or "pnm" and its kinds for our own writer.
_FORMAT_OF_SUFFIX = {
    ".png": "png",
    ".pgm": "pgm",
    ".ppm": "ppm",
    ".pam": "pam",
    ".pnm": "pnm",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".bmp": "bmp",
}
FORMATS = ("png", "pgm", "ppm", "pam", "pnm", "tiff", "jpeg", "webp", "bmp")
_PILLOW_OPTIONS: dict[str, dict[str, object]] = {
    "png": {
        "compress_level": 3
    },  # photographs get no larger than with the default 6, in half the time
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True, "exact": True},  # exact: keep the colour of transparent pixels
    "tiff": {"compression": "tiff_adobe_deflate"},
    "bmp": {},
}


def format_of(path: str) -> str:
    """The format that a file name asks for by its suffix; ``png`` for ``-``, devices and pipes.

    Raises
    ------
    OutputError
        If the suffix is missing or unknown.
    """
    suffix = os.path.splitext(path)[1].lower()
    special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    if path == "-" or (special and not suffix):
        return "png"
    if suffix not in _FORMAT_OF_SUFFIX:
        known = ", ".join(_FORMAT_OF_SUFFIX)
        what = f"suffix {suffix} is not known" if suffix else "the name has no suffix"
        if path.endswith(":-"):
            what = f"prefix {path[:-1]} is not known"
        raise OutputError(f"{what} (one of {known}; or a prefix, as png:NAME)")
    return _FORMAT_OF_SUFFIX[suffix]


def split_prefix(name: str) -> tuple[str | None, str]:
    """A name like ``png:FILE`` as the format and the file; None for one without such a prefix."""
    prefix, colon, path = name.partition(":")
    kind = _FORMAT_OF_SUFFIX.get(f".{prefix}") if colon and path else None
    return (None, name) if kind is None else (kind, path)


def encode_image(
    image: np.ndarray, kind: str, metadata: Mapping[str, bytes] | None = None
) -> bytes:
    """An image file.

    Parameters
    ----------
    image : uint8 or uint16 [H, W, C], C = 1..4
    kind : str
        One of :data:`FORMATS`. All are lossless but ``jpeg`` (quality 95).
    metadata : mapping, optional
        Written with it; what `sadcodec.image_io.holds` says that the format cannot hold is left
        out.

    Raises
    ------
    OutputError
        If the format cannot hold this image: depth, alpha and colour are never dropped. 16 bits go
        to png, pgm, ppm, pam, pnm, gray ones also to tiff; alpha to all but jpeg, bmp, pgm, ppm.
    """
    if kind in ("pgm", "ppm", "pam", "pnm"):
        return pnm.encode(image, kind)
    channels = image.shape[2]
    kept = holds(kind, channels, metadata or {})
    if image.dtype == np.uint16 and kind == "png":
        return png.with_metadata(png.encode_16bit(image), kept)
    if image.dtype == np.uint16 and (kind, channels) != ("tiff", 1):
        colour = " in colour or with alpha" if kind == "tiff" else ""
        raise OutputError(f"{kind} cannot hold 16 bits{colour}; write a .png or a .pam instead")
    if channels in (2, 4) and kind in (
        "jpeg",
        "bmp",
    ):  # Pillow writes alpha to BMP, but few read it, Pillow included
        raise OutputError(f"{kind} cannot hold alpha; write a .png instead")
    if kind == "png":
        return png.with_metadata(_encode_with_pillow(image, kind, {}), kept)
    return _encode_with_pillow(image, kind, pillow_options(kind, kept))


def _encode_with_pillow(image: np.ndarray, kind: str, options: dict[str, object]) -> bytes:
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, **{**_PILLOW_OPTIONS[kind], **options})
    except (
        OSError,
        ValueError,
        OverflowError,
    ) as error:  # a side beyond the format's limit, mostly
        raise OutputError(f"{kind}: {' '.join(str(error).split())}") from error
    return buffer.getvalue()
