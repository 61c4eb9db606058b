"""Write docs/figures/viewer.png: the viewer's page with a photograph of data/, in its three modes.

`make viewer-figure` runs this file; it needs Chromium.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

import browser
from conftest import DATA
from PIL import Image

import sadcodec

ROOT = DATA.parent
FIGURE = ROOT / "docs" / "figures" / "viewer.png"
SIZE = {"width": 560, "height": 400}
READY = "document.documentElement.dataset.state === 'ready'"


def screenshots(path: Path) -> list[Image.Image]:
    """The page with the file at `path`: picture, cells, inverse temperature."""
    program = browser.find()
    if program is None:
        sys.exit("Chromium is not installed")
    shots = []
    with browser.Browser(program) as page:
        page.send("Emulation.setDeviceMetricsOverride", **SIZE, deviceScaleFactor=1, mobile=False)
        page.go((ROOT / "viewer" / "index.html").as_uri())
        page.choose("#file", path)
        page.wait(READY)
        for key in "pct":
            for press in (key, "0"):
                page.key(press)
                page.wait(READY)
            data = page.send("Page.captureScreenshot")["data"]
            shots.append(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    return shots


def main() -> None:
    """Write the figure."""
    with Image.open(DATA / "coffee.png") as image:
        data = sadcodec.encode(image, bpp=0.5, effort=3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coffee.sad"
        path.write_bytes(data)
        shots = screenshots(path)
    gap = 8
    figure = Image.new("RGB", (3 * SIZE["width"] + 2 * gap, SIZE["height"]), "white")
    for place, shot in enumerate(shots):
        figure.paste(shot, (place * (SIZE["width"] + gap), 0))
    # A palette halves the file; without dithering flat areas stay flat.
    figure = figure.quantize(256, dither=Image.Dither.NONE)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.save(FIGURE, optimize=True)


if __name__ == "__main__":
    main()
