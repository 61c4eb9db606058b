"""Rate-distortion curves as numbers, and the plots made of them."""

from __future__ import annotations

import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadcodec.errors import InputError, OptionError, OutputError
from sadcodec.evaluate import plot
from sadcodec.evaluate.curves import Line, Panel, Point, panels
from sadcodec.evaluate.peers import read_peers
from sadcodec.evaluate.row import Row

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
RATES = (0.2, 0.4, 0.8)


def row(image, value, codec="sad", error="", **fields):
    base = Row(image, 64, 48, codec, "bpp", value, 5, 0, "auto", error=error)
    measured = {"bytes": 1000, "bpp": value, "psnr_db": 30.0, "ssim": 0.9}
    return Row(**(vars(base) | ({} if error else measured) | fields))


def sweep(images, codec="sad", offset=0.0, **fields):
    """Rows with PSNR 30 + 10 bpp + the number of the image."""
    return [
        row(image, rate, codec, psnr_db=30 + 10 * rate + nth + offset, **fields)
        for nth, image in enumerate(images)
        for rate in RATES
    ]


def line(panel, name):
    return next(line for line in panel.lines if line.name == name)


def test_points_are_means_over_the_images():
    images = [f"i{nth}.png" for nth in range(5)]
    found = panels(sweep(images))
    assert [panel.column for panel in found] == ["psnr_db", "ssim"]
    (mine,) = found[0].lines
    assert (mine.name, mine.ours, mine.measured, mine.published) == ("sad", True, True, False)
    assert [point.rate for point in mine.points] == pytest.approx(list(RATES))
    assert [point.value for point in mine.points] == pytest.approx([34, 36, 40])
    assert [point.low for point in mine.points] == pytest.approx([33, 35, 39])  # quartiles
    assert [point.high for point in mine.points] == pytest.approx([35, 37, 41])
    assert found[0].notes == ("Mean of 5 images", "band: the middle half of them")


def test_a_target_that_an_image_lacks_is_left_out():
    rows = sweep(["a.png", "b.png"])
    rows[4] = row("b.png", 0.4, error="no")
    rows += [row("gone.png", rate, error="cannot be read") for rate in RATES]
    (psnr, _) = panels(rows)
    assert [point.rate for point in psnr.lines[0].points] == pytest.approx([0.2, 0.8])
    assert psnr.notes == ("Mean of 2 images", "1 point left out that some image lacks")
    assert all(point.low == point.high for point in psnr.lines[0].points)  # too few for a band


def test_lossless_points_are_left_out_of_psnr_alone():
    rows = sweep(["a.png"])
    rows[-1] = row("a.png", 0.8, psnr_db=np.inf)
    psnr, ssim = panels(rows)
    assert (len(psnr.lines[0].points), len(ssim.lines[0].points)) == (2, 3)


def test_one_line_for_each_codec_and_each_way_of_coding():
    images = ["a.png", "b.png"]
    rows = sweep(images) + sweep(images, "webp", -3) + sweep(images, metric="ssim", offset=-1)
    assert [line.name for line in panels(rows)[0].lines] == ["sad for PSNR", "webp", "sad for SSIM"]
    rows = sweep(images) + sweep(images, effort=9)
    assert [line.name for line in panels(rows)[0].lines] == ["sad effort 5", "sad effort 9"]


def test_peers_are_means_at_equal_rate_where_every_image_has_points():
    text = "codec,image,bpp,psnr,ssim\n"
    text += "x,a,0.1,20,\nx,a,1.0,30,\nx,b,0.3,20,\nx,b,10,50,\n"
    text += "y,a,0.1,20,\ny,a,1.0,30,\n"  # nothing of b
    text += "z,mean-of-24,0.1,25,\nz,mean-of-24,0.4,29,\nsad,a,0.1,1,\nsad,a,1,1,\n"
    text += "sad,b,0.1,1,\nsad,b,1,1,\n"
    (psnr, _) = panels(sweep(["a.png", "b.png"]), read_peers(text))
    assert [line.name for line in psnr.lines] == ["sad", "x", "z", "sad (peers)"]
    x, z = line(psnr, "x"), line(psnr, "z")
    rates = [point.rate for point in x.points]
    assert rates[0] == pytest.approx(0.3)
    assert rates[-1] == pytest.approx(0.8)  # not beyond the rows' own
    for point in x.points:
        expected = (
            20 + 10 * np.log10(point.rate / 0.1),
            20 + 30 * np.log(point.rate / 0.3) / np.log(10 / 0.3),
        )
        assert point.value == pytest.approx(np.mean(expected))
    assert (x.published, z.published) == (False, True)
    assert (z.points[0].rate, z.points[-1].rate) == (pytest.approx(0.2), pytest.approx(0.4))
    assert "dashed: published means" in psnr.notes
    # A mean over images is no curve of others.
    (psnr, _) = panels(sweep(["a.png", "c.png"]), read_peers(text))
    assert [line.name for line in psnr.lines] == ["sad"]


