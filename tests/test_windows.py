"""Windows and rasters of every backend: parts of a picture, and the picture at other scales."""

from __future__ import annotations

import numpy as np
import pytest
from backends_under_test import ALL, OTHERS, backend_named
from diagrams import degenerate_diagrams, random_diagrams, random_sites
from hypothesis import given, settings
from hypothesis import strategies as st

from sadcodec.backends.base import Backend
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.place import Place
from sadcodec.backends.reference import render as reference_render
from sadcodec.errors import LimitError, OptionError
from sadcodec.frame import frame_of
from sadcodec.pixels import code_values
from sadcodec.sites import Sites

DIAGRAMS = random_diagrams() + degenerate_diagrams()


@pytest.fixture(params=ALL)
def any_backend(request) -> Backend:
    return backend_named(request.param)


def assert_within_a_code_value(actual: np.ndarray, expected: np.ndarray) -> None:
    """At most 0.05 of a code value of 8 bits before rounding."""
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() * 255 <= 0.05


# ---- Windows of the picture ---------------------------------------------------------------------


@given(data=st.data(), diagram=st.sampled_from(DIAGRAMS))
@settings(max_examples=120, deadline=None)
def test_a_window_has_the_bits_of_the_whole(data, diagram):
    x = data.draw(st.integers(0, diagram.width - 1))
    y = data.draw(st.integers(0, diagram.height - 1))
    columns = data.draw(st.integers(1, diagram.width - x))
    rows = data.draw(st.integers(1, diagram.height - y))
    arguments = (diagram.sites, diagram.width, diagram.height, diagram.k)
    part = CpuBackend(1).render(*arguments, window=(x, y, columns, rows))
    whole = CpuBackend(1).render(*arguments)
    np.testing.assert_array_equal(part, whole[y : y + rows, x : x + columns])


def test_windows_of_a_picture_of_several_squares_have_the_bits_of_the_whole(rng):
    width, height = 2200, 1300
    sites = random_sites(71, 12000, width, height, 1, log_tau=(-3, 1))
    whole = CpuBackend(1).render(sites, width, height)
    windows = [(1000, 1000, 50, 40), (2199, 0, 1, 1300), (0, 1024, 2200, 276), (1024, 0, 1, 1)]
    for _ in range(6):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        windows.append((x, y, min(300, width - x), min(200, height - y)))
    for x, y, columns, rows in windows:
        part = CpuBackend(1).render(sites, width, height, window=(x, y, columns, rows))
        np.testing.assert_array_equal(part, whole[y : y + rows, x : x + columns])


def test_sites_that_do_not_matter_do_not_change_a_bit():
    """What a reader may leave out: sites that no pixel of the window can need."""
    width, height, window = 900, 700, (301, 222, 130, 90)
    sites = random_sites(72, 9000, width, height, log_tau=(-1, 1))
    near = np.abs(sites.position - (366, 267)).max(axis=1) < 180
    assert 400 < near.sum() < 4000
    part = CpuBackend(1).render(sites, width, height, window=window)
    alone = Sites(np.ascontiguousarray(sites.params[near]))
    np.testing.assert_array_equal(CpuBackend(1).render(alone, width, height, window=window), part)


@pytest.mark.parametrize("name", OTHERS)
def test_windows_of_other_backends_are_the_reference_s(name):
    sites = random_sites(73, 300, 90, 70)
    whole = reference_render(sites, 90, 70)
    for x, y, columns, rows in ((0, 0, 90, 70), (13, 21, 40, 30), (89, 69, 1, 1), (3, 0, 80, 7)):
        part = backend_named(name).render(sites, 90, 70, window=(x, y, columns, rows))
        assert_within_a_code_value(part, whole[y : y + rows, x : x + columns])


def test_windows_of_the_reference_are_those_of_the_whole():
    sites = random_sites(74, 50, 40, 30)
    whole = reference_render(sites, 40, 30)
    np.testing.assert_array_equal(
        reference_render(sites, 40, 30, window=(7, 9, 20, 5)), whole[9:14, 7:27]
    )


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ALL)
def test_code_values_are_the_rounded_colours(name, channels, depth):
    """Of the same floats, bit by bit; also of colours beyond 0..1."""
    params = random_sites(77, 40, 30, 20, channels).params.copy()
    params[:, 6:] = 4 * params[:, 6:] - 1.5
    backend, sites, exact = backend_named(name), Sites(params), depth == 16
    part = {"window": (5, 3, 13, 9), "place": PLACES["stretched"], "exact": exact}
    drawn = backend.render(sites, 20, 15, bit_depth=depth, **part)
    assert drawn.dtype == f"uint{depth}"
    assert drawn.min() == 0
    assert drawn.max() == 2**depth - 1
    np.testing.assert_array_equal(drawn, code_values(backend.render(sites, 20, 15, **part), depth))
    for options in ({"region": (7, 9, 12, 10)}, {"region": (7, 9, 12, 10), "scale": 1.7}):
        frame = frame_of(30, 20, **options)
        colours = backend.render(sites, exact=exact, **frame.raster._asdict())
        picture = frame.draw(backend, sites, 8, depth)
        np.testing.assert_array_equal(picture, code_values(colours, depth))


# ---- Rasters elsewhere --------------------------------------------------------------------------

PLACES = {
    "enlarged": Place(0.0, 0.0, 0.25, 0.25),
    "a little": Place(0.0, 0.0, 0.9, 0.9),
    "part, enlarged": Place(31.0, 17.0, 1 / 3, 1 / 3),
    "stretched": Place(5.0, 5.0, 0.7, 1.3),
    "shrunk": Place(0.0, 0.0, 2.5, 2.5),
    "between pixels": Place(0.5, 0.25, 1.0, 1.0),
    "beside the picture": Place(-40.0, -40.0, 3.0, 3.0),
    "magnified": Place(50.0, 40.0, 1 / 512, 1 / 512),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OTHERS)
