"""Sequences on the command line: ``sad encode --sequence``, ``sad decode`` of what it writes."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence, Sized
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from sadcodec import files
from sadcodec.cli import arguments, batch, common
from sadcodec.cli.importance import read_mask
from sadcodec.errors import SadError
from sadcodec.progress import ProgressBar

if TYPE_CHECKING:
    from sadcodec.bitstream import Limits


def check_usage(
    sequence: bool,
    key_interval: int | None,
    output: str | None,
    out_dir: str | None,
    jobs: int,
    scheduler: str | None,
) -> bool:
    """Return whether ``--sequence`` is asked for; a UsageError if with what it does not go with."""
    if sequence and (output is None or out_dir is not None or jobs > 1 or scheduler is not None):
        raise click.UsageError(
            "--sequence goes with --output, without --out-dir, --jobs and --scheduler."
        )
    if key_interval is not None and not sequence:
        raise click.UsageError("--key-interval goes with --sequence.")
    return sequence


def encode_frames(
    sources: Sequence[str],
    target: str,
    key_interval: int | None,
    options: dict[str, Any],
    max_pixels: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Encode images as the frames of one file; a Failure names the frame that is wrong.

    Options are those of `sadcodec.encode`, the mask by the name of its file.
    """
    if options["strict"]:
        raise click.UsageError("--strict does not go with --sequence.")
    paths = batch.sources_of(sources)
    arguments.check_not_folder(target)
    common.check_output(target, paths, force=force)
    arguments.check_not_image(target)
    mask = read_mask(options["mask"], paths, target, max_pixels)
    common.load_backend(options["backend"], "encode", quiet)
    from sadcodec import image_io, sequence

    options = {**options, "mask": mask}
    strip = options.pop("strip")
    del options["strict"]
    if key_interval is not None:
        options["key_interval"] = key_interval
    current = paths[0]

    def read(path: str) -> tuple[Any, bytes]:
        """Return the pixels of a frame, turned as its Exif orientation says, and its profile."""
        nonlocal current
        current = path
        image, metadata = image_io.read_image(files.read_input(path), max_pixels=max_pixels)
        turned = image_io.oriented(image, metadata.get("exif", b""))
        return turned, b"" if strip else metadata.get("icc_profile", b"")

    def following(profile: bytes, bar: ProgressBar) -> Iterator[Any]:
        same = True
        for number, path in enumerate(paths[1:], 1):
            bar(number / len(paths), common.shown(path))
            image, its = read(path)
            if same and its != profile:
                common.note_profile(path, quiet)
                same = False
            yield image

    try:
        with ProgressBar(enabled=False if quiet else None) as bar:
            bar(0.0, common.shown(paths[0]))
            first, profile = read(paths[0])
            data, report = sequence.encode_sequence_with_report(
                chain([first], following(profile, bar)),
                metadata={"icc_profile": profile},
                **options,
            )
    except (SadError, MemoryError):
        with common.blame(current):
            raise
    with common.blame(target, "stdout"):
        files.write_output(target, data, force=force)
    if report.warning:
        common.note(f"sad: {common.shown(target, 'stdout')}: warning: {report.warning}", quiet)
    if as_json:
        record = {"input": paths, "output": target} | dataclasses.asdict(report)
        common.report_json(record, target == files.STANDARD)
        return
    keys = sum(frame.key for frame in report.frames)
    common.note(
        f"{common.shown(target, 'stdout')}: {report.bytes} bytes, {report.bpp:.4f} bpp, "
        f"{len(paths)} frames, {keys} of them key frames, {report.psnr:.2f} dB, "
        f"{report.seconds:.1f} s",
        quiet,
    )


