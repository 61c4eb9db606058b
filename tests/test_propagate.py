"""The CPU's top-K map: against plain NumPy, the CUDA kernels and exact lists; and its options."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import OTHERS, backend_named
from cuda_host.stand_in import make_cupy
from diagrams import random_sites, smooth_target
from topk_maps import check_lists, exact_map, prepared

from sadcodec import _core, codec
from sadcodec.backends.base import Start
from sadcodec.backends.cpu_propagate import CpuTopKMap
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_fit_kernels import PREPARE_SITES
from sadcodec.backends.cuda_propagate import TopKMap
from sadcodec.backends.launch import Launcher
from sadcodec.backends.propagation import Propagation, propagation_of
from sadcodec.backends.reference import blends, gradients
from sadcodec.errors import OptionError
from sadcodec.fit.loop import fine_tune, fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.sites import Sites

WIDTH, HEIGHT = 70, 50
MASK = (1 << 64) - 1


# ---- A map in plain NumPy ----------------------------------------------------------------------


def curve_place(x: float, y: float, width: int, height: int) -> int:
    """Place of a point on the Hilbert curve over 2^15 x 2^15 cells (the usual xy2d)."""
    scale = np.float32(1 << 15) / np.float32(max(width, height))
    cells = [int(min(max(np.float32(v) * scale, 0), 2**15 - 1)) for v in (x, y)]
    side, place = 1 << 14, 0
    u, v = cells
    while side:
        ru, rv = int(u & side > 0), int(v & side > 0)
        place += side * side * ((3 * ru) ^ rv)
        if rv == 0:
            if ru == 1:
                u, v = (1 << 15) - 1 - u, (1 << 15) - 1 - v
            u, v = v, u
        side //= 2
    return place


def random_bits(seed: int, counter: int) -> int:
    z = (seed * 0x9E3779B97F4A7C15 + counter * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def random_below(bits: int, below: int) -> int:
    return ((bits >> 32) * below) >> 32


class PlainMap:
    """Pixel after pixel, list after list."""

    def __init__(self, sites: Sites, k: int, width: int, height: int) -> None:
        self.k, self.width, self.height = k, width, height
        self.rows = prepared(sites)
        places = [curve_place(x, y, width, height) for x, y in self.rows[:, :2]]
        self.order = sorted(range(len(places)), key=lambda i: (places[i], i))
        self.places = sorted(places)
        self.lists: list[list[int]] = []
        for pixel in range(width * height):
            x, y = pixel % width + 0.5, pixel // width + 0.5
            before = int(np.searchsorted(self.places, curve_place(x, y, width, height)))
            begin = max(min(before - k, len(places) - 2 * k), 0)
            self.lists.append(self.best(self.order[begin : begin + 2 * k], pixel))

    def best(self, ids, pixel: int) -> list[int]:
        ids = np.unique(np.asarray(ids, np.int64))
        s = self.rows[ids]
        dx = np.float32(pixel % self.width + 0.5) - s[:, 0]
        dy = np.float32(pixel // self.width + 0.5) - s[:, 1]
        u, v = s[:, 2] * dx + s[:, 3] * dy, s[:, 4] * dy
        logit = s[:, 5] * (s[:, 6] - np.sqrt(u * u + v * v))
        return [int(i) for i in ids[np.lexsort((ids, -logit))][: self.k]]

    def run_pass(self, distance: int, injected: int, seed: int, number: int) -> None:
        count, key = len(self.rows), random_bits(seed, number)
        lists = []
        for pixel in range(self.width * self.height):
            column, row = pixel % self.width, pixel // self.width
            known = set(self.lists[pixel])
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                c, r = column + dx * distance, row + dy * distance
                if 0 <= c < self.width and 0 <= r < self.height:
                    known.update(self.lists[r * self.width + c])
            counter = pixel * (injected + 1)
            step = random_below(random_bits(key, counter), 16) - 8
            rank = self.order.index(self.best(list(known), pixel)[0]) + step + (step >= 0)
            if 0 <= rank < count:
                known.add(self.order[rank])
            for j in range(1, injected + 1):
                known.add(random_below(random_bits(key, counter + j), count))
            lists.append(self.best(list(known), pixel))
        self.lists = lists

    @property
    def ids(self) -> np.ndarray:
        out = np.full((len(self.lists), self.k), -1, np.int32)
        for row, ids in zip(out, self.lists, strict=True):
            row[: len(ids)] = ids
        return out


@pytest.mark.parametrize("injected", range(9))
def test_a_map_is_that_of_plain_numpy(injected):
    width, height, k = 13, 9, 1 + injected
    sites = random_sites(20 + injected, 4 + 9 * injected, width, height, margin=4.0)
    plain = PlainMap(sites, k, width, height)
    options = Propagation(injected=injected, seed=injected * 0x123456789ABC)
    ours = CpuTopKMap(width, height, k, 1, options)
    ours.start(sites.params, passes=0)
    np.testing.assert_array_equal(ours.ids, plain.ids)
    for number, distance in enumerate((8, 4, 2, 1, 4)):
        ours.propagate(sites.params)
        plain.run_pass(distance, injected, options.seed, number)
        np.testing.assert_array_equal(ours.ids, plain.ids)


# ---- Against the CUDA kernels and the exact lists ----------------------------------------------


@pytest.mark.parametrize(
    ("k", "count", "injected"), [(8, 400, 4), (1, 90, 0), (16, 300, 8), (5, 3, 2)]
)
def test_the_cuda_kernels_make_the_same_map(k, count, injected):
    sites = random_sites(30 + k, count, WIDTH, HEIGHT, margin=5.0)
    cp = make_cupy()
    launcher = Launcher(Runtime(cp, 0), {"SAD_K": k, "SAD_CHANNELS": 3})
    rows = cp.empty((count, 16), np.float32)
    arguments = {"params": cp.asarray(sites.params), "sites": rows, "count": count}
    launcher.launch(PREPARE_SITES, -(-count // PREPARE_SITES.threads), arguments)
    theirs = TopKMap(launcher, WIDTH, HEIGHT, k, injected=injected)
    ours = CpuTopKMap(WIDTH, HEIGHT, k, 1, Propagation(injected=injected, seed=77))
    theirs.start(rows, count, seed=77)
    ours.start(sites.params)
    np.testing.assert_array_equal(ours.ids, theirs.ids.get())
    for _ in range(3):
        theirs.propagate(rows, count, 3, seed=77)
        ours.propagate(sites.params, 3)
        np.testing.assert_array_equal(ours.ids, theirs.ids.get())
    kept = np.sort(np.random.default_rng(0).permutation(count)[: 2 * count // 3]).astype(np.int32)
    number = np.full(count, -1, np.int32)
    number[kept] = np.arange(len(kept))
    theirs.remap(cp.asarray(number))
    ours.keep(kept, count)
    theirs.propagate(rows[cp.asarray(kept)], len(kept), 2, seed=77)
    ours.propagate(sites.params[kept], 2)
    np.testing.assert_array_equal(ours.ids, theirs.ids.get())


@pytest.mark.parametrize(("k", "count"), [(8, 300), (16, 300), (1, 40), (8, 3)])
def test_the_map_becomes_the_exact_one(k, count):
    sites = random_sites(3, count, WIDTH, HEIGHT)
    exact = exact_map(sites, k, WIDTH, HEIGHT)
    ours = CpuTopKMap(WIDTH, HEIGHT, k, 2)
    ours.start(sites.params)
    check_lists(sites, ours.ids, WIDTH)
    ours.propagate(sites.params, 24)
    check_lists(sites, ours.ids, WIDTH)
    assert np.mean(ours.ids == exact) > 0.995
    np.testing.assert_array_equal(
        _core.exact_lists(sites.params, WIDTH, HEIGHT, k, 2) == exact, np.ones_like(exact, bool)
    )


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_change_the_map_nor_the_fit(threads):
    sites = random_sites(4, 250, WIDTH, HEIGHT)
    target = smooth_target(4, WIDTH, HEIGHT, 3)
    maps, losses = [], []
    for count in (1, threads):
        ours = CpuTopKMap(WIDTH, HEIGHT, 8, count)
        ours.start(sites.params)
        maps.append(ours.ids)
        backend = backend_named("cpu").__class__(count)
        session = backend.fit_session(target, sites.params, propagation=Propagation())
        losses.append([float(session.gradient(phase)) for phase in (None, 2)])
        losses[-1].append(session.gradients)
    np.testing.assert_array_equal(*maps)
    assert losses[0][:2] == losses[1][:2]
    np.testing.assert_array_equal(losses[0][2], losses[1][2])


# ---- Fitting -----------------------------------------------------------------------------------


def own_gradient(params, target, ids):
    """Loss and colour gradients in float64 where a pixel is blended from its own list."""
    out, loss, pixels = np.zeros_like(params), 0.0, target.reshape(-1, 3)
    for pixel, row in enumerate(ids):
        of = np.sort(row[row >= 0])
        at = np.array([pixel])
        blend = next(iter(blends(params[of], target.shape[1], len(of), at)))
        error = blend.value[0] - pixels[pixel]
        loss += error @ error
        weights = blend.weights[0][:, None] * error[None, :]
        np.add.at(out[:, 6:], of[blend.ids[0]], 2 * weights / pixels.size)
    return loss / pixels.size, out


def test_a_pixel_is_blended_from_its_own_list():
    width, height = 37, 21
    sites = random_sites(6, 120, width, height)
    target = smooth_target(6, width, height, 3)
    options = Propagation(injected=0)
    backend = backend_named("cpu")
    session = backend.fit_session(target, sites.params, propagation=options)
    session._map.start(sites.params, passes=0)  # far from exact
    session._fit.follow(session._map.lists, 30.0)
    session._listed_cut = 30.0
    loss, expected = own_gradient(sites.params.astype(np.float64), target, session.topk_map)
    assert float(session.gradient()) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(session.gradients[:, 6:], expected[:, 6:], rtol=1e-3, atol=1e-7)
    exact = gradients(sites.params.astype(np.float64), target.astype(np.float64), 8)[0]
    assert abs(loss / exact - 1) > 0.01


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("k", [3, 8])
def test_once_the_map_is_exact_so_is_the_gradient(name, k):
    sites = random_sites(7, 90, 40, 32)
    target = smooth_target(7, 40, 32, 3)
    backend = backend_named(name)
    exact = backend.fit_session(target, sites.params, k)
    mapped = backend.fit_session(target, sites.params, k, None, Propagation(passes=20))
    for _ in range(3):
        mapped.refresh(7.0)
    for phase in (None, 1):
        assert float(mapped.gradient(phase)) == pytest.approx(float(exact.gradient(phase)), 1e-4)
        size = np.abs(exact.gradients).max(axis=0)
        assert (np.abs(mapped.gradients - exact.gradients) / size).max() < 0.01


@pytest.mark.parametrize("name", OTHERS)
def test_statistics_and_pruning_beside_a_map(name):
    target = smooth_target(8, 40, 32, 3)
    backend = backend_named(name)
    sites = random_sites(8, 120, 40, 32)
    exact = backend.fit_session(target, sites.params)
    session = backend.fit_session(target, sites.params, propagation=Propagation(passes=4))
    before = float(session.gradient())
    with session.computing():
        ours, theirs = (np.asarray(s.removal_deltas().tolist()) for s in (session, exact))
    np.testing.assert_array_equal(ours, theirs)  # by exact lists
    assert float(session.gradient()) == before
    for s in (session, exact):
        s.keep(np.arange(0, 120, 2))
    assert float(session.gradient()) == pytest.approx(float(exact.gradient()), rel=0.05)
    for s in (session, exact):
        s.append(sites.params[:60])
        s.refresh()
    assert float(session.gradient()) == pytest.approx(float(exact.gradient()), rel=0.05)


def test_a_fit_comes_the_closer_the_more_often_the_map_is_renewed(photo):
    target = photo.astype(np.float32) / 255
    backend = backend_named("cpu")
    often = Propagation(interval=1, passes=2)
    exact, close, mapped = (
        10 * np.log10(fit(backend, target, 150, FitOptions(80, propagation=propagation)).mse)
        for propagation in (None, often, Propagation())
    )
    assert close == pytest.approx(exact, abs=0.6)
    assert close < mapped < exact + 4.0  # few iterations with large steps: the map lags behind

    def noise(params):
        return np.full_like(params, 0.01)

    fitted = fit(backend, target, 150, FitOptions(80)).params
    exact, mapped = (
        fine_tune(backend, target, fitted, 16, noise=noise, propagation=propagation).mse
        for propagation in (None, Propagation())
    )
    assert exact != mapped
    assert mapped == pytest.approx(exact, rel=0.1)


def test_renewals_have_their_own_interval():
    assert FitOptions().refresh_interval == FitOptions.list_interval
    assert FitOptions(propagation=Propagation()).refresh_interval == 8
    assert FitOptions(propagation=Propagation(interval=3)).refresh_interval == 3


# ---- Options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"injected": 9}, {"injected": -1}, {"passes": 0}, {"interval": 0}, {"seed": -1}]
)
def test_options_out_of_range_are_named(wrong):
    with pytest.raises(OptionError, match=f"{next(iter(wrong))} must be"):
        Propagation(**wrong)


def test_names():
    assert propagation_of("exact") is None
    assert propagation_of("propagate", 5) == Propagation(seed=5)
    with pytest.raises(OptionError, match="exact, propagate, not 'guess'"):
        propagation_of("guess")


def test_what_a_backend_does_not_have_is_refused():
    target = smooth_target(9, 12, 8, 3)
    with pytest.raises(OptionError, match="reference: it has no top-K map"):
        backend_named("reference").fit_session(target, Start(5), propagation=Propagation())
    with pytest.raises(OptionError, match="beside the iterations"):
        backend_named("cpu").fit_session(target, Start(5), propagation=Propagation(overlap=True))


def test_a_map_follows_only_what_it_was_told():
    sites = random_sites(10, 30, 20, 16)
    ours = CpuTopKMap(20, 16, 8, 1)
    ours.start(sites.params)
    with pytest.raises(RuntimeError, match="remap"):
        ours.propagate(sites.params[:20])
    with pytest.raises(IndexError):
        ours.lists.remap(np.arange(10, dtype=np.int32), 10)
    other = _core.Fit(np.zeros((16, 20, 3), np.float32), sites.params[:20].copy(), 8, 1)
    with pytest.raises(ValueError, match="another image"):
        other.follow(ours.lists, 7.0)


def test_encoding_by_the_map_and_by_exact_lists(photo):
    image = photo[:48, :64]
    options = {"sites": 60, "effort": 1, "threads": 1, "backend": "cpu"}
    default, exact, mapped = (
        codec.encode_with_report(image, **options, **topk)
        for topk in ({}, {"topk": "exact"}, {"topk": "propagate"})
    )
    assert default[0] == exact[0] != mapped[0]
    assert mapped[1].psnr == pytest.approx(exact[1].psnr, abs=0.5)
    assert mapped[0] == codec.encode(image, **options, topk="propagate")
    assert codec.decode(mapped[0]).shape == image.shape
    with pytest.raises(OptionError, match="topk must be"):
        codec.encode(image, **options, topk="guess")
