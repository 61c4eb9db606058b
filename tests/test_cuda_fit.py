"""Whole fits and pictures by the CUDA backend, its kernels run on the CPU."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from backends_under_test import ON_CPU, backend_named
from cuda_host.stand_in import make_cupy
from cuda_host.streams import StreamError
from diagrams import random_sites, smooth_target

from sadcodec.backends import cuda_picture_lists, cuda_render
from sadcodec.backends.base import LOSSES, Start
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.backends.cuda_fit_kernels import PREPARE_FAST, PREPARE_SITES
from sadcodec.backends.cuda_map_lists import MapLists
from sadcodec.backends.cuda_picture_lists import PictureLists
from sadcodec.backends.launch import Launcher
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.reference_backend import ReferenceBackend
from sadcodec.errors import BackendError, OptionError
from sadcodec.fit.density import split
from sadcodec.fit.loop import fine_tune, fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.sites import Sites

RATES = np.array([0.1, 0.1, 0.05, 0.1, 0.05, 0.05, 0.02, 0.02, 0.02], np.float32)


def part(photo: np.ndarray, size: int = 96) -> np.ndarray:
    return (photo[: size * 2 // 3, :size] / np.float32(255)).astype(np.float32)


def backend_of(*, device: int = 0, **options) -> CudaBackend:
    return CudaBackend(Runtime(make_cupy(**options), device), threads=1)


def psnr(mse: float) -> float:
    return -10 * np.log10(mse)


def test_fits_reach_what_the_cpu_reaches(photo):
    """In the mean: another rounding takes a fit another way, as another seed does (0.2 dB here)."""
    target = part(photo, 72)
    reached = {"cpu": [], ON_CPU: []}
    for seed in range(6):
        options = FitOptions(iterations=40, dense_start=2.0, seed=seed)
        for name, found in reached.items():
            result = fit(backend_named(name), target, 150, options)
            assert result.params.shape == (150, 9)
            found.append(psnr(result.mse))
    assert min(reached["cpu"]) > 25
    assert np.mean(reached[ON_CPU]) == pytest.approx(np.mean(reached["cpu"]), abs=0.1)
    height, width, _ = target.shape
    image = backend_named(ON_CPU).render(Sites(result.params), width, height)
    assert np.mean((image - target) ** 2) == pytest.approx(result.mse, rel=2e-2)


def test_fine_tuning_reaches_what_the_cpu_reaches(photo):
    target = part(photo, 60)
    start = fit(backend_named("cpu"), target, 120, FitOptions(iterations=40)).params
    widths = np.tile(np.full(9, 0.02, np.float32), (120, 1))
    results = [
        fine_tune(backend_named(name), target, start, 20, noise=lambda _: widths, seed=4)
        for name in ("cpu", ON_CPU)
    ]
    assert psnr(results[1].mse) == pytest.approx(psnr(results[0].mse), abs=0.05)


@pytest.mark.parametrize("order", [1, 7])
def test_the_order_of_threads_does_not_change_a_fit(order):
    target = smooth_target(90, 50, 40, 3)
    found = []
    for run in (0, order):
        session = backend_of(order=run).fit_session(target, Start(200, seed=3))
        for phase in (None, 1, 2):
            session.refresh()
            loss = float(session.gradient(phase))
            session.adam(RATES, 0.9, 0.95)
        statistics = [array.get() for array in session.statistics()]
        found.append((loss, session.params, session.gradients, *statistics))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_iterations_do_not_wait_for_the_device():
    backend = backend_of()
    cp = backend.runtime.cp
    session = backend.fit_session(smooth_target(91, 48, 40, 3), Start(150))
    session.removal_deltas()
    session.refresh()
    waited = cp.synchronizations
    losses = []
    for i in range(30):
        losses.append(session.gradient(i % 4))
        session.adam(RATES, 0.9, 0.95)
    assert cp.synchronizations == waited
    session.keep(np.argsort(session.removal_deltas(), kind="stable")[20:])
    session.refresh()
    losses.append(session.gradient())
    lengths = 6  # of the lists before these, which came long ago: three grids, twice
    assert cp.synchronizations - waited == lengths
    assert session.site_count == 130
    assert all(0 < float(loss) < 1 for loss in losses)
    assert cp.synchronizations - waited == lengths + len(losses)


@pytest.mark.parametrize(("count", "longer_than"), [(190, 32), (500, 192), (1400, 1024)])
def test_lists_of_any_length_have_the_reference_s_gradients(count, longer_than):
    """One piece in shared memory, several of them, and more than a tile can note."""
    target = smooth_target(92, 11, 7, 3)
    params = random_sites(92, count, 11, 7, log_tau=(-1.0, 0.0), anisotropy=(0.0, 3.0)).params
    ours, exact = (b.fit_session(target, params) for b in (backend_of(order=5), ReferenceBackend()))
    for session in (ours, exact):
        session.refresh(60.0)
    assert np.diff(ours._lists.offsets.get()).max() > longer_than
    for phase in (None, 3):
        loss, expected = float(ours.gradient(phase)), float(exact.gradient(phase))
        assert loss == pytest.approx(expected, rel=2e-5)
        np.testing.assert_allclose(
            ours.gradients, exact.gradients, atol=2e-4 * np.abs(exact.gradients).max()
        )


@pytest.mark.parametrize("split_share", [0.0, 0.2])
def test_a_fit_is_the_same_on_another_device(split_share):
    target = smooth_target(88, 48, 40, 3)
    options = FitOptions(iterations=20, split_share=split_share)
    found = []
    for device in (0, 1):
        backend = backend_of(devices=2, device=device)
        params = fit(backend, target, 40, options).params
        widths = np.full_like(params, 0.01)
        found.append(fine_tune(backend, target, params, 3, noise=lambda _, w=widths: w).params)
        assert backend.runtime.cp.machine.device == 0
    np.testing.assert_array_equal(*found)


def test_noise_is_copied_once_while_it_is_the_same_array():
    backend = backend_of()
    cp = backend.runtime.cp
    params = random_sites(87, 60, 40, 32).params
    once, again = (backend.fit_session(smooth_target(87, 40, 32, 3), params) for _ in range(2))
    noise = np.full_like(params, 0.02)
    for i, phase in enumerate((None, 0, 3, None, 1)):
        for session, widths in ((once, noise), (again, noise.copy())):
            if i in (0, 3):
                session.refresh()
            uploads = cp.machine.uploads
            loss = float(session.gradient(phase, widths, 5 + i))
            assert cp.machine.uploads - uploads == (session is again or i == 0)
            session.adam(RATES, 0.9, 0.95)
        assert loss > 0
        np.testing.assert_array_equal(once.gradients, again.gradients)
    other = np.zeros_like(params)
    assert float(once.gradient(None, other)) == pytest.approx(float(once.gradient(None)))
    for session in (once, again):
        session.keep(np.arange(50))
        session.gradient(None, noise[:50], 3)
    np.testing.assert_array_equal(once.gradients, again.gradients)
    with pytest.raises(OptionError, match="noise of shape"):
        once.gradient(None, noise, 3)


def test_the_sites_of_a_fit_are_prepared_in_float_almost_as_in_double():
    launcher = Launcher(Runtime(make_cupy(), 0), {"SAD_K": 8, "SAD_CHANNELS": 3})
    cp, count = launcher.cp, 4000
    rng = np.random.default_rng(6)
    params = random_sites(89, count, 400, 300).params
    params[:, 2] = rng.uniform(-8, 8, count)
    along, angle = rng.uniform(0, 4, count), rng.uniform(0, 2 * np.pi, count)
    params[:, 4], params[:, 5] = along * np.cos(angle), along * np.sin(angle)
    params[:20, 4], params[:20, 5] = -4.0, 0.0  # where g00 cancels
    sites = []
    for kernel in (PREPARE_SITES, PREPARE_FAST):
        table = cp.empty((count, 16), np.float32)
        arguments = {"params": cp.asarray(params), "sites": table, "count": count}
        launcher.launch(kernel, -(-count // 128), arguments)
        sites.append(table.get()[:, :11].astype(np.float64))
    exact, fast = sites
    size = np.abs(exact)
    size[:, 3] += exact[:, 2] + exact[:, 4]  # m1 goes through 0
    assert (np.abs(fast - exact) / np.maximum(size, 1e-6)).max() < 3e-6


def test_a_session_that_dies_waits_for_the_stream_beside_it(monkeypatch):
    backend = CudaBackend(Runtime(make_cupy(devices=2), 1), 1)
    beside = Propagation(overlap=True)
    cp = backend.runtime.cp
    waits = []

    wait_event = cp.cuda.Stream.wait_event

    def wait(stream, event):
        waits.append((stream, cp.machine.device))
        wait_event(stream, event)

    session = backend.fit_session(smooth_target(86, 40, 32, 3), Start(30), propagation=beside)
    session.gradient()
    monkeypatch.setattr(cp.cuda.Stream, "wait_event", wait)
    del session
    gc.collect()
    assert waits == [(cp.cuda.Stream.null, 1)]
    session = backend.fit_session(smooth_target(86, 40, 32, 3), Start(30), propagation=beside)
    del session  # that has no lists
    MapLists.__new__(MapLists)  # and one of which no more was made
    gc.collect()
    assert len(waits) == 1


def rounds(backend: CudaBackend) -> None:
    """Some iterations by the map, its passes on a stream beside them, in two sessions."""
    for _ in range(2):
        beside = Propagation(overlap=True)
        session = backend.fit_session(smooth_target(86, 24, 16, 3), Start(30), propagation=beside)
        for kept in (30, 30, 25):
            session.gradient()
            session.adam(RATES, 0.9, 0.95)
            session.refresh()
            session.keep(np.arange(kept))
        session.append(session.rows(np.arange(3)))
        session.gradient()
        del session


def test_a_stream_and_those_beside_it_wait_for_each_other(monkeypatch):
    rounds(backend_of())
    backend = backend_of()
    monkeypatch.setattr(backend.runtime.cp.ndarray, "copy", lambda array: array)
    with pytest.raises(StreamError, match="adam on stream 0 writes memory that propagate reads on"):
        rounds(backend)
    monkeypatch.undo()
    for left_out in ("wait", "__del__"):
        monkeypatch.setattr(MapLists, left_out, lambda _: None)
        with pytest.raises(StreamError, match=r"on stream 0 \w+ memory that propagate \w+ on"):
            rounds(backend_of())
        monkeypatch.undo()


def test_a_target_goes_to_the_device_without_pinned_memory(monkeypatch):
    backend = backend_of()
    monkeypatch.setattr(backend.runtime.cp, "asarray", lambda a, *_: backend.runtime.cp.array(a))
    sent = []

    def array(obj, *_, **__):
        sent.append(obj.shape)
        return make_array(obj)

    make_array = backend.runtime.cp.array
    monkeypatch.setattr(backend.runtime.cp, "array", array)
    backend.fit_session(smooth_target(85, 40, 32, 3), random_sites(85, 9, 40, 32).params)
    assert sent == [(9, 9)]


def test_a_picture_comes_without_pinned_memory_where_there_is_none(monkeypatch):
    sites = random_sites(84, 50, 40, 32)
    expected = backend_named(ON_CPU).render(sites, 40, 32)
    backend = backend_of()
    cuda = backend.runtime.cp.cuda
    lent = cuda.alloc_pinned_memory

    def refuse(size):
        if size > 64:
            raise cuda.runtime.CUDARuntimeError(2, "cudaErrorMemoryAllocation: out of memory")
        return lent(size)

    monkeypatch.setattr(cuda, "alloc_pinned_memory", refuse)
    np.testing.assert_array_equal(backend.render(sites, 40, 32), expected)


def test_a_loss_is_remembered_for_a_while():
    session = backend_of().fit_session(smooth_target(92, 20, 16, 3), Start(20))
    first = session.gradient()
    for _ in range(LOSSES - 1):
        session.gradient()
    assert float(first) == float(session.gradient())
    session = backend_of().fit_session(smooth_target(92, 20, 16, 3), Start(20))
    first = session.gradient()
    for _ in range(LOSSES + 1):
        session.gradient()
    with pytest.raises(BackendError, match="forgotten"):
        float(first)


def test_splitting_stays_on_the_device():
    backend = backend_of()
    target = smooth_target(93, 40, 32, 3)
    sessions = [
        b.fit_session(target, random_sites(93, 60, 40, 32).params)
        for b in (backend, backend_named("cpu"))
    ]
    for session in sessions:
        split(session, 6)
        assert session.site_count == 66
    np.testing.assert_allclose(sessions[0].params, sessions[1].params, rtol=1e-4, atol=1e-4)


def test_all_sites_can_be_split():
    session = backend_of().fit_session(
        smooth_target(94, 20, 20, 3), random_sites(94, 5, 20, 20).params
    )
    split(session, 5)
    assert session.site_count == 10


def test_bands_make_the_same_picture(monkeypatch):
    sites = random_sites(95, 300, 70, 61)
    whole = backend_named(ON_CPU).render(sites, 70, 61)
    monkeypatch.setattr(cuda_render, "BAND_PIXELS", 70 * 17)
    np.testing.assert_array_equal(backend_named(ON_CPU).render(sites, 70, 61), whole)


@pytest.mark.parametrize(("count", "draws"), [(200, 1), (900, 2)])
def test_a_picture_is_drawn_again_where_lists_are_longer_than_foreseen(count, draws):
    sites = random_sites(93, count, 24, 20, log_tau=(-3.0, 0.0))
    backend = backend_of()
    picture = backend.render(sites, 24, 20)
    assert backend.runtime.cp.machine.launches.count("render_tiles") == draws
    assert backend.runtime.cp.synchronizations == draws  # lists' lengths come with the picture
    exact = ReferenceBackend().render(sites, 24, 20)
    np.testing.assert_allclose(picture, exact, atol=1 / 255)


def test_lists_of_all_grids_may_be_longer_than_foreseen(monkeypatch):
    """Each drawing finds out how long those of one grid more are."""
    sites, backend = random_sites(94, 300, 70, 61), backend_of(order=3)
    expected = backend.render(sites, 70, 61, bit_depth=8)
    grids = backend.runtime.cp.machine.launches.count("filter_lists") + 1

    def few(self, *arguments):
        make(self, *arguments)
        self._capacities = [1] * len(self._capacities)

    make = PictureLists.__init__
    monkeypatch.setattr(PictureLists, "__init__", few)
    backend.runtime.cp.machine.launches.clear()
    np.testing.assert_array_equal(backend.render(sites, 70, 61, bit_depth=8), expected)
    assert backend.runtime.cp.machine.launches.count("render_tiles") == grids + 1
    monkeypatch.setattr(cuda_picture_lists, "MOST_ENTRIES", 250)
    with pytest.raises(BackendError, match="entries are too long"):
        backend.render(sites, 70, 61)


def test_a_picture_takes_few_calls():
    sites, backend = random_sites(93, 70, 96, 64), backend_of()
    cp = backend.runtime.cp
    backend.render(sites, 96, 64, bit_depth=8)
    assert cp.machine.launches == [
        *("prepare_drawing", "filter_lists_wide", "filter_lists", "render_tiles")
    ]
    assert (cp.machine.uploads, cp.synchronizations) == (1, 1)


def test_what_the_device_has_no_memory_for_is_refused():
    backend = backend_of(capacity=1 << 20)
    with pytest.raises(BackendError, match=r"fitting 640 x 480 pixels takes about .* are free"):
        backend.fit_session(np.zeros((480, 640, 3), np.float32), Start(5000))
    with pytest.raises(BackendError, match=r"drawing 9000 sites at 640 x 480 pixels takes about"):
        backend.render(random_sites(96, 9000, 640, 480), 640, 480)


def test_running_out_of_memory_later_is_an_error_too():
    backend = backend_of(capacity=3 << 20)
    session = backend.fit_session(smooth_target(97, 64, 64, 3), Start(100))
    backend.runtime.cp.machine.capacity = backend.runtime.cp.machine.allocated + 4096
    with pytest.raises(BackendError, match="cuda: the device has no memory"):
        session.append(random_sites(97, 900, 64, 64).params)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_fit_by_the_top_k_map_comes_close(photo, overlap):
    target = part(photo, 60)
    options = FitOptions(iterations=60, list_interval=8)
    backend = backend_named(ON_CPU)
    exact = fit(backend, target, 100, options)
    propagation = Propagation(passes=2, overlap=overlap)
    found = fit(backend, target, 100, replace(options, propagation=propagation))
    assert psnr(found.mse) == pytest.approx(psnr(exact.mse), abs=0.3)
    image = backend.render(Sites(found.params), target.shape[1], target.shape[0])
    assert np.mean((image - target) ** 2) == pytest.approx(found.mse, rel=5e-2)


ERRORS = {
    "runtime": ("the device failed: cudaErrorIllegalAddress", BackendError),
    "driver": ("the device failed: CUDA_ERROR_LAUNCH_FAILED", BackendError),
    "sort": ("the device failed: radix_sort", BackendError),
    "memory of a sort": ("the device has no memory left: std::bad_alloc", BackendError),
    "host": ("Unable to allocate", MemoryError),
    "mistake": ("generator raised", RuntimeError),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_the_device_is_one_line(monkeypatch, kind):
    backend = backend_of()
    session = backend.fit_session(smooth_target(98, 20, 16, 3), Start(20))
    cuda = backend.runtime.cp.cuda
    raised = {
        "runtime": cuda.runtime.CUDARuntimeError(700, "cudaErrorIllegalAddress: illegal access"),
        "driver": cuda.driver.CUDADriverError("CUDA_ERROR_LAUNCH_FAILED: unspecified"),
        "sort": RuntimeError("radix_sort: failed on 1st step: cudaErrorIllegalAddress: illegal"),
        "memory of a sort": MemoryError("std::bad_alloc: cudaErrorMemoryAllocation: none left"),
        "mistake": RuntimeError("generator raised"),
        "host": MemoryError("Unable to allocate 8 GiB for an array"),
    }[kind]

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(type(session._params), "get", fail)
    message, error = ERRORS[kind]
    with pytest.raises(error, match=message) as caught:
        _ = session.params
    assert str(caught.value).startswith("cuda: ") == (error is BackendError)
