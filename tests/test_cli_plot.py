"""``sad eval --plot``: plots and reports of sweeps, with the real codec on small images."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from command_line import run_sad

from sadcodec import image_io

DATA = Path(__file__).resolve().parent.parent / "data"
HOSTILE = '"><b>&.png'
SWEEP = ["--sites", "60,20,40", "--effort", "1", "--threads", "1", "--backend", "cpu"]


@pytest.fixture
def sad(tmp_path, monkeypatch, capfd):
    """Runs ``sad`` in a folder that holds two images; gives its status and what it printed."""
    monkeypatch.chdir(tmp_path)
    for name, path in (("a.png", "coffee.png"), (HOSTILE, "camera.png")):
        image = image_io.decode_image((DATA / path).read_bytes())[100:132, 100:148]
        Path(name).write_bytes(image_io.encode_image(image, "png"))

    def run(*arguments):
        status = run_sad(*arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


def viewers(path):
    """The alternative texts of the pictures of each viewer."""
    articles = re.findall("<article.*?</article>", Path(path).read_text(), re.DOTALL)
    return [re.findall('alt="([^"]*)"', article) for article in articles]


def test_a_sweep_with_plots_and_a_report(sad):
    status, out, err = sad(
        *("eval", "a.png", HOSTILE, *SWEEP, "--out", "r.jsonl"),
        *("--plot", "r.svg", "--plot", "r.png", "--plot", "r.HTML"),
    )
    assert status == 0
    assert out.count("sites") > 2
    assert re.fullmatch(r"r.HTML: 0\.\d MB, pictures of 2 of 2 images at 40 sites\n", err)
    assert Path("r.svg").read_bytes().startswith(b"<?xml")
    assert Path("r.png").read_bytes().startswith(b"\x89PNG")
    found = viewers("r.HTML")
    names = ["original", "decoded", "error", "cells", "inverse temperature"]
    assert found[0] == [f"{name} of a.png" for name in names]
    assert found[1] == [f"{name} of &quot;&gt;&lt;b&gt;&amp;.png" for name in names]
    page = Path("r.HTML").read_text()
    assert page.count("<svg") == 1
    assert "40 sites: " in page
    assert "<b>" not in page
    # The same from the rows alone: the same plot, and a page without pictures.
    status, _, err = sad("eval", "--from", "r.jsonl", "--plot", "again.svg", "--plot", "t.html")
    assert (status, err) == (0, "t.html: 0.1 MB, no pictures\n")
    assert Path("again.svg").read_bytes() == Path("r.svg").read_bytes()
    assert viewers("t.html") == []
    assert "<svg" in Path("t.html").read_text()


def test_a_report_of_a_resumed_sweep(sad):
    sweep = ["eval", "a.png", HOSTILE, *SWEEP, "--out", "r.csv", "--quiet"]
    assert sad(*sweep, "--keep", "kept", "--plot", "r.html") == (0, "", "")
    rows = Path("r.csv").read_text().splitlines(keepends=True)
    Path("r.csv").write_text("".join(rows[:5]))  # the last image lacks two of three
    Path("r.html").unlink()
    assert sad(*sweep, "--keep", "kept", "--resume", "--plot", "r.html") == (0, "", "")
    assert len(viewers("r.html")) == 2
    # Of rows that were measured before only kept files have pictures; the report is replaced.
    assert sad(*sweep, "--resume", "--plot", "r.html") == (0, "", "")
    assert viewers("r.html") == []


def test_what_cannot_be_drawn_is_refused_before_any_work(sad, monkeypatch):
    Path("there.svg").write_text("old")
    status, _, err = sad("eval", "a.png", "--plot", "there.svg", "--out", "r.csv")
    assert (status, err) == (1, "sad: there.svg: exists already (--force replaces it)\n")
    status, _, err = sad("eval", "a.png", "--plot", "r.pdf")
    assert status == 2
    assert "--plot r.pdf is none of .png, .svg, .html." in err
    assert sad("eval", "a.png", "--plot", "-")[0] == 2
    status, _, err = sad("eval", "a.png", "--plot", "none/r.svg")
    assert (status, err.count("\n")) == (1, 1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    status, _, err = sad("eval", "a.png", "--plot", "r.html", "--out", "r.csv")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("sad: r.html: a plot needs Matplotlib (pip install 'sadcodec[plot]')")
    assert not Path("r.csv").exists()
    assert Path("there.svg").read_text() == "old"


def test_nothing_to_plot(sad):
    Path("bad.png").write_bytes(b"no image")
    status, _, err = sad("eval", "bad.png", "--bpp", "1", "--plot", "r.html", "--plot", "r.svg")
    assert status == 1
    lines = err.splitlines()
    assert lines[0].startswith("sad: bad.png: ")
    assert lines[1] == "r.html: 0.0 MB, pictures of 0 of 1 images"
    assert lines[2].startswith("sad: r.svg: nothing to plot: ")
    assert "<svg" not in Path("r.html").read_text()
    assert "1 of 1 rows failed" in Path("r.html").read_text()
    assert not Path("r.svg").exists()
    # An image that fails among others that do not is left out.
    status, _, _ = sad("eval", "bad.png", "a.png", *SWEEP, "--plot", "s.html", "--quiet")
    assert status == 3
    assert len(viewers("s.html")) == 1
