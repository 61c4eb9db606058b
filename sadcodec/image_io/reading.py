"""Image files to arrays, by Pillow and by our own readers where Pillow would lose depth."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from sadcodec.errors import InputError, LimitError, SadError
from sadcodec.image_io import metadata, png, pnm
from sadcodec.quiet import without_warnings

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 1 << 28

# Only decoders that hand over the pixels as stored. Others are left out on purpose: AVIF and
# JPEG 2000 because Pillow cuts them to 8 bits without a word, EPS because it runs Ghostscript.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "QOI", "TGA")
_CONVERT = "convert it to PNG"
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
_TIFF_MAGICS = (b"II*\0", b"MM\0*")
# Tag numbers of TIFF 6.0.
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANES, _TIFF_EXTRA, _TIFF_FORMAT = 258, 262, 284, 338, 339


def decode_image(data: bytes, *, max_pixels: int | None = None) -> np.ndarray:
    """The pixels of an image file: `read_image` without the metadata."""
    return read_image(data, max_pixels=max_pixels)[0]


def read_image(
    data: bytes, *, max_pixels: int | None = None
) -> tuple[np.ndarray, dict[str, bytes]]:
    """Pixels and metadata of an image file.

    Palettes are expanded and bitmaps become gray; a transparent colour becomes an alpha channel.
    Pixels are returned as stored: the Exif orientation and the colour profile are not applied. Of a
    TIFF alone the orientation is applied, and is not in the metadata then.

    Parameters
    ----------
    data : bytes
        A whole file: PNG, JPEG, WebP, TIFF, BMP, GIF, PGM, PPM, PAM, QOI or TGA.
    max_pixels : int, optional
        Larger images are refused before they are decoded: `MAX_PIXELS` by default. Pillow's own
        limit of twice ``PIL.Image.MAX_IMAGE_PIXELS`` holds as well.

    Returns
    -------
    pixels : uint8 or uint16 [H, W, C]
        C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA; 0 is black, 255 or 65535 white.
    metadata : dict of bytes
        Of PNG, JPEG, WebP and TIFF, byte for byte: see `sadcodec.image_io.metadata`.

    Raises
    ------
    InputError
        If the file is empty, damaged or cut short, or of a kind that is not supported (CMYK,
        floating point, more than 16 bits, animations and multi-page files).
    LimitError
        If the image is larger than the limits.
    """
    if not data:
        raise InputError("file is empty")
    if max_pixels is None:
        max_pixels = MAX_PIXELS
    if data[:2] in pnm.MAGICS:
        return pnm.decode(data, max_pixels), {}
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
        raise _translated(error, data) from error


def _translated(error: Exception, data: bytes) -> SadError:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return LimitError("image has more pixels than Pillow accepts")
    if isinstance(error, UnidentifiedImageError):
        if data.startswith(_TIFF_MAGICS):
            return InputError(f"TIFF {_tiff_kind(data)} is not supported; {_CONVERT}")
        return InputError(f"not an image of a known kind ({_KNOWN})")
    cause = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"damaged image: {cause}")


def _decode_with_pillow(
    data: bytes, header: png.PngHeader | None, max_pixels: int
) -> tuple[np.ndarray, dict[str, bytes]]:
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
        pixels = _pixels(image, data)
    if header is not None and header.transparent and header.color_type in (0, 2):
        pixels = _with_alpha(pixels, header)
    return pixels, metadata.of_picture(image)


def _pixels(image: Image, data: bytes) -> np.ndarray:
    """Pixels of anything but 16-bit PNG."""
    if image.format == "TIFF" and image.mode in (*_KEEP, *_GRAY_16):
        bits = _check_tiff(image)
        if bits == 16 and image.mode not in _GRAY_16:
            return _tiff_16bit(image, data)
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


def _check_tiff(image: Any) -> int:
    """Return the bits of a channel, where Pillow hands over what the file holds."""
    tags = image.tag_v2
    bits = set(tags.get(_TIFF_BITS, (1,)))
    colour = 16 in bits and image.mode not in _GRAY_16
    if not bits <= {1, 2, 4, 8, 16} or (colour and len(bits) > 1):
        raise InputError(f"TIFF with {max(bits)} bits a channel is not supported; {_CONVERT}")
    if colour and tags.get(_TIFF_PLANES, 1) != 1:
        raise InputError(f"16-bit TIFF with a plane for each channel is not supported; {_CONVERT}")
    if colour and tags.get(_TIFF_EXTRA, (2,))[0] == 1:
        raise InputError(f"16-bit TIFF with premultiplied alpha is not supported; {_CONVERT}")
    if 16 in bits and tags.get(_TIFF_PHOTOMETRIC) == 0:
        raise InputError(f"16-bit TIFF with white as zero is not supported; {_CONVERT}")
    return int(max(bits))


def _tiff_kind(data: bytes) -> str:
    """What the pixels of a TIFF are that Pillow does not know."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        file = io.BytesIO(data)
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        bits = tuple(tags.get(_TIFF_BITS, (1,)))
        kind = "floating-point " if 3 in tuple(tags.get(_TIFF_FORMAT, ())) else ""
    except Exception:  # noqa: BLE001 (given damaged data, Pillow raises about anything)
        return "of an unknown kind"
    return f"with {len(bits)} channels of {max(bits)} {kind}bits"


def _tiff_16bit(image: Any, data: bytes) -> np.ndarray:
    """All 16 bits of colour in a TIFF, of which Pillow delivers the high bytes: see `_png_16bit`.

    Of compressed files libtiff hands over values in the byte order of the machine, "N".
    """
    other = _opened(data, "TIFF")
    swapped = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}

    def low(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        mode = arguments[0]
        return (mode[:-1] + swapped[mode[-1]], *arguments[1:])

    other.tile = [tile._replace(args=low(tile.args)) for tile in other.tile]
    other.load()
    image.load()
    return _joined(np.asarray(image), np.asarray(other))


def _png_16bit(image: Any, data: bytes, header: png.PngHeader) -> np.ndarray:
    """All 16 bits of a PNG, which Pillow delivers for gray alone.

    Pillow unpacks 16-bit colour by a "raw mode" that says which byte of each value to keep: the
    big-endian mode gives the high bytes, the little-endian mode the low ones. Gray and alpha of
    16 bits are laid out like RGBA of 8.
    """
    if header.color_type == 0:
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if header.color_type == 4:
        octets = _unpacked(image, "RGBA")
        return _joined(octets[:, :, 0::2], octets[:, :, 1::2])
    mode = "RGB" if header.color_type == 2 else "RGBA"
    high = _unpacked(image, f"{mode};16B")
    return _joined(high, _unpacked(_opened(data, "PNG"), f"{mode};16L"))


def _opened(data: bytes, kind: str) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=(kind,))


def _unpacked(image: Any, raw_mode: str) -> np.ndarray:
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    image.load()
    pixels: np.ndarray = np.asarray(image)
    return pixels


def _joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return (high.astype(np.uint16) << 8) | low


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
