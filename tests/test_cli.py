"""The command line around a stand-in for the codec: encode, decode, errors and exit statuses."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from cli_stand_in import (
    Codec,
    Report,
    Sad,
    assert_one_line_error,
    codec_fixture,  # noqa: F401
    names,
    sad_fixture,  # noqa: F401
)

import sadcodec
from sadcodec import cli, image_io
from sadcodec.bitstream import Damage, LostSites, Repair
from sadcodec.errors import BackendError, BackendWarning, BitstreamError, OptionError


def test_version_and_help(sad: Sad) -> None:
    assert sad("--version").out == f"sad {sadcodec.__version__}\n".encode()
    for command in (
        (),
        *((name,) for name in ("encode", "decode", "info", "eval", "export", "import")),
    ):
        result = sad(*command, "--help")
        assert result.status == 0
        assert result.out.startswith(b"Usage: sad")


def test_encode_writes_the_file_and_says_so(sad: Sad, codec: Codec) -> None:
    result = sad("encode", "in.png", "-o", "out.sad")
    assert (result.status, result.out) == (0, b"")
    assert result.err == "out.sad: 4 bytes, 0.2500 bpp, 7 sites, inf dB, 0.1 s\n"
    assert Path("out.sad").read_bytes() == b"SAD!"
    assert names() == ["in.png", "in.sad", "out.sad"]
    np.testing.assert_array_equal(codec.calls[0]["image"], codec.image)


def test_encode_hands_every_option_on(sad: Sad, codec: Codec) -> None:
    options = [
        "--bpp=0.5",
        "--metric=ssim",
        "--effort=7",
        "--threads=2",
        "--seed=9",
        "--backend=cpu",
        "--coder=zstd",
        "--groups=3",
        "--progressive=5",
        "--topk=propagate",
        "--roi=0,1,2,1:9",
        "--roi=1,1,1,1",
        "--strict",
    ]
    result = sad("encode", "in.png", "-o", "out.sad", *options, "--quiet")
    assert (result.status, result.out, result.err) == (0, b"", "")
    call = codec.calls[0]
    del call["image"], call["progress"]
    none = dict.fromkeys(("quality", "size", "psnr", "sites"))
    rest = {"effort": 7, "threads": 2, "seed": 9, "backend": "cpu", "coder": "zstd"}
    rest |= {
        "metric": "ssim",
        "recipe": "default",
        "groups": 3,
        "progressive": 5,
        "topk": "propagate",
        "mask": None,
        "roi": ((0, 1, 2, 1, 9.0), (1, 1, 1, 1, 4.0)),
        "strict": True,
        "metadata": {},
    }
    assert call == {"bpp": 0.5, **none, **rest}


def test_the_recipe_paper_needs_sites_and_the_cpu(sad: Sad, codec: Codec) -> None:
    for options in (["--bpp=1"], [], ["--sites=9", "--backend=cuda"]):
        result = sad("encode", "in.png", "-o", "out.sad", "--recipe=paper", *options)
        assert result.status == 2
        assert "--recipe paper" in result.err
    assert codec.calls == []
    assert sad("encode", "in.png", "-o", "out.sad", "--recipe=paper", "--sites=9").status == 0
    assert codec.calls[0]["recipe"] == "paper"
    assert codec.calls[0]["backend"] == "cpu"


def test_without_output_the_file_lies_beside_the_input(sad: Sad) -> None:
    os.mkdir("folder")
    os.rename("in.png", "folder/a.b.png")
    assert sad("encode", "folder/a.b.png").status == 0
    assert names() == ["folder", "in.sad"]
    assert sorted(os.listdir("folder")) == ["a.b.png", "a.b.sad"]
    assert sad("decode", "in.sad").status == 0
    assert names() == ["folder", "in.png", "in.sad"]


def test_existing_output_is_kept_without_force(sad: Sad, codec: Codec) -> None:
    assert_one_line_error(sad("encode", "in.png"), "in.sad: exists already", "--force")
    assert_one_line_error(sad("decode", "in.sad"), "in.png: exists already", "--force")
    assert codec.calls == []  # refused before any work
    assert Path("in.sad").read_bytes() == b"stored"
    assert sad("encode", "in.png", "--force").status == 0
    assert Path("in.sad").read_bytes() == b"SAD!"


def test_the_input_is_not_overwritten_even_by_force(sad: Sad) -> None:
    assert_one_line_error(sad("encode", "in.png", "-o", "./in.png", "--force"), "is the input file")
    for arguments in (("encode", "in.png", "-o", ""), ("info", "")):
        assert_one_line_error(sad(*arguments), "sad: '': No such file or directory")
    assert_one_line_error(sad("decode", "in.sad", "-o", "in.sad"), "suffix .sad is not known")


def test_pipes(sad: Sad, codec: Codec) -> None:
    result = sad("encode", "-", stdin=Path("in.png").read_bytes())
    assert (result.status, result.out) == (0, b"SAD!")
    assert result.err.startswith("stdout: 4 bytes")
    result = sad("encode", "-", "-o", "-", "--json", stdin=Path("in.png").read_bytes())
    assert result.out == b"SAD!"
    assert json.loads(result.err)["output"] == "-"
    result = sad("decode", "-", stdin=b"stored")
    assert codec.calls[-1]["data"] == b"stored"
    np.testing.assert_array_equal(image_io.decode_image(result.out), codec.image)
    assert names() == ["in.png", "in.sad"]


def test_json_of_encode(sad: Sad) -> None:
    result = sad("encode", "in.png", "-o", "out.sad", "--json")
    assert result.err == ""
    assert result.out.count(b"\n") == 1
    report = json.loads(result.out, parse_constant=pytest.fail)  # inf and NaN are not JSON
    expected = {
        "input": "in.png",
        "output": "out.sad",
        "width": 4,
        "height": 3,
        "channels": 3,
        "bit_depth": 8,
    }
    expected |= {"effort": 5, "seed": 0, "coder": "range", "mask": None, "roi": []}
    assert report == expected | dataclasses.asdict(Report()) | {"psnr": None}


def test_json_of_decode(sad: Sad) -> None:
    report = json.loads(sad("decode", "in.sad", "-o", "out.ppm", "--json").out)
    assert report.pop("seconds") >= 0
    expected = {
        "input": "in.sad",
        "output": "out.ppm",
        "width": 4,
        "height": 3,
        "channels": 3,
        "bit_depth": 8,
    }
    assert report == expected | {"bytes": 6, "bpp": 4.0, "metadata": []}


def test_decode_options_and_formats(sad: Sad, codec: Codec) -> None:
    options = ["--threads=3", "--backend=reference", "--max-pixels=99", "--max-work=7", "--quiet"]
    assert sad("decode", "in.sad", "-o", "out.png", *options).err == ""
    given = {"threads": 3, "backend": "reference", "max_pixels": 99, "max_work": 7, "repair": False}
    given |= dict.fromkeys(("region", "scale", "size", "frame", "layers"))
    assert codec.calls == [{"data": b"stored", **given}]
    for suffix in ("ppm", "tif", "webp", "bmp"):
        assert sad("decode", "in.sad", "-o", f"out.{suffix}").status == 0
        np.testing.assert_array_equal(
            image_io.decode_image(Path(f"out.{suffix}").read_bytes()), codec.image
        )
    codec.image = codec.image.astype(np.uint16)
    assert_one_line_error(sad("decode", "in.sad", "-o", "deep.jpg"), "deep.jpg", "16 bits")
    assert not os.path.exists("deep.jpg")


def test_damage_is_told_even_quietly_and_in_json(sad: Sad, codec: Codec) -> None:
    box = (0, 0, 4, 2)
    damage = Damage(46, 20, "chunk GRPE at byte 46: does not match its checksum")
    codec.repair = Repair(9, (damage,), (LostSites(0, 5, (box,)),))
    result = sad("decode", "in.sad", "-o", "out.png", "--repair", "--quiet")
    assert result.status == 0
    assert codec.calls[0]["repair"] is True
    assert result.err.splitlines() == [
        "sad: in.sad: warning: chunk GRPE at byte 46: does not match its checksum",
        "sad: in.sad: warning: sites 0 to 4 are lost: columns 0 to 3, rows 0 to 1",
        "sad: in.sad: warning: drawn from the 4 of 9 sites that are left",
    ]
    report = json.loads(sad("decode", "in.sad", "-o", "b.png", "--repair", "--json").out)["repair"]
    assert (report["sites"], report["sites_lost"]) == (9, 5)
    assert report["damage"] == [{"offset": 46, "length": 20, "problem": damage.problem}]
    assert report["lost"] == [{"first": 0, "count": 5, "boxes": [[0, 0, 4, 2]], "layer": None}]
    codec.repair = Repair(9, (), ())
    whole = sad("decode", "in.sad", "-o", "c.png", "--repair", "--json", "--quiet")
    assert whole.err == ""
    assert json.loads(whole.out)["repair"] == {
        "sites": 9,
        "damage": [],
        "lost": [],
        "sites_lost": 0,
    }


def test_a_warning_of_the_encoder_is_passed_on(sad: Sad, codec: Codec) -> None:
    codec.report.warning = "target not reached"
    assert (
        "sad: in.png: warning: target not reached\n" in sad("encode", "in.png", "-o", "a.sad").err
    )
    assert sad("encode", "in.png", "-o", "b.sad", "--quiet").err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"],
        ["encode", "in.png", "--bpp", "1", "--sites", "5"],
        ["encode", "in.png", "--bpp", "0"],
        ["encode", "in.png", "--bpp", "nan"],
        ["encode", "in.png", "--bpp", "inf"],
        ["encode", "in.png", "--quality", "101"],
        ["encode", "in.png", "--psnr", "many"],
        ["encode", "in.png", "--size", "0"],
        ["encode", "in.png", "--sites", "1.5"],
        ["encode", "in.png", "--effort", "0"],
        ["encode", "in.png", "--effort", "10"],
        ["encode", "in.png", "--threads", "0"],
        ["encode", "in.png", "--seed", "-1"],
        ["encode", "in.png", "--backend", "abacus"],
        ["encode", "in.png", "--coder", "morse"],
        ["encode", "in.png", "--topk", "guess"],
        ["encode", "in.png", "--metric", "vmaf"],
        ["eval", "in.png", "--metric", "vmaf"],
        ["encode", "in.png", "in.png"],
        ["decode"],
        ["decode", "in.sad", "--max-pixels", "0"],
        ["info"],
        ["eval"],
        ["eval", "in.png", "--bpp", "1,x"],
        ["eval", "in.png", "--bpp", ","],
        ["eval", "in.png", "--bpp", "1", "--psnr", "30"],
        ["eval", "in.png", "--json", "--markdown"],
        ["unknown"],
        ["--unknown"],
        [],
    ],
)
def test_wrong_usage_exits_with_2(sad: Sad, codec: Codec, arguments: list[str]) -> None:
    result = sad(*arguments)
    assert (result.status, result.out) == (2, b"")
    assert "Usage: sad" in result.err
    assert codec.calls == []
    assert names() == ["in.png", "in.sad"]


def test_bad_inputs(sad: Sad) -> None:
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_text("not a picture\n" * 50)
    os.mkdir("folder")
    before = names()
    for source, cause in {
        "missing.png": "No such file or directory",
        "empty.png": "empty",
        "text.png": "not an image",
        "folder": "Is a directory",
        "in.png/x.png": "Not a directory",
        "in.sad": "not an image",
    }.items():
        result = sad("encode", source, "-o", "out.sad")
        assert_one_line_error(result, f"sad: {source}: ", cause)
        assert names() == before
    assert_one_line_error(sad("encode", "-", stdin=b""), "stdin: file is empty")
    assert_one_line_error(sad("decode", "missing.sad"), "missing.sad: No such file")
    assert_one_line_error(sad("encode", "new\nline.png"), "new\\nline.png: No such file")


def test_a_png_cut_at_any_byte(sad: Sad, codec: Codec) -> None:
    data = Path("in.png").read_bytes()
    for length in range(len(data)):
        Path("cut.png").write_bytes(data[:length])
        assert_one_line_error(sad("encode", "cut.png", "-o", "out.sad"), "sad: cut.png: ")
    assert codec.calls == []
    assert names() == ["cut.png", "in.png", "in.sad"]


@pytest.mark.parametrize(
    "error", [BitstreamError("payload is damaged"), OptionError("out of range"), MemoryError()]
)
def test_errors_of_the_codec(sad: Sad, codec: Codec, error: Exception) -> None:
    codec.error = error
    cause = str(error) or "not enough memory"
    assert_one_line_error(sad("encode", "in.png", "-o", "out.sad"), f"sad: in.png: {cause}\n")
    assert_one_line_error(sad("decode", "in.sad", "-o", "out.png"), f"sad: in.sad: {cause}\n")
    assert names() == ["in.png", "in.sad"]


def test_a_backend_that_cannot_be_loaded(sad: Sad, codec: Codec) -> None:
    codec.backend_error = BackendError("backend cuda: there is no NVIDIA driver")
    for arguments in (
        ["encode", "in.png", "-o", "out.sad"],
        ["encode", "in.png", "--out-dir", "new", "--jobs=2"],
        ["decode", "in.sad", "-o", "out.png"],
        ["eval", "none.png", "--out", "out.csv"],
    ):
        result = sad(*arguments, "--backend=cuda", "--force")
        assert_one_line_error(result, "sad: backend cuda: there is no NVIDIA driver\n")
        assert names() == ["in.png", "in.sad"]
    assert codec.calls == []


def test_a_default_that_is_not_the_fastest_is_noted(sad: Sad, codec: Codec) -> None:
    codec.warning = BackendWarning("using the CPU: there is no NVIDIA driver")
    result = sad("encode", "in.png", "-o", "out.sad", "--json")
    assert (result.status, result.out.count(b"\n")) == (0, 1)
    assert result.err == "sad: note: using the CPU: there is no NVIDIA driver\n"
    assert sad("encode", "in.png", "-o", "out.sad", "-f", "--quiet").err == ""
    codec.warning = FutureWarning("others are shown as ever")
    with pytest.warns(FutureWarning, match="as ever"):
        sad("encode", "in.png", "-o", "out.sad", "-f")


def test_a_defect_of_ours_is_no_traceback_either(
    sad: Sad, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec.error = ZeroDivisionError("two\nlines")
    result = sad("decode", "in.sad", "-o", "out.png")
    assert result.status == 1
    assert result.err.startswith("sad: internal error: ZeroDivisionError: two\\nlines\n")
    monkeypatch.setenv("SAD_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["decode", "in.sad", "-o", "out.png"])
    assert names() == ["in.png", "in.sad"]


def test_targets_that_cannot_be_written(sad: Sad, codec: Codec) -> None:
    os.mkdir("folder")
    for target, cause in {
        "in.png/out.sad": "Not a directory",
        "missing/out.sad": "No such file or directory",
        "folder": "Is a directory",
    }.items():
        assert_one_line_error(
            sad("encode", "in.png", "-o", target, "--force"), f"sad: {target}: ", cause
        )
    assert codec.calls == []
    assert names() == ["folder", "in.png", "in.sad"]


def test_full_disk(sad: Sad, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for force in ([], ["--force"]):
        result = sad("encode", "in.png", "-o", "in.sad" if force else "out.sad", *force)
        assert_one_line_error(result, "No space left on device")
    assert names() == ["in.png", "in.sad"]
    assert Path("in.sad").read_bytes() == b"stored"


def test_interruption(sad: Sad, codec: Codec) -> None:
    codec.error = KeyboardInterrupt()
    result = sad("encode", "in.png", "-o", "out.sad")
    assert result.status == 128 + signal.SIGINT
    assert result.err.strip() == ""
    assert names() == ["in.png", "in.sad"]
