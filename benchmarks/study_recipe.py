"""Print the authors' schedule against the default one, at equal numbers of sites.

Three tables in Markdown: quality and time of whole fits, PSNR by image, and PSNR on the way. All
figures are of float fits, before anything is quantized; PSNR and SSIM are of their 8-bit pictures,
seconds are CPU time of one core. Means are over the images; with several seeds, each is followed by
the standard deviation over the seeds of that mean.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter, process_time
from typing import Any

import numpy as np
from timing import DATA, machine, markdown_table, numbers, read, shares

from sadcodec import metrics
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.propagation import propagation_of
from sadcodec.effort import effort_for
from sadcodec.errors import InputError, SadError
from sadcodec.fit.loop import fit
from sadcodec.fit.paper.loop import fit_paper
from sadcodec.fit.schedule import FitOptions
from sadcodec.pixels import code_values
from sadcodec.progress import ProgressBar
from sadcodec.sites import Sites

# "paper" is what `sad encode --recipe paper` runs.
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"topk": "propagate"},
    "paper, exact top-K": {"topk": "exact"},
    "paper, splitting": {"topk": "propagate", "splitting": True},
}
CHECKPOINTS = (0.125, 0.25, 0.5, 0.75)  # of a run of the authors' schedule


@dataclass(frozen=True)
class Fit:
    """One fit to make: a variant of the authors' recipe, or the default at an effort."""

    path: str
    sites: int
    seed: int
    variant: str
    effort: int
    iterations: int
    crop: tuple[int, int] | None

    @property
    def recipe(self) -> str:
        return self.variant or f"default, effort {self.effort}"


