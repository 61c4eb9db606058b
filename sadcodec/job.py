"""What stays the same while a target is sought: the image, the options, the header of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.alpha import has_alpha
from sadcodec.backends.base import Backend, Propagation
from sadcodec.bitstream import CODERS, Header, QuantizerParameters, groups_for
from sadcodec.effort import Effort
from sadcodec.errors import OptionError
from sadcodec.fit.paper.schedule import ITERATIONS as PAPER_ITERATIONS
from sadcodec.importance import Importance
from sadcodec.objective import Objective, objective_for, weighted
from sadcodec.progress import Progress
from sadcodec.refine import choose_quantizer
from sadcodec.sites import Sites

__all__ = ["Job", "bytes_at", "check_coder", "first_header", "header_for"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """What stays the same while a target is sought.

    Attributes
    ----------
    target : float32 [H, W, C], display-referred 0..1
    header : Header
        Its site count and quantizer are placeholders, but for the quantizer's groups.
    metric : str
        What is optimized, one of `sadcodec.objective.METRICS`. Targets of PSNR are not.
    propagation : Propagation, optional
        Fit by the paper's top-K map; by exact lists otherwise.
    recipe : str
        Of the fit, one of `sadcodec.fit.schedule.RECIPES`.
    importance : Importance, optional
        How much each pixel counts; all alike by default.
    attached : int
        Bytes that the file has beside the diagram, which sizes here do not count.
    layers : int
        Of the file, by importance; 1 for none.
    """

    backend: Backend
    target: Floats
    header: Header
    effort: Effort
    seed: int = 0
    metric: str = "psnr"
    propagation: Propagation | None = None
    recipe: str = "default"
    importance: Importance | None = None
    progress: Progress | None = None
    attached: int = 0
    layers: int = 1

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.header.width * self.header.height

    @property
    def area(self) -> float:
        """Pixels that sites are for: see `Importance.area`."""
        return self.pixels if self.importance is None else self.importance.area

    @property
    def total(self) -> float:
        """Pixels whose errors are summed: see `Importance.total`."""
        return self.pixels if self.importance is None else self.importance.total

    @property
    def iterations(self) -> int:
        """Of the fit."""
        return PAPER_ITERATIONS if self.recipe == "paper" else self.effort.iterations

    def objective(self, params: Floats | None = None, metric: str | None = None) -> Objective:
        """Return what to fit to, given the diagram that there is, float32 [N, 6 + C], if any.

        For SSIM, and of images with alpha, that makes a difference. `metric` may be another one.
        """
        metric = metric or self.metric
        drawn = None
        if params is not None and (metric != "psnr" or has_alpha(self.target)):
            h = self.header
            drawn = self.backend.render(Sites(params), h.width, h.height, h.k)
        objective = objective_for(metric, self.target, drawn)
        if self.importance is None:
            return objective
        return weighted(objective, self.importance.weights)

    def report(self, share: float, message: str) -> None:
        """Tell the progress callback, if there is one."""
        if self.progress is not None:
            self.progress(share, message)


def check_coder(coder: str) -> None:
    """Raise OptionError if there is no such coder."""
    if coder not in CODERS:
        raise OptionError(f"coder must be one of {', '.join(CODERS)}, not {coder!r}")


def first_header(
    shape: tuple[int, ...], bit_depth: int, k: int, coder: str, groups: int | None
) -> Header:
    """Return the header of a job on an image of shape [H, W, C], px: see `Job`.

    `bit_depth` is 8 or 16, `k` the sites that a pixel blends; `coder` and `groups` are those of
    `encode`.

    Raises
    ------
    OptionError
        If a value is out of range.
    """
    height, width, channels = shape
    check_coder(coder)
    placeholder = QuantizerParameters(
        *(1024, 1024, 1024, 1024, 0), (1024,) * channels, groups=groups_for(groups, coder)
    )
    return Header(width, height, channels, bit_depth, k, 1, placeholder, coder=coder)


def header_for(job: Job, mse: float, sites: int, scale: float, *, radius: bool) -> Header:
    """Return the header of a file with so many sites and the steps for an error of `mse`.

    Parameters
    ----------
    job : Job
    mse : float
        Mean squared error of the fit, display-referred 0..1 units.
    sites : int
    scale : float
        On all steps; larger is coarser.
    radius : bool
        Whether there is a radius column.
    """
    h = job.header
    crowded = sites * job.pixels / job.area  # as many as the whole picture would have
    quantizer = choose_quantizer(
        mse, h.width, h.height, crowded, h.channels, scale=scale, radius=radius
    )
    quantizer = replace(quantizer, groups=h.quantizer.groups)
    return replace(h, site_count=sites, quantizer=quantizer)


def bytes_at(bpp: float, pixels: int) -> int:
    """Return the bytes of a file of so many bits per pixel, at least 1."""
    return max(1, int(bpp * pixels / 8))
