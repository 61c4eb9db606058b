"""What study_topk.py measures of one image and seed: maps beside exact lists, and fits by both.

Every function gives rows of plain numbers; docs/STUDY.md says what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import read, shares

from sadcodec import _core, metrics
from sadcodec.backends.base import DEFAULT_CUT, DEFAULT_K, Propagation
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.cpu_propagate import CpuTopKMap
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions, learning_rates
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, Sites, X, Y

__all__ = ["COLUMNS", "Case", "coverage", "fidelity", "fits", "warm_up"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Row = dict[str, Any]

COLUMNS: dict[str, Any] = {
    "position": [X, Y],
    "log_tau": [LOG_TAU],
    "radius": [RADIUS],
    "p, q": [P, Q],
    "colour": slice(COLOR, None),
}
_PART = 1 << 16  # pixels that are looked at together


@dataclass(frozen=True)
class Case:
    """One image and seed, and what is done with it.

    Attributes
    ----------
    path : str
    seed : int
    sites, iterations, threads : int
    probes : tuple of int
        Iterations at which maps are compared.
    injected, passes, intervals, ks : tuple of int
        The values that are tried, one at a time, the others as in the paper.
    rate_scale : float
        Factor on the learning rates.
    """

    path: str
    seed: int
    sites: int
    iterations: int
    threads: int
    probes: tuple[int, ...]
    injected: tuple[int, ...]
    passes: tuple[int, ...]
    intervals: tuple[int, ...]
    ks: tuple[int, ...]
    rate_scale: float = 1.0

    def image(self) -> np.ndarray:
        """Return uint8 or uint16 [H, W, C]."""
        return read(self.path)

    def options(self, propagation: Propagation | None = None) -> FitOptions:
        """Return those of a fit."""
        if propagation is not None:
            propagation = replace(propagation, seed=self.seed)
        return FitOptions(
            self.iterations,
            seed=self.seed,
            rate_scale=self.rate_scale,
            propagation=propagation,
        )

    def count(self, image: np.ndarray) -> int:
        """Return the sites that the image has room for."""
        return min(self.sites, image.shape[0] * image.shape[1])


# ---- A map beside the exact lists ---------------------------------------------------------------


class Weights:
    """Softmax weights of given lists, and the picture they make; float32."""

    def __init__(self, params: Floats, width: int) -> None:
        p, q = params[:, P].astype(np.float64), params[:, Q].astype(np.float64)
        a = np.hypot(p, q)
        s = np.where(a > 1e-6, np.sinh(a) / np.maximum(a, 1e-6), 1.0)
        squares = [np.cosh(a) + s * p, 2 * s * q, np.cosh(a) - s * p]
        columns = [params[:, X], params[:, Y], *squares, np.exp(params[:, LOG_TAU])]
        self._sites = np.stack([*columns, params[:, RADIUS]]).astype(np.float32)
        self._colors = np.ascontiguousarray(params[:, COLOR:])
        self._width = width

    def of(self, ids: Ids, first: int) -> Floats:
        """Return float32 [M, K], of the lists of pixels first, first + 1, ...; 0 for no site."""
        x, y, xx, xy, yy, tau, radius = (column[ids] for column in self._sites)  # -1: another site
        pixel = np.arange(first, first + len(ids))[:, None]
        dx = (pixel % self._width + 0.5).astype(np.float32) - x
        dy = (pixel // self._width + 0.5).astype(np.float32) - y
        logit = tau * (radius - np.sqrt(np.maximum((xx * dx + xy * dy) * dx + yy * dy * dy, 0)))
        logit[ids < 0] = -np.inf
        weights = np.exp(logit - np.maximum(logit.max(axis=1, keepdims=True), np.float32(-1e30)))
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-30))

    def blend(self, ids: Ids, weights: Floats) -> Floats:
        """Return float32 [M, C], clamped to 0..1."""
        return np.clip(np.einsum("mk,mkc->mc", weights, self._colors[ids]), 0, 1)


class Exact:
    """The exact lists of some sites, and the picture that they make."""

    def __init__(self, params: Floats, target: Floats, ids: Ids) -> None:
        self.ids = ids
        self._target = target.reshape(-1, target.shape[2])
        self._weights = Weights(params, target.shape[1])
        self._parts = []
        for first in range(0, len(ids), _PART):
            part = ids[first : first + _PART]
            weights = self._weights.of(part, first)
            self._parts.append((first, part, weights, self._weights.blend(part, weights)))

    def compare(self, ids: Ids) -> Row:
        """Compare a map's lists with these.

        Returns
        -------
        dict
            `differs`: share of the pixels whose lists are not the same sites; `best_missed`: of
            those whose best site is in no place of it; `missed`: softmax weight of the exact top K
            that the list lacks, its mean, 99.9 % quantile and maximum; PSNR of the exact picture
            against the image, by how much it is higher with the map's, and between both.
        """
        missed = np.empty(len(ids), np.float32)
        differs = best = 0
        errors = np.zeros(3)
        for first, exact, weights, picture in self._parts:
            part = ids[first : first + _PART]
            found = (exact[:, :, None] == part[:, None, :]).any(axis=2)
            absent = ~found & (exact >= 0)
            differs += int(np.count_nonzero(absent.any(axis=1)))
            best += int(np.count_nonzero(absent[:, 0]))
            lost = np.minimum(np.sum(weights, axis=1, where=absent), 1)
            missed[first : first + _PART] = lost
            other = self._weights.blend(part, self._weights.of(part, first))
            goal = self._target[first : first + _PART]
            for j, difference in enumerate((picture - goal, other - goal, picture - other)):
                errors[j] += np.sum(difference.astype(np.float64) ** 2)
        psnr = -10 * np.log10(np.maximum(errors / self._target.size, 1e-12))
        return {
            "differs": differs / len(ids),
            "best_missed": best / len(ids),
            "missed": float(missed.mean()),
            "missed_999": float(np.quantile(missed, 0.999)),
            "missed_most": float(missed.max()),
            "exact_psnr_db": float(psnr[0]),
            "psnr_change_db": float(psnr[1] - psnr[0]),
            "psnr_between_db": float(psnr[2]),
        }


class Probe:
    """Compares maps with the exact lists of one set of sites."""

    def __init__(self, target: Floats, params: Floats, k: int, threads: int) -> None:
        self.params = params
        height, width, channels = target.shape
        ids = _core.exact_lists(params, width, height, k, threads)
        self._exact = Exact(params, target, ids)
        self._fit = _core.Fit(target, params, k, threads)
        self._fit.refresh(DEFAULT_CUT)
        # In units of the steps that Adam takes: columns have other units.
        rates = learning_rates(width, height, len(params), channels, radius=True)
        self._units = rates.astype(np.float64)
        self._gradient = self._take()

    def _take(self) -> NDArray[np.float64]:
        self._fit.gradient()
        return self._fit.gradients * self._units

    def row(self, lists: CpuTopKMap) -> Row:
        """Return what `Exact.compare` does, and angles between gradients in degrees."""
        lists.lists.set_sites(self.params)  # no pass: some may have gone since the last one
        self._fit.follow(lists.lists, DEFAULT_CUT)
        gradient = self._take()
        angles = {"all": angle(self._gradient, gradient)}
        for name, columns in COLUMNS.items():
            angles[name] = angle(self._gradient[:, columns], gradient[:, columns])
        return self._exact.compare(lists.ids) | {"angle": angles}


def angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the angle between two arrays as vectors, degrees; 0 where one is 0."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 0.0 if size == 0 else float(np.degrees(np.arccos(min(1.0, float(np.sum(a * b)) / size))))


# ---- Along a fit --------------------------------------------------------------------------------


class _Followed:
    """A fit's session, by exact lists, with maps that are renewed beside it."""

    def __init__(self, session: Any, case: Case, target: Floats, maps: dict[Any, CpuTopKMap]):
        self._session, self._case, self._target, self._maps = session, case, target, maps
        self._iteration, self._stale = 0, 0
        self.rows: list[Row] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _renew(self) -> None:
        params = self._session.params
        for lists in self._maps.values():
            if lists.lists.count == 0:
                lists.start(params)
            else:
                lists.propagate(params)
        self._stale = Propagation.interval

    def _probe(self, moment: str, iteration: int) -> None:
        paper = Propagation()
        probe = Probe(self._target, self._session.params, DEFAULT_K, self._case.threads)
        for (injected, passes), lists in self._maps.items():
            if moment == "before" and (injected not in (0, paper.injected) or passes > 1):
                continue
            at = {"iteration": iteration, "moment": moment, "sites": len(probe.params)}
            setting = {"injected": injected, "passes": passes}
            self.rows.append({**at, **setting, **probe.row(lists)})

    def gradient(self, *arguments: Any) -> Any:
        probed = self._iteration in self._case.probes
        if self._stale == 0 or probed:
            if probed and self._iteration:
                self._probe("before", self._iteration)
            self._renew()
        if probed:
            self._probe("after", self._iteration)
        self._stale -= 1
        self._iteration += 1
        return self._session.gradient(*arguments)

    def keep(self, index: Ids) -> None:
        count = self._session.site_count
        self._session.keep(index)
        for lists in self._maps.values():
            lists.keep(np.asarray(index, np.int32), count)
        self._stale = 0


