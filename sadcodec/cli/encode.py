"""``sad encode``."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import common
from sadcodec.progress import ProgressBar


@click.command(short_help="Image to .sad file.")
@click.argument("source", metavar="IN")
@click.option(
    "-o",
    "--output",
    metavar="OUT.sad",
    help="Default: IN with the suffix .sad, beside it; - for -.",
)
@click.option(
    "-q",
    "--quality",
    type=common.QUALITY,
    metavar="Q",
    help="Target quality, higher is better. Default: 75, unless another target is given. "
    "Anchors on photographs: 25 = 0.02, 50 = 0.1, 75 = 0.8, 90 = 3 bpp.",
)
@click.option(
    "--bpp",
    type=common.BPP,
    metavar="R",
    help="Target rate in bits per pixel, of the whole file. "
    "Anchors: 0.1 = rough, 0.3 = web, 0.5 = good, 1 = high.",
)
@click.option(
    "--size", type=common.COUNT, metavar="BYTES", help="Target size of the file in bytes."
)
@click.option(
    "--psnr",
    type=common.PSNR,
    metavar="DB",
    help="Target PSNR in dB. Anchors: 28 = rough, 32 = fair, 36 = good, 40 = hard to tell apart.",
)
@click.option(
    "--sites",
    type=common.COUNT,
    metavar="N",
    help="Number of sites. Anchors for 768 x 512: 1500 = about 0.15 bpp, 5000 = 0.5, 12000 = 1.2.",
)
@common.effort_option
@common.seed_option
@common.threads_option
@common.backend_option
@common.coder_option
@common.force_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Report one line of JSON on stdout (stderr if OUT is -).",
)
@common.quiet_option
def encode(
    source: str,
    output: str | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    sites: int | None,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
    coder: str,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Encode the image IN as a .sad file.

    IN is a PNG, JPEG, WebP, TIFF, BMP, GIF, PGM, PPM, PAM, QOI or TGA file of 8 or 16 bits: gray or
    RGB, with or without alpha. At most one of --quality, --bpp, --size, --psnr, --sites sets the
    target.
    """
    targets = {"quality": quality, "bpp": bpp, "size": size, "psnr": psnr, "sites": sites}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(
            f"{' and '.join('--' + name for name in given)} exclude each other: give one target."
        )
    target = output if output is not None else common.output_beside(source, ".sad")
    with common.blame(target, "stdout"):
        files.check_output(target, force=force, source=source)
    from sadcodec import codec, image_io  # here: only now is it worth the time to load them

    with common.blame(source):
        image = image_io.decode_image(files.read_input(source))
        with ProgressBar(enabled=False if quiet else None) as bar:
            data, report = codec.encode_with_report(
                image,
                quality=quality,
                bpp=bpp,
                size=size,
                psnr=psnr,
                sites=sites,
                effort=effort,
                seed=seed,
                threads=threads,
                backend=backend,
                coder=coder,
                progress=bar,
            )
    with common.blame(target, "stdout"):
        files.write_output(target, data, force=force)
    if report.warning:
        common.note(f"sad: {common.shown(source)}: warning: {report.warning}", quiet)
    if as_json:
        common.report_json(
            _record(source, target, image, effort, seed, coder, report), target == files.STANDARD
        )
    else:
        common.note(_sentence(target, report), quiet)


def _record(
    source: str, target: str, image: Any, effort: int, seed: int, coder: str, report: Any
) -> dict[str, Any]:
    """The JSON report: names that scripts can rely on, then the rest of the encoder's report."""
    return {
        "input": source,
        "output": target,
        "width": image.shape[1],
        "height": image.shape[0],
        "channels": image.shape[2],
        "bit_depth": 8 * image.dtype.itemsize,
        "effort": effort,
        "seed": seed,
        "coder": coder,
    } | dataclasses.asdict(report)


def _sentence(target: str, report: Any) -> str:
    name = common.shown(target, "stdout")
    return (
        f"{name}: {report.bytes} bytes, {report.bpp:.4f} bpp, {report.sites} sites, "
        f"{report.psnr:.2f} dB, {report.seconds:.1f} s"
    )
