"""Print where the bits go, what each technique of the encoder is worth, and what effort brings.

Four tables in Markdown, docs/BENCHMARKS.md says what is in them: `columns`, bits a site of every
column beside ideal models; `techniques`, the score with one of them switched off; `accounting`,
bytes at the PSNR of a fit against the 16 bytes a site of the paper; `efforts`, PSNR and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import rd_columns
import rd_techniques
from timing import DATA, machine, markdown_table, names_of, numbers, read, shares

from sadcodec import decode, metrics
from sadcodec.backends.cpu import CpuBackend
from sadcodec.codec import EncodeReport, encode_with_report
from sadcodec.effort import DEFAULT_EFFORT, effort_for
from sadcodec.errors import InputError, SadError
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.pixels import code_values
from sadcodec.progress import ProgressBar
from sadcodec.sites import Sites

PAPER_BYTES = 16  # a site
_FIRST_SHARE = 0.36  # of the paper's bytes, where the search for a PSNR begins
_NEAR_DB = 0.1  # of the PSNR, where it ends: the rest is read off the line through both sizes


@dataclass
class Run:
    """Images and options of a run, and the files that more than one table needs."""

    images: dict[str, np.ndarray]
    options: argparse.Namespace
    bar: ProgressBar
    part: tuple[int, int] = (0, 1)  # which of how many tables
    coded: dict[tuple[str, float], tuple[bytes, EncodeReport]] = field(default_factory=dict)

    @property
    def coding(self) -> dict[str, Any]:
        """Options of an encode."""
        return {"effort": self.options.effort, "threads": self.options.threads, "backend": "cpu"}

    def whole(self, path: str, bpp: float) -> tuple[bytes, EncodeReport]:
        """Encode with the whole encoder, once."""
        if (path, bpp) not in self.coded:
            self.coded[path, bpp] = encode_with_report(self.images[path], bpp=bpp, **self.coding)
        return self.coded[path, bpp]

    def steps(self, *lists: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Give every combination with every image, the image last, showing progress."""
        combined: list[tuple[Any, ...]] = [()]
        for each in (*lists, list(self.images)):
            combined = [(*before, value) for before in combined for value in each]
        for index, values in enumerate(combined):
            part, parts = self.part
            share = (part + index / len(combined)) / parts
            self.bar(share, " ".join(str(value) for value in values[:-1]) + f" {name(values[-1])}")
            yield values


def name(path: str) -> str:
    return os.path.basename(path)


# ---- Bits by column -----------------------------------------------------------------------------


def columns(run: Run) -> Iterator[dict[str, Any]]:
    for bpp, path in run.steps(run.options.bpp):
        yield from rd_columns.rows(name(path), bpp, run.whole(path, bpp)[0])


# ---- Techniques ---------------------------------------------------------------------------------


def techniques(run: Run) -> Iterator[dict[str, Any]]:
    for bpp, path in run.steps(run.options.bpp):
        data, report = run.whole(path, bpp)
        yield rd_techniques.row(name(path), bpp, "", "", report)
        for technique in rd_techniques.TECHNIQUES:
            image = run.images[path]
            report = rd_techniques.encode_without(technique, data, image, bpp, **run.coding)
            yield rd_techniques.row(name(path), bpp, technique.name, technique.instead, report)


# ---- The paper's accounting ---------------------------------------------------------------------


def bytes_at(psnr: float, first: int, image: np.ndarray, coding: dict[str, Any]) -> float:
    """Return the bytes of the file with this PSNR, between sizes where it is known."""
    tried: dict[float, float] = {}  # log2 bytes: PSNR
    size = float(np.log2(first))
    for _ in range(3):
        report = encode_with_report(image, size=max(1, round(2.0**size)), **coding)[1]
        tried[float(np.log2(report.bytes))] = report.psnr
        last = float(np.log2(report.bytes))
        slope = rd_techniques.DB_PER_OCTAVE
        if len(tried) > 1:
            (x0, y0), (x1, y1) = sorted(tried.items(), key=lambda each: abs(each[1] - psnr))[:2]
            if 0.5 < (y1 - y0) / (x1 - x0) < 10.0:  # else they are too near one another
                slope, last = (y1 - y0) / (x1 - x0), x0
        size = last + (psnr - tried[last]) / slope
        if abs(tried[last] - psnr) < _NEAR_DB:
            break
    return float(2.0**size)


def accounting(run: Run) -> Iterator[dict[str, Any]]:
    effort, backend = effort_for(run.options.effort), CpuBackend(run.options.threads)
    for sites, path in run.steps(run.options.sites):
        image = run.images[path]
        height, width, _ = image.shape
        count = min(sites, height * width)
        fitting = FitOptions(iterations=effort.iterations, dense_start=effort.dense_start)
        fitted = fit(backend, shares(image), count, fitting)
        picture = backend.render(Sites(fitted.params), width, height)
        psnr = metrics.psnr(image, code_values(picture, 8 * image.itemsize))
        paper = PAPER_BYTES * count
        ours = bytes_at(psnr, round(_FIRST_SHARE * paper), image, run.coding)
        yield {
            "image": name(path),
            "sites": sites,
            "fit_psnr_db": psnr,
            "paper_bytes": paper,
            "bytes": ours,
            "share": ours / paper,
        }


