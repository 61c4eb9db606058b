"""Whole fits and pictures by the CUDA backend, its kernels run on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import ON_CPU, backend_named
from cuda_host.stand_in import make_cupy
from diagrams import random_sites, smooth_target

from sadcodec.backends import cuda_render
from sadcodec.backends.base import LOSSES, Start
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.errors import BackendError, OptionError
from sadcodec.fit.density import split
from sadcodec.fit.loop import fine_tune, fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.sites import Sites

RATES = np.array([0.1, 0.1, 0.05, 0.1, 0.05, 0.05, 0.02, 0.02, 0.02], np.float32)


def part(photo: np.ndarray, size: int = 96) -> np.ndarray:
    return (photo[: size * 2 // 3, :size] / np.float32(255)).astype(np.float32)


def backend_of(**options) -> CudaBackend:
    return CudaBackend(Runtime(make_cupy(**options), 0), threads=1)


def psnr(mse: float) -> float:
    return -10 * np.log10(mse)


def test_a_fit_reaches_what_the_cpu_reaches(photo):
    target = part(photo)
    options = FitOptions(iterations=60)
    cpu = fit(backend_named("cpu"), target, 250, options)
    cuda = fit(backend_named(ON_CPU), target, 250, options)
    assert cuda.params.shape == cpu.params.shape == (250, 9)
    assert psnr(cpu.mse) > 25
    assert psnr(cuda.mse) == pytest.approx(psnr(cpu.mse), abs=0.1)
    image = backend_named(ON_CPU).render(Sites(cuda.params), target.shape[1], target.shape[0])
    assert np.mean((image - target) ** 2) == pytest.approx(cuda.mse, rel=2e-2)


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
    lengths = 4  # of the lists before these, which came long ago: two grids, twice
    assert cp.synchronizations - waited == lengths
    assert session.site_count == 130
    assert all(0 < float(loss) < 1 for loss in losses)
    assert cp.synchronizations - waited == lengths + len(losses)


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


@pytest.mark.parametrize("candidates", ["propagated", "overlapped"])
def test_a_fit_by_the_top_k_map_comes_close(photo, candidates):
    target = part(photo, 60)
    options = FitOptions(iterations=60, list_interval=8)
    exact = fit(backend_named(ON_CPU), target, 100, options)
    backend = CudaBackend(Runtime(make_cupy(), 0), 1, candidates)
    found = fit(backend, target, 100, options)
    assert psnr(found.mse) == pytest.approx(psnr(exact.mse), abs=0.3)
    image = backend.render(Sites(found.params), target.shape[1], target.shape[0])
    assert np.mean((image - target) ** 2) == pytest.approx(found.mse, rel=5e-2)


def test_an_unknown_source_of_candidates_is_named():
    with pytest.raises(OptionError, match="exact, propagated, overlapped"):
        CudaBackend(Runtime(make_cupy(), 0), 1, "guessed")


def test_an_error_of_the_device_is_one_line(monkeypatch):
    backend = backend_of()
    session = backend.fit_session(smooth_target(98, 20, 16, 3), Start(20))
    cp = backend.runtime.cp

    def fail(*_, **__):
        raise cp.cuda.runtime.CUDARuntimeError(700, "cudaErrorIllegalAddress: an illegal access")

    monkeypatch.setattr(type(session._params), "get", fail)
    with pytest.raises(BackendError, match=r"cuda: the device failed: .*IllegalAddress"):
        _ = session.params
