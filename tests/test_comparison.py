"""Sweeps beside other codecs: points of peers, quality at equal rate, BD-rate."""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path

import pytest

from sadcodec.errors import InputError
from sadcodec.evaluate.difference import rate_difference
from sadcodec.evaluate.peers import join, peers_of, read_peers
from sadcodec.evaluate.sweep import Row
from sadcodec.evaluate.table import markdown, summary
from sadcodec.metrics import bd_rate

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

PEERS = """codec,quality,image,bytes,bpp,psnr,ssim,encode_s,decode_s
jpeg420,1,a,1,0.25,28,0.8,0,0
jpeg420,2,a,1,1.0,34,0.9,0,0
jpeg444,1,a,1,0.5,30,0.8,0,0
jpeg444,2,a,1,2.0,40,0.9,0,0
jpeg420,1,b,1,0.25,24,0.8,0,0
jpeg420,2,b,1,4.0,32,0.9,0,0
webp,1,a,1,4.0,50,,0,0
webp,2,a,1,1.0,42,,0,0
png,,a,1,12.0,99.0,1,0,0
"""

# Another codec per image, and one of which only a mean is known.
ANCHORS = """codec,setting,image,bpp,psnr_db
cool-444,1,a,0.25,30
cool-444,1,a,4,38
vvc,,mean-of-24,0.25,20
vvc,,mean-of-24,4,40
"""


def row(image, bpp, psnr_db=30.0, error="", **fields):
    measured = {"bytes": 1000, "bpp": bpp, "psnr_db": psnr_db, "ssim": 0.9}
    base = Row(image, 64, 48, "sad", "bpp", bpp, 5, 0, "auto", error=error)
    return Row(**(vars(base) | ({} if error else measured) | fields))


def test_peers_interpolate_in_log_rate():
    peers = read_peers(PEERS)
    assert peers.codecs == ["jpeg", "webp"]  # variants joined, lossless left out
    assert peers.at("jpeg", "b.png", 1.0) == pytest.approx(28)
    assert peers.at("webp", "folder/a.png", 2.0) == pytest.approx(46)  # unsorted in the file
    assert peers.at("jpeg", "a", 0.25) == pytest.approx(28)
    assert peers.at("webp", "a", 0.9) is None
    assert peers.at("webp", "b", 2.0) is None
    assert peers.at("jpeg", "b", 1.0, "ssim") == pytest.approx(0.85)
    assert peers.at("webp", "a", 2.0, "ssim") is None
    assert (peers.with_points("psnr_db"), peers.with_points("ssim")) == (["jpeg", "webp"], ["jpeg"])


def test_the_better_variant_counts_at_each_rate():
    peers = read_peers(PEERS)
    assert peers.at("jpeg", "a", 0.5) == pytest.approx(31)  # 4:2:0; 4:4:4 has 30
    assert peers.at("jpeg", "a", 1.0) == pytest.approx(35)  # 4:4:4; 4:2:0 has 34
    assert peers.at("jpeg", "a", 1.9) == pytest.approx(30 + 10 * math.log(3.8, 4))
    expected = [(0.25, 28), (0.5, 31), (1.0, 35), (2.0, 40)]
    for (rate, quality), point in zip(expected, peers.points("jpeg", "a.png"), strict=True):
        assert point == (pytest.approx(rate), pytest.approx(quality))


def test_means_need_four_fifths_of_the_images():
    images = [f"i{index}" for index in range(5)]
    points = [f"x,{image},{bpp},{30 + bpp}" for image in images for bpp in (1, 2)]
    peers = read_peers("codec,image,bpp,psnr\n" + "\n".join(points))
    full = peers.mean("x", [(image, 2.0) for image in images])
    assert (full.value, full.covered, full.images) == (pytest.approx(32), 5, 5)
    assert full.published is None
    partial = peers.mean("x", [(image, 2.0) for image in images[:4]] + [("i4", 3.0)])
    assert (partial.value, partial.covered) == (pytest.approx(32), 4)
    assert peers.mean("x", [(image, 2.0) for image in images[:3]] + [("i4", 3.0)]) is None
    assert peers.mean("x", []) is None


