"""``sad decode``."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import arguments, batch, common, framing, parameters
from sadcodec.cli.completion import complete_files, complete_folders
from sadcodec.cli.frames import decode_to_folder
from sadcodec.cli.help import Command
from sadcodec.cli.reports import Stages, json_option, tell_machine, verbose_option

_SUFFIXES = ("png", "pgm", "ppm", "pam", "pnm", "tif", "jpg", "webp", "bmp")


@click.command(
    cls=Command,
    short_help=".sad file to image.",
    epilog="""\b
    Examples:
      sad decode photo.sad
      sad decode *.sad --out-dir pictures/
      sad decode photo.sad -o png:- | convert png:- -resize 50% small.jpg
    """,
    common=("output", "out_dir", "force", "quiet"),
    sections={
        "Output": ("output", "out_dir", "suffix", "frame", "strip", "force"),
        "Parts, sizes and views": ("region", "scale", "size", "layers", "view", "original"),
        "Damaged and hostile files": ("repair", "max_pixels", "max_work"),
        "Machine": ("threads", "backend"),
        "Reports": ("as_json", "verbose", "quiet", "brief", "help"),
    },
)
@click.argument(
    "sources", metavar="IN.sad...", nargs=-1, required=True, shell_complete=complete_files
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    shell_complete=complete_files,
    help="Format by suffix: png, pgm, ppm, pam, pnm, tif, jpg, webp, bmp; or by a prefix: png:OUT, "
    "pam:-. Default: IN with the suffix .png, beside it; - for - (PNG).",
)
@click.option(
    "--out-dir",
    metavar="DIR",
    shell_complete=complete_folders,
    help="Decode every IN, and every .sad file in an IN that is a folder, to DIR/NAME.png; "
    "of a sequence all frames, to DIR/NAME-0.png, DIR/NAME-1.png, ...",
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(_SUFFIXES),
    help="Format of the image, whatever the suffix of OUT; of --out-dir also the suffix.",
)
@click.option(
    "--frame",
    type=parameters.Whole(0),
    default=None,
    metavar="N",
    help="Of a sequence: this frame, counted from 0.",
)
@framing.framing_options
@framing.view_options
@click.option(
    "--layers",
    type=parameters.Whole(1),
    default=None,
    metavar="N",
    help="Of a progressive file (sad encode --progressive): draw its first N layers. What follows "
    "them is not looked at, and may be missing; sad info lists how far each reaches.",
)
@parameters.max_pixels_option
@click.option(
    "--max-work",
    type=parameters.Whole(0, 1 << 14),
    default=None,
    metavar="N",
    help="Refuse pictures of more than N candidate sites a pixel on average, as a hostile file may "
    "ask for: 0 = draw it whatever it takes. Default: 128. Fewer above 2^25 pixels in a tiny file. "
    "Of a composition: more than N primitives over a pixel; default 4096, fewer likewise.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Of a damaged file, draw the groups of sites that are whole. What is lost, and where in "
    "the picture, is told on stderr; exit status 0.",
)
@click.option(
    "--strip",
    is_flag=True,
    help="Write no ICC profile, Exif and XMP; the image is turned as the Exif orientation says.",
)
@parameters.threads_option
@parameters.backend_option(parameters.DECODING_BACKEND)
@parameters.force_option
@json_option
@verbose_option
@parameters.quiet_option
def decode(
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    suffix: str | None,
    frame: int | None,
    region: tuple[int, int, int, int] | None,
    scale: float | None,
    size: tuple[int, int] | None,
    view: str | None,
    original: str | None,
    layers: int | None,
    max_pixels: int | None,
    max_work: int | None,
    repair: bool,
    strip: bool,
    threads: int | None,
    backend: str,
    force: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Decode IN.sad to an image file; with --out-dir, any number of files.

    An image of 16 bits goes to png, pgm, ppm, pam, pnm (gray also to tif); alpha goes to all
    formats but jpg, bmp, pgm and ppm. What a format cannot hold is refused, not dropped.

    ICC profile, Exif and XMP go to png, jpg, webp and tif. To other formats the image goes turned
    as the Exif orientation says, with a warning of what is left out.
    With --region, --scale or --size, --max-pixels limits what is drawn: the picture may be larger.

    A damaged file is an error that names the chunk and its offset, unless --repair is given. With
    --out-dir a file that fails is reported on stderr, and by an "error" in its line of JSON; the
    others go on, and the exit status is 3.
    """
    options: dict[str, Any] = {
        "backend": backend,
        "threads": threads,
        "max_pixels": max_pixels,
        "max_work": max_work,
        "repair": repair,
        "region": region,
        "scale": scale,
        "size": size,
        "frame": frame,
        "layers": layers,
    }
    framing.check_view(view, original, options)

    def decode_one(source: str, target: str, kind: str) -> None:
        stages = Stages()
        decode_it = framing.View(view, original, options) if view else None
        decoded = _decode(
            source, target, kind, options, stages, decode_it, force=force, strip=strip, quiet=quiet
        )
        for line in (*decoded.repair.messages(), *decoded.problems):
            common.note(f"sad: {common.shown(source)}: warning: {line}", False)
        if verbose:
            name = common.shown(source)
            common.note(f"sad: {name}: {decoded.bytes} bytes, {decoded.sites} sites", False)
            common.note(f"sad: {name}: {stages.text()}", False)
        if as_json:
            record = _record(source, target, decoded, repair)
            if view:
                record["view"] = view
            common.report_json(record, target == files.STANDARD)
        else:
            common.note(_sentence(target, decoded), quiet)

    if out_dir is None:
        source = arguments.single_source(sources, tuple(f".{each}" for each in _SUFFIXES))
        target, kind = _destination(source, output, suffix)
        arguments.check_kind(source, target, arguments.check_coded)
        common.check_output(target, [source], force=force)
        common.load_backend(backend, "decode", quiet)
        tell_machine(backend, threads, "decode", verbose)
        decode_one(source, target, kind)
        return 0

    if output is not None or files.STANDARD in sources:
        raise click.UsageError("--out-dir goes with names of files, without --output and -.")
    paths = batch.sources_of(sources, (".sad",), "no .sad files")
    targets = batch.targets_of(paths, out_dir, f".{suffix or 'png'}")
    common.load_backend(backend, "decode", quiet)
    tell_machine(backend, threads, "decode", verbose)
    batch.make_folder(out_dir)
    status = 0
    for source, target in zip(paths, targets, strict=True):
        try:
            if frame is None and decode_to_folder(
                source, out_dir, suffix or "png", options, strip, force, as_json, quiet
            ):
                continue
            _, kind = _destination(source, target, None)
            common.check_output(target, [source], force=force)
            decode_one(source, target, kind)
        except common.Failure as failure:
            status = common.SOME_FAILED
            failure.show()
            if as_json:
                record = {"input": source, "output": target, "error": failure.cause}
                common.report_json(record, False)
    return status


