"""Diagrams in and out as the authors' site list: composes list, refinement and bitstream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from sadcodec import bitstream
from sadcodec.backends import get_backend
from sadcodec.decoding import as_bytes, limits_for
from sadcodec.effort import DEFAULT_EFFORT
from sadcodec.errors import InputError
from sadcodec.metrics import psnr
from sadcodec.pixels import Image, check_image, code_values
from sadcodec.processors import default_threads
from sadcodec.progress import Progress
from sadcodec.quantize import dequantize
from sadcodec.site_coding import check_coding, code_sites
from sadcodec.site_list import SiteList, format_site_list, parse_site_list
from sadcodec.sites import COLOR, Sites

__all__ = ["ImportReport", "export_list", "export_sites", "import_sites", "import_with_report"]


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    bytes : int
        Size of the file.
    bpp : float
    sites : int
    inactive : int
        Rows of the list that were left out: sites that a fit removed.
    list_psnr : float
        PSNR in dB between what the file decodes to and the picture that the list draws, both as
        code values; infinite for equal ones.
    psnr : float or None
        PSNR in dB of the decoded file against the image, if one was given.
    fit_psnr : float or None
        The same of the list's picture.
    width, height, channels, bit_depth : int
        Of the picture.
    seconds : float
    backend : str
    warning : str or None
        Why a size was not met.
    """

    bytes: int
    bpp: float
    sites: int
    inactive: int
    list_psnr: float
    psnr: float | None
    fit_psnr: float | None
    width: int
    height: int
    channels: int
    bit_depth: int
    seconds: float
    backend: str
    warning: str | None = None


def export_list(data: bytes, *, max_pixels: int | None = None) -> SiteList:
    """Return the sites of a ``.sad`` file as a site list, not yet written.

    `max_pixels` is that of `sadcodec.decode`.

    Raises
    ------
    BitstreamError, LimitError
        As of `sadcodec.decode`.
    InputError
        If the image has alpha.
    """
    header, symbols = bitstream.read(as_bytes(data), limits_for(max_pixels), default_threads())
    if header.channels not in (1, 3):
        raise InputError("has alpha, which a site list cannot express")
    sites = dequantize(symbols, header.width, header.height, header.quantizer)
    return SiteList(sites, header.width, header.height, header.bit_depth, header.k)


def export_sites(data: bytes, *, max_pixels: int | None = None) -> str:
    """Return the sites of a ``.sad`` file as the authors' site list (docs/SITE_LIST.md).

    Parameters
    ----------
    data : bytes
        Of a file of a gray or RGB image, 8 or 16 bits; a gray one is written with r = g = b.
    max_pixels : int, optional
        As for `sadcodec.decode`.

    Returns
    -------
    str
        The exact sites that a decoder draws, in float32.

    Raises
    ------
    BitstreamError, LimitError
        As of `sadcodec.decode`.
    InputError
        If the image has alpha.
    """
    return format_site_list(export_list(data, max_pixels=max_pixels))


def import_with_report(
    text: str | bytes,
    image: Image | None = None,
    *,
    scale: float | None = None,
    size: int | None = None,
    bpp: float | None = None,
    effort: int = DEFAULT_EFFORT,
    threads: int | None = None,
    backend: str = "auto",
    coder: str = "range",
    groups: int | None = None,
    progress: Progress | None = None,
) -> tuple[bytes, ImportReport]:
    """Code a site list; like `import_sites`, which raises the same, with a report.

    Returns
    -------
    data : bytes
    report : ImportReport
    """
    start = perf_counter()
    check_coding(scale, size, bpp, effort, coder)
    diagram = parse_site_list(_text(text))
    if image is not None:
        diagram, image = _matched(diagram, check_image(image))
    engine = get_backend(backend, threads)
    width, height, channels = diagram.width, diagram.height, diagram.sites.channels
    coded = code_sites(
        *(engine, diagram.sites, width, height, diagram.k, diagram.bit_depth),
        image=image,
        scale=scale,
        size=size,
        bpp=bpp,
        effort=effort,
        coder=coder,
        groups=groups,
        progress=progress,
    )
    data, decoded = coded.data, coded.decoded
    listed = code_values(coded.picture, diagram.bit_depth)
    report = ImportReport(
        bytes=len(data),
        bpp=8.0 * len(data) / (width * height),
        sites=coded.sites,
        inactive=diagram.inactive,
        list_psnr=psnr(listed, decoded),
        psnr=None if image is None else psnr(image, decoded),
        fit_psnr=None if image is None else psnr(image, listed),
        width=width,
        height=height,
        channels=channels,
        bit_depth=diagram.bit_depth,
        seconds=perf_counter() - start,
        backend=engine.name,
        warning=coded.warning,
    )
    return data, report


def import_sites(text: str | bytes, image: Image | None = None, **options: Any) -> bytes:
    """Code the authors' site list (docs/SITE_LIST.md) as a ``.sad`` file, without fitting anew.

    The sites are rounded, their colours solved again by least squares, and the integer descent
    repairs what rounding broke: against the image, or without one against the picture that the
    list draws. The file has a radius column.

    Parameters
    ----------
    text : str or bytes (UTF-8)
    image : uint8 or uint16 [H, W] or [H, W, C], C = 1 or 3, optional
        The original that the sites were fitted to.
    scale : float, 0.1..10
        On all quantization steps; smaller is nearer to the list, in more bytes. 1 by default.
    size : int, > 0
        Bytes of the file, instead of `scale`: met from below, by the steps, and where the coarsest
        are not enough by leaving out the sites that matter least.
    bpp : float, > 0
        The same in bits per pixel.
    effort : int, 1..9
        Sweeps of the descent, as of `sadcodec.encode`.
    threads, backend, coder, groups, progress
        As of `sadcodec.encode`.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        If the text is no site list, or the image has another size or alpha.
    LimitError
        If it has more than 2^24 sites or 2^26 pixels.
    OptionError
        If an option is out of range, or more than one of scale, size and bpp is given.
    BackendError
        If the backend is not available.
    """
    return import_with_report(text, image, **options)[0]


def _text(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    data = as_bytes(text)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"line {line}: not a site list: no UTF-8 text") from None


def _matched(diagram: SiteList, image: Image) -> tuple[SiteList, Image]:
    """Return both with the same channels, and the list with the image's bit depth."""
    height, width, channels = image.shape
    if (width, height) != (diagram.width, diagram.height):
        raise InputError(
            f"the image is {width} x {height} pixels, the list is for"
            f" {diagram.width} x {diagram.height}"
        )
    if channels not in (1, 3):
        raise InputError("the image has alpha, which a site list cannot express")
    if channels == 1 and diagram.sites.channels == 3:
        image = np.repeat(image, 3, axis=2)
    elif channels == 3 and diagram.sites.channels == 1:
        params = diagram.sites.params
        gray = params[:, COLOR:]
        sites = Sites(np.ascontiguousarray(np.concatenate([params, gray, gray], axis=1)))
        diagram = replace(diagram, sites=sites)
    return replace(diagram, bit_depth=8 * image.dtype.itemsize), image
