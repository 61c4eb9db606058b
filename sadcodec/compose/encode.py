"""From a picture to the file of a composition, with a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import bitstream
from sadcodec.compose.composition import Composition
from sadcodec.compose.drawing import draw
from sadcodec.compose.sequence import fit_sequence
from sadcodec.compose.stored import compositions_of, pack
from sadcodec.errors import InputError, OptionError
from sadcodec.metrics import psnr
from sadcodec.pixels import Image, check_image, display_referred
from sadcodec.progress import Progress

__all__ = ["ComposeReport", "check_frame", "compose_with_report"]

MAX_PIXELS = 1 << 24


@dataclass(frozen=True)
class FrameReport:
    """What became of one picture.

    Attributes
    ----------
    key : bool
        Whether it is coded by itself.
    bytes : int
        Of its primitives.
    primitives : int
    psnr : float
        In dB, over all pixels, of the decoded file against the target: both lie over the
        background, or gray where there is none, and what a mask hides is that alone.
    fit_psnr : float
        The same of the fitted composition, before its parameters were rounded.
    """

    key: bool
    bytes: int
    primitives: int
    psnr: float
    fit_psnr: float


@dataclass(frozen=True)
class ComposeReport:
    """What composing did.

    Attributes
    ----------
    bytes : int
        Of the file.
    bpp : float
        8 x bytes / pixels of all frames.
    psnr : float
        Mean of the frames.
    bytes_per_primitive : float
        Mean of the frames; without the templates.
    templates, template_bytes : int
    iterations : int
        Of the first frame.
    seconds, fit_seconds : float
    frames : tuple of FrameReport
    """

    bytes: int
    bpp: float
    psnr: float
    bytes_per_primitive: float
    templates: int
    template_bytes: int
    iterations: int
    seconds: float
    fit_seconds: float
    frames: tuple[FrameReport, ...]


def compose_with_report(
    images: Sequence[Image],
    templates: NDArray[np.uint8],
    *,
    mask: NDArray[Any] | None = None,
    iterations: int = 500,
    background: Sequence[float] | str | None = "auto",
    constraints: Mapping[str, float] | None = None,
    chunks: Sequence[tuple[bytes, bytes]] = (),
    progress: Progress | None = None,
    threads: int | None = None,
    **options: Any,
) -> tuple[bytes, ComposeReport]:
    """Fit primitives to a picture, or to frames one after the other, and code them.

    Parameters
    ----------
    images : sequence of uint8 or uint16 [H, W] or [H, W, C], C = 1..4
        One, or the frames of a sequence, of one size.
    templates : uint8 [P, 128, 128, 4]
        See `sadcodec.compose.templates`.
    mask : bool, integer or float [H, W], optional
        What belongs to the pictures: white does, black is to stay transparent.
    background : three floats in 0..1, "auto" or None
        "auto": the first picture's mean colour if it is opaque, else none.
    chunks : sequence of (type, content)
        Ancillary ones for the file, as `sadcodec.bitstream.write` takes them.
    iterations, constraints, progress, threads
        As for `sadcodec.compose.fit.fit`, and so are other options: count, seed, init, loss,
        noisy_canvas, blend, opacity, prune.

    Returns
    -------
    data : bytes
        The same for the same arguments, for any number of threads.
    report : ComposeReport

    Raises
    ------
    InputError
        If an image has another shape or type, or another size than the first, or the mask has.
    LimitError
        If it has more than 2^24 pixels.
    OptionError
        If an option is out of range.
    """
    start = perf_counter()
    targets = [_straight(image) for image in images]
    for number, target in enumerate(targets):
        check_frame(number, target, targets[0])
    height, width = targets[0].shape[:2]
    shown = _mask(mask, height, width)
    ground: Any = background
    if background is not None and not isinstance(background, str):
        ground = np.array(background, np.float32)
    results = fit_sequence(
        targets,
        templates,
        iterations=iterations,
        mask=shown,
        background=ground,
        constraints=constraints,
        progress=progress,
        threads=threads,
        frame_count=len(targets),
        **options,
    )
    fitted = [result.composition for result in results]
    fit_seconds = perf_counter() - start
    data = bitstream.insert_chunks(pack(fitted), chunks)
    file = bitstream.open_composition(data)
    assert file is not None  # noqa: S101  (it was just made)
    frames = tuple(
        FrameReport(
            key=key,
            bytes=size,
            primitives=len(decoded),
            psnr=_psnr(target, shown, decoded, threads),
            fit_psnr=_psnr(target, shown, before, threads),
        )
        for target, key, size, decoded, before in zip(
            targets, file.keys, file.lengths, compositions_of(file), fitted, strict=True
        )
    )
    report = ComposeReport(
        bytes=len(data),
        bpp=8 * len(data) / (width * height * len(frames)),
        psnr=float(np.mean([frame.psnr for frame in frames])),
        bytes_per_primitive=sum(file.lengths) / sum(frame.primitives for frame in frames),
        templates=len(file.templates),
        template_bytes=sum(map(len, file.templates)),
        iterations=iterations,
        seconds=perf_counter() - start,
        fit_seconds=fit_seconds,
        frames=frames,
    )
    return data, report


def check_frame(number: int, frame: NDArray[Any], first: NDArray[Any]) -> None:
    """Raise InputError unless a frame [H, W, C] has the first one's size, and alpha if that has."""
    size, wanted = (
        f"{each.shape[1]} x {each.shape[0]}" + " with alpha" * (each.shape[2] in (2, 4))
        for each in (frame, first)
    )
    if size != wanted:
        raise InputError(f"frame {number} is {size}, the first {wanted}")


def _straight(image: Image) -> NDArray[np.float32]:
    """Return an image as float32 [H, W, 3 or 4], straight, in 0..1."""
    image = check_image(image, "compose", MAX_PIXELS)
    if image.shape[2] <= 2:
        image = image[..., [0, 0, 0, *range(1, image.shape[2])]]
    return np.ascontiguousarray(display_referred(image))


def _mask(mask: NDArray[Any] | None, height: int, width: int) -> NDArray[np.float32] | None:
    if mask is None:
        return None
    if mask.shape != (height, width):
        shape = " x ".join(map(str, mask.shape[::-1]))
        raise InputError(f"the mask has {shape} pixels, the image {width} x {height}")
    white = np.iinfo(mask.dtype).max if mask.dtype.kind in "iu" else 1
    shown = np.ascontiguousarray(mask / np.float32(white), np.float32)
    if not (np.isfinite(shown).all() and shown.min() >= 0 and shown.max() <= 1):
        raise OptionError("a mask is of 0..1")
    if not shown.any():
        raise InputError("the mask is black everywhere")
    return shown


def _psnr(
    target: NDArray[np.float32],
    mask: NDArray[np.float32] | None,
    composition: Composition,
    threads: int | None,
) -> float:
    """Compare code values over the background, or gray; what the mask hides is that, too."""
    behind = np.full(3, 0.5) if composition.background is None else composition.background
    shown = np.ones(target.shape[:2]) if mask is None else mask
    shown = (shown * target[..., 3] if target.shape[2] == 4 else shown)[..., None]
    wanted = behind + shown * (target[..., :3] - behind)
    drawn = draw(composition, threads=threads) / 255.0
    if composition.background is None:
        drawn = behind + drawn[..., 3:] * (drawn[..., :3] - behind)
    return psnr(np.floor(wanted * 255 + 0.5) / 255, drawn, 1.0)
