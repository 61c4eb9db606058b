"""Derivatives of any loss of the picture: the CPU against the float64 reference, and both alone."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import CUDA, backend_named
from diagrams import Diagram, degenerate_diagrams, random_diagrams, random_sites, smooth_target

from sadcodec.backends import get_backend
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.differentiable import DifferentiableSession
from sadcodec.backends.reference import pull_back, render
from sadcodec.errors import OptionError, SadError

NAMES = ["cpu", "reference"]
RANDOM = {"gray", "gray alpha", "K 2", "K 16", "wide"}
EDGES = {"N < K", "1 x 1", "1 x N", "all soft, radii"}
DIAGRAMS = [
    *(d for d in random_diagrams() if d.name in RANDOM),
    *(d for d in degenerate_diagrams() if d.name in EDGES),
    Diagram("color alpha, small", random_sites(40, 150, 45, 33, 4), 45, 33),
]


def passes(name: str, diagram) -> tuple[DifferentiableSession, np.ndarray]:
    """A session after the forward pass, and random derivatives for it."""
    session = backend_named(name).differentiable(
        diagram.width, diagram.height, diagram.sites.channels, diagram.k
    )
    picture = session.forward(diagram.sites.params)
    g = np.random.default_rng(1).normal(size=picture.shape).astype(np.float32)
    return session, g


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest of its column or 1 % of the array's."""
    scale = np.maximum(np.abs(expected).max(axis=0), 1e-2 * np.abs(expected).max())
    return float((np.abs(found - expected) / scale).max())


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=str)
def test_gradients_of_the_cpu_are_the_reference_s_to_1e5(diagram):
    session, g = passes("cpu", diagram)
    found = session.backward(g)
    assert (found.dtype, found.shape) == (np.float32, diagram.sites.params.shape)
    params = diagram.sites.params.astype(np.float64)
    expected = pull_back(params, g.astype(np.float64), diagram.k)
    assert relative_error(found, expected) < 1e-5
    picture = session.forward(diagram.sites.params)
    drawn = render(diagram.sites, diagram.width, diagram.height, diagram.k)
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, drawn, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CUDA)
def test_gradients_of_the_cuda_kernels_are_the_reference_s(name):
    sites = random_sites(8, 40, 21, 13)
    session, g = passes(name, Diagram("small", sites, 21, 13))
    params = sites.params.astype(np.float64)
    assert relative_error(session.backward(g), pull_back(params, g.astype(np.float64))) < 1e-5
    drawn = session.forward(sites.params)
    np.testing.assert_allclose(drawn, render(sites, 21, 13), rtol=0, atol=1e-5)


def test_the_reference_s_gradients_are_differences():
    params = random_sites(5, 12, 9, 7).params.astype(np.float64)
    g = np.random.default_rng(2).normal(size=(7, 9, 3))

    def loss(at):
        from sadcodec.backends.reference import blends

        values = [b.value for b in blends(at, 9, 8, np.arange(63))]
        return float(np.sum(np.concatenate(values).reshape(g.shape) * g))

    expected, step = pull_back(params, g), 1e-6
    found = np.empty_like(params)
    for index in np.ndindex(params.shape):
        up, down = params.copy(), params.copy()
        up[index] += step
        down[index] -= step
        found[index] = (loss(up) - loss(down)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_a_squared_error_given_by_hand_has_the_gradients_of_a_fit(name):
    target, params = smooth_target(3, 45, 37, 3), random_sites(4, 60, 45, 37).params
    fit = backend_named(name).fit_session(target, params, 8)
    fit.refresh(30.0)
    fit.gradient()
    expected = fit.gradients
    fit.pull_back(2.0 * (fit.picture() - target) / target.size)
    assert relative_error(fit.gradients, expected) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_session_takes_other_diagrams_and_several_derivatives(name):
    diagram = random_diagrams()[0]
    session, g = passes(name, diagram)
    once, double = session.backward(g), session.backward(2.0 * g)
    np.testing.assert_array_equal(double, 2.0 * once)
    params = diagram.sites.params
    fewer = session.forward(params[:50])
    assert session.backward(g).shape == (50, params.shape[1])
    assert np.abs(fewer - session.forward(params)).max() > 0.01
    np.testing.assert_array_equal(session.backward(g), once)
    moved = params + np.float32(0.01)
    kept = session.forward(moved, keep_lists=True)
    np.testing.assert_allclose(kept, session.forward(moved), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [*NAMES, *CUDA])
def test_a_session_refuses(name):
    backend = backend_named(name)
    session = backend.differentiable(20, 10, 3, 8)
    params = random_sites(6, 30, 20, 10).params
    with pytest.raises(OptionError, match="forward"):
        session.backward(np.zeros((10, 20, 3)))
    with pytest.raises(OptionError, match="channels"):
        session.forward(params[:, :8])
    with pytest.raises(SadError, match="finite"):
        session.forward(np.full_like(params, np.nan))
    session.forward(params)
    with pytest.raises(OptionError, match="shape"):
        session.backward(np.zeros((20, 10, 3)))
    with pytest.raises(OptionError, match="K must"):
        backend.differentiable(20, 10, 3, 17)
    with pytest.raises(OptionError, match="picture"):
        backend.differentiable(0, 10, 3)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_target_nothing_measures_an_error(name):
    target, params = smooth_target(3, 45, 37, 3), random_sites(4, 60, 45, 37).params
    backend = backend_named(name)
    known = backend.fit_session(target, params, 8)
    session = type(known)(target.shape, params, *((8, 1) if name == "cpu" else (8,)))
    for measure in (session.gradient, session.statistics, session.removal_deltas):
        with pytest.raises(OptionError, match="no target"):
            measure()
    session.pull_back(np.ones(target.shape))
    assert np.abs(session.gradients).max() > 0.1
    session.set_target(target)
    assert float(session.gradient()) == float(known.gradient())
    np.testing.assert_array_equal(session.removal_deltas(), known.removal_deltas())


def test_threads_and_instruction_sets_do_not_change_a_bit():
    from sadcodec import _core

    params = random_sites(6, 3000, 300, 200).params
    g = np.random.default_rng(1).normal(size=(200, 300, 3)).astype(np.float32)
    found = set()
    for backend in (get_backend("cpu", 3), *(CpuBackend(1, isa) for isa in _core.isas())):
        session = backend.differentiable(300, 200, 3)
        picture = session.forward(params)
        found.add(picture.tobytes() + session.backward(g).tobytes())
    assert len(found) == 1
