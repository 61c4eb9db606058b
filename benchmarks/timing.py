"""What the benchmarks share: medians of wall-clock times, tables, images, the machine."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import sadcodec
from sadcodec import _core, image_io
from sadcodec.backends.cpu import CpuBackend

__all__ = [
    "DATA",
    "Times",
    "machine",
    "markdown_table",
    "numbers",
    "read",
    "shares",
    "summary",
    "table",
    "timed",
]

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Times:
    """Milliseconds of several runs."""

    median: float
    least: float
    most: float
    runs: int

    def __str__(self) -> str:
        digits = 0 if self.median >= 1000 else 1 if self.median >= 20 else 2
        low, high = f"{self.least:.{digits}f}", f"{self.most:.{digits}f}"
        return f"{self.median:.{digits}f} ({low}..{high})" if self.runs > 1 else f"{low}"


def summary(taken: Sequence[float]) -> Times:
    """Return the median, the least and the most of some milliseconds."""
    return Times(statistics.median(taken), min(taken), max(taken), len(taken))


def timed(run: Callable[[], Any], repeats: int, *, warm: bool = True) -> Times:
    """Time a call several times, after one that does not count."""
    if warm:
        run()
    taken = []
    for _ in range(repeats):
        start = perf_counter()
        run()
        taken.append(1000 * (perf_counter() - start))
    return summary(taken)


def machine(threads: int | None) -> dict[str, Any]:
    """Return what the figures depend on."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    return {
        "cpu": name,
        "threads": CpuBackend(threads).threads,
        "instruction_set": _core.isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sadcodec": sadcodec.__version__,
    }


def read(path: str) -> np.ndarray:
    """Return uint8 or uint16 [H, W, C]."""
    image = image_io.decode_image(Path(path).read_bytes())
    return image[:, :, None] if image.ndim == 2 else image


def shares(image: np.ndarray) -> np.ndarray:
    """Return the image as float32 0..1."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a header: the first column to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[j]) for line in lines) for j in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if j else cell.ljust(width)
            for j, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the same as a table of Markdown."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def numbers(text: str) -> list[int]:
    """Return the integers of a list with commas."""
    return [int(word) for word in text.split(",") if word]


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a parser of a list with commas, of one or more of the known names."""
    every = set(known)

    def names(text: str) -> list[str]:
        found = [word.strip() for word in text.split(",") if word.strip()]
        if not found or not set(found) <= every:
            raise ValueError(text)
        return found

    return names
