"""``sad compose``: a picture made of many small ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sadcodec import __version__, files
from sadcodec.cli import arguments, batch, common, parameters
from sadcodec.cli.completion import complete_files
from sadcodec.cli.help import Command
from sadcodec.cli.importance import read_mask
from sadcodec.cli.reports import json_option
from sadcodec.progress import ProgressBar

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUFFIXES = (*arguments.IMAGE_SUFFIXES, ".svg")
_LOSSES = ("mse", "l1", "huber", "ssim")
_CONSTRAINTS = ("inside", "overlap", "edges", "size")


class _ListCommand(Command):
    """A command with options that take all names up to the next option."""

    lists = ("--primitives", "--frames")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the name of such an option before each of its values, for Click."""
        spread: list[str] = []
        name = ""
        for arg in args:
            listed = name and (arg == files.STANDARD or not arg.startswith("-"))
            if arg in self.lists:
                name = arg
            elif not listed:
                name = ""
            elif spread[-1] != name:
                spread.append(name)
            spread.append(arg)
        return super().parse_args(ctx, spread)


class _Color(click.ParamType[Any]):
    """``auto``, ``none`` or ``#rrggbb``."""

    name = "color"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return "auto", None or three floats in 0..1."""
        if value is None or not isinstance(value, str) or value == "auto":
            return value
        if value == "none":
            return "none"
        if not re.fullmatch("#[0-9a-fA-F]{6}", value):
            self.fail(f"{value!r} is not auto, none or a colour such as #20a0ff.", param, ctx)
        return tuple(int(value[at : at + 2], 16) / 255 for at in (1, 3, 5))


class _Constraint(click.ParamType[tuple[str, float]]):
    """NAME:WEIGHT."""

    name = "constraint"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Return the name and the weight."""
        if isinstance(value, tuple):
            return value
        name, _, weight = value.partition(":")
        if name not in _CONSTRAINTS:
            self.fail(f"{name!r} is not one of {', '.join(_CONSTRAINTS)}.", param, ctx)
        return name, parameters.Finite(0)(weight or "1", param, ctx)


