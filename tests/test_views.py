"""Views: cells, inverse temperature and error, against the float64 reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diagrams import degenerate_diagrams, random_diagrams, random_sites
from PIL import Image

import sadcodec
from sadcodec import views
from sadcodec.backends import get_backend
from sadcodec.backends.reference import logits, top_k
from sadcodec.diagram import open_diagram
from sadcodec.errors import InputError, OptionError
from sadcodec.sites import Sites

DATA = Path(__file__).resolve().parent.parent / "data"
CPU = get_backend("cpu", 1)
DIAGRAMS = [d for d in random_diagrams() + degenerate_diagrams() if d.width * d.height < 5000]


def by_definition(sites: Sites, width: int, height: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and weights of the K sites of each pixel, [H, W, K]: every site looked at, in float64."""
    y, x = np.mgrid[:height, :width] + 0.5
    values = logits(sites.params.astype(np.float64), np.stack([x.ravel(), y.ravel()], axis=1))
    ids = top_k(values, k)
    chosen = np.take_along_axis(values, ids, axis=1)
    weights = np.exp(chosen - chosen[:, :1])
    weights /= weights.sum(axis=1, keepdims=True)
    return ids.reshape(height, width, -1), weights.reshape(height, width, -1)


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=str)
def test_top_sites_are_those_of_the_definition(diagram):
    found = views.top_sites(CPU, diagram.sites, diagram.width, diagram.height)
    ids, _ = by_definition(diagram.sites, diagram.width, diagram.height, 1)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, ids[:, :, 0])


def test_top_sites_beyond_the_first_channel():
    # More sites than one channel of the drawing counts, in cells of one pixel.
    y, x = np.mgrid[:80, :90] + 0.5
    count = x.size
    assert count > 1 << 12
    order = np.random.default_rng(3).permutation(count)
    sites = Sites.from_fields(
        np.stack([x.ravel(), y.ravel()], axis=1)[order],
        np.full(count, 2.0),
        np.zeros(count),
        np.zeros((count, 2)),
        np.zeros((count, 1)),
    )
    found = views.top_sites(CPU, sites, 90, 80)
    np.testing.assert_array_equal(order[found], np.arange(count).reshape(80, 90))


def test_the_reference_draws_the_same_views():
    sites = random_sites(5, 60, 40, 30)
    reference = get_backend("reference")
    for fill in views.FILLS:
        np.testing.assert_array_equal(
            views.cells(CPU, sites, 40, 30, fill=fill),
            views.cells(reference, sites, 40, 30, fill=fill),
        )
    mine, limits = views.tau(CPU, sites, 40, 30)
    theirs, reference_limits = views.tau(reference, sites, 40, 30, limits=limits)
    assert reference_limits == limits
    assert np.count_nonzero((mine != theirs).any(axis=2)) <= 12  # of 1200: next colour of 256


def test_cells_show_the_colors_of_their_sites():
    sites = random_sites(6, 40, 50, 40)
    ids = by_definition(sites, 50, 40, 1)[0][:, :, 0]
    plain = views.cells(CPU, sites, 50, 40, borders=False)
    expected = np.floor(sites.color[ids] * np.float32(255) + np.float32(0.5))
    np.testing.assert_array_equal(plain, expected)
    drawn = views.cells(CPU, sites, 50, 40)
    edge = np.zeros(ids.shape, bool)
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edge[:-1] |= ids[:-1] != ids[1:]
    np.testing.assert_array_equal((drawn != plain).any(axis=2), edge)
    assert 0.05 < edge.mean() < 0.6


def test_hashed_colors_differ_and_are_stable():
    colors = views.fill_colors(random_sites(7, 500, 50, 40, channels=1), "hash")
    assert colors.shape == (500, 3)
    assert len(np.unique(colors, axis=0)) > 490
    assert colors.min() >= 40
    assert colors.max() <= 230
    other = views.fill_colors(random_sites(8, 500, 50, 40), "hash")
    np.testing.assert_array_equal(colors, other)
    with pytest.raises(OptionError, match="fill"):
        views.fill_colors(random_sites(7, 5, 50, 40), "colour")


