"""The picture of a composition: any part of it, at any size, as code values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.bitstream import CompositionFile
from sadcodec.compose import reference
from sadcodec.compose.composition import Composition, R, X, Y
from sadcodec.compose.stored import compositions_of
from sadcodec.errors import LimitError, OptionError
from sadcodec.frame import Frame

__all__ = ["check_work", "chosen_frame", "default_work", "draw", "draw_frames", "framed"]

_TILE = 32  # px; a primitive is looked at in whole tiles
_CHUNK = 1 << 16  # primitives

# Primitives at pixels, by default: of a file, for every byte of it, and at a pixel.
_WORK_OF_FILE, _WORK_OF_BYTE, _LEAST_WORK = 1 << 32, 1 << 18, 24


def framed(
    composition: Composition, region: tuple[int, int, int, int], width: int, height: int
) -> Composition:
    """Return what a region of a composition, drawn at a size, is the whole picture of.

    Parameters
    ----------
    composition : Composition
    region : (x, y, width, height), px
    width, height : int, px
        Where both sides do not scale alike, r does by the geometric mean: templates stay square.
    """
    x, y, columns, rows = region
    across, down = width / columns, height / rows
    params = composition.params.astype(np.float64)
    params[:, X] = (params[:, X] - x) * across
    params[:, Y] = (params[:, Y] - y) * down
    params[:, R] *= np.sqrt(across * down)
    return replace(composition, params=params.astype(np.float32), width=width, height=height)


def draw_frames(
    file: CompositionFile,
    start: int,
    frame: Frame,
    *,
    max_work: float,
    backend: str,
    threads: int | None,
) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Draw the frames of an opened file from `start` on.

    Parameters
    ----------
    file : CompositionFile
    start : int
    frame : Frame
        The part of the picture and its size.
    max_work : float
        Of `check_work`; 0 for no limit.
    backend, threads
        As for `draw`.

    Yields
    ------
    picture : uint8 [H, W, 3 or 4]
    primitives : int

    Raises
    ------
    SadError
        For the reasons of `sadcodec.decode`.
    """
    for composition in compositions_of(file, start):
        part = framed(composition, frame.region, frame.width, frame.height)
        if max_work:
            check_work(part, max_work)
        yield draw(part, backend, threads), len(composition)


def chosen_frame(file: CompositionFile, number: int | None) -> int:
    """Return the frame to draw, which must be named where there are several; else OptionError."""
    if number is None and len(file) > 1:
        raise OptionError(
            f"holds a sequence of {len(file)} frames: choose one with --frame, or all with "
            "--out-dir"
        )
    if number is not None and len(file) == 1:
        raise OptionError("holds a single picture, not a sequence with frames")
    return number or 0


def default_work(file_bytes: int, pixels: int) -> float:
    """Return the limit of `check_work` for a file of this size, of which so many pixels are drawn.

    That of diagrams (`sadcodec.decoding.default_work`), which is one of evaluations too.
    """
    return float(max(_WORK_OF_FILE + _WORK_OF_BYTE * file_bytes, _LEAST_WORK * pixels))


def check_work(composition: Composition, most: float) -> None:
    """Raise LimitError if the primitives cover more than `most` pixels together.

    Each counts with the upright square around it in whatever direction, and a tile more.
    """
    total = 0.0
    for start in range(0, len(composition), _CHUNK):
        params = composition.params[start : start + _CHUNK].astype(np.float64)
        reach = np.sqrt(2) * params[:, R] + _TILE / 2
        area = np.ones(len(params))
        for column, side in ((X, composition.width), (Y, composition.height)):
            low = np.clip(params[:, column] - reach, 0, side)
            area *= np.clip(params[:, column] + reach, 0, side) - low
        total += float(area.sum())
    if total > most:
        pixels = composition.width * composition.height
        raise LimitError(
            f"the primitives cover {total / pixels:.0f} times the picture, which exceeds the limit"
            f" of {most / pixels:.0f}"
        )


def draw(composition: Composition, backend: str = "cpu", threads: int | None = None) -> Any:
    """Return the picture as code values.

    Parameters
    ----------
    composition : Composition
    backend : str
        "cpu", "cuda" or "reference".
    threads : int, optional

    Returns
    -------
    uint8 [H, W, 3], or [H, W, 4] with straight alpha where there is no background
    """
    del backend, threads
    values: NDArray[Any] = reference.render(composition)
    if composition.background is None:
        alpha = values[..., 3:]
        color = values[..., :3] / np.maximum(alpha, 1e-6)
        values = np.concatenate([color, alpha], axis=-1)
    code = np.floor(np.clip(values, 0.0, 1.0) * 255 + 0.5)
    return code.astype(np.uint8)
