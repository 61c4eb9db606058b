"""Quality: what a site may cost."""

from __future__ import annotations

import numpy as np

from sadcodec.rate import Encoding, Job, fit_and_tune, header_for, round_and_refine
from sadcodec.targets.psnr import psnr_of
from sadcodec.targets.trial import DB_PER_OCTAVE, count_at, trial_psnr, trial_sites, usual_gain

__all__ = ["encode_to_quality"]

_ENOUGH = 48.0  # dB of a trial fit; more sites than that takes bring nothing
_AREAS = (32, 8)  # px a site of the trials that look for it
_SIMPLE = 42.0  # dB of a trial that is nearly there
_SCALE_BY_SITES = 0.6  # finer steps for the sites that an image cannot use
_STEPS = 3  # an octave of them: a smaller change than that can be for the worse by chance
_SMALL = 2048  # px up to which several fits are compared
_LADDER = 1.19  # ratio of the sites of these
_BYTES_PER_SITE = 4.0


def encode_to_quality(job: Job, quality: float) -> Encoding:
    """Encode with the quality 0..100: with as many sites as are worth their price.

    A trial fit gives the squared error D at N sites, and D falls as N^-g with 10 g log10(2) =
    2.3 dB. Quality is the price of a site: N is where one site more would lower the squared error
    (in code values, summed over pixels, mean over channels) by 1000 * 2^((75 - quality) / 5).
    Where fewer sites reach 48 dB, those are fitted, and steps are finer instead. Of images of 2048
    px and fewer, where two fits differ by chance, several are made, and the best for the price is
    taken.
    """
    trial = trial_sites(job)
    psnr = trial_psnr(job, trial)
    exponent = DB_PER_OCTAVE / (10.0 * np.log10(2.0))
    price = 1000.0 * 2.0 ** ((75.0 - quality) / 5.0) / 255.0**2
    gain = exponent * 10.0 ** (-psnr / 10.0) * job.pixels / trial
    wanted = min(trial * (gain / price) ** (1.0 / (1.0 + exponent)), float(job.pixels))
    if job.pixels <= _SMALL:
        return _cheapest(job, wanted, price)
    most = _most_sites(job, trial, psnr, wanted)
    surplus = _SCALE_BY_SITES * np.log2(max(wanted / most, 1.0))
    scale = 2.0 ** -(int(surplus * _STEPS) / _STEPS)
    return _encode(job, max(int(min(wanted, most)), 1), scale)


def _encode(job: Job, sites: int, scale: float = 1.0) -> Encoding:
    tuned = fit_and_tune(job, sites, radius=False, size=None)
    header = header_for(job, tuned.mse, len(tuned.params), scale, radius=False)
    return Encoding(round_and_refine(job, tuned, header), tuned.fit_params, tuned.seconds)


def _cheapest(job: Job, wanted: float, price: float) -> Encoding:
    """Return the fit with the least squared error plus price of its bytes, of those near `wanted`.

    Their counts do not depend on the price: as long as the best of all is among them, a lower one
    takes no file that is smaller or has a larger error.
    """
    wanted = max(wanted, 1.0)
    tried = [_encode(job, n) for n in _ladder(job.pixels) if wanted / 2.0 <= n <= wanted * 2.0]

    def cost(encoding: Encoding) -> float:
        error = 10.0 ** (-psnr_of(job, encoding.refinement) / 10.0) * job.pixels
        return error + price / _BYTES_PER_SITE * encoding.refinement.size()

    return min(tried, key=cost)


def _ladder(most: int) -> list[int]:
    """Counts from 1 to `most`, all of the small ones."""
    counts, count = {most}, 1.0
    while count < most:
        counts.add(int(count))
        count = max(count * _LADDER, int(count) + 1.0)
    return sorted(counts)


def _most_sites(job: Job, trial: int, psnr: float, wanted: float) -> float:
    """Return the sites that reach `_ENOUGH`; where it is more than `wanted`, any such number.

    On a line between trials, whose counts do not depend on the quality. A trial is made where
    `wanted` has as many sites. Where the one before it was nearly there, it is made for fewer as
    well; of other images the sites are never kept under its count.
    """
    low, reached = float(trial), psnr
    for area in _AREAS:
        if reached >= _ENOUGH:
            break
        more = job.pixels / area
        if more <= low:
            continue
        if wanted <= (low if reached >= _SIMPLE else more):
            return max(wanted, 1.0)
        further = trial_psnr(job, int(more))
        if further >= _ENOUGH:
            if reached < _SIMPLE:
                return more
            first, last = usual_gain(job, low), usual_gain(job, more)
            return count_at(job, first + (last - first) * (_ENOUGH - reached) / (further - reached))
        low, reached = more, further
    if reached < _ENOUGH:
        return max(wanted, 1.0)
    return max(count_at(job, usual_gain(job, low) + _ENOUGH - reached), 1.0)
