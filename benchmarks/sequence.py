"""Print what a sequence takes against its frames coded alone, at equal PSNR.

The frames are encoded as a sequence; then each of them alone, to the PSNR that it has there. Times
are those of one thread's processor.

python benchmarks/sequence.py frames/*.png --bpp 0.5
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import numpy as np
from timing import markdown_table

from sadcodec import encode_with_report
from sadcodec.image_io import decode_image
from sadcodec.sequence import encode_sequence_with_report


def table(paths: Sequence[str], bpp: float, interval: int, effort: int) -> str:
    """Return bytes, PSNR and times of both, in Markdown."""
    options: dict[str, Any] = {"effort": effort, "threads": 1, "backend": "cpu"}
    stamps = []

    def frames() -> Iterator[np.ndarray]:
        for path in paths:
            stamps.append(process_time())
            yield decode_image(Path(path).read_bytes())
        stamps.append(process_time())

    _, report = encode_sequence_with_report(frames(), key_interval=interval, bpp=bpp, **options)
    times = [after - before for before, after in pairwise(stamps)]
    rows = []
    for path, frame, seconds in zip(paths, report.frames, times, strict=True):
        start = process_time()
        image = decode_image(Path(path).read_bytes())
        _, alone = encode_with_report(image, psnr=frame.psnr, **options)
        mine = (frame.bytes, frame.psnr, seconds)
        rows.append((frame.key, mine, (alone.bytes, alone.psnr, process_time() - start)))
    lines = []
    for name, keys in (("key", {True}), ("delta", {False}), ("all", {True, False})):
        chosen = [row for row in rows if row[0] in keys]
        if chosen:
            both = (_columns([row[side] for row in chosen]) for side in (1, 2))
            lines.append([name, str(len(chosen)), *chain(*both)])
    columns = ["bytes", "dB", "s a frame"]
    return markdown_table(["frames", "", *columns, *(f"alone: {name}" for name in columns)], lines)


def _columns(rows: Sequence[tuple[int, float, float]]) -> list[str]:
    """Sum of the bytes, means of PSNR and seconds."""
    size, score, seconds = zip(*rows, strict=True)
    return [f"{sum(size)}", f"{mean(score):.2f}", f"{mean(seconds):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("frames", nargs="+")
    parser.add_argument("--bpp", type=float, default=0.5)
    parser.add_argument("--key-interval", type=int, default=60)
    parser.add_argument("--effort", type=int, default=5)
    given = parser.parse_args()
    print(table(given.frames, given.bpp, given.key_interval, given.effort))


if __name__ == "__main__":
    main()
