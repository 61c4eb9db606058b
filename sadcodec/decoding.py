"""Decode: from the bytes of a file to the picture."""

from __future__ import annotations

import warnings
from typing import Any

from sadcodec import bitstream
from sadcodec.backends.base import MAX_WORK, Backend
from sadcodec.bitstream import FileInfo, FirstLayers, Header, Limits, Repair, Symbols
from sadcodec.engine import engine_for
from sadcodec.errors import DamageWarning, InputError, LimitError, OptionError
from sadcodec.frame import frame_of
from sadcodec.pixels import Image
from sadcodec.processors import default_threads
from sadcodec.progress import Progress
from sadcodec.quantize import dequantize
from sadcodec.refine import draw

__all__ = [
    "ANY_SIZE",
    "MAX_PIXELS",
    "as_bytes",
    "check_work",
    "decode",
    "decode_with_report",
    "default_work",
    "draw_new",
    "first_layers",
    "info",
    "limits_for",
]

MAX_PIXELS = Limits().max_pixels  # of a decode, unless the caller allows more
# Of reading sites, whose number their bytes bound: the size of the picture costs nothing.
ANY_SIZE = Limits(max_pixels=1 << 46)
_MOST_WORK = 1 << 14

# Evaluations of sites at pixels, by default: of a file, for every byte of it, and at a pixel.
_WORK_OF_FILE, _WORK_OF_BYTE, _LEAST_WORK = 1 << 32, 1 << 18, 24


def decode(
    data: bytes,
    *,
    region: tuple[int, int, int, int] | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    backend: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
    repair: bool = False,
    frame: int | None = None,
    layers: int | None = None,
) -> Image:
    """Decode the bytes of a ``.sad`` file, or draw a part of it, or draw it at another size.

    Parameters
    ----------
    data : bytes
        Or another object with the buffer interface.
    region : (x, y, width, height), px, optional
        The part of the picture to draw: the pixels that the whole picture has there.
    scale : float > 0, optional
        Draw this many pixels for each of the picture's along both axes: the diagram is sampled
        where it is enlarged, and averaged where it is shrunk (`sadcodec.frame`).
    size : (width, height), px, optional
        Instead of scale: what the region is drawn as.
    backend : str
        As for `encode`, but "auto" is the CPU: it draws a photograph before CuPy is loaded.
        All agree to within 1 code value.
    threads : int, optional
    max_pixels : int, optional
        Largest width x height to accept; 2^28 by default. With a region, scale or size it is how
        many samples may be drawn, and the picture may be larger.
    max_work : int, 0..2^14, optional
        Candidate sites of a pixel, as a mean over the picture, beyond which it is not drawn: bounds
        the time and memory that a hostile file takes (SECURITY.md). By default that of
        `default_work`, 0 for no limit; of the CPU backend alone.
    repair : bool
        Of a damaged file, draw the groups of sites that are whole; `decode_with_report` also says
        what is missing. Other files give the same picture as without. Not of sequences.
    frame : int, >= 0, optional
        Of a sequence, which has no other picture; `sadcodec.decode_frames` gives all of them.
    layers : int, >= 1, optional
        Of a progressive file, draw the first layers alone. What follows them is not looked at, and
        may be missing.

    Returns
    -------
    uint8 or uint16 [H, W, C]

    Raises
    ------
    BitstreamError
        If the file is damaged, cut short or of an unknown version; with `repair`, if its header is
        damaged or no group of sites is left.
    LimitError
        If it is larger, or takes more work to draw, than the limits.
    OptionError
        If the region is not inside the picture, the file has fewer layers, or another argument is
        out of range.
    BackendError
        If the backend is not available.

    Warns
    -----
    DamageWarning
        With `repair`, for every line of the report's `messages`.
    """
    options: dict[str, Any] = {"backend": backend, "threads": threads}
    options |= {"max_pixels": max_pixels, "max_work": max_work, "frame": frame}
    options["layers"] = layers
    options |= {"region": region, "scale": scale, "size": size}
    picture, report = decode_with_report(data, repair=repair, **options)
    for line in report.messages():
        warnings.warn(line, DamageWarning, stacklevel=2)
    return picture


def decode_with_report(
    data: bytes,
    *,
    region: tuple[int, int, int, int] | None = None,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    backend: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
    repair: bool = False,
    progress: Progress | None = None,
    frame: int | None = None,
    layers: int | None = None,
) -> tuple[Image, Repair]:
    """Decode the bytes of a ``.sad`` file; like `decode`, with a report instead of warnings.

    Arguments are those of `decode`, and what is raised.

    `progress` is called with a share of the work in 0..1 and what comes next, as that of `encode`.

    Returns
    -------
    picture : uint8 or uint16 [H, W, C]
    report : sadcodec.bitstream.Repair
        Damage to the file, and the runs of sites that are lost with the boxes of the picture where
        they lay. Without `repair` there is none. With `layers`: what they are of the file.
    """
    engine = engine_for(backend, threads, "decode")
    limits = limits_for(max_pixels)
    check_work(max_work)
    content, workers = as_bytes(data), threads or default_threads()
    tell = progress or (lambda *_: None)
    tell(0.0, "reading sites")
    framed = any(option is not None for option in (region, scale, size))
    reading = ANY_SIZE if framed else limits
    if layers is not None and (repair or frame is not None):
        raise OptionError("layers are not for sequences, and not to be repaired")
    if bitstream.is_composition(content, reading):
        if layers is not None:
            raise OptionError("holds a composition, which has no layers of sites")
        return _composition(
            content, reading, limits, frame, (region, scale, size), engine, max_work
        )
    if frame is not None or bitstream.is_sequence(content, reading):
        header, symbols = _frame(content, reading, workers, frame)
        report = Repair(len(symbols), (), ())
    elif repair:
        header, symbols, report = bitstream.salvage(content, reading, workers)
    else:
        header = bitstream.read_header(content, reading)
        wanted = frame_of(header.width, header.height, region, scale, size)
        wanted.check(limits.max_pixels)  # before the sites are read, which takes a while
        box = None if region is None else wanted.box
        first = None if layers is None else first_layers(content, layers, reading)
        header, symbols = bitstream.read(content, reading, workers, box, layers)
        report = Repair(len(symbols), (), (), first)
    drawn = frame_of(header.width, header.height, region, scale, size)
    drawn.check(limits.max_pixels)
    work = default_work(header, len(content), drawn.samples) if max_work is None else max_work
    tell(0.3, "drawing")
    sites = dequantize(symbols, header.width, header.height, header.quantizer)
    picture = drawn.draw(engine, sites, header.k, header.bit_depth, work)
    tell(1.0, "done")
    return picture, report