def test_nothing_in_common_is_an_error():
    rows = [row("a.png", 0.2), row("b.png", 0.4)]
    for few in (rows, [], [row("a.png", 0.2, error="no")]):
        with pytest.raises(InputError, match="nothing to plot"):
            panels(few)


@pytest.fixture(scope="module")
def kodak():
    """A sweep of two images of the set that the project's peers were measured on."""
    rows = sweep(["kodim01.png", "kodim23.png"], offset=-6)
    tables = [(BENCHMARKS / f"{name}_kodak.csv").read_text() for name in ("peers", "anchors")]
    from sadcodec.evaluate.peers import join

    return panels(rows, join([read_peers(table) for table in tables]))


def test_svg_is_the_same_every_time_and_holds_every_line(kodak):
    data = plot.draw(kodak, "svg")
    assert plot.draw(kodak, "svg") == data
    root = ET.fromstring(data)  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    groups = [element.get("id") or "" for element in root.iter("{http://www.w3.org/2000/svg}g")]
    assert sum(name.startswith("axes_") for name in groups) == 2
    assert b"metadata" not in data
    assert b"20" + b"26-" not in data
    names = {line.name for panel in kodak for line in panel.lines}
    assert {"sad", "jpeg", "avif", "cool-chic-4.1"} < names
    # Matplotlib writes every text as a comment beside its outlines.
    assert all(f"<!-- {name} -->".encode() in data for name in names)


def test_png_is_the_same_every_time(kodak):
    data = plot.draw(kodak, "png")
    assert plot.draw(kodak, "png") == data
    image = Image.open(io.BytesIO(data))
    assert not image.info.keys() - {"dpi"}
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert image.size == (1612, 576)
    for color in ("#0072B2", "#666666", "#009E73", "#D55E00"):  # sad, jpeg, webp, avif
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == wanted).all(axis=1).sum() > 30, color


def test_names_are_no_formulas_and_settings_are_left_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    points = (Point(0.1, 30, 30, 30), Point(0.9, 35, 34, 36))
    lines = tuple(Line(name, points) for name in ("$\\frac{", "<b>&", "日本", "x" * 60))
    data = plot.draw([Panel("lpips", lines)], "svg")
    ET.fromstring(data)  # noqa: S314
    assert dict(mpl.rcParams) == before
    mpl.rcParams["lines.linewidth"] = 9
    try:
        assert plot.draw([Panel("lpips", lines)], "svg") == data
    finally:
        mpl.rcParams["lines.linewidth"] = before["lines.linewidth"]
    with pytest.raises(OptionError, match="png, svg"):
        plot.draw([Panel("lpips", lines)], "pdf")


def test_a_plot_leaves_pyplot_alone():
    code = (
        "import sys\n"
        "from sadcodec.evaluate import curves, plot\n"
        "points = (curves.Point(0.1, 30, 30, 30),)\n"
        "plot.draw([curves.Panel('ssim', (curves.Line('x', points),))], 'svg')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize("rates", [(0.5,), (0.4, 0.5), (0.001, 40.0)])
def test_any_range_of_rates_has_a_scale(rates):
    points = tuple(Point(rate, 30.0, 30.0, 30.0) for rate in rates)
    one = Line("sad", points, ours=True, measured=True)
    assert plot.draw([Panel("psnr_db", (one,))], "svg").startswith(b"<?xml")


def test_spread_moves_no_more_than_needed():
    assert plot.spread([], 1.0) == []
    assert plot.spread([3.0, 1.0, 9.0], 1.0) == [3.0, 1.0, 9.0]
    assert plot.spread([2.0, 2.0, 2.0], 0.5) == pytest.approx([1.5, 2.0, 2.5])
    assert plot.spread([2.0, 1.9, 0.0], 0.5, (0.0, 2.0)) == pytest.approx([2.0, 1.5, 0.0])
    assert plot.spread([0.0, 0.1, 0.2], 0.5, (0.0, 9.0)) == pytest.approx([0.0, 0.5, 1.0])
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 1, 20).tolist()
    moved = plot.spread(positions, 0.06)
    order = np.argsort(positions)
    assert (np.diff(np.array(moved)[order]) >= 0.06 - 1e-12).all()
    assert np.mean(moved) == pytest.approx(np.mean(positions))


def test_without_matplotlib_one_line_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from sadcodec.evaluate import plot\n"
        "try: plot.draw([], 'svg')\n"
        "except plot.OutputError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "pip install 'sadcodec[plot]'" in result.stdout, result.stderr
    assert result.stdout.count("\n") == 1
    assert issubclass(OutputError, Exception)
