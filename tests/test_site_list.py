"""The authors' site list as text: what is written, what is read, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import site_list_authors
from diagrams import random_sites

from sadcodec import backends
from sadcodec.errors import InputError, LimitError
from sadcodec.pixels import code_values
from sadcodec.site_list import SiteList, format_site_list, parse_site_list
from sadcodec.sites import Sites

SIZE = "# Image size: 40 30\n"
ROW = "1.5 2.5 0.1 0.2 0.3 5 4 1 0 0"


def diagram(channels: int = 3, *, count: int = 200, bit_depth: int = 8, k: int = 8) -> SiteList:
    return SiteList(random_sites(5, count, 40, 30, channels), 40, 30, bit_depth, k)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_diagram_survives_within_the_rounding_of_float32(channels: int) -> None:
    before = diagram(channels, bit_depth=16, k=5)
    assert (before.sites.position[:, 0] < 0.5).any()  # those that their code would drop
    after = parse_site_list(format_site_list(before))
    assert (after.width, after.height, after.bit_depth, after.k) == (40, 30, 16, 5)
    assert (after.sites.channels, after.inactive) == (channels, 0)
    difference = np.abs(after.sites.params.astype(np.float64) - before.sites.params)
    assert difference.max() <= 1e-6  # log_tau is up to 5.7 in the text: half an ulp is 2.4e-7
    np.testing.assert_array_equal(after.sites.color, before.sites.color)
    np.testing.assert_array_equal(after.sites.radius, before.sites.radius)


def test_the_text_is_as_the_authors_write_it() -> None:
    sites = Sites.from_fields([[20.5, 10.0]], [1.0], [4.0], [[0.0, 2.0]], [[0.25, 0.5, 1.5]])
    lines = format_site_list(SiteList(sites, 40, 30)).splitlines()
    assert lines[1:3] == ["# Image size: 40 30", "# Total sites: 1"]
    numbers = [float(part) for part in lines[4].split(" ")]
    diagonal = np.sqrt(0.5)
    expected = [20.0, 9.5, 0.25, 0.5, 1.5, 1 + np.log(40), 4.0, diagonal, diagonal, 2.0]
    np.testing.assert_allclose(numbers, expected, rtol=2e-7)
    # Only one comment may speak of an image size: their C++ takes two numbers from any that does.
    assert sum("image size" in line.lower() for line in lines) == 1


def test_numbers_are_the_shortest_that_tell_their_float32_apart() -> None:
    before = diagram()
    text = format_site_list(before)
    table, *_ = site_list_authors.read(text)
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert max(len(part) for row in rows for part in row) <= 14  # -1.2345678e-05
    assert [[str(value) for value in row] for row in table] == rows


def test_no_site_is_lost_on_the_left() -> None:
    sites = random_sites(6, 50, 1, 20)  # an image one pixel wide: half of them are affected
    text = format_site_list(SiteList(sites, 1, 20))
    assert text.count("position_x of the next site") > 10
    table, *_ = site_list_authors.read(text)
    assert len(table) == 50
    np.testing.assert_allclose(table[:, 0], np.maximum(sites.position[:, 0] - 0.5, 0), atol=1e-6)
    np.testing.assert_allclose(parse_site_list(text).sites.position, sites.position, atol=1e-6)


def test_a_comment_moves_only_a_site_that_is_where_it_was_put() -> None:
    comment = "# sadcodec: position_x of the next site is -0.25\n"
    read = parse_site_list(SIZE + comment + ROW.replace("1.5", "0.0") + "\n" + comment + ROW)
    assert read.sites.position[:, 0].tolist() == [0.25, 2.0]


def test_alpha_cannot_be_expressed() -> None:
    for channels in (2, 4):
        with pytest.raises(InputError, match="alpha"):
            format_site_list(diagram(channels))


def test_their_picture_is_ours() -> None:
    before = diagram()
    before.sites.params[:, 0] = np.maximum(before.sites.params[:, 0], 0.5)
    ours = backends.get_backend("cpu", 1).render(before.sites, 40, 30)
    theirs = site_list_authors.draw(format_site_list(before))
    difference = code_values(theirs, 8).astype(int) - code_values(ours, 8)
    assert np.abs(difference).max() <= 1


LENIENT = {
    "line ends of Windows": SIZE.replace("\n", "\r\n") + ROW + "\r\n" + ROW,
    "tabs, spaces, empty lines": f"\n  {SIZE}\n\t{ROW.replace(' ', chr(9))} \n\n{ROW}\n\n",
    "other comments": f"# anything\n{SIZE}#\n# Active sites: 7\n{ROW}\n# 1 2 3\n{ROW}\n",
    "size at the end, in their other spelling": f"{ROW}\n{ROW}\n# IMAGE SIZE 40 30",
    "no anisotropy": f"{SIZE}{ROW}\n1.5 2.5 0.1 0.2 0.3 5 4\n",
    "removed sites": f"{SIZE}{ROW}\n-1 -1 nan 0 0 inf 4 0 0 0\n{ROW}\n",
    "the same size twice": SIZE + SIZE + ROW + "\n" + ROW,
}


@pytest.mark.parametrize("text", LENIENT.values(), ids=LENIENT)
def test_what_their_readers_take_is_read(text: str) -> None:
    read = parse_site_list(text)
    assert (read.width, read.height, read.bit_depth, read.k) == (40, 30, 8, 8)
    expected = [2.0, 3.0, 5 - np.log(40), 4.0, 0.0, 0.0, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(read.sites.params, [expected] * 2, rtol=1e-6)


def test_a_negative_anisotropy_is_the_other_direction() -> None:
    row = "1.5 2.5 0.1 0.2 0.3 5 4 {} {} {}"
    text = "\n".join([SIZE, row.format(0.6, 0.8, -2), row.format(-0.8, 0.6, 2)])
    first, second = parse_site_list(text).sites.params
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_gray_is_gray_only_while_its_colours_are() -> None:
    text = format_site_list(diagram(1))
    assert parse_site_list(text).sites.channels == 1
    last = text.splitlines()[-1].split()
    last[2] = "0.123"
    edited = "\n".join([*text.splitlines()[:-1], " ".join(last)])
    assert parse_site_list(edited).sites.channels == 3


def with_value(column: int, value: str) -> str:
    parts = ROW.split()
    parts[column] = value
    return f"{SIZE}{ROW}\n{' '.join(parts)}\n"


HOSTILE = {
    "nothing": ("", "no line gives the image's size"),
    "no size": (ROW, "no line gives the image's size"),
    "no sites": (SIZE, "holds no sites"),
    "only removed sites": (f"{SIZE}-1 0 0 0 0 5 4 1 0 0", "holds no sites"),
    "size of one number": (
        f"# Image size: 40\n{ROW}",
        "line 1: an image size is two whole",
    ),
    "negative size": (f"# Image size: -40 30\n{ROW}", "line 1: an image size is two"),
    "size in words": (f"# Image size: wide high\n{ROW}", "line 1: an image size is two"),
    "no pixels": (f"# Image size: 0 30\n{ROW}", "line 1: the image has no pixels"),
    "huge": (f"# Image size: 4000000000 4000000000\n{ROW}", "line 1: image of 4000000000 x"),
    "endless number": (f"# Image size: {'9' * 9999} 30\n{ROW}", "line 1: an image size is two"),
    "two sizes": (f"{SIZE}# Image size: 30 40\n{ROW}", "line 2: another image size"),
    "nine columns": (f"{SIZE}{ROW[:-2]}", "line 2: 9 columns where a site has 10"),
    "eleven columns": (f"{SIZE}{ROW} 0", "line 2: more columns where a site has 10"),
    "a million columns": (f"{SIZE}{'0 ' * 1_000_000}", "line 2: more columns"),
    "words": (f"{SIZE}{ROW}\nthis is a file of another kind, with ten words", "line 3: 'this'"),
    "a long word": (with_value(3, "x" * 5000), "line 3: '" + "x" * 20 + "...' is no number"),
    "escapes": (with_value(3, "\x1b[31m"), "line 3: '\\x1b[31m' is no number"),
    "a number to Python alone": (with_value(3, "1_0"), "line 3: '1_0' is no number"),
    "NaN": (with_value(1, "nan"), "line 3: position_y is nan"),
    "NaN x": (with_value(0, "nan"), "line 3: position_x is nan"),
    "infinity": (with_value(5, "inf"), "line 3: log_tau is inf, not in -32..32"),
    "over float32": (with_value(2, "1e39"), "line 3: color_r is 1e+39"),
    "over float64": (with_value(4, "1e999"), "line 3: color_b is inf"),
    "far away": (with_value(0, "105"), "line 3: position_x is 105, not in -64..104"),
    "far below": (with_value(1, "-1e30"), "line 3: position_y is -1e+30"),
    "radius": (with_value(6, "1e6"), "line 3: radius is 1e+06"),
    "anisotropy": (with_value(9, "7"), "line 3: log_aniso is 7, not in -6..6"),
    "no direction": (f"{SIZE}0 0 0 0 0 5 4 0 0 1", "line 2: the direction is no unit vector"),
    "long direction": (f"{SIZE}0 0 0 0 0 5 4 3 4 1", "line 2: the direction is no unit"),
    "NaN direction": (f"{SIZE}0 0 0 0 0 5 4 nan 0 0", "line 2: the direction is no unit"),
    "K": (f"{SIZE}# sadcodec: channels 3, bit depth 8, K 17\n{ROW}", "K is 17"),
    "more sites than pixels hold": (
        "# Image size: 1 1\n" + 69 * (ROW + "\n"),
        "69 sites are too many for 1 x 1",
    ),
    "moved by no number": (
        f"{SIZE}# sadcodec: position_x of the next site is 1-e\n{ROW}",
        "line 2: '1-e' is no number",
    ),
}


@pytest.mark.parametrize(("text", "cause"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_with_its_line(text: str, cause: str) -> None:
    with pytest.raises((InputError, LimitError)) as caught:
        parse_site_list(text)
    assert cause in str(caught.value)
    assert len(str(caught.value)) < 120
    assert "\n" not in str(caught.value)


def test_the_number_of_sites_is_bounded_while_reading() -> None:
    with pytest.raises(LimitError, match="line 4: more than 2 sites"):
        parse_site_list(SIZE + 1000 * (ROW + "\n"), max_sites=2)
