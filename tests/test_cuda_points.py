"""Points on the device: kernels/points.cu against the reference and the native derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import CUDA, ON_CPU, backend_named
from cuda_host.stand_in import make_cupy
from diagrams import degenerate_diagrams, random_sites

from sadcodec.backends import cuda_points, sample
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.backends.points import PointSession

# Of one K and three channels, so that the kernels are compiled once; ties are what they are for.
DIAGRAMS = [
    d for d in degenerate_diagrams() if d.k == 8 and d.sites.channels == 3 and len(d.sites) < 1000
]


def passes(params, points, cotangent, k, backend=None):
    """The colours, and the derivatives with respect to parameters and points."""
    backend = backend or backend_named(ON_CPU)
    cp = backend.runtime.cp
    session = backend.points(params.shape[1] - 6, k)
    colors = session.draw(cp.asarray(params), cp.asarray(points)).get()
    return colors, *(array.get() for array in session.pull_back(cp.asarray(cotangent)))


def problem(count, size, channels=3, dtype=np.float64):
    """Parameters, points around the picture and at sites, and random derivatives."""
    rng = np.random.default_rng(count)
    params = random_sites(count, count, 60, 40, channels).params.astype(dtype)
    points = rng.uniform((-20, -20), (80, 60), (size, 2)).astype(dtype)
    points[:3] = params[:3, :2]
    return params, points, rng.normal(size=(size, channels)).astype(dtype)


def check(found, params, points, cotangent, k, tolerance):
    session = PointSession(params, points, k)
    for ours, wanted in zip(found, (session.forward(), *session.backward(cotangent)), strict=True):
        assert ours.dtype == params.dtype
        scale = np.maximum(np.abs(wanted).max(axis=0), 1e-2 * np.abs(wanted).max())
        assert (np.abs(ours - wanted) <= tolerance * scale).all()


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=str)
@pytest.mark.parametrize("name", CUDA)
def test_colors_are_the_reference_s_with_every_tie(diagram, name):
    rng = np.random.default_rng(7)
    size = np.array([diagram.width, diagram.height])
    centers = rng.integers(0, size, (40, 2)) + 0.5
    points = np.concatenate([centers, rng.uniform(-0.5 * size, 1.5 * size, (30, 2))])
    params = diagram.sites.params.astype(np.float64)
    cotangent = np.zeros((len(points), diagram.sites.channels))
    colors, *slopes = passes(params, points, cotangent, diagram.k, backend_named(name))
    wanted = sample(diagram.sites, points, diagram.k)
    np.testing.assert_allclose(colors, wanted, rtol=0, atol=1e-13)
    assert not any(array.any() for array in slopes)


@pytest.mark.parametrize(
    ("count", "channels", "k", "dtype"),
    [
        (300, 3, 8, np.float32),
        (300, 3, 8, np.float64),
        (5, 3, 8, np.float64),
        (129, 4, 16, np.float64),
    ],
)
@pytest.mark.parametrize("name", CUDA)
def test_derivatives_are_those_of_the_cpu(count, channels, k, dtype, name, monkeypatch):
    monkeypatch.setattr(cuda_points, "BAND", 150)  # of 260: two bands
    inputs = problem(count, 260, channels, dtype)
    found = passes(*inputs, k, backend_named(name))
    check(found, *inputs, k, 2e-7 if dtype == np.float32 else 1e-13)


def test_what_float_cannot_bound_is_compared_in_double():
    params, points, cotangent = problem(150, 100)
    params[1::5, 4] = 9.0  # beyond any fit: float has no bound for the metric
    params[2::5, :2] += 3e18  # squares of distances overflow in float
    params[3::5, 2] = 89.0  # tau does
    params[4::5, 3] = 1e39  # a radius does; larger than all others
    colors = passes(params, points, cotangent, 8)[0]
    wanted = PointSession(params, points, 8).forward()
    np.testing.assert_allclose(colors, wanted, rtol=0, atol=1e-13)
    tiny = params[::5] * [1e-25, 1e-25, 1, 0, 1, 1, 1, 1, 1]
    colors = passes(tiny, points * 1e-25, cotangent, 8)[0]
    wanted = PointSession(tiny, points * 1e-25, 8).forward()
    np.testing.assert_allclose(colors, wanted, rtol=0, atol=1e-13)


def test_the_order_of_blocks_changes_no_bit():
    inputs, found = problem(60, 200), set()
    for order in (0, 1, 7):
        backend = CudaBackend(Runtime(make_cupy(order=order), 0), threads=1)
        found.add(b"".join(array.tobytes() for array in passes(*inputs, 8, backend)))
    assert len(found) == 1


@pytest.mark.parametrize("name", CUDA)
def test_no_points_have_no_colors_and_no_derivatives(name):
    params, points, cotangent = problem(9, 4)
    found = passes(params, points[:0], cotangent[:0], 8, backend_named(name))
    colors, gradients, slopes = found
    assert (colors.shape, slopes.shape) == ((0, 3), (0, 2))
    assert gradients.shape == params.shape
    assert not gradients.any()
