"""Compositions as layers: read back by other packages and programs, and compared.

GIMP and Krita are looked for on the PATH (Debian: gimp, krita, xvfb); their tests are skipped where
they are not.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import resvg_py
from compositions import random_composition
from PIL import Image
from psd_tools import PSDImage

from sadcodec.compose.composition import OPACITY, Composition
from sadcodec.compose.drawing import draw
from sadcodec.compose.export import exported
from sadcodec.compose.layers import layers
from sadcodec.errors import LimitError, OutputError

PROGRAM_SECONDS = 600  # starting for the first time, they look at all their plug-ins


def composition(*, background: bool = True, count: int = 60) -> Composition:
    """Many layers over each other, of all opacities."""
    made = random_composition(count, 64, 48, 5, background=background, blend=0.4)
    made.params[:, OPACITY] = np.linspace(3, -3, count)
    return made


def over(made: Composition) -> np.ndarray:
    """What `sad decode` draws, over black where it is transparent: uint8 [H, W, 3]."""
    picture = draw(made, threads=1).astype(np.float64)
    return picture[..., :3] * (picture[..., 3:] / 255 if picture.shape[2] == 4 else 1)


def agree(pixels: np.ndarray, made: Composition, most: float = 2) -> None:
    """Straight RGBA of another program against `over`."""
    shown = pixels[..., :3] * (pixels[..., 3:] / 255)
    assert np.abs(shown - over(made)).max() <= most


@pytest.mark.parametrize("background", [True, False])
def test_psd_tools_reads_the_layers_back(background: bool):
    made = composition(background=background)
    data, count = exported(made, "psd", threads=1)
    file = PSDImage.open(io.BytesIO(data))
    assert (file.width, file.height, len(file)) == (64, 48, count)
    assert file[0].name == ("background" if background else "primitive 59")
    assert file[-1].name == "primitive 0"
    agree(np.asarray(file.composite(ignore_preview=True)).astype(float), made)
    merged = file.topil()
    assert merged is not None
    agree(np.asarray(merged.convert("RGBA")).astype(float), made, 2)


@pytest.mark.parametrize("background", [True, False])
def test_openraster_holds_what_it_should(background: bool):
    made = composition(background=background)
    data, count = exported(made, "ora", threads=1)
    assert data == exported(made, "ora", threads=2)[0]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        assert archive.testzip() is None
        image = ET.fromstring(archive.read("stack.xml"))  # noqa: S314 - our own
        assert (image.get("w"), image.get("h")) == ("64", "48")
        listed = image.findall("stack/layer")
        assert len(listed) == count
        assert listed[0].get("name") == "primitive 0"
        canvas = Image.new("RGBA", (64, 48))
        for layer in reversed(listed):
            with archive.open(layer.get("src") or "") as file, Image.open(file) as part:
                canvas.alpha_composite(part, (int(layer.get("x")), int(layer.get("y"))))  # type: ignore[arg-type]
        if background:  # Pillow rounds after every layer
            agree(np.asarray(canvas).astype(float), made, 6)
        with archive.open("mergedimage.png") as file, Image.open(file) as merged:
            agree(np.asarray(merged).astype(float), made, 1.01)
        with archive.open("Thumbnails/thumbnail.png") as file, Image.open(file) as small:
            assert max(small.size) <= 256


def test_svg_is_drawn_alike():
    for background in (True, False):
        made = composition(background=background, count=15)
        data, count = exported(made, "svg")
        assert data.count(b"<use ") == 15
        assert count == 15 + background
        drawn = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), skip_system_fonts=True))
        pixels = np.asarray(Image.open(io.BytesIO(drawn))).astype(float)
        error = pixels[..., :3] * (pixels[..., 3:] / 255) - over(made)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 32  # it samples templates differently


@pytest.mark.parametrize("background", [True, False])
def test_layers_are_cropped_and_make_the_picture_up(background: bool):
    made = composition(background=background, count=300)
    canvas = np.zeros((48, 64, 4))
    if made.background is not None:
        canvas[..., :3], canvas[..., 3] = np.floor(made.background * 255 + 0.5), 255
    pixels = numbers = 0
    for layer in layers(made):
        height, width = layer.pixels.shape[:2]
        part = canvas[layer.top : layer.top + height, layer.left : layer.left + width]
        share = layer.pixels[..., 3:] / 255
        part[..., :3] += share * (layer.pixels[..., :3] - part[..., :3])
        part[..., 3:] += share * (255 - part[..., 3:])
        for edge in (layer.pixels[0], layer.pixels[-1], layer.pixels[:, 0], layer.pixels[:, -1]):
            assert edge[..., 3].any()
        pixels += height * width
        numbers += 1
    assert 200 < numbers <= 300
    assert pixels < 300 * 64 * 48 / 4
    assert np.abs(canvas[..., :3] - over(made)).max() <= 1.5


def test_limits(monkeypatch: pytest.MonkeyPatch):
    made = composition()
    monkeypatch.setattr("sadcodec.compose.psd._MOST_SIDE", 60)
    with pytest.raises(OutputError, match="psd cannot hold more than 60 px"):
        exported(made, "psd")
    monkeypatch.setattr("sadcodec.compose.export.MAX_LAYER_PIXELS", 1000)
    with pytest.raises(LimitError, match="more than 1000 pixels"):
        exported(made, "ora")


def without_merged(data: bytes) -> bytes:
    """An OpenRaster file whose merged picture is black: nobody can take it for the layers."""
    black = io.BytesIO()
    Image.new("RGBA", (64, 48), (0, 0, 0, 255)).save(black, "png")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.infolist():
            merged = entry.filename == "mergedimage.png"
            target.writestr(entry, black.getvalue() if merged else source.read(entry))
    return out.getvalue()


def run(folder: Path, *command: str) -> np.ndarray:
    """Run a program that writes out.png, and return its pixels."""
    home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **home}, capture_output=True, check=False,
        timeout=PROGRAM_SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (folder / "out.png").exists(), done.stderr.decode()
    return np.asarray(Image.open(folder / "out.png").convert("RGBA")).astype(float)


@pytest.mark.skipif(
    not (shutil.which("krita") and shutil.which("xvfb-run")), reason="krita or xvfb is missing"
)
def test_krita_opens_openraster(tmp_path: Path):
    made = composition()
    (tmp_path / "in.ora").write_bytes(without_merged(exported(made, "ora")[0]))
    krita = ("xvfb-run", "-a", "krita", "--export", "--export-filename", "out.png", "in.ora")
    agree(run(tmp_path, *krita), made)


@pytest.mark.skipif(not shutil.which("gimp-console-2.10"), reason="GIMP 2.10 is missing")
def test_gimp_opens_psd(tmp_path: Path):
    made = composition()
    data, _ = exported(made, "psd")
    (tmp_path / "in.psd").write_bytes(data)
    script = """(let* ((image (car (gimp-file-load RUN-NONINTERACTIVE "in.psd" "in.psd")))
      (layer (car (gimp-image-merge-visible-layers image CLIP-TO-IMAGE))))
      (file-png-save RUN-NONINTERACTIVE image layer "out.png" "out.png" 0 1 0 0 0 0 0))"""
    batch = ("--batch-interpreter=plug-in-script-fu-eval", "-b", script, "-b", "(gimp-quit 0)")
    agree(run(tmp_path, "gimp-console-2.10", "-i", "-d", "-f", *batch), made)
