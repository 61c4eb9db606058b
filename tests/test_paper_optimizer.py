"""The optimizer of the authors' recipe: its parameters, derivatives, steps and smoothing."""

from __future__ import annotations

import numpy as np
import pytest
from diagrams import random_sites, smooth_target

from sadcodec.backends.reference import gradients
from sadcodec.fit.paper.optimizer import (
    COLORS,
    A,
    Neighbours,
    PaperAdam,
    U,
    V,
    from_params,
    to_params,
)
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, X, Y


def paper_values(count: int, channels: int = 3, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = from_params(random_sites(seed, count, 16, 12, channels).params)
    values[A] = rng.uniform(-1.5, 1.5, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    values[U], values[V] = np.cos(angle), np.sin(angle)
    return values


def test_the_authors_parameters_and_ours_are_the_same_metric():
    params = random_sites(2, 50, 16, 12).params
    assert np.allclose(to_params(from_params(params)), params, atol=1e-5)
    values = paper_values(50)
    ours = to_params(values).astype(np.float64)
    a, length = values[A].astype(np.float64), np.hypot(ours[:, P], ours[:, Q])
    shape = np.sinh(length) / length
    g00 = np.cosh(length) + shape * ours[:, P]
    g01 = shape * ours[:, Q]
    along = np.exp(a) * values[U] ** 2 + np.exp(-a) * values[V] ** 2
    assert np.allclose(g00, along, rtol=1e-4)
    assert np.allclose(g01, (np.exp(a) - np.exp(-a)) * values[U] * values[V], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives_are_those_by_the_authors_parameters(channels):
    target = smooth_target(3, 16, 12, channels).astype(np.float64)
    values = paper_values(6, channels)
    adam = PaperAdam(to_params(values), 16, 12)
    adam.values = values

    def loss(at: np.ndarray) -> float:  # squared error summed over channels, in float64
        u, v, a = at[U] / np.hypot(at[U], at[V]), at[V] / np.hypot(at[U], at[V]), at[A]
        params = np.empty((6, 6 + channels))
        params[:, :P], params[:, COLOR:] = at[:U].T, at[COLORS:].T
        params[:, P], params[:, Q] = a * (u * u - v * v), 2 * a * u * v
        return channels * gradients(params, target, 8)[0]

    by_params = gradients(to_params(values).astype(np.float64), target, 8)[1]
    found = adam.gradient(by_params.astype(np.float32))
    for row in range(len(values)):
        for site in range(6):
            step = np.zeros_like(values, dtype=np.float64)
            step[row, site] = 1e-5
            numeric = (loss(values + step) - loss(values - step)) / 2e-5
            assert found[row, site] == pytest.approx(numeric, rel=2e-3, abs=2e-7)


def test_steps_are_adams_with_the_authors_rates():
    values = paper_values(5)
    adam = PaperAdam(to_params(values), 16, 12)
    adam.values = values.copy()
    rng = np.random.default_rng(7)
    plain = values.astype(np.float64)
    groups = [([X, Y], 0.025), ([LOG_TAU], 0.01), ([RADIUS], 0.01), ([U, V], 0.0025), ([A], 0.025)]
    groups += [([COLORS + c], 0.01) for c in range(3)]
    first, second = np.zeros_like(plain), np.zeros((len(groups), 5))
    for t in range(1, 6):
        g = rng.normal(0, 1e-6, plain.shape)
        adam.step(g.astype(np.float32))
        for site in range(5):
            for j, (rows, rate_) in enumerate(groups):
                first[rows, site] = 0.9 * first[rows, site] + 0.1 * g[rows, site]
                squared = (g[rows, site] ** 2).sum()
                second[j, site] = 0.999 * second[j, site] + 0.001 * squared
                root = np.sqrt(second[j, site] / (1 - 0.999**t))
                plain[rows, site] -= rate_ * first[rows, site] / (1 - 0.9**t) / (root + 1e-8)
            plain[[U, V], site] /= np.hypot(plain[U, site], plain[V, site])
            for row, low, high in ((X, 0.5, 15.5), (Y, 0.5, 11.5), (RADIUS, 1, 512), (A, -4, 4)):
                plain[row, site] = min(max(plain[row, site], low), high)
            plain[COLORS:, site] = np.clip(plain[COLORS:, site], 0, 1)
        assert np.allclose(adam.values, plain, atol=2e-5)
    assert np.abs(adam.values - values).max() > 0.01
    adam.keep(np.array([3, 1]))
    adam.append(values[:, :1])
    before = adam.values.copy()
    adam.step(np.zeros_like(before))
    moved = np.abs(adam.values - before).max(axis=0)
    assert (moved[:2] > 1e-3).all()  # moments stay with their sites
    assert moved[2] < 1e-6


def test_steps_stay_within_the_bounds():
    adam = PaperAdam(to_params(paper_values(40)), 16, 12)
    for sign in (1, -1):
        adam.values[[X, Y, LOG_TAU, RADIUS, A]] -= sign * 600
        adam.values[COLORS:] -= sign
        adam.step(np.full_like(adam.values, sign))
        low = sign > 0
        assert (adam.values[X] == (0.5 if low else 15.5)).all()
        assert (adam.values[Y] == (0.5 if low else 11.5)).all()
        assert (adam.values[RADIUS] == (1 if low else 512)).all()
        assert (adam.values[LOG_TAU] == (-8 if low else 8)).all()
        assert (adam.values[A] == (-4 if low else 4)).all()
        assert (adam.values[COLORS:] == (0 if low else 1)).all()
        assert np.allclose(np.hypot(adam.values[U], adam.values[V]), 1)


def test_gradients_are_smoothed_by_jacobi_passes():
    rng = np.random.default_rng(3)
    ids = rng.integers(-1, 20, (20, 5)).astype(np.int32)
    ids[:, 0] = np.arange(20)  # a site is among its own
    values = rng.normal(size=20).astype(np.float32)
    plain = values.astype(np.float64)
    for _ in range(4):
        before = plain.copy()
        for i in range(20):
            others = [j for j in ids[i] if j not in (-1, i)]
            total = sum(before[j] for j in others)
            plain[i] = (values[i] + 0.05 * total) / (1 + 0.05 * len(others))
    assert np.allclose(Neighbours(ids).smoothed(values, 0.05), plain, atol=1e-6)
    assert np.array_equal(Neighbours(ids).smoothed(values, 0.0), values)
    alike = np.full(20, 0.5, np.float32)
    assert np.allclose(Neighbours(ids).smoothed(alike, 0.05), 0.5)
