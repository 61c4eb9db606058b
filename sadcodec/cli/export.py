"""``sad export``: sites as the paper's authors list them, compositions as layers."""

from __future__ import annotations

import os
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import arguments, common, parameters
from sadcodec.cli.completion import complete_files
from sadcodec.cli.reports import json_option
from sadcodec.errors import OptionError

_THEIR_K = 8  # sites that the authors' code blends at a pixel
_LAYERED = ("psd", "ora", "svg")


@click.command(name="export", short_help=".sad file to the authors' site list, or to layers.")
@click.argument("source", metavar="IN.sad", shell_complete=complete_files)
@click.option(
    "-o",
    "--output",
    callback=common.output_name,
    metavar="OUT",
    shell_complete=complete_files,
    help="Of a composition by suffix: psd, ora or svg; default: IN.psd, beside it. Else default: "
    "IN_sites.txt; - for -.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(_LAYERED),
    help="Format of the layers, whatever the suffix of OUT.",
)
@click.option(
    "--frame",
    type=parameters.Whole(0),
    default=None,
    metavar="N",
    help="Of a composition with several frames: this one, counted from 0.",
)
@parameters.max_pixels_option
@parameters.threads_option
@parameters.force_option
@json_option
@parameters.quiet_option
def export(
    source: str,
    output: str | None,
    kind: str | None,
    frame: int | None,
    max_pixels: int | None,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the sites of IN.sad as text that the authors' viewer opens, or primitives as layers.

    One line a site: position, colour, log_tau, radius, direction, log_anisotropy, in their
    conventions. Images with alpha are refused. A site in the left half of the first column of
    pixels is moved to its middle, where their code would drop it.

    A composition (sad compose) becomes a file for Photoshop (psd, with the extra compose), Krita
    and GIMP (ora) or browsers and Inkscape (svg): one layer for each primitive, named by its
    number, 0 in front, and one for the background.
    """
    with common.blame(source):
        data = arguments.read_coded(source)
    from sadcodec import bitstream
    from sadcodec.decoding import limits_for

    if bitstream.is_composition(data, limits_for(max_pixels)):
        record, text = _layers(source, data, output, kind, frame, max_pixels, threads, force=force)
    elif kind is not None or frame is not None or _suffix(output or "") in _LAYERED:
        raise common.Failure(common.shown(source), "holds no composition, which has layers")
    else:
        record, text = _sites(source, data, output, max_pixels, force=force, quiet=quiet)
    if as_json:
        common.report_json(record, record["output"] == files.STANDARD)
    else:
        common.note(f"{common.shown(record['output'], 'stdout')}: {text}", quiet)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower().removeprefix(".")


def _layers(
    source: str,
    data: bytes,
    output: str | None,
    kind: str | None,
    frame: int | None,
    max_pixels: int | None,
    threads: int | None,
    *,
    force: bool,
) -> tuple[dict[str, Any], str]:
    """Write the layers of a composition; return the report as a record and as text."""
    target = common.output_beside(source, f".{kind or 'psd'}") if output is None else output
    kind = kind or _suffix(target)
    if kind not in _LAYERED:
        known = ", ".join(_LAYERED)
        raise common.Failure(
            common.shown(target, "stdout"), f"a composition goes to {known}: name one by --format"
        )
    arguments.check_not_folder(target)
    common.check_output(target, [source], force=force)
    from sadcodec import bitstream
    from sadcodec.compose import drawing, stored
    from sadcodec.compose.export import exported
    from sadcodec.decoding import limits_for

    with common.blame(source):
        file = bitstream.open_composition(data, limits_for(max_pixels))
        assert file is not None  # noqa: S101  (the caller has looked)
        if frame is None and len(file) > 1:
            raise OptionError(f"holds {len(file)} frames: choose one with --frame")
        composition = next(stored.compositions_of(file, drawing.chosen_frame(file, frame)))
        content, count = exported(composition, kind, threads)
    with common.blame(target, "stdout"):
        files.write_output(target, content, force=force)
    record: dict[str, Any] = {"input": source, "output": target, "format": kind}
    record |= {"width": composition.width, "height": composition.height}
    record |= {"layers": count, "bytes": len(content)}
    shape = f"{composition.width} x {composition.height}"
    return record, f"{count} layers, {shape}, {len(content)} bytes"


def _sites(
    source: str,
    data: bytes,
    output: str | None,
    max_pixels: int | None,
    *,
    force: bool,
    quiet: bool,
) -> tuple[dict[str, Any], str]:
    """Write the site list of a diagram; return the report as a record and as text."""
    target = output if output is not None else common.output_beside(source, "_sites.txt")
    # Text may go to a terminal.
    common.check_output(target, [source], force=force or target == files.STANDARD)
    from sadcodec import exchange, site_list

    with common.blame(source):
        diagram = exchange.export_list(data, max_pixels=max_pixels)
        text = site_list.format_site_list(diagram)
    with common.blame(target, "stdout"):
        files.write_output(target, text.encode(), force=force)
    if diagram.k != _THEIR_K:
        common.note(
            f"sad: {common.shown(source)}: note: K is {diagram.k}; the authors' code blends"
            f" {_THEIR_K} sites at a pixel",
            quiet,
        )
    record: dict[str, Any] = {"input": source, "output": target}
    record |= {"width": diagram.width, "height": diagram.height, "k": diagram.k}
    record |= {"sites": len(diagram.sites), "bytes": len(text)}
    shape = f"{diagram.width} x {diagram.height}"
    return record, f"{len(diagram.sites)} sites, {shape}, {len(text)} bytes"
