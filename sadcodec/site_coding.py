"""Sites as they are into the bytes of a file, without fitting: rounding and the integer descent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import bitstream
from sadcodec.backends.base import Backend
from sadcodec.decoding import draw_new
from sadcodec.effort import DEFAULT_EFFORT, effort_for
from sadcodec.errors import OptionError
from sadcodec.fill import fill, fills
from sadcodec.job import Job, bytes_at, check_coder, first_header, header_for
from sadcodec.pixels import display_referred
from sadcodec.progress import Progress
from sadcodec.rate import Tuned, round_and_refine, scale_for, trim_to_size
from sadcodec.reach import with_reach
from sadcodec.refine import Refinement
from sadcodec.sites import Sites

__all__ = ["CodedSites", "check_coding", "code_sites"]

# Without an image nobody knows the fit's error, from which colour steps follow: PSNR in dB that is
# taken for it.
_ASSUMED_PSNR = 38.0
_SCALES = (0.1, 10.0)
_SLACK = 8  # bytes under a size target that are no reason to warn


@dataclass(frozen=True, eq=False)
class CodedSites:
    """A file made of given sites.

    Attributes
    ----------
    data : bytes
    decoded : uint8 or uint16 [H, W, C]
        What it decodes to.
    picture : float32 [H, W, C]
        What the sites draw, not clamped.
    sites : int
        In the file.
    warning : str or None
        Why a size was not met, or decoders refuse it.
    """

    data: bytes
    decoded: NDArray[Any]
    picture: NDArray[np.float32]
    sites: int
    warning: str | None


def code_sites(
    engine: Backend,
    sites: Sites,
    width: int,
    height: int,
    k: int,
    bit_depth: int,
    *,
    image: NDArray[Any] | None = None,
    scale: float | None = None,
    size: int | None = None,
    bpp: float | None = None,
    effort: int = DEFAULT_EFFORT,
    coder: str = "range",
    groups: int | None = None,
    progress: Progress | None = None,
) -> CodedSites:
    """Code a diagram: see `sadcodec.import_sites` for the options.

    Parameters
    ----------
    engine : Backend
    sites : Sites
    width, height : int, px
    k : int, 1..11
    bit_depth : int
        8 or 16.
    image : uint8 or uint16 [H, W, C], optional
        What the file is to look like; by default what the sites draw, clamped.

    Raises
    ------
    OptionError
        If an option is out of range.
    """
    check_coding(scale, size, bpp, effort, coder)
    header = first_header((height, width, sites.channels), bit_depth, k, coder, groups)
    header = replace(header, site_count=len(sites))
    picture = engine.render(sites, width, height, k)
    if image is None:
        target = np.clip(picture, 0.0, 1.0)
        mse = 10.0 ** (-_ASSUMED_PSNR / 10.0)
    else:
        target = display_referred(image)
        mse = float(np.mean((picture - target) ** 2, dtype=np.float64))
    work = effort_for(effort)
    job = Job(engine, np.ascontiguousarray(target, np.float32), header, work, progress=progress)
    tuned = Tuned(sites.params, sites.params, mse, 0.0, job.objective())
    if bpp is not None:
        size = bytes_at(bpp, job.pixels)
    if size is None:
        steps = header_for(job, mse, len(sites), scale or 1.0, radius=True)
        refinement = round_and_refine(job, tuned, steps)
    else:
        refinement = _fitting(job, tuned, size)
    symbols = refinement.symbols
    data = with_reach(bitstream.write(refinement.header, symbols), engine.threads)
    decoded, refused = draw_new(engine, refinement.header, symbols, len(data))
    job.report(1.0, "done")
    warning = refused or (None if size is None else _warning(len(data), size))
    return CodedSites(data, decoded, np.asarray(picture, np.float32), len(symbols), warning)


def check_coding(
    scale: float | None, size: int | None, bpp: float | None, effort: int, coder: str
) -> None:
    """Raise OptionError if an option of `code_sites` is out of range."""
    if sum(value is not None for value in (scale, size, bpp)) > 1:
        raise OptionError("only one of scale, size and bpp can be given")
    low, high = _SCALES
    if scale is not None and not low <= scale <= high:
        raise OptionError(f"scale must be {low:g}..{high:g}, not {scale}")
    for name, value in (("size", size), ("bpp", bpp)):
        if value is not None and not 0.0 < value <= 1e15:
            raise OptionError(f"{name} is {value}, which is out of range")
    check_coder(coder)
    effort_for(effort)


def _fitting(job: Job, tuned: Tuned, size: int) -> Refinement:
    """Return the diagram in at most `size` bytes: steps first, then fewer sites."""
    scale = scale_for(job, tuned, size, radius=True)
    steps = header_for(job, tuned.mse, len(tuned.params), scale, radius=True)
    refinement = round_and_refine(job, tuned, steps)
    trim_to_size(job, refinement, size)
    fill(refinement, size)
    return refinement


def _warning(coded: int, size: int) -> str | None:
    if coded > size:
        return f"cannot be coded in {size} bytes; the smallest file takes {coded}"
    if coded < size - _SLACK and not fills(coded, size):
        return f"more than {coded} bytes bring nothing; --scale has finer steps"
    return None
