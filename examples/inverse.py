"""Solve inverse problems with diagrams; print PSNR beside scikit-image's, and draw figures.

python examples/inverse.py --problem all --figures docs/figures

prints the tables of docs/INVERSE.md, and on standard error how long an image takes. What is
measured of an image is in problems.py; this is the same few lines for all of it: a loss, a guess, a
number of sites.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from time import process_time

import numpy as np
from common import IMAGES, Array, markdown_table, psnr, read, write_figure
from perceptual import perceptual
from problems import PROBLEMS, Problem

from sadcodec.backends import get_backend
from sadcodec.backends.base import Backend
from sadcodec.fit.schedule import FitOptions
from sadcodec.inverse import optimize
from sadcodec.losses import measurement, total, total_variation
from sadcodec.sites import Sites

ONE, MEAN = "diagram", "mean of {}"
SHOWN = {"scratched": "chelsea", "enlargement": "astronaut"}  # in figures; coffee otherwise


def solve(problem: Problem, backend: Backend, fits: int, iterations: int) -> list[Array]:
    """Return the pictures of several fits, which differ in where their sites start."""
    height, width, _ = problem.guess.shape
    loss = measurement(problem.forward, problem.adjoint, problem.data)
    if problem.variation > 0:
        loss = total((1.0, loss), (problem.variation, total_variation()))
    curvature = 2 * problem.norm**2 / problem.data.size
    sites = max(1, round(height * width / problem.pixels_per_site))
    pictures = []
    for seed in range(fits):
        options = FitOptions(iterations=iterations, seed=seed)
        found = optimize(backend, loss, problem.guess, sites, options, curvature=curvature)
        picture = backend.render(Sites(found.params), width, height)
        pictures.append(problem.finish(picture))
    return pictures


def table(name: str, options: argparse.Namespace, backend: Backend) -> str:
    """Return a problem's table in Markdown; draw its figure."""
    rows: list[list[float]] = []
    seconds = []
    for image_name in options.images:
        image = read(image_name, options.side)
        problem = PROBLEMS[name](image, np.random.default_rng(1))
        shown = {"data": problem.before}
        shown |= {label: baseline() for label, baseline in problem.baselines.items()}
        began = process_time()
        pictures = solve(problem, backend, options.fits, options.iterations)
        seconds.append(process_time() - began)
        shown |= {ONE: pictures[0], MEAN.format(options.fits): np.mean(pictures, axis=0)}
        rows.append([psnr(picture, image) for picture in shown.values()])
        if options.figures and image_name == SHOWN.get(name, "coffee"):
            panels = {
                f"{label}, {psnr(picture, image):.2f} dB": picture
                for label, picture in shown.items()
            }
            path = Path(options.figures) / f"inverse_{name}.png"
            write_figure(path, {"image": image} | panels, columns=4)
    head = ["PSNR, dB", *shown]
    cells = [[f"{value:.2f}" for value in row] for row in [*rows, list(map(mean, zip(*rows)))]]
    lines = [[label, *line] for label, line in zip([*options.images, "mean"], cells)]
    print(f"{name}: {options.fits} fits, {mean(seconds):.1f} s of a CPU", file=sys.stderr)
    return markdown_table(head, lines)


def main() -> None:
    names = (*PROBLEMS, "perceptual")
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--problem", default="all", choices=(*names, "all"))
    parser.add_argument("--images", default=",".join(IMAGES), help="of data/, with commas")
    parser.add_argument("--side", type=int, default=224, help="px of the square taken of each")
    parser.add_argument("--fits", type=int, default=8, help="of which the mean is taken")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--figures", help="a folder; without it no figures are drawn")
    options = parser.parse_args()
    options.images = options.images.split(",")
    backend = get_backend("cpu", options.threads)
    for name in names if options.problem == "all" else (options.problem,):
        make = perceptual if name == "perceptual" else table
        print(f"## {name}\n\n{make(name, options, backend)}\n", flush=True)


if __name__ == "__main__":
    main()
