"""Parts of a picture at any size: which samples of a diagram are drawn, and how they are averaged.

A frame is a region of the picture, in its pixels, and the size that it is drawn at. An axis that is
enlarged is sampled at the centres of the new pixels, for a diagram has a colour everywhere. One
that is shrunk is averaged over the area of each new pixel: up to a factor of 8 the picture's own
pixels, whose values are what the file was made for, beyond it 8 samples a new pixel. The average is
of display-referred values clamped to 0..1 (docs/FORMAT.md, section 5; docs/REGIONS.md measures it).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Backend
from sadcodec.backends.place import PLAIN, Place, Window
from sadcodec.errors import LimitError, OptionError
from sadcodec.pixels import code_values
from sadcodec.sites import Sites

__all__ = ["MAX_SAMPLES", "MAX_SIDE", "Frame", "Raster", "frame_of"]

MAX_SIDE = 1 << 23  # px; of what is drawn, as of a picture
MAX_SAMPLES = 8  # of a pixel along one axis
_BAND = 1 << 22  # samples drawn at a time, or a row of squares of 1024 px if that is more
_SQUARE = 1024  # px; of the CPU backend's limits of work

Region = tuple[int, int, int, int]


class Raster(NamedTuple):
    """What `Backend.render` takes to draw one sample for each pixel of a frame."""

    width: int
    height: int
    window: Window | None = None
    place: Place = PLAIN


@dataclass(frozen=True)
class _Axis:
    """The samples of one axis: those number `first` to `first + count` of a line of `step` px."""

    samples: int
    step: float  # px
    pixels: int

    @property
    def ratio(self) -> float:
        return self.samples / self.pixels


def _axis(length: int, pixels: int) -> _Axis:
    if pixels >= length:
        return _Axis(pixels, length / pixels, pixels)
    samples = min(length, MAX_SAMPLES * pixels)
    return _Axis(samples, length / samples, pixels)


@dataclass(frozen=True)
class Frame:
    """A region of a picture and the size that it is drawn at.

    Attributes
    ----------
    region : (x, y, width, height), px of the picture
    width, height : int >= 1, px
        Of what is drawn.
    picture : (width, height), px
    """

    region: Region
    width: int
    height: int
    picture: tuple[int, int]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The region as x0, y0, x1, y1, px."""
        x, y, width, height = self.region
        return x, y, x + width, y + height

    @property
    def samples(self) -> int:
        """Number of points at which the diagram is evaluated."""
        return self._columns.samples * self._rows.samples

    @property
    def _columns(self) -> _Axis:
        return _axis(self.region[2], self.width)

    @property
    def _rows(self) -> _Axis:
        return _axis(self.region[3], self.height)

    @property
    def raster(self) -> Raster:
        """The raster of the pixels' centres, for what is no colour and cannot be averaged."""
        return self._raster(self.width, self.height)

    def _raster(self, columns: int, rows: int) -> Raster:
        x, y, width, height = self.region
        if (columns, rows) == (width, height):
            return Raster(*self.picture, window=self.region)
        place = Place(float(x), float(y), width / columns, height / rows)
        return Raster(columns, rows, place=place)

    def check(self, max_pixels: int) -> None:
        """Raise LimitError if more than `max_pixels` samples, or a side over 2^23, are drawn."""
        if self.samples > max_pixels:
            raise LimitError(
                f"{self.width} x {self.height} pixels take {self.samples} samples, which exceeds"
                f" the limit of {max_pixels}"
            )
        if max(self.width, self.height) > MAX_SIDE:
            raise LimitError(f"{self.width} x {self.height} pixels have a side over {MAX_SIDE}")

    def draw(
        self, backend: Backend, sites: Sites, k: int, bit_depth: int, max_work: int = 0
    ) -> NDArray[Any]:
        """Draw the colours of the frame.

        In bands: beside the result there are 10 bytes for each channel of some 2^22 samples at a
        time, or of 1024 rows of samples if that is more.

        Parameters
        ----------
        backend : Backend
        sites : Sites
            Of the whole picture, or those that matter in the region.
        k, max_work : int
            As for `Backend.render`.
        bit_depth : int, 8 or 16

        Returns
        -------
        uint8 or uint16 [height, width, C]
        """
        shape = (self.height, self.width, sites.channels)
        picture = np.empty(shape, np.uint8 if bit_depth == 8 else np.uint16)
        columns, rows = self._columns, self._rows
        averaged = columns.ratio > 1.0 or rows.ratio > 1.0
        raster = self._raster(columns.samples, rows.samples)
        x, y, width, _ = raster.window or (0, 0, raster.width, 0)
        for first, last in _bands(rows, columns.samples, y):
            top, bottom = _span(rows, first, last)
            values = backend.render(
                sites,
                raster.width,
                raster.height,
                k,
                exact=bit_depth == 16,
                max_work=max_work,
                window=(x, y + top, width, bottom - top),
                place=raster.place,
                bit_depth=None if averaged else bit_depth,
            )
            if not averaged:
                if values.shape == shape:
                    return values
                picture[first:last] = values
                continue
            for row in range(first, last):
                start, end = _span(rows, row, row + 1)
                low, high = row * rows.ratio - start, (row + 1) * rows.ratio - start
                means = _averaged(values[start - top : end - top], low, high, columns)
                picture[row : row + 1] = code_values(means, bit_depth)
        return picture


