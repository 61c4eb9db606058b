"""Compositions to bytes and back: rounding of the primitives, templates as image files.

What each symbol stands for is in docs/FORMAT.md, section 16.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import bitstream
from sadcodec.bitstream import CompositionFile, PrimitiveQuantizer, primitive_directions
from sadcodec.compose.composition import (
    ANGLE,
    COLOR,
    COLUMNS,
    OPACITY,
    TEMPLATE_SIDE,
    Composition,
    R,
    X,
    Y,
)
from sadcodec.compose.logistic import logit, sigmoid
from sadcodec.errors import BitstreamError, OptionError

__all__ = [
    "compositions_of",
    "dequantized",
    "pack",
    "quantized",
    "template_file",
    "template_pixels",
]

_ONE = 65535  # what fractions are stored in
_LEAST = 2.0**-16  # of a fraction whose logit is taken
_SMALLEST = 2.0  # octaves under 1 px: of radius symbol 0


def quantized(composition: Composition, quantizer: PrimitiveQuantizer) -> NDArray[np.int32]:
    """Round the primitives of a composition to symbols.

    Positions further than half a picture outside of it are moved to there.

    Returns
    -------
    int32 [N, 8]
        As `sadcodec.bitstream.CompositionFrame.rows`.
    """
    params = composition.params.astype(np.float64)
    rows = np.empty(params.shape, np.int32)
    sides = (composition.width, composition.height)
    for column, side, cells in zip((X, Y), sides, quantizer.grid(*sides)):
        cell = np.floor((params[:, column] + side / 2) * 1024 / quantizer.step_position)
        rows[:, column] = np.clip(cell, 0, cells - 1)
    directions = primitive_directions(quantizer)
    octaves = (np.log2(params[:, R]) + _SMALLEST) * 1024 / quantizer.step_log_radius
    rows[:, R] = np.clip(np.rint(octaves - 0.5), 0, len(directions) - 1)
    count = directions[rows[:, R]]
    rows[:, ANGLE] = np.mod(np.rint(params[:, ANGLE] / (2 * np.pi) * count), count)
    rows[:, OPACITY] = np.rint(sigmoid(params[:, OPACITY]) * quantizer.opacity_levels)
    rows[:, COLOR:] = np.rint(sigmoid(params[:, COLOR:]) * quantizer.color_levels)
    return rows


def dequantized(
    rows: NDArray[np.int32], quantizer: PrimitiveQuantizer, width: int, height: int
) -> NDArray[np.float32]:
    """Return the parameters that symbols stand for, float32 [N, 8]."""
    params = np.empty((len(rows), COLUMNS))
    for column, side in ((X, width), (Y, height)):
        params[:, column] = (rows[:, column] + 0.5) * quantizer.step_position / 1024 - side / 2
    params[:, R] = 2.0 ** ((rows[:, R] + 0.5) * quantizer.step_log_radius / 1024 - _SMALLEST)
    params[:, ANGLE] = 2 * np.pi * rows[:, ANGLE] / primitive_directions(quantizer)[rows[:, R]]
    params[:, OPACITY] = logit(rows[:, OPACITY] / quantizer.opacity_levels, _LEAST)
    params[:, COLOR:] = logit(rows[:, COLOR:] / quantizer.color_levels, _LEAST)
    return params.astype(np.float32)


def pack(frames: Sequence[Composition], quantizer: PrimitiveQuantizer | None = None) -> bytes:
    """Return the file of a composition, or of several that differ in their primitives alone.

    Parameters
    ----------
    frames : sequence of Composition
        Size, templates, background, blend and opacity are the first one's.
    quantizer : PrimitiveQuantizer, optional

    Returns
    -------
    bytes
        The same for the same compositions and versions of Pillow's PNG and WebP encoders.

    Raises
    ------
    OptionError
        If there are none, if the picture is too large for the format, or if they differ.
    """
    if not frames:
        raise OptionError("a file holds at least one composition")
    first, quantizer = frames[0], quantizer or PrimitiveQuantizer()
    for frame in frames[1:]:
        same = all(
            np.array_equal(getattr(frame, name), getattr(first, name))
            for name in ("width", "height", "templates", "background", "blend", "opacity")
        )
        if not same:
            raise OptionError("the frames of a file differ in their primitives alone")
    background = None
    if first.background is not None:
        red, green, blue = np.rint(first.background * _ONE).astype(int).tolist()
        background = red, green, blue
    return bitstream.write_composition(
        first.width,
        first.height,
        [quantized(frame, quantizer) for frame in frames],
        [template_file(each, color=first.blend > 0) for each in first.templates],
        quantizer,
        background=background,
        blend=round(first.blend * _ONE),
        opacity=max(1, round(first.opacity * _ONE)),
    )


def compositions_of(file: CompositionFile, start: int = 0) -> Iterator[Composition]:
    """Give the compositions of an opened file from frame `start` on.

    Raises
    ------
    BitstreamError, LimitError, OptionError
        As `CompositionFile.frames`, and if a template cannot be decoded.
    """
    h = file.header
    templates = np.stack([template_pixels(data) for data in file.templates])
    shared: dict[str, Any] = {
        "width": h.width,
        "height": h.height,
        "templates": templates,
        "background": None
        if file.background is None
        else (np.array(file.background) / _ONE).astype(np.float32),
        "blend": file.blend / _ONE,
        "opacity": file.opacity / _ONE,
    }
    for frame in file.frames(start):
        params = dequantized(frame.rows, file.quantizer, h.width, h.height)
        yield Composition(params, **shared)


def template_file(template: NDArray[np.uint8], *, color: bool) -> bytes:
    """Return the smallest of the files that hold a template: PNG or lossless WebP.

    Parameters
    ----------
    template : uint8 [128, 128, 4]
    color : bool
        Whether its colours matter; else, and where they are white, alpha alone is stored. Colours
        under no alpha are not kept.
    """
    from PIL import Image

    alpha = template[..., 3]
    seen = np.where(alpha[..., None] > 0, template, 0).astype(np.uint8)
    if not color or (seen[..., :3][alpha > 0] == 255).all():
        pictures = [Image.fromarray(alpha), Image.fromarray(np.dstack([alpha] * 3))]
        seen = np.dstack([np.full_like(template[..., :3], 255), alpha])
    elif (seen[..., :1] == seen[..., 1:3]).all():
        pictures = [Image.fromarray(seen[..., [0, 3]].copy()), Image.fromarray(seen)]
    else:
        pictures = [Image.fromarray(seen)] * 2
    files = []
    for picture, kind in zip(pictures, ("png", "webp")):
        buffer = io.BytesIO()
        options: dict[str, Any] = {"optimize": True}
        if kind == "webp":
            options = {"lossless": True, "quality": 100, "method": 4, "exact": True}
        picture.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    # WebP drops an alpha that is 255 everywhere.
    whole = [file for file in files if np.array_equal(template_pixels(file), seen)]
    return min(whole, key=len)


def template_pixels(data: bytes) -> NDArray[np.uint8]:
    """Return the template that a PNG or WebP file holds, uint8 [128, 128, 4].

    A picture without alpha is alpha, its colour white.

    Raises
    ------
    BitstreamError
        If it cannot be decoded.
    """
    from PIL import Image

    problem = bitstream.template_problem(data)
    if problem:
        raise BitstreamError(f"a template {problem}")
    kind = "PNG" if data.startswith(b"\x89PNG") else "WEBP"
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as picture:
            pixels = np.asarray(picture)
    except Exception as error:  # given damaged data, Pillow's plugins raise about anything
        raise BitstreamError(f"a template cannot be decoded: {type(error).__name__}") from error
    if pixels.shape[:2] != (TEMPLATE_SIDE, TEMPLATE_SIDE) or pixels.dtype != np.uint8:
        raise BitstreamError("a template is of a kind that templates do not have")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] in (1, 3):
        white = np.full((TEMPLATE_SIDE, TEMPLATE_SIDE, 3), 255, np.uint8)
        return np.concatenate([white, pixels[..., :1]], axis=-1)
    return np.ascontiguousarray(pixels[..., [0, 0, 0, 1]] if pixels.shape[2] == 2 else pixels)
