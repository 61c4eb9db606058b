"""Manual pages from the help: ``python -m sadcodec.cli.manual DIR`` (``make man``)."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from sadcodec import __version__
from sadcodec.cli import sad
from sadcodec.cli.help import option_sections

__all__ = ["pages"]

_AS_IT_IS = "\b"  # Click: the lines of the paragraph that it begins are not filled
_STATUSES = {
    0: "Done.",
    1: "Error: one line with the file and the cause on standard error.",
    2: "Wrong usage.",
    3: "Some of several files failed; the others are done.",
    130: "Interrupted; 143 and 129 by SIGTERM and SIGHUP.",
}


def pages(group: click.Group = sad, name: str = "sad") -> dict[str, str]:
    """Return the manual of a group and of its commands, in roff with the macros of man(7).

    Returns
    -------
    dict of str
        By file name: ``sad.1``, ``sad-encode.1``, ...
    """
    root = click.Context(group, info_name=name, **group.context_settings)
    every = sorted(group.commands)
    listed = [(each, group.commands[each].get_short_help_str(200)) for each in every]
    body = _section("Commands", [_entry(f"{name}-{each}(1)", text) for each, text in listed])
    statuses = [_entry(str(status), text) for status, text in _STATUSES.items()]
    others = [f"{name}-{each}" for each in every]
    ending = _section("Exit status", statuses) + _see_also(others)
    found = {f"{name}.1": _page(root, "soft anisotropic diagrams of images", body, ending)}
    for each, summary in listed:
        command = group.commands[each]
        ctx = click.Context(command, info_name=each, parent=root, **command.context_settings)
        found[f"{name}-{each}.1"] = _page(ctx, summary, "", _see_also([name]))
    return found


def _page(ctx: click.Context, summary: str, body: str, ending: str) -> str:
    command, path = ctx.command, ctx.command_path
    page = path.replace(" ", "-")
    usage = " ".join(command.collect_usage_pieces(ctx))
    sections = [
        (_escape(".SS ", title) if title != "Options" else "")
        + "".join(_entry(*entry) for entry in entries)
        for title, entries in option_sections(command, ctx)
    ]
    return (
        f'.TH {page.upper()} 1 "" "sadcodec {__version__}" "User Commands"\n'
        + _section("Name", [_escape("", f"{page} - {summary.rstrip('.')}")])
        + _section("Synopsis", [f".B {_roff(path)}\n", _escape("", usage)])
        + _section("Description", [_paragraphs(command.help)])
        + body
        + _section("Options", sections)
        + (_section("Examples", [_paragraphs(command.epilog)]) if command.epilog else "")
        + ending
    )


def _section(title: str, parts: list[str]) -> str:
    return f".SH {title.upper()}\n" + "".join(parts)


def _entry(term: str, text: str) -> str:
    return _escape(".TP\n.B ", term) + _escape("", text)


def _see_also(others: list[str]) -> str:
    return _section("See also", [",\n".join(f".BR {_roff(each)} (1)" for each in others) + "\n"])


def _paragraphs(text: str | None) -> str:
    parts = []
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        lines = paragraph.split("\n")
        if lines[0].strip() == _AS_IT_IS:
            lines = [line for line in lines[1:] if line.strip() != "Examples:"]
            parts.append(".PP\n.nf\n" + "".join(_escape("", line) for line in lines) + ".fi\n")
        else:
            parts.append(".PP\n" + _escape("", " ".join(lines)))
    return "".join(parts)


def _escape(macro: str, text: str) -> str:
    """One line of text, after a macro if there is one."""
    guard = "\\&" if not macro and text[:1] in {".", "'"} else ""
    return f"{macro}{guard}{_roff(text)}\n"


def _roff(text: str) -> str:
    # Left alone, some characters become typographic ones, which cannot be typed or searched for.
    names = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga"}
    return "".join(names.get(character, character) for character in text)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, content in pages().items():
        (folder / file_name).write_text(content, encoding="utf-8")
