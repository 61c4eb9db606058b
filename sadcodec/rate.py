"""Targets: from bytes, PSNR, quality or a site count to the diagram that meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Backend, RateTerm
from sadcodec.bitstream import Header
from sadcodec.effort import Effort
from sadcodec.fit.loop import fine_tune, fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.objective import Objective, objective_for
from sadcodec.quantize import quantize
from sadcodec.rate_term import rate_term
from sadcodec.refine import (
    Refinement,
    choose_quantizer,
    coded_size,
    draw,
    noise_widths,
    start_refiner,
)
from sadcodec.sites import Sites

__all__ = [
    "Encoding",
    "Job",
    "encode_to_psnr",
    "encode_to_sites",
    "encode_to_size",
    "sites_for_quality",
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
_SLACK = 8  # bytes under a size target that are no reason to warn: one site more would not fit
_DB_PER_OCTAVE = 2.3  # measured gain of PSNR when the sites double
_PSNR_SLACK = 0.05  # dB over a PSNR target that are not worth a file's time
_RESTARTS = 3  # fits that a target may cost


@dataclass(frozen=True)
class Job:
    """What stays the same while a target is sought.

    Attributes
    ----------
    target : float32 [H, W, C], display-referred 0..1
    header : Header
        Its site count and quantizer are placeholders.
    metric : str
        What is optimized, one of `sadcodec.objective.METRICS`. Targets of PSNR are not.
    """

    backend: Backend
    target: Floats
    header: Header
    effort: Effort
    seed: int = 0
    metric: str = "psnr"
    progress: Callable[[float, str], None] | None = None

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.header.width * self.header.height

    def objective(self, params: Floats | None = None) -> Objective:
        """Return what to fit to, for SSIM given the diagram that there is, float32 [N, 6 + C]."""
        if self.metric == "psnr" or params is None:
            return objective_for(self.metric, self.target)
        h = self.header
        drawn = self.backend.render(Sites(params), h.width, h.height, h.k)
        return objective_for(self.metric, self.target, drawn)

    def report(self, share: float, message: str) -> None:
        """Tell the progress callback, if there is one."""
        if self.progress is not None:
            self.progress(share, message)


@dataclass
class Encoding:
    """A refined diagram and how it came about."""

    refinement: Refinement
    fit_params: Floats  # before any quantization or noise
    fit_seconds: float = 0.0
    warning: str | None = None


def _header(job: Job, mse: float, sites: int, scale: float, *, radius: bool) -> Header:
    h = job.header
    quantizer = choose_quantizer(
        mse, h.width, h.height, sites, h.channels, scale=scale, radius=radius
    )
    return replace(h, site_count=sites, quantizer=quantizer)


def _rounded_size(params: Floats, header: Header) -> int:
    symbols = quantize(Sites(params), header.width, header.height, header.quantizer)
    return coded_size(header, symbols)


@dataclass
class _Tuned:
    """A fit made ready for rounding, and what its refinement is to optimize."""

    fit_params: Floats
    params: Floats
    mse: float
    seconds: float
    objective: Objective


def _fit(job: Job, sites: int, *, radius: bool, size: int | None) -> _Tuned:
    """Fit and fine-tune; with `size`, prune half way to what the bytes will hold."""
    start = perf_counter()
    header = job.header

    def budget(params: Floats, mse: float) -> int:
        coded = _rounded_size(params, _header(job, mse, len(params), 1.0, radius=radius))
        share = max((size or 0) - OVERHEAD, 1) / max(coded - OVERHEAD, 1)
        return round(_SAVED * len(params) * share)

    def rate(params: Floats, mse: float) -> RateTerm:
        return rate_term(params, mse, _header(job, mse, len(params), 1.0, radius=radius))

    options = FitOptions(
        iterations=job.effort.iterations,
        dense_start=job.effort.dense_start,
        radius=radius,
        seed=job.seed,
    )
    objective = job.objective()
    fitted = fit(
        job.backend,
        objective.target,
        sites,
        options,
        k=header.k,
        weights=objective.weights,
        budget=budget if size is not None else None,
        rate=rate,
        progress=lambda share: job.report(0.05 + 0.5 * share, "fitting"),
    )
    seconds = perf_counter() - start
    quantizer = _header(job, fitted.mse, len(fitted.params), 1.0, radius=radius).quantizer
    objective = job.objective(fitted.params)
    tuned = fine_tune(
        job.backend,
        objective.target,
        fitted.params,
        job.effort.tune_iterations,
        noise=lambda params: noise_widths(params, header.width, header.height, quantizer),
        rate=rate,
        radius=radius,
        k=header.k,
        weights=objective.weights,
        seed=job.seed,
        progress=lambda share: job.report(0.55 + 0.2 * share, "fine-tuning"),
    )
    objective = job.objective(tuned.params)
    return _Tuned(fitted.params, tuned.params, fitted.mse, seconds, objective)


def _scale_for(job: Job, tuned: _Tuned, size: float, *, radius: bool) -> float:
    """Quantizer scale whose rounded diagram takes `size` bytes or a little less."""
    bounds = [(np.log(_FINEST), np.inf), (np.log(_COARSEST), 0.0)]  # log scale, bytes: above, below
    at = 0.0
    for _ in range(10):
        header = _header(job, tuned.mse, len(tuned.params), float(np.exp(at)), radius=radius)
        coded = _rounded_size(tuned.params, header)
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


def _refine(job: Job, tuned: _Tuned, header: Header) -> Refinement:
    objective = tuned.objective
    refinement = start_refiner(
        job.backend, objective.target, tuned.params, header, objective.weights
    )
    sweeps = job.effort.sweeps
    for i in range(sweeps):
        job.report(0.75 + 0.2 * i / sweeps, "refining")
        refinement.descend(1, color_sweeps=min(sweeps, 2))
    return refinement


def encode_to_sites(job: Job, sites: int, *, radius: bool) -> Encoding:
    """Encode with a given number of sites, at quantizer scale 1."""
    sites = min(sites, job.pixels)
    tuned = _fit(job, sites, radius=radius, size=None)
    header = _header(job, tuned.mse, len(tuned.params), 1.0, radius=radius)
    return Encoding(_refine(job, tuned, header), tuned.fit_params, tuned.seconds)


def encode_to_size(job: Job, size: int) -> Encoding:
    """Encode into at most `size` bytes, and at least 99.5 % of them where that can be.

    The rounded diagram is given that size, by the quantizer's scale. The descent makes it a little
    larger; then the sites that matter least go until it fits.
    """
    sites = int(np.clip(8.0 * (size - OVERHEAD) / _FEWEST_BITS, 1, job.pixels))
    for attempt in range(_RESTARTS):
        tuned = _fit(job, sites, radius=False, size=size)
        scale = _scale_for(job, tuned, size * _HIGH, radius=False)
        if scale > 0.7 or sites >= job.pixels or attempt == _RESTARTS - 1:
            break
        sites = min(job.pixels, max(sites + 1, int(sites * min(1.0 / scale, 2.0) ** 0.5)))
    aim = size * _HIGH
    for _ in range(_RESTARTS):
        header = _header(job, tuned.mse, len(tuned.params), scale, radius=False)
        refinement = _refine(job, tuned, header)
        refined = refinement.size()
        if refined >= _NEAR * size or scale <= _FINEST:
            break
        aim *= size / refined  # refining made it smaller than rounding alone did
        scale = _scale_for(job, tuned, aim, radius=False)
    trim_to_size(job, refinement, size)
    encoding = Encoding(refinement, tuned.fit_params, tuned.seconds)
    final = refinement.size()
    if final > size:
        encoding.warning = f"cannot be encoded in {size} bytes; the smallest file takes {final}"
    elif final < min(_NEAR * size, size - _SLACK):
        encoding.warning = f"more than {final} bytes bring nothing that the encoder can use"
    return encoding


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


def encode_to_psnr(job: Job, psnr: float) -> Encoding:
    """Encode to at least `psnr` dB, with as few sites as that takes."""
    sites = sites_for_psnr(job, psnr)
    best: Encoding | None = None
    tried: dict[int, float] = {}
    for _ in range(_RESTARTS + 2):
        encoding = encode_to_sites(job, sites, radius=False)
        reached = tried[sites] = _psnr(job, encoding.refinement)
        if reached >= psnr and (best is None or sites < len(best.fit_params)):
            best = encoding
        if psnr <= reached <= psnr + 0.5 or (reached < psnr and sites >= job.pixels):
            break
        sites = min(max(_next_count(tried, sites, psnr + 0.15), 1), job.pixels)
        if sites in tried:
            break
    if best is None:
        encoding.warning = f"{psnr:g} dB is out of reach; {reached:.2f} dB is the nearest"
        return encoding
    _trim_to_psnr(job, best.refinement, psnr)
    return best


def _next_count(tried: dict[int, float], sites: int, psnr: float) -> int:
    """Return the sites to try next for `psnr` after `sites`, given the PSNR of those tried.

    On a line in log sites through the nearest below and above the target; where one of them is
    missing, with the usual slope from the last.
    """
    below = [n for n, reached in tried.items() if reached < psnr]
    above = [n for n, reached in tried.items() if reached >= psnr and n > max(below, default=0)]
    if below and above:
        low, high = max(below), min(above)
        share = (psnr - tried[low]) / (tried[high] - tried[low])
        return round(low * (high / low) ** min(max(share, 0.05), 0.95))
    octaves = min(max((psnr - tried[sites]) / _DB_PER_OCTAVE, -3.0), 3.0)
    return int(np.ceil(sites * 2.0**octaves))


def _psnr(job: Job, refinement: Refinement) -> float:
    """PSNR in dB of what the file decodes to."""
    decoded = draw(job.backend, refinement.header, refinement.symbols)
    white = (1 << job.header.bit_depth) - 1
    difference = decoded - job.target.astype(np.float64) * white
    return float(10.0 * np.log10(white * white / max(float(np.mean(difference**2)), 1e-12)))


def _trim_to_psnr(job: Job, refinement: Refinement, psnr: float) -> None:
    """Remove the least important sites while the PSNR stays at or above the target."""
    reached, most = _psnr(job, refinement), 1.0
    for _ in range(12):
        before = refinement.symbols
        share = min(most, 1.0 - 2.0 ** ((psnr - reached) / _DB_PER_OCTAVE))
        count = int(share * len(before))
        if count < 1 or reached < psnr + _PSNR_SLACK:
            return
        job.report(0.97, "meeting the target")
        refinement.remove(count)
        refinement.descend(1)
        left = _psnr(job, refinement)
        if left < psnr:
            refinement.set_symbols(before)
            most = share / 2.0
        else:
            reached = left


def _trial(job: Job) -> tuple[int, float]:
    """Return the sites of a short trial fit and its mean squared error."""
    fewest = min(64, max(1, job.pixels // 8))
    sites = int(np.clip(job.pixels / 100, fewest, 20_000))
    job.report(0.0, "measuring")
    options = FitOptions(iterations=60, dense_start=2.0, radius=False, seed=job.seed)
    mse = fit(job.backend, job.target, sites, options, k=job.header.k).mse
    return sites, max(mse, 1e-8)


def sites_for_psnr(job: Job, psnr: float) -> int:
    """Return about how many sites reach `psnr` dB."""
    trial, mse = _trial(job)
    octaves = (psnr + 0.5 + 10.0 * np.log10(mse)) / _DB_PER_OCTAVE
    return int(np.clip(trial * 2.0 ** np.clip(octaves, -10, 10), 1, job.pixels))


def sites_for_quality(job: Job, quality: float) -> int:
    """Return the number of sites for a quality of 0..100.

    A trial fit gives the squared error D at N sites, and D falls as N^-g with 10 g log10(2) =
    2.3 dB. Quality is the price of a site: N is where one site more would lower the squared error
    (in code values, summed over pixels, mean over channels) by 1000 * 2^((75 - quality) / 5).
    """
    trial, mse = _trial(job)
    exponent = _DB_PER_OCTAVE / (10.0 * np.log10(2.0))
    price = 1000.0 * 2.0 ** ((75.0 - quality) / 5.0) / 255.0**2
    gain = exponent * mse * job.pixels / trial
    return int(np.clip(trial * (gain / price) ** (1.0 / (1.0 + exponent)), 1, job.pixels))
