"""An opened file: its sites, and what can be drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import bitstream, views
from sadcodec.backends import get_backend
from sadcodec.backends.base import MAX_WORK, Backend
from sadcodec.decoding import as_bytes, limits_for
from sadcodec.processors import default_threads
from sadcodec.quantize import code_values, dequantize
from sadcodec.sites import Sites

__all__ = ["Diagram", "open_diagram"]


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
    """

    sites: Sites
    width: int
    height: int
    k: int
    bit_depth: int
    backend: Backend

    def picture(self) -> NDArray[Any]:
        """Return what the file decodes to: uint8 or uint16 [H, W, C], as `sadcodec.decode`."""
        drawn = self.backend.render(
            self.sites,
            self.width,
            self.height,
            self.k,
            exact=self.bit_depth == 16,
            max_work=MAX_WORK,
        )
        return code_values(drawn, self.bit_depth)

    def cells(self, *, fill: str = "color", borders: bool = True) -> NDArray[np.uint8]:
        """Return the partition, uint8 [H, W, 3]: see `sadcodec.views.cells`."""
        return views.cells(
            self.backend, self.sites, self.width, self.height, fill=fill, borders=borders
        )

    def tau(
        self, limits: tuple[float, float] | None = None
    ) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """Return the inverse temperature, uint8 [H, W, 3], and its range: `sadcodec.views.tau`."""
        return views.tau(self.backend, self.sites, self.width, self.height, self.k, limits=limits)


def open_diagram(
    data: bytes,
    *,
    backend: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
) -> Diagram:
    """Read the sites of a ``.sad`` file; nothing is drawn yet.

    Parameters
    ----------
    data : bytes
        Or another object with the buffer interface.
    backend, threads, max_pixels
        As for `sadcodec.decode`.

    Raises
    ------
    SadError
        For the reasons of `sadcodec.decode`.
    """
    engine = get_backend("cpu" if backend == "auto" else backend, threads)
    limits = limits_for(max_pixels)
    header, symbols = bitstream.read(as_bytes(data), limits, threads or default_threads())
    return Diagram(
        dequantize(symbols, header.width, header.height, header.quantizer),
        header.width,
        header.height,
        header.k,
        header.bit_depth,
        engine,
    )