@click.command(
    cls=_ListCommand,
    short_help="Image to .sad file, of many small pictures.",
    epilog="""\b
    Examples:
      sad compose photo.png --primitives leaf.svg drop.svg --count 1000 -o leaves.sad
      sad compose photo.png --glyphs "Aa&" --count 2000 --background "#ffffff" -o letters.sad
      sad decode leaves.sad -o leaves.png --scale 4
      sad export leaves.sad -o leaves.psd
    """,
    common=("output", "primitives", "glyphs", "count", "iterations", "force", "quiet"),
    sections={
        "Output": ("output", "force"),
        "Primitives": ("primitives", "glyphs", "font", "count", "blend", "opacity"),
        "Picture": ("background", "mask", "noisy_canvas", "frames"),
        "Search": ("iterations", "init", "loss", "constrain", "prune", "seed"),
        "Machine": ("threads", "backend", "max_pixels"),
        "Reports": ("as_json", "verbose", "quiet", "brief", "help"),
    },
)
@click.argument("target", metavar="TARGET", shell_complete=complete_files)
@arguments.coded_output_option("TARGET")
@click.option(
    "--primitives",
    multiple=True,
    metavar="FILES...",
    shell_complete=complete_files,
    help="Pictures to compose of: PNG, JPEG, WebP and what else sad encode reads, SVG (extra "
    "compose), folders of them. Alpha is their shape; without alpha it is what is darker than the "
    "border, or lighter than a dark one. Primitive number i is picture i mod their number.",
)
@click.option(
    "--glyphs",
    metavar="TEXT",
    help="Every character of TEXT as a picture, after those of --primitives.",
)
@click.option(
    "--font",
    metavar="FILE",
    shell_complete=complete_files,
    help="TrueType or OpenType font of --glyphs. Default: Aileron, which Pillow has.",
)
@click.option(
    "-n",
    "--count",
    type=parameters.Whole(1, 1 << 20),
    default=1000,
    show_default=True,
    metavar="N",
    help="Number of primitives, each of 6 to 8 bytes.",
)
@click.option(
    "--blend",
    type=parameters.Finite(0, 1),
    default=0.0,
    show_default=True,
    metavar="B",
    help="Share of the pictures' own colours: 0 = all colours are fitted, 1 = none is.",
)
@click.option(
    "--opacity",
    type=parameters.Finite(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="A",
    help="Largest opacity of a primitive.",
)
@click.option(
    "--background",
    type=_Color(),
    default="auto",
    show_default=True,
    metavar="[auto|none|#rrggbb]",
    help="What is behind the primitives. auto = the mean colour of an opaque TARGET; nothing "
    "behind one with alpha or a mask.",
)
@click.option(
    "--mask",
    metavar="FILE",
    shell_complete=complete_files,
    help="Gray image of the same size: what is black there is to stay empty.",
)
@click.option(
    "--noisy-canvas/--no-noisy-canvas",
    default=True,
    show_default=True,
    help="Where TARGET has alpha or a mask: fit over fresh noise at every iteration, so that "
    "primitives neither hide in the background nor leak into it.",
)
@click.option(
    "--frames",
    multiple=True,
    metavar="FILES...",
    shell_complete=complete_files,
    help="Images of TARGET's size that follow it, as frames of one file: each starts from the one "
    "before, and what does not change stays as it is.",
)
@click.option(
    "--iterations",
    type=parameters.Whole(0, 1_000_000),
    default=500,
    show_default=True,
    metavar="N",
    help="Steps of the fit: 100 = draft, 500 = normal, 2000 = slow.",
)
@click.option(
    "--init",
    type=click.Choice(("structure", "random")),
    default="structure",
    show_default=True,
    help="Where primitives start: structure = small and in front where the picture has detail.",
)
@click.option(
    "--loss",
    type=click.Choice(_LOSSES),
    default="mse",
    show_default=True,
    help="What is optimized: the squared, absolute or Huber error, or structural similarity.",
)
@click.option(
    "--constrain",
    type=_Constraint(),
    multiple=True,
    metavar="NAME:WEIGHT",
    help="A further term, WEIGHT 1 counting like a squared error of 1: inside = alpha outside of "
    "the mask, overlap = layers over each other, edges = large primitives on detail, size = large "
    "primitives. May be repeated.",
)
@click.option(
    "--prune", is_flag=True, help="Place primitives anew that have become nearly transparent."
)
@parameters.seed_option
@click.option(
    "--backend",
    type=click.Choice(("cpu", "cuda")),
    default="cpu",
    show_default=True,
    help="cuda = the first GPU, for the fit; needs CuPy.",
)
@parameters.threads_option
@parameters.max_pixels_option
@parameters.force_option
@json_option
@click.option(
    "-v", "--verbose", is_flag=True, help="Report templates and the time of each stage on stderr."
)
@parameters.quiet_option
def compose(
    target: str,
    output: str | None,
    primitives: tuple[str, ...],
    glyphs: str | None,
    font: str | None,
    frames: tuple[str, ...],
    background: Any,
    mask: str | None,
    constrain: tuple[tuple[str, float], ...],
    max_pixels: int | None,
    force: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Fit thousands of small pictures to TARGET, each moved, turned, scaled and coloured.

    The file holds the pictures and, for every use of one, its place, size, direction, colour and
    opacity. sad decode draws it at any size; sad export makes layers of it for Photoshop, Krita,
    GIMP and browsers.
    """
    if not primitives and glyphs is None:
        raise click.UsageError("Name pictures to compose of by --primitives or --glyphs.")
    if font is not None and glyphs is None:
        raise click.UsageError("--font goes with --glyphs.")
    name = common.output_beside(target, ".sad") if output is None else output
    paths = batch.sources_of(primitives, _SUFFIXES) if primitives else []
    later = batch.sources_of(frames) if frames else []
    sources = [target, *later, *paths, *([font] if font else [])]
    if sources.count(files.STANDARD) > 1:
        raise click.UsageError("Only one of the inputs can be standard input.")
    arguments.check_not_folder(name)
    arguments.check_not_image(name)
    common.check_output(name, sources, force=force)
    options["mask"] = read_mask(mask, sources, name, max_pixels)
    if options["backend"] != "cpu":
        common.load_backend(options["backend"], "encode", quiet)
    templates = _templates(paths, glyphs, font, max_pixels)
    images, profiles = zip(*(_image(path, max_pixels) for path in (target, *later)), strict=True)
    from sadcodec.attachments import chunks_of
    from sadcodec.compose import encode

    for number, path in enumerate(later, 1):
        with common.blame(path):
            encode.check_frame(number, images[number], images[0])
    options |= {
        "background": None if background == "none" else background,
        "constraints": dict(constrain),
    }
    profile = profiles[0] if images[0].shape[2] > 2 else b""  # a composition has colours
    others = (path for path, its in zip([target, *later], profiles, strict=True) if its != profile)
    if odd := next(others, None):
        common.note_profile(odd, quiet)
    with common.blame(target), ProgressBar(enabled=False if quiet else None) as bar:
        options["chunks"] = chunks_of({"icc_profile": profile})
        data, report = encode.compose_with_report(images, templates, progress=bar, **options)
    with common.blame(name, "stdout"):
        files.write_output(name, data, force=force)
    if verbose:
        rest = report.seconds - report.fit_seconds
        common.note(
            f"sad: version {__version__}: {report.templates} templates, {report.template_bytes} "
            f"bytes; fit {1000 * report.fit_seconds:.0f} ms, coding {1000 * rest:.0f} ms",
            False,
        )
    if as_json:
        record: dict[str, Any] = {"input": [target, *later], "output": name}
        record |= {"width": images[0].shape[1], "height": images[0].shape[0]}
        record |= dataclasses.asdict(report)
        common.report_json(record, name == files.STANDARD)
        return
    common.note(
        f"{common.shown(name, 'stdout')}: {report.bytes} bytes, {report.bpp:.4f} bpp, "
        f"{report.frames[0].primitives} primitives of {report.bytes_per_primitive:.2f} bytes, "
        f"{report.psnr:.2f} dB, {report.seconds:.1f} s",
        quiet,
    )


def _image(path: str, max_pixels: int | None) -> tuple[NDArray[Any], bytes]:
    """Return the pixels of a target, turned as its Exif orientation says, and its ICC profile."""
    from sadcodec import image_io

    with common.blame(path):
        data = files.read_input(path)
        arguments.check_image(data)
        pixels, metadata = image_io.read_image(data, max_pixels=max_pixels)
        turned = image_io.oriented(pixels, metadata.get("exif", b""))
        return turned, metadata.get("icc_profile", b"")


def _templates(
    paths: Sequence[str], glyphs: str | None, font: str | None, max_pixels: int | None
) -> NDArray[Any]:
    """Return the templates of all pictures and glyphs; a Failure names the file that is wrong."""
    import numpy as np

    from sadcodec.compose import templates

    found = []
    for path in paths:
        with common.blame(path):
            data = files.read_input(path)
            found.append(templates.template_of(data, max_pixels=max_pixels)[None])
    if glyphs is not None:
        with common.blame(font or "--glyphs"):
            face = None if font is None else files.read_input(font)
            found.append(templates.glyph_templates(glyphs, face))
    return np.concatenate(found)
