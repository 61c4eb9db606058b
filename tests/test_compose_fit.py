"""Fits of bitmap primitives: that they come near, keep their bounds, and repeat themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compositions import drawn_templates
from PIL import Image

from sadcodec.compose.composition import COLOR, OPACITY, Composition, R, X, Y
from sadcodec.compose.constraints import CONSTRAINTS, Constraints
from sadcodec.compose.fit import fit
from sadcodec.compose.initialize import importance, initialize
from sadcodec.compose.losses import LOSSES, color_loss
from sadcodec.compose.render import render
from sadcodec.errors import OptionError

TEMPLATES = drawn_templates()[:2].copy()


def photograph(width: int = 72, height: int = 64) -> np.ndarray:
    image = Image.open(Path(__file__).parent.parent / "data" / "coffee.png").convert("RGB")
    return np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32) / 255


def disc(side: int = 64) -> np.ndarray:
    """Return a bright disc, RGBA, whose colour outside of it means nothing."""
    y, x = np.indices((side, side)) + 0.5
    out = np.ones((side, side, 4), np.float32)
    out[..., :3] = photograph(side, side) * 0.3 + 0.7
    out[..., 3] = np.hypot(x - side / 2, y - side / 2) < side / 3
    return out


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fit_comes_near(loss):
    result = fit(photograph(), TEMPLATES, count=80, iterations=40, loss=loss, threads=1)
    assert result.psnr > result.history[0][2] + 5.5


def test_a_fit_is_the_same_for_any_number_of_threads_and_another_for_another_seed():
    def bytes_of(seed, threads):
        options = {"count": 40, "iterations": 8, "prune": True}
        result = fit(disc(), TEMPLATES, seed=seed, threads=threads, **options)
        return result.composition.params.tobytes()

    assert bytes_of(0, 1) == bytes_of(0, 3)
    assert bytes_of(0, 1) != bytes_of(1, 1)


def test_parameters_stay_within_their_bounds():
    params = fit(photograph(), TEMPLATES, count=60, iterations=30, threads=1).composition.params
    assert (params[:, R] >= 2).all()
    assert (params[:, R] <= 16).all()
    assert (params[:, X] >= 0).all()
    assert (params[:, X] <= 72).all()
    assert (params[:, Y] <= 64).all()


def test_the_result_is_drawn_sharp_and_its_psnr_is_that_of_the_picture():
    target = photograph()
    result = fit(target, TEMPLATES, count=60, iterations=10, threads=1)
    error = np.mean((render(result.composition) - target) ** 2)
    assert result.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert [entry[0] for entry in result.history] == [*range(10), 10]


def test_noise_keeps_what_is_transparent_free_and_what_is_not_covered():
    target = disc()
    options = {"count": 120, "iterations": 60, "threads": 1}
    noisy, plain = (fit(target, TEMPLATES, noisy_canvas=n, **options) for n in (True, False))
    alpha = render(noisy.composition)[..., 3]
    assert np.mean((alpha - target[..., 3]) ** 2) < 0.005
    # What is nearly white may hide on a white canvas. Both PSNRs are over gray.
    assert noisy.psnr > plain.psnr + 0.3


def test_frozen_primitives_keep_their_bytes():
    first = fit(photograph(), TEMPLATES, count=50, iterations=5, threads=1).composition
    frozen = np.arange(50) % 2 == 0
    options = {"start": first, "frozen": frozen, "iterations": 5, "threads": 1}
    second = fit(photograph(), TEMPLATES, **options).composition
    assert np.array_equal(first.params[frozen], second.params[frozen])
    assert (first.params[~frozen] != second.params[~frozen]).any(axis=1).all()


def test_fitting_nothing_leaves_the_start():
    start = fit(photograph(), TEMPLATES, count=20, iterations=0, threads=1)
    assert len(start.history) == 1
    again = fit(photograph(), TEMPLATES, start=start.composition, iterations=0, threads=1)
    assert np.array_equal(again.composition.params, start.composition.params)


def test_structure_puts_small_primitives_in_front_where_there_is_detail():
    target = np.ascontiguousarray(photograph().transpose(2, 0, 1))
    detail = importance(target)
    params = initialize(target, 300, np.random.default_rng(0))
    assert (np.diff(params[:, R]) >= 0).all()
    assert params[-1, R] == pytest.approx(16, rel=0.05)
    assert (params[:, OPACITY] == -2).all()
    at = detail[params[:, Y].astype(int), params[:, X].astype(int)]
    assert (np.diff(at) <= 0).all()
    assert at.mean() > detail.mean() + 0.05
    places = params[:, :2].astype(int)
    assert len(np.unique(places, axis=0)) == 300
    color = 1 / (1 + np.exp(-params[:, COLOR:]))
    assert np.abs(color - target[:, places[:, 1], places[:, 0]].T).max() < 0.02


@pytest.mark.parametrize("name", LOSSES[:3])
def test_slopes_of_losses_are_their_differences(name):
    random = np.random.default_rng(0)
    target, picture = random.random((2, 3, 9, 8), np.float32)
    weights = random.random((9, 8), np.float32)
    loss = color_loss(name, target, weights)
    _, slope = loss(picture)
    step = np.zeros_like(picture)
    for at in ((0, 3, 3), (1, 8, 0), (2, 0, 7)):
        step[at] = 1e-2
        difference = (loss(picture + step)[0] - loss(picture - step)[0]) / 2e-2 * picture.size
        assert slope[at] == pytest.approx(difference, rel=0.05, abs=2e-3)
        step[at] = 0


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_slopes_of_constraints_are_their_differences(name):
    random = np.random.default_rng(0)
    target = random.random((3, 20, 24), np.float32)
    mask = random.random((20, 24), np.float32)
    alpha = random.random((20, 24), np.float32) * 0.9
    params = initialize(target, 6, random)
    term = Constraints({name: 0.3}, target, mask)
    seen = 0
    for by, values, places in (
        (term.by_alpha, alpha, [(4, 5), (19, 23)]),
        (term.by_params, params, [(0, R), (3, X), (5, Y)]),
    ):
        _, slope = by(values)
        for at in places if slope is not None else ():
            step = np.zeros_like(values)
            step[at] = 1e-2
            difference = (by(values + step)[0] - by(values - step)[0]) / 2e-2 * alpha.size
            assert slope[at] == pytest.approx(difference, rel=0.05, abs=2e-3), at
            seen += 1
    assert seen > 0


def test_constraints_do_what_they_say():
    target = photograph()
    plain = fit(target, TEMPLATES, count=60, iterations=20, threads=1).composition
    options = {"count": 60, "iterations": 20, "threads": 1}
    small = fit(target, TEMPLATES, constraints={"size": 1.0}, **options).composition
    assert small.params[:, R].mean() < 0.8 * plain.params[:, R].mean()
    apart = fit(target, TEMPLATES, constraints={"overlap": 0.01}, **options).composition
    clear = [render(replace(c, background=None))[..., 3].mean() for c in (plain, apart)]
    assert clear[1] < clear[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "number of primitives"),
        ({"iterations": -1}, "must not be negative"),
        ({"loss": "lpips"}, "unknown loss 'lpips'"),
        ({"init": "grid"}, "unknown init"),
        ({"mask": np.ones((3, 4), np.float32)}, "the mask has 4x3 px, the target 72x64"),
        ({"background": "blue"}, "background"),
        ({"constraints": {"weight": 1}}, "unknown constraint"),
        ({"constraints": {"size": -1}}, "must not be negative"),
        ({"frozen": np.ones(3, bool)}, "frozen"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        fit(photograph(), TEMPLATES, **{"count": 5, "iterations": 1, **options})


def test_a_start_must_have_the_target_s_size():
    start = Composition(np.ones((1, 8), np.float32), 5, 5, TEMPLATES)
    with pytest.raises(OptionError, match="the start has 5x5 px"):
        fit(photograph(), TEMPLATES, start=start)
