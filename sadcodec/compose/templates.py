"""Templates from pictures: images, drawings in SVG, glyphs of a font."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import image_io
from sadcodec.compose.composition import TEMPLATE_SIDE
from sadcodec.errors import BackendError, InputError, LimitError

__all__ = ["glyph_templates", "template_of"]

_FINE = 4 * TEMPLATE_SIDE  # px that glyphs and SVG are drawn at, then averaged
_MOST_SVG = 1 << 24  # bytes
_NO_CHARACTER = "\uffff"  # in no font: drawn as the font's glyph for what it lacks


def template_of(data: bytes, *, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Return a template of a picture.

    Its longer side becomes 128 px, and what is beside the shorter one transparent. Alpha is the
    mask. A picture without alpha is a drawing on paper: its border is the paper, and how much
    darker than that, or lighter if the paper is dark, a pixel is, is the mask.

    Parameters
    ----------
    data : bytes
        An image file that `sadcodec.image_io` reads, or an SVG file.
    max_pixels : int, optional
        As of `sadcodec.image_io.read_image`.

    Returns
    -------
    uint8 [128, 128, 4]
        Straight RGBA, black where alpha is 0.

    Raises
    ------
    InputError
        If it cannot be read, or nothing is to be seen in it.
    LimitError
        If it is larger than the limits.
    BackendError
        If it is an SVG file and resvg-py is missing.
    """
    pixels = image_io.decode_image(
        _svg_as_png(data) if _is_svg(data) else data, max_pixels=max_pixels
    )
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    channels = pixels.shape[2]
    color = pixels[..., [0, 0, 0]] if channels <= 2 else pixels[..., :3]
    alpha = pixels[..., -1] if channels in (2, 4) else _ink(color)
    return _squared(np.dstack([color, alpha]))


def glyph_templates(text: str, font: bytes | None = None) -> NDArray[np.uint8]:
    """Return a template of each character, white, in the order of the text.

    Parameters
    ----------
    text : str
    font : bytes, optional
        A TrueType or OpenType file; by default the one that Pillow brings along (Aileron).

    Returns
    -------
    uint8 [P, 128, 128, 4]

    Raises
    ------
    InputError
        If the font cannot be read, or a character is not in it or has nothing to be seen.
    """
    from PIL import Image, ImageDraw, ImageFont

    try:
        face: Any = (
            ImageFont.load_default(_FINE)
            if font is None
            else ImageFont.truetype(io.BytesIO(font), _FINE)
        )
    except OSError as error:
        raise InputError(f"not a font that FreeType reads: {error}") from error

    def drawn(character: str) -> NDArray[np.uint8]:
        left, top, right, bottom = (round(edge) for edge in face.getbbox(character))
        mask = Image.new("L", (right - left + 2, bottom - top + 2))
        ImageDraw.Draw(mask).text((1 - left, 1 - top), character, fill=255, font=face)
        return np.asarray(mask.crop(mask.getbbox() or (0, 0, 0, 0)))

    missing = drawn(_NO_CHARACTER)
    found = []
    for character in text:
        alpha = drawn(character)
        if not alpha.size:
            raise InputError(f"the character {character!r} has nothing to be seen in this font")
        if np.array_equal(alpha, missing):
            raise InputError(f"the character {character!r} is not in this font")
        found.append(_squared(np.dstack([np.full((*alpha.shape, 3), 255, np.uint8), alpha])))
    if not found:
        raise InputError("no characters")
    return np.stack(found)


def _ink(color: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how far each pixel is from the paper, uint8 [H, W]."""
    luma = color @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    border = np.concatenate([luma[0], luma[-1], luma[:, 0], luma[:, -1]])
    paper = float(np.median(border))
    share = (paper - luma) / paper if paper >= 127.5 else (luma - paper) / (255 - paper)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def _squared(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return straight RGBA of any size as a template."""
    from PIL import Image

    if not pixels[..., 3].any():
        raise InputError("nothing to be seen: all of it is transparent, or of one colour")
    rows, columns = pixels.shape[:2]
    longer = max(rows, columns)
    size = [max(1, round(side * TEMPLATE_SIDE / longer)) for side in (columns, rows)]
    # Multiplied by alpha, so that what is not seen does not bleed into what is.
    picture = Image.fromarray(pixels).convert("RGBa").resize(size, Image.Resampling.BOX)
    if longer < TEMPLATE_SIDE:
        picture = Image.fromarray(pixels).convert("RGBa").resize(size, Image.Resampling.BILINEAR)
    square = Image.new("RGBa", (TEMPLATE_SIDE, TEMPLATE_SIDE))
    square.paste(picture, ((TEMPLATE_SIDE - size[0]) // 2, (TEMPLATE_SIDE - size[1]) // 2))
    template = np.array(square.convert("RGBA"))
    template[template[..., 3] == 0] = 0
    return template


def _is_svg(data: bytes) -> bool:
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and b"<svg" in data[:65536]


def _svg_as_png(data: bytes) -> bytes:
    if len(data) > _MOST_SVG:
        raise LimitError(f"an SVG file of more than {_MOST_SVG} bytes")
    try:
        import resvg_py
    except ImportError:
        raise BackendError(
            "SVG files need the package resvg-py: pip install 'sadcodec[compose]'"
        ) from None
    try:
        text = data.decode("utf-8-sig")
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=text, width=_FINE, height=_FINE, skip_system_fonts=True
            )
        )
    except Exception as error:  # its errors have no type of their own
        cause = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"SVG that cannot be drawn: {cause}") from error
