"""Print what bitmap primitives reach: PSNR and time, the gain of each technique, flicker.

python benchmarks/compose.py
python benchmarks/compose.py --only sequence frames/*.png
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from time import perf_counter, process_time
from typing import Any

import numpy as np
from timing import DATA, machine, markdown_table, names_of, read, shares

from sadcodec.compose.composition import TEMPLATE_SIDE
from sadcodec.compose.fit import FitResult, fit
from sadcodec.compose.render import render
from sadcodec.compose.sequence import fit_sequence, flicker

PARTS = ("iterations", "techniques", "sequence")
IMAGES = ("astronaut", "chelsea", "coffee")


def templates() -> np.ndarray:
    """Draw a disc, a stroke and a leaf, white: uint8 [3, 128, 128, 4]."""
    axis = (np.arange(TEMPLATE_SIDE) + 0.5) / TEMPLATE_SIDE * 2 - 1
    v, u = np.meshgrid(axis, axis, indexing="ij")
    outside = [  # signed distances, in half-sides
        np.hypot(u, v) - 0.96,
        np.maximum(np.abs(v) - 0.35, np.abs(u) - 0.95),
        np.maximum(np.hypot(u, v + 0.75), np.hypot(u, v - 0.75)) - 1.2,
    ]
    out = np.full((len(outside), TEMPLATE_SIDE, TEMPLATE_SIDE, 4), 255, np.uint8)
    for template, distance in zip(out, outside, strict=True):
        template[..., 3] = 255 * np.clip(0.5 - distance * TEMPLATE_SIDE / 3, 0, 1)
    return out


def photograph(name: str, side: int) -> np.ndarray:
    """Return the middle square of an image of data/ at a size, float32 [side, side, 3]."""
    from PIL import Image

    image = read(str(DATA / f"{name}.png"))[..., :3]
    least = min(image.shape[:2])
    top, left = ((length - least) // 2 for length in image.shape[:2])
    square = Image.fromarray(image[top : top + least, left : left + least])
    return shares(np.asarray(square.resize((side, side), Image.Resampling.LANCZOS)))


def moving(side: int, count: int) -> list[np.ndarray]:
    """Make frames: a disc cut out of one photograph moves over another, which stands still."""
    half = side // 2
    behind, before = photograph("coffee", side), photograph("chelsea", half)
    y, x = np.indices((half, half)) + 0.5
    cover = np.clip(0.45 * half - np.hypot(x - half / 2, y - half / 2) + 0.5, 0, 1)
    cover = cover[..., None].astype(np.float32)
    frames = []
    for i in range(count):
        frame = behind.copy()
        left, top = round(side * (0.02 + 0.03 * i)), round(side * 0.2 + 4 * math.sin(i))
        under = frame[top : top + half, left : left + half]
        frame[top : top + half, left : left + half] = cover * before + (1 - cover) * under
        frames.append(frame)
    return frames


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a call's result, and its seconds by the clock and of all processors."""
    clock, processors = perf_counter(), process_time()
    result = run()
    return result, perf_counter() - clock, process_time() - processors


def iterations_table(given: argparse.Namespace) -> str:
    """PSNR against the number of iterations of one fit, and its time."""
    rows, moments = [], []
    for name in given.images:
        target = photograph(name, given.side)
        result, clock, processors = timed(lambda target=target: fitted(target, given, 0))
        moments = [str(moment) for moment, _, _ in result.history[::2]]
        dbs = [f"{psnr:.2f}" for _, _, psnr in result.history[::2]]
        rows.append([name, *dbs, f"{clock:.1f}", f"{processors:.1f}"])
    return markdown_table(["PSNR in dB at", *moments, "s", "s of processors"], rows)


def fitted(target: np.ndarray, given: argparse.Namespace, seed: int, **options: Any) -> FitResult:
    """Fit with the options of the command line."""
    return fit(
        target,
        templates(),
        count=given.count,
        iterations=given.iterations,
        seed=seed,
        threads=given.threads,
        **options,
    )


