"""Image files to arrays, by Pillow and by our own readers where Pillow would lose depth."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from sadcodec.errors import InputError, LimitError, SadError
from sadcodec.image_io import png, pnm
from sadcodec.quiet import without_warnings

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 1 << 28

# Only decoders that hand over the pixels as stored. Others are left out on purpose: AVIF and
# JPEG 2000 because Pillow cuts them to 8 bits without a word, EPS because it runs Ghostscript.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "QOI", "TGA")
_KNOWN = "PNG, JPEG, WebP, TIFF, BMP, GIF, PGM, PPM, PAM, QOI, TGA"
_KEEP = {
    "L": "L",
    "LA": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "1": "L",
    "RGBX": "RGB",
    "La": "LA",
    "RGBa": "RGBA",
}
_GRAY_16 = ("I;16", "I;16L", "I;16B")
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262  # tag numbers of TIFF 6.0


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an image file.

    Palettes are expanded and bitmaps become gray; a transparent colour becomes an alpha channel.
    Pixels are returned as stored: the Exif orientation and the colour profile are not applied.

    Parameters
    ----------
    data : bytes
        A whole file: PNG, JPEG, WebP, TIFF, BMP, GIF, PGM, PPM, PAM, QOI or TGA.
    max_pixels : int
        Larger images are refused before they are decoded. Pillow's own limit of twice
        ``PIL.Image.MAX_IMAGE_PIXELS`` holds as well.

    Returns
    -------
    uint8 or uint16 [H, W, C]
        C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA; 0 is black, 255 or 65535 white.

    Raises
    ------
    InputError
        If the file is empty, damaged or cut short, or of a kind that is not supported (CMYK,
        floating point, more than 16 bits, 16-bit colour in TIFF, animations and multi-page files).
    LimitError
        If the image is larger than the limits.
    """
    if not data:
        raise InputError("file is empty")
    if data[:2] in pnm.MAGICS:
        return pnm.decode(data, max_pixels)
    if pnm.is_deep_text(data):
        raise InputError("PNM in plain text with more than 8 bits is not supported")
    header = png.check(data) if data.startswith(png.SIGNATURE) else None
    try:
        with without_warnings("PIL"):  # of oddities that are no reason to stop
            return _decode_with_pillow(data, header, max_pixels)
    except SadError:
        raise
    except MemoryError as error:
        raise LimitError("not enough memory for this image") from error
    except Exception as error:  # given damaged data, Pillow's plugins raise about anything
        raise _translated(error) from error


def _translated(error: Exception) -> SadError:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return LimitError("image has more pixels than Pillow accepts")
    if isinstance(error, UnidentifiedImageError):
        return InputError(f"not an image of a known kind ({_KNOWN})")
    cause = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"damaged image: {cause}")


def _decode_with_pillow(data: bytes, header: png.PngHeader | None, max_pixels: int) -> np.ndarray:
    from PIL import Image

    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise LimitError(f"image of {width} x {height} pixels is larger than {max_pixels} pixels")
    # MPO is a JPEG with previews behind it: its first picture is the picture.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise InputError("animations and multi-page files are not supported")
    if header is not None and header.bit_depth == 16:
        pixels = _png_16bit(image, data, header)
    else:
        pixels = _pixels(image)
    if header is not None and header.transparent and header.color_type in (0, 2):
        pixels = _with_alpha(pixels, header)
    return pixels


def _pixels(image: Image) -> np.ndarray:
    """Pixels of anything but 16-bit PNG."""
    if image.format == "TIFF" and image.mode in (*_KEEP, *_GRAY_16):
        _check_tiff(image)
    if image.mode in _GRAY_16:
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if image.mode in ("P", "PA"):
        image = image.convert(
            "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
        )
    if image.mode not in _KEEP:
        kind = {"CMYK": "CMYK", "F": "floating-point", "I": "32-bit", "LAB": "Lab"}.get(
            image.mode, image.mode
        )
        raise InputError(f"{kind} images are not supported; convert to RGB or gray of 8 or 16 bits")
    wanted = _KEEP[image.mode]
    pixels = np.array(image if image.mode == wanted else image.convert(wanted))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _check_tiff(image: Any) -> None:
    bits = set(image.tag_v2.get(_TIFF_BITS, (1,)))
    if not bits <= {1, 2, 4, 8, 16} or (16 in bits and image.mode not in _GRAY_16):
        raise InputError(
            f"TIFF with {max(bits)} bits a channel and {len(image.getbands())} channels "
            "is not supported; convert it to PNG"
        )
    if 16 in bits and image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0:
        raise InputError("16-bit TIFF with white as zero is not supported; convert it to PNG")


def _png_16bit(image: Any, data: bytes, header: png.PngHeader) -> np.ndarray:
    """All 16 bits of a PNG, which Pillow delivers for gray alone.

    Pillow unpacks 16-bit colour by a "raw mode" that says which byte of each value to keep: the
    big-endian mode gives the high bytes, the little-endian mode the low ones. Gray and alpha of
    16 bits are laid out like RGBA of 8.
    """
    if header.color_type == 0:
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if header.color_type == 4:
        octets = _decoded_as(data, "RGBA")
        high, low = octets[:, :, 0::2], octets[:, :, 1::2]
    else:
        mode = "RGB" if header.color_type == 2 else "RGBA"
        high, low = _decoded_as(data, f"{mode};16B"), _decoded_as(data, f"{mode};16L")
    return (high.astype(np.uint16) << 8) | low


def _decoded_as(data: bytes, raw_mode: str) -> np.ndarray:
    from PIL import Image

    image: Any = Image.open(io.BytesIO(data), formats=("PNG",))
    image.tile = [(*tile[:3], raw_mode) for tile in image.tile]
    image.load()
    pixels: np.ndarray = np.asarray(image)
    return pixels


def _with_alpha(pixels: np.ndarray, header: png.PngHeader) -> np.ndarray:
    """Append alpha: 0 where the pixel has the one colour that tRNS names (section 11.3.1.1)."""
    channels = pixels.shape[2]
    if len(header.transparent) != 2 * channels:
        raise InputError("PNG has an invalid tRNS chunk")
    color = np.frombuffer(header.transparent, ">u2").astype(np.int64)
    if header.bit_depth < 8:  # the pixels were scaled to 8 bits
        color = color * 255 // ((1 << header.bit_depth) - 1)
    opaque = (pixels != color).any(axis=2, keepdims=True)
    alpha = opaque.astype(pixels.dtype) * np.iinfo(pixels.dtype).max
    return np.concatenate([pixels, alpha], axis=2)
