"""``sad import``: the site list of the paper's authors, docs/SITE_LIST.md."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import arguments, common, parameters
from sadcodec.cli.completion import complete_files
from sadcodec.cli.reports import json_option
from sadcodec.progress import ProgressBar


@click.command(name="import", short_help="The authors' site list to .sad file.")
@click.argument("source", metavar="SITES.txt", shell_complete=complete_files)
@arguments.coded_output_option("SITES")
@click.option(
    "--image",
    "original",
    metavar="ORIGINAL",
    shell_complete=complete_files,
    help="The image that the sites were fitted to: what rounding breaks is then repaired against "
    "it, not against the picture that the list draws, and its bit depth is kept.",
)
@click.option(
    "--scale",
    type=parameters.Finite(0.1, 10),
    default=None,
    metavar="S",
    help="Factor on all quantization steps. Smaller is nearer to the list, in more bytes. "
    "Default: 1, unless there is another target.",
)
@click.option(
    "--bpp",
    type=parameters.BPP,
    metavar="R",
    help="Target rate in bits per pixel, of the whole file.",
)
@click.option(
    "--size", type=parameters.COUNT, metavar="BYTES", help="Target size of the file in bytes."
)
@parameters.effort_option
@parameters.threads_option
@parameters.backend_option(parameters.ENCODING_BACKEND)
@parameters.coder_option
@parameters.groups_option
@parameters.force_option
@json_option
@parameters.quiet_option
def import_sites(
    source: str,
    output: str | None,
    original: str | None,
    scale: float | None,
    bpp: float | None,
    size: int | None,
    effort: int,
    threads: int | None,
    backend: str,
    coder: str,
    groups: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Code a site list of the authors' as a .sad file, without fitting anew.

    The sites are rounded and refined on integers as `sad encode` does. --bpp and --size are met by
    the steps, and where the coarsest are not enough, by leaving out the sites that matter least.
    """
    if sum(value is not None for value in (scale, bpp, size)) > 1:
        raise click.UsageError("--scale, --bpp and --size exclude each other: give one target.")
    if source == original == files.STANDARD:
        raise click.UsageError("SITES.txt and --image cannot both be standard input.")
    target = output if output is not None else common.output_beside(source, ".sad")
    sources = [source] if original is None else [source, original]
    common.check_output(target, sources, force=force)
    arguments.check_not_image(target)
    common.load_backend(backend, "encode", quiet)
    from sadcodec import exchange, image_io

    image = None
    if original is not None:
        with common.blame(original):
            image = image_io.decode_image(files.read_input(original))
    with common.blame(source), ProgressBar(enabled=False if quiet else None) as bar:
        data, report = exchange.import_with_report(
            files.read_input(source),
            image,
            scale=scale,
            bpp=bpp,
            size=size,
            effort=effort,
            threads=threads,
            backend=backend,
            coder=coder,
            groups=groups,
            progress=bar,
        )
    with common.blame(target, "stdout"):
        files.write_output(target, data, force=force)
    if report.warning:
        common.note(f"sad: {common.shown(source)}: warning: {report.warning}", quiet)
    if as_json:
        record: dict[str, Any] = {"input": source, "output": target, "image": original}
        record |= {"scale": scale, "bpp_target": bpp, "size_target": size}
        record |= {"effort": effort, "coder": coder, "groups": groups}
        common.report_json(record | dataclasses.asdict(report), target == files.STANDARD)
        return
    sentence = (
        f"{common.shown(target, 'stdout')}: {report.bytes} bytes, {report.bpp:.4f} bpp,"
        f" {report.sites} sites, {report.list_psnr:.2f} dB to the list's picture"
    )
    if report.psnr is not None:
        sentence += f", {report.psnr:.2f} dB to the image (the list {report.fit_psnr:.2f} dB)"
    if report.inactive:
        sentence += f", {report.inactive} inactive sites left out"
    common.note(f"{sentence}, {report.seconds:.1f} s", quiet)
