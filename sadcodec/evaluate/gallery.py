"""What a report shows of an image: the original, the decoded file, and views of the diagram."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import files, image_io, views
from sadcodec.diagram import open_diagram
from sadcodec.errors import SadError
from sadcodec.evaluate.comparison import target_name
from sadcodec.evaluate.plan import image_name
from sadcodec.evaluate.row import OURS, Row
from sadcodec.progress import Progress

__all__ = ["Exhibit", "Gallery", "Picture", "exhibit", "middle"]


_MAX_WEBP_SIDE = 16383
# Files of other codecs that browsers show: small as they are, no need to decode them here.
_SHOWN_BY_BROWSERS = {"jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes
    ----------
    label : str
        One or two words, different for all pictures of an exhibit.
    caption : str
        What it shows, with its scale.
    mime : str
        ``image/webp`` or ``image/png``; of other codecs also their own.
    data : bytes
        The file: lossless, or that of another codec as it is.
    """

    label: str
    caption: str
    mime: str
    data: bytes

    @property
    def uri(self) -> str:
        """The file as a data URI."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Exhibit:
    """The pictures of one image at one target, all of one size.

    Attributes
    ----------
    image : str
        Name of the image.
    target : str
        What was asked for.
    facts : str
        What came of it: bytes, rate, quality.
    width, height : int, px
    pictures : tuple of Picture
        The original first, then the decoded file of ours, those of others, and the views.
    """

    image: str
    target: str
    facts: str
    width: int
    height: int
    pictures: tuple[Picture, ...]


class Gallery:
    """Keeps the coded files of a sweep that a report shows, and makes its exhibits.

    Parameters
    ----------
    targets : iterable of (setting, value)
        The targets to be shown, see `middle`; rows at others are not kept.
    """

    def __init__(self, targets: Iterable[tuple[str, float]]) -> None:
        self._targets = set(targets)
        self._kept: dict[str, list[tuple[Row, bytes]]] = {}

    def receive(self, row: Row, data: bytes) -> None:
        """Keep the file of a row if it is at one of the targets; the first of several repeats."""
        kept = self._kept.setdefault(row.image, [])
        known = {(each.codec, each.setting, each.value) for each, _ in kept}
        wanted = (row.setting, row.value) in self._targets
        if wanted and not row.error and (row.codec, row.setting, row.value) not in known:
            kept.append((row, data))

    def exhibits(
        self,
        paths: Sequence[str],
        backend: str = "auto",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> list[Exhibit]:
        """Return the exhibits, images in the order of their paths, targets rising.

        Parameters
        ----------
        paths : sequence of path
            The images of the sweep, which are read again. One that cannot be, has changed its size
            or came from standard input has no exhibit; nor has one that ``sad`` did not code.
        backend, threads
            As for `sadcodec.decode`.
        progress : callable (fraction 0..1, message), optional
        """
        found = []
        for nth, path in enumerate(paths):
            if progress is not None:
                progress(nth / len(paths), f"pictures of {image_name(path)}")
            kept = self._kept.get(image_name(path), [])
            ours = [each for each in kept if each[0].codec == OURS]
            if not ours or path == files.STANDARD:
                continue
            try:
                original = image_io.decode_image(files.read_input(path))
            except (SadError, MemoryError):
                continue
            for row, data in sorted(ours, key=lambda each: (each[0].setting, each[0].value)):
                target = (row.setting, row.value)
                others = [
                    each
                    for each in kept
                    if each[0].codec != OURS and (each[0].setting, each[0].value) == target
                ]
                if original.shape[:2] == (row.height, row.width):
                    found.append(
                        exhibit(
                            row, original, data, others=others, backend=backend, threads=threads
                        )
                    )
        return found


def middle(values: Iterable[float]) -> float:
    """Return the middle one of some values; of two in the middle, the lower.

    Examples
    --------
    >>> middle([0.1, 1.0, 0.5, 0.2])
    0.2
    """
    ordered = sorted(set(values))
    return ordered[(len(ordered) - 1) // 2]


def exhibit(
    row: Row,
    original: NDArray[Any],
    data: bytes,
    *,
    others: Sequence[tuple[Row, bytes]] = (),
    gain: float = views.DEFAULT_GAIN,
    backend: str = "auto",
    threads: int | None = None,
) -> Exhibit:
    """Make the pictures of one coded file.

    Parameters
    ----------
    row : Row
        Of the file.
    original : uint8 or uint16 [H, W] or [H, W, C]
    data : bytes
        The file.
    others : sequence of (row, data)
        Files of the same image by other codecs, for comparison. One that neither browsers show nor
        `sadcodec.evaluate.codecs` reads here is left out.
    gain : float
        Of the error: see `sadcodec.views.error`.
    backend, threads
        As for `sadcodec.decode`.

    Raises
    ------
    SadError
        If the file cannot be decoded, or is not of this image's size and type.
    """
    diagram = open_diagram(data, backend=backend, threads=threads)
    decoded = diagram.picture()
    inverse, (soft, hard) = diagram.tau()
    pictures = [
        _picture("original", _as_shown(original), views.rgb(original)),
        _picture("decoded", "the decoded file", views.rgb(decoded)),
        *(picture for other in others if (picture := _other(*other, original)) is not None),
        _picture(
            "error",
            f"decoded less original, times {gain:g} around gray",
            views.error(original, decoded, gain=gain),
        ),
        _picture("cells", "the site that weighs most, in its own colour", diagram.cells()),
        _picture(
            "inverse temperature",
            f"log scale from black, {soft:.2g} / px (soft), to white, {hard:.2g} / px (hard)",
            inverse,
        ),
    ]
    height, width = original.shape[:2]
    return Exhibit(
        row.image,
        target_name(row.setting, row.value),
        _facts(row),
        width,
        height,
        tuple(pictures),
    )


def _as_shown(original: NDArray[Any]) -> str:
    """Say what `views.rgb` does to an image."""
    alpha = original.ndim == 3 and original.shape[2] in (2, 4)
    fine = original.dtype == np.uint16
    changes = ["rounded to 8 bits"] * fine + ["alpha over white"] * alpha
    return ", ".join(["the image", *changes])


def _picture(label: str, caption: str, pixels: NDArray[np.uint8]) -> Picture:
    kind = "webp" if max(pixels.shape[:2]) <= _MAX_WEBP_SIDE else "png"
    return Picture(label, caption, f"image/{kind}", image_io.encode_image(pixels, kind))


def _other(row: Row, data: bytes, original: NDArray[Any]) -> Picture | None:
    """Return the picture of another codec's file."""
    caption = _facts(row)
    mime = _SHOWN_BY_BROWSERS.get(row.codec)
    if mime is not None:
        return Picture(row.codec, f"{caption}; the file itself", mime, data)
    from sadcodec.evaluate.codecs import peer

    try:
        return _picture(row.codec, caption, views.rgb(peer(row.codec).decode(data, original)))
    except SadError:
        return None


def _facts(row: Row) -> str:
    facts = [f"{row.bytes} bytes", f"{row.bpp:.4f} bpp", f"PSNR {row.psnr_db:.2f} dB"]
    if row.ssim is not None:
        facts.append(f"SSIM {row.ssim:.4f}")
    if row.sites is not None:
        facts.append(f"{row.sites} sites")
    return ", ".join(facts)