def test_tables_of_several_files_are_joined():
    peers = join([read_peers(PEERS), read_peers(ANCHORS)])
    assert peers.codecs == ["jpeg", "webp", "cool-444", "vvc"]  # cool-444 is a name of its own
    assert peers.at("cool-444", "a", 1.0) == pytest.approx(34)
    assert peers.at("jpeg", "b", 1.0) == pytest.approx(28)
    twice = join([read_peers(ANCHORS), read_peers(ANCHORS.replace(",38", ",40"))])
    assert twice.at("cool-444", "a", 1.0) == pytest.approx(35)


def test_published_means_stand_at_the_mean_rate():
    peers = join([read_peers(PEERS), read_peers(ANCHORS)])
    mean = peers.mean("vvc", [("a.png", 0.5), ("b.png", 1.5)])
    assert (mean.value, mean.published) == (pytest.approx(30), 24)
    assert peers.mean("vvc", [("a.png", 0.5), ("c.png", 1.5)]) is None  # of other images
    assert peers.mean("vvc", [("a.png", 8.0)]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column codec"),
        ("codec,image,bpp\nx,a,1\n", "column psnr"),
        ("codec,image,bpp,psnr\n", "no lossy points"),
        ("codec,image,bpp,psnr\nx,a,1,99.0\n", "no lossy points"),
        ("codec,image,bpp,psnr\nx,a,1,30\nx,a,none,30\n", "line 3"),
        ("codec,image,bpp,psnr\nx,a,0,30\n", "line 2"),
        ("codec,image,bpp,psnr\nx,a,1\n", "line 2"),
        ("codec,image,bpp,psnr,ssim\nx,a,1,30,high\n", "line 2"),
    ],
)
def test_bad_tables_of_peers_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        read_peers(text)


# ---- BD-rate ------------------------------------------------------------------------------------


def curve(image, *points):
    return [row(image, bpp, psnr) for bpp, psnr in points]


def test_bd_rate_of_curves_a_factor_apart():
    # Straight lines in log rate, 0.5 times the rate for image a and 0.8 times for b.
    lines = [
        f"x,{image},{rate},{30 + 6 * math.log2(rate)}"
        for image in "ab"
        for rate in (0.05, 0.1, 0.4, 3.2)
    ]
    peers = read_peers("codec,image,bpp,psnr\n" + "\n".join(lines))
    rates = (0.1, 0.2, 0.5, 1.0)
    rows = [
        row(f"{name}.png", rate, 30 + 6 * math.log2(rate / factor))
        for name, factor in (("a", 0.5), ("b", 0.8))
        for rate in rates
    ]
    for within in (None, (0.1, 1.0), (0.1, 0.5)):
        found = rate_difference(rows, peers, "x", within=within)
        assert found.percent == pytest.approx(-35)
        assert (found.covered, found.images, found.published) == (2, 2, None)
    assert rate_difference(rows, peers, "x", within=(0.1, 2.0)) is None  # not coded so far up
    assert rate_difference([*rows[:4], row("b.png", 0.1)], peers, "x").covered == 1
    assert rate_difference(rows, peers, "x", "ssim") is None


def test_the_range_cuts_both_curves():
    # Half the rate up to 0.4 bpp, twice the rate from there on.
    peers = read_peers("codec,image,bpp,psnr\nx,a,0.1,20\nx,a,0.4,24\nx,a,1.6,28\n")
    rows = curve("a.png", (0.1, 22), (0.4, 26), (0.41, 26.1), (1.6, 26.2))
    low = rate_difference(rows, peers, "x", within=(0.1, 0.4)).percent
    assert low == pytest.approx(-50)
    assert rate_difference(rows, peers, "x").percent > -49


