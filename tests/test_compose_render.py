"""The native renderer of compositions against the definition, and its gradients."""

from dataclasses import replace

import numpy as np
import pytest
from compositions import drawn_templates, random_composition

from sadcodec import _core
from sadcodec.compose import reference
from sadcodec.compose.composition import OPACITY, Composition, R
from sadcodec.compose.quads import quads
from sadcodec.compose.render import bitmaps, render
from sadcodec.errors import LimitError, OptionError

ISAS = _core.isas()


def gradient(drawn, slopes, blur=0.0, threads=1, isa="", active=None):
    core = bitmaps(drawn.templates, drawn.blend, blur=blur, threads=threads, isa=isa)
    core.set_params(drawn.params, drawn.opacity, drawn.blend)
    core.set_active(active)
    image = np.empty((4, drawn.height, drawn.width), np.float32)
    core.draw(image)
    planes = slopes.transpose(2, 0, 1).astype(np.float32)
    return core.gradient(image, np.ascontiguousarray(planes))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("blend", [0.0, 0.7])
@pytest.mark.parametrize("background", [True, False])
def test_the_picture_is_the_definition(isa, blend, background):
    drawn = random_composition(60, 130, 71, background=background, blend=blend, largest=70.0)
    exact = reference.render(drawn)
    assert np.abs(render(drawn, isa=isa) - exact).max() < 1e-4


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("blend", [0.0, 0.7])
def test_gradients_are_the_definition_s(isa, blend):
    drawn = random_composition(40, 75, 71, background=False, blend=blend, seed=3)
    slopes = np.random.default_rng(2).normal(size=(71, 75, 4))
    exact = reference.gradient(drawn, slopes, blur=1.0)
    ours = gradient(drawn, slopes, 1.0, isa=isa)
    scale = np.abs(exact).max(axis=0)
    assert (np.abs(ours - exact) / scale).max() < 2e-4


def test_threads_and_instruction_sets_change_no_bit():
    drawn = random_composition(60, 150, 111, background=False, blend=0.3, largest=40.0)
    slopes = np.random.default_rng(2).normal(size=(111, 150, 4))
    ways = [{"threads": t, "isa": isa} for isa in ISAS for t in (1, 3)]
    pictures = {render(drawn, **way).tobytes() for way in ways}
    gradients = {gradient(drawn, slopes, **way).tobytes() for way in ways}
    assert len(pictures) == len(gradients) == 1


def test_regions_are_parts_of_the_picture():
    drawn = random_composition(60, 150, 111, largest=40.0)
    whole = render(drawn, size=(300, 200))
    part = render(drawn, size=(300, 200), region=(37, 50, 101, 66))
    assert np.array_equal(part, whole[50:116, 37:138])


def test_hidden_primitives_are_left_out_without_a_trace():
    """300 of them, of which only those in front are seen."""
    random = np.random.default_rng(0)
    params = random.normal(0, 1, (300, 8)).astype(np.float32)
    params[:, :2] = random.uniform(0, 40, (300, 2))
    params[:, R] = 30
    params[:, OPACITY] = 1
    drawn = Composition(params, 40, 40, np.full((1, 128, 128, 4), 255, np.uint8))
    assert np.abs(render(drawn) - reference.render(drawn)).max() < 1e-5


def test_frozen_primitives_have_no_gradient_and_change_no_other():
    drawn = random_composition(40, 100, 71, background=False, seed=3)
    slopes = np.random.default_rng(2).normal(size=(71, 100, 4))
    active = (np.arange(40) % 3 == 0).astype(np.uint8)
    every = gradient(drawn, slopes)
    some = gradient(drawn, slopes, active=active)
    assert np.array_equal(some[active == 1], every[active == 1])
    assert not some[active == 0].any()


def test_only_tiles_that_an_active_primitive_touches_or_left_are_drawn():
    drawn = random_composition(20, 200, 200, background=False, largest=12.0)
    core = bitmaps(drawn.templates, drawn.blend)
    core.set_params(drawn.params, drawn.opacity, drawn.blend)
    image = np.empty((4, 200, 200), np.float32)
    core.draw(image)
    core.set_active((np.arange(20) == 4).astype(np.uint8))
    core.draw(image)
    moved = drawn.params.copy()
    for _ in range(3):
        moved[4, :2] = 200 - moved[4, :2][::-1]
        core.set_params(moved, drawn.opacity, drawn.blend)
        core.draw(image)
        whole = render(replace(drawn, params=moved.copy()))
        assert np.array_equal(image, whole.transpose(2, 0, 1))
    image[:] = -1
    core.draw(image)
    assert 0.5 < (image == -1).mean() < 1


def test_what_cannot_be_drawn_draws_nothing():
    """Finite numbers of any size, as a hostile file may have them; an empty template."""
    hostile = random_composition(4, 40, 40, background=False)
    params = hostile.params.copy()
    params[0, :4] = (3e38, -3e38, 1e-38, 3e38)
    params[1, R] = 3e38
    params[2, 3:] = 3e38
    params[3, 3:] = -3e38
    assert np.isfinite(render(replace(hostile, params=params))).all()
    empty = np.zeros((1, 128, 128, 4), np.uint8)
    assert not render(replace(hostile, templates=empty)).any()


def test_work_is_bounded():
    drawn = random_composition(200, 64, 64, largest=300.0)
    params = drawn.params.copy()
    params[:, R] = 300
    drawn = replace(drawn, params=params, templates=drawn_templates()[:1].copy())
    render(drawn, max_work=400)
    with pytest.raises(LimitError, match="200 primitives cover the picture more than 100 times"):
        render(drawn, max_work=100)


@pytest.mark.parametrize(
    "options",
    [{"size": (0, 5)}, {"region": (0, 0, 46, 5)}, {"region": (-1, 0, 5, 5)}, {"backend": "gpu"}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError):
        render(random_composition(), **options)


def test_the_reference_is_a_backend():
    drawn = random_composition()
    part = render(drawn, backend="reference", region=(5, 6, 7, 8))
    assert np.abs(part - render(drawn, region=(5, 6, 7, 8))).max() < 1e-4


def test_the_native_code_checks_what_it_is_given():
    made = quads(drawn_templates(), blended=False)
    core = _core.Bitmaps(*made, 1)
    image = np.empty((4, 8, 8), np.float32)
    for levels, blended in ((made.levels + 1, False), (made.levels, True), (-made.levels, False)):
        with pytest.raises(ValueError, match="planes must lie within"):
            _core.Bitmaps(made.quads, levels, blended, 1)
    with pytest.raises(TypeError):  # a converted copy would not live as long as what reads it
        _core.Bitmaps(made.quads.astype(np.int64), made.levels, False, 1)
    with pytest.raises(ValueError, match="8 columns"):
        core.set_params(np.ones((1, 7), np.float32), 1.0, 0.0)
    with pytest.raises(ValueError, match="positive"):
        core.set_params(np.zeros((1, 8), np.float32), 1.0, 0.0)
    core.set_params(np.ones((2, 8), np.float32), 1.0, 0.0)
    with pytest.raises(ValueError, match="one value a primitive"):
        core.set_active(np.ones(3, np.uint8))
    with pytest.raises(ValueError, match="4 planes"):
        core.draw(image[:3].copy())
    with pytest.raises(ValueError, match="window"):
        core.draw(image, -1, 0)
    with pytest.raises(ValueError, match="differ in shape"):
        core.gradient(image, image[:, :4].copy())
