"""Diagrams fitted to losses of their picture: gradients, the schedule of a fit, what is refused."""

import numpy as np
import pytest
from diagrams import random_sites, smooth_target

from sadcodec.backends import get_backend
from sadcodec.backends.reference import render
from sadcodec.errors import OptionError
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.inverse import LossSession, optimize
from sadcodec.losses import measurement, ms_ssim_loss, total, total_variation
from sadcodec.metrics import ms_ssim, ssim
from sadcodec.sites import Sites

CPU = get_backend("cpu", 1)


def slope_along(loss, picture, direction, step=1e-2):
    high, low = (loss((picture + way * step * direction).astype(np.float32))[0] for way in (1, -1))
    return (high - low) / (2 * step)


def halves(picture):
    return (picture[::2, ::2] + picture[1::2, ::2] + picture[::2, 1::2] + picture[1::2, 1::2]) / 4


def spread(data):
    return data.repeat(2, axis=0).repeat(2, axis=1) / 4


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_gradients_are_those_of_the_loss(name):
    width, height = 20, 16
    params = random_sites(1, 12, width, height, 3).params
    data = halves(smooth_target(2, width, height, 3)).astype(np.float64)
    loss = total((2.0, measurement(halves, spread, data)))
    curvature = 0.01
    session = get_backend(name, 1).fit_session(smooth_target(2, width, height, 3), params)
    wrapped = LossSession(session, loss, curvature)
    wrapped.refresh(40.0)
    drawn = render(Sites(params), width, height)
    assert wrapped.gradient() == pytest.approx(2 * np.mean((halves(drawn) - data) ** 2), rel=1e-4)
    found = wrapped.gradients * (curvature * drawn.size / 2)
    rng = np.random.default_rng(3)
    for column in range(params.shape[1]):
        direction = np.zeros_like(params)
        direction[:, column] = rng.standard_normal(len(params))
        step = 1e-2
        high, low = (
            2 * np.mean((halves(render(Sites(params + s * direction), width, height)) - data) ** 2)
            for s in (np.float32(step), np.float32(-step))
        )
        expected = (high - low) / (2 * step)
        assert np.sum(found * direction) == pytest.approx(expected, rel=0.02, abs=2e-5), column


def test_the_mean_squared_error_is_fitted_as_a_fit_does():
    target = smooth_target(4, 48, 40, 3)
    options = FitOptions(iterations=40)
    whole = measurement(lambda u: u, lambda z: z, target)
    ours = optimize(CPU, whole, target, 20, options)
    theirs = fit(CPU, target, 20, options)
    assert len(ours.params) == 20
    assert ours.mse == pytest.approx(theirs.mse, rel=0.1)


def test_half_the_resolution_is_enough_to_better_a_guess():
    target = smooth_target(5, 48, 40, 1)
    data = halves(target)
    guess = np.full_like(target, target.mean())
    loss = measurement(halves, spread, data)
    options = FitOptions(iterations=60)
    found = optimize(CPU, loss, guess, 24, options, curvature=2 / 4 / data.size)
    picture = CPU.render(Sites(found.params), 48, 40)
    assert loss(picture)[0] == pytest.approx(found.mse, rel=1e-2)
    assert np.mean((picture - target) ** 2) < 0.1 * np.mean((guess - target) ** 2)
    again = optimize(CPU, loss, guess, 24, options, curvature=2 / 4 / data.size)
    np.testing.assert_array_equal(again.params, found.params)
    # From the sites found, one step stays near.
    on = optimize(
        CPU, loss, guess, 24, FitOptions(iterations=1, rate_scale=0.01), params=found.params
    )
    assert on.mse < 1.2 * found.mse


def test_every_loss_has_the_slope_that_it_says():
    rng = np.random.default_rng(6)
    target = rng.random((47, 45, 2)).astype(np.float32)
    picture = np.clip(target + 0.2 * rng.standard_normal(target.shape), 0, 1).astype(np.float32)
    direction = rng.standard_normal(target.shape)
    data = rng.random((23, 22, 2))
    crop = measurement(
        lambda u: halves(u[:46, :44]), lambda z: np.pad(spread(z), ((0, 1), (0, 1), (0, 0))), data
    )
    for loss in (
        crop,
        total_variation(0.3),
        ms_ssim_loss(target),
        total((0.5, crop), (2.0, total_variation(0.3))),
    ):
        expected = slope_along(loss, picture, direction, 1e-3)
        assert np.sum(loss(picture)[1] * direction) == pytest.approx(expected, rel=0.02)


def test_the_perceptual_loss_is_one_less_ms_ssim():
    target = smooth_target(7, 180, 177, 1)
    picture = np.clip(target + 0.05 * np.sin(np.arange(180))[None, :, None], 0, 1)
    picture = picture.astype(np.float32)
    expected = 1 - ms_ssim(target, picture, 1.0)
    assert ms_ssim_loss(target)(picture)[0] == pytest.approx(expected, abs=1e-4)
    small, seen = target[:20, :20], picture[:20, :20]  # room for one scale
    assert ms_ssim_loss(small)(seen)[0] == pytest.approx(1 - ssim(small, seen, 1.0), abs=1e-4)
    assert ms_ssim_loss(target)(target)[0] == pytest.approx(0, abs=1e-5)


def test_total_variation_of_an_edge_is_its_height_a_pixel():
    step = np.zeros((4, 8, 1), np.float32)
    step[:, 4:] = 0.5
    assert total_variation(1e-4)(step)[0] == pytest.approx(0.5 / 8, rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sites": 0}, "1 to 80 sites"),
        ({"curvature": 0.0}, "positive"),
        ({"guess": np.zeros((8, 10))}, "picture"),
        ({"guess": np.full((8, 10, 1), np.nan)}, "finite"),
        ({"options": FitOptions(recipe="paper")}, "default recipe"),
        ({"loss": lambda u: (0.0, u[1:])}, "shape"),
        ({"loss": lambda u: (0.0, u * np.nan)}, "finite"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    arguments = {"loss": lambda u: (0.0, u), "guess": np.ones((8, 10, 1), np.float32), "sites": 4}
    with pytest.raises(OptionError, match=words):
        optimize(CPU, **{**arguments, **changes})


def test_a_side_under_11_px_has_no_similarity():
    with pytest.raises(OptionError, match="11"):
        ms_ssim_loss(np.zeros((10, 30, 1), np.float32))