def default_work(header: Header, file_bytes: int, samples: int | None = None) -> int:
    """Return the limit of candidate sites of a pixel, as a mean, for a file of this size.

    128, but in pictures that are large for their file fewer, down to 24: a file of a few bytes must
    not take minutes. Below 2^25 pixels, and from 0.004 bits per pixel on, it is 128. Where so many
    `samples` are drawn instead of the whole picture, it goes by them.
    """
    pixels = header.width * header.height if samples is None else samples
    most = (_WORK_OF_FILE + _WORK_OF_BYTE * file_bytes) // pixels
    return min(max(most, _LEAST_WORK), MAX_WORK)


def first_layers(content: bytes, layers: int, limits: Limits) -> FirstLayers:
    """Return what the first `layers` layers are of a file.

    Raises
    ------
    BitstreamError, LimitError
        If what comes before the sites is damaged, or asks for more than the limits.
    OptionError
        If the file has fewer.
    """
    found = bitstream.read_layers(content, limits)
    layer = found.first(layers)
    return FirstLayers(layers, len(found), layer.end, found.ends[-1])


def draw_new(
    engine: Backend, header: Header, symbols: Symbols, file_bytes: int
) -> tuple[Image, str | None]:
    """Draw a file just made, with a warning where `decode` would refuse it by default.

    Known on the CPU backend alone.
    """
    try:
        return draw(engine, header, symbols, default_work(header, file_bytes)), None
    except LimitError as error:
        return draw(engine, header, symbols), f"needs --max-work to be decoded: {error}"


def _composition(
    content: bytes,
    reading: Limits,
    limits: Limits,
    number: int | None,
    framing: tuple[Any, Any, Any],
    engine: Backend,
    max_work: int | None,
) -> tuple[Image, Repair]:
    """Draw a composition, or a frame of one: whole, as there are no parts to repair."""
    from sadcodec.compose import drawing

    file = bitstream.open_composition(content, reading)
    assert file is not None  # noqa: S101  (is_composition said so)
    drawn = frame_of(file.header.width, file.header.height, *framing)
    start = drawing.chosen_frame(file, number)
    pixels = drawn.width * drawn.height
    if pixels > limits.max_pixels or max(drawn.width, drawn.height) > limits.max_side:
        size = f"{drawn.width} x {drawn.height} pixels"
        raise LimitError(f"{size} exceed the limit of {limits.max_pixels}")
    work = drawing.default_work(len(content), pixels) if max_work is None else max_work
    name, threads = engine.name, engine.threads
    frames = drawing.draw_frames(file, start, drawn, max_work=work, backend=name, threads=threads)
    picture, count = next(frames)
    return picture, Repair(count, (), ())


def _frame(
    content: bytes, limits: Limits, threads: int, frame: int | None
) -> tuple[Header, Symbols]:
    """Return the diagram of one frame of a sequence."""
    sequence = bitstream.open_sequence(content, limits)
    if sequence is None:
        raise OptionError("holds a single picture, not a sequence with frames")
    if frame is None:
        raise OptionError(
            f"holds a sequence of {len(sequence)} frames: choose one with --frame, or all with "
            "--out-dir"
        )
    found = sequence.frame(frame, threads)
    return found.header, found.symbols


def info(data: bytes, *, max_pixels: int | None = None) -> FileInfo:
    """Return what a ``.sad`` file holds, all checksums checked; see `bitstream.inspect`.

    `max_pixels` is that of `decode`.

    Raises
    ------
    BitstreamError
        If the file is damaged or cut short.
    LimitError
        If it is larger than the limits.
    """
    return bitstream.inspect(as_bytes(data), limits_for(max_pixels))


def limits_for(max_pixels: int | None) -> Limits:
    """Return the limits of a reader; None for the default."""
    return Limits(max_pixels=MAX_PIXELS if max_pixels is None else max_pixels)


def check_work(max_work: int | None) -> None:
    """Raise OptionError unless a limit of work is None or in range."""
    if max_work is not None and not 0 <= max_work <= _MOST_WORK:
        raise OptionError(f"max_work must be 0..{_MOST_WORK}, not {max_work}")


def as_bytes(data: Any) -> bytes:
    """Return anything that has the buffer interface as bytes; InputError for anything else."""
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise InputError(f"the content of a file is bytes, not {type(data).__name__}") from None
