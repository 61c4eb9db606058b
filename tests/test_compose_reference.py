"""The float64 definition of a composition: single pixels by hand, gradients by differences."""

from dataclasses import replace

import numpy as np
import pytest
from compositions import drawn_templates, random_composition

from sadcodec.compose import reference
from sadcodec.compose.composition import COLOR, COLUMNS, OPACITY, Composition
from sadcodec.compose.pyramid import levels, margin_of, pyramid
from sadcodec.errors import CompositionError


def opaque_square(angle: float, r: float) -> Composition:
    params = np.zeros((1, COLUMNS), np.float32)
    params[0] = (20, 20, r, angle, 40, 40, -40, 40)
    templates = np.full((1, 128, 128, 4), 255, np.uint8)
    return Composition(params, 40, 40, templates)


def test_a_turned_square_keeps_its_corners():
    drawn = reference.render(opaque_square(np.pi / 4, 12.0))
    y, x = np.indices((40, 40)) + 0.5
    inside = np.abs(x - 20) + np.abs(y - 20)
    assert drawn[inside < 12 * np.sqrt(2) - 0.5] == pytest.approx(
        np.broadcast_to([1, 0, 1, 1], drawn[inside < 12 * np.sqrt(2) - 0.5].shape), abs=1e-12
    )
    assert not drawn[inside > 12 * np.sqrt(2) + 1.5].any()
    assert drawn[20, 20 + 15, 3] == 1  # a corner, beyond r


def test_angles_turn_clockwise_on_the_screen():
    square = opaque_square(0.0, 12.0)
    templates = square.templates.copy()
    templates[:, :, :64, 3] = 0  # only the right half is left
    for angle, row, column in ((0, 20, 26), (np.pi / 2, 26, 20), (np.pi, 20, 14)):
        params = square.params.copy()
        params[0, 3] = angle
        drawn = reference.render(replace(square, params=params, templates=templates))
        assert drawn[row, column, 3] == 1
        assert drawn[40 - row, 40 - column, 3] == 0


def test_the_first_primitive_is_in_front():
    params = np.zeros((2, COLUMNS), np.float32)
    params[:] = (20, 20, 12, 0, 40, 40, -40, -40)
    params[1, COLOR:] = (-40, 40, -40)
    params[0, OPACITY] = 0
    both = replace(opaque_square(0.0, 12.0), params=params)
    assert reference.render(both)[20, 20] == pytest.approx([0.5, 0.5, 0, 1])


def test_blend_takes_the_template_s_colour():
    params = np.zeros((1, COLUMNS), np.float32)
    params[0] = (20, 20, 15, 0, 40, 40, 40, 40)
    bar = Composition(params, 40, 40, drawn_templates()[1:2].copy(), blend=0.25, opacity=0.5)
    expected = 0.5 * (0.75 + 0.25 * np.array([200, 30, 90]) / 255)
    assert reference.render(bar)[20, 20, :3] == pytest.approx(expected, abs=1e-3)


def test_the_pyramid_holds_means_of_premultiplied_colour():
    templates = drawn_templates()
    made = pyramid(templates)
    assert [level.shape[1] for level in made] == [128, 64, 32, 16, 8, 4, 2, 1]
    exact = templates[..., :3] * (templates[..., 3:] / 255.0)
    assert np.abs(made[0][..., :3] - exact).max() <= 0.5
    mean = templates[..., 3].reshape(3, 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.abs(made[1][..., 3] - mean).max() <= 0.5


def test_a_blur_keeps_what_it_spreads():
    templates = np.full((1, 128, 128, 4), 255, np.uint8)
    for sharp, soft in zip(pyramid(templates), pyramid(templates, 1.0), strict=True):
        assert soft.shape[1] == sharp.shape[1] + 2 * margin_of(1.0)
        assert soft.sum() == pytest.approx(sharp.sum(), rel=0.03)  # rounding
    assert pyramid(templates, 1.0)[0][0, 64, 2, 3] == pytest.approx(255 * 0.30, abs=3)


def test_levels_have_one_to_two_texels_a_pixel():
    r = np.geomspace(0.6, 63.9, 200).astype(np.float32)
    texels = 128 / 2.0 ** levels(r) / (2 * r)
    assert ((texels >= 1) & (texels < 2)).all()
    assert levels(np.array([64, 65, 500, 0.01], np.float32)).tolist() == [0, 0, 0, 7]


@pytest.mark.parametrize(("background", "blend"), [(True, 0.4), (False, 0.0)])
def test_gradients_are_the_differences(background, blend):
    drawn = random_composition(background=background, blend=blend)
    weights = np.random.default_rng(1).normal(size=(drawn.height, drawn.width, drawn.channels))

    def loss(params):
        moved = object.__new__(Composition)  # float64, for small steps
        for name, value in vars(drawn).items():
            object.__setattr__(moved, name, value)
        object.__setattr__(moved, "params", params)
        return (weights * reference.render(moved, blur=0.7)).sum()

    exact = reference.gradient(drawn, weights, blur=0.7)
    params = drawn.params.astype(np.float64)
    step = 1e-6
    for i in range(0, len(drawn), 4):
        for j in range(COLUMNS):
            away = np.zeros_like(params)
            away[i, j] = step
            difference = (loss(params + away) - loss(params - away)) / (2 * step)
            assert exact[i, j] == pytest.approx(difference, rel=2e-4, abs=2e-4), (i, j)


def test_other_sizes_scale_positions_and_r():
    drawn = random_composition(background=False)
    doubled = reference.render(drawn, 90, 76)
    assert doubled.shape == (76, 90, 4)
    halved = doubled.reshape(38, 2, 45, 2, 4).mean(axis=(1, 3))
    assert np.abs(halved - reference.render(drawn)).mean() < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": np.ones((3, 7), np.float32)}, r"shape \[N, 8\]"),
        ({"params": np.zeros((3, 8), np.float32)}, "r must be greater than 0"),
        ({"params": np.ones((3, 8))}, "float32"),
        ({"params": np.full((1, 8), np.inf, np.float32)}, "not finite"),
        ({"params": np.ones((0, 8), np.float32)}, "0 primitives"),
        ({"templates": np.zeros((1, 64, 64, 4), np.uint8)}, "shape"),
        ({"width": 0}, "width 0"),
        ({"background": np.array([0, 2, 0], np.float32)}, "0..1"),
        ({"blend": 1.5}, "blend"),
        ({"opacity": 0.0}, "opacity"),
    ],
)
def test_what_is_not_a_composition_is_refused(change, message):
    with pytest.raises(CompositionError, match=message):
        replace(opaque_square(0.0, 4.0), **change)


def test_r_is_the_half_side():
    drawn = reference.render(opaque_square(0.0, 10.0))[..., 3]
    assert drawn.sum() == pytest.approx((2 * 10.0) ** 2, rel=0.01)
