"""The float64 definition against calculus and against symmetries that any diagram has."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from diagrams import Diagram, degenerate_diagrams, random_diagrams, random_sites, smooth_target
from hypothesis import given, settings
from hypothesis import strategies as st

from sadcodec.backends import reference
from sadcodec.backends.reference import blends, gradients, render, top_k
from sadcodec.backends.reference_backend import ReferenceBackend
from sadcodec.backends.reference_fit import ReferenceFitSession
from sadcodec.backends.reference_sums import removal_deltas, statistics
from sadcodec.errors import OptionError, SiteError
from sadcodec.sites import LOG_TAU, RADIUS, P, Sites

ALL_DIAGRAMS = random_diagrams() + degenerate_diagrams()


# ---- Elements ---------------------------------------------------------------------------------


def test_exponential_is_accurate():
    x = np.concatenate([np.linspace(-700, 700, 20001), np.linspace(-1, 1, 20001), [0.0]])
    np.testing.assert_allclose(reference.exponential(x), np.exp(x), rtol=4e-16)
    assert reference.exponential(np.array([0.0]))[0] == 1.0


def test_metric_is_what_its_formula_says():
    a = np.concatenate([[1e-300, 1e-9, 1e-4, 0.4999999, 0.5], np.linspace(0.01, 6, 200)])
    t = np.linspace(0, np.pi, len(a))
    g00, g01, g11, s, slope = reference.metric(a * np.cos(2 * t), a * np.sin(2 * t))
    u = np.stack([np.cos(t), np.sin(t)])
    outer = u[:, None] * u[None]
    expected = np.exp(a) * outer + np.exp(-a) * (np.eye(2)[..., None] - outer)
    actual = np.array([[g00, g01], [g01, g11]])
    np.testing.assert_allclose(actual / np.cosh(a), expected / np.cosh(a), atol=1e-14)
    np.testing.assert_allclose(s, np.sinh(a) / a, rtol=1e-14)
    far = a > 0.1
    exact = (np.cosh(a[far]) - np.sinh(a[far]) / a[far]) / a[far] ** 2
    np.testing.assert_allclose(slope[far], exact, rtol=1e-11)
    np.testing.assert_allclose(slope[:3], 1 / 3, rtol=1e-8)
    assert [float(g[0]) for g in reference.metric(np.zeros(1), np.zeros(1))[:4]] == [1, 0, 1, 1]


@given(
    st.integers(1, 30),
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(0, 2**31),
    st.integers(1, 3),
)
@settings(max_examples=100, deadline=None)
def test_top_k_is_the_stable_sort(rows, columns, levels, seed, k_step):
    values = np.random.default_rng(seed).integers(0, levels, (rows, columns)).astype(float)
    for k in range(1, columns + 3, k_step):
        expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(top_k(values, k), expected)


def test_logit_by_hand():
    sites = Sites.from_fields([[1, 2]], [np.log(2)], [3], [[0, 0]], [[0.5]])
    value = reference.logits(sites.params.astype(float), np.array([[4.0, 6.0]]))
    np.testing.assert_allclose(value, [[2 * (3 - 5)]], rtol=1e-6)


def test_the_metric_stretches_along_its_direction():
    # a = ln 4 along x: a step along x counts e^(a/2) = 2 times, one along y half.
    sites = Sites.from_fields([[0, 0]], [0], [0], [[np.log(4), 0]], [[0.5]])
    value = reference.logits(sites.params.astype(float), np.array([[3.0, 0.0], [0.0, 3.0]]))
    np.testing.assert_allclose(value[:, 0], [-6, -1.5], rtol=1e-6)


# ---- Properties of the picture ------------------------------------------------------------------


@pytest.mark.parametrize("diagram", ALL_DIAGRAMS, ids=str)
def test_weights_are_shares(diagram: Diagram):
    params = diagram.sites.params.astype(np.float64)
    pixels = np.arange(diagram.width * diagram.height)
    seen = 0
    for blend in blends(params, diagram.width, diagram.k, pixels):
        seen += len(blend.pixels)
        assert blend.ids.shape[1] == min(diagram.k, len(params))
        assert (np.diff(np.sort(blend.ids, axis=1), axis=1) > 0).all()
        assert (blend.weights >= 0).all()
        np.testing.assert_allclose(blend.weights.sum(axis=1), 1, rtol=1e-12)
        assert (np.diff(blend.logits, axis=1) <= 0).all()
        color = params[:, 6:]
        low, high = color.min(axis=0), color.max(axis=0)
        assert (blend.value >= low - 1e-12).all()
        assert (blend.value <= high + 1e-12).all()
    assert seen == diagram.width * diagram.height


@pytest.mark.parametrize("diagram", ALL_DIAGRAMS, ids=str)
def test_constant_color_gives_a_constant_image(diagram: Diagram):
    params = diagram.sites.params.copy()
    params[:, 6:] = np.float32(0.3)
    image = render(Sites(params), diagram.width, diagram.height, diagram.k)
    np.testing.assert_allclose(image, np.float32(0.3), rtol=1e-12)


def test_translation_moves_the_picture():
    params = random_sites(1, 60, 24, 20).params
    params[:, :2] = np.round(params[:, :2] * 64) / 64  # so that adding whole pixels is exact
    whole = render(Sites(params), 24, 20)
    moved = params.copy()
    moved[:, :2] -= [5, 3]
    np.testing.assert_allclose(render(Sites(moved), 19, 17), whole[3:, 5:], atol=1e-12)


def test_transposing_sites_transposes_the_picture():
    params = random_sites(2, 60, 24, 20).params
    turned = params.copy()
    turned[:, [0, 1]] = params[:, [1, 0]]
    turned[:, P] *= -1  # t -> pi/2 - t
    actual = render(Sites(turned), 20, 24)
    np.testing.assert_allclose(actual, render(Sites(params), 24, 20).transpose(1, 0, 2), atol=1e-9)


def test_order_of_sites_is_irrelevant_without_ties():
    params = random_sites(3, 60, 24, 20).params
    shuffled = params[np.random.default_rng(0).permutation(60)]
    np.testing.assert_allclose(
        render(Sites(shuffled), 24, 20), render(Sites(params), 24, 20), atol=1e-12
    )


def test_scaling_everything_keeps_the_colors():
    """Twice the lengths and half the tau: pixel (i + 0.5) of one is a point of the other."""
    params = random_sites(4, 40, 9, 9).params.astype(np.float64)
    big = params.copy()
    big[:, [0, 1, RADIUS]] *= 2
    big[:, LOG_TAU] -= np.log(2)
    points = np.random.default_rng(0).uniform(0, 9, (50, 2))
    np.testing.assert_allclose(
        reference.logits(params, points), reference.logits(big, 2 * points), atol=1e-10
    )


@pytest.mark.parametrize("k", [1, 3, 8, 16])
def test_ties_go_to_the_lower_index(k):
    count = 20
    color = np.arange(count, dtype=float)[:, None] / count
    sites = Sites.from_fields(
        [[4, 4]] * count, [1.0] * count, [2.0] * count, [[0.5, 0.1]] * count, color
    )
    image = render(sites, 9, 7, k)
    np.testing.assert_allclose(image, color[:k].mean(), atol=1e-7)


def test_fewer_sites_than_k_blend_them_all():
    params = random_sites(5, 3, 12, 10).params
    np.testing.assert_array_equal(
        render(Sites(params), 12, 10, 3), render(Sites(params), 12, 10, 16)
    )


def test_one_site_is_its_color_everywhere():
    sites = Sites.from_fields([[-50, 900]], [8], [0], [[4, 0]], [[0.25, 1.5]])
    image = render(sites, 6, 5)
    assert image.shape == (5, 6, 2)
    np.testing.assert_array_equal(image, np.broadcast_to([0.25, 1.5], (5, 6, 2)))


def test_large_tau_is_the_nearest_site():
    sites = random_sites(6, 40, 20, 20, log_tau=(8, 8), radius=(0, 0), anisotropy=(0, 0))
    y, x = np.mgrid[:20, :20] + 0.5
    distance = np.hypot(x[..., None] - sites.position[:, 0], y[..., None] - sites.position[:, 1])
    two = np.sort(distance, axis=2)
    clear = two[..., 1] - two[..., 0] > 0.01
    assert clear.mean() > 0.9
    expected = sites.color[np.argmin(distance, axis=2)]
    np.testing.assert_allclose(render(sites, 20, 20)[clear], expected[clear], atol=1e-9)


def test_tiny_tau_is_the_mean_of_the_nearest_k():
    sites = random_sites(7, 40, 20, 20, log_tau=(-30, -30), radius=(0, 0), anisotropy=(0, 0))
    y, x = np.mgrid[:20, :20] + 0.5
    distance = np.hypot(x[..., None] - sites.position[:, 0], y[..., None] - sites.position[:, 1])
    nearest = np.argsort(distance, axis=2)[..., :8]
    expected = sites.color[nearest].mean(axis=2)
    np.testing.assert_allclose(render(sites, 20, 20), expected, atol=1e-6)


def test_chunks_do_not_change_the_picture(monkeypatch):
    sites = random_sites(8, 50, 23, 11)
    whole = render(sites, 23, 11)
    monkeypatch.setattr(reference, "_LOGITS_AT_ONCE", 7)
    np.testing.assert_array_equal(render(sites, 23, 11), whole)


@pytest.mark.parametrize("arguments", [(0, 5, 8), (5, 0, 8), (5, 5, 0), (5, 5, 17)])
def test_render_refuses(arguments):
    with pytest.raises(OptionError):
        render(random_sites(0, 3, 5, 5), *arguments)


# ---- Gradients ----------------------------------------------------------------------------------


def numeric_gradients(params, target, k, pixels=None, step=1e-5):
    out = np.empty_like(params)
    for index in np.ndindex(params.shape):
        sides = []
        for sign in (1, -1):
            moved = params.copy()
            moved[index] += sign * step
            sides.append(gradients(moved, target, k, pixels)[0])
        out[index] = (sides[0] - sides[1]) / (2 * step)
    return out


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("anisotropy", [(0.0, 0.0), (1e-5, 1e-4), (0.45, 0.55), (1, 3), (4, 4)])
def test_gradients_are_finite_differences(channels, anisotropy):
    # N <= K: no site enters or leaves a top K.
    params = random_sites(
        9, 7, 9, 8, channels, anisotropy=anisotropy, log_tau=(-1.5, 1), radius=(0, 4)
    ).params.astype(np.float64)
    target = smooth_target(0, 9, 8, channels).astype(np.float64)
    _, analytic = gradients(params, target, 8)
    numeric = numeric_gradients(params, target, 8)
    scale = np.abs(numeric).max(axis=0)
    assert (scale > 0).all()
    np.testing.assert_allclose(analytic / scale, numeric / scale, atol=2e-6)


def test_gradients_of_more_sites_than_k():
    params = random_sites(10, 30, 12, 9).params.astype(np.float64)
    target = smooth_target(1, 12, 9, 3).astype(np.float64)
    loss, analytic = gradients(params, target, 8)
    numeric = numeric_gradients(params, target, 8, step=1e-7)
    scale = np.abs(numeric).max(axis=0)
    np.testing.assert_allclose(analytic / scale, numeric / scale, atol=1e-5)
    rendered = render(Sites(params.astype(np.float32)), 12, 9)
    np.testing.assert_allclose(loss, np.mean((rendered - target) ** 2), rtol=1e-5)


def test_gradients_over_some_pixels():
    params = random_sites(11, 8, 12, 9).params.astype(np.float64)
    target = smooth_target(2, 12, 9, 3).astype(np.float64)
    pixels = np.array([0, 17, 44, 107])
    loss, analytic = gradients(params, target, 8, pixels)
    numeric = numeric_gradients(params, target, 8, pixels)
    np.testing.assert_allclose(analytic, numeric, atol=1e-6 * np.abs(numeric).max())
    image = render(Sites(params.astype(np.float32)), 12, 9).reshape(-1, 3)
    wanted = target.reshape(-1, 3)
    np.testing.assert_allclose(loss, np.mean((image - wanted)[pixels] ** 2), rtol=1e-5)


def test_a_site_on_a_pixel_centre_has_finite_gradients():
    sites = Sites.from_fields([[2.5, 2.5], [4, 4]], [0, 0], [1, 1], [[1, 0]] * 2, [[0.2], [0.9]])
    _, gradient = gradients(sites.params.astype(float), smooth_target(0, 6, 6, 1).astype(float), 8)
    assert np.isfinite(gradient).all()


# ---- Sessions -----------------------------------------------------------------------------------


def session(seed=12, count=30, width=17, height=13, channels=3, k=8):
    target = smooth_target(seed, width, height, channels)
    sites = random_sites(seed, count, width, height, channels)
    return ReferenceFitSession(target, sites.params, k), target, sites


def test_statistics_add_up_to_the_image():
    _, target, sites = session()
    params, wanted = sites.params.astype(np.float64), target.astype(np.float64)
    mass, error = statistics(params, wanted)
    np.testing.assert_allclose(mass.sum(), 17 * 13, rtol=1e-12)
    loss, _ = gradients(params, wanted)
    np.testing.assert_allclose(error.sum(), loss * target.size, rtol=1e-12)


def test_removal_deltas_are_what_removal_does():
    # N <= K: no other site takes the place of the removed one.
    _, target, sites = session(count=7)
    params, wanted = sites.params.astype(np.float64), target.astype(np.float64)
    before = gradients(params, wanted)[0] * target.size
    expected = [
        gradients(np.delete(params, i, axis=0), wanted)[0] * target.size - before for i in range(7)
    ]
    np.testing.assert_allclose(removal_deltas(params, wanted), expected, rtol=1e-9, atol=1e-12)


def test_removal_of_the_only_site_costs_one_per_sample():
    target = smooth_target(0, 5, 4, 3)
    params = random_sites(0, 1, 5, 4).params.astype(np.float64)
    before = gradients(params, target.astype(np.float64))[0] * target.size
    delta = removal_deltas(params, target.astype(np.float64))
    np.testing.assert_allclose(delta, [target.size - before], rtol=1e-12)


def test_the_first_adam_step_has_the_length_of_the_rate():
    fit, _, sites = session()
    fit.gradient()
    moved = np.abs(fit.gradients[:, 6:]) > 1e-5
    assert moved.mean() > 0.5
    fit.adam([0.0] * 6 + [0.01] * 3, 0.9, 0.999)
    step = np.abs(fit.params - sites.params)
    np.testing.assert_array_equal(step[:, :6], 0)
    np.testing.assert_allclose(step[:, 6:][moved], 0.01, rtol=2e-3)


@pytest.mark.parametrize(
    ("target", "params"),
    list(itertools.product([np.zeros((4, 4, 1)), np.zeros((4, 4)), np.zeros((0, 4, 3))], [(3, 9)])),
)
def test_a_session_refuses_shapes_that_do_not_fit(target, params):
    with pytest.raises(OptionError):
        ReferenceBackend().fit_session(target.astype(np.float32), np.zeros(params, np.float32))


def test_a_session_refuses_bad_arguments():
    fit, target, sites = session()
    with pytest.raises(OptionError, match="phase"):
        fit.gradient(4)
    with pytest.raises(OptionError, match="K"):
        ReferenceFitSession(target, sites.params, 17)
    with pytest.raises(SiteError):
        ReferenceFitSession(target, sites.params * np.nan)
    with pytest.raises(OptionError, match="channels"):
        fit.append(np.zeros((1, 7), np.float32))
