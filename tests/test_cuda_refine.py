"""The integer descent of the CUDA backend, its kernels run on the CPU.

Its order is another than the CPU's and the reference's, so the results differ as those of two
orders do; given its order, the reference takes the same moves.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from backends_under_test import ON_CPU, backend_named
from cuda_host.stand_in import make_cupy
from descents import CASES, DEGENERATE, Case, add_costs, bits, make_case
from diagrams import random_sites, smooth_target

from sadcodec.backends import cuda_refine, cuda_schedule
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.backends.cuda_refine import PIXEL_BYTES, SITE_BYTES, CudaRefiner
from sadcodec.backends.quantization import MAX_REFINER_K
from sadcodec.backends.reference_backend import ReferenceBackend
from sadcodec.backends.reference_refine import ReferenceRefiner
from sadcodec.bitstream import Header
from sadcodec.errors import BackendError, OptionError
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.refine import choose_quantizer, start_refiner

REFERENCE = ReferenceBackend()


def backend_of(*, device: int = 0, **options) -> CudaBackend:
    return CudaBackend(Runtime(make_cupy(**options), device), threads=1)


def start(case: Case, **options) -> CudaRefiner:
    return case.start(backend_of(**options))


def pair(case: Case) -> tuple[CudaRefiner, ReferenceRefiner]:
    return case.start(backend_named(ON_CPU)), case.start(REFERENCE)


def build(pair: tuple[CudaRefiner, ReferenceRefiner]) -> tuple[float, float]:
    """Build both lists, and have the reference visit the sites in the other's order."""
    errors = pair[0].build_lists(), pair[1].build_lists()
    order = np.concatenate(pair[0].schedule)
    np.testing.assert_array_equal(np.sort(order), np.sort(pair[1].order))
    pair[1].order = order.tolist()
    return errors


# ---- The reference, in the same order -----------------------------------------------------------


# Small, as the kernels are emulated: every number of channels, K from 1 to 11, with and without a
# radius.
SMALL = [
    make_case(80, 20, 30, 26, radius=True),
    make_case(81, 25, 28, 30, channels=1, k=1),
    make_case(82, 20, 30, 24, channels=2, k=5, log_tau=(-4, 4)),
    make_case(83, 25, 24, 30, channels=4, k=MAX_REFINER_K, radius=True),
]


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("lambda_", [0.0, 0.05])
def test_one_sweep_is_the_reference_move_by_move(case: Case, lambda_: float):
    both = pair(case)
    build(both)
    if lambda_ > 0:
        for refiner in both:
            add_costs(refiner, case)
    taken = [refiner.sweep(lambda_, True) for refiner in both]
    assert taken[0] == pytest.approx(taken[1], abs=2)
    assert np.mean(both[0].symbols != both[1].symbols) < 0.01
    errors = build(both)
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)


@pytest.mark.parametrize("case", [SMALL[0], SMALL[3]])
def test_a_weighted_sweep_is_the_reference_move_by_move(case: Case, rng):
    height, width, _ = case.target.shape
    weights = 10 ** rng.uniform(-1, 1, (height, width))
    weights[:, :10] = 0.0
    weights = (weights / weights.mean()).astype(np.float32)
    both = tuple(
        b.refiner(case.target, case.k, weights) for b in (backend_named(ON_CPU), REFERENCE)
    )
    for refiner in both:
        refiner.set_sites(**case.arguments)
    errors = build(both)
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)
    for geometry in (False, True):
        taken = [refiner.sweep(0.0, geometry) for refiner in both]
        assert taken[0] == pytest.approx(taken[1], abs=2)
    assert np.mean(both[0].symbols != both[1].symbols) < 0.01


