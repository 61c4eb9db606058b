"""Regions, scales and sizes: what `decode`, a diagram and the command draw of a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_sad
from diagrams import random_sites

import sadcodec
from sadcodec import bitstream, image_io
from sadcodec.backends import get_backend
from sadcodec.backends.place import Place
from sadcodec.backends.reference import render as reference_render
from sadcodec.bitstream import Header, QuantizerParameters
from sadcodec.diagram import open_diagram
from sadcodec.errors import LimitError, OptionError
from sadcodec.frame import MAX_SAMPLES, Frame, frame_of
from sadcodec.quantize import quantize

CPU = get_backend("cpu", 1)


def file_of(width: int, height: int, sites: int, channels: int = 3, depth: int = 8) -> bytes:
    """Return a file of random sites."""
    quantizer = QuantizerParameters(200, 100, 100, 100, 50, (300,) * channels)
    symbols = quantize(random_sites(5, sites, width, height, channels), width, height, quantizer)
    return bitstream.write(Header(width, height, channels, depth, 8, sites, quantizer), symbols)


@pytest.fixture(scope="module")
def stored() -> bytes:
    """101 x 77 px of 300 sites."""
    return file_of(101, 77, 300)


# ---- Frames -------------------------------------------------------------------------------------


def test_what_options_ask_for():
    assert frame_of(100, 80) == Frame((0, 0, 100, 80), 100, 80, (100, 80))
    assert frame_of(100, 80, (10, 20, 30, 40), 2.5) == Frame((10, 20, 30, 40), 75, 100, (100, 80))
    assert frame_of(100, 80, scale=0.001).width == 1
    assert frame_of(5, 3, scale=0.5).width == 3  # halves go up
    assert frame_of(100, 80, size=(7, 900)).samples == 56 * 900
    assert frame_of(100, 80, size=(50, 40)).samples == 8000
    whole = frame_of(np.int32(100), 80, np.array([1, 2, 3, 4]), size=np.array([3, 4]))
    assert whole.raster == (100, 80, (1, 2, 3, 4), (0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "options",
    [
        {"region": (0, 0, 101, 80)},
        {"region": (-1, 0, 5, 5)},
        {"region": (0, 0, 0, 5)},
        {"region": (99, 79, 1, 2)},
        {"region": (0, 0, 5)},
        {"region": (0.5, 0, 5, 5)},
        {"region": "0,0,5,5"},
        {"region": 7},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": np.nan},
        {"scale": np.inf},
        {"size": (0, 5)},
        {"size": (5, -5)},
        {"size": (5, 5, 5)},
        {"size": (5.0, 5.0)},
        {"size": (5, 5), "scale": 1.0},
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(options):
    with pytest.raises(OptionError) as caught:
        frame_of(100, 80, **options)
    assert "\n" not in str(caught.value)


def test_limits_hold_for_what_is_drawn(stored):
    part = sadcodec.decode(stored, region=(3, 4, 10, 10), max_pixels=100, threads=1)
    assert part.shape == (10, 10, 3)
    for options in (
        {"region": (3, 4, 11, 10)},
        {"size": (101, 1)},
        {"scale": 1.0},
        {},
        {"region": (0, 0, 2, 2), "scale": 1e300},
        {"size": (1 << 30, 1 << 30)},
    ):
        with pytest.raises(LimitError, match="exceeds"):
            sadcodec.decode(stored, max_pixels=100, threads=1, **options)
    with pytest.raises(LimitError, match="a side over"):
        frame_of(10, 10, size=((1 << 23) + 1, 1)).check(1 << 40)


def test_a_picture_over_the_limit_opens_for_a_region():
    data = file_of(1 << 16, 1 << 14, 64)  # 2^30 px
    with pytest.raises(LimitError):
        sadcodec.decode(data, threads=1)
    part = sadcodec.decode(data, region=(65000, 16000, 30, 20), threads=1)
    assert part.shape == (20, 30, 3)
    assert sadcodec.decode(data, size=(64, 16), threads=1).shape == (16, 64, 3)


# ---- Pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_region_is_the_crop(channels, depth):
    data = file_of(101, 77, 300, channels, depth)
    whole = sadcodec.decode(data, threads=1)
    for x, y, width, height in ((0, 0, 101, 77), (13, 7, 50, 41), (100, 76, 1, 1)):
        part = sadcodec.decode(data, region=(x, y, width, height), threads=1)
        np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])
        assert part.dtype == whole.dtype
    np.testing.assert_array_equal(sadcodec.decode(data, scale=1.0, threads=1), whole)


def areas(length: int, pixels: int) -> np.ndarray:
    """Return the share of each of `length` px in each of the pixels, [pixels, length]."""
    edges = np.arange(pixels + 1) * (length / pixels)
    low, high = edges[:-1, None], edges[1:, None]
    at = np.arange(length)
    return np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, None) / (high - low)


@pytest.mark.parametrize("size", [(101, 40), (50, 38), (33, 77), (13, 10), (100, 76)])
def test_shrinking_averages_the_picture_s_pixels(stored, size):
    diagram = open_diagram(stored, threads=1)
    values = np.clip(reference_render(diagram.sites, 101, 77), 0, 1)
    columns, rows = areas(101, size[0]), areas(77, size[1])
    expected = np.einsum("ij,jkc,lk->ilc", rows, values, columns)
    drawn = sadcodec.decode(stored, size=size, threads=1)
    assert np.abs(drawn - expected * 255).max() <= 0.55


def test_a_shrunk_part_and_beyond_eight(stored):
    sites = open_diagram(stored, threads=1).sites
    drawn = sadcodec.decode(stored, region=(10, 20, 60, 50), size=(4, 5), threads=1)
    step = (60 / 4 / MAX_SAMPLES, 50 / 5 / MAX_SAMPLES)
    place = (10.0, 20.0, *step)
    values = np.clip(reference_render(sites, 32, 40, place=Place(*place)), 0, 1)
    expected = values.reshape(5, 8, 4, 8, 3).mean(axis=(1, 3))
    assert np.abs(drawn - expected * 255).max() <= 0.55


def test_shrinking_with_alpha_does_not_bleed():
    """A transparent half of another colour leaves no trace in the opaque one."""
    sites = random_sites(6, 2, 16, 16, 4, log_tau=(3, 3), radius=(0, 0), anisotropy=(0, 0))
    params = sites.params.copy()
    params[:, :2] = (4.0, 8.0), (11.5, 8.0)
    params[:, 6:] = (1, 0, 0, 1), (0, 1, 0, 0)
    drawn = frame_of(16, 16, size=(5, 5)).draw(CPU, type(sites)(params), 8, 8)
    assert (drawn[:, :2] == (255, 0, 0, 255)).all()
    assert (drawn[:, 2, 0] >= 254).all()
    assert (drawn[:, 2, 3] > 0).all()
    assert (drawn[:, 2, 3] < 255).all()
    assert (drawn[:, 3:, 3] == 0).all()


@pytest.mark.parametrize("options", [{"scale": 3.0}, {"region": (20, 30, 17, 9), "size": (70, 31)}])
def test_enlarging_samples_the_diagram(stored, options):
    diagram = open_diagram(stored, threads=1)
    x, y, width, height = options.get("region", (0, 0, 101, 77))
    drawn = sadcodec.decode(stored, threads=1, **options)
    rows, columns = drawn.shape[:2]
    place = Place(x, y, width / columns, height / rows)
    expected = reference_render(diagram.sites, columns, rows, place=place)
    assert np.abs(drawn - np.clip(expected, 0, 1) * 255).max() <= 0.55
    np.testing.assert_array_equal(diagram.picture(**options), drawn)


def test_bands_change_nothing(stored, monkeypatch):
    options = [{}, {"scale": 30.0}, {"size": (50, 2100)}, {"region": (3, 5, 50, 60), "scale": 20.0}]
    before = [sadcodec.decode(stored, threads=1, **each) for each in options]
    monkeypatch.setattr("sadcodec.frame._BAND", 1 << 10)
    monkeypatch.setattr("sadcodec.frame._SQUARE", 64)
    for each, expected in zip(options, before, strict=True):
        np.testing.assert_array_equal(sadcodec.decode(stored, threads=1, **each), expected)


def test_backends_agree(stored):
    part = (9, 8, 30, 20)
    for options in ({"region": part}, {"size": (30, 20)}, {"region": part, "scale": 3}):
        ours = sadcodec.decode(stored, backend="cpu", threads=1, **options)
        theirs = sadcodec.decode(stored, backend="reference", **options)
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_points_of_a_diagram_are_its_pixels(stored):
    diagram = open_diagram(stored, threads=1)
    values = diagram.sample([[10.5, 20.5], [100.5, 76.5], [-5.0, 3.0]])
    assert values.shape == (3, 3)
    pixels = np.clip(values, 0, 1) * 255
    whole = diagram.picture()
    assert np.abs(pixels[:2] - [whole[20, 10], whole[76, 100]]).max() <= 0.55


# ---- Views --------------------------------------------------------------------------------------


def test_views_of_a_region_are_crops(stored):
    diagram = open_diagram(stored, threads=1)
    region = (13, 7, 50, 41)
    cut = np.s_[7:48, 13:63]
    cells = diagram.cells(region=region, borders=False)
    np.testing.assert_array_equal(cells, diagram.cells(borders=False)[cut])
    tau, _ = diagram.tau((0.1, 9.0), region=region)
    np.testing.assert_array_equal(tau, diagram.tau((0.1, 9.0))[0][cut])
    for options in ({"scale": 3.0}, {"size": (20, 90)}):
        shape = (123, 150, 3) if "scale" in options else (90, 20, 3)
        assert diagram.cells(region=region, **options).shape == shape
        assert diagram.tau(region=region, **options)[0].shape == shape
        assert diagram.marks(region=region, **options).shape == shape
    with pytest.raises(LimitError):
        open_diagram(stored, threads=1, max_pixels=100).cells()


# ---- The command --------------------------------------------------------------------------------


def sad(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run_sad(*arguments)
    out, err = capfd.readouterr()
    return status, out, err


@pytest.fixture
def folder(stored, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.sad").write_bytes(stored)
    whole = sadcodec.decode(stored, threads=1)
    Path("a.png").write_bytes(image_io.encode_image(whole, "png"))
    return tmp_path


def read(path: str) -> np.ndarray:
    return image_io.decode_image(Path(path).read_bytes())


def test_the_command_draws_parts_and_sizes(folder, capfd):
    whole = read("a.png")
    status, out, _ = sad(capfd, "decode", "a.sad", "-o", "b.png", "--region=5,6,40,30", "--json")
    assert status == 0
    assert (json.loads(out)["width"], json.loads(out)["height"]) == (40, 30)
    np.testing.assert_array_equal(read("b.png"), whole[6:36, 5:45])
    options = ["--region", "5,6,40,30", "--scale", "1.5", "--threads", "1", "--quiet"]
    assert sad(capfd, "decode", "a.sad", "-o", "c.ppm", *options) == (0, "", "")
    assert read("c.ppm").shape == (45, 60, 3)
    assert sad(capfd, "decode", "a.sad", "-o", "d.ppm", "--size=20x10")[0] == 0
    assert read("d.ppm").shape == (10, 20, 3)


@pytest.mark.parametrize("view", ["cells", "sites", "tau", "error"])
def test_the_command_draws_views(folder, capfd, view):
    options = ["--original", "a.png"] if view == "error" else ["--scale", "2"]
    command = ["decode", "a.sad", "-o", "b.png", "--view", view, "--region", "0,0,30,20", "--json"]
    status, out, err = sad(capfd, *command, *options)
    assert (status, err) == (0, "")
    assert json.loads(out)["view"] == view
    drawn = read("b.png")
    assert drawn.shape == ((20, 30, 3) if view == "error" else (40, 60, 3))
    if view == "error":
        assert (drawn == 128).all()


@pytest.mark.parametrize(
    "options",
    [
        "--region=1,2,3",
        "--region=1,2,3,0",
        "--region=-1,2,3,4",
        "--region=1.5,2,3,4",
        "--region=99999999999,0,1,1",
        "--region=1,2,3,4,5",
        "--region=",
        "--region=٣,0,1,1",
        "--size=0x5",
        "--size=5",
        "--size=5x",
        "--size=1e3x5",
        "--scale=0",
        "--scale=-1",
        "--scale=nan",
        "--scale=inf",
        "--scale=2 --size=5x5",
        "--view=error",
        "--view=cells --original=a.png",
        "--view=error --original=a.png --scale=2",
        "--view=nothing",
        "--view=tau --repair",
    ],
)
def test_wrong_usage_ends_with_status_2(folder, capfd, options):
    status, out, err = sad(capfd, "decode", "a.sad", "-o", "b.png", *options.split(" "))
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: ")
    assert not Path("b.png").exists()


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("--region=90,0,20,5", "a.sad: the region 90,0,20,5 is not inside of 101 x 77 pixels"),
        ("--scale=1e30", "exceeds the limit of 268435456"),
        ("--size=2000000000x2000000000", "exceeds the limit of 268435456"),
        ("--region=0,0,9,9 --max-pixels=80", "exceeds the limit of 80"),
        ("--view=cells --scale=1e6", "exceeds the limit"),
        ("--view=error --original=none.png", "none.png: "),
        ("--view=error --original=b.ppm", "the original has 9 x 9 pixels, not 101 x 77"),
    ],
)
def test_errors_are_one_line(folder, capfd, options, cause):
    Path("b.ppm").write_bytes(image_io.encode_image(np.zeros((9, 9, 3), np.uint8), "ppm"))
    status, out, err = sad(capfd, "decode", "a.sad", "-o", "c.png", *options.split(" "))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert cause in err
    assert not Path("c.png").exists()
