"""``sad compose`` and what the other commands do with its files; templates of all kinds."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command_line import run_sad
from conftest import load
from golden_files import FOLDER

import sadcodec
from sadcodec import image_io
from sadcodec.compose.templates import glyph_templates, template_of
from sadcodec.errors import InputError

SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 40">
<ellipse cx="10" cy="20" rx="10" ry="20" fill="#c02040"/></svg>"""
SMALL = ("--count", "12", "--iterations", "6", "--threads", "1")


@dataclass
class Done:
    status: int
    out: str
    err: str


Sad = Callable[..., Done]


@pytest.fixture
def sad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sad:
    """Run a command in a folder with a picture, a drawing and a composition."""
    monkeypatch.chdir(tmp_path)
    picture = load("coffee.png")[60:124, 100:180]
    ramp = np.broadcast_to(np.linspace(0, 255, 80).astype(np.uint8)[None, :, None], (64, 80, 1))
    Path("in.png").write_bytes(image_io.encode_image(picture, "png"))
    Path("clear.png").write_bytes(image_io.encode_image(np.dstack([picture, ramp]), "png"))
    Path("mask.png").write_bytes(image_io.encode_image(np.ascontiguousarray(ramp), "png"))
    Path("leaf.svg").write_text(SVG)
    Path("disc.png").write_bytes(disc())
    Path("c.sad").write_bytes((FOLDER / "compositions" / "colored.sad").read_bytes())
    Path("film.sad").write_bytes((FOLDER / "compositions" / "frames.sad").read_bytes())
    Path("sites.sad").write_bytes((FOLDER / "one-site.sad").read_bytes())

    def run(*arguments: str) -> Done:
        status = run_sad(*arguments)
        out, err = capfd.readouterr()
        return Done(status, out, err)

    return run


