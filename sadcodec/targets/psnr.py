"""A target of so many dB: the sites by short fits, the rest by the steps and by removing sites."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sadcodec.alpha import premultiplied
from sadcodec.job import Job, header_for
from sadcodec.rate import Encoding, Tuned, round_and_refine
from sadcodec.refine import Refinement, draw
from sadcodec.targets.trial import (
    TRIAL_ITERATIONS,
    count_at,
    fit_sites,
    trial_psnr,
    trial_sites,
    usual_gain,
)

__all__ = ["TOLERANCE", "encode_to_psnr", "psnr_of", "psnr_warning"]

TOLERANCE = 0.05  # dB that a file may have over its target without a warning
_FITS = 4  # full fits that a target may cost
_FITS_OF_SMALL, _SMALL = 8, 1 << 16  # and for an image of at most so many pixels
_AIM = 0.2  # dB over the target that a full fit is aimed at: steps and removals take them away
_LEAST, _MOST = -0.15, 0.8  # dB over the target, at scale 1, from which the steps reach it cheaply
_FINE, _COARSE = np.log(0.7), np.log(1.7)  # logarithms of the scales for that
_FINEST, _COARSEST = np.log(0.2), np.log(4.0)  # where there is no other way
_SCALES = 5  # roundings of one fit
_NEAR = 0.12  # dB over the target from which removing sites does the rest
_COLOR_STRENGTH = 20.0  # of the bits where colours alone are to come down to a target
_LAST_SITES = 64  # whose colours are tried one by one
_TRIALS_FROM = 150  # iterations of a full fit from which a second trial costs little beside it


def psnr_of(job: Job, coded: Refinement | Encoding) -> float:
    """Return the PSNR in dB of what the file decodes to, by the mask if there is one.

    It is that of `sadcodec.metrics.psnr`.
    """
    decoded = draw(job.backend, coded.header, coded.symbols)
    white = (1 << job.header.bit_depth) - 1
    original = job.target.astype(np.float64) * white
    squared = (premultiplied(decoded, white) - premultiplied(original, white)) ** 2
    if job.importance is not None and job.importance.mask is not None:
        squared *= job.importance.mask[:, :, None]
    return float(10.0 * np.log10(white * white / max(float(np.mean(squared)), 1e-12)))


@dataclass
class _Best:
    """The smallest file of those that reach the target, or the best of those that do not."""

    psnr: float  # the target
    reached: float = -np.inf
    size: int = 0
    refinement: Refinement = field(init=False)  # from the first offer on, as what follows
    tuned: Tuned = field(init=False)
    tried: dict[int, float] = field(default_factory=dict)  # sites to PSNR at scale 1

    def offer(self, refinement: Refinement, reached: float, tuned: Tuned) -> None:
        size = refinement.size()
        if reached >= self.psnr:
            better = self.reached < self.psnr or size < self.size
        else:
            better = reached > self.reached
        if better:
            self.reached, self.size = reached, size
            self.refinement, self.tuned = refinement, tuned


def encode_to_psnr(job: Job, psnr: float) -> Encoding:
    """Encode to at least `psnr` dB, and at most 0.05 dB more, with as few bytes as that takes."""
    sites = _first_count(job, psnr)
    best = _Best(psnr)
    fits = _FITS_OF_SMALL if job.area <= _SMALL else _FITS
    for attempt in range(fits):
        tuned = fit_sites(job, sites)
        if _round_to(job, tuned, best, attempt, last=attempt == fits - 1):
            break
        sites = _next_count(job, best.tried, sites, psnr + _AIM)
        if sites in best.tried:
            _round_to(job, tuned, best, attempt, last=True)
            break
    reached = best.reached
    if reached > psnr + TOLERANCE:
        reached = _trim(job, best.refinement, psnr, reached)
    encoding = Encoding.of(best.refinement, best.tuned)
    encoding.warning = psnr_warning(psnr, reached)
    return encoding


def psnr_warning(psnr: float, reached: float) -> str | None:
    """Return why `reached` dB do not meet a target of `psnr` dB, or None if they do."""
    if reached < psnr:
        return f"{psnr:g} dB is out of reach; {reached:.2f} dB is the nearest"
    if reached > psnr + TOLERANCE:
        return f"{psnr:g} dB cannot be met closely; {reached:.2f} dB is the nearest"
    return None


def _first_count(job: Job, psnr: float) -> int:
    """Return about how many sites reach `psnr` dB.

    From one trial fit and the usual slope; where a full fit takes much longer, a second trial with
    so many sites gives the image's own slope.
    """
    sites = trial_sites(job)
    reached = {sites: trial_psnr(job, sites)}
    aim = psnr + _AIM
    guess = _next_count(job, reached, sites, aim)
    if job.effort.iterations >= _TRIALS_FROM and guess not in reached:
        reached[guess] = trial_psnr(job, guess)
        gain = 0.25 * np.log2(job.effort.iterations / TRIAL_ITERATIONS)  # of the longer fit, dB
        guess = _next_count(job, reached, guess, aim - gain)
    return guess


def _next_count(job: Job, tried: dict[int, float], sites: int, psnr: float) -> int:
    """Return the sites to try next for `psnr` after `sites`, given the PSNR of those tried.

    On a line in `usual_gain` through the nearest below and above the target; where one of them is
    missing, from the last and with the slope of the last two, or the usual one.
    """
    below = [n for n, reached in tried.items() if reached < psnr]
    above = [n for n, reached in tried.items() if reached >= psnr and n > max(below, default=0)]
    gain = usual_gain(job, sites)
    if below and above:
        low, high = max(below), min(above)
        share = (psnr - tried[low]) / (tried[high] - tried[low])
        first, last = usual_gain(job, low), usual_gain(job, high)
        between = round(count_at(job, first + (last - first) * min(max(share, 0.15), 0.85)))
        return min(max(between, low + 1), max(high - 1, low))
    slope = 1.0
    others = [n for n in tried if n != sites]
    if others:
        near = min(others, key=lambda n: abs(np.log(n / sites)))
        slope = (tried[sites] - tried[near]) / (gain - usual_gain(job, near))
        slope = min(max(slope, 0.5), 2.5)
    count = count_at(job, gain + (psnr - tried[sites]) / slope)
    count = min(max(count, sites / 8.0), sites * 8.0)
    return min(max(int(np.ceil(count)), 1), job.pixels)


def _round_to(job: Job, tuned: Tuned, best: _Best, attempt: int, *, last: bool) -> bool:
    """Round a fit with the scale that brings it to the target; return whether one does.

    The more fits there were, the more may be left to the scale; `last`: all that it can do, for
    there will be no other fit.
    """
    psnr, sites = best.psnr, len(tuned.params)
    finest, coarsest = (_FINEST, _COARSEST) if last else (_FINE, _COARSE)
    tried: dict[float, float] = {}  # log scale to PSNR
    at = 0.0
    for _ in range(_SCALES):
        header = header_for(job, tuned.mse, sites, float(np.exp(at)), radius=False)
        refinement = round_and_refine(job, tuned, header)
        reached = tried[at] = psnr_of(job, refinement)
        best.offer(refinement, reached, tuned)
        if at == 0.0:
            best.tried[sites] = reached
            over = (reached - psnr) / (1.0 + 0.5 * attempt)
            if not last and not _LEAST <= over <= _MOST:
                return False
        if psnr <= reached <= psnr + _NEAR:
            return True
        at = float(np.clip(_next_scale(tried, at, psnr + 0.5 * _NEAR), finest, coarsest))
        if any(abs(at - other) < 0.01 for other in tried):
            break
    return any(reached >= psnr for reached in tried.values()) and min(tried.values()) < psnr


def _next_scale(tried: dict[float, float], at: float, psnr: float) -> float:
    """Return the log scale to try next: on the line through the two nearest, finer is better."""
    finer = [s for s, reached in tried.items() if reached >= psnr]
    coarser = [s for s, reached in tried.items() if reached < psnr]
    if finer and coarser and max(finer) < min(coarser):
        low, high = max(finer), min(coarser)
        share = (tried[low] - psnr) / (tried[low] - tried[high])
        return low + (high - low) * min(max(share, 0.1), 0.9)
    slope = -1.0 - 0.15 * max(psnr - 30.0, 0.0)  # usual: the higher the PSNR, the more steps count
    if len(tried) > 1:
        near = min((s for s in tried if s != at), key=lambda s: abs(s - at))
        slope = min((tried[at] - tried[near]) / (at - near), 0.3 * slope)
    return at + min(max((psnr - tried[at]) / slope, -1.0), 1.0)


def _trim(job: Job, refinement: Refinement, psnr: float, reached: float) -> float:
    """Bring a file down to the target; return the PSNR that is left.

    The least important sites go, as many as their removal deltas allow, and the others descend;
    at the end as many as the decoded file allows.
    """
    job.report(0.97, "meeting the target")
    for _ in range(6):
        if reached <= psnr + _NEAR:
            break
        before = refinement.symbols
        count = _removable(refinement, psnr, reached)
        if count < 1:
            break
        refinement.remove(count)
        refinement.descend(1)
        left = psnr_of(job, refinement)
        if left < psnr:
            refinement.set_symbols(before)
            break
        reached = left
    reached = _remove_most(job, refinement, psnr, reached)
    if reached > psnr + TOLERANCE:
        reached = _descend_cheaper(job, refinement, psnr, reached)
    if reached > psnr + TOLERANCE:
        reached = _cheaper_colors(job, refinement, psnr, reached)
    return reached


def _removable(refinement: Refinement, psnr: float, reached: float) -> int:
    """Return how many sites can go by the sum of their removal deltas."""
    allowed = refinement.error * (10.0 ** ((reached - psnr) / 10.0) - 1.0)
    deltas = np.sort(refinement.refiner.removal_deltas())
    return int(np.searchsorted(np.cumsum(np.maximum(deltas, 0.0)), allowed, "right"))


def _remove_most(job: Job, refinement: Refinement, psnr: float, reached: float) -> float:
    """Remove as many of the least important sites as the target allows, without a descent."""
    ranking, before = refinement.ranking(), refinement.symbols
    keep, low = before, 0
    high = min(2 * _removable(refinement, psnr, reached) + 2, len(before))  # too many
    while high - low > 1 and reached > psnr + TOLERANCE:
        middle = (low + high) // 2
        refinement.set_symbols(before)
        refinement.set_symbols(refinement.without(ranking[:middle]))
        left = psnr_of(job, refinement)
        if left >= psnr:
            low, reached, keep = middle, left, refinement.symbols
        else:
            high = middle
    refinement.set_symbols(keep)
    return reached


def _descend_cheaper(job: Job, refinement: Refinement, psnr: float, reached: float) -> float:
    """Give bits more weight in a last descent, as much as the target allows."""
    before = keep = refinement.symbols
    low, high = 0.0, 4.0  # log strength
    for _ in range(8):
        middle = 0.5 * (low + high)
        refinement.set_symbols(before)
        refinement.descend(1, float(np.exp(middle)))
        left = psnr_of(job, refinement)
        if left < psnr:
            high = middle
        else:
            low = middle
            if left <= reached:
                reached, keep = left, refinement.symbols
            if reached <= psnr + TOLERANCE:
                break
    refinement.set_symbols(keep)
    return reached


def _cheaper_colors(job: Job, refinement: Refinement, psnr: float, reached: float) -> float:
    """Give bits more weight in the colours alone, of as many sites as the target allows.

    The steps of colours follow from the geometry, so that any of the sites can take theirs. Where
    that is still too much, single colours of some sites go a step towards zero.
    """
    before = keep = refinement.symbols
    refinement.settle_colors(1, _COLOR_STRENGTH)
    cheaper = refinement.symbols.color
    low, high = 0, len(before) + 1
    while high - low > 1 and reached > psnr + TOLERANCE:
        middle = (low + high) // 2
        color = np.concatenate([cheaper[:middle], before.color[middle:]])
        refinement.set_symbols(replace(before, color=color))
        left = psnr_of(job, refinement)
        if left >= psnr:
            low = middle
            if left <= reached:
                reached, keep = left, refinement.symbols
        else:
            high = middle
    for site, axis in np.ndindex(*keep.color[:_LAST_SITES].shape):
        if reached <= psnr + TOLERANCE:
            break
        color = keep.color.copy()
        color[site, axis] -= np.sign(color[site, axis])
        refinement.set_symbols(replace(keep, color=color))
        left = psnr_of(job, refinement)
        if psnr <= left < reached:
            reached, keep = left, refinement.symbols
    refinement.set_symbols(keep)
    return reached
