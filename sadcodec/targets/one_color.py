"""Pictures of one colour: one site, without a fit."""

from __future__ import annotations

import numpy as np

from sadcodec.bitstream import Header
from sadcodec.job import Job, header_for
from sadcodec.pixels import code_values
from sadcodec.quantize import dequantize, quantize
from sadcodec.rate import Encoding
from sadcodec.refine import coded_size
from sadcodec.sites import COLOR, Sites, X, Y

__all__ = ["encode_one_color", "is_one_color"]

_COARSEST = 24  # half octaves of the scale of the steps; at 0 colours have the format's finest ones


def is_one_color(job: Job) -> bool:
    """Return whether all pixels of the image are equal, alpha included."""
    first = job.target[0, 0]
    return bool((job.target[0] == first).all() and (job.target == first).all())


def encode_one_color(job: Job, size: int | None = None) -> Encoding:
    """Encode an image of one colour as one site with that colour, in the middle.

    The steps are the coarsest with which it decodes to the very code values; where there are none,
    as with most of 16 bits, the finest: the colour axes of a file of one site have steps of at
    least 1/16384, so that a value is off by up to 2 of 65535. Where that takes more than `size`
    bytes, the steps are as coarse as these say.
    """
    h = job.header
    params = np.zeros((1, COLOR + h.channels), np.float32)
    params[0, [X, Y]] = 0.5 * h.width, 0.5 * h.height
    params[0, COLOR:] = job.target[0, 0]
    exact = code_values(params[:, COLOR:], h.bit_depth)

    def is_exact(scale: int) -> bool:
        header = _header(job, scale)
        picture = h.width, h.height, header.quantizer
        rounded = dequantize(quantize(Sites(params), *picture), *picture)
        return np.array_equal(code_values(rounded.color, h.bit_depth), exact)

    scale = next((s for s in range(_COARSEST, 0, -1) if is_exact(s)), 0)
    while True:
        header = _header(job, scale)
        symbols = quantize(Sites(params), h.width, h.height, header.quantizer)
        if size is None or scale == _COARSEST or coded_size(header, symbols) <= size:
            return Encoding(header, symbols, params)
        scale += 1


def _header(job: Job, scale: int) -> Header:
    return header_for(job, 0.0, 1, 2.0 ** (0.5 * scale), radius=False)
