"""Compositions of sequences: what stands still in the frames does so in the pictures."""

from dataclasses import replace

import numpy as np
import pytest
from compositions import drawn_templates, random_composition
from test_compose_fit import photograph

from sadcodec.compose.composition import OPACITY, R
from sadcodec.compose.fit import fit
from sadcodec.compose.render import render
from sadcodec.compose.sequence import changed, faded, fit_sequence, flicker, touching
from sadcodec.errors import OptionError

TEMPLATES = drawn_templates()[:2].copy()


def moving_square() -> list[np.ndarray]:
    """Return three frames of 96 x 64 px: a photograph with a yellow square that moves over it."""
    frames = []
    for step in range(3):
        frame = photograph(96, 64)
        frame[8:24, 8 + 6 * step : 24 + 6 * step] = (0.9, 0.8, 0.1)
        frames.append(frame)
    return frames


def test_frames_that_start_from_the_last_flicker_less():
    frames = moving_square()
    options = {"count": 60, "iterations": 30, "threads": 1}
    told = []
    followed = list(
        fit_sequence(
            frames, TEMPLATES, progress=lambda f, m: told.append((f, m)), frame_count=3, **options
        )
    )
    alone = [fit(frame, TEMPLATES, seed=i, **options) for i, frame in enumerate(frames)]
    pictures = [[render(r.composition) for r in results] for results in (followed, alone)]
    assert flicker(pictures[0], frames) < 0.3 * flicker(pictures[1], frames)
    assert followed[2].psnr > followed[0].psnr - 0.5
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert told[-1][1].startswith("frame 3: 15/15 iterations, ")


def test_primitives_far_from_the_change_keep_their_bytes():
    frames = moving_square()
    first, second = fit_sequence(frames[:2], TEMPLATES, count=80, iterations=8, threads=1)
    share = touching(first.composition, changed(frames[1], frames[0]))
    same = (first.composition.params == second.composition.params).all(axis=1)
    assert np.array_equal(same, share < 0.05)
    assert 0 < same.sum() < 80


def test_a_frame_like_the_last_keeps_every_byte():
    frame = photograph()
    first, second = fit_sequence([frame, frame], TEMPLATES, count=30, iterations=4, threads=1)
    assert np.array_equal(first.composition.params, second.composition.params)
    assert flicker([frame, frame + 1], [frame, frame]) == pytest.approx(255)
    assert flicker([frame, frame], [frame, 1 - frame * 0]) == 0


def test_large_opaque_primitives_in_front_of_a_change_are_faded():
    made = random_composition(8, 72, 64)
    params = made.params.copy()
    params[:, R], params[:, OPACITY] = 10, 2
    params[1, R] = 3  # small
    params[2, OPACITY] = -1  # transparent already
    share = np.array([0.5, 0.5, 0.5, 0.1, 0.5, 0.5, 0.5, 0.5])  # 3: elsewhere; from 4: behind
    left = faded(replace(made, params=params), share).params
    assert np.flatnonzero((left != params).any(axis=1)).tolist() == [0]
    assert left[0, OPACITY] == pytest.approx(np.log(0.3 / 0.7))


def test_shares_are_those_of_the_upright_square():
    made = random_composition(1, 40, 40)
    params = made.params.copy()
    params[0, :3] = (10, 20, 5)
    pixels = np.zeros((40, 40), bool)
    pixels[15:25, :10] = True
    assert touching(replace(made, params=params), pixels) == pytest.approx([0.5])


def test_frames_must_have_one_shape():
    frames = [photograph(), photograph(64, 64)]
    with pytest.raises(OptionError, match="frame 2 has 64x64 px"):
        list(fit_sequence(frames, TEMPLATES, count=5, iterations=1, threads=1))
