"""Fits of a number of sites: short ones that tell how many an image needs, and whole ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.job import Job
from sadcodec.rate import Tuned, fit_and_tune

__all__ = [
    "DB_PER_OCTAVE",
    "TRIAL_ITERATIONS",
    "count_at",
    "fit_sites",
    "reduced",
    "trial_psnr",
    "trial_sites",
    "usual_gain",
]

TRIAL_ITERATIONS = 60
DB_PER_OCTAVE, _CURVATURE = 2.3, 0.22  # of `usual_gain`

# Sites of the first half of a fit against those of the second, where a site has so many px.
_AREAS, _SPARE = (8.0, 20.0, 32.0), (1.3, 1.2, 1.0)


def trial_sites(job: Job) -> int:
    """Return the sites of the first trial fit: one for 100 px that count, but not too few."""
    fewest = min(64, max(1, int(job.area // 8)))
    return int(np.clip(job.area / 100, fewest, 20_000))


def trial_psnr(job: Job, sites: int) -> float:
    """Return the PSNR in dB of a short fit of `sites` sites, at most 80, as pixels count."""
    job.report(0.0, "measuring")
    options = FitOptions(
        iterations=TRIAL_ITERATIONS,
        dense_start=2.0,
        radius=False,
        seed=job.seed,
        propagation=job.propagation,
    )
    objective = job.objective(metric="psnr")
    mse = fit(
        job.backend,
        objective.target,
        sites,
        options,
        k=job.header.k,
        weights=objective.weights,
        density=None if job.importance is None else job.importance.density,
        area=job.area,
    ).mse
    return float(-10.0 * np.log10(max(mse, 1e-8)))


def reduced(job: Job, pixels: int) -> Job:
    """Return the job of the image as means of squares, with about `pixels` of them at most.

    For trials of smooth images, which are much the same at that size. Where pixels do not count
    alike, and of images that are as small or nearly lines, it is the job itself.
    """
    height, width, channels = job.target.shape
    side = min(math.ceil(math.sqrt(job.pixels / pixels)), height, width)
    if side == 1 or job.importance is not None:
        return job
    rows, columns = height // side, width // side
    squares = job.target[: rows * side, : columns * side]
    target = squares.reshape(rows, side, columns, side, channels).mean(axis=(1, 3))
    return replace(job, target=target, header=replace(job.header, width=columns, height=rows))


def fit_sites(job: Job, sites: int) -> Tuned:
    """Return a fit of so many sites, ready for rounding.

    Where they are dense it starts from more than a fit usually does, as one for a size does, which
    cannot know yet how many its bytes will hold.
    """
    spare = float(np.interp(job.area / sites, _AREAS, _SPARE))
    return fit_and_tune(job, sites, radius=False, size=None, spare=spare)


def usual_gain(job: Job, sites: float) -> float:
    """Return the dB by which so many sites usually exceed one site for 100 px.

    Measured on six images: 2.3 dB per doubling where sites are few, 4 where they have 8 px.
    """
    octaves = float(np.log2(100.0 * sites / job.area))
    return DB_PER_OCTAVE * octaves + _CURVATURE * max(octaves, 0.0) ** 2


def count_at(job: Job, gain: float) -> float:
    """Inverse of `usual_gain`."""
    octaves = gain / DB_PER_OCTAVE
    if gain > 0.0:
        root = np.sqrt(DB_PER_OCTAVE**2 + 4.0 * _CURVATURE * gain)
        octaves = (root - DB_PER_OCTAVE) / (2.0 * _CURVATURE)
    return float(job.area / 100.0 * 2.0 ** min(max(octaves, -40.0), 40.0))