def accounting_table(rows: Sequence[dict[str, Any]]) -> str:
    counts = list(dict.fromkeys(row["sites"] for row in rows))
    of = {(row["image"], row["sites"]): row for row in rows}
    lines = []
    for image in dict.fromkeys(row["image"] for row in rows):
        line = [image]
        for sites in counts:
            row = of.get((image, sites))
            cells = ("-", "-", "-")
            if row:
                cells = (f"{row['fit_psnr_db']:.2f}", f"{row['bytes']:.0f}", f"{row['share']:.3f}")
            line += cells
        lines.append(line)
    means = ["mean"]
    for sites in counts:
        mine = [row for row in rows if row["sites"] == sites]
        means.append(f"{mean(row['fit_psnr_db'] for row in mine):.2f}")
        means.append(f"{mean(row['bytes'] for row in mine):.0f}")
        means.append(f"{mean(row['share'] for row in mine):.3f}")
    header = ["image"]
    for sites in counts:
        header += [f"{sites} sites, PSNR", "bytes", f"of {PAPER_BYTES * sites}"]
    return markdown_table(header, [*lines, means])


# ---- Efforts ------------------------------------------------------------------------------------


def efforts(run: Run) -> Iterator[dict[str, Any]]:
    bpp = run.options.efforts_bpp
    for effort, path in run.steps(run.options.efforts):
        image = run.images[path]
        data, report = encode_with_report(image, bpp=bpp, **{**run.coding, "effort": effort})
        try:
            similarity = metrics.ssim(image, decode(data, threads=run.options.threads))
        except InputError:  # smaller than its window
            similarity = None
        yield {
            "image": name(path),
            "effort": effort,
            "bpp": report.bpp,
            "psnr_db": report.psnr,
            "score_db": rd_techniques.score(report, bpp),
            "ssim": similarity,
            "seconds": report.seconds,
        }


def effort_table(rows: Sequence[dict[str, Any]]) -> str:
    levels = list(dict.fromkeys(row["effort"] for row in rows))
    score = {n: mean(r["score_db"] for r in rows if r["effort"] == n) for n in levels}
    lines = []
    for effort in levels:
        mine = [row for row in rows if row["effort"] == effort]
        seconds = [row["seconds"] for row in mine]
        similar = [row["ssim"] for row in mine if row["ssim"] is not None]
        lines.append(
            [
                str(effort),
                f"{mean(row['psnr_db'] for row in mine):.2f}",
                f"{score[effort] - score[levels[-1]]:+.2f}",
                f"{mean(similar):.4f}" if similar else "-",
                f"{mean(seconds):.1f}",
                f"{min(seconds):.1f} to {max(seconds):.1f}",
            ]
        )
    header = ["effort", "PSNR", f"to effort {levels[-1]}", "SSIM", "encode s", "of one image"]
    return markdown_table(header, lines)


# ---- All of them --------------------------------------------------------------------------------

TABLES = {
    "columns": (columns, rd_columns.table),
    "techniques": (techniques, rd_techniques.table),
    "accounting": (accounting, accounting_table),
    "efforts": (efforts, effort_table),
}


def titles(run: Run) -> dict[str, str]:
    """Say what each table has, and of what."""
    chosen = run.options
    images = counted(len(run.images), "image")
    threads = counted(machine(chosen.threads)["threads"], "thread")
    return {
        "columns": f"Bits a site by column, effort {chosen.effort}, mean of {images}:",
        "techniques": "PSNR at equal bytes with one technique switched off, "
        f"effort {chosen.effort}, mean of {images}:",
        "accounting": f"Bytes at the PSNR of a fit, against {PAPER_BYTES} bytes a site, "
        f"effort {chosen.effort}:",
        "efforts": f"Efforts at {chosen.efforts_bpp:g} bpp, {threads}, mean of {images}:",
    }


def counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def rates(text: str) -> list[float]:
    """Return the numbers of a list with commas."""
    found = [float(word) for word in text.split(",") if word]
    if not found or min(found) <= 0:
        raise ValueError(text)
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", help="default: the images of data/")
    parser.add_argument(
        "--only",
        type=names_of(TABLES),
        default=list(TABLES),
        metavar="LIST",
        help=f"of {','.join(TABLES)}",
    )
    parser.add_argument(
        "--bpp",
        type=rates,
        default=[0.1, 0.3, 1.0],
        metavar="LIST",
        help="of columns and techniques (default 0.1,0.3,1)",
    )
    parser.add_argument(
        "--effort",
        type=int,
        default=DEFAULT_EFFORT,
        help=f"of columns, techniques and accounting (default {DEFAULT_EFFORT})",
    )
    parser.add_argument(
        "--sites",
        type=numbers,
        default=[1500, 5000],
        metavar="LIST",
        help="of the fits of accounting (default 1500,5000)",
    )
    parser.add_argument(
        "--efforts", type=numbers, default=list(range(1, 10)), metavar="LIST", help="default 1 to 9"
    )
    parser.add_argument("--efforts-bpp", type=float, default=0.5, help="their rate (default 0.5)")
    parser.add_argument("--threads", type=int, help="default: all processors")
    parser.add_argument("--out", metavar="FILE", help="write every number as JSON")
    return parser.parse_args(arguments)


def write(path: str | None, report: dict[str, Any]) -> None:
    """Replace the file by the report as it is."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    paths = options.images or sorted(str(path) for path in DATA.glob("*.png"))
    report: dict[str, Any] = {"machine": machine(options.threads), "effort": options.effort}
    try:
        with ProgressBar() as bar:
            run = Run({path: read(path) for path in paths}, options, bar)
            for index, part in enumerate(options.only):
                measure, table = TABLES[part]
                run.part = (index, len(options.only))
                rows = report[part] = []
                for row in measure(run):
                    rows.append(row)
                    write(options.out, report)
                bar.clear()
                print(f"{titles(run)[part]}\n\n{table(rows)}\n", flush=True)
    except (OSError, SadError) as error:
        print(f"rate_distortion: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
