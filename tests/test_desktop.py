"""For the desktop: file type, thumbnails, manual, completion (``make install-desktop``)."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import sadcodec
from sadcodec.bitstream.header import SIGNATURE
from sadcodec.cli import sad
from sadcodec.cli.manual import pages

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "rgb.sad"


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program} on the PATH")
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With ``sad`` on the PATH, as after an installation."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "sad"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sadcodec "$@"\n')
    script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def share(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``make install-desktop`` filled."""
    prefix = tmp_path_factory.mktemp("prefix")
    make("install-desktop", prefix, environment)
    return prefix / "share"


def make(target: str, prefix: Path, environment: dict[str, str]) -> None:
    # READY=: with this interpreter instead of .venv, which need not be there.
    settings = [f"PREFIX={prefix}", "READY=", f"BIN={Path(sys.executable).parent}"]
    settings.append(f"MANUAL={prefix}/built")
    command = [needs("make"), "-C", str(ROOT), target, *settings]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_everything_is_installed_and_removed(share: Path, environment: dict[str, str]) -> None:
    def ours() -> set[str]:
        return {
            path.relative_to(share).as_posix()
            for path in share.rglob("*")
            if path.is_file() and "sad" in path.name
        }

    installed = ours()
    assert {f"man/man1/{name}" for name in pages()} < installed
    assert {
        "mime/packages/sadcodec.xml",
        "thumbnailers/sadcodec.thumbnailer",
        "bash-completion/completions/sad",
        "zsh/site-functions/_sad",
        "fish/vendor_completions.d/sad.fish",
    } < installed
    if shutil.which("update-mime-database"):
        assert "image/x-sad:*.sad" in (share / "mime" / "globs2").read_text()
    copy = share.parent.parent / "copy"
    shutil.copytree(share.parent, copy)
    make("uninstall-desktop", copy, environment)
    assert not [path for path in (copy / "share").rglob("*") if "sad" in path.name]


def test_the_file_type_is_that_of_the_format() -> None:
    name = "{http://www.freedesktop.org/standards/shared-mime-info}"
    kind = ET.parse(ROOT / "desktop" / "sadcodec.xml").getroot().find(f"{name}mime-type")  # noqa: S314
    assert kind is not None
    assert kind.get("type") == Image.MIME["SAD"]
    match, glob = kind.find(f"{name}magic/{name}match"), kind.find(f"{name}glob")
    assert match is not None
    assert glob is not None
    assert match.get("value", "").encode().decode("unicode_escape").encode("latin-1") == SIGNATURE
    assert (match.get("offset"), glob.get("pattern")) == ("0", "*.sad")
    assert "`image/x-sad`" in (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")


def test_the_thumbnailer_draws(environment: dict[str, str], tmp_path: Path) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "desktop" / "sadcodec.thumbnailer")
    entry = parser["Thumbnailer Entry"]
    assert entry["MimeType"] == "image/x-sad;"
    target = tmp_path / "no-suffix"
    target.touch()  # the file manager makes it before
    names = {"%o": str(target), "%i": str(GOLDEN), "%s": "128"}
    command = [re.sub("%[ois]", lambda m: names[m[0]], word) for word in entry["Exec"].split()]
    assert command[0] == entry["TryExec"]
    subprocess.run(command, env=environment, check=True)
    with Image.open(target) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), sadcodec.decode(GOLDEN.read_bytes()))


# ---- Manual -------------------------------------------------------------------------------------


def test_the_manual_has_every_option_of_every_command() -> None:
    found = pages()
    assert set(found) == {"sad.1", *(f"sad-{name}.1" for name in sad.commands)}
    for name, command in sad.commands.items():
        text = found[f"sad-{name}.1"].replace("\\-", "-")
        assert text.count(".SH NAME\n") == 1
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                option = parameter.opts[-1]
                assert re.search(rf"^\.TP\n\.B .*{option}\b", text, re.MULTILINE), (name, option)
        assert "\b" not in text


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_manual_is_well_formed(name: str) -> None:
    command = [needs("groff"), "-man", "-Tutf8", "-ww"]
    text = pages()[name].encode()
    run = subprocess.run(command, input=text, capture_output=True, check=True)
    assert run.stderr == b""
    assert b"User Commands" in run.stdout


# ---- Completion ---------------------------------------------------------------------------------


def test_bash_completes(share: Path, environment: dict[str, str]) -> None:
    script = share / "bash-completion" / "completions" / "sad"
    code = f"""source '{script}'
    compopt() {{ echo "$@"; }}
    try() {{ COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sad_completion sad
             echo "${{COMPREPLY[@]}}"; }}
    try sad enc
    try sad encode --metr
    try sad decode --format pn
    try sad decode ph
    """
    run = subprocess.run(
        [needs("bash"), "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n") == ["encode", "--metric", "png pnm", "-o default", "", ""]
    assert run.stderr == ""


def test_fish_completes(share: Path, environment: dict[str, str], tmp_path: Path) -> None:
    script = share / "fish" / "vendor_completions.d" / "sad.fish"
    (tmp_path / "photo.sad").touch()
    code = f"source {script}; complete -C 'sad enc'; complete -C 'sad decode pho'"
    run = subprocess.run(
        [needs("fish"), "--no-config", "-c", code],
        env={**environment, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split("\t")[0] for line in run.stdout.splitlines() if line] == [
        "encode",
        "photo.sad",
    ]


def test_zsh_takes_the_script(share: Path) -> None:
    script = share / "zsh" / "site-functions" / "_sad"
    assert script.read_text().startswith("#compdef sad\n")
    subprocess.run([needs("zsh"), "-n", str(script)], check=True)
