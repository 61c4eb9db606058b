"""``sad info``."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from .. import files
from . import common


@click.command(short_help="What a .sad file holds.")
@click.argument("source", metavar="IN.sad")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of text.")
@common.quiet_option
def info(source: str, as_json: bool, quiet: bool) -> None:
    """Print dimensions, sites, and the bytes and bits per site of each column of IN.sad.

    All CRCs are checked; --quiet does only that, and the exit status tells.
    """
    from .. import codec

    with common.blame(source):
        data = files.read_input(source)
        found = codec.info(data)
    if as_json:
        record = {"input": source, "bytes": len(data), **dataclasses.asdict(found)}
        common.report_json(record, data_on_stdout=False)
    elif not quiet:
        with common.blame(files.STANDARD, "stdout"):
            files.write_stdout(_text(source, len(data), found).encode())


def _text(source: str, size: int, found: Any) -> str:
    return f"{source}: {size} bytes\n"