def decode_to_folder(
    source: str,
    folder: str,
    suffix: str,
    options: dict[str, Any],
    strip: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> bool:
    """Decode all frames of a sequence to DIR/NAME-0.png and so on; False for a single picture.

    Options are those of `sadcodec.decode`.
    """
    from sadcodec.decoding import limits_for

    with common.blame(source):
        data = arguments.read_coded(source)
        opened = _opened(data, limits_for(options["max_pixels"]))
    if opened is None:
        return False
    from sadcodec import codec, image_io, sequence

    for name in ("repair", "layers"):
        if options[name]:
            raise common.Failure(common.shown(source), f"--{name} is for single pictures")
    if any(options[name] is not None for name in ("region", "scale", "size")):
        raise common.Failure(
            common.shown(source), "--region, --scale and --size of a sequence need --frame"
        )
    count = len(opened)
    name = os.path.splitext(os.path.basename(source))[0]
    digits = len(str(count - 1))
    targets = [os.path.join(folder, f"{name}-{i:0{digits}}.{suffix}") for i in range(count)]
    for target in targets:
        common.check_output(target, [source], force=force)
    kind = image_io.format_of(targets[0])
    with common.blame(source):
        found, _ = codec.metadata_left(data, max_pixels=options["max_pixels"])
    start = time.perf_counter()
    names = ("backend", "threads", "max_pixels", "max_work")
    frames = sequence.decode_frames(data, **{name: options[name] for name in names})
    with ProgressBar(enabled=False if quiet else None) as bar:
        for i, target in enumerate(targets):
            with common.blame(source):
                image = next(frames)
            kept = {} if strip else image_io.holds(kind, image.shape[2], found)
            if "exif" in found and "exif" not in kept:
                image = image_io.oriented(image, found["exif"])
            with common.blame(target):
                files.write_output(target, image_io.encode_image(image, kind, kept), force=force)
            bar((i + 1) / count, common.shown(target))
    seconds = time.perf_counter() - start
    height, width, channels = image.shape
    if as_json:
        record = {"input": source, "output": targets, "width": width, "height": height}
        record |= {"channels": channels, "bit_depth": 8 * image.dtype.itemsize}
        record |= {"bytes": len(data), "frames": count, "seconds": seconds}
        common.report_json(record, False)
    else:
        shape = f"{width} x {height}, {channels} channels of {8 * image.dtype.itemsize} bits"
        common.note(f"{common.shown(folder)}: {count} frames of {shape}, {seconds:.1f} s", quiet)
    return True


def _opened(data: bytes, limits: Limits) -> Sized | None:
    """Return a sequence, or a composition of several frames; None for a single picture."""
    from sadcodec import bitstream

    if bitstream.is_sequence(data, limits):
        return bitstream.open_sequence(data, limits)
    if bitstream.is_composition(data, limits):
        composition = bitstream.open_composition(data, limits)
        return None if composition is None or len(composition) == 1 else composition
    return None


def information(
    source: str, data: bytes, max_pixels: int | None
) -> tuple[dict[str, Any], str] | None:
    """Return what ``sad info`` says of a sequence, as a record and as text; None for a picture."""
    from sadcodec import bitstream
    from sadcodec.decoding import limits_for

    limits = limits_for(max_pixels)
    opened = bitstream.open_sequence(data, limits) if bitstream.is_sequence(data, limits) else None
    if opened is None:
        return None
    header = opened.header
    with_sites = zip(
        opened.keys, opened.lengths, map(opened.sites, range(len(opened))), strict=True
    )
    frames = [{"key": key, "bytes": size, "sites": sites} for key, size, sites in with_sites]
    bpp = 8 * len(data) / (header.width * header.height * len(frames))
    record: dict[str, Any] = {
        "input": source,
        "bytes": len(data),
        "bpp": bpp,
        "width": header.width,
        "height": header.height,
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "frames": frames,
    }
    size = f"{header.width} x {header.height}"
    lines = [
        f"{common.shown(source)}: {len(data)} bytes, {bpp:.4f} bpp, {len(frames)} frames",
        f"image    {size}, {header.channels} channels of {header.bit_depth} bits",
        "frame  kind      bytes   sites",
    ]
    lines += [
        f"{i:5}  {'key  ' if f['key'] else 'delta'} {f['bytes']:9} {f['sites']:7}"
        for i, f in enumerate(frames)
    ]
    return record, "\n".join(lines) + "\n"
