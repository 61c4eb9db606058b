"""One row of a sweep: a file coded, decoded and measured, or why it was not."""

from __future__ import annotations

from dataclasses import dataclass

from sadcodec import __version__

__all__ = ["KINDS", "METRIC_COLUMNS", "OURS", "Key", "Row", "printable"]

KINDS = ("bpp", "psnr", "quality", "sites", "size")
OURS = "sad"  # the codec that is this package's

# The column of each metric that can be asked for.
METRIC_COLUMNS = {
    "psnr": "psnr_db",
    "ssim": "ssim",
    "ms-ssim": "ms_ssim",
    "ssimulacra2": "ssimulacra2",
    "lpips": "lpips",
}

Key = tuple[str, str, str, float, int]  # image, codec, setting, value, repeat


@dataclass(frozen=True)
class Row:
    """One file coded, or one failure; the columns of the CSV, in this order.

    Attributes
    ----------
    image : str
        File name without folder, control characters as escapes; ``stdin`` for ``-``.
    width, height : int or None
        px; None if the image could not be read.
    codec : str
        ``sad``, or the name of another codec.
    setting : str
        What was asked for: one of `KINDS`.
    value : float
        How much of it: bits per pixel, dB, quality 0..100 on the codec's own scale, sites,
        or bytes.
    effort, seed : int or None
        Of ``sad``; None for other codecs. The seed is that of the sweep plus `repeat`.
    backend : str
        As asked for, ``auto`` included; empty for other codecs.
    metric : str
        What was optimized: "psnr" or "ssim"; empty for other codecs.
    bytes : int or None
        Length of the whole file.
    bpp : float or None
        8 bytes / (width height).
    psnr_db : float or None
        Of the decoded file against the image, over all channels; inf if identical.
    ssim : float or None
        The same by `sadcodec.metrics.ssim`; None for images it does not take.
    fit_psnr_db : float or None
        Of the fitted diagram before quantization, as the encoder reports it.
    sites : int or None
    encode_s, decode_s : float or None
        Wall-clock seconds in this process, reading and writing of files excluded.
    error : str
        Empty, or one line; the measured columns are then None.
    version : str
        Of this package.
    ms_ssim, ssimulacra2, lpips : float or None
        As `ssim`, by these metrics; None if not asked for.
    codec_version : str
        Of the codec: of this package, or of the library that coded. Empty if unknown.
    detail : str
        How another codec met the setting, e.g. its own quality and the subsampling.
    repeat : int
        0 .. repeats - 1.
    measured : str
        The metrics that were asked for, separated by spaces.
    """

    image: str
    width: int | None
    height: int | None
    codec: str
    setting: str
    value: float
    effort: int | None
    seed: int | None
    backend: str
    metric: str = "psnr"
    bytes: int | None = None
    bpp: float | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    fit_psnr_db: float | None = None
    sites: int | None = None
    encode_s: float | None = None
    decode_s: float | None = None
    error: str = ""
    version: str = __version__
    ms_ssim: float | None = None
    ssimulacra2: float | None = None
    lpips: float | None = None
    codec_version: str = ""
    detail: str = ""
    repeat: int = 0
    measured: str = "psnr ssim"

    @property
    def key(self) -> Key:
        """What no two rows of a sweep have in common."""
        # As many digits as files of rows keep.
        value = float(f"{self.value:.10g}")
        return (self.image, self.codec, self.setting, value, self.repeat)


def printable(text: str) -> str:
    """Return text on one line, control characters and undecodable bytes as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text
    )
