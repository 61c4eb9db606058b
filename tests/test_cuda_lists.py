"""Tile lists on the device: complete, ascending, and sized without waiting."""

from __future__ import annotations

import gc
from itertools import pairwise

import numpy as np
import pytest
from cuda_host.stand_in import make_cupy
from diagrams import random_sites

from sadcodec.backends import cuda_lists, cuda_ragged
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_fit_kernels import PREPARE_SITES
from sadcodec.backends.cuda_lists import (
    EVERYTHING,
    FILTER_COUNT,
    FILTER_COUNT_WIDE,
    SiteEntries,
    TileLists,
    grid_arguments,
    grid_sides,
)
from sadcodec.backends.cuda_picture_lists import FILTER_LISTS, FILTER_LISTS_WIDE, TOTALS
from sadcodec.backends.launch import Launcher
from sadcodec.backends.place import PLAIN
from sadcodec.backends.reference import logits, top_k
from sadcodec.errors import BackendError


def launcher_of(order: int = 0, k: int = 8) -> Launcher:
    return Launcher(Runtime(make_cupy(order=order), 0), {"SAD_K": k, "SAD_CHANNELS": 3})


def prepared(launcher: Launcher, params: np.ndarray):
    cp = launcher.cp
    sites = cp.empty((len(params), 16), np.float32)
    arguments = {"params": cp.asarray(params), "sites": sites, "count": len(params)}
    launcher.launch(PREPARE_SITES, -(-len(params) // 128), arguments)
    return sites


def lists_of(tiles: TileLists) -> list[np.ndarray]:
    offsets, ids = tiles.offsets.get(), tiles.ids.get()
    return [ids[a:b] for a, b in pairwise(offsets)]


@pytest.mark.parametrize(
    ("k", "levels"),
    [
        (1, (64, 8)),
        (1, (32, 16, 8)),
        (8, (64, 8)),
        (8, (32, 16, 8)),
        (8, (64, 16, 8)),
        (16, (64, 8)),
        (16, (32, 16, 8)),
    ],
)
def test_a_tile_lists_what_its_pixels_need(monkeypatch, k, levels):
    if levels[1] == 16:
        monkeypatch.setattr(cuda_lists, "_FIRST", levels[0])
    else:
        monkeypatch.setattr(cuda_lists, "_CROWDED", np.inf)
    width, height = 83, 75
    launcher = launcher_of(k=k)
    params = random_sites(7, 400, width, height).params
    tiles = TileLists(launcher, (0, 0, width, height))
    tiles.build(prepared(launcher, params), k, 40.0)
    assert [level.side for level in tiles._levels] == list(levels)
    lists = lists_of(tiles)
    assert len(lists) == tiles.tiles == 11 * 10
    points = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)
    values = logits(params.astype(np.float64), points.reshape(-1, 2))
    best = top_k(values, k)
    needed = np.take_along_axis(values, best, 1) > values.max(axis=1, keepdims=True) - 40.0
    for tile, ids in enumerate(lists):
        assert (np.diff(ids) > 0).all()
        assert ids.max() < len(params)
        y, x = tile // 11 * 8, tile % 11 * 8
        pixels = np.arange(y, min(y + 8, height))[:, None] * width + np.arange(x, min(x + 8, width))
        wanted = np.unique(best[pixels.ravel()][needed[pixels.ravel()]])
        assert set(wanted) <= set(ids)
    assert np.mean([len(ids) for ids in lists]) < 100  # of 400


def test_large_grids_come_first_where_there_is_much_to_filter():
    kodak, full_hd, ultra_hd, giant = (768, 512), (1920, 1080), (3840, 2160), (16384, 16384)
    assert grid_sides(*kodak, 4_000) == (64, 8)
    assert grid_sides(*kodak, 50_000) == (64, 16, 8)
    assert grid_sides(*full_hd, 10_000) == (64, 8)
    assert grid_sides(*full_hd, 50_000) == (256, 64, 16, 8)
    assert grid_sides(*ultra_hd, 100_000) == (256, 64, 8)
    assert grid_sides(*giant, 5_000_000) == (1024, 256, 64, 16, 8)


def test_the_threshold_is_the_k_th_largest_least_logit():
    """Of sites that are far apart, each thread sees few: both blocks find it, and agree."""
    launcher = launcher_of(order=3, k=5)
    sites = prepared(launcher, random_sites(13, 700, 64, 64).params)
    found = []
    for kernel in (FILTER_COUNT, FILTER_COUNT_WIDE):
        thresholds, counts = launcher.cp.empty(4, np.float32), launcher.cp.empty(4, np.int32)
        grid = {"parents_x": 1, "parent_side": 64, "children_x": 2, "side": 32}
        region = {"x0": 0, "y0": 0, "width": 64, "height": 64}
        region |= {"place_x": 0, "place_y": 0, "step_x": 1, "step_y": 1, "margin": 0}
        arguments = {
            "sites": sites,
            "parent_offsets": launcher.cp.asarray(np.array([0, 700], np.int32)),
            "parent_ids": launcher.cp.arange(700, dtype=np.int32),
            "thresholds": thresholds,
            "counts": counts,
            "k": 5,
            "cut": 40.0,
        }
        launcher.launch(kernel, 4, {**arguments, **grid, **region})
        found.append((thresholds.get(), counts.get()))
    (narrow, narrow_counts), (wide, wide_counts) = found
    assert (wide >= narrow).all()  # fewer sites a thread
    assert (wide_counts <= narrow_counts).all()
    x, y, m0, m1, m2, tau, radius = sites.get()[:, :7].T
    for child in range(4):
        dx, dy = 32 * (child % 2) + 16 - x, 32 * (child // 2) + 16 - y
        d = np.hypot(m0 * dx + m1 * dy, m2 * dy)
        reach = np.hypot(15.5 * (m0 + abs(m1)), 15.5 * m2)
        low = tau * (radius - d - reach)
        assert wide[child] == pytest.approx(np.sort(low)[-5], rel=1e-3, abs=1e-3)


def test_lists_that_die_wait_for_their_length():
    launcher = launcher_of()
    sites = prepared(launcher, random_sites(14, 100, 40, 40).params)
    tiles = TileLists(launcher, (0, 0, 40, 40))
    tiles.build(sites, 8, 7.0)
    waited = launcher.cp.synchronizations
    del tiles
    gc.collect()
    assert launcher.cp.synchronizations - waited == 3  # one a grid
    assert not launcher.cp.machine._coming


def test_a_region_has_the_lists_of_its_place():
    launcher = launcher_of()
    sites = prepared(launcher, random_sites(8, 300, 80, 64).params)
    whole, part = TileLists(launcher, (0, 0, 80, 64)), TileLists(launcher, (16, 24, 40, 40))
    for tiles in (whole, part):
        tiles.build(sites, 8, 12.0)
    all_lists = lists_of(whole)
    for tile, ids in enumerate(lists_of(part)):
        there = all_lists[(3 + tile // 5) * 10 + 2 + tile % 5]
        np.testing.assert_array_equal(ids, there)


@pytest.mark.parametrize("order", [1, 5])
def test_the_order_of_threads_does_not_matter(order):
    found = []
    for run in (0, order):
        launcher = launcher_of(run)
        sites = prepared(launcher, random_sites(9, 500, 90, 70).params)
        tiles = TileLists(launcher, (0, 0, 90, 70))
        tiles.build(sites, 8, 7.0)
        entries = SiteEntries(launcher, tiles.ids, 500)
        found.append((tiles.offsets.get(), tiles.ids.get(), entries.starts.get()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_entries_of_a_site_are_in_the_order_of_the_tiles():
    launcher = launcher_of()
    params = random_sites(10, 200, 64, 40).params
    params[:, 2] = 3.0  # small cells, of which some are in no list
    params[50:60, 3] = -60.0  # and some are hidden by all others
    tiles = TileLists(launcher, (0, 0, 64, 40))
    tiles.build(prepared(launcher, params), 1, 0.5)
    ids = tiles.ids.get()
    entries = SiteEntries(launcher, tiles.ids, 200)
    order, starts = entries.order.get(), entries.starts.get()
    assert starts[0] == 0
    assert starts[200] == tiles.offsets.get()[-1]
    for site in range(200):
        np.testing.assert_array_equal(
            order[starts[site] : starts[site + 1]], np.flatnonzero(ids == site)
        )
    assert (np.diff(starts) == 0).any()


def test_only_the_first_build_waits():
    launcher = launcher_of()
    sites = prepared(launcher, random_sites(11, 300, 64, 64).params)
    tiles = TileLists(launcher, (0, 0, 64, 64))
    tiles.build(sites, 8, 7.0)
    before, waited = lists_of(tiles), launcher.cp.synchronizations
    tiles.build(sites, 8, 7.0)
    grids = 3
    assert launcher.cp.synchronizations - waited == grids  # for lengths that came long ago
    for one, other in zip(before, lists_of(tiles), strict=True):
        np.testing.assert_array_equal(one, other)
    tiles.build(sites, 8, 30.0)  # longer lists are to be expected: it waits for their lengths
    assert len(tiles.ids) >= tiles.offsets.get()[-1]


def test_lists_that_cannot_be_numbered_are_refused(monkeypatch):
    launcher = launcher_of()
    sites = prepared(launcher, random_sites(13, 60, 64, 40).params)
    TileLists(launcher, (0, 0, 64, 40)).build(sites, 8, 7.0)
    monkeypatch.setattr(cuda_ragged, "MOST_ENTRIES", 100)
    with pytest.raises(BackendError, match=r"lists of sites with \d+ entries are too long"):
        TileLists(launcher, (0, 0, 64, 40)).build(sites, 8, 7.0)


def test_lists_that_outgrow_their_memory_are_cut_short_once():
    launcher = launcher_of()
    hard, soft = (random_sites(12, 600, 230, 120, log_tau=t).params for t in ((2, 3), (-5, -4)))
    tiles = TileLists(launcher, (0, 0, 230, 120))
    tiles.build(prepared(launcher, hard), 8, 7.0)
    capacity = len(tiles.ids)
    tiles.build(prepared(launcher, soft), 8, 7.0)
    assert len(tiles.ids) == capacity
    assert tiles.offsets.get()[-1] == capacity  # as much as there was room for
    tiles.build(prepared(launcher, soft), 8, 7.0)
    fresh = TileLists(launcher, (0, 0, 230, 120))
    fresh.build(prepared(launcher, soft), 8, 7.0)
    for one, other in zip(lists_of(tiles), lists_of(fresh), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("room", [1.0, 0.6])
@pytest.mark.parametrize("count", [900, 8500])
@pytest.mark.parametrize("kernel", [FILTER_LISTS, FILTER_LISTS_WIDE])
def test_lists_of_a_picture_may_be_longer_than_shared_memory(kernel, count, room):
    """Of like sites a square lists all; what has no place is counted, but not written."""
    launcher = launcher_of(order=4)
    cp, capacity = launcher.cp, int(room * count)
    params = np.repeat(random_sites(15, 1, 8, 8).params, count, axis=0)
    arguments = {
        **grid_arguments((0, 0, 8, 8), PLAIN, 8, EVERYTHING),
        "sites": prepared(launcher, params),
        "parent_offsets": cp.asarray(np.array([0, count], np.int32)),
        "parent_ids": cp.arange(count, dtype=np.int32),
        "parent_ends": 1,
        "totals": cp.zeros(TOTALS, np.uint64),
        "offsets": cp.empty(2, np.int32),
        "ids": cp.empty(capacity, np.int32),
        "grid": 2,
        "capacity": capacity,
        "k": 8,
        "cut": 16.0,
    }
    launcher.launch(kernel, 1, arguments)
    np.testing.assert_array_equal(arguments["ids"].get(), np.arange(capacity))
    assert arguments["offsets"].get().tolist() == [0, capacity]
    assert arguments["totals"].get().tolist() == [0, 0, count, 0, 0, 0, 0, 0]
    launcher.launch(kernel, 1, arguments)  # nothing is left for another list
    assert arguments["offsets"].get().tolist() == [capacity, capacity]
    assert arguments["totals"].get()[2] == 2 * count
