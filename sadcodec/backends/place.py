"""Where the pixels of a drawing lie: a raster anywhere in the picture, and a window of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from sadcodec.errors import OptionError

__all__ = ["PLAIN", "Place", "Window", "checked_window"]

_FARTHEST = 1e9  # px

# First column and row, number of columns and rows, of a raster.
Window = tuple[int, int, int, int]


class Place(NamedTuple):
    """Pixel (row j, column i) of a raster is sampled at (x + (i + 0.5) step_x, y + ... step_y).

    Attributes
    ----------
    x, y : float, px
        Left and upper end of the raster in the picture.
    step_x, step_y : float > 0, px
        Distance of its columns, and of its rows, in the picture: 1 / scale.
    """

    x: float = 0.0
    y: float = 0.0
    step_x: float = 1.0
    step_y: float = 1.0


PLAIN = Place()  # the picture's own pixels


def checked_window(window: Window | None, width: int, height: int, place: Place) -> Window:
    """Return the window to draw of a raster, all of it for None.

    Raises
    ------
    OptionError
        If the raster is empty, the window is none of it, or the place is out of range.
    """
    if width < 1 or height < 1:
        raise OptionError(f"an image of {width} x {height} pixels cannot be rendered")
    if not all(math.isfinite(v) and abs(v) <= _FARTHEST for v in place) or min(place[2:]) <= 0.0:
        raise OptionError(f"a raster cannot lie at {tuple(place)}")
    if window is None:
        return 0, 0, width, height
    x, y, columns, rows = window
    inside = 0 <= x < x + columns <= width and 0 <= y < y + rows <= height
    if not inside:
        raise OptionError(f"the window {window} is no part of {width} x {height} pixels")
    return window
