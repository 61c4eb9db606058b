"""From an image to the diagram of a given number of sites or bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import RateTerm
from sadcodec.bitstream import Header, Symbols
from sadcodec.fill import fill, fills
from sadcodec.fit.loop import fine_tune, fit
from sadcodec.fit.result import FitResult
from sadcodec.fit.schedule import FitOptions
from sadcodec.job import Job, header_for
from sadcodec.layering import arrange, dealt
from sadcodec.objective import Objective
from sadcodec.quantize import quantize_with_steps
from sadcodec.rate_term import rate_term
from sadcodec.refine import Refinement, coded_size, noise_widths, start_refiner
from sadcodec.sites import Sites

__all__ = [
    "Encoding",
    "Tuned",
    "encode_to_sites",
    "encode_to_size",
    "first_count",
    "fit_and_tune",
    "fit_sites",
    "round_and_refine",
    "scale_for",
    "size_warning",
    "trim_to_size",
]

Floats = NDArray[np.float32]

OVERHEAD = 60  # bytes of a file that are not sites, about
_FEWEST_BITS = 26.0  # bits a site that the first guess assumes: low, since a fit can only prune
_HIGH = 1.0  # rounded diagrams are made this much of a size target; the descent adds a little
_SAVED = 1.06  # sites that fit by what the rate term and the descent save, against those half way
_NEAR = 0.995  # a size target is met from here to 1
_FINEST, _COARSEST = 0.35, 3.0  # quantizer scales that a size target may use
_CLOSE = 0.998  # of a size, where the search for a scale ends
_BYTES_BY_SCALE = 0.35  # bytes fall with about this power of the scale
_FEW_BYTES = 1000  # files that whole sites do not fill to 0.5 %
_WHOLE_SITES = 64  # bytes under which there is no file
_HALF_FULL = 0.8  # of a size; below it, there is nothing to fill it with
_OTHER_STEPS = (0.97, 1.03, 0.94, 1.06, 0.9, 1.1, 0.85, 1.15, 0.8, 1.2, 0.75, 1.3)
_AS_GOOD = 1.03  # times the error, at which a file that fills the size is taken at once
_SLACK = 8  # bytes under a size target that are no reason to warn: one site more would not fit
_RESTARTS = 3  # fits that a target may cost


@dataclass
class Encoding:
    """What a file is to hold, and how it came about."""

    header: Header
    symbols: Symbols
    fit_params: Floats  # before any quantization or noise
    fit_seconds: float = 0.0
    warning: str | None = None

    @classmethod
    def of(cls, refinement: Refinement, tuned: Tuned) -> Encoding:
        """Return that of a fit, refined."""
        return cls(refinement.header, refinement.symbols, tuned.fit_params, tuned.seconds)


def _rounded_size(job: Job, params: Floats, header: Header) -> int:
    threads = job.backend.threads
    size = header.width, header.height
    symbols, steps = quantize_with_steps(Sites(params), *size, header.quantizer, threads)
    return coded_size(header, dealt(header, symbols, steps, job.layers, threads), threads)


@dataclass
class Tuned:
    """A fit made ready for rounding, and what its refinement is to optimize."""

    fit_params: Floats
    params: Floats
    mse: float
    seconds: float
    objective: Objective


def first_count(job: Job, size: int) -> int:
    """Return how many sites a fit for `size` bytes starts with: it can only prune."""
    return int(np.clip(8.0 * (size - OVERHEAD) / _FEWEST_BITS, 1, job.pixels))


def fit_sites(
    job: Job,
    sites: int,
    *,
    radius: bool,
    size: int | None = None,
    spare: float = 1.0,
    rate: bool = True,
) -> FitResult:
    """Fit a diagram, not yet made ready for rounding.

    Parameters
    ----------
    job : Job
    sites : int
        To end with; at most, where there is a `size`.
    radius : bool
        Whether sites have one.
    size : int, optional
        Bytes of the file: half way through the fit it is told how many sites these will hold.
    spare : float
        Until then the fit is one of so many times the sites.
    rate : bool
        Lower what the sites cost in a file together with the error.
    """
    header = job.header

    def budget(params: Floats, mse: float) -> int:
        if size is None:
            return sites
        rounded = header_for(job, mse, len(params), 1.0, radius=radius)
        coded = _rounded_size(job, params, rounded)
        share = max(size - OVERHEAD, 1) / max(coded - OVERHEAD, 1)
        return round(_SAVED * len(params) * share)

    options = FitOptions(
        recipe=job.recipe,
        iterations=job.iterations,
        dense_start=job.effort.dense_start,
        density_interval=job.effort.density_interval,
        radius=radius,
        seed=job.seed,
        propagation=job.propagation,
    )
    objective = job.objective()
    return fit(
        job.backend,
        objective.target,
        min(round(spare * sites), job.pixels),
        options,
        k=header.k,
        weights=objective.weights,
        density=None if job.importance is None else job.importance.density,
        area=job.area,
        budget=budget if size is not None or spare > 1.0 else None,
        rate=_rate(job, radius=radius) if rate and job.recipe == "default" else None,
        progress=lambda share: job.report(0.05 + 0.5 * share, "fitting"),
    )


def _rate(job: Job, *, radius: bool) -> Callable[[Floats, float], RateTerm]:
    def rate(params: Floats, mse: float) -> RateTerm:
        rounded = header_for(job, mse, len(params), 1.0, radius=radius)
        return rate_term(params, mse, rounded, job.backend.threads)

    return rate


def fit_and_tune(
    job: Job, sites: int, *, radius: bool, size: int | None, spare: float = 1.0
) -> Tuned:
    """Fit and fine-tune under noise of the size of rounding; arguments as of `fit_sites`."""
    start = perf_counter()
    header, threads = job.header, job.backend.threads
    fitted = fit_sites(job, sites, radius=radius, size=size, spare=spare)
    seconds = perf_counter() - start
    quantizer = header_for(job, fitted.mse, len(fitted.params), 1.0, radius=radius).quantizer
    objective = job.objective(fitted.params)
    tuned = fine_tune(
        job.backend,
        objective.target,
        fitted.params,
        job.effort.tune_iterations,
        noise=lambda params: noise_widths(params, header.width, header.height, quantizer, threads),
        rate=_rate(job, radius=radius),
        radius=radius,
        k=header.k,
        weights=objective.weights,
        area=job.area,
        seed=job.seed,
        propagation=job.propagation,
        progress=lambda share: job.report(0.55 + 0.2 * share, "fine-tuning"),
    )
    objective = job.objective(tuned.params)
    return Tuned(fitted.params, tuned.params, fitted.mse, seconds, objective)


def scale_for(job: Job, tuned: Tuned, size: float, *, radius: bool) -> float:
    """Return the scale, of `header_for`, whose rounded diagram takes `size` bytes or a bit less."""
    bounds = [(np.log(_FINEST), np.inf), (np.log(_COARSEST), 0.0)]  # log scale, bytes: above, below
    at = 0.0
    for _ in range(10):
        header = header_for(job, tuned.mse, len(tuned.params), float(np.exp(at)), radius=radius)
        coded = _rounded_size(job, tuned.params, header)
        bounds[coded <= size] = (at, coded)
        if _CLOSE * size <= coded <= size:
            break
        (low, larger), (high, smaller) = bounds
        if np.isinf(larger) or smaller == 0.0:
            at += np.log(coded / size) / _BYTES_BY_SCALE
        else:  # on the line through both, in logarithms
            at = low + (high - low) * np.log(larger / size) / np.log(larger / smaller)
        margin = 0.1 * (high - low)
        at = float(np.clip(at, low + margin, high - margin))
    return float(np.exp(bounds[1][0]))


def round_and_refine(job: Job, tuned: Tuned, header: Header) -> Refinement:
    """Round a fit with the steps of `header` and descend, as long as the effort says."""
    objective = tuned.objective
    refinement = start_refiner(
        job.backend, objective.target, tuned.params, header, objective.weights
    )
    if job.layers > 1:
        job.report(0.75, "sorting into layers")
        arrange(refinement, job.layers)
    sweeps = job.effort.sweeps
    for i in range(sweeps):
        job.report(0.75 + 0.2 * i / sweeps, "refining")
        refinement.descend(1, color_sweeps=min(sweeps, 2))
    return refinement


def encode_to_sites(job: Job, sites: int, *, radius: bool) -> Encoding:
    """Encode with a given number of sites, at quantizer scale 1."""
    sites = min(sites, job.pixels)
    tuned = fit_and_tune(job, sites, radius=radius, size=None)
    header = header_for(job, tuned.mse, len(tuned.params), 1.0, radius=radius)
    return Encoding.of(round_and_refine(job, tuned, header), tuned)


def encode_to_size(job: Job, size: int) -> Encoding:
    """Encode into at most `size` bytes, and at least 99.5 % of them where that can be.

    The rounded diagram is given that size, by the quantizer's scale. The descent makes it a little
    larger; then the sites that matter least go until it fits.
    """
    sites = first_count(job, size)
    for attempt in range(_RESTARTS):
        tuned = fit_and_tune(job, sites, radius=False, size=size)
        scale = scale_for(job, tuned, size * _HIGH, radius=False)
        if scale > 0.7 or sites >= job.pixels or attempt == _RESTARTS - 1:
            break
        sites = min(job.pixels, max(sites + 1, int(sites * min(1.0 / scale, 2.0) ** 0.5)))
    aim = size * _HIGH
    for _ in range(_RESTARTS):
        header = header_for(job, tuned.mse, len(tuned.params), scale, radius=False)
        refinement = round_and_refine(job, tuned, header)
        refined = refinement.size()
        if refined >= _NEAR * size or scale <= _FINEST:
            break
        aim *= size / refined  # refining made it smaller than rounding alone did
        scale = scale_for(job, tuned, aim, radius=False)
    trim_to_size(job, refinement, size)
    if not fill(refinement, size):
        refinement = _fill_otherwise(job, tuned, refinement, scale, size)
    encoding = Encoding.of(refinement, tuned)
    encoding.warning = size_warning(job, refinement.size(), size)
    return encoding


def size_warning(job: Job, final: int, size: int) -> str | None:
    """Return why a file of `final` bytes does not meet a target of `size`, or None if it does."""
    wanted, whole = size + job.attached, final + job.attached
    if final > size:
        warning = f"cannot be encoded in {wanted} bytes; the smallest file takes {whole}"
        if job.attached:
            warning += f", of which metadata is {job.attached}"
        return warning
    if final < size - _SLACK and not fills(final, size):
        return f"more than {whole} bytes bring nothing that the encoder can use"
    if not fills(final, size):
        return f"{wanted} bytes cannot be met closely; {whole} is the nearest"
    return None


def _fill_otherwise(
    job: Job, tuned: Tuned, refinement: Refinement, scale: float, size: int
) -> Refinement:
    """Return a file that fills `size`, with other steps, or `refinement` if there is none.

    Few sites come in few sizes; small differences of the steps give others.
    """
    if not _WHOLE_SITES <= size <= _FEW_BYTES or refinement.size() < _HALF_FULL * size:
        return refinement
    best, error = refinement, np.inf
    for factor in _OTHER_STEPS:
        header = header_for(job, tuned.mse, len(tuned.params), scale * factor, radius=False)
        other = round_and_refine(job, tuned, header)
        trim_to_size(job, other, size)
        if fill(other, size) and other.error < error:
            best, error = other, other.error
            if error <= _AS_GOOD * refinement.error:
                break
    return best


def trim_to_size(job: Job, refinement: Refinement, size: int) -> None:
    """Remove the least important sites until the file takes at most `size` bytes."""
    if refinement.size() <= size:
        return
    job.report(0.97, "meeting the target")
    before = refinement.symbols
    refinement.remove_to_size(size)
    if job.effort.sweeps > 1:
        refinement.descend(1)
    else:
        refinement.settle_colors(1)
    if refinement.size() < _NEAR * size:  # the descent saved bytes too: fewer sites need to go
        refinement.set_symbols(before)
    refinement.remove_to_size(size)
