"""One codec at one target: the setting is looked for, the file of it is measured."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import metrics
from sadcodec.errors import InputError, OptionError
from sadcodec.evaluate.codecs.formats import FORMATS, Format, Setting
from sadcodec.progress import Progress

__all__ = ["PEERS", "Peer", "PeerFile", "peer"]

PEERS = tuple(FORMATS)


_LIMITS = {"bpp": math.inf, "size": math.inf, "psnr": math.inf, "quality": 100.0}


@dataclass(frozen=True)
class PeerFile:
    """A file of another codec.

    Attributes
    ----------
    data : bytes
        The whole file.
    decoded : ndarray
        Its pixels, read back from `data`; shape and dtype of the image.
    encode_s, decode_s : float
        Seconds of one encode at the final setting, without the search for it, and of one decode;
        one thread, in memory.
    detail : str
        The setting in the codec's own terms: ``quality 42, 4:2:0``; then the warning, if any.
    warning : str
        Empty; or one line, if the target is out of reach and this is the nearest file.
    """

    data: bytes
    decoded: NDArray[Any]
    encode_s: float
    decode_s: float
    detail: str
    warning: str = ""


def peer(name: str) -> Peer:
    """Return a codec by its name.

    Parameters
    ----------
    name : str
        One of `PEERS`.

    Raises
    ------
    OptionError
        If there is none of that name.
    BackendError
        If its library is not installed; the message says what to install.
    """
    if name not in PEERS:
        raise OptionError(f"codec must be one of {', '.join(PEERS)}, not {name!r}")
    return _peer(name)


@cache
def _peer(name: str) -> Peer:
    FORMATS[name].check()
    return Peer(FORMATS[name])


@dataclass
class _Trial:
    """What is known of one setting on one image."""

    size: int
    psnr: float | None = None


class _Trials:
    """The settings of a format tried on one image so far.

    Another target of the same image starts with the same settings; these are not encoded again.
    Nothing is found that would not be found without.
    """

    def __init__(
        self,
        made: Format,
        image: NDArray[Any],
        known: dict[Setting, _Trial],
        report: Callable[[str], None],
    ) -> None:
        self._format, self._image, self._known, self._report = made, image, known, report

    def size(self, setting: Setting) -> int:
        """Bytes of the file."""
        if setting not in self._known:
            self._report(setting.text)
            data, _ = self._format.encode(self._image, setting)
            self._known[setting] = _Trial(len(data))
        return self._known[setting].size

    def psnr(self, setting: Setting) -> float:
        """PSNR of the decoded file in dB."""
        trial = self._known.get(setting)
        if trial is None or trial.psnr is None:
            self._report(setting.text)
            data, _ = self._format.encode(self._image, setting)
            decoded, _ = self._format.decode(data, self._image)
            trial = self._known[setting] = _Trial(len(data), metrics.psnr(self._image, decoded))
        assert trial.psnr is not None  # noqa: S101 (for the type checker)
        return trial.psnr


class Peer:
    """A codec that the files of this package are compared with.

    Attributes
    ----------
    name : str
        One of `PEERS`.
    extension : str
        Of its files, with the dot.
    version : str
        Of the library, and of what calls it.
    """

    def __init__(self, made: Format) -> None:
        self._format = made
        self.name, self.extension, self.version = made.name, made.extension, made.version()
        self._digest = b""
        self._known: dict[Setting, _Trial] = {}  # of the image of that digest

    def __reduce__(self) -> tuple[Callable[[str], Peer], tuple[str]]:
        return peer, (self.name,)

    def code(
        self, image: NDArray[Any], kind: str, value: float, progress: Progress | None = None
    ) -> PeerFile:
        """Encode an image at a target, and decode the file.

        For "bpp" and "size": by bisection over the codec's own quality parameter, the highest
        setting whose file is not larger; of several chroma subsamplings the one of higher PSNR.
        For "psnr": the lowest setting that is not under it; of several subsamplings the smaller
        file. For "quality": that quality on the codec's own scale, with its usual 4:2:0; it says
        nothing about `sadcodec.encode`'s, and JPEG 2000's is a PSNR in dB that OpenJPEG estimates.

        Parameters
        ----------
        image : uint8 or uint16 [H, W] or [H, W, C], C = 1..4
        kind : str
            "bpp" (bits per pixel), "size" (bytes), "psnr" (dB over all channels) or "quality"
            (0..100).
        value : float
        progress : callable (fraction 0..1, message), optional

        Returns
        -------
        PeerFile
            A target out of reach gives the nearest file, and a warning.

        Raises
        ------
        OptionError
            If the kind is another ("sites" has no meaning for these), or the value not in range.
        InputError
            If the codec cannot take an image of this kind or size.
        """
        if kind not in _LIMITS:
            raise OptionError(
                f"{self._format.title} cannot be given {kind}, only {', '.join(_LIMITS)}"
            )
        if not 0 <= value <= _LIMITS[kind] or math.isinf(value):
            raise OptionError(f"{kind} of {value:g} is out of range")
        _check(image)
        self._format.mode_of(image)  # refuse the image before any work
        channels = 1 if image.ndim == 2 else image.shape[2]
        variants = self._format.variants(channels)
        searched = 1 if kind == "quality" else len(variants) * (self._format.steps.bit_length() + 1)
        report = _counter(searched, f"{self._format.title} ", progress)
        trials = _Trials(self._format, image, self._known_of(image), report)
        warning = ""
        if kind == "quality":
            setting = self._format.at_quality(value, variants[0])
        elif kind == "psnr":
            setting, warning = self._at_psnr(trials, variants, value)
        else:
            pixels = image.shape[0] * image.shape[1]
            size = math.floor(value * pixels / 8 if kind == "bpp" else value)
            setting, warning = self._at_size(trials, variants, size)
        data, encode_s = self._format.encode(image, setting)
        decoded, decode_s = self._format.decode(data, image)
        if progress is not None:
            progress(1.0, f"{self._format.title} {setting.text}")
        detail = "; ".join(filter(None, (setting.text, warning)))
        return PeerFile(data, decoded, encode_s, decode_s, detail, warning)

    def decode(self, data: bytes, image: NDArray[Any]) -> NDArray[Any]:
        """Decode a file of this codec.

        Parameters
        ----------
        data : bytes
        image : uint8 or uint16 [H, W] or [H, W, C]
            What the file was made of: the pixels come in its shape and type.

        Raises
        ------
        InputError
            If the file cannot be decoded.
        """
        return self._format.decode(data, image)[0]

    def _known_of(self, image: NDArray[Any]) -> dict[Setting, _Trial]:
        about = f"{image.shape} {image.dtype}".encode()
        digest = hashlib.sha256(about + image.tobytes()).digest()
        if digest != self._digest:
            self._digest, self._known = digest, {}
        return self._known

    def _at_size(
        self, trials: _Trials, variants: tuple[str, ...], size: int
    ) -> tuple[Setting, str]:
        steps = self._format.steps
        fitting = []
        near = None
        for variant in variants:
            step = _last(steps, self._within(trials, variant, size), near)
            near = max(step, 0)  # the next one's is not far from it
            if step >= 0:
                fitting.append((self._format.setting(step, variant), step))
        if not fitting:
            smallest = min((self._format.setting(0, v) for v in variants), key=trials.size)
            least = trials.size(smallest)
            return smallest, f"cannot be encoded in {size} bytes; the smallest file takes {least}"
        best, step = fitting[0]
        if len(fitting) > 1:
            best, step = max(fitting, key=lambda found: trials.psnr(found[0]))
        if step == steps - 1 and trials.size(best) < size:
            return best, f"{size} bytes are more than its largest file takes: {trials.size(best)}"
        return best, ""

    def _within(self, trials: _Trials, variant: str, size: int) -> Callable[[int], bool]:
        return lambda step: trials.size(self._format.setting(step, variant)) <= size

    def _under(self, trials: _Trials, variant: str, psnr: float) -> Callable[[int], bool]:
        return lambda step: trials.psnr(self._format.setting(step, variant)) < psnr

    def _at_psnr(
        self, trials: _Trials, variants: tuple[str, ...], psnr: float
    ) -> tuple[Setting, str]:
        steps = self._format.steps
        found = []
        near = None
        for variant in variants:
            under = _last(steps, self._under(trials, variant, psnr), near)
            near = max(under, 0)
            if under + 1 < steps:
                found.append(self._format.setting(under + 1, variant))
        if found:
            return min(found, key=trials.size), ""
        best = max((self._format.setting(steps - 1, v) for v in variants), key=trials.psnr)
        return best, f"{psnr:g} dB is out of reach; {trials.psnr(best):.2f} dB is the nearest"


def _last(count: int, holds: Callable[[int], bool], near: int | None = None) -> int:
    """Return the last of 0..count - 1 that a condition holds for, as it does up to there; or -1.

    By bisection, in a range that grows from `near`, if that is given, until it holds the answer.
    """
    low, high = -1, count
    reach = 1
    while near is not None and low < near < high:
        if holds(near):
            low, near = near, near + reach
        else:
            high, near = near, near - reach
        reach *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _counter(expected: int, prefix: str, progress: Progress | None) -> Callable[[str], None]:
    done = 0

    def report(text: str) -> None:
        nonlocal done
        if progress is not None:
            progress(min(done / expected, 1.0), prefix + text)
        done += 1

    return report


def _check(image: NDArray[Any]) -> None:
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"an image must be uint8 or uint16, not {image.dtype}")
    if image.ndim not in (2, 3) or image.size == 0 or image.shape[2:] > (4,):
        raise InputError(f"an image must be [H, W] or [H, W, C] with C = 1..4, not {image.shape}")
