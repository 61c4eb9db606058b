"""The HTML report: its structure, its pictures, that nothing leaves the page, and its script."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sadcodec
from sadcodec import views
from sadcodec.diagram import open_diagram
from sadcodec.errors import SadError
from sadcodec.evaluate import curves, plot, report
from sadcodec.evaluate.codecs import peer
from sadcodec.evaluate.comparison import Table
from sadcodec.evaluate.gallery import Exhibit, Gallery, exhibit, middle
from sadcodec.evaluate.row import Row

DATA = Path(__file__).resolve().parent.parent / "data"
HOSTILE = "\"><script>alert('x')</script>&amp;--><img src=x onerror=alert(1)>.png"
VOID = {"meta", "img", "input", "br", "hr", "link"}
LABELS = ["original", "decoded", "error", "cells", "inverse temperature"]


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), their text, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.script = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), tag
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.script += data
        elif self._open and self._open[-1] != "style":
            self.text.append(data)

    def all(self, tag, **wanted):
        return [
            attrs
            for name, attrs in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]


def row(image="a.png", value=0.5, **fields):
    base = Row(image, 96, 64, "sad", "bpp", value, 1, 0, "cpu")
    measured = {"bytes": 500, "bpp": value, "psnr_db": 30.0, "ssim": 0.9, "sites": 90}
    return Row(**(vars(base) | measured | fields))


@pytest.fixture(scope="module")
def image():
    return np.asarray(Image.open(DATA / "coffee.png"))[150:214, 200:296]


@pytest.fixture(scope="module")
def coded(image):
    return sadcodec.encode(image, sites=90, effort=1, threads=1)


@pytest.fixture(scope="module")
def figure():
    rows = [row(value=value, codec=name) for value in (0.2, 0.5) for name in ("sad", "<i>&")]
    return plot.draw(curves.panels(rows), "svg")


@pytest.fixture(scope="module")
def shown(image, coded):
    """Two exhibits of one image and one of another, with hostile names."""
    avif = row(codec="avif"), b"any bytes"
    first = exhibit(row(HOSTILE), image, coded, others=[avif], threads=1)
    pictures = [
        dataclasses.replace(each, label="a<b") if each.label == "avif" else each
        for each in first.pictures
    ]
    first = dataclasses.replace(first, pictures=tuple(pictures))
    again = dataclasses.replace(first, target="1 bpp")
    return [first, again, dataclasses.replace(first, image="b.png")]


@pytest.fixture(scope="module")
def page(shown, figure):
    rows = [row(HOSTILE), row(HOSTILE, 1.0), row("b.png", error="bad <b>file</b>")]
    table = Table("<u>caption</u>", ["target", "<s>"], [["0.5 bpp", "1 & 2"]], ["note <em>"])
    return report.render(rows, [table], figure, shown)


def pixels(uri):
    kind, data = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def test_an_exhibit_shows_what_the_file_holds(image, coded):
    shown = exhibit(row(), image, coded, gain=8, threads=1)
    diagram = open_diagram(coded, threads=1)
    decoded = sadcodec.decode(coded)
    inverse, (soft, hard) = diagram.tau()
    expected = [image, decoded, views.error(image, decoded, gain=8), diagram.cells(), inverse]
    assert [picture.label for picture in shown.pictures] == LABELS
    for picture, wanted in zip(shown.pictures, expected, strict=True):
        np.testing.assert_array_equal(pixels(picture.uri), wanted, err_msg=picture.label)
    assert (shown.width, shown.height, shown.target) == (96, 64, "0.5 bpp")
    assert shown.facts == "500 bytes, 0.5000 bpp, PSNR 30.00 dB, SSIM 0.9000, 90 sites"
    captions = " ".join(picture.caption for picture in shown.pictures)
    assert "times 8" in captions
    assert f"{soft:.2g} / px" in captions
    assert f"{hard:.2g} / px" in captions


def test_an_exhibit_of_gray_with_alpha_and_of_16_bits():
    gray = np.asarray(Image.open(DATA / "camera.png"))[:24, :32]
    alpha = np.stack([gray, 255 - gray], axis=2)
    fine = gray.astype(np.uint16)[:, :, None] * 257 + 99
    for image, said in ((alpha, "alpha over white"), (fine, "rounded to 8 bits")):
        data = sadcodec.encode(image, sites=20, effort=1, threads=1)
        shown = exhibit(row(ssim=None, sites=None), image, data, threads=1)
        assert said in shown.pictures[0].caption
        assert "SSIM" not in shown.facts
        np.testing.assert_array_equal(pixels(shown.pictures[0].uri), views.rgb(image))
    with pytest.raises(SadError):
        exhibit(row(), gray, data, threads=1)


def test_a_gallery_keeps_our_files_at_its_targets(tmp_path, image, coded):
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image[:32]).save(tmp_path / "cropped.png")
    gallery = Gallery([("bpp", 0.5), ("bpp", 1.0)])
    gallery.receive(row(value=1.0), coded)
    gallery.receive(row(bytes=1), coded)
    gallery.receive(row(bytes=2), b"a later repeat")
    gallery.receive(row(value=2.0), b"another target")
    gallery.receive(row(codec="webp", ssim=None), b"RIFF")
    jp2 = peer("jp2").code(image, "size", 900)
    gallery.receive(row(codec="jp2"), jp2.data)
    gallery.receive(row(codec="jxl"), b"nothing that can be read")
    gallery.receive(row("other.png", codec="webp"), b"not by us")
    gallery.receive(row(error="no"), b"")
    gallery.receive(row("gone.png"), coded)
    gallery.receive(row("cropped.png"), coded)
    paths = [str(tmp_path / name) for name in ("gone.png", "a.png", "cropped.png", "other.png")]
    found = gallery.exhibits(paths, threads=1)
    assert [(each.image, each.target) for each in found] == [
        ("a.png", "0.5 bpp"),
        ("a.png", "1 bpp"),
    ]
    assert found[0].facts.startswith("1 bytes")
    # Other codecs: files that browsers show as they are, others as pixels.
    assert [p.label for p in found[0].pictures] == [*LABELS[:2], "webp", "jp2", *LABELS[2:]]
    assert [p.label for p in found[1].pictures] == LABELS
    webp, pixel_wise = found[0].pictures[2:4]
    assert (webp.mime, webp.data) == ("image/webp", b"RIFF")
    assert webp.caption == "500 bytes, 0.5000 bpp, PSNR 30.00 dB, 90 sites; the file itself"
    np.testing.assert_array_equal(pixels(pixel_wise.uri), jp2.decoded)


def test_the_middle_of_some_values():
    assert [middle(values) for values in ([3.0], [1, 2], [5, 1, 3], [1, 1, 1, 2, 3])] == [
        3,
        1,
        3,
        2,
    ]


def test_the_page_is_well_formed_and_complete(page, shown):
    parsed = Page(page.decode())
    assert page == page.replace(b"\r", b"")
    assert len(parsed.all("article", **{"class": "viewer"})) == 2
    exhibits = parsed.all("div", **{"class": "exhibit"})
    assert [e["style"] for e in exhibits] == ["--width: 96; --height: 64"] * 3
    # Exhibits of one image are chosen by a target; two pictures of each for the wipe.
    assert len(parsed.all("select")) == 1 + 2 * 3
    assert len(parsed.all("input", type="range")) == 3
    labels = ["original", "decoded", "a<b", "error", "cells", "inverse temperature"]
    assert [e["data-label"] for e in parsed.all("img")] == labels * 3
    for element in parsed.all("img"):
        assert (
            element["alt"] == f"{element['data-label']} of {HOSTILE}" or "b.png" in element["alt"]
        )
        assert (element["width"], element["height"]) == ("96", "64")
    sources = [element["src"] for element in parsed.all("img")]
    assert sources[:6] == [picture.uri for picture in shown[0].pictures]
    text = " ".join(parsed.text)
    assert "1 of 3 rows failed" in text
    assert "2 images at 0.5 bpp, 1 bpp" in text
    assert all(label in text for label in labels)


def test_whatever_stands_in_names_stays_text(page):
    parsed = Page(page.decode())
    assert len(parsed.all("script")) == 1
    assert not [name for name, _ in parsed.elements if name in {"b", "u", "s", "em", "i"}]
    assert not [a for _, attrs in parsed.elements for a in attrs if a.startswith("on")]
    text = "".join(parsed.text)
    for told in (HOSTILE, "bad <b>file</b>", "<u>caption</u>", "1 & 2", "note <em>", "<s>", "a<b"):
        assert told in text


def test_nothing_is_fetched_from_elsewhere(page):
    parsed = Page(page.decode())
    for name, attrs in parsed.elements:
        for key, value in attrs.items():
            if key in {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}:
                assert re.match("#[A-Za-z0-9-]+$|data:image/", value), (name, key, value[:80])
            elif value is not None and not key.startswith("xmlns"):
                assert "//" not in value, (name, key, value[:80])
                assert not re.search(r"url\((?!#)", value), (name, key, value[:80])
    names = {name for name, _ in parsed.elements}
    assert not names & {"link", "iframe", "object", "embed", "base", "form", "audio", "video"}
    style = re.search(r"<style>(.*?)</style>", page.decode(), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search("fetch|XMLHttpRequest|import|WebSocket|eval|innerHTML", parsed.script)
    (policy,) = (
        e["content"] for e in parsed.all("meta") if e.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(parsed.script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}';" in policy


def test_without_exhibits_there_are_tables_and_plots(figure):
    data = report.render([row("a\udcff.png")], [Table("", ["x"], [["1"]])], figure)
    parsed = Page(data.decode())
    assert not parsed.all("img")
    assert len(parsed.all("svg", role="img")) == 1
    assert len(parsed.all("table")) == 2
    assert "a\\udcff.png" in "".join(parsed.text)
    assert report.render([row("a\udcff.png")], [Table("", ["x"], [["1"]])], figure) == data


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")
def test_the_script_is_javascript(tmp_path):
    script = resources.files("sadcodec.evaluate") / "report.js"
    (tmp_path / "report.js").write_text(script.read_text("utf-8"))
    subprocess.run(["node", "--check", tmp_path / "report.js"], check=True, timeout=60)


# Uses the first viewer as a person would, and leaves what is then to be seen in the title.
ACTIONS = """
window.requestAnimationFrame = (draw) => setTimeout(draw, 10); // no frames in virtual time
addEventListener("load", async () => {
  const frames = async () => {
    for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  };
  const change = (element, value, kind) => {
    element.value = value;
    element.dispatchEvent(new Event(kind, { bubbles: true }));
  };
  const exhibits = [...document.querySelectorAll(".exhibit")];
  const [first, second] = exhibits;
  const [under, over] = first.querySelectorAll(".stage img");
  const stage = first.querySelector(".stage");
  const slider = first.querySelector("input[type=range]");
  const found = {};
  const note = (name) => {
    found[name] = {
      under: under.alt.split(" ")[0], over: over.alt.split(" ")[0], clip: over.style.clipPath,
      told: slider.getAttribute("aria-valuetext"), wide: under.clientWidth,
      stage: stage.clientWidth,
      rendering: getComputedStyle(under).imageRendering,
      shown: exhibits.map((each) => each.offsetParent !== null),
    };
  };
  await frames();
  note("start");
  change(slider, 250, "input");
  change(first.querySelectorAll("select")[1], 4, "change");
  await frames();
  note("wiped");
  first.querySelector(".swap").click();
  await frames();
  note("swapped");
  first.querySelector("input[value='8']").click();
  await frames();
  stage.dispatchEvent(new Event("pointerenter"));
  stage.scrollTo(300, 200);
  stage.dispatchEvent(new Event("scroll")); // which takes a frame
  await frames();
  await frames();
  note("zoomed");
  found.middles = [...first.querySelectorAll(".pane")].map((pane) => [
    (pane.scrollLeft + pane.clientWidth / 2) / pane.scrollWidth,
    (pane.scrollTop + pane.clientHeight / 2) / pane.scrollHeight,
  ]);
  change(document.querySelector(".rates select"), 1, "change");
  await frames();
  note("other");
  document.title = JSON.stringify(found);
});
"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")
def test_the_viewer_in_a_browser(page, tmp_path):
    digest = base64.b64encode(hashlib.sha256(ACTIONS.encode()).digest()).decode()
    text = page.decode().replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    text = text.replace("</head>", f"<script>{ACTIONS}</script></head>")
    (tmp_path / "page.html").write_text(text)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]
    command += ["--window-size=1200,900", str(tmp_path / "page.html")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    title = re.search("<title>(.*?)</title>", result.stdout, re.DOTALL)[1]
    found = json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    start, wiped, swapped, zoomed = (found[n] for n in ("start", "wiped", "swapped", "zoomed"))
    width = start["stage"]
    assert (start["under"], start["over"]) == ("original", "decoded")
    assert start["clip"] == f"inset(0px 0px 0px {width / 2:g}px)"
    assert start["wide"] == width
    assert start["shown"] == [True, False, True]
    assert wiped["over"] == "cells"
    assert wiped["clip"] == f"inset(0px 0px 0px {width / 4:g}px)"
    assert wiped["told"] == "25 % original, 75 % cells"
    assert (swapped["under"], swapped["over"]) == ("cells", "original")
    assert (zoomed["wide"], zoomed["rendering"]) == (8 * 96, "pixelated")
    assert start["rendering"] == "auto"
    assert zoomed["clip"] == f"inset(0px 0px 0px {300 + zoomed['stage'] / 4:g}px)"
    middles = np.array(found["middles"])
    assert np.abs(middles - middles[0]).max() < 0.01
    assert found["other"]["shown"] == [False, True, True]


def test_exhibits_are_plain_data(shown):
    assert all(isinstance(each, Exhibit) for each in shown)
    assert sum(len(picture.data) for picture in shown[0].pictures) < 100_000
