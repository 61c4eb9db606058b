"""Any target: which of them the options of an encode name, and the file that meets it."""

from __future__ import annotations

from collections.abc import Mapping

from sadcodec.errors import OptionError, TargetError
from sadcodec.job import Job, bytes_at
from sadcodec.rate import Encoding, encode_to_sites, encode_to_size, size_warning
from sadcodec.refine import coded_size
from sadcodec.targets.one_color import encode_one_color, is_one_color
from sadcodec.targets.psnr import encode_to_psnr, psnr_of, psnr_warning
from sadcodec.targets.quality import encode_to_quality

__all__ = ["DEFAULT_QUALITY", "encode_to_target", "size_of", "target_of"]

DEFAULT_QUALITY = 75.0


def target_of(given: Mapping[str, float | None]) -> tuple[str, float]:
    """Return kind and value of the one target that was given, or of the default, a quality.

    Parameters
    ----------
    given : mapping of str to float or None
        The values of "quality", "bpp", "size", "psnr" and "sites", as of `sadcodec.encode`.

    Raises
    ------
    OptionError
        If there are several, or one is out of range.
    """
    chosen = [(name, value) for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise OptionError(f"only one of {', '.join(name for name, _ in chosen)} can be given")
    if not chosen:
        return "quality", DEFAULT_QUALITY
    name, value = chosen[0]
    bounds = {"quality": (0.0, 100.0), "psnr": (0.0, 100.0)}
    low, high = bounds.get(name, (0.0, 1e15))
    if not low <= value <= high or (value == 0.0 and name != "quality"):
        raise OptionError(f"{name} is {value}, which is out of range")
    return name, float(value)


def size_of(job: Job, kind: str, value: float) -> int | None:
    """Return the bytes of a file that a target of kind "bpp" or "size" allows; None of others."""
    if kind == "bpp":
        return bytes_at(value, job.pixels)
    return max(1, int(value)) if kind == "size" else None


def encode_to_target(job: Job, kind: str, value: float) -> Encoding:
    """Encode to a target as `target_of` names it; the bytes of metadata count.

    Raises
    ------
    TargetError
        If metadata alone takes the bytes of it.
    """
    size = size_of(job, kind, value)
    if size is not None:
        if size <= job.attached:
            raise TargetError(f"metadata takes {job.attached} bytes, which leaves none of {size}")
        size -= job.attached
    if kind == "sites":
        return encode_to_sites(job, max(1, int(value)), radius=True)
    if is_one_color(job):
        return _encode_one_color(job, size, value if kind == "psnr" else None)
    if size is not None:
        return encode_to_size(job, size)
    if kind == "psnr":
        return encode_to_psnr(job, value)
    return encode_to_quality(job, value)


def _encode_one_color(job: Job, size: int | None, psnr: float | None) -> Encoding:
    """Encode an image of one colour, and say how far that is from a target of bytes or dB."""
    encoding = encode_one_color(job, size)
    if size is not None:
        encoding.warning = size_warning(job, coded_size(encoding.header, encoding.symbols), size)
    elif psnr is not None:
        encoding.warning = psnr_warning(psnr, psnr_of(job, encoding))
    return encoding
