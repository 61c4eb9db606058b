"""Compositions of the frames of a sequence, each from the last.

A frame starts from the primitives of the one before. Those that hardly touch a changed pixel are
frozen, so that what stands still in the frames does in the pictures. Large opaque primitives that
lie over a change are faded, or what is behind them would never be seen, nor have a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.composition import OPACITY, Composition, R, X, Y
from sadcodec.compose.fit import FitResult, fit
from sadcodec.compose.initialize import largest_r
from sadcodec.compose.logistic import logit
from sadcodec.errors import OptionError
from sadcodec.progress import Progress

__all__ = ["changed", "faded", "fit_sequence", "flicker", "touching"]

Floats = NDArray[np.float32]

_CHANGE = 8 / 255  # of a channel, from which on a pixel has changed
_SHARE = 0.05  # of changed pixels in its square, from which on a primitive is fitted
_COVERED = 0.25  # the same, from which on a large opaque one is faded
_LARGE = 0.25  # of the largest r
_FRONT = 0.5  # of all primitives
_OPAQUE = 0.5  # sigmoid(v)
_FADED = 0.3  # sigmoid(v) that such a one starts with
_FOLLOWED = 2  # a frame that starts from the last has half of the iterations


def fit_sequence(
    frames: Iterable[Floats],
    templates: NDArray[np.uint8],
    *,
    count: int = 1000,
    iterations: int = 500,
    progress: Progress | None = None,
    frame_count: int | None = None,
    **options: Any,
) -> Iterator[FitResult]:
    """Fit frames one after the other, each from the last.

    Parameters
    ----------
    frames : iterable of float32 [H, W, 3 or 4]
        All of the same shape; read one at a time.
    templates, count
        As of `sadcodec.compose.fit.fit`.
    iterations : int
        Of the first frame; the others take half of them.
    progress : callable, optional
        Called with a fraction in 0..1 and a short message.
    frame_count : int, optional
        How many frames there are, for `progress`; 1 by default.
    **options
        All others of `fit` but `start` and `frozen`. The background of the first frame is that of
        all.

    Yields
    ------
    FitResult
        One a frame.

    Raises
    ------
    OptionError
        If a frame has another shape than the first, or an option is out of range.
    """
    last: Floats | None = None
    made: Composition | None = None
    for number, frame in enumerate(frames):

        def told(fraction: float, message: str, number: int = number) -> None:
            if progress is not None:
                done = (number + fraction) / max(frame_count or 1, number + 1)
                progress(done, f"frame {number + 1}: {message}")

        if last is None or made is None:
            result = fit(
                frame, templates, count=count, iterations=iterations, progress=told, **options
            )
            options["background"] = result.composition.background
        else:
            if frame.shape != last.shape:
                raise OptionError(
                    f"frame {number + 1} has {frame.shape[1]}x{frame.shape[0]} px and"
                    f" {frame.shape[2]} channels, the first {last.shape[1]}x{last.shape[0]} and"
                    f" {last.shape[2]}"
                )
            result = _follow(frame, last, made, iterations // _FOLLOWED, told, options)
        last, made = frame, result.composition
        yield result


def _follow(
    frame: Floats,
    last: Floats,
    made: Composition,
    iterations: int,
    progress: Progress,
    options: dict[str, Any],
) -> FitResult:
    share = touching(made, changed(frame, last))
    frozen = share < _SHARE
    start = faded(made, share)
    if frozen.all():
        iterations = 0
    return fit(
        frame,
        made.templates,
        start=start,
        frozen=frozen,
        iterations=iterations,
        progress=progress,
        **{**options, "soft": False},
    )


def faded(composition: Composition, share: NDArray[np.float64]) -> Composition:
    """Return a composition whose large opaque primitives in front let a change be seen.

    Parameters
    ----------
    composition : Composition
    share : float64 [N]
        Of changed pixels in the square of each (see `touching`).

    Returns
    -------
    Composition
        With sigmoid(v) = 0.3 for those of the front half that lie over a change with a fourth of
        their square or more, have a fourth of the largest r or more, and a sigmoid(v) over 0.5.
    """
    params = composition.params.copy()
    hiding = (share >= _COVERED) & (np.arange(len(params)) < _FRONT * len(params))
    hiding &= params[:, R] >= _LARGE * largest_r(composition.width, composition.height)
    hiding &= params[:, OPACITY] > logit(_OPAQUE)
    params[hiding, OPACITY] = logit(_FADED)
    return replace(composition, params=params)


def changed(frame: Floats, last: Floats) -> NDArray[np.bool_]:
    """Return where a channel of two frames [H, W, C] differs by 8 code values or more: [H, W]."""
    difference: NDArray[np.bool_] = (np.abs(frame - last) >= np.float32(_CHANGE)).any(axis=2)
    return difference


def touching(composition: Composition, pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of given pixels in the square of every primitive.

    Parameters
    ----------
    composition : Composition
    pixels : bool [H, W]

    Returns
    -------
    float64 [N], 0..1
        Of the upright square of half-side r around its centre, as far as it lies in the picture.
    """
    height, width = pixels.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = pixels.cumsum(axis=0).cumsum(axis=1)
    x, y, r = composition.params[:, [X, Y, R]].astype(np.float64).T
    x0, x1 = (np.clip(np.rint(x + side * r), 0, width).astype(np.int64) for side in (-1, 1))
    y0, y1 = (np.clip(np.rint(y + side * r), 0, height).astype(np.int64) for side in (-1, 1))
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    area = (y1 - y0) * (x1 - x0)
    share: NDArray[np.float64] = inside / np.maximum(area, 1)
    return share


def flicker(pictures: Sequence[Floats], frames: Sequence[Floats]) -> float:
    """Mean change of pictures from one to the next where their frames stand still.

    Parameters
    ----------
    pictures, frames : sequences of float32 [H, W, C], display-referred 0..1
        What was drawn, and what it was fitted to.

    Returns
    -------
    float
        In code values of 8 bits: the mean over channels, pixels and pairs, of those pixels where
        no channel of the two frames differs by 8 code values; 0 if there is none.
    """
    total, pixels = 0.0, 0
    for i in range(1, len(frames)):
        still = ~changed(frames[i], frames[i - 1])
        difference = np.abs(pictures[i] - pictures[i - 1])[still]
        total += 255 * float(difference.sum(dtype=np.float64))
        pixels += difference.size
    return total / pixels if pixels else 0.0
