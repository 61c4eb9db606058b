"""The files that a command line names, and what people mean who name the wrong ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import click

from sadcodec import files
from sadcodec.cli import common
from sadcodec.cli.completion import complete_files
from sadcodec.cli.parameters import F
from sadcodec.errors import InputError

# Of the formats that image_io reads; in a folder, other files are passed over.
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".pgm", ".ppm", ".pam", ".pnm", ".qoi", ".tga"),
)
_SAD = b"\x89SAD"
_IMAGES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WebP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"P5": "PGM",
    b"P6": "PPM",
    b"P7": "PAM",
}


def coded_output_option(source: str) -> Callable[[F], F]:
    """``--output`` of a command that makes a .sad file of the argument `source`."""
    return click.option(
        "-o",
        "--output",
        callback=common.output_name,
        metavar="OUT.sad",
        shell_complete=complete_files,
        help=f"Default: {source} with the suffix .sad, beside it; - for -.",
    )


def single_source(sources: Sequence[str], output_suffixes: tuple[str, ...]) -> str:
    """Return the one file that a command without --out-dir works on.

    Parameters
    ----------
    sources : sequence of str
        As given.
    output_suffixes : tuple of str
        Of what the command writes: a second file with one is taken for the name of the output.

    Raises
    ------
    UsageError
        If there are several.
    Failure
        If it is a folder, or a pattern that the shell found nothing for.
    """
    if len(sources) > 1:
        first, second = sources[:2]
        if len(sources) == 2 and second.lower().endswith(output_suffixes):
            command = click.get_current_context().command_path
            raise click.UsageError(f"Name the output by --output: {command} {first} -o {second}")
        raise click.UsageError("Several files need --out-dir.")
    (source,) = sources
    if os.path.isdir(source):
        raise common.Failure(
            common.shown(source), "Is a directory (--out-dir works on all files in it)"
        )
    check_pattern(source)
    return source


def check_pattern(source: str) -> None:
    """Refuse a name with wildcards that is no file: what shells make of a pattern without match."""
    if set(source) & set("*?[") and not os.path.lexists(source):
        raise common.Failure(common.shown(source), "no file matches this pattern")


def check_not_folder(target: str) -> None:
    """Refuse a folder as the output."""
    if target != files.STANDARD and os.path.isdir(target):
        raise common.Failure(
            common.shown(target), "Is a directory (--out-dir writes into a directory)"
        )


def check_not_image(target: str) -> None:
    """Refuse the name of an image as that of a .sad file."""
    if target.lower().endswith(IMAGE_SUFFIXES):
        suffix = os.path.splitext(target)[1]
        raise click.UsageError(f"--output {target}: a .sad file is no {suffix} image.")


def read_coded(source: str) -> bytes:
    """Read what should be a .sad file.

    Raises
    ------
    InputError, LimitError
        As `sadcodec.files.read_input`, or if it is an image of another kind.
    """
    data = files.read_input(source)
    check_coded(data)
    return data


def check_coded(data: bytes) -> None:
    """Refuse an image where a .sad file is needed; raises InputError."""
    for start, kind in _IMAGES.items():
        if data.startswith(start):
            raise InputError(f"not a .sad file but a {kind} image (sad encode codes it)")


def check_image(data: bytes) -> None:
    """Refuse a .sad file where an image is needed; raises InputError."""
    if data.startswith(_SAD):
        raise InputError("not an image but a .sad file (sad decode makes an image of it)")


def check_kind(source: str, target: str, check: Callable[[bytes], None]) -> None:
    """Refuse a source of the wrong kind by what it is, not as a target that would be replaced.

    ``sad decode photo.png`` would write to photo.png.
    """
    if source == target != files.STANDARD:
        with common.blame(source):
            check(files.read_input(source))


class Commands(click.Group):
    """The commands of ``sad``, with a hint for who names a file instead of one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, as Click does."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if os.path.exists(args[0]):
                command = "decode" if args[0].lower().endswith(".sad") else "encode"
                hint = f"{error.message} For this file: sad {command} {args[0]}"
                raise click.UsageError(hint, ctx) from error
            raise
