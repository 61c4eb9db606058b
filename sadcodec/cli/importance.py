"""``--mask`` and ``--roi``: what of an image matters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sadcodec import files
from sadcodec.cli import common
from sadcodec.cli.completion import complete_files
from sadcodec.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Region = tuple[int, int, int, int, float]

DEFAULT_STRENGTH, MAX_STRENGTH = 4.0, 100.0  # those of sadcodec.importance, which loads NumPy

_REGION = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})(?::(\d{1,9}(?:\.\d{1,9})?))?")


class _RegionOption(click.ParamType[Region]):
    """A rectangle and its strength."""

    name = "region"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Region:
        """Return x, y, width, height and strength."""
        match = _REGION.fullmatch(value.replace(" ", ""))
        if match is None:
            self.fail(f"{value!r} is not X,Y,W,H or X,Y,W,H:STRENGTH, in pixels.", param, ctx)
        x, y, width, height = (int(side) for side in match.groups()[:4])
        strength = float(match[5] or DEFAULT_STRENGTH)
        if min(width, height) < 1:
            self.fail(f"{value!r} holds no pixels.", param, ctx)
        if not 1 <= strength <= MAX_STRENGTH:
            self.fail(f"strength is 1 to {MAX_STRENGTH:g}, not {strength:g}.", param, ctx)
        return x, y, width, height, strength


mask_option = click.option(
    "--mask",
    metavar="FILE",
    shell_complete=complete_files,
    help="Gray image of the same size that weights the squared error of every pixel: white counts, "
    "black may become anything, gray is between (128 = half). --psnr, --quality and the PSNR that "
    "is printed are measured with it.",
)
roi_option = click.option(
    "--roi",
    type=_RegionOption(),
    multiple=True,
    metavar="X,Y,W,H[:S]",
    help="Rectangle that gets more of the sites: X, Y its upper left corner in pixels from 0; S, "
    f"how many times errors there count, is 1 to {MAX_STRENGTH:g}, {DEFAULT_STRENGTH:g} if not "
    "given. May be repeated. Anchors, at equal bytes: 2 = 1 dB more inside, 4 = 2, 16 = 4, "
    "100 = 7.",
)


def read_mask(
    path: str | None, sources: Sequence[str], target: str | None, max_pixels: int | None
) -> NDArray[Any] | None:
    """Return the mask in an image file, uint8 or uint16 [H, W]; None for None.

    Raises
    ------
    UsageError
        If the mask and a source are both standard input.
    Failure
        If the file cannot be read, is not gray, or is the target.
    """
    if path is None:
        return None
    import numpy as np

    from sadcodec import image_io

    if path == files.STANDARD and path in sources:
        raise click.UsageError("IN and --mask cannot both be standard input.")
    if target is not None:
        common.check_output(target, [path], force=True)
    with common.blame(path):
        image = image_io.decode_image(files.read_input(path), max_pixels=max_pixels)
        channels = image.shape[2]
        if channels in (2, 4) and (image[:, :, -1] != np.iinfo(image.dtype).max).any():
            raise InputError("a mask is gray; this image has transparent pixels")
        if channels > 2 and (image[:, :, 1:3] != image[:, :, :1]).any():
            raise InputError("a mask is gray; this image has colours")
        return image[:, :, 0]