def test_a_raster_anywhere_is_the_reference_s(name, place):
    sites = random_sites(75, 400, 97, 70)
    drawn = backend_named(name).render(sites, 61, 45, place=PLACES[place])
    assert_within_a_code_value(drawn, reference_render(sites, 61, 45, place=PLACES[place]))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("channels", "k"), [(1, 8), (2, 1), (4, 5), (3, 16)])
def test_rasters_of_any_channels_and_k(channels, k, exact):
    sites = random_sites(75, 400, 97, 70, channels)
    arguments, place = (sites, 61, 45, k), PLACES["stretched"]
    drawn = CpuBackend(1).render(*arguments, place=place, exact=exact)
    expected = reference_render(*arguments, place=place)
    assert_within_a_code_value(drawn, expected)
    if exact:
        np.testing.assert_allclose(drawn, expected, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_a_raster_of_a_large_picture_is_the_reference_s(name):
    """Where a float knows positions to 1/512 px, and edges are sharper than that."""
    sites = random_sites(76, 500, 60, 40, log_tau=(1, 8))
    params = sites.params.copy()
    params[:, :2] += (8_123_000, 16_000)
    params[:, :2] = np.round(params[:, :2])
    place = Place(8_123_003.0, 16_005.0, 0.37, 0.37)
    drawn = backend_named(name).render(Sites(params), 70, 50, place=place)
    assert_within_a_code_value(drawn, reference_render(Sites(params), 70, 50, place=place))


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([1, 7, 9, 33, 150]),
    log_tau=st.tuples(st.floats(-10, 8), st.floats(0, 10)),
    radius=st.tuples(st.floats(-64, 512), st.floats(0, 64)),
    anisotropy=st.tuples(st.floats(0, 6), st.floats(0, 2)),
    grid=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    corner=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    step=st.tuples(st.floats(0.01, 8), st.floats(0.01, 8)),
)
@settings(max_examples=100, deadline=None)
def test_any_raster_of_any_diagram_is_the_reference_s(
    seed, count, log_tau, radius, anisotropy, grid, corner, step
):
    params = random_sites(
        seed,
        count,
        40,
        30,
        log_tau=(log_tau[0], min(sum(log_tau), 10.0)),
        radius=(radius[0], sum(radius)),
        anisotropy=(anisotropy[0], min(sum(anisotropy), 6.0)),
        margin=4.0,
    ).params.copy()
    if grid:
        params[:, :2] = np.round(params[:, :2] / grid) * grid
    place = Place(*corner, *step)
    drawn = CpuBackend(1).render(Sites(params), 37, 25, place=place)
    assert_within_a_code_value(drawn, reference_render(Sites(params), 37, 25, place=place))


def test_windows_of_a_raster_have_its_bits():
    sites = random_sites(77, 3000, 400, 300)
    place = Place(11.0, 7.0, 0.3, 0.3)
    whole = CpuBackend(2).render(sites, 1100, 900, place=place)
    for x, y, columns, rows in ((0, 512, 1100, 388), (1000, 100, 99, 3), (5, 5, 1, 1)):
        part = CpuBackend(1).render(sites, 1100, 900, window=(x, y, columns, rows), place=place)
        np.testing.assert_array_equal(part, whole[y : y + rows, x : x + columns])


def test_rasters_agree_where_they_meet_the_picture_s_pixels():
    """Every third row and column of three times the size are the picture's pixels."""
    sites = random_sites(78, 400, 60, 50)
    plain = CpuBackend(1).render(sites, 60, 50)
    fine = CpuBackend(1).render(sites, 180, 150, place=Place(0.0, 0.0, 1 / 3, 1 / 3))
    assert_within_a_code_value(fine[1::3, 1::3], plain)


# ---- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "window", [(-1, 0, 2, 2), (0, 0, 0, 2), (0, 0, 2, -2), (4, 0, 2, 1), (0, 0, 1, 6), (9, 9, 1, 1)]
)
def test_windows_outside_of_the_raster_are_refused(any_backend, window):
    with pytest.raises(OptionError, match="no part of 5 x 5"):
        any_backend.render(random_sites(0, 3, 5, 5), 5, 5, window=window)


@pytest.mark.parametrize("place", [(0, 0, 0, 1), (0, 0, 1, -1), (np.nan, 0, 1, 1), (0, 1e12, 1, 1)])
def test_places_that_are_none_are_refused(any_backend, place):
    with pytest.raises(OptionError, match="cannot lie"):
        any_backend.render(random_sites(0, 3, 5, 5), 5, 5, place=Place(*place))


def test_the_limit_of_work_holds_for_what_is_drawn():
    """Sites in one place, each of which may matter at every pixel near by."""
    params = np.concatenate(
        [random_sites(79, 400, 512, 512).params, random_sites(80, 3000, 4, 4).params]
    )
    params[400:, :6] = (20.0, 20.0, 0.0, 0.0, 0.0, 0.0)
    sites, backend = Sites(params), CpuBackend(1)
    with pytest.raises(LimitError, match="of its 3400 sites"):
        backend.render(sites, 512, 512, max_work=8)
    with pytest.raises(LimitError, match="of its 3400 sites"):
        backend.render(sites, 512, 512, max_work=8, window=(0, 0, 300, 300))
    assert backend.render(sites, 512, 512, max_work=8, window=(300, 300, 200, 200)).size
