"""Other people's programs read what ``sad`` writes, through a pipe, and it reads theirs.

ImageMagick is looked for on the PATH. So is FFmpeg; the package imageio-ffmpeg, which the extra
`test` installs, brings one along.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sadcodec

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
SAD = [sys.executable, "-m", "sadcodec"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def path_of_imagemagick() -> str | None:
    """`magick` of version 7 or `convert` of 6: other programs go by these names, too."""
    for folder in os.get_exec_path():
        for name in ("magick", "convert"):
            program = shutil.which(name, path=folder)
            if program is None:
                continue
            told = subprocess.run([program, "-version"], capture_output=True, check=False).stdout
            if told.startswith(b"Version: ImageMagick"):
                return program
    return None


def path_of_ffmpeg() -> str | None:
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


@pytest.fixture(scope="module")
def imagemagick() -> str:
    found = path_of_imagemagick()
    if found is None:
        pytest.skip("no ImageMagick on the PATH (Debian: apt-get install imagemagick)")
    return found


@pytest.fixture(scope="module")
def ffmpeg() -> str:
    found = path_of_ffmpeg()
    if found is None:
        pytest.skip("no ffmpeg on the PATH, and no package imageio-ffmpeg")
    return found


def piped(first: list[str], second: list[str]) -> bytes:
    """The output of two programs joined by a pipe, both of which must end well."""
    with (
        subprocess.Popen(first, stdout=subprocess.PIPE, env=ENVIRONMENT) as source,
        subprocess.Popen(second, stdin=source.stdout, stdout=-1, env=ENVIRONMENT) as sink,
    ):
        assert source.stdout is not None
        source.stdout.close()  # so that the first notices if the second goes away
        out, _ = sink.communicate(timeout=120)
        assert (source.wait(), sink.returncode) == (0, 0)
    return out


def decoding(name: str, output: str) -> list[str]:
    return [*SAD, "decode", str(GOLDEN / f"{name}.sad"), "-o", output, "--quiet"]


def expected(name: str) -> np.ndarray:
    return sadcodec.decode((GOLDEN / f"{name}.sad").read_bytes())


@pytest.mark.parametrize(
    ("name", "output", "raw"),
    [("rgb", "png:-", "rgb"), ("rgb-alpha", "pam:-", "rgba"), ("rgb-16", "png:-", "rgb")],
)
def test_imagemagick_reads(imagemagick: str, name: str, output: str, raw: str) -> None:
    pixels = expected(name)
    depth = 8 * pixels.dtype.itemsize
    options = ["-endian", "MSB", "-depth", str(depth), f"{raw}:-"]
    out = piped(decoding(name, output), [imagemagick, output, *options])
    assert out == pixels.astype(">u2" if depth == 16 else np.uint8).tobytes()


@pytest.mark.parametrize(
    ("name", "output", "demuxer", "pixel_format"),
    [
        ("rgb", "ppm:-", ["-f", "ppm_pipe"], "rgb24"),
        ("rgb-alpha", "pam:-", ["-f", "image2pipe", "-c:v", "pam"], "rgba"),
        ("rgb-16", "png:-", ["-f", "png_pipe"], "rgb48be"),
    ],
)
def test_ffmpeg_reads(
    ffmpeg: str, name: str, output: str, demuxer: list[str], pixel_format: str
) -> None:
    pixels = expected(name)
    command = [ffmpeg, "-v", "error", *demuxer, "-i", "-", "-f", "rawvideo"]
    out = piped(decoding(name, output), [*command, "-pix_fmt", pixel_format, "-"])
    assert out == pixels.astype(">u2" if pixels.dtype == np.uint16 else np.uint8).tobytes()


ENCODING = [*SAD, "encode", "-", "-o", "-", "--sites", "60", "-e", "1", "--quiet", "--threads", "1"]


def test_sad_reads_what_imagemagick_writes(imagemagick: str) -> None:
    photo = str(ROOT / "data" / "chelsea.png")
    small = piped([imagemagick, photo, "-resize", "48x32!", "ppm:-"], ENCODING)
    assert sadcodec.decode(small).shape == (32, 48, 3)


def test_sad_reads_what_ffmpeg_writes(ffmpeg: str) -> None:
    photo = str(ROOT / "data" / "chelsea.png")
    frame = ["-vf", "scale=48:32", "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-"]
    small = piped([ffmpeg, "-v", "error", "-i", photo, *frame], ENCODING)
    assert sadcodec.decode(small).shape == (32, 48, 3)