def fidelity(case: Case) -> Iterator[Row]:
    """Compare maps of several settings with exact lists along one fit that uses exact lists."""
    image = case.image()
    target = shares(image)
    height, width, _ = target.shape
    paper = Propagation()
    settings = [(n, paper.passes) for n in case.injected]
    settings += [(paper.injected, n) for n in case.passes]
    maps = {}
    for injected, passes in dict.fromkeys(settings):
        options = Propagation(injected=injected, passes=passes, seed=case.seed)
        maps[injected, passes] = CpuTopKMap(width, height, DEFAULT_K, case.threads, options)
    followed: list[_Followed] = []

    class Backend(CpuBackend):
        def fit_session(self, *arguments: Any, **options: Any) -> Any:
            session = super().fit_session(*arguments, **options)
            followed.append(_Followed(session, case, target, maps))
            return followed[-1]

    fit(Backend(case.threads), target, case.count(image), case.options())
    yield from followed[0].rows


def coverage(case: Case) -> Iterator[Row]:
    """Compare a map of fitted sites with exact lists after more and more passes from its start."""
    image = case.image()
    target = shares(image)
    height, width, _ = target.shape
    params = fit(CpuBackend(case.threads), target, case.count(image), case.options()).params
    probe = Probe(target, params, DEFAULT_K, case.threads)
    for injected in (0, Propagation.injected):
        options = Propagation(injected=injected, seed=case.seed)
        lists = CpuTopKMap(width, height, DEFAULT_K, case.threads, options)
        done = 0
        for passes in (lists.first_passes, 16, 24, 32):
            if done == 0:
                lists.start(params, passes)
            else:
                lists.propagate(params, passes - done)
            done = passes
            yield {"injected": injected, "passes": passes, **probe.row(lists)}


