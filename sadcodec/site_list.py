"""The site list of the paper's authors: text, one site a line; read and written, nothing else.

Format and conventions are those of their released code; docs/SITE_LIST.md says which facts come
from it. In short: x y r g b log_tau radius direction_x direction_y log_anisotropy in one line,
pixel centres at whole numbers, log_tau for distances divided by max(width, height), radius in px.
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import InputError, LimitError
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, Sites, X, Y

__all__ = ["SiteList", "format_site_list", "parse_site_list"]

CENTER = 0.5  # px from their pixel centres to ours
MAX_PIXELS = 1 << 26
MAX_SITES = 1 << 24
MAX_SITES_PER_PIXEL = 4  # and 64 more

_COLUMNS = (
    *("position_x", "position_y", "color_r", "color_g", "color_b", "log_tau", "radius"),
    *("aniso_dir_x", "aniso_dir_y", "log_aniso"),
)
_X, _Y, _RED, _LOG_TAU, _RADIUS, _DIRECTION, _LOG_ANISOTROPY = 0, 1, 2, 5, 6, 7, 9
_ISOTROPIC = ["1", "0", "0"]  # what a line of seven columns leaves out

# What a site may be: more than any fit gives, less than what a computation in float32 or the .sad
# format could not hold.
_OUTSIDE = 64.0  # px beyond the image
_RANGES = {
    _RED: (-4.0, 4.0),
    _RED + 1: (-4.0, 4.0),
    _RED + 2: (-4.0, 4.0),
    _LOG_TAU: (-32.0, 32.0),
    _RADIUS: (-990.0, 990.0),  # the format has 1024, less half its coarsest step
    _LOG_ANISOTROPY: (-6.0, 6.0),
}
_UNIT = 0.01  # most that the length of a direction may differ from 1

_SIZE = re.compile(r"image size\s*:?\s*([0-9]{1,10})\s+([0-9]{1,10})(?![0-9])", re.IGNORECASE)
_OURS = re.compile(r"# sadcodec: channels ([13]), bit depth (8|16), K ([0-9]{1,2})$")
_MOVED = re.compile(r"# sadcodec: position_x of the next site is (-?[0-9.e-]{1,20})$")


@dataclass(frozen=True, eq=False)
class SiteList:
    """What a site list holds, in this package's conventions.

    Attributes
    ----------
    sites : Sites
        Of 3 channels, or 1 where the list is of a gray image.
    width, height : int, px
    bit_depth : int
        8 or 16, of the image: 8 where the list does not say.
    k : int, 1..16
        Sites blended at a pixel: 8 where the list does not say.
    inactive : int
        Rows that were left out because their x is negative: sites that a fit removed.
    """

    sites: Sites
    width: int
    height: int
    bit_depth: int = 8
    k: int = 8
    inactive: int = 0


def format_site_list(diagram: SiteList) -> str:
    """Return the text of a site list.

    Numbers have as many digits as tell their float32 apart. A site whose centre lies left of the
    first pixel centre has a negative x in the authors' convention, which would remove it: x is
    then 0, and a comment before the line keeps the value.

    Parameters
    ----------
    diagram : SiteList

    Raises
    ------
    InputError
        If the diagram has alpha.
    """
    sites = diagram.sites
    if sites.channels not in (1, 3):
        raise InputError("has alpha, which a site list cannot express")
    rows = np.empty((len(sites), len(_COLUMNS)), np.float32)
    rows[:, _X : _Y + 1] = sites.position - np.float32(CENTER)
    rows[:, _RED : _RED + 3] = sites.color  # gray: three times the same
    rows[:, _LOG_TAU] = sites.log_tau + math.log(max(diagram.width, diagram.height))
    rows[:, _RADIUS] = sites.radius
    rows[:, _DIRECTION : _DIRECTION + 2] = sites.direction
    rows[:, _LOG_ANISOTROPY] = sites.log_anisotropy
    left = np.flatnonzero(rows[:, _X] < 0.0)
    kept = {int(i): f"# sadcodec: position_x of the next site is {rows[i, _X]!s}" for i in left}
    rows[left, _X] = 0.0
    lines = [
        f"# SAD Sites ({', '.join(_COLUMNS)})",
        f"# Image size: {diagram.width} {diagram.height}",
        f"# Total sites: {len(sites)}",
        f"# sadcodec: channels {sites.channels}, bit depth {diagram.bit_depth}, K {diagram.k}",
    ]
    for i, row in enumerate(rows.astype(str).tolist()):
        if i in kept:
            lines.append(kept[i])
        lines.append(" ".join(row))
    return "\n".join(lines) + "\n"


def parse_site_list(
    text: str, *, max_pixels: int = MAX_PIXELS, max_sites: int = MAX_SITES
) -> SiteList:
    """Read a site list.

    Lines of seven columns are isotropic sites. Comments start with #; one of them must give the
    image's size. Sites with a negative x are left out, as the authors' code does.

    Parameters
    ----------
    text : str
    max_pixels, max_sites : int
        Largest width x height and number of lines to accept.

    Returns
    -------
    SiteList

    Raises
    ------
    InputError
        If a line is no site, a number is out of range, or size or sites are missing; the message
        names the line.
    LimitError
        If there are more pixels or sites than accepted.
    """
    size: tuple[int, int] | None = None
    said = (3, 8, 8)
    rows: list[list[float]] = []
    numbers: list[int] = []  # of the rows' lines
    moved: dict[int, float] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith("#"):
            if found := _size(line, number, max_pixels):
                if size not in (None, found):
                    raise InputError(f"line {number}: another image size than before")
                size = found
            elif ours := _OURS.match(line):
                said = (int(ours[1]), int(ours[2]), int(ours[3]))
            elif position := _MOVED.match(line):
                moved[len(rows)] = _number(position[1], number)
        elif line:
            if len(rows) >= max_sites:
                raise LimitError(f"line {number}: more than {max_sites} sites")
            rows.append(_row(line, number))
            numbers.append(number)
    if size is None:
        raise InputError("no line gives the image's size (# Image size: WIDTH HEIGHT)")
    if not 1 <= said[2] <= 16:
        raise InputError(f"K is {said[2]}; it must lie in 1..16")
    table, lines = np.array(rows, np.float64).reshape(-1, len(_COLUMNS)), np.array(numbers)
    restored = [i for i in moved if i < len(table) and table[i, _X] == 0.0]
    active = ~(table[:, _X] < 0.0)  # NaN stays, to be refused
    table[restored, _X] = [moved[i] for i in restored]
    inactive = len(table) - int(np.count_nonzero(active))
    table, lines = table[active], lines[active]
    _check(table, lines, *size)
    return SiteList(_sites(table, *size, gray=said[0] == 1), *size, *said[1:], inactive)


def _size(line: str, number: int, max_pixels: int) -> tuple[int, int] | None:
    """Return width and height if the comment gives them."""
    if "image size" not in line.lower():
        return None
    found = _SIZE.search(line)
    if found is None:
        raise InputError(f"line {number}: an image size is two whole numbers")
    width, height = int(found[1]), int(found[2])
    if width == 0 or height == 0:
        raise InputError(f"line {number}: the image has no pixels")
    if width * height > max_pixels:
        raise LimitError(f"line {number}: image of {width} x {height} pixels is too large")
    return width, height


def _row(line: str, number: int) -> list[float]:
    parts = line.split(None, len(_COLUMNS))
    if len(parts) == len(_COLUMNS) - len(_ISOTROPIC):
        parts += _ISOTROPIC
    if len(parts) != len(_COLUMNS):
        count = "more" if len(parts) > len(_COLUMNS) else str(len(parts))
        raise InputError(f"line {number}: {count} columns where a site has 10 (or 7)")
    if _plain(line):
        with contextlib.suppress(ValueError):
            return [float(part) for part in parts]
    return [_number(part, number) for part in parts]  # says which


def _plain(text: str) -> bool:
    """Whether no digits are other than ASCII or apart as in 1_000: those are Python's alone."""
    return text.isascii() and "_" not in text