@pytest.mark.parametrize("case", [SMALL[2], SMALL[3]])
def test_a_descent_is_the_reference(case: Case):
    both = pair(case)
    build(both)
    taken = [[], []]
    for refiner, found in zip(both, taken, strict=True):
        refiner.solve_colors(100)
        costs = add_costs(refiner, case)
        for geometry in (True, False, True):
            found.append(refiner.sweep(0.02, geometry))
    assert taken[0] == pytest.approx(taken[1], rel=0.03, abs=3)
    costed = [
        error + 0.02 * bits(refiner.symbols, costs)
        for error, refiner in zip(build(both), both, strict=True)
    ]
    assert costed[0] == pytest.approx(costed[1], rel=5e-3)
    np.testing.assert_allclose(
        *(refiner.removal_deltas() for refiner in both), rtol=0.1, atol=0.02 * costed[0]
    )


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_descents_are_the_reference(case: Case):
    both = pair(case)
    errors = [build(both)]
    for geometry in (False, True, True):
        for refiner in both:
            refiner.sweep(0.0, geometry)
        errors.append(build(both))
    for before, after in pairwise(errors):
        assert after[0] <= before[0] * (1 + 1e-6)
    assert errors[-1][0] == pytest.approx(case.error(both[0].params), rel=1e-4, abs=1e-9)
    assert errors[-1][0] == pytest.approx(errors[-1][1], rel=5e-3, abs=1e-7)
    assert np.isfinite(both[0].removal_deltas()).all()
    both[0].solve_colors(30)
    assert np.isfinite(both[0].params).all()


def test_a_descent_reaches_what_the_cpu_reaches(photo):
    target = (photo[:48, :72] / np.float32(255)).astype(np.float32)
    params = fit(backend_named("cpu"), target, 120, FitOptions(iterations=60)).params
    case = make_case(70, 120, 72, 48, params=params, radius=True)
    case = Case(target, case.arguments, case.k)
    errors = []
    for name in ("cpu", ON_CPU):
        refiner = case.start(backend_named(name))
        first = refiner.build_lists()
        for _ in range(3):
            assert refiner.sweep(0.0, True) > 0
            refiner.build_lists()
        errors.append(refiner.build_lists())
        assert errors[-1] == pytest.approx(case.error(refiner.params), rel=1e-5)
    assert errors[0] < 0.8 * first
    assert errors[1] == pytest.approx(errors[0], rel=0.03)


# ---- The order ----------------------------------------------------------------------------------

LONG = make_case(71, 80, 32, 24, log_tau=(-1, 0), anisotropy=(3, 3.5))


@pytest.mark.parametrize("case", [CASES[5], LONG])
def test_sites_of_a_class_share_no_pixel(case: Case):
    refiner = start(case)
    classes = refiner.schedule
    ids = refiner._pixels["list_ids"].get()
    class_of = np.full(len(case.symbols) + 1, -1)  # the last: no site
    for number, sites in enumerate(classes):
        assert len(sites) > 0
        assert (class_of[sites] == -1).all()
        assert (np.diff(sites) > 0).all()
        class_of[sites] = number
    assert (class_of[np.unique(ids[ids < len(case.symbols)])] >= 0).all()
    for row in ids:
        listed = class_of[row[row < len(case.symbols)]]
        assert len(set(listed)) == len(listed)
    # Greedy: every site of a class has a neighbour in each class before it.
    for number, sites in enumerate(classes):
        for site in sites:
            near = class_of[np.unique(ids[(ids == site).any(axis=1)])]
            assert set(range(number)) <= set(near)


def test_there_may_be_more_classes_than_were_foreseen(monkeypatch):
    expected = start(LONG).schedule
    assert len(expected) > 32
    monkeypatch.setattr(cuda_schedule, "_WORDS", 1)
    monkeypatch.setattr(cuda_schedule, "_ROUNDS", 3)
    found = start(LONG).schedule
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_order_of_threads_does_not_change_a_descent():
    case = make_case(72, 40, 40, 30, radius=True, log_tau=(-3, 1))
    found = []
    for order in (0, 1, 7):
        refiner = start(case, order=order)
        add_costs(refiner, case)
        refiner.solve_colors(5)
        error = refiner.build_lists()
        refiner.sweep(0.01, True)
        refiner.sweep(0.0, False)
        found.append([refiner.symbols, refiner.removal_deltas(), error, refiner.build_lists()])
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


# ---- The device ---------------------------------------------------------------------------------


