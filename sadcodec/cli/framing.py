"""Options of ``sad decode`` for parts of a picture and other sizes, and what its views draw."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from sadcodec import files
from sadcodec.cli import common, parameters
from sadcodec.cli.parameters import F
from sadcodec.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from sadcodec.bitstream import Repair

VIEWS = ("cells", "sites", "tau", "error")
_LARGEST = (1 << 31) - 1  # of a picture's side


class _Integers(click.ParamType[tuple[int, ...]]):
    """Numbers with separators between them, each in 0..2^31 - 1, the last two at least 1."""

    def __init__(self, name: str, count: int, separator: str, example: str) -> None:
        self.name = name
        self._count = count
        self._separator = separator
        self._example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(self._separator)
        whole = all(re.fullmatch("[0-9]{1,10}", part) for part in parts)
        numbers = tuple(int(part) for part in parts) if whole else ()
        sound = len(numbers) == self._count and min(numbers[-2:]) >= 1
        if not sound or max(numbers) > _LARGEST:
            self.fail(f"{value!r} is not of the form {self._example}.", param, ctx)
        return numbers


def framing_options(command: F) -> F:
    """``--region``, ``--scale`` and ``--size``."""
    for option in (
        click.option(
            "--size",
            type=_Integers("size", 2, "x", "WIDTHxHEIGHT, such as 640x480"),
            metavar="WxH",
            help="Draw the picture, or the region, at this size, not enlarged from pixels but "
            "from the diagram. What is shrunk is averaged.",
        ),
        click.option(
            "--scale",
            type=parameters.Finite(0, min_open=True),
            metavar="S",
            help="The same by a factor: 4 = four times as wide and high, 0.25 = a quarter.",
        ),
        click.option(
            "--region",
            type=_Integers("region", 4, ",", "X,Y,WIDTH,HEIGHT, such as 0,0,256,256"),
            metavar="X,Y,W,H",
            help="Draw this part of the picture alone, in pixels of the picture: left and upper "
            "edge, width and height. Takes time in proportion to it.",
        ),
    ):
        command = option(command)
    return command


def view_options(command: F) -> F:
    """``--view`` and ``--original``."""
    for option in (
        click.option(
            "--original",
            metavar="FILE",
            help="The image that was encoded, for --view error.",
        ),
        click.option(
            "--view",
            type=click.Choice(VIEWS),
            default=None,
            help="Draw, instead of the picture: cells = which site weighs most, sites = the "
            "picture with an ellipse and axes for each site, tau = the inverse temperature "
            "(bright = sharp), error = the difference from --original, 4 times (gray = none).",
        ),
    ):
        command = option(command)
    return command


def check_view(view: str | None, original: str | None, options: dict[str, Any]) -> None:
    """Refuse options that do not go together."""
    if (view == "error") != (original is not None):
        raise click.UsageError("--view error and --original FILE need each other.")
    if options["scale"] is not None and options["size"] is not None:
        raise click.UsageError("--scale and --size exclude each other.")
    if view == "error" and (options["scale"] is not None or options["size"] is not None):
        raise click.UsageError("--view error compares pixels: without --scale and --size.")
    if view is not None and options["repair"]:
        raise click.UsageError("--view and --repair exclude each other.")
    if options["layers"] is not None and (options["repair"] or options["frame"] is not None):
        what = "--repair" if options["repair"] else "--frame"
        raise click.UsageError(f"--layers and {what} exclude each other.")
    if options["frame"] is not None and (view is not None or options["repair"]):
        what = "--repair" if view is None else "--view"
        raise click.UsageError(f"{what} is for single pictures, without --frame.")


class View:
    """What to draw instead of a picture.

    Parameters
    ----------
    name : str
        One of `VIEWS`.
    original : str or None
        The file of the whole image, for the error.
    options : dict
        Those of `sadcodec.codec.decode_with_report`.
    """

    def __init__(self, name: str, original: str | None, options: dict[str, Any]) -> None:
        self.name = name
        self._framing = {key: options[key] for key in ("region", "scale", "size")}
        self._options = {
            key: options[key] for key in ("backend", "threads", "max_pixels", "max_work", "layers")
        }
        self._original = None
        if original is not None:
            from sadcodec import image_io

            with common.blame(original):
                content = files.read_input(original)
                self._original = image_io.decode_image(content, max_pixels=options["max_pixels"])

    def draw(self, data: bytes) -> tuple[np.ndarray, Repair]:
        """Return the view of a file, uint8 [height, width, 3], and that nothing is lost of it.

        Raises
        ------
        SadError
            For the reasons of `sadcodec.decode`; if the original has another size or kind.
        """
        from sadcodec import views
        from sadcodec.bitstream import Repair
        from sadcodec.decoding import ANY_SIZE, first_layers
        from sadcodec.diagram import open_diagram

        # Marks are of all sites, wherever they matter.
        region = None if self.name == "sites" else self._framing["region"]
        diagram = open_diagram(data, **self._options, region=region)
        layers = self._options["layers"]
        first = None if layers is None else first_layers(data, layers, ANY_SIZE)
        report = Repair(len(diagram.sites), (), (), first)
        if self.name == "cells":
            return diagram.cells(**self._framing), report
        if self.name == "sites":
            return diagram.marks(**self._framing), report
        if self.name == "tau":
            return diagram.tau(**self._framing)[0], report
        if self._original is None:
            raise InputError("there is no error without an original")
        rows, columns = self._original.shape[:2]
        if (columns, rows) != (diagram.width, diagram.height):
            raise InputError(
                f"the original has {columns} x {rows} pixels, not"
                f" {diagram.width} x {diagram.height}"
            )
        x, y, width, height = diagram.frame(**self._framing).region
        part = self._original[y : y + height, x : x + width]
        return views.error(part, diagram.picture(**self._framing)), report
