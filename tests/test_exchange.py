"""Export and import of site lists: the picture they draw, what coding costs, the commands."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import site_list_authors
from command_line import run_sad
from diagrams import random_sites

import sadcodec
from sadcodec import bitstream, image_io
from sadcodec.bitstream import Header, QuantizerParameters
from sadcodec.errors import BitstreamError, InputError, LimitError, OptionError
from sadcodec.exchange import export_list, import_with_report
from sadcodec.metrics import psnr
from sadcodec.quantize import dequantize, quantize, to_table
from sadcodec.site_list import parse_site_list

PHOTOGRAPH = Path(__file__).parents[1] / "data" / "chelsea.png"
CPU = {"backend": "cpu", "threads": 1}


def drawn_file(channels: int, bit_depth: int = 8, *, k: int = 8, left: float = 1.0) -> bytes:
    """A file of 300 random sites on 96 x 64 px, none left of `left` px."""
    sites = random_sites(3, 300, 96, 64, channels, radius=(0.0, 6.0))
    sites.params[:, 0] = np.maximum(sites.params[:, 0], left)
    steps = QuantizerParameters(100, 100, 100, 100, 512, (200,) * channels)
    header = Header(96, 64, channels, bit_depth, k, 300, steps)
    return bitstream.write(header, quantize(sites, 96, 64, steps))


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Uint8 [64, 96, 3]."""
    return image_io.decode_image(PHOTOGRAPH.read_bytes())[100:164, 120:216]


@pytest.fixture(scope="module")
def stored(photograph: np.ndarray) -> bytes:
    return sadcodec.encode(photograph, sites=400, effort=1, **CPU)


@pytest.fixture(scope="module")
def text(stored: bytes) -> str:
    return sadcodec.export_sites(stored)


@pytest.mark.parametrize(("channels", "bit_depth"), [(3, 8), (1, 8), (3, 16)])
def test_the_authors_conventions_draw_what_we_decode(channels: int, bit_depth: int) -> None:
    data = drawn_file(channels, bit_depth)
    white = (1 << bit_depth) - 1
    theirs = np.floor(site_list_authors.draw(sadcodec.export_sites(data)) * white + 0.5)
    decoded = sadcodec.decode(data, threads=1)
    assert decoded.std() > white / 20  # there is something to see
    assert np.abs(theirs - decoded).max() <= 1


def test_a_photograph_differs_only_where_sites_had_to_move(stored: bytes, text: str) -> None:
    theirs = np.floor(site_list_authors.draw(text) * 255 + 0.5).astype(np.uint8)
    decoded = sadcodec.decode(stored, threads=1)
    assert "position_x of the next site" in text
    assert np.abs(theirs.astype(int) - decoded)[:, 12:].max() <= 1
    assert psnr(decoded, theirs) > 55


@pytest.mark.parametrize("channels", [1, 3])
def test_exported_sites_are_the_decoded_ones(channels: int) -> None:
    data = drawn_file(channels, 16, left=0.0)
    header, symbols = bitstream.read(data)
    exact = dequantize(symbols, header.width, header.height, header.quantizer)
    read = parse_site_list(sadcodec.export_sites(data))
    assert (read.width, read.height, read.bit_depth, read.k) == (96, 64, 16, 8)
    np.testing.assert_allclose(read.sites.params, exact.params, rtol=0, atol=1.5e-6)
    again = quantize(read.sites, header.width, header.height, header.quantizer)
    np.testing.assert_array_equal(to_table(again), to_table(symbols))


def test_alpha_is_refused() -> None:
    for channels in (2, 4):
        with pytest.raises(InputError, match="alpha"):
            sadcodec.export_sites(drawn_file(channels))


def test_a_damaged_file_is_refused(stored: bytes) -> None:
    with pytest.raises(BitstreamError):
        sadcodec.export_sites(stored[:-1])


