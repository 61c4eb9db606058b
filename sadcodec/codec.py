"""Encode: composes fitting, quantization, bitstream and backends; decoding is beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from sadcodec import bitstream
from sadcodec.attachments import chunks_of, metadata, metadata_left
from sadcodec.backends.base import DEFAULT_K, MAX_K
from sadcodec.decoding import decode, decode_with_report, draw_new, info
from sadcodec.engine import describe_backend, load_backend
from sadcodec.errors import OptionError, TargetError
from sadcodec.job import Job
from sadcodec.metrics import psnr as psnr_of
from sadcodec.options import start_job
from sadcodec.pixels import Image, check_image
from sadcodec.rate import first_count, fit_sites
from sadcodec.reach import with_reach
from sadcodec.sites import Sites
from sadcodec.targets.target import encode_to_target, size_of

__all__ = [
    "EncodeReport",
    "decode",
    "decode_with_report",
    "describe_backend",
    "encode",
    "encode_with_report",
    "fit_diagram",
    "info",
    "load_backend",
    "metadata",
    "metadata_left",
]

# Rate from which other codecs keep more of photographs (docs/RATE_DISTORTION.md), and the smallest
# image of which that is worth saying.
_RATE_FOR_OTHERS = 1.5
_FEWEST_PIXELS = 1 << 16


@dataclass(frozen=True)
class EncodeReport:
    """What an encode did.

    Attributes
    ----------
    bytes : int
        Size of the file, header included.
    bpp : float
        8 x bytes / pixels.
    psnr : float
        PSNR in dB of the decoded file against the image, over all channels of the code values, the
        colours multiplied by alpha if there is one; infinite for equal images.
    fit_psnr : float
        The same for the fitted diagram before quantization.
    sites : int
    iterations : int
        Of the fit.
    seconds, fit_seconds : float
        Of the whole encode and of the fit alone.
    target, value : str, float
        Kind and value of the target: "quality", "bpp", "size", "psnr" or "sites".
    metric : str
        What was optimized: "psnr" or "ssim".
    weighted_psnr : float or None
        PSNR of the decoded file with each pixel's squared error weighed by the mask, which targets
        are measured by where there is a mask.
    backend : str
    warning : str or None
        Why a target was not met, or that other codecs do better at such a rate.
    recipe : str
        Of the fit: "default" or "paper".
    metadata_bytes : int
        Of the file, what ICC profile, Exif and XMP take.
    """

    bytes: int
    bpp: float
    psnr: float
    fit_psnr: float
    sites: int
    iterations: int
    seconds: float
    fit_seconds: float
    target: str
    value: float
    metric: str
    backend: str
    warning: str | None = None
    recipe: str = "default"
    weighted_psnr: float | None = None
    metadata_bytes: int = 0


def encode_with_report(
    image: Image,
    *,
    strict: bool = False,
    metadata: Mapping[str, bytes] | None = None,
    **options: Any,
) -> tuple[bytes, EncodeReport]:
    """Encode an image; like `encode`, which has the options and what is raised, with a report.

    Returns
    -------
    data : bytes
    report : EncodeReport
    """
    start = perf_counter()
    image = check_image(image)
    chunks = chunks_of(metadata or {})
    job, kind, value = start_job(image, attached=bitstream.chunks_size(chunks), **options)
    encoding = encode_to_target(job, kind, value)
    if strict and encoding.warning:
        raise TargetError(encoding.warning)
    engine, importance = job.backend, job.importance
    symbols, header = encoding.symbols, job.header
    pixels = job.pixels
    data = with_reach(bitstream.write(encoding.header, symbols, chunks), engine.threads)
    decoded, refused = draw_new(engine, encoding.header, symbols, len(data))
    drawn = (Sites(encoding.fit_params), header.width, header.height, header.k)
    fitted = engine.render(*drawn, bit_depth=header.bit_depth)
    counted = None if importance is None else importance.mask
    job.report(1.0, "done")
    report = EncodeReport(
        bytes=len(data),
        bpp=8.0 * len(data) / pixels,
        psnr=psnr_of(image, decoded),
        fit_psnr=psnr_of(image, fitted),
        sites=len(symbols),
        iterations=job.iterations,
        seconds=perf_counter() - start,
        fit_seconds=encoding.fit_seconds,
        target=kind,
        value=value,
        metric=job.metric,
        backend=engine.name,
        warning=refused or encoding.warning or _advice(len(data) - job.attached, pixels),
        recipe=job.recipe,
        weighted_psnr=None if counted is None else psnr_of(image, decoded, weights=counted),
        metadata_bytes=job.attached,
    )
    return data, report


def fit_diagram(image: Image, *, k: int = DEFAULT_K, **options: Any) -> tuple[Job, Sites]:
    """Fit the sites of an image, as `encode` does before it prepares them for rounding.

    Parameters
    ----------
    image, options
        As of `encode`; the target is one of `sites`, `bpp` and `size`. With `sites`, what they
        cost in a file does not count.
    k : int, 1..MAX_K
        Sites that a pixel blends.

    Returns
    -------
    job : Job
        Its header holds the picture's size, depth and K.
    sites : Sites

    Raises
    ------
    SadError
        As `encode`; OptionError also if the target is another or K out of range.
    """
    if not 1 <= k <= MAX_K:
        raise OptionError(f"K must be 1..{MAX_K}, not {k}")
    job, kind, value = start_job(image, **options)
    job = replace(job, header=replace(job.header, k=k))
    if kind == "sites":
        count = min(max(1, int(value)), job.pixels)
        return job, Sites(fit_sites(job, count, radius=True, rate=False).params)
    size = size_of(job, kind, value)
    if size is None:
        raise OptionError("a fit needs sites, bpp or size")
    return job, Sites(fit_sites(job, first_count(job, size), radius=False, size=size).params)


def _advice(size: int, pixels: int) -> str | None:
    bpp = 8.0 * size / pixels
    if bpp < _RATE_FOR_OTHERS or pixels < _FEWEST_PIXELS:
        return None
    return f"at {bpp:.1f} bpp, AVIF and JPEG 2000 keep more of most photographs"


def encode(image: Image, **options: Any) -> bytes:
    """Encode an image into the bytes of a ``.sad`` file.

    Parameters
    ----------
    image : uint8 or uint16 [H, W] or [H, W, C], C = 1..4
        Gray, gray + alpha, RGB or RGB + alpha.
    quality : float, 0..100
        Price of a site; higher is better, in bytes and PSNR. The default target, at 75.
    bpp : float, > 0
        Bits per pixel of the whole file: met from below, within 0.5 %.
    size : int, > 0
        The same in bytes.
    psnr : float
        PSNR to reach, dB: met from above, within 0.05 dB.
    sites : int, >= 1
        Number of sites; they then have a radius as well.
    metric : str
        What is optimized: "psnr", or "ssim", which spends the bytes on structure where contrast is
        low and costs PSNR. A `psnr` target stays one of PSNR.
    recipe : str
        How the sites are fitted: "default", or "paper", the authors' schedule of 4000 iterations,
        for research: with a `sites` target, on the CPU.
    effort : int, 1..9
    seed : int, 0..2^32 - 1
    threads : int, optional
        All processors by default. Has no influence on the bytes.
    backend : str
        "cpu"; "cuda" or "cuda:N", a GPU; "reference", very slow; or "auto": a GPU if there is one
        that can be used, else the CPU.
    coder : str
        "range", or "zstd" for a payload that any zstd library unpacks.
    groups : int, 1..256, optional
        Parts of the picture that are coded alone: damage to a file then costs one of them
        (`decode` with `repair`), and a region is read from those that matter there. Each takes 70
        to 410 bytes. By default one; of the coder "range",
        from 131,072 sites on, groups of at most 1,536 sites. With `progressive`: of each layer.
    progressive : int, 2..16, optional
        Layers, of which the first ones are a rough picture (`decode` with `layers`): each but the
        first has 60 % of the sites up to its end. The same sites take 6 to 9 % more bytes in 2
        layers, 9 to 14 % in 4. By default there are none. Of few sites there may be fewer.
    topk : str, optional
        How the fits find the sites of a pixel: "exact", or "propagate" for the approximate map of
        the paper, for research: its default with the recipe "paper" on the CPU. Decoding is exact
        either way.
    mask : bool, integer or float [H, W], >= 0, optional
        How much the squared error of each pixel counts: black (0) pixels may become anything. Only
        ratios matter. Targets of quality and PSNR are measured with it.
    roi : sequence of (x, y, width, height) or (x, y, width, height, strength)
        Rectangles, in px, that get more of the sites: errors there count `strength` times, 1..100
        (default 4). Where they overlap, the strongest counts. PSNR is measured without them.
    strict : bool
        Raise an error where the target cannot be met, instead of returning the nearest file.
    metadata : mapping of str to bytes, optional
        "icc_profile", "exif" and "xmp", for the file to carry; `sadcodec.metadata` returns them.
        Their bytes, compressed, count towards `bpp` and `size`.
    progress : callable(share, message), optional

    Returns
    -------
    bytes
        The same for the same image, options, seed and backend.

    Raises
    ------
    OptionError
        If an option is out of range, more than one target is given, or metadata has another name.
    InputError
        If the image has another shape or type, or the mask another size than the image, or if it is
        black everywhere.
    LimitError
        If the image has more than 2^26 pixels, or metadata more than 2^24 bytes of a kind.
    TargetError
        If `strict` and the target cannot be met, or if metadata alone takes the bytes of it.
    BackendError
        If the backend is not available.

    Warns
    -----
    BackendWarning
        If CuPy is installed and "auto" still has to use the CPU; once in a process.
    """
    return encode_with_report(image, **options)[0]