def _number(part: str, number: int) -> float:
    if _plain(part):
        with contextlib.suppress(ValueError):
            return float(part)
    shown = ascii(part if len(part) <= 20 else part[:20] + "...")
    raise InputError(f"line {number}: {shown} is no number")


def _check(table: NDArray[np.float64], lines: NDArray[np.int64], width: int, height: int) -> None:
    """Check every number of the sites that are left against its range."""
    if len(table) == 0:
        raise InputError("holds no sites")
    if len(table) > MAX_SITES_PER_PIXEL * width * height + 64:
        raise LimitError(f"{len(table)} sites are too many for {width} x {height} pixels")
    ranges = {_X: (-_OUTSIDE, width + _OUTSIDE), _Y: (-_OUTSIDE, height + _OUTSIDE), **_RANGES}
    wrong = {
        column: ~((table[:, column] >= low) & (table[:, column] <= high))  # NaN is wrong too
        for column, (low, high) in ranges.items()
    }
    length = np.hypot(table[:, _DIRECTION], table[:, _DIRECTION + 1])
    turned = table[:, _LOG_ANISOTROPY] != 0.0
    wrong[_DIRECTION] = ~np.isfinite(length) | (turned & ~(np.abs(length - 1.0) <= _UNIT))
    bad = np.array([[*column] for column in wrong.values()])
    if not bad.any():
        return
    row = int(np.flatnonzero(bad.any(axis=0))[0])
    column = list(wrong)[int(np.flatnonzero(bad[:, row])[0])]
    if column == _DIRECTION:
        cause = "the direction is no unit vector"
    else:
        low, high = ranges[column]
        cause = f"{_COLUMNS[column]} is {table[row, column]:g}, not in {low:g}..{high:g}"
    raise InputError(f"line {lines[row]}: {cause}")


def _sites(table: NDArray[np.float64], width: int, height: int, *, gray: bool) -> Sites:
    """Return checked rows as sites in our conventions, computed in float64 and rounded once."""
    colors = table[:, _RED : _RED + 3]
    gray = gray and bool((colors == colors[:, :1]).all())
    params = np.empty((len(table), COLOR + (1 if gray else 3)), np.float32)
    params[:, X] = table[:, _X] + CENTER
    params[:, Y] = table[:, _Y] + CENTER
    params[:, LOG_TAU] = table[:, _LOG_TAU] - math.log(max(width, height))
    params[:, RADIUS] = table[:, _RADIUS]
    # A negative log_anisotropy turns the vector by pi, the direction by a right angle.
    turn = 2.0 * np.arctan2(table[:, _DIRECTION + 1], table[:, _DIRECTION])
    params[:, P] = table[:, _LOG_ANISOTROPY] * np.cos(turn)
    params[:, Q] = table[:, _LOG_ANISOTROPY] * np.sin(turn)
    params[:, COLOR:] = colors[:, :1] if gray else colors
    return Sites(params)