def techniques_table(given: argparse.Namespace) -> str:
    """PSNR with each technique switched off; means over images, and spread over seeds."""
    switched: dict[str, dict[str, Any]] = {
        "all": {},
        "no soft rasterization": {"soft": False},
        "random initialization": {"init": "random"},
        "primitives placed anew": {"prune": True},
    }
    rows, seeds = [], range(given.seeds)
    whole: list[list[float]] = []
    for name, options in switched.items():
        found = []
        for image in given.images:
            target = photograph(image, given.side)
            found.append([fitted(target, given, seed, **options).psnr for seed in seeds])
        whole = whole or found
        gains = [mean(ours) - mean(of) for ours, of in zip(found, whole, strict=True)]
        spread = mean(stdev(ours) for ours in found) if len(seeds) > 1 else 0.0
        each = [f"{mean(ours):.2f}" for ours in found]
        rows.append([name, *each, f"{mean(gains):+.2f}", f"{spread:.2f}"])
    return markdown_table(["PSNR in dB", *given.images, "mean change", "of seeds"], rows)


def canvas_table(given: argparse.Namespace) -> str:
    """The same of the noisy canvas, on a disc of each image with nothing around it.

    What was fitted is judged over black, gray and white: PSNR of the worst of them; and the mean
    error of alpha within the disc and outside of it.
    """
    y, x = np.indices((given.side, given.side)) + 0.5
    disc = np.hypot(x - given.side / 2, y - given.side / 2) < 0.4 * given.side
    rows = []
    for name, noisy in (("noisy canvas", True), ("white canvas", False)):
        found, within, outside = [], [], []
        for image in given.images:
            target = np.dstack([photograph(image, given.side), disc.astype(np.float32)])
            for seed in range(given.seeds):
                made = fitted(target, given, seed, noisy_canvas=noisy).composition
                drawn = render(made, threads=given.threads)
                color = target[..., :3] * target[..., 3:]
                errors = []
                for gray in (0.0, 0.5, 1.0):
                    ours = drawn[..., :3] + (1 - drawn[..., 3:]) * gray
                    errors.append(np.mean((ours - color - (1 - target[..., 3:]) * gray) ** 2))
                found.append(-10 * math.log10(max(errors)))
                within.append(float(np.mean(1 - drawn[disc][:, 3])))
                outside.append(float(np.mean(drawn[~disc][:, 3])))
        values = [f"{mean(within):.4f}", f"{mean(outside):.4f}"]
        rows.append([name, f"{mean(found):.2f}", *values])
    header = ["", "PSNR in dB, worst canvas", "1 - alpha within", "alpha outside"]
    return markdown_table(header, rows)


def sequence_table(given: argparse.Namespace) -> str:
    """Flicker and PSNR of frames that start from the last, and of frames fitted alone."""
    if given.frames:
        frames = [shares(read(path))[..., :3].copy() for path in given.frames]
    else:
        frames = moving(given.side, 10)
    options: dict[str, Any] = {"count": given.count, "iterations": given.iterations}
    options["threads"] = given.threads

    def followed() -> list[FitResult]:
        return list(fit_sequence(frames, templates(), **options))

    def alone() -> list[FitResult]:
        return [fitted(frame, given, 0) for frame in frames]

    def others() -> list[FitResult]:
        return [fitted(frame, given, seed) for seed, frame in enumerate(frames)]

    rows = []
    for name, run in (
        ("each from the last", followed),
        ("alone, one seed", alone),
        ("alone, a seed each", others),
    ):
        results, _, processors = timed(run)
        pictures = [render(result.composition, threads=given.threads) for result in results]
        psnr = mean(result.psnr for result in results)
        seconds = processors / len(frames)
        rows.append([name, f"{flicker(pictures, frames):.2f}", f"{psnr:.2f}", f"{seconds:.1f}"])
    return markdown_table(
        [
            f"{len(frames)} frames",
            "flicker in code values",
            "PSNR in dB",
            "s of processors a frame",
        ],
        rows,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("frames", nargs="*", help="for the sequence; made from data/ by default")
    parser.add_argument("--only", type=names_of(PARTS), default=list(PARTS))
    parser.add_argument("--images", type=names_of(IMAGES), default=list(IMAGES))
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    settings = {**machine(given.threads), "primitives": given.count, "side": given.side}
    print("; ".join(f"{name} {value}" for name, value in settings.items()), flush=True)
    tables = {
        "iterations": [iterations_table],
        "techniques": [techniques_table, canvas_table],
        "sequence": [sequence_table],
    }
    for part in given.only:
        for make in tables[part]:
            print(f"\n{make(given)}", flush=True)


if __name__ == "__main__":
    main()