def test_a_codec_without_points_at_an_end_is_compared_where_it_has_some():
    peers = read_peers("codec,image,bpp,psnr\nx,a,0.3,24\nx,a,0.6,27\n")
    points = [(0.1, 22), (0.2, 24), (0.4, 27), (1.0, 30)]
    found = rate_difference(curve("a", *points), peers, "x", within=(0.1, 1.0))
    assert found.percent == pytest.approx(bd_rate([(0.3, 24), (0.6, 27)], points))
    # The end at 0.45 is interpolated in log rate: half way from 24 to 27 dB at 0.3 sqrt 2.
    found = rate_difference(curve("a", *points), peers, "x", within=(0.1, 0.3 * math.sqrt(2)))
    cut = [*points[:3], (0.3 * math.sqrt(2), 27 + 3 * math.log(0.75 * math.sqrt(2), 2.5))]
    expected = bd_rate([(0.3, 24), (0.3 * math.sqrt(2), 25.5)], cut)
    assert found.percent == pytest.approx(expected)
    assert rate_difference(curve("a", *points), peers, "x", within=(0.1, 0.3)) is None


def test_points_that_cost_more_without_being_better_do_not_count():
    peers = read_peers("codec,image,bpp,psnr\nx,a,0.1,20\nx,a,0.2,19\nx,a,0.4,24\n")
    straight = read_peers("codec,image,bpp,psnr\nx,a,0.1,20\nx,a,0.4,24\n")
    rows = curve("a", (0.1, 21), (0.2, 21), (0.4, 25))
    found = rate_difference(rows, peers, "x")
    assert found == rate_difference([rows[0], rows[2]], straight, "x")


def test_bd_rate_against_a_published_mean():
    peers = join([read_peers(PEERS), read_peers(ANCHORS)])
    rows = [row(name, 0.5, psnr, value=0.5) for name, psnr in (("a", 22.0), ("b", 33.0))]
    rows += [row(name, 1.0, psnr, value=1.0) for name, psnr in (("a", 27.0), ("b", 38.0))]
    found = rate_difference(rows, peers, "vvc")  # the mean is 2.5 dB, half an octave, better
    assert found.percent == pytest.approx(100 * (2**-0.5 - 1))
    assert (found.covered, found.images, found.published) == (2, 2, 24)
    assert rate_difference(rows[:3], peers, "vvc") is None  # means of unlike sets


# ---- Tables -------------------------------------------------------------------------------------


def cells(text: str, first: str) -> list[list[str]]:
    """Words of the lines that begin with a word."""
    return [line.split() for line in text.splitlines() if line.split()[:1] == [first]]


def test_tables_show_peers_beside_ours():
    rows = [row("a.png", 1.0), row("b.png", 1.0), row("c.png", 1.0, error="broken")]
    text = summary(rows, read_peers(PEERS))
    assert cells(text, "target")[1:] == [
        ["target", "PSNR", "SSIM"],  # the standard deviations
        ["target", "sad", "jpeg", "webp"],
        ["target", "sad", "jpeg"],
    ]
    _, _, quality, similarity = cells(text, "1")[:4]
    assert quality == ["1", "bpp", "30.00", "31.50", "-"]  # (35 + 28) / 2; webp lacks b
    assert similarity[2:4] == ["0.9000", "0.8750"]
    assert "BD-rate" not in text  # one rate makes no curve
    assert text.splitlines()[-1] == "1 of 3 failed"
    five = [row(f"{folder}/a.png", 1.0) for folder in range(4)] + [row("b.png", 1.0)]
    text = markdown(five, read_peers(PEERS))
    assert r"42.00\*" in text
    assert r"\* mean over" in text