def test_importing_keeps_the_picture_and_the_radius(stored: bytes, text: str) -> None:
    data, report = import_with_report(text, effort=1, **CPU)
    listed = sadcodec.decode(stored, threads=1)
    assert report.list_psnr == pytest.approx(psnr(listed, sadcodec.decode(data, threads=1)))
    assert report.list_psnr > 40
    assert (report.psnr, report.fit_psnr, report.inactive) == (None, None, 0)
    assert len(data) == report.bytes < 1.3 * len(stored)
    header = sadcodec.info(data).header
    assert header.quantizer.step_radius > 0
    assert (header.width, header.height, header.site_count) == (96, 64, 400)


def test_finer_steps_come_nearer(stored: bytes, text: str) -> None:
    reports = [import_with_report(text, scale=s, effort=1, **CPU)[1] for s in (2.0, 1.0, 0.25)]
    nearness = [report.list_psnr for report in reports]
    assert nearness == sorted(nearness)
    assert nearness[2] > 50
    assert [r.bytes for r in reports] == sorted(r.bytes for r in reports)


def test_a_size_is_met_from_below(photograph: np.ndarray, text: str) -> None:
    for image, size in ((photograph, 1600), (None, 700)):  # by the steps; by fewer sites as well
        data, report = import_with_report(text, image, size=size, effort=1, **CPU)
        assert 0.98 * size <= len(data) <= size
        assert report.warning is None
        assert (report.sites == 400) == (size == 1600)
    data, report = import_with_report(text, bpp=0.001, effort=1, **CPU)
    assert report.warning == f"cannot be coded in 1 bytes; the smallest file takes {len(data)}"
    data, report = import_with_report(text, size=9000, effort=1, **CPU)
    assert report.warning is not None
    assert f"more than {len(data)} bytes bring nothing" in report.warning


def test_exporting_again_gives_the_sites_within_their_steps(text: str) -> None:
    first = parse_site_list(text).sites
    data = sadcodec.import_sites(text, scale=0.25, effort=1, **CPU)
    second = export_list(data).sites
    steps = sadcodec.info(data).header.quantizer
    # Nearest pairs: the order of a file is its own. The descent moves a symbol by a few steps.
    distance = np.abs(first.position[:, None] - second.position).max(axis=2)
    pairs = distance.argmin(axis=1)
    assert len(np.unique(pairs)) == len(first)
    assert distance.min(axis=1).max() <= 3 * steps.step_position / 1024
    within = np.abs(first.log_tau - second.log_tau[pairs]) <= 2 * steps.step_log_tau / 1024
    assert within.mean() > 0.95
    assert np.abs(first.radius - second.radius[pairs]).max() <= 4 * steps.step_radius / 1024


def test_with_the_image_the_repair_is_against_it(photograph: np.ndarray, text: str) -> None:
    data, report = import_with_report(text, photograph, effort=2, **CPU)
    assert report.psnr == pytest.approx(psnr(photograph, sadcodec.decode(data, threads=1)))
    assert report.fit_psnr is not None
    assert report.psnr > report.fit_psnr - 0.5
    blind = sadcodec.import_sites(text, effort=2, **CPU)
    assert len(data) < 1.02 * len(blind)
    assert report.psnr > psnr(photograph, sadcodec.decode(blind, threads=1)) + 0.1


def test_the_bytes_do_not_depend_on_the_threads(photograph: np.ndarray, text: str) -> None:
    one = sadcodec.import_sites(text, photograph, effort=1, backend="cpu", threads=1)
    assert sadcodec.import_sites(text, photograph, effort=1, backend="cpu", threads=3) == one
    assert sadcodec.import_sites(text.encode(), photograph, effort=1, **CPU) == one


def test_groups_of_an_imported_list(text: str) -> None:
    whole, parts = (
        sadcodec.decode(sadcodec.import_sites(text, effort=1, groups=groups, **CPU), threads=1)
        for groups in (1, 4)
    )
    data = sadcodec.import_sites(text, effort=1, groups=4, **CPU)
    assert sadcodec.info(data).groups == 4
    assert psnr(whole, parts) > 40
    with pytest.raises(OptionError, match="groups"):
        sadcodec.import_sites(text, effort=1, groups=0, **CPU)