def _span(rows: _Axis, first: int, last: int) -> tuple[int, int]:
    """Return the first sample, and the last without it, of the pixels from `first` to `last`."""
    return math.floor(first * rows.ratio), min(math.ceil(last * rows.ratio), rows.samples)


def _bands(rows: _Axis, columns: int, first: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row, without it, of each band of pixels.

    Bands of the picture's own pixels end where squares do: a picture is within the limit of work,
    or not, however it is drawn.
    """
    most = max(_SQUARE, _BAND // columns // _SQUARE * _SQUARE)
    start = 0
    while start < rows.pixels:
        samples = most - (first + math.ceil(start * rows.ratio)) % _SQUARE
        end = min(max(start + 1, start + int(samples / rows.ratio)), rows.pixels)
        yield start, end
        start = end


def _averaged(values: NDArray[Any], low: float, high: float, columns: _Axis) -> NDArray[np.float64]:
    """Return the means of samples [rows, columns, C] over the pixels of one row, [1, pixels, C].

    The row reaches from `low` to `high`, counted in rows of samples. Colour counts as much as it
    covers, where there is alpha.
    """
    clamped = np.clip(values, 0.0, 1.0)
    alpha = clamped.shape[2] in (2, 4)
    if alpha:
        clamped[:, :, :-1] *= clamped[:, :, -1:]
    at = np.arange(len(clamped))
    shares = np.minimum(at + 1, high) - np.maximum(at, low)
    row = np.tensordot((shares / shares.sum()).astype(clamped.dtype), clamped, 1)
    edges = (np.arange(columns.pixels + 1) * columns.ratio).astype(np.float64)
    means = _means(row.astype(np.float64), edges)
    if alpha:
        means[:, :-1] /= np.maximum(means[:, -1:], 1e-9)
    return means[None]


def _means(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of samples [M, C], each constant over 1, between edges [P + 1]."""
    whole = np.minimum(edges.astype(np.int64), len(values))
    nothing = np.zeros((1, values.shape[1]))
    sums = np.concatenate([nothing, np.cumsum(values, axis=0)])
    part = (edges - whole)[:, None] * np.concatenate([values, nothing])[whole]
    return np.diff(sums[whole] + part, axis=0) / np.diff(edges)[:, None]


def frame_of(
    width: int,
    height: int,
    region: Region | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
) -> Frame:
    """Return the frame that options ask for of a picture.

    Parameters
    ----------
    width, height : int, px
        Of the picture.
    region : (x, y, width, height), px, optional
        All of it by default.
    scale : float > 0, optional
        The frame has ``floor(scale * side + 0.5)`` px, at least 1, where the region has ``side``.
    size : (width, height), px, optional
        What the frame has; not together with scale.

    Raises
    ------
    OptionError
        If the region is not inside the picture, or scale or size is out of range.
    """
    region = (0, 0, width, height) if region is None else _integers("region", region, 4)
    x, y, columns, rows = region
    if not (0 <= x < x + columns <= width and 0 <= y < y + rows <= height):
        text = ",".join(map(str, region))
        raise OptionError(f"the region {text} is not inside of {width} x {height} pixels")
    if scale is not None and size is not None:
        raise OptionError("only one of scale and size can be given")
    if scale is not None:
        if not 0.0 < scale < math.inf:
            raise OptionError(f"scale must be positive, not {scale}")
        across, down = (
            max(1, math.floor(min(scale * side + 0.5, 1e15))) for side in (columns, rows)
        )
        size = across, down
    across, down = (columns, rows) if size is None else _integers("size", size, 2)
    if min(across, down) < 1:
        raise OptionError(f"a picture of {across} x {down} pixels cannot be drawn")
    return Frame(region, across, down, (width, height))


def _integers(name: str, values: Any, count: int) -> Any:
    try:
        found = tuple(operator.index(value) for value in values)
    except TypeError:
        found = ()
    if len(found) != count:
        raise OptionError(f"{name} is {count} integers, not {values!r}")
    return found