def disc(mode: str = "RGBA") -> bytes:
    v, u = np.mgrid[-1:1:40j, -1:1:40j]
    shape = (255 * (np.hypot(u, v) < 0.9)).astype(np.uint8)
    if mode == "L":
        return image_io.encode_image((255 - shape)[..., None], "png")
    return image_io.encode_image(np.dstack([shape, shape // 2, shape // 3, shape]), "png")


def test_compose_decode_info(sad: Sad):
    done = sad(
        "compose", "in.png", "--primitives", "leaf.svg", "disc.png", "--glyphs", "Ab", *SMALL
    )
    assert (done.status, done.out) == (0, "")
    assert done.err.startswith("in.sad: ")
    assert "12 primitives of" in done.err
    assert "dB" in done.err
    first = Path("in.sad").read_bytes()
    many = ("--primitives", "leaf.svg", "--primitives", "disc.png", "--glyphs", "Ab", *SMALL)
    done = sad("compose", "in.png", *many, "-o", "again.sad", "--json", "--quiet")
    assert Path("again.sad").read_bytes() == first
    record = json.loads(done.out)
    assert record["input"] == ["in.png"]
    assert record["bytes"] == len(first)
    assert (record["width"], record["height"], record["templates"]) == (80, 64, 4)
    assert sad("info", "in.sad", "--json").status == 0
    text = sad("info", "in.sad").out
    assert "composition of 12 primitives, 4 templates" in text
    picture = sadcodec.decode(first)
    wanted = load("coffee.png")[60:124, 100:180].astype(float)
    error = 10 * np.log10(255**2 / np.mean((picture - wanted) ** 2))
    assert error == pytest.approx(record["psnr"], abs=0.01)
    sad("decode", "in.sad", "-o", "twice.png", "--scale", "2")
    assert image_io.decode_image(Path("twice.png").read_bytes()).shape == (128, 160, 3)


def test_options_reach_the_file(sad: Sad):
    options = ("--background", "#ff8000", "--blend", "0.25", "--opacity", "0.5", "--seed", "4")
    sad("compose", "in.png", "--primitives", "disc.png", *SMALL, *options, "-o", "a.sad", "--prune")
    record = json.loads(sad("info", "a.sad", "--json").out)
    assert record["background"] == pytest.approx([1, 128 / 255, 0], abs=1e-4)
    assert (record["blend"], record["opacity"]) == pytest.approx((0.25, 0.5), abs=1e-4)
    rest = ("--init", "random", "--loss", "l1", "--constrain", "overlap:0.1", "--constrain", "size")
    sad("compose", "in.png", "--primitives", "disc.png", *SMALL, *rest, "-o", "b.sad")
    assert Path("b.sad").read_bytes() != Path("a.sad").read_bytes()


@pytest.mark.parametrize(
    "options",
    [("clear.png",), ("in.png", "--mask", "mask.png"), ("in.png", "--background", "none")],
)
def test_what_is_transparent_stays_so(sad: Sad, options: tuple[str, ...]):
    done = sad("compose", *options, "--primitives", "disc.png", *SMALL, "-o", "a.sad")
    assert (done.status, "dB" in done.err) == (0, True)
    assert sadcodec.decode(Path("a.sad").read_bytes()).shape == (64, 80, 4)


def test_frames(sad: Sad):
    shifted = load("coffee.png")[60:124, 102:182]
    Path("next.png").write_bytes(image_io.encode_image(shifted, "png"))
    done = sad(
        *("compose", "in.png", "--frames", "next.png", "in.png", "--primitives", "disc.png"),
        *(*SMALL, "-o", "film.sad", "--force", "--json"),
    )
    record = json.loads(done.out)
    assert record["frames"][0]["key"]
    assert len(record["frames"]) == 3
    assert sad("decode", "film.sad", "--out-dir", "frames").status == 0
    assert sorted(os.listdir("frames")) == ["film-0.png", "film-1.png", "film-2.png"]
    assert sad("decode", "film.sad", "--frame", "1", "-o", "one.png").status == 0
    assert Path("one.png").read_bytes() == Path("frames/film-1.png").read_bytes()


@pytest.mark.parametrize("channels", [3, 1])
def test_the_profile_of_colours_is_kept(sad: Sad, channels: int):
    pixels = image_io.decode_image(Path("in.png").read_bytes())[..., :channels]
    data = image_io.encode_image(pixels, "png", {"icc_profile": b"a profile"})
    Path("in.png").write_bytes(data)
    done = sad("compose", "in.png", "--glyphs", "A", *SMALL)
    assert done.status == 0
    assert ("sad: in.png: warning: the file has another ICC profile" in done.err) == (channels == 1)
    kept = sadcodec.metadata(Path("in.sad").read_bytes())
    assert kept == ({"icc_profile": b"a profile"} if channels == 3 else {})
    assert sad("decode", "in.sad", "-o", "out.png").status == 0
    assert image_io.read_image(Path("out.png").read_bytes())[1] == kept


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("compose in.png", 2, "Name pictures to compose of by --primitives or --glyphs."),
        ("compose in.png --primitives", 2, "requires an argument"),
        ("compose --primitives disc.png", 2, "Missing argument 'TARGET'"),
        ("compose in.png --glyphs A --count 0", 2, "0 is not in the range"),
        ("compose in.png --glyphs A --blend 2", 2, "0<=x<=1"),
        ("compose in.png --glyphs A --background red", 2, "not auto, none or a colour"),
        ("compose in.png --glyphs A --constrain lines:1", 2, "'lines' is not one of inside"),
        ("compose in.png --glyphs A -o a.png", 2, "a .sad file is no .png image"),
        ("compose in.png --font disc.png --primitives disc.png", 2, "--font goes with --glyphs"),
        ("compose - --primitives - --glyphs A", 2, "Only one of the inputs"),
        ("compose no.png --glyphs A", 1, "no.png: No such file"),
        ("compose c.sad --glyphs A -o a.sad", 1, "c.sad: not an image but a .sad file"),
        ("compose leaf.svg --glyphs A", 1, "leaf.svg: not an image of a known kind"),
        ("compose in.png --primitives no.svg", 1, "no.svg: No such file"),
        ("compose in.png --primitives c.sad", 1, "c.sad: not an image of a known kind"),
        ("compose in.png --primitives empty", 1, "empty: holds no images"),
        ("compose in.png --glyphs=", 1, "--glyphs: no characters"),
        ("compose in.png --glyphs A --font leaf.svg", 1, "leaf.svg: not a font"),
        ("compose in.png --glyphs A -o c.sad", 1, "c.sad: exists already"),
        ("compose in.png --glyphs A -o in.png --force", 2, "no .png image"),
        ("compose in.png --glyphs A -o no/c.sad", 1, "no/c.sad: No such file"),
        ("compose in.png --glyphs A -o empty", 1, "empty: Is a directory"),
        ("compose in.png --glyphs A --max-pixels 99", 1, "larger than 99 pixels"),
        ("compose in.png --glyphs A --mask disc.png", 1, "disc.png: a mask is gray"),
        ("compose in.png --glyphs A --mask small.png", 1, "the mask has 3 x 2 pixels"),
        ("compose in.png --glyphs A --frames in.png small.png", 1, "sad: small.png: frame 2 is 3"),
        ("decode cut.sad", 1, "cut.sad: "),
        ("decode film.sad", 1, "holds a sequence of 5 frames: choose one with --frame"),
        ("decode c.sad --frame 1", 1, "holds a single picture"),
        ("decode c.sad --view cells", 1, "holds a composition of bitmap primitives"),
        ("decode c.sad --max-work 1", 1, "cover the picture more than 1 times"),
        ("info cut.sad", 1, "cut.sad: "),
        ("export c.sad -o c.txt", 1, "a composition goes to psd, ora, svg"),
        ("export c.sad -o -", 1, "name one by --format"),
        ("export cut.sad", 1, "cut.sad: "),
        ("export film.sad", 1, "film.sad: holds 5 frames: choose one with --frame\n"),
        ("export sites.sad --format psd", 1, "holds no composition"),
        ("export sites.sad -o sites.PSD", 1, "holds no composition"),
        ("export c.sad -o no/c.ora", 1, "No such file"),
        ("encode c.sad -o a.sad", 1, "not an image but a .sad file"),
    ],
)
def test_errors_of_one_line(sad: Sad, arguments: str, status: int, words: str):
    Path("empty").mkdir()
    Path("cut.sad").write_bytes(Path("c.sad").read_bytes()[:-9])
    Path("small.png").write_bytes(image_io.encode_image(np.full((2, 3, 1), 9, np.uint8), "png"))
    before = {path: Path(path).read_bytes() for path in os.listdir() if Path(path).is_file()}
    options = SMALL if arguments.startswith("compose") and status == 1 else ()
    done = sad(*arguments.split(" "), *options)
    assert (done.status, done.out) == (status, "")
    assert words in done.err
    assert status == 2 or done.err.count("\n") == 1
    assert {
        path: Path(path).read_bytes() for path in os.listdir() if Path(path).is_file()
    } == before


def test_a_missing_package_is_named(sad: Sad, monkeypatch: pytest.MonkeyPatch):
    for name in ("resvg_py", "psd_tools.constants"):
        monkeypatch.setitem(sys.modules, name, None)
    done = sad("compose", "in.png", "--primitives", "leaf.svg", *SMALL)
    assert done.err == (
        "sad: leaf.svg: SVG files need the package resvg-py: pip install 'sadcodec[compose]'\n"
    )
    done = sad("export", "c.sad", "-o", "c.psd")
    assert "PSD files need the package psd-tools: pip install 'sadcodec[compose]'" in done.err
    assert not Path("c.psd").exists()


# ---- templates ------------------------------------------------------------------------------


def test_templates_of_images():
    drawn = template_of(disc())
    assert drawn.shape == (128, 128, 4)
    assert drawn[64, 64].tolist() == [255, 127, 85, 255]
    assert drawn[0, 0].tolist() == [0, 0, 0, 0]
    paper = template_of(disc("L"))  # a dark disc on white paper
    assert paper[64, 64, 3] == 255
    assert paper[0, 0, 3] == 0
    wide = template_of(image_io.encode_image(np.full((5, 10, 2), 200, np.uint8), "png"))
    assert (wide[..., 3] > 0).sum() == 64 * 128
    assert wide[64, 64].tolist() == [200, 200, 200, 200]
    deep = image_io.encode_image(np.full((5, 5, 4), 65535, np.uint16), "png")
    assert (template_of(deep) == 255).all()


def test_templates_of_drawings():
    leaf = template_of(SVG.encode())
    rows, columns = (
        np.flatnonzero(leaf[..., 3].any(axis=1)),
        np.flatnonzero(leaf[..., 3].any(axis=0)),
    )
    assert (len(rows), len(columns)) == (128, 64)
    assert leaf[64, 64].tolist() == [0xC0, 0x20, 0x40, 255]
    for data, words in (
        (b"<svg", "SVG that cannot be drawn"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>', "nothing to be seen"),
        (b"", "file is empty"),
        (gzip.compress(SVG.encode()), "not an image of a known kind"),
    ):
        with pytest.raises(InputError, match=words):
            template_of(data)


def test_templates_of_glyphs():
    with pytest.raises(InputError, match="the character ' ' has nothing to be seen"):
        glyph_templates("a b")
    with pytest.raises(InputError, match="the character 'Ж' is not in this font"):
        glyph_templates("aЖ")
    found = glyph_templates("lo.")
    assert found.shape == (3, 128, 128, 4)
    for glyph in found:  # each touches two sides of its square
        extents = glyph[..., 3].any(axis=0).sum(), glyph[..., 3].any(axis=1).sum()
        assert max(extents) >= 126
    assert found[0][..., 3].any(axis=0).sum() < 40
    assert (found[..., :3][found[..., 3] > 0] == 255).all()
