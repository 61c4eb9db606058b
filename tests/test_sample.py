"""Colours at single points, and sites drawn over the picture."""

from __future__ import annotations

import numpy as np
import pytest
from diagrams import degenerate_diagrams, random_diagrams, random_sites

from sadcodec.backends import sample
from sadcodec.backends.reference import logits, render, top_k
from sadcodec.errors import OptionError
from sadcodec.site_view import marks
from sadcodec.sites import Sites

DIAGRAMS = random_diagrams() + degenerate_diagrams()


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=str)
def test_pixels_centres_have_the_colors_of_the_reference(diagram):
    y, x = np.mgrid[: diagram.height, : diagram.width] + 0.5
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    found = sample(diagram.sites, points, diagram.k)
    expected = render(diagram.sites, diagram.width, diagram.height, diagram.k)
    np.testing.assert_array_equal(found, expected.reshape(len(points), -1))


def test_points_anywhere_take_their_k_sites_of_all(rng):
    sites = random_sites(90, 700, 200, 100, 4)
    points = np.concatenate(
        [
            rng.uniform((-50, -50), (250, 150), (1500, 2)),
            np.tile([[33.3, 44.4]], (300, 1)),  # more in one place than a box has
            [[-1e6, 1e6], [1e5, 0.0]],
        ]
    )
    found = sample(sites, points, 8)
    params = sites.params.astype(np.float64)
    values = logits(params, points)
    ids = top_k(values, 8)
    chosen = np.take_along_axis(values, ids, axis=1)
    weights = np.exp(chosen - chosen[:, :1])
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        found, np.einsum("mk,mkc->mc", weights, params[ids, 6:]), rtol=0, atol=1e-14
    )


def test_points_of_other_kinds():
    sites = random_sites(91, 20, 9, 9, 1)
    assert sample(sites, np.empty((0, 2)), 8).shape == (0, 1)
    whole = sample(sites, [[1, 2], [3, 4]], 8)
    np.testing.assert_array_equal(whole, sample(sites, [[1.0, 2.0], [3, 4.0]], 8))
    for points in ([1.0, 2.0], [[1.0, 2.0, 3.0]], [[np.nan, 0.0]], [[np.inf, 0.0]], [["a", "b"]]):
        with pytest.raises(OptionError, match="points"):
            sample(sites, points, 8)
    with pytest.raises(OptionError, match="K must"):
        sample(sites, [[0.0, 0.0]], 17)


def one_site(log_anisotropy: float, angle: float) -> Sites:
    vector = log_anisotropy * np.array([np.cos(2 * angle), np.sin(2 * angle)])
    return Sites.from_fields([[15.0, 20.0]], [0.0], [0.0], [vector], [[0.5]])


def test_marks_lie_where_their_sites_are_and_as_they_do():
    for shade, angle in ((0, 0.0), (255, 0.0), (0, np.pi / 2)):
        picture = np.full((160, 120, 3), shade, np.uint8)
        drawn = marks(picture, one_site(1.2, angle), (0, 0, 30, 40))  # 4 px a px
        changed = (drawn != picture).any(axis=2)
        y, x = np.nonzero(changed)
        assert abs(x.mean() - 60) < 2
        assert abs(y.mean() - 80) < 2
        wide, high = np.ptp(x), np.ptp(y)
        # The direction is the short axis: level lines are stretched across it.
        assert (high > 2 * wide) if angle == 0.0 else (wide > 2 * high)
        assert abs(drawn.astype(int) - shade).max() == 255  # white on black, black on white


def test_marks_of_sites_elsewhere_are_not_drawn():
    picture = np.full((20, 20, 3), 90, np.uint8)
    drawn = marks(picture, one_site(0.0, 0.0), (40, 0, 20, 20))
    np.testing.assert_array_equal(drawn, picture)
    assert drawn is not picture
