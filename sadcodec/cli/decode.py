"""``sad decode``."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import common


@click.command(short_help=".sad file to image.")
@click.argument("source", metavar="IN.sad")
@click.option(
    "-o",
    "--output",
    callback=common.output_name,
    metavar="OUT",
    help="Format by suffix: png, pgm, ppm, pam, pnm, tif, jpg, webp, bmp. "
    "Default: IN with the suffix .png, beside it; - for - (PNG).",
)
@common.max_pixels_option
@click.option(
    "--max-work",
    type=click.IntRange(0, 1 << 14),
    default=None,
    metavar="N",
    help="Refuse pictures of more than N candidate sites a pixel on average, as a hostile file may "
    "ask for: 0 = draw it whatever it takes. Default: 128. Fewer above 2^25 pixels in a tiny file.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Of a damaged file, draw the groups of sites that are whole. What is lost, and where in "
    "the picture, is told on stderr; exit status 0.",
)
@common.threads_option
@common.backend_option(common.DECODING_BACKEND)
@common.force_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Report one line of JSON on stdout (stderr if OUT is -).",
)
@common.quiet_option
def decode(
    source: str,
    output: str | None,
    max_pixels: int | None,
    max_work: int | None,
    repair: bool,
    threads: int | None,
    backend: str,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decode IN.sad to an image file.

    An image of 16 bits goes to png, pgm, ppm, pam, pnm (gray also to tif); alpha goes to all
    formats but jpg, bmp, pgm and ppm. What a format cannot hold is refused, not dropped.

    A damaged file is an error that names the chunk and its offset, unless --repair is given.
    """
    target = output if output is not None else common.output_beside(source, ".png")
    from sadcodec import image_io

    with common.blame(target, "stdout"):
        kind = image_io.format_of(target)
        files.check_output(target, force=force, source=source)
    common.load_backend(backend, "decode", quiet)
    from sadcodec import codec

    with common.blame(source):
        data = files.read_input(source)
        start = time.perf_counter()
        image, report = codec.decode_with_report(
            data,
            backend=backend,
            threads=threads,
            max_pixels=max_pixels,
            max_work=max_work,
            repair=repair,
        )
        seconds = time.perf_counter() - start
    with common.blame(target, "stdout"):
        files.write_output(target, image_io.encode_image(image, kind), force=force)
    for line in report.messages():
        common.note(f"sad: {common.shown(source)}: warning: {line}", False)
    height, width, channels = image.shape
    bit_depth = 8 * image.dtype.itemsize
    if as_json:
        record: dict[str, Any] = {
            "input": source,
            "output": target,
            "width": width,
            "height": height,
            "channels": channels,
            "bit_depth": bit_depth,
            "bytes": len(data),
            "bpp": 8 * len(data) / (width * height),
            "seconds": seconds,
        }
        if repair:
            record["repair"] = {**dataclasses.asdict(report), "sites_lost": report.sites_lost}
        common.report_json(record, target == files.STANDARD)
    else:
        name = common.shown(target, "stdout")
        shape = f"{width} x {height}, {channels} channels of {bit_depth} bits"
        common.note(f"{name}: {shape}, {1000 * seconds:.0f} ms", quiet)
