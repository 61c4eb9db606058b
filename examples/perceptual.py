"""Fits for MS-SSIM, beside fits for the squared error and scikit-image's superpixels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from time import process_time

import numpy as np
from common import Array, markdown_table, psnr, read, write_figure
from skimage.metrics import structural_similarity
from skimage.segmentation import slic

from sadcodec.backends.base import Backend
from sadcodec.fit.schedule import FitOptions
from sadcodec.inverse import optimize
from sadcodec.losses import Loss, measurement, ms_ssim_loss, total
from sadcodec.sites import Sites

PIXELS_PER_SITE = 100.0
# MS-SSIM bends about so many times as much as the mean squared error, which is added to it.
CURVATURE = 200.0


def superpixels(image: Array, count: int) -> Array:
    """Return an image of `count` superpixels (SLIC), each with its mean colour."""
    gray = image.shape[2] == 1
    plane = image[:, :, 0] if gray else image
    labels = slic(plane, count, channel_axis=None if gray else 2, compactness=0.1 if gray else 10)
    flat = labels.ravel()
    sums = [np.bincount(flat, channel) for channel in image.reshape(len(flat), -1).T]
    colors = np.stack(sums, axis=1) / np.maximum(np.bincount(flat), 1)[:, None]
    return colors[labels]


def scores(picture: Array, image: Array) -> tuple[float, float, float]:
    """Return PSNR, SSIM and MS-SSIM."""
    shown = np.clip(picture, 0, 1).astype(np.float32)
    similarity = structural_similarity(
        image.astype(np.float32),
        shown,
        channel_axis=2,
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=1.0,
    )
    return psnr(picture, image), similarity, 1 - ms_ssim_loss(image.astype(np.float32))(shown)[0]


def perceptual(name: str, options: argparse.Namespace, backend: Backend) -> str:
    """Return the table in Markdown; draw the figure."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    lines, seconds = [], []
    for image_name in options.images:
        image = read(image_name, options.side)
        target = image.astype(np.float32)
        sites = max(1, round(options.side**2 / PIXELS_PER_SITE))
        squares = measurement(lambda u: u, lambda z: z, target)
        both = total((1.0, ms_ssim_loss(target)), (1.0, squares))
        losses: dict[str, tuple[Loss, float]] = {
            "diagram, squared error": (squares, 1.0),
            "diagram, MS-SSIM": (both, CURVATURE),
        }
        shown = {"SLIC": superpixels(image, sites)}
        began = process_time()
        for label, (loss, bend) in losses.items():
            schedule = FitOptions(iterations=options.iterations)
            curvature = bend * 2 / target.size
            result = optimize(backend, loss, target, sites, schedule, curvature=curvature)
            shown[label] = backend.render(Sites(result.params), options.side, options.side)
        seconds.append(process_time() - began)
        for label, picture in shown.items():
            found.setdefault(label, []).append(scores(picture, image))
        values = ["{:.2f}, {:.4f}, {:.4f}".format(*found[label][-1]) for label in shown]
        lines.append([image_name, *values])
        if options.figures and image_name == "coffee":
            titles = {
                "{}: {:.2f} dB, {:.4f}".format(
                    label.removeprefix("diagram, "), *found[label][-1][::2]
                ): picture
                for label, picture in shown.items()
            }
            path = Path(options.figures) / f"inverse_{name}.png"
            write_figure(path, {"image": image} | titles)
    means = ["{:.2f}, {:.4f}, {:.4f}".format(*map(mean, zip(*found[label]))) for label in found]
    print(f"{name}: both fits, {mean(seconds):.1f} s of a CPU", file=sys.stderr)
    return markdown_table(["PSNR, SSIM, MS-SSIM", *found], [*lines, ["mean", *means]])