@pytest.mark.parametrize("k", [1, 8])
def test_tau_is_the_weighted_mean_of_the_logarithms(k):
    sites = random_sites(9, 50, 45, 35, log_tau=(-2, 2))
    ids, weights = by_definition(sites, 45, 35, k)
    mean = (weights * sites.log_tau.astype(np.float64)[ids]).sum(axis=2)
    picture, limits = views.tau(CPU, sites, 45, 35, k, limits=(0.2, 6.0))
    assert limits == (0.2, 6.0)
    share = (mean - np.log(0.2)) / np.log(30)
    expected = views.color_map(share)
    differing = (picture != expected).any(axis=2)
    assert differing.mean() < 0.01
    assert np.abs(picture.astype(int) - expected).max() <= 6  # neighbours in the map
    found = views.tau(CPU, sites, 45, 35, k)[1]
    np.testing.assert_allclose(np.log(found), np.quantile(mean, [0.01, 0.99]), atol=1e-3)


def test_a_single_inverse_temperature_has_a_range():
    sites = random_sites(10, 20, 12, 9, log_tau=(0.5, 0.5))
    picture, (low, high) = views.tau(CPU, sites, 12, 9)
    assert high / low == pytest.approx(2)
    assert low * high == pytest.approx(np.exp(1.0))
    assert np.ptp(picture, axis=(0, 1)).max() <= 6
    for limits in ((0.0, 1.0), (2.0, 1.0), (1.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(OptionError, match="low < high"):
            views.tau(CPU, sites, 12, 9, limits=limits)


def test_the_color_map_rises_from_black_to_white():
    table = views.color_map(np.linspace(-0.1, 1.1, 1000)).astype(float)
    np.testing.assert_array_equal(table[[0, -1]], [[0, 0, 0], [255, 255, 255]])
    brightness = table @ [0.30, 0.59, 0.11]
    assert (np.diff(brightness) >= -1).all()
    assert len(np.unique(table, axis=0)) == 256


def test_error_is_the_difference_times_the_gain():
    original = np.array([[[10, 20, 30], [200, 0, 255]]], np.uint8)
    decoded = np.array([[[12, 20, 29], [200, 100, 155]]], np.uint8)
    np.testing.assert_array_equal(
        views.error(original, decoded, gain=4), [[[136, 128, 124], [128, 255, 0]]]
    )
    np.testing.assert_array_equal(views.error(original, original), np.full((1, 2, 3), 128))
    gray = np.array([[3, 4]], np.uint8)
    np.testing.assert_array_equal(
        views.error(gray, gray[:, :, None] + np.uint8(1), gain=10), np.full((1, 2, 3), 138)
    )
    fine = np.array([[[257]]], np.uint16)  # one code value of 8 bits
    assert views.error(fine, 2 * fine, gain=5)[0, 0, 0] == 133


def test_errors_of_images_that_do_not_compare():
    image = np.zeros((4, 5, 3), np.uint8)
    for other in (image[:3], image[:, :, :1], image.astype(np.uint16)):
        with pytest.raises(InputError):
            views.error(image, other)
    for gain in (0.0, -1.0, np.nan):
        with pytest.raises(OptionError, match="gain"):
            views.error(image, image, gain=gain)


def test_images_as_rgb():
    gray = np.array([[0, 128, 255]], np.uint8)
    np.testing.assert_array_equal(views.rgb(gray)[0], [[0] * 3, [128] * 3, [255] * 3])
    covered = np.array([[[100, 255], [100, 0]]], np.uint8)
    np.testing.assert_array_equal(views.rgb(covered)[0], [[100] * 3, [255] * 3])
    fine = np.array([[[0, 65535, 257 * 77, 65535]]], np.uint16)
    np.testing.assert_array_equal(views.rgb(fine)[0, 0], [0, 255, 77])


@pytest.mark.parametrize("name", ["coffee", "camera"])
def test_a_file_opened_as_a_diagram(name):
    image = np.asarray(Image.open(DATA / f"{name}.png"))[100:164, 100:196]
    data = sadcodec.encode(image, sites=120, effort=1, threads=1)
    diagram = open_diagram(data, threads=1)
    np.testing.assert_array_equal(diagram.picture(), sadcodec.decode(data))
    assert (diagram.width, diagram.height, len(diagram.sites)) == (96, 64, 120)
    cells = diagram.cells(borders=False)
    picture, (low, high) = diagram.tau()
    assert cells.shape == picture.shape == (64, 96, 3)
    assert 0 < low < high
    # The partition alone is already close to the picture.
    assert np.abs(cells.astype(float) - views.rgb(diagram.picture())).mean() < 12
    assert (
        len(
            np.unique(
                views.cells(CPU, diagram.sites, 96, 64, fill="hash", borders=False).reshape(-1, 3),
                axis=0,
            )
        )
        > 100
    )