def test_sweeps_wait_once():
    case = CASES[1]
    backend = backend_of()
    cp = backend.runtime.cp
    refiner = case.start(backend)
    assert cp.synchronizations == 0
    refiner.build_lists()
    waited = cp.synchronizations
    add_costs(refiner, case)
    refiner.solve_colors(10)
    refiner.set_color_steps(case.arguments["color_steps"])
    assert cp.synchronizations == waited
    for geometry in (True, False):
        refiner.sweep(0.01, geometry)
    assert cp.synchronizations == waited + 2


def test_a_descent_runs_on_another_device():
    case = make_case(73, 20, 24, 20)
    found = []
    for device in (0, 1):
        backend = backend_of(devices=2, device=device)
        refiner = case.start(backend)
        add_costs(refiner, case)
        refiner.solve_colors(5)
        refiner.set_color_steps(case.arguments["color_steps"])
        found.append((refiner.sweep(0.01, True), refiner.symbols, refiner.removal_deltas()))
        assert backend.runtime.cp.machine.device == 0
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_memory_is_as_stated():
    case = make_case(74, 100, 64, 48)
    backend = backend_of()
    machine = backend.runtime.cp.machine
    refiner = case.start(backend)
    refiner.sweep(0.0, True)
    refiner.solve_colors(3)
    refiner.removal_deltas()
    tables = 64 * len(refiner._geometry["prepared"])
    # The stand-in does not count what CuPy's sort takes besides: two copies of keys and places.
    stated = 64 * 48 * (PIXEL_BYTES - 144) + 100 * SITE_BYTES + 2 * tables
    assert 0.6 * stated < machine.peak < stated


def test_what_does_not_fit_the_memory_is_refused():
    target = smooth_target(75, 64, 64, 3)
    with pytest.raises(BackendError, match="refining 64 x 64 pixels takes about"):
        backend_of(capacity=64 * 64 * PIXEL_BYTES - 1).refiner(target)
    case = make_case(75, 40, 64, 64)
    refiner = backend_of(capacity=4 << 20).refiner(target)
    with pytest.raises(BackendError, match="device memory"):
        refiner.set_sites(**{**case.arguments, "log_tau": 1e-5})
    with pytest.raises(OptionError, match="set_sites"):
        refiner.build_lists()


def test_images_that_a_list_cannot_number_are_refused(monkeypatch):
    case = SMALL[1]
    monkeypatch.setattr(cuda_refine, "MOST_ENTRIES", case.target.size * 12)
    assert start(case).build_lists() > 0
    monkeypatch.setattr(cuda_refine, "MOST_ENTRIES", case.target.size * 12 - 1)
    with pytest.raises(OptionError, match="28 x 30 pixels are too many to refine"):
        start(case)


@pytest.mark.parametrize("position", [1e-8, 5.0])
def test_any_step_can_be_swept(position: float):
    """Steps whose symbols hardly move a site, and some that leave it few places."""
    params = random_sites(76, 8, 12, 12).params
    case = make_case(76, 8, 12, 12, params=params)
    table = case.symbols.copy()
    table[:, :2] = np.floor(params[:, :2] / position)
    refiner = backend_of().refiner(case.target, case.k)
    refiner.set_sites(**{**case.arguments, "symbols": table, "position": position, "radius": 9e3})
    before = refiner.build_lists()
    assert refiner.sweep(0.0, True) > 0
    assert refiner.build_lists() < before
    assert (refiner.symbols[:, :2] < np.ceil(12 / position)).all()


# ---- What it is used for ------------------------------------------------------------------------


def test_a_file_is_refined_as_on_the_cpu(photo):
    target = (photo[:32, :48] / np.float32(255)).astype(np.float32)
    fitted = fit(backend_named("cpu"), target, 60, FitOptions(iterations=60))
    quantizer = choose_quantizer(fitted.mse, 48, 32, 60, 3)
    header = Header(48, 32, 3, 8, 8, 60, quantizer)
    results = []
    for name in ("cpu", ON_CPU):
        refinement = start_refiner(backend_named(name), target, fitted.params, header)
        refinement.descend(2)
        refinement.remove(10)
        refinement.descend(1)
        assert len(refinement.symbols) == 50
        results.append((refinement.size(), refinement.error))
    assert results[1][0] == pytest.approx(results[0][0], rel=0.03)
    assert results[1][1] == pytest.approx(results[0][1], rel=0.05)