def image_of(task: Fit) -> np.ndarray:
    """Return the image, or the middle of it."""
    image = read(task.path)
    if task.crop is None:
        return image
    width, height = task.crop
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if min(top, left) < 0:
        raise InputError(f"{task.path}: smaller than {width} x {height}")
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def measured(task: Fit) -> dict[str, Any]:
    """Make a fit; return it as a row of the report."""
    image, backend = image_of(task), CpuBackend(1)
    target = shares(image)
    marks = {round(share * task.iterations): 0.0 for share in CHECKPOINTS}
    passed: list[tuple[int, np.ndarray, float]] = []
    wall, begun = perf_counter(), process_time()

    def watch(iteration: int, params: np.ndarray) -> None:
        if iteration in marks:
            passed.append((iteration, params.copy(), process_time() - begun))

    if task.variant:
        variant = VARIANTS[task.variant]
        found = fit_paper(
            *(backend, target, task.sites),
            iterations=task.iterations,
            seed=task.seed,
            propagation=propagation_of(variant["topk"], task.seed),
            splitting=variant.get("splitting", False),
            watch=watch,
        )
    else:
        effort = effort_for(task.effort)
        options = FitOptions(
            iterations=effort.iterations,
            dense_start=effort.dense_start,
            density_interval=effort.density_interval,
            seed=task.seed,
        )
        found = fit(backend, target, task.sites, options)
    seconds, elapsed = process_time() - begun, perf_counter() - wall

    def picture(params: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        drawn = backend.render(Sites(params), width, height)
        return code_values(drawn, 8 * image.dtype.itemsize)

    drawn = picture(found.params)
    return {
        "image": os.path.basename(task.path),
        "sites": task.sites,
        "recipe": task.recipe,
        "seed": task.seed,
        "iterations": task.iterations,
        "psnr_db": metrics.psnr(image, drawn),
        "ssim": metrics.ssim(image, drawn),
        "lpips": perceptual(image, drawn),
        "cpu_s": seconds,
        "wall_s": elapsed,
        "checkpoints": [
            {
                "iteration": iteration,
                "sites": len(params),
                "psnr_db": metrics.psnr(image, picture(params)),
                "cpu_s": spent,
            }
            for iteration, params, spent in passed
        ],
    }


def perceptual(image: np.ndarray, drawn: np.ndarray) -> float | None:
    """Return LPIPS where it is installed."""
    try:
        from sadcodec.evaluate.measures import measure

        return measure("lpips", image, drawn)
    except (ImportError, SadError):
        return None


# ---- Tables -------------------------------------------------------------------------------------

Row = dict[str, Any]


def spread(rows: Sequence[Row], column: str, digits: int) -> str:
    """Return the mean over images and seeds, and the deviation of the seeds' means."""
    if any(row[column] is None for row in rows):
        return "-"
    seeds = sorted({row["seed"] for row in rows})
    means = [mean(row[column] for row in rows if row["seed"] == seed) for seed in seeds]
    text = f"{mean(means):.{digits}f}"
    return f"{text} ± {stdev(means):.{digits}f}" if len(means) > 1 else text


def groups(rows: Sequence[Row], *columns: str) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    """Give the rows that have the same values in some columns, in order of appearance."""
    keys = dict.fromkeys(tuple(row[column] for column in columns) for row in rows)
    for key in keys:
        yield key, [row for row in rows if tuple(row[column] for column in columns) == key]


def whole_table(rows: Sequence[Row]) -> str:
    lines = [
        [
            f"{sites}",
            recipe,
            f"{mine[0]['iterations']}",
            spread(mine, "psnr_db", 2),
            spread(mine, "ssim", 4),
            spread(mine, "lpips", 4),
            spread(mine, "cpu_s", 1),
        ]
        for (sites, recipe), mine in groups(rows, "sites", "recipe")
    ]
    header = ["sites", "recipe", "iterations", "PSNR dB", "SSIM", "LPIPS", "seconds"]
    return markdown_table(header, lines)


def image_table(rows: Sequence[Row]) -> str:
    images = list(dict.fromkeys(row["image"] for row in rows))
    lines = []
    for (sites, recipe), mine in groups(rows, "sites", "recipe"):
        cells = dict(groups(mine, "image"))
        found = [spread(cells[image,], "psnr_db", 2) for image in images]
        lines.append([f"{sites}", recipe, *found])
    return markdown_table(["sites", "recipe", *(Path(image).stem for image in images)], lines)


def checkpoint_table(rows: Sequence[Row]) -> str:
    """Return PSNR against seconds: points of the authors' runs, whole runs of the default."""
    points = [
        {**row, **at, "sites": row["sites"], "present": at["sites"]}
        for row in rows
        for at in (*row["checkpoints"], {**row, "iteration": row["iterations"]})
    ]
    lines = [
        [
            f"{sites}",
            recipe,
            f"{iteration}",
            f"{mean(row['present'] for row in mine):.0f}",
            spread(mine, "cpu_s", 1),
            spread(mine, "psnr_db", 2),
        ]
        for (sites, recipe, iteration), mine in groups(points, "sites", "recipe", "iteration")
    ]
    header = ["sites", "recipe", "iteration", "sites there", "seconds", "PSNR dB"]
    return markdown_table(header, lines)


TABLES = {
    "Whole fits": whole_table,
    "PSNR in dB by image": image_table,
    "On the way: PSNR by iteration, with the sites that there are then": checkpoint_table,
}


# ---- All of them --------------------------------------------------------------------------------


def tasks_of(options: argparse.Namespace) -> list[Fit]:
    """Return the fits to make, in the order of the tables."""
    recipes = [(variant, 0, options.iterations) for variant in options.variants]
    recipes += [("", effort, effort_for(effort).iterations) for effort in options.efforts]
    return [
        Fit(path, sites, seed, *recipe, options.crop)
        for sites in options.sites
        for recipe in recipes
        for path in options.images
        for seed in range(options.seeds)
    ]


def results(tasks: Sequence[Fit], jobs: int) -> Iterator[tuple[int, Row]]:
    """Give the row of each task as it is done, here or in processes."""
    if jobs == 1:
        yield from ((index, measured(task)) for index, task in enumerate(tasks))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(measured, task): index for index, task in enumerate(tasks)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def size(text: str) -> tuple[int, int]:
    """Return width and height from a text such as 384x256."""
    width, height = (int(word) for word in text.split("x"))
    return width, height


def variants(text: str) -> list[str]:
    """Return the names of variants of a list with semicolons."""
    found = [word.strip() for word in text.split(";") if word.strip()]
    if not set(found) <= set(VARIANTS):
        raise ValueError(text)
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", help="default: the images of data/")
    parser.add_argument(
        "--sites", type=numbers, default=[1500, 5000], metavar="LIST", help="default 1500,5000"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument(
        "--variants",
        type=variants,
        default=list(VARIANTS),
        metavar="LIST",
        help=f"of the authors' recipe, with semicolons (default {'; '.join(VARIANTS)})",
    )
    parser.add_argument(
        "--efforts",
        type=numbers,
        default=[1, 3, 5, 7],
        metavar="LIST",
        help="whose fits the default recipe makes (default 1,3,5,7)",
    )
    parser.add_argument(
        "--iterations", type=int, default=4000, help="of the authors' recipe (default 4000)"
    )
    parser.add_argument("--crop", type=size, metavar="WxH", help="the middle of each image alone")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="fits at a time (default: processors)"
    )
    parser.add_argument("--out", metavar="FILE", help="write every number as JSON")
    options = parser.parse_args(arguments)
    options.images = options.images or sorted(str(path) for path in DATA.glob("*.png"))
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    tasks = tasks_of(options)
    rows: dict[int, Row] = {}
    report: dict[str, Any] = {"machine": machine(1), "crop": options.crop, "fits": []}
    try:
        with ProgressBar() as bar:
            for index, row in results(tasks, options.jobs):
                rows[index] = row
                report["fits"] = [rows[i] for i in sorted(rows)]
                bar(len(rows) / len(tasks), f"{row['image']}, {row['recipe']}")
                if options.out is not None:
                    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
                    text = json.dumps(report, indent=1) + "\n"
                    Path(options.out).write_text(text, encoding="utf-8")
    except (OSError, SadError, BrokenProcessPool) as error:
        print(f"study_recipe: {error}", file=sys.stderr)
        return 1
    for title, table in TABLES.items():
        print(f"{title}, mean of {len(options.images)} images, {options.seeds} seeds:\n")
        print(f"{table(report['fits'])}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
