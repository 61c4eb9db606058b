"""The picture of a composition: any part of it, at any size, as code values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.bitstream import CompositionFile
from sadcodec.compose.composition import Composition, R, X, Y
from sadcodec.compose.render import bitmaps, render
from sadcodec.compose.stored import compositions_of
from sadcodec.errors import OptionError
from sadcodec.frame import Frame
from sadcodec.pixels import code_values
from sadcodec.processors import default_threads

__all__ = ["chosen_frame", "default_work", "draw", "draw_frames", "framed"]

_BAND = 1 << 22  # pixels

# Evaluations of primitives at pixels, by default: of a file, for every byte of it, and at a pixel.
_WORK_OF_FILE, _WORK_OF_BYTE, _LEAST_WORK, _MOST_WORK = 1 << 30, 1 << 17, 24, 4096


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
    max_work: int,
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
    max_work, backend, threads
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
        yield draw(part, backend, threads, max_work), len(composition)


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


def default_work(file_bytes: int, pixels: int) -> int:
    """Return how often primitives may cover the picture, for a file and a number of pixels drawn.

    4096 times (a thousand fitted primitives do so 40 times); fewer in large pictures, such that
    evaluations are at most 2^30 and 2^17 for each byte of the file, or 24 a pixel.
    """
    most = (_WORK_OF_FILE + _WORK_OF_BYTE * file_bytes) // pixels
    return min(max(most, _LEAST_WORK), _MOST_WORK)


def draw(
    composition: Composition,
    backend: str = "cpu",
    threads: int | None = None,
    max_work: int = 0,
) -> NDArray[np.uint8]:
    """Return the picture as code values, drawn in bands of some 2^22 pixels.

    Parameters
    ----------
    composition : Composition
    backend : str
        "reference"; any other stands for the native code on the CPU.
    threads : int, optional
    max_work : int, 0..2^20
        How often primitives may cover a band on average; 0 for no limit.

    Returns
    -------
    uint8 [H, W, 3], or [H, W, 4] with straight alpha where there is no background
        Colours are 0 where alpha is 0.

    Raises
    ------
    LimitError
        If it takes more work.
    """
    width, height = composition.width, composition.height
    picture = np.empty((height, width, composition.channels), np.uint8)
    backend = "reference" if backend == "reference" else "cpu"
    ready, rows = None, height
    if backend == "cpu":
        workers = threads or default_threads()
        ready = bitmaps(composition.templates, composition.blend, threads=workers)
        rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        region = (0, top, width, min(rows, height - top))
        values = render(composition, region=region, backend=backend, max_work=max_work, ready=ready)
        if composition.background is None:
            values[..., :3] /= np.maximum(values[..., 3:], 1e-6)
        band = code_values(values, 8)
        if composition.background is None:
            band[band[..., 3] == 0] = 0
        picture[top : top + rows] = band
    return picture
