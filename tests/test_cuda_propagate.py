"""The top-K map by propagation, against the top K of all sites in float64."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cuda_host.stand_in import make_cupy
from diagrams import random_sites
from topk_maps import check_lists, exact_map, prepared

from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_propagate import TopKMap
from sadcodec.backends.launch import Launcher
from sadcodec.sites import Sites, X, Y

WIDTH, HEIGHT = 70, 50


class Case:
    """A diagram on the device, and a map of it."""

    def __init__(
        self,
        sites: Sites,
        k: int = 8,
        width: int = WIDTH,
        height: int = HEIGHT,
        order: int = 0,
        injected: int = 4,
    ) -> None:
        self.cp = make_cupy(order=order)
        self.count = len(sites)
        self.sites = self.cp.asarray(prepared(sites))
        self.launcher = Launcher(Runtime(self.cp, 0), {"SAD_K": k})
        self.map = TopKMap(self.launcher, width, height, k, injected=injected)

    def start(self, passes: int | None = None, seed: int = 1) -> np.ndarray:
        self.map.start(self.sites, self.count, passes=passes, seed=seed)
        return self.map.ids.get()

    def propagate(self, passes: int, seed: int = 1) -> np.ndarray:
        self.map.propagate(self.sites, self.count, passes, seed)
        return self.map.ids.get()


@cache
def random_case(count: int = 300, k: int = 8) -> tuple[Sites, np.ndarray]:
    sites = random_sites(3, count, WIDTH, HEIGHT)
    return sites, exact_map(sites, k, WIDTH, HEIGHT)


def test_the_map_becomes_the_exact_one():
    sites, exact = random_case()
    case = Case(sites)
    wrong = [np.mean(case.start(passes=passes) != exact) for passes in (0, 7, 12)]
    check_lists(sites, case.map.ids.get(), WIDTH)
    assert wrong[0] > wrong[1] > wrong[2]
    assert wrong[1] < 0.05
    assert wrong[2] < 0.005
    ids = case.propagate(8)
    assert np.mean(ids == exact) > 0.995
    assert np.mean(ids[:, 0] == exact[:, 0]) > 0.999


def test_chance_finds_what_propagation_alone_does_not():
    sites = random_sites(3, 300, WIDTH, HEIGHT, radius=(0.0, 12.0))
    exact = exact_map(sites, 8, WIDTH, HEIGHT)
    with_chance, without = (Case(sites, injected=n).start(passes=16) != exact for n in (4, 0))
    assert with_chance.mean() < 0.6 * without.mean()


@pytest.mark.parametrize(
    ("count", "k", "width", "height"),
    [
        (300, 1, 70, 50),
        (300, 5, 70, 50),
        (300, 16, 70, 50),
        (3, 8, 40, 30),
        (8, 8, 40, 30),
        (1, 4, 9, 7),
        (14, 8, 1, 1),
        (40, 8, 1, 77),
        (40, 8, 77, 1),
    ],
)
def test_any_k_size_and_number_of_sites(count: int, k: int, width: int, height: int):
    sites = random_sites(4, count, width, height)
    case = Case(sites, k, width, height)
    check_lists(sites, case.start(), width)
    ids = case.propagate(12)
    check_lists(sites, ids, width)
    exact = exact_map(sites, k, width, height)
    assert np.mean(ids == exact) > 0.99
    # The longer the lists, the more a pixel passes on that is of no use to itself.
    assert np.mean(ids[:, 0] == exact[:, 0]) > (0.99 if k == 1 else 0.999)


def test_ties_go_to_the_lower_id():
    params = np.repeat(random_sites(5, 12, 40, 30).params, 4, axis=0)  # groups of four
    sites = Sites(params)
    case = Case(sites, 8, 40, 30)
    case.start()
    ids = case.propagate(12)
    check_lists(sites, ids, 40)
    np.testing.assert_array_equal(ids, exact_map(sites, 8, 40, 30))


def test_sites_outside_the_image_are_found():
    sites = random_sites(6, 200, 40, 30, margin=60.0)
    exact = exact_map(sites, 8, 40, 30)
    assert np.mean(Case(sites, 8, 40, 30).start() == exact) > 0.99


def test_sites_that_moved_are_followed():
    sites, _ = random_case()
    case = Case(sites)
    case.start()
    params = sites.params.copy()
    params[:, [X, Y]] += np.random.default_rng(0).normal(0, 2, (300, 2)).astype(np.float32)
    moved = Sites(params)
    exact = exact_map(moved, 8, WIDTH, HEIGHT)
    case.sites = case.cp.asarray(prepared(moved))
    before = np.mean(case.map.ids.get() != exact)
    after = np.mean(case.propagate(6) != exact)
    assert before > 0.3
    assert after < 0.02
    check_lists(moved, case.map.ids.get(), WIDTH)


def test_lists_follow_sites_that_are_dropped():
    sites, _ = random_case()
    case = Case(sites)
    ids = case.start()
    kept = np.sort(np.random.default_rng(1).permutation(300)[:200])
    index = np.full(300, -1, np.int32)
    index[kept] = np.arange(200)
    case.map.remap(case.cp.asarray(index))
    renumbered = np.where(ids >= 0, index[ids], -1)
    expected = np.full_like(ids, -1)
    for row, old in zip(expected, renumbered, strict=True):
        left = old[old >= 0]
        row[: len(left)] = left
    np.testing.assert_array_equal(case.map.ids.get(), expected)
    fewer = Sites(sites.params[kept])
    case.sites, case.count = case.cp.asarray(prepared(fewer)), 200
    ids = case.propagate(6)
    check_lists(fewer, ids, WIDTH)
    assert np.mean(ids == exact_map(fewer, 8, WIDTH, HEIGHT)) > 0.97


def test_sites_that_are_added_are_found():
    sites, exact = random_case()
    few = Sites(sites.params[:250])
    case = Case(few)
    case.start()
    case.sites, case.count = case.cp.asarray(prepared(sites)), 300
    assert np.mean(case.propagate(20) == exact) > 0.97


def test_what_is_drawn_depends_on_the_seed_and_the_pass():
    sites, _ = random_case()
    case = Case(sites)
    first = case.start(passes=2)
    np.testing.assert_array_equal(case.start(passes=2), first)
    assert not np.array_equal(case.start(passes=2, seed=2), first)


@pytest.mark.parametrize(
    ("k", "width", "height"), [(8, 70, 50), (16, 19, 33), (1, 9, 8), (5, 7, 3)]
)
def test_tile_lists_are_the_union_of_their_pixels_lists(k: int, width: int, height: int):
    sites = random_sites(7, 120, width, height)
    case = Case(sites, k, width, height)
    ids = case.start(passes=3).reshape(height, width, k)
    unions = [
        np.unique(ids[y : y + 8, x : x + 8])
        for y in range(0, height, 8)
        for x in range(0, width, 8)
    ]
    check_tiles(case, [union[union >= 0] for union in unions])


def test_tile_lists_of_lists_that_have_nothing_in_common():
    """The most sites a tile can name, in any order."""
    rng = np.random.default_rng(8)
    case = Case(random_sites(7, 1024, 16, 8), 16, 16, 8)
    case.start(passes=0)
    ids = np.stack([rng.permutation(1024).reshape(8, 8, 16) for _ in range(2)], axis=1)
    ids[:, 1, ::3] = -1
    case.map.ids[...] = case.cp.asarray(ids.reshape(128, 16).astype(np.int32))
    unions = [np.unique(ids[:, tile]) for tile in range(2)]
    check_tiles(case, [union[union >= 0] for union in unions])


def tile_counts(case):
    counts = case.launcher.cp.empty(case.map.tiles, np.int32)
    case.map.count_tiles(counts)
    return counts


def check_tiles(case: Case, unions: list[np.ndarray]) -> None:
    counts = tile_counts(case).get()
    np.testing.assert_array_equal(counts, [len(union) for union in unions])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    entries = case.cp.asarray(np.full(offsets[-1] + 5, -7, np.int32))
    case.map.fill_tiles(case.cp.asarray(offsets), entries)
    np.testing.assert_array_equal(entries.get(), np.concatenate([*unions, np.full(5, -7)]))
    # Memory for half of it: what does not fit is left out, and nothing else is written.
    room = int(offsets[-1]) // 2
    entries = case.cp.asarray(np.full(offsets[-1], -7, np.int32))
    case.map.fill_tiles(case.cp.asarray(np.minimum(offsets, room)), entries)
    expected = np.concatenate(unions)
    expected[room:] = -7
    np.testing.assert_array_equal(entries.get(), expected)


def test_the_order_of_threads_does_not_matter():
    sites, _ = random_case()
    results = []
    for order in (0, 1, 2):
        case = Case(sites, order=order)
        ids = case.start(passes=4)
        counts = tile_counts(case)
        offsets = np.concatenate([[0], np.cumsum(counts.get())]).astype(np.int32)
        entries = case.cp.zeros(int(offsets[-1]), np.int32)
        case.map.fill_tiles(case.cp.asarray(offsets), entries)
        results.append((ids, counts.get(), entries.get()))
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