def fits(case: Case) -> Iterator[Row]:
    """Fit with exact lists and with maps, for an equal number of iterations."""
    image = case.image()
    target = shares(image)
    paper = Propagation()
    tried: list[tuple[int, Propagation | None]] = []
    for k in case.ks:
        tried += [(k, None), (k, paper)]
    changes: list[dict[str, int]] = [{"injected": 0}]
    changes += [{"passes": n} for n in case.passes] + [{"interval": n} for n in case.intervals]
    tried += [(DEFAULT_K, None), *((DEFAULT_K, replace(paper, **change)) for change in changes)]
    backend = CpuBackend(case.threads)
    height, width, _ = image.shape
    for k, propagation in dict.fromkeys(tried):
        start = process_time()
        result = fit(backend, target, case.count(image), case.options(propagation), k=k)
        seconds = process_time() - start
        drawn = backend.render(Sites(result.params), width, height, k)
        white = float(np.iinfo(image.dtype).max)
        picture = np.rint(np.clip(drawn, 0, 1) * white).astype(image.dtype)
        setting = {"injected": None, "passes": None, "interval": None}
        if propagation is not None:
            setting = {name: getattr(propagation, name) for name in setting}
        psnr = metrics.psnr(image, picture)
        yield {"k": k, **setting, "psnr_db": float(psnr), "seconds": seconds}


def warm_up(paths: Sequence[str]) -> None:
    """Read every image once: what cannot be read is an error before anything is measured."""
    for path in paths:
        read(path)
