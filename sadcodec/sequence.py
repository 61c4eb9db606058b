"""Sequences: frames of one size in a file, each from the one before where that is cheaper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import bitstream
from sadcodec.attachments import chunks_of
from sadcodec.backends.base import Backend
from sadcodec.bitstream import MAX_CHAIN, MAX_FRAMES, Frame
from sadcodec.bitstream.container import CHUNK_OVERHEAD
from sadcodec.decoding import as_bytes, default_work, limits_for
from sadcodec.engine import engine_for
from sadcodec.errors import BitstreamError, InputError, OptionError
from sadcodec.follow import follow
from sadcodec.frame import frame_of
from sadcodec.job import Job
from sadcodec.metrics import psnr
from sadcodec.options import start_job
from sadcodec.pixels import Image, check_image
from sadcodec.processors import default_threads
from sadcodec.quantize import dequantize, to_table
from sadcodec.rate_term import BITS_PER_SITE
from sadcodec.refine import draw
from sadcodec.targets.target import encode_to_target

__all__ = [
    "DEFAULT_INTERVAL",
    "FrameReport",
    "SequenceReport",
    "decode_frames",
    "encode_sequence",
    "encode_sequence_with_report",
]

DEFAULT_INTERVAL = 60
_MOSTLY = 0.8  # share of the sites that changed from which a key frame may be cheaper
_FALLEN = 1.0  # dB under the key frame from which it may be, too
_ENTRY = 4  # bytes of the index for each frame


@dataclass(frozen=True)
class FrameReport:
    """What became of one frame.

    Attributes
    ----------
    key : bool
        Whether it is a whole diagram.
    bytes : int
        Of its chunk and of its entry in the index.
    psnr : float
        In dB, over all channels of the code values.
    sites : int
    changed : int
        Sites that differ from the frame before, or are new; all of a key frame.
    seconds : float
    """

    key: bool
    bytes: int
    psnr: float
    sites: int
    changed: int
    seconds: float


@dataclass(frozen=True)
class SequenceReport:
    """What an encode of a sequence did.

    Attributes
    ----------
    bytes : int
    bpp : float
        8 x bytes / pixels of all frames.
    psnr : float
        Mean of the frames.
    seconds : float
    backend : str
    frames : tuple of FrameReport
    warning : str or None
        Why the first key frame that misses its target does so.
    """

    bytes: int
    bpp: float
    psnr: float
    seconds: float
    backend: str
    frames: tuple[FrameReport, ...]
    warning: str | None = None


@dataclass(frozen=True, eq=False)
class _Coded:
    """One frame, coded."""

    content: bytes | tuple[bytes, int]  # as write_sequence takes it
    frame: Frame
    picture: Image
    error: float  # squared, in 0..1 units, as the objective weighs it
    key: bool
    warning: str | None = None  # of a key frame that misses its target

    @property
    def bytes(self) -> int:
        held = self.content if isinstance(self.content, bytes) else self.content[0]
        return len(held) + CHUNK_OVERHEAD + _ENTRY + (4 if self.key else 8)


class _Encoder:
    """Frames one after the other."""

    def __init__(self, interval: int, options: dict[str, Any]) -> None:
        self.backend = ""  # its name, from the first frame on
        self._interval, self._options = interval, options
        self._last: _Coded | None = None
        self._image: Image | None = None
        self._price = self._share = self._key_psnr = 0.0
        self._since = 0  # frames since the key frame
        self._wait = self._pause = 0  # frames until another trial of a key frame; and the next wait

    def add(self, image: Image) -> _Coded:
        job, kind, value = start_job(image, **self._options)
        self.backend = job.backend.name
        last, same = self._last, self._image is not None and np.array_equal(image, self._image)
        self._since += 1
        if last is None or self._since >= self._interval:
            coded = self._key(job, kind, value)
        elif same:
            rows = to_table(last.frame.symbols)
            coded = self._delta(job, rows, np.arange(len(rows), dtype=np.int32))
        else:
            coded = self._delta(job, *follow(job, last.frame, self._price, self._share))
            coded = self._better(coded, job, image, kind, value)
        if coded.key:
            self._since = self._wait = self._pause = 0
            self._share = coded.error / len(coded.frame.symbols)
            self._price = self._share / BITS_PER_SITE
            self._key_psnr = psnr(image, coded.picture)
        self._last, self._image = coded, image
        return coded

    def _better(self, delta: _Coded, job: Job, image: Image, kind: str, value: float) -> _Coded:
        """Return the delta frame, or a key frame where that is better at the same price of bits.

        A key frame is tried where nearly all changed or much was lost; after one that was not
        better, twice as many frames later as the last time.
        """
        mostly = delta.frame.changed.mean() > _MOSTLY
        fallen = psnr(image, delta.picture) < self._key_psnr - _FALLEN
        self._wait -= 1
        if self._wait > 0 or not (mostly or fallen):
            return delta
        key = self._key(job, kind, value)
        price = 8.0 * self._price
        if key.error + price * key.bytes < delta.error + price * delta.bytes:
            return key
        self._pause = max(1, 2 * self._pause)
        self._wait = self._pause + 1
        return delta

    def _key(self, job: Job, kind: str, value: float) -> _Coded:
        encoding = encode_to_target(job, kind, value)
        data = bitstream.write(encoding.header, encoding.symbols)
        coded = self._coded(job, data, Frame.of_key(data), key=True)
        return replace(coded, warning=encoding.warning)

    def _delta(self, job: Job, rows: NDArray[np.int32], source: NDArray[np.int32]) -> _Coded:
        assert self._last is not None  # noqa: S101  (there is a key frame first)
        payload, frame = self._last.frame.delta(rows, source)
        return self._coded(job, (payload, len(rows)), frame, key=False)

    def _coded(self, job: Job, content: Any, frame: Frame, *, key: bool) -> _Coded:
        h = frame.header
        picture = draw(job.backend, h, frame.symbols)
        params = dequantize(frame.symbols, h.width, h.height, h.quantizer).params
        objective = job.objective(params)
        white = float((1 << h.bit_depth) - 1)
        squared = (picture / white - objective.target) ** 2
        if objective.weights is not None:
            squared *= objective.weights[:, :, None]
        return _Coded(content, frame, picture, float(squared.sum()), key)


def encode_sequence(frames: Iterable[Image], **options: Any) -> bytes:
    """Encode frames into the bytes of one ``.sad`` file.

    Parameters
    ----------
    frames : iterable of uint8 or uint16 [H, W] or [H, W, C]
        All of one size, number of channels and type; taken one at a time.
    key_interval : int, 1..256
        A frame that is coded by itself at least every so many; 60 by default. 1: all are.
    metadata : mapping of str to bytes, optional
        As for `sadcodec.encode`, of all frames together. No target counts it.
    options
        Those of `sadcodec.encode`. A target is one of each key frame; the frames between have the
        price of a bit that their key frame had.

    Returns
    -------
    bytes
        The same for the same frames, options and backend.

    Raises
    ------
    InputError
        If there are no frames, more than 65,536, or one differs from the first in size or type.
    OptionError, LimitError, BackendError
        As `sadcodec.encode`. The recipe paper and `strict` do not go with sequences; the coder zstd
        is that of key frames alone.
    """
    return encode_sequence_with_report(frames, **options)[0]


def encode_sequence_with_report(
    frames: Iterable[Image],
    *,
    key_interval: int = DEFAULT_INTERVAL,
    metadata: Mapping[str, bytes] | None = None,
    **options: Any,
) -> tuple[bytes, SequenceReport]:
    """Encode frames; like `encode_sequence`, which raises the same, with a report.

    Returns
    -------
    data : bytes
    report : SequenceReport
    """
    start = perf_counter()
    if not 1 <= key_interval <= MAX_CHAIN + 1:
        raise OptionError(f"key_interval must be 1..{MAX_CHAIN + 1}, not {key_interval}")
    if options.get("recipe", "default") != "default":
        raise OptionError("the recipe paper does not go with sequences")
    if options.get("progressive") is not None:
        raise OptionError("a sequence is not progressive")
    chunks = chunks_of(metadata or {})
    encoder = _Encoder(key_interval, options)
    contents: list[bytes | tuple[bytes, int]] = []
    reports: list[FrameReport] = []
    warning = None
    first: Image | None = None
    pixels = 0
    for number, given in enumerate(frames):
        if number == MAX_FRAMES:
            raise InputError(f"a sequence has at most {MAX_FRAMES} frames")
        began = perf_counter()
        image = check_image(given)
        first = image if first is None else first
        if (image.shape, image.dtype) != (first.shape, first.dtype):
            raise InputError(f"frame {number} is {_kind(image)}, the first {_kind(first)}")
        coded = encoder.add(image)
        if coded.warning and warning is None:
            warning = f"frame {number}: {coded.warning}"
        contents.append(coded.content)
        frame = coded.frame
        reports.append(
            FrameReport(
                key=coded.key,
                bytes=coded.bytes,
                psnr=psnr(image, coded.picture),
                sites=len(frame.symbols),
                changed=len(frame.symbols) if coded.key else int(frame.changed.sum()),
                seconds=perf_counter() - began,
            )
        )
        pixels += image.shape[0] * image.shape[1]
    if not contents:
        raise InputError("a sequence has at least one frame")
    data = bitstream.insert_chunks(bitstream.write_sequence(contents), chunks)
    report = SequenceReport(
        bytes=len(data),
        bpp=8.0 * len(data) / pixels,
        psnr=float(np.mean([frame.psnr for frame in reports])),
        seconds=perf_counter() - start,
        backend=encoder.backend,
        frames=tuple(reports),
        warning=warning,
    )
    return data, report


def _kind(image: Image) -> str:
    height, width, channels = image.shape
    return f"{width} x {height} with {channels} channels of {8 * image.dtype.itemsize} bits"


def decode_frames(
    data: bytes,
    *,
    start: int = 0,
    backend: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
) -> Iterator[Image]:
    """Decode the frames of a sequence from frame `start` on, one at a time.

    Parameters
    ----------
    data, backend, threads, max_pixels, max_work
        As for `sadcodec.decode`.
    start : int, >= 0
        Nothing before the last key frame up to there is decoded.

    Yields
    ------
    uint8 or uint16 [H, W, C]

    Raises
    ------
    BitstreamError
        If the file is damaged, cut short or holds no sequence.
    OptionError
        If there is no frame `start`.
    LimitError, BackendError
        As `sadcodec.decode`.
    """
    engine = engine_for(backend, threads, "decode")
    content, limits = as_bytes(data), limits_for(max_pixels)
    if bitstream.is_composition(content, limits):
        yield from _composed(content, limits, start, engine, max_work)
        return
    sequence = bitstream.open_sequence(content, limits)
    if sequence is None:
        raise BitstreamError("holds a single picture, not a sequence")
    work = max_work
    if work is None:  # each frame may take what a file of its share of the bytes may
        work = default_work(sequence.header, len(data) // len(sequence))
    for frame in sequence.frames(threads or default_threads(), start):
        yield draw(engine, frame.header, frame.symbols, work)


def _composed(
    content: bytes, limits: bitstream.Limits, start: int, engine: Backend, max_work: int | None
) -> Iterator[Image]:
    """Draw the frames of a composition."""
    from sadcodec.compose import drawing

    file = bitstream.open_composition(content, limits)
    if file is None or len(file) == 1:
        raise BitstreamError("holds a single picture, not a sequence")
    whole = frame_of(file.header.width, file.header.height)
    pixels = whole.width * whole.height
    work = drawing.default_work(len(content), pixels) if max_work is None else max_work
    options: dict[str, Any] = {"backend": engine.name, "threads": engine.threads}
    for picture, _ in drawing.draw_frames(file, start, whole, max_work=work, **options):
        yield picture
