"""Help in two tiers, and what is said to who mistakes the command line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest
from cli_stand_in import (
    Sad,
    assert_one_line_error,
    codec_fixture,  # noqa: F401
    names,
    sad_fixture,  # noqa: F401
)

from sadcodec import cli, files
from sadcodec.cli.help import Command
from sadcodec.errors import InputError

TIERED = [command for command in cli.sad.commands.values() if isinstance(command, Command)]


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@pytest.mark.parametrize("command", TIERED, ids=lambda command: str(command.name))
def test_help_in_two_tiers(sad: Sad, command: Command) -> None:
    brief, full = (sad(str(command.name), option).out.decode() for option in ("-h", "--help"))
    everything = {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }
    listed = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", full, flags=re.MULTILINE))
    assert listed == everything | {"--help"}
    assert full.count("\n  -o, ") == 1
    assert len(brief) < len(full) / 1.5
    assert f"sad {command.name} --help lists all options." in brief
    assert options(brief) < options(full)
    for title in command.sections:
        assert f"\n{title}:\n" in full
    # A section or the short help that named an option which is gone would have failed above.
    named = [name for section in command.sections.values() for name in section]
    assert len(named) == len(set(named))


def test_options_of_no_section_are_listed_last() -> None:
    @click.command(cls=Command, common=("a",), sections={"First": ("a", "brief", "help")})
    @click.option("--a", help="One.")
    @click.option("--b", help="Two.")
    def example(a: str, b: str) -> None:
        """Try."""

    text = example.get_help(click.Context(example, info_name="example"))
    assert re.search(r"First:\n  --a .*Other options:\n  --b TEXT  Two\.", text, re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("in.png", 2, "For this file: sad encode in.png"),
        ("in.sad", 2, "For this file: sad decode in.sad"),
        ("encod in.png", 2, "Did you mean"),
        ("encode in.png x.sad", 2, "Name the output by --output: sad encode in.png -o x.sad"),
        ("decode in.sad x.jpg", 2, "Name the output by --output: sad decode in.sad -o x.jpg"),
        ("encode in.png in.png", 2, "Several files need --out-dir."),
        ("decode in.sad in.sad", 2, "Several files need --out-dir."),
        ("encode in.png --jobs 2", 2, "--jobs and --scheduler need --out-dir."),
        ("encode in.png -o x.png", 2, "x.png: a .sad file is no .png image."),
        ("encode in.png -o x.sad --bpp 5%", 2, "'--bpp': '5%' is not a valid number."),
        ("encode in.png -o x.sad --size 9k", 2, "'--size': '9k' is not a valid whole number."),
        ("encode in.png -o x.sad --bbp 1", 2, "Did you mean '--bpp'"),
        ("encode folder", 1, "Is a directory (--out-dir works on all files in it)"),
        ("decode folder", 1, "Is a directory (--out-dir works on all files in it)"),
        ("encode in.png -o folder", 1, "Is a directory (--out-dir writes into a directory)"),
        ("decode in.sad -o folder", 1, "Is a directory (--out-dir writes into a directory)"),
        ("encode *.jpg", 1, "sad: *.jpg: no file matches this pattern"),
        ("decode *.jpg", 1, "sad: *.jpg: no file matches this pattern"),
        ("encode *.jpg --out-dir x", 1, "sad: *.jpg: no file matches this pattern"),
        ("decode in.sad --out-dir in.png", 1, "sad: in.png: Not a directory"),
        ("encode real.sad -o x.sad", 1, "not an image but a .sad file (sad decode"),
        ("encode real.sad", 1, "not an image but a .sad file (sad decode"),
        ("decode in.png", 1, "not a .sad file but a PNG image (sad encode"),
        ("decode in.sad -o gif:-", 1, "gif:-: prefix gif: is not known (one of .png"),
        ("decode in.png -o x.png", 1, "not a .sad file but a PNG image (sad encode"),
        ("info in.png", 1, "not a .sad file but a PNG image (sad encode"),
    ],
)
def test_mistakes(sad: Sad, arguments: str, status: int, words: str) -> None:
    os.mkdir("folder")
    Path("real.sad").write_bytes(b"\x89SAD\r\n\x1a\n")
    before = names()
    result = sad(*arguments.split())
    assert result.status == status
    assert words in result.err
    if status == 1:
        assert_one_line_error(result)
    assert names() == before


def test_a_pattern_that_is_a_file_is_one(sad: Sad) -> None:
    os.rename("in.png", "what[1].png")
    assert sad("encode", "what[1].png").status == 0


def test_no_waiting_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, child = os.openpty()
    with os.fdopen(terminal, "rb"), os.fdopen(child, "rb") as stream:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stream}))
        with pytest.raises(InputError, match="is a terminal"):
            files.read_input("-")


def test_info_of_several_goes_on(sad: Sad) -> None:
    result = sad("info", "missing.sad", "in.sad", "--json")
    assert (result.status, result.out.count(b"\n")) == (3, 2)
    assert b'"error": "No such file or directory"' in result.out
    assert sad("info", "missing.sad").status == 1
