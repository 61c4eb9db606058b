"""The viewer's page in headless Chromium: its pixels against the command's, opening, errors."""

from __future__ import annotations

import base64
import json
import runpy
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bad_files
import browser
import numpy as np
import pytest
from conftest import load
from golden_files import FOLDER as GOLDEN

import sadcodec
from sadcodec.backends.reference import logits, top_k
from sadcodec.diagram import open_diagram

VIEWER = Path(__file__).resolve().parent.parent / "viewer"
PROGRAM = browser.find()
SETTLED = "['ready', 'error'].includes(document.documentElement.dataset.state)"

# Of a part of what the graphics device shows, not of a copy; rows from below.
PIXELS = """((x, y, width, height) => {
  const gl = canvas.getContext("webgl2");
  const pixels = new Uint8Array(4 * width * height);
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  gl.readPixels(x, canvas.height - y - height, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  return btoa(Array.from(pixels, (value) => String.fromCharCode(value)).join(""));
})"""

needs_browser = pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed")


class Page:
    """The page, as a user has it."""

    def __init__(self, window: browser.Browser) -> None:
        self.window = window

    def settle(self) -> str:
        """State of the page as soon as nothing is left to do."""
        self.window.wait(SETTLED)
        return self.window.evaluate("document.documentElement.dataset.state")

    def text(self, name: str) -> str:
        return self.window.evaluate(f"document.getElementById('{name}').textContent")

    def open(self, path: Path) -> str:
        self.window.choose("#file", path)
        return self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.window.key(key)
        assert self.settle() == "ready"

    def view(self) -> dict:
        return json.loads(self.window.evaluate("canvas.dataset.view"))

    def shot(self) -> tuple[np.ndarray, np.ndarray]:
        """Shown pixels of the picture [M, 3], and where in the picture their centres are [M, 2]."""
        view, centres = self.view(), []
        for axis, picture, screen in (("x", "Width", "width"), ("y", "Height", "height")):
            v = view[axis] + (np.arange(view[screen]) + 0.5) * view["pixel"]
            inside = np.flatnonzero((v > 0) & (v < view[f"picture{picture}"]))
            centres.append((inside[0], v[inside]))
        (left, x), (top, y) = centres
        shown = self.window.evaluate(f"{PIXELS}({left}, {top}, {len(x)}, {len(y)})")
        pixels = np.frombuffer(base64.b64decode(shown), np.uint8).reshape(len(y), len(x), 4)
        points = np.stack(np.broadcast_arrays(x, y[:, None]), axis=2)
        return pixels[::-1, :, :3].reshape(-1, 3).astype(int), points.reshape(-1, 2)

    def against(self, picture: np.ndarray) -> int:
        """Largest difference of the shown pixels from those of a picture [H, W, C]."""
        pixels, points = self.shot()
        assert len(pixels) > 0
        column, row = np.floor(points).astype(int).T
        return int(np.abs(pixels - self.on_screen(picture[row, column], points)).max())

    def on_screen(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Code values [M, C] as 8-bit RGB, alpha over squares of 8 px on the screen."""
        values = np.rint(values * (255 / np.iinfo(values.dtype).max))
        color = np.repeat(values[:, :1], 3, axis=1) if values.shape[1] < 3 else values[:, :3]
        if values.shape[1] % 2 == 0:
            view = self.view()
            place = (points - (view["x"], view["y"])) / view["pixel"]
            light = (place // 8).sum(axis=1, keepdims=True) % 2 == 0
            cover = values[:, -1:] / 255
            color = color * cover + np.where(light, 255, 204) * (1 - cover)
        return np.rint(color).astype(int)


@pytest.fixture(scope="module")
def page():
    with browser.Browser(PROGRAM) as window:
        window.go((VIEWER / "index.html").as_uri())
        yield Page(window)
        assert window.messages == [], "nothing goes to the console"


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory):
    """A photograph of 120 x 80 px."""
    data = sadcodec.encode(load("coffee.png")[70:150, 90:210], bpp=1.0, effort=1, threads=1)
    path = tmp_path_factory.mktemp("photo") / "photo.sad"
    path.write_bytes(data)
    return path


def test_the_page_is_made_of_its_sources():
    page = runpy.run_path(str(VIEWER / "bundle.py"))["page"]()
    assert (VIEWER / "index.html").read_text(encoding="utf-8") == page, "run make viewer"


@needs_browser
@pytest.mark.parametrize(
    "name",
    ["rgb", "rgb-alpha", "gray-alpha", "gray-16", "rgb-alpha-16", "k-1", "k-16", "radius", "zstd"],
)
def test_golden_files_are_shown_as_decoded(page, name):
    data = (GOLDEN / f"{name}.sad").read_bytes()
    diagram = open_diagram(data, threads=1)
    assert page.open(GOLDEN / f"{name}.sad") == "ready", page.text("error")
    page.press("p")
    assert page.view()["pixel"] == 1
    assert page.against(sadcodec.decode(data, threads=1)) <= 2
    page.press("c")
    assert page.against(diagram.cells(borders=False)) == 0
    page.press("t")
    assert page.against(diagram.tau()[0]) <= 2


@needs_browser
def test_a_photograph_is_shown_as_decoded(page, photo_file):
    data = photo_file.read_bytes()
    info = sadcodec.info(data)
    assert page.open(photo_file) == "ready"
    page.press("p", "1")
    assert page.against(sadcodec.decode(data, threads=1)) <= 2
    facts = page.text("facts")
    sites = f"{info.header.site_count:,} sites, K = 8"
    rate = f"{len(data):,} bytes, {info.bits_per_pixel:#.3g} bpp"
    assert facts == f"photo.sad · 120 x 80 px, RGB, 8 bits · {sites} · {rate} · 100 %"


@needs_browser
def test_enlarged_pixels_are_points_of_the_diagram(page, photo_file):
    diagram = open_diagram(photo_file.read_bytes(), threads=1)
    page.open(photo_file)
    page.press("p", "1", *"++++++++", "ArrowLeft")
    assert page.view()["pixel"] == pytest.approx(1 / 16)
    pixels, points = page.shot()
    some = np.arange(0, len(points), 97)
    params = diagram.sites.params.astype(np.float64)
    values = logits(params, points[some])
    ids = top_k(values, diagram.k)
    values = np.take_along_axis(values, ids, axis=1)
    weights = np.exp(values - values[:, :1])
    colors = np.einsum("mk,mkc->mc", weights, params[ids, 6:]) / weights.sum(axis=1)[:, None]
    assert np.abs(pixels[some] - 255 * np.clip(colors, 0, 1)).max() <= 2


@needs_browser
def test_reduced_pixels_are_means(page, photo_file):
    page.open(photo_file)
    page.press("p", "1", "-", "-")
    assert page.view()["pixel"] == pytest.approx(2)
    assert page.view()["samples"] == 2
    pixels, points = page.shot()
    decoded = sadcodec.decode(photo_file.read_bytes(), threads=1)
    column, row = np.floor(points).astype(int).T
    # Four points around the centre, at a quarter of two pixels: centres of the four pixels there.
    whole = (row > 0) & (column > 0) & (row < 79) & (column < 119)
    corners = [decoded[row[whole] - y, column[whole] - x] for y in (0, 1) for x in (0, 1)]
    aligned = np.abs(points[whole] - np.rint(points[whole])).max() < 1e-6
    assert aligned
    assert np.abs(pixels[whole] - np.mean(corners, axis=0)).max() <= 2


@needs_browser
def test_wheel_and_drag_move_what_is_under_the_pointer(page, photo_file):
    page.open(photo_file)
    page.press("p", "1")
    top = page.window.evaluate("canvas.getBoundingClientRect().top")

    def under(x: float, y: float) -> np.ndarray:
        view = page.view()
        return np.array([view["x"], view["y"]]) + np.array([x, y - top]) * view["pixel"]

    def mouse(kind: str, x: float, y: float, **more: object) -> None:
        page.window.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    before = under(300, 200)
    mouse("mouseWheel", 300, 200, deltaX=0, deltaY=-500)
    page.window.wait("JSON.parse(canvas.dataset.view).pixel < 1")
    assert page.settle() == "ready"
    assert np.abs(under(300, 200) - before).max() < 1
    before = under(300, 200)
    mouse("mousePressed", 300, 200, button="left", buttons=1, clickCount=1)
    mouse("mouseMoved", 330, 180, button="left", buttons=1)
    mouse("mouseReleased", 330, 180, button="left", buttons=0)
    assert page.settle() == "ready"
    assert np.abs(under(330, 180) - before).max() < 1


@needs_browser
@pytest.mark.parametrize(
    "name", ["empty", "header-flip", "noise", "zstd-bomb", "all-sites-matter-everywhere"]
)
def test_bad_files_give_a_line_on_the_page(page, photo_file, name):
    assert page.open(bad_files.FOLDER / f"{name}.sad") == "error"
    reason = bad_files.table()[name][0].split(": ", 1)[1].split(": more than 128")[0]
    assert page.text("error") == f"{name}.sad: {reason}"
    assert page.open(photo_file) == "ready"
    assert page.text("error") == ""


@needs_browser
def test_files_that_are_dropped_or_named_by_the_address(page, photo_file):
    name = photo_file.name
    window = page.window
    dropped = {"items": [], "files": [str(GOLDEN / "rgb.sad")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        window.send("Input.dispatchDragEvent", type=kind, x=300, y=200, data=dropped)
    assert window.wait("document.getElementById('facts').textContent.startsWith('rgb.sad · 48')")
    folder = photo_file.parent
    (folder / "index.html").write_bytes((VIEWER / "index.html").read_bytes())
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/index.html"
        window.go(f"{address}?url={name}&mode=cells")
        state, facts = page.settle(), page.text("facts")
        window.go(f"{address}?url=none.sad")
        missing = page.settle(), page.text("error")
        window.go((VIEWER / "index.html").as_uri())
        server.shutdown()
        thread.join()
    assert state == "ready"
    assert facts.startswith(f"{name} · 120 x 80 px")
    assert missing == ("error", "none.sad: cannot be fetched: status 404")
    assert any("404" in message for message in window.messages)
    window.messages.clear()
