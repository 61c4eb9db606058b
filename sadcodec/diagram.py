"""An opened file: its sites, and what can be drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec import bitstream, views
from sadcodec.backends import get_backend, sample
from sadcodec.backends.base import MAX_WORK, Backend
from sadcodec.decoding import ANY_SIZE, MAX_PIXELS, as_bytes, check_work
from sadcodec.frame import Frame, frame_of
from sadcodec.processors import default_threads
from sadcodec.quantize import dequantize
from sadcodec.site_view import marks
from sadcodec.sites import Sites

__all__ = ["Diagram", "Framing", "open_diagram"]


class Framing(TypedDict, total=False):
    """Which part of a picture to draw, and at what size: see `sadcodec.decode`."""

    region: tuple[int, int, int, int] | None
    scale: float | None
    size: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Diagram:
    """The sites of a file, with the picture that they stand for and a backend to draw it.

    Attributes
    ----------
    sites : Sites
    width, height : int, px
    k : int
        Sites that a pixel blends.
    bit_depth : int
        8 or 16.
    backend : Backend
    max_pixels, max_work : int
        What may be drawn, as for `sadcodec.decode`.

    Methods that draw take what `sadcodec.decode` does: a `region` of the picture, and a `scale` or
    `size` to draw it at. They raise OptionError for arguments out of range, and LimitError for more
    than `max_pixels`.
    """

    sites: Sites
    width: int
    height: int
    k: int
    bit_depth: int
    backend: Backend
    max_pixels: int = MAX_PIXELS
    max_work: int = MAX_WORK

    def frame(self, **framing: Unpack[Framing]) -> Frame:
        """Return the part and size of the picture that these arguments ask for, checked."""
        frame = frame_of(self.width, self.height, **framing)
        frame.check(self.max_pixels)
        return frame

    def picture(self, **framing: Unpack[Framing]) -> NDArray[Any]:
        """Return what the file decodes to: uint8 or uint16 [H, W, C], as `sadcodec.decode`."""
        frame = self.frame(**framing)
        return frame.draw(self.backend, self.sites, self.k, self.bit_depth, self.max_work)

    def sample(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the colours at any points of the plane.

        Parameters
        ----------
        points : float [M, 2], px
            x and y; pixel (row j, column i) has its centre at (i + 0.5, j + 0.5). Points outside of
            the picture have the colours that its sites give them.

        Returns
        -------
        float64 [M, C]
            By the definition of the picture (`sadcodec.backends.reference`), whatever the backend;
            display-referred, not clamped to 0..1. Memory is in proportion to N + M.

        Raises
        ------
        OptionError
            If the points have another shape or are not finite.
        """
        return sample(self.sites, points, self.k)

    def cells(
        self, *, fill: str = "color", borders: bool = True, **framing: Unpack[Framing]
    ) -> NDArray[np.uint8]:
        """Return the partition, uint8 [H, W, 3]: see `sadcodec.views.cells`."""
        width, height, window, place = self.frame(**framing).raster
        look: dict[str, Any] = {"fill": fill, "borders": borders, "max_work": self.max_work}
        return views.cells(
            self.backend, self.sites, width, height, window=window, place=place, **look
        )

    def tau(
        self, limits: tuple[float, float] | None = None, **framing: Unpack[Framing]
    ) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """Return the inverse temperature, uint8 [H, W, 3], and its range: `sadcodec.views.tau`."""
        width, height, window, place = self.frame(**framing).raster
        place_of: dict[str, Any] = {"window": window, "place": place, "max_work": self.max_work}
        return views.tau(self.backend, self.sites, width, height, self.k, limits=limits, **place_of)

    def marks(self, **framing: Unpack[Framing]) -> NDArray[np.uint8]:
        """Return the picture with its sites, uint8 [H, W, 3]: see `sadcodec.site_view.marks`."""
        frame = self.frame(**framing)
        picture = views.rgb(self.picture(**framing))
        return marks(picture, self.sites, frame.region)


def open_diagram(
    data: bytes,
    *,
    backend: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> Diagram:
    """Read the sites of a ``.sad`` file; nothing is drawn yet.

    Parameters
    ----------
    data : bytes
        Or another object with the buffer interface.
    backend, threads
        As for `sadcodec.decode`.
    max_pixels : int, optional
        Largest width x height to draw; 2^28 by default. The picture may be larger.
    max_work : int, optional
        As for `sadcodec.decode`.

    Raises
    ------
    SadError
        For the reasons of `sadcodec.decode`.
    """
    check_work(max_work)
    engine = get_backend("cpu" if backend == "auto" else backend, threads)
    header, symbols = bitstream.read(as_bytes(data), ANY_SIZE, threads or default_threads())
    return Diagram(
        dequantize(symbols, header.width, header.height, header.quantizer),
        header.width,
        header.height,
        header.k,
        header.bit_depth,
        engine,
        MAX_PIXELS if max_pixels is None else max_pixels,
        MAX_WORK if max_work is None else max_work,
    )
