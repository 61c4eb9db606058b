"""``sad decode`` of many files, its formats by prefix, and ``--verbose``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from cli_stand_in import (
    Codec,
    Sad,
    assert_one_line_error,
    codec_fixture,  # noqa: F401
    names,
    sad_fixture,  # noqa: F401
)

from sadcodec import image_io
from sadcodec.cli.decode import decode
from sadcodec.errors import BitstreamError

FORMATS = next(p.type.choices for p in decode.params if p.name == "suffix")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_by_prefix_and_by_option(sad: Sad, codec: Codec, suffix: str) -> None:
    if suffix == "pgm":
        codec.image = codec.image[:, :, :1]
    assert sad("decode", "in.sad", "-o", f"by-suffix.{suffix}").status == 0
    expected = Path(f"by-suffix.{suffix}").read_bytes()
    assert sad("decode", "in.sad", "-o", f"{suffix}:by-prefix").status == 0
    assert Path("by-prefix").read_bytes() == expected
    assert sad("decode", "in.sad", "-o", "by-option", "--format", suffix).status == 0
    assert Path("by-option").read_bytes() == expected
    assert sad("decode", "in.sad", "-o", f"{suffix}:-").out == expected
    assert sad("decode", "-", "--format", suffix, stdin=b"stored").out == expected


def test_a_prefix_is_a_known_format_only(sad: Sad) -> None:
    assert sad("decode", "in.sad", "-o", "c:x.png").status == 0
    assert "c:x.png" in names()
    assert_one_line_error(sad("decode", "in.sad", "-o", "png:c:x.png"), "c:x.png: exists already")
    result = sad("decode", "in.sad", "-o", "png:x", "--format", "jpg")
    assert result.status == 2
    assert "exclude each other" in result.err
    assert_one_line_error(sad("decode", "in.sad", "-o", "png:in.sad", "--force"), "is the input")


def test_many_files_to_a_folder(sad: Sad, codec: Codec) -> None:
    os.mkdir("more")
    for name in ("b.sad", "a.SAD", "note.txt", ".hidden.sad"):
        Path("more", name).write_bytes(b"stored")
    result = sad("decode", "in.sad", "more", "--out-dir", "out/there", "--format", "ppm")
    assert (result.status, result.out) == (0, b"")
    assert names("out/there") == ["a.ppm", "b.ppm", "in.ppm"]
    assert [line.split(":")[0] for line in result.err.splitlines()] == [
        os.path.join("out/there", name) for name in ("in.ppm", "a.ppm", "b.ppm")
    ]
    data = Path("out/there/a.ppm").read_bytes()
    np.testing.assert_array_equal(image_io.decode_image(data), codec.image)


def test_the_others_go_on_after_a_failure(sad: Sad, codec: Codec) -> None:
    Path("taken.sad").write_bytes(b"stored")
    Path("png.sad").write_bytes(Path("in.png").read_bytes())
    Path("last.sad").write_bytes(b"stored")
    os.mkdir("out")
    Path("out/taken.png").write_bytes(b"old")
    sources = ["missing.sad", "taken.sad", "png.sad", "last.sad"]
    result = sad("decode", *sources, "--out-dir", "out", "--json")
    assert result.status == 3
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["input"] for line in lines] == sources
    assert [line.get("error", "")[:15] for line in lines] == [
        "No such file or",
        "exists already ",
        "not a .sad file",
        "",
    ]
    assert [line["output"] for line in lines] == [
        os.path.join("out", name) for name in ("missing.png", "taken.png", "png.png", "last.png")
    ]
    assert result.err.count("\n") == 3
    assert Path("out/taken.png").read_bytes() == b"old"
    codec.error = BitstreamError("damaged")
    result = sad("decode", "in.sad", "last.sad", "--out-dir", "out", "--force")
    assert result.status == 3
    assert result.err == "sad: in.sad: damaged\nsad: last.sad: damaged\n"


def test_out_dir_excludes_output_and_pipes(sad: Sad, codec: Codec) -> None:
    for arguments in (["in.sad", "-o", "x.png"], ["-"]):
        assert sad("decode", *arguments, "--out-dir", "out").status == 2
    os.mkdir("twice")
    Path("twice/in.sad").write_bytes(b"stored")
    result = sad("decode", "in.sad", "twice", "--out-dir", "out")
    assert_one_line_error(result, "in.png: is the output of both")
    assert not codec.calls
    assert names() == ["in.png", "in.sad", "twice"]


def test_verbose_tells_the_machine_and_the_stages(sad: Sad) -> None:
    result = sad("decode", "in.sad", "-o", "a.png", "-v", "--threads", "3", "--backend", "cpu")
    first, second, third, last = result.err.splitlines()
    assert re.fullmatch(r"sad: version \S+, backend cpu, \w+, 3 threads", first)
    assert second == "sad: in.sad: 6 bytes, 2 sites"
    stages = r"starting \d+ ms, half \d+ ms, packing png \d+ ms, writing \d+ ms"
    assert re.fullmatch(f"sad: in.sad: {stages}", third)
    assert last.startswith("a.png: 4 x 3")
    result = sad("encode", "in.png", "-o", "b.sad", "-v", "--backend", "cpu", "--quiet")
    assert "sad: in.png: 4 x 3, 3 channels of 8 bits; bpp 0.25, metric psnr" in result.err
    assert "sad: in.png: 7 sites, fitted in 10 iterations to 40.50 dB" in result.err
    assert re.search(r"sad: in.png: starting \d+ ms, half \d+ ms\n$", result.err)
    result = sad("encode", "in.png", "--out-dir", "out", "-v", "--quiet")
    assert "7 sites" in result.err