def test_a_file_that_decoders_would_refuse_comes_with_a_warning() -> None:
    # One place, one temperature: all sites matter at every pixel.
    lines = [f"32 32 {i / 4000:.3f} 0.5 0.5 -6 1 1 0 0\n" for i in range(4000)]
    listed = "# Image size: 64 64\n" + "".join(lines)
    data, report = import_with_report(listed, effort=1, **CPU)
    assert report.warning is not None
    assert "--max-work" in report.warning
    with pytest.raises(LimitError):
        sadcodec.decode(data, threads=1)
    assert sadcodec.decode(data, threads=1, max_work=0).shape == (64, 64, 3)


def test_what_a_list_does_not_say_comes_from_the_image(photograph: np.ndarray) -> None:
    gray = sadcodec.export_sites(drawn_file(1, 16, k=5))
    header = sadcodec.info(sadcodec.import_sites(gray, effort=1, **CPU)).header
    assert (header.channels, header.bit_depth, header.k) == (1, 16, 5)
    header = sadcodec.info(sadcodec.import_sites(gray, photograph, effort=1, **CPU)).header
    assert (header.channels, header.bit_depth, header.k) == (3, 8, 5)
    color = sadcodec.export_sites(drawn_file(3))
    deep = photograph[..., 0].astype(np.uint16) * 257
    header = sadcodec.info(sadcodec.import_sites(color, deep, effort=1, **CPU)).header
    assert (header.channels, header.bit_depth, header.k) == (3, 16, 8)


def test_one_site_on_one_pixel() -> None:
    text = "# Image size: 1 1\n0 0 0.2 0.4 0.6 5 4 1 0 0\n"
    decoded = sadcodec.decode(sadcodec.import_sites(text, effort=1, **CPU), threads=1)
    np.testing.assert_allclose(decoded[0, 0], [51, 102, 153], atol=1)


def test_sites_at_the_bounds_of_what_is_read_can_be_coded() -> None:
    low = "-0 -64 -4 -4 -4 -32 -990 1 0 -6"
    high = "80 80 4 4 4 32 990 0 1 6"
    text = f"# Image size: 16 16\n{low}\n{high}\n8 8 0.5 0.5 0.5 5 4 1 0 0\n"
    for scale in (0.1, 1, 10):
        data = sadcodec.import_sites(text, scale=scale, effort=1, **CPU)
        assert sadcodec.decode(data, threads=1).shape == (16, 16, 3)


def test_wrong_arguments(photograph: np.ndarray, text: str) -> None:
    alpha = np.concatenate([photograph, photograph[..., :1]], axis=2)
    for image, cause in ((photograph[1:], "96 x 63"), (alpha, "alpha")):
        with pytest.raises(InputError, match=cause):
            sadcodec.import_sites(text, image, **CPU)
    for options in ({"size": 0}, {"bpp": np.inf}, {"size": 900, "bpp": 1.0}):
        with pytest.raises(OptionError):
            sadcodec.import_sites(text, **options, **CPU)
    for options in ({"scale": 0.0}, {"scale": np.nan}, {"effort": 0}, {"coder": "best"}):
        with pytest.raises(OptionError):
            sadcodec.import_sites(text, **{**CPU, **options})
    for content, cause in ((b"\n\xff", "line 2: .*UTF-8"), (17, "int")):
        with pytest.raises(InputError, match=cause):
            sadcodec.import_sites(content, **CPU)
    with pytest.raises(LimitError, match="too large"):
        sadcodec.import_sites("# Image size: 100000 100000\n0 0 0 0 0 5 4", **CPU)


@dataclass
class Result:
    status: int
    out: bytes
    err: str


Sad = Callable[..., Result]