def test_tables_of_bd_rate():
    peers = join([read_peers(PEERS), read_peers(ANCHORS)])
    rows = curve("a.png", (0.5, 32), (1.0, 36), (2.0, 41))
    rows += curve("b.png", (0.5, 27), (1.0, 29), (2.0, 31))
    text = markdown(rows, peers)
    lines = text[text.index("BD-rate") :].splitlines()
    assert lines[2] == "| codec | PSNR, 0.5 to 2 bpp | SSIM, 0.5 to 2 bpp |"
    body = {
        line.split(" | ")[0].strip("| "): line.strip("|").split(" | ")[1:] for line in lines[4:9]
    }
    assert list(body) == ["jpeg", "webp", "cool-444", "vvc", ""]
    jpeg = rate_difference(rows, peers, "jpeg").percent
    assert body["jpeg"][0] == f"{jpeg:+.1f}"
    assert body["webp"][0] == "-"  # 41 dB is under its 42
    assert body["cool-444"][0].endswith(" (1)")
    assert body["vvc"][0].endswith("†")
    assert "(n): over n of 2 images" in text
    assert "† known only as a mean over 24 images" in text
    text = summary(rows, peers, [(0.5, 1.0), (0.1, 1.0)])
    assert "PSNR, 0.5 to 1 bpp  SSIM, 0.5 to 1 bpp  PSNR, 0.1 to 1 bpp" in text
    assert cells(text, "jpeg")[-1][-2:] == ["-", "-"]  # nothing was coded at 0.1 bpp


def test_the_range_of_other_targets_is_what_they_reached():
    rows = [
        row("a.png", bpp, psnr, setting="quality", value=quality)
        for bpp, psnr, quality in ((0.523, 32, 50.0), (1.04, 36, 75.0))
    ]
    assert "PSNR, 0.52 to 1 bpp" in summary(rows, read_peers(PEERS))


# ---- Codecs of the sweep itself -----------------------------------------------------------------


def other(image, bpp, psnr_db, value=None, codec="jpeg", **fields):
    more = {"codec": codec, "effort": None, "seed": None, "metric": "", "value": value or bpp}
    return row(image, bpp, psnr_db, **(more | fields))


def test_codecs_of_the_sweep_are_compared_as_those_of_a_file():
    """The same points give the same tables, whichever way they come."""
    points = ((0.25, 22.0), (0.5, 25.0), (1.0, 29.0), (2.0, 31.0))
    others = [other("a.png", bpp, psnr) for bpp, psnr in points]
    others += [other("b.png", bpp, psnr - 1) for bpp, psnr in points]
    ours = curve("a.png", (0.3, 22), (0.6, 27), (1.5, 31))
    ours += curve("b.png", (0.3, 20), (0.6, 25), (1.5, 29))
    text = "codec,image,bpp,psnr,ssim\n"
    text += "".join(f"jpeg,{r.image},{r.bpp},{r.psnr_db},{r.ssim}\n" for r in others)
    here, there = peers_of([*ours, *others]), read_peers(text)
    assert here.curves == there.curves
    assert peers_of(ours) is None
    ranges = [(0.3, 0.6), (0.3, 1.5)]
    one = markdown([*ours, *others], None, ranges)
    two = markdown(ours, there, ranges)
    assert one[one.index("PSNR in dB") :] == two[two.index("PSNR in dB") :]
    assert "BD-rate" in one
    both = markdown([*ours, *others], there, ranges)
    assert "| target | sad | jpeg | jpeg (peers) |" in both
    only = summary(others)  # nothing to compare with
    assert "BD-rate" not in only
    assert "BD-rate" not in summary([*ours[:1], row("b.png", 1.0, error="x")], None, ranges)


def test_curves_of_a_sweep_go_on_a_little_beyond_their_ends():
    """At 1 bpp asked for, one codec meets 0.98 and another 0.999."""
    peers = peers_of([other("a", 0.49, 25.0, 0.5), other("a", 0.98, 29.0, 1.0)])
    beyond = 29 + 4 * math.log2(0.999 / 0.98)
    assert peers.at("jpeg", "a", 0.999) == pytest.approx(beyond)
    assert peers.at("jpeg", "a", 0.47) == pytest.approx(25 + 4 * math.log2(0.47 / 0.49))
    assert peers.at("jpeg", "a", 1.04) is None
    assert peers.at("jpeg", "a", 0.46) is None
    assert peers_of([other("a", 0.98, 29.0)]).at("jpeg", "a", 0.981) is None
    # Two targets that one file meets are one point.
    twice = peers_of([other("a", 0.2, 25.0, 0.1), other("a", 0.2, 25.0, 0.2), other("a", 0.4, 27)])
    assert len(twice.points("jpeg", "a")) == 2
    assert twice.at("jpeg", "a", 0.195) == pytest.approx(25 + 2 * math.log2(0.195 / 0.2))
    lossless = [other("a", 9.0, math.inf), other("a", 0.2, 25.0), other("a", 1, 1, error="x")]
    assert len(peers_of(lossless).points("jpeg", "a")) == 1