@dataclasses.dataclass(frozen=True)
class _Decoded:
    """What was made of one file."""

    bytes: int  # of the .sad file
    pixels: int  # of its picture
    sites: int
    shape: tuple[int, ...]  # [H, W, C]
    bit_depth: int
    seconds: float  # of the decoding alone
    repair: Any
    metadata: list[str]  # names of what was written with the image
    problems: list[str]  # of metadata that is lost


def _destination(source: str, output: str | None, suffix: str | None) -> tuple[str, str]:
    """Return the name of the image file and its format."""
    from sadcodec import image_io

    name = common.output_beside(source, ".png") if output is None else output
    prefix, target = image_io.split_prefix(name)
    target = files.output_name(target)
    arguments.check_not_folder(target)
    wanted = image_io.format_of(f"x.{suffix}") if suffix else prefix
    if prefix and prefix != wanted:
        raise click.UsageError(f"--format {suffix} and the prefix of {name} exclude each other.")
    with common.blame(target, "stdout"):
        return target, wanted or image_io.format_of(target)


def _decode(
    source: str,
    target: str,
    kind: str,
    options: dict[str, Any],
    stages: Stages,
    view: framing.View | None,
    *,
    force: bool,
    strip: bool,
    quiet: bool,
) -> _Decoded:
    """Read, decode and write one file; a Failure names what is wrong with which file."""
    from sadcodec import bitstream, codec, decoding, image_io

    with common.blame(source):
        data = arguments.read_coded(source)
        start = time.perf_counter()
        if view is None:
            image, report = codec.decode_with_report(data, **options, progress=stages)
        else:
            stages.enter(f"drawing {view.name}")
            image, report = view.draw(data)
        seconds = time.perf_counter() - start
        framed = view or any(options[name] is not None for name in ("region", "scale", "size"))
        most = decoding.ANY_SIZE.max_pixels if framed else options["max_pixels"]
        found, problems = codec.metadata_left(data, max_pixels=most)
        pixels = image.shape[0] * image.shape[1]
        if framed:
            header = bitstream.read_header(bytes(data), decoding.ANY_SIZE)
            pixels = header.width * header.height
    kept = {} if strip else image_io.holds(kind, image.shape[2], found)
    if "exif" in found and "exif" not in kept:
        image = image_io.oriented(image, found["exif"])
    with common.blame(target, "stdout"):
        stages.enter(f"packing {kind}")
        content = image_io.encode_image(image, kind, kept)
        stages.enter("writing")
        files.write_output(target, content, force=force)
    left_out = [common.METADATA[name] for name in found if name not in kept and not strip]
    if left_out:
        what = ", ".join(left_out)
        common.note(
            f"sad: {common.shown(target, 'stdout')}: warning: {kind} cannot hold this {what}", quiet
        )
    return _Decoded(
        bytes=len(data),
        pixels=pixels,
        sites=report.sites,
        shape=image.shape,
        bit_depth=8 * image.dtype.itemsize,
        seconds=seconds,
        repair=report,
        metadata=list(kept),
        problems=problems,
    )


def _record(source: str, target: str, decoded: _Decoded, repair: bool) -> dict[str, Any]:
    """The JSON report: names that scripts can rely on."""
    height, width, channels = decoded.shape
    record: dict[str, Any] = {
        "input": source,
        "output": target,
        "width": width,
        "height": height,
        "channels": channels,
        "bit_depth": decoded.bit_depth,
        "bytes": decoded.bytes,
        "bpp": 8 * decoded.bytes / decoded.pixels,
        "seconds": decoded.seconds,
        "metadata": decoded.metadata,
    }
    report = decoded.repair
    found = dataclasses.asdict(report)
    first = found.pop("first_layers")
    if first:
        record["first_layers"] = first
    if repair:
        record["repair"] = {**found, "sites_lost": report.sites_lost}
    return record


def _sentence(target: str, decoded: _Decoded) -> str:
    height, width, channels = decoded.shape
    name = common.shown(target, "stdout")
    shape = f"{width} x {height}, {channels} channels of {decoded.bit_depth} bits"
    first = decoded.repair.first_layers
    if first is not None:
        layers = f"{first.layers} of {first.all_layers} layers"
        shape += f", from {layers} ({first.sites} of {first.all_sites} sites)"
    return f"{name}: {shape}, {1000 * decoded.seconds:.0f} ms"