@pytest.fixture
def sad(
    stored: bytes,
    photograph: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Sad:
    """Runs ``sad`` in a folder that holds in.sad and its original in.png."""
    monkeypatch.chdir(tmp_path)
    Path("in.sad").write_bytes(stored)
    Path("in.png").write_bytes(image_io.encode_image(photograph, "png"))

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        if arguments[0] == "import":
            arguments += ("--backend=cpu", "--threads=1", "--effort=1")
        status = run_sad(*arguments)
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err
        return Result(status, out, err.decode())

    return run


def test_the_commands_write_files_and_say_so(sad: Sad, text: str) -> None:
    result = sad("export", "in.sad")
    assert (result.status, result.out) == (0, b"")
    assert result.err == f"in_sites.txt: 400 sites, 96 x 64, {len(text)} bytes\n"
    assert Path("in_sites.txt").read_text() == text
    result = sad("import", "in_sites.txt")
    assert (result.status, result.out) == (0, b"")
    assert result.err.startswith("in_sites.sad: ")
    assert "400 sites" in result.err
    assert "dB to the list's picture" in result.err
    expected = sadcodec.import_sites(text, effort=1, **CPU)
    assert Path("in_sites.sad").read_bytes() == expected


def test_pipes(sad: Sad, stored: bytes, text: str, photograph: np.ndarray) -> None:
    exported = sad("export", "-", "-o", "-", "--quiet", stdin=stored)
    assert (exported.status, exported.out, exported.err) == (0, text.encode(), "")
    crlf = text.replace("\n", "\r\n").encode("utf-8-sig")
    imported = sad("import", "-", "-o", "-", "--image=in.png", "--json", stdin=crlf)
    assert imported.status == 0
    assert imported.out == sadcodec.import_sites(text, photograph, effort=1, **CPU)
    record = json.loads(imported.err)
    assert (record["input"], record["output"], record["image"]) == ("-", "-", "in.png")
    assert record["bytes"] == len(imported.out)
    assert record["psnr"] > 20
    assert {"scale", "effort", "coder", "sites", "list_psnr", "fit_psnr"} <= record.keys()


def test_errors_are_one_line_with_file_and_cause(sad: Sad, text: str) -> None:
    Path("bad.txt").write_text(text + "1 2 3\n")
    Path("bytes.txt").write_bytes(b"\x89SAD")
    Path("alpha.sad").write_bytes(drawn_file(4))
    line = text.count("\n") + 1
    for arguments, message in (
        (("import", "bad.txt"), f"sad: bad.txt: line {line}: 3 columns where a site has 10"),
        (("import", "bytes.txt"), "sad: bytes.txt: line 1: not a site list: no UTF-8 text"),
        (("import", "none.txt"), "sad: none.txt: No such file"),
        (("import", "bad.txt", "--image=none.png"), "sad: none.png: No such file"),
        (("import", "bad.txt", "-o", "in.sad"), "sad: in.sad: exists already"),
        (
            ("import", "bad.txt", "--image=in.png", "-o", "in.png", "-f"),
            "sad: in.png: is the input",
        ),
        (("export", "bad.txt"), "sad: bad.txt: not a .sad file"),
        (("export", "alpha.sad"), "sad: alpha.sad: has alpha, which a site list cannot express"),
        (("export", "in.sad", "-o", "bad.txt"), "sad: bad.txt: exists already"),
        (("export", "in.sad", "-o", "in.sad", "-f"), "sad: in.sad: is the input file"),
    ):
        result = sad(*arguments)
        assert (result.status, result.out) == (1, b""), arguments
        assert result.err.startswith(message)
        assert result.err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == [
        *("alpha.sad", "bad.txt", "bytes.txt", "in.png", "in.sad"),
    ]
    assert sad("export", "in.sad", "-o", "bad.txt", "--force").status == 0
    assert Path("bad.txt").read_text() == text
    assert sad("import", "-", "--image=-").status == 2
    assert sad("import", "bad.txt", "--scale=nan").status == 2
    assert sad("import", "bad.txt", "--scale=1", "--size=900").status == 2
    assert "warning: cannot be coded in 9 bytes" in sad("import", "bad.txt", "--size=9").err


def test_what_the_authors_code_would_do_otherwise_is_said(sad: Sad) -> None:
    Path("k5.sad").write_bytes(drawn_file(3, k=5))
    result = sad("export", "k5.sad")
    assert result.status == 0
    assert "k5.sad: note: K is 5; the authors' code blends 8 sites" in result.err
    removed = Path("k5_sites.txt").read_text() + "-1 -1 0 0 0 5 4 1 0 0\n"
    result = sad("import", "-", "-o", "out.sad", stdin=removed.encode())
    assert result.status == 0
    assert "1 inactive sites left out" in result.err