def test_lower_is_better_for_lpips():
    rates = (0.25, 0.5, 1.0)
    rows = [row("a", bpp, ssim=None, lpips=0.4 - 0.1 * nth) for nth, bpp in enumerate(rates)]
    others = [
        other("a", 2 * bpp, 30 + nth, ssim=None, lpips=0.4 - 0.1 * nth)
        for nth, bpp in enumerate(rates)
    ]
    peers = peers_of(others)
    assert peers.at("jpeg", "a", 0.5, "lpips") == pytest.approx(0.4)
    assert rate_difference(rows, peers, "jpeg", "lpips").percent == pytest.approx(-50)
    text = summary([*rows, *others])
    assert "LPIPS (lower is better) at the same bits per pixel:" in text
    assert "SSIM at" not in text


def test_repeats_have_a_mean_and_a_deviation():
    rows = []
    for repeat, gain in enumerate((0.0, 0.3, 0.6)):
        for image, base in (("a", 30.0), ("b", 33.0)):
            for bpp, more in ((0.5, 0.0), (1.0, 4.0)):
                quality = base + gain + more
                rows.append(row(image, bpp, quality, repeat=repeat, seed=repeat))
    others = [other(name, bpp, 6 * bpp + 26) for name in "ab" for bpp in (0.4, 0.8, 1.2)]
    text = summary([*rows, *others])
    means, _, deviations, _ = cells(text, "sad")
    equal = cells(text, "0.5")[0]
    assert means[:6] == ["sad", "0.5", "bpp", "2", "0.5000", "31.80"]
    # 3 dB between two images; steps of 0.3 dB between the repeats.
    assert deviations == ["sad", "0.5", "bpp", "2.12", "0.0000", "0.30", "0.0000"]
    assert equal[:5] == ["0.5", "bpp", "31.80", "±", "0.30"]
    assert "± standard deviation over 3 repeats" in text
    percents = [
        rate_difference([r for r in rows if r.repeat == n], peers_of(others), "jpeg").percent
        for n in range(3)
    ]
    expected = f"{statistics.mean(percents):+.1f} ± {statistics.stdev(percents):.1f}"
    assert expected in text[text.index("BD-rate") :]
    # Sweeps of one seed each are repeats as well.
    alike = [dataclasses.replace(r, repeat=0) for r in rows]
    assert summary([*alike, *others]) == text


def test_the_points_of_the_repository():
    tables = [(BENCHMARKS / name).read_text() for name in ("peers_kodak.csv", "anchors_kodak.csv")]
    peers = join([read_peers(text) for text in tables])
    assert peers.codecs[:6] == ["jpeg", "webp", "jp2", "jxl", "avif", "cool-chic-4.1"]
    assert peers.with_points("ssim") == peers.codecs[:5]
    images = [f"kodim{number:02}.png" for number in range(1, 24, 2)]
    assert peers.knows(images)
    mean = peers.mean("avif", [(image, 0.5) for image in images])
    assert (round(mean.value, 1), mean.covered) == (33.0, 12)
    assert peers.published_mean("cool-chic-4.1") is None
    assert peers.published_mean("vvc-vtm") == ("mean-of-24", 24)
    assert peers.mean("vvc-vtm", [(image, 0.24582) for image in images]).value == pytest.approx(
        31.2
    )
