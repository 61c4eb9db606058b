"""Use diagrams as they are: as a texture, recoloured, with fewer sites; print tables, draw figures.

python examples/forward.py --use all --figures docs/figures

prints the tables of docs/INVERSE.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from time import process_time

import numpy as np
from common import DATA, IMAGES, Array, markdown_table, psnr, write_figure
from PIL import Image
from scipy import ndimage

from sadcodec import Diagram
from sadcodec.backends import at_points
from sadcodec.fit.density import prune

LUMA = np.array([0.299, 0.587, 0.114])
KEPT = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)


def fitted(image: Array, options: argparse.Namespace, sites: int = 0) -> Diagram:
    """Return a diagram of an image in 0..1."""
    code = np.rint(255 * image).astype(np.uint8)
    how = {"sites": sites or options.sites, "effort": options.effort, "threads": options.threads}
    return Diagram.fit(code, backend="cpu", **how)


# ---- A texture -------------------------------------------------------------------------------


def scene(width: int, height: int, across: int = 2) -> tuple[Array, Array, Array]:
    """Trace across x across rays a pixel to a ball on a floor.

    Returns
    -------
    uv : float [M, 2]
        Where a ray meets its surface, in repeats of the texture.
    shade : float [M]
        How much light there is, 0..1; 0 for the sky.
    ray_of : int [M]
        Pixel that the ray is of.
    """
    j, i = np.mgrid[: height * across, : width * across]
    ray_of = (j // across * width + i // across).ravel()
    x = ((i + 0.5) / across - width / 2) / width
    y = (height * 0.3 - (j + 0.5) / across) / width
    ray = np.stack([x, y, np.full_like(x, 0.8)], axis=-1).reshape(-1, 3)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    center, radius, eye = np.array([0.0, -0.3, 2.6]), 0.7, -1.0  # the floor lies 1 under the eye
    with np.errstate(divide="ignore", invalid="ignore"):
        to_floor = np.where(ray[:, 1] < -0.02, eye / ray[:, 1], np.inf)
        along = ray @ center
        inside = radius**2 - (center @ center - along**2)
        to_ball = np.where(inside > 0, along - np.sqrt(np.maximum(inside, 0)), np.inf)
        hit = np.minimum(to_floor, to_ball)
        at = ray * np.where(np.isfinite(hit), hit, 0)[:, None]
    ball = to_ball < to_floor
    normal = (at - center) / radius
    around = np.stack(
        [np.arctan2(normal[:, 0], -normal[:, 2]) / 1.6, -np.arcsin(np.clip(normal[:, 1], -1, 1))], 1
    )
    uv = np.where(ball[:, None], around + 0.5, at[:, [0, 2]] * [0.55, -0.8] + [0.5, 0.9])
    light = np.where(ball, 0.35 + 0.65 * np.clip(normal @ [-0.4, 0.75, -0.53], 0, 1), 1.0)
    shade = np.where(np.isfinite(hit), light * np.where(ball, 1, np.exp(-0.05 * hit)), 0.0)
    return uv, shade, ray_of


def traced(look: Array, shade: Array, ray_of: Array, height: int, width: int) -> Array:
    """Return the mean of the rays' colours in each pixel, float [height, width, 3]."""
    colors = np.clip(look, 0, 1) * shade[:, None]
    sums = [np.bincount(ray_of, channel, height * width) for channel in colors.T]
    return (np.stack(sums, axis=1) / np.bincount(ray_of)[:, None]).reshape(height, width, 3)


def texture(options: argparse.Namespace) -> str:
    """A ball and a floor with a picture at half its size, beside pixels, against the whole one."""
    whole = np.asarray(Image.open(DATA / "coffee.png"), np.float64) / 255
    rows, columns = whole.shape[0] // 2, whole.shape[1] // 2
    small = whole.reshape(rows, 2, columns, 2, 3).mean(axis=(1, 3))
    diagram = fitted(small, options)
    height, width = options.size * 2 // 3, options.size
    uv, shade, ray_of = scene(width, height)
    fold = 1 - np.abs(uv % 2 - 1)  # every other repeat is mirrored

    def sampled(image: Array, order: int) -> Array:
        at = (fold * [image.shape[1], image.shape[0]] - 0.5)[:, ::-1].T
        planes = np.moveaxis(image, 2, 0)
        look = [ndimage.map_coordinates(p, at, order=order, mode="nearest") for p in planes]
        return np.stack(look, axis=1)

    points = fold * [columns, rows]
    looks, seconds = {}, {}
    for label, look in {
        "diagram": lambda: at_points(diagram.sites, points, diagram.k, options.threads).forward(),
        "bilinear": lambda: sampled(small, 1),
        "bicubic": lambda: sampled(small, 3),
    }.items():
        began = process_time()
        looks[label] = look()
        seconds[label] = process_time() - began
    truth = traced(sampled(whole, 1), shade, ray_of, height, width)
    drawn = {k: traced(v, shade, ray_of, height, width) for k, v in looks.items()}
    if options.figures:
        panels = {"whole texture, bilinear": truth}
        panels |= {f"half size, {k}: {psnr(v, truth):.2f} dB": v for k, v in drawn.items()}
        write_figure(Path(options.figures) / "forward_texture.png", panels, columns=2)
    cells = [
        [k, f"{psnr(v, truth):.2f}", f"{1e6 * seconds[k] / len(points):.2f}"]
        for k, v in drawn.items()
    ]
    return markdown_table(["texture at half size", "PSNR, dB", "us of a CPU a sample"], cells)


# ---- An edit ---------------------------------------------------------------------------------


def recoloured(colors: Array) -> Array:
    """Return colours [M, 3] with red and blue differences exchanged, their luma as it was."""
    luma = colors @ LUMA
    other = colors[:, ::-1]
    return other + (luma - other @ LUMA)[:, None]


def edit(options: argparse.Namespace) -> str:
    """The orange suit becomes blue: the same rule for the sites and for the pixels."""
    image = np.asarray(Image.open(DATA / "astronaut.png"), np.float64) / 255
    height, width, _ = image.shape
    diagram = fitted(image, options)

    def orange(colors: Array, y: Array, least: float = 0.4) -> Array:
        red, green, blue = colors.T / np.maximum(colors[:, 0], 0.1)
        return (red - blue > least) & (green - blue > least / 6) & (y > 0.36 * height)

    sites = diagram.sites
    index = np.flatnonzero(orange(sites.color, sites.position[:, 1]))
    blue = diagram.edited(index, color=recoloured(sites.color[index])).render()
    before = diagram.render().astype(np.float64)
    pixels = before.reshape(-1, 3).copy()
    row = np.arange(height * width) // width
    some = orange(pixels, row)
    pixels[some] = recoloured(pixels[some])
    # What both rules took for no orange though it is some: the border of the suit, shadows.
    near = ndimage.binary_dilation(some.reshape(height, width), iterations=3).ravel()
    drawn = {"sites": blue, "pixels": pixels.reshape(image.shape)}
    rows = []
    for label, picture in drawn.items():
        left = near & orange(picture.reshape(-1, 3), row, 0.2)
        luma = np.abs((picture - before) @ LUMA).max()
        rows.append([label, f"{100 * left.sum() / near.sum():.1f}", f"{luma:.1e}"])
    if options.figures:
        box = (slice(70, 256), slice(10, 196))
        panels = {"diagram": before[box]}
        panels |= {f"its {label} recoloured": picture[box] for label, picture in drawn.items()}
        write_figure(Path(options.figures) / "forward_edit.png", panels)
    head = ["recoloured", "still orange, % of pixels", "largest change of luma"]
    return f"{len(index)} of {len(sites)} sites.\n\n{markdown_table(head, rows)}"


# ---- Fewer sites -----------------------------------------------------------------------------


def orders(diagram: Diagram, image: Array) -> dict[str, dict[float, Array]]:
    """Return the sites that each way keeps, by share."""
    target = image.astype(np.float32)
    count = len(diagram.sites)
    session = diagram.backend.fit_session(target, diagram.sites.params, diagram.k)
    once = np.argsort(-session.removal_deltas(), kind="stable")
    by_chance = np.random.default_rng(1).permutation(count)
    ways: dict[str, dict[float, Array]] = {"removal delta": {}, "deltas once": {}, "chance": {}}
    for share in KEPT:
        left = max(1, round(share * count))
        # A twentieth at a time: what a site is worth depends on those that are left.
        while session.site_count > left:
            prune(session, max(left, session.site_count - max(1, count // 20)))
        ways["removal delta"][share] = session.params
        for label, order in (("deltas once", once), ("chance", by_chance)):
            ways[label][share] = diagram.sites.params[np.sort(order[:left])]
    return ways


def detail(options: argparse.Namespace) -> str:
    """PSNR with a share of the sites, nothing fitted anew."""
    found: dict[tuple[str, float], list[float]] = {}
    for name in options.images:
        image = np.asarray(Image.open(DATA / f"{name}.png"), np.float64) / 255
        image = image.reshape(*image.shape[:2], -1)
        height, width, _ = image.shape
        diagram = fitted(image, options)
        panels = {}
        for way, kept in orders(diagram, image).items():
            for share, params in kept.items():
                some = Diagram.from_sites(params, width, height, k=diagram.k, backend="cpu")
                picture = some.render()
                found.setdefault((way, share), []).append(psnr(picture, image))
                if way == "removal delta" and share in (1.0, 0.6, 0.4, 0.2):
                    panels[f"{share:.0%}, {found[way, share][-1]:.2f} dB"] = picture
        # The same number of sites, fitted: what those left over could be.
        for share in KEPT:
            few = fitted(image, options, max(1, round(share * len(diagram.sites))))
            found.setdefault(("fitted", share), []).append(psnr(few.render(), image))
        if options.figures and name == "coffee":
            write_figure(Path(options.figures) / "forward_detail.png", panels)
    ways = list(dict.fromkeys(way for way, _ in found))
    rows = [[f"{s:.0%}", *(f"{mean(found[way, s]):.2f}" for way in ways)] for s in KEPT]
    return markdown_table(["sites kept", *ways], rows)


USES = {"texture": texture, "edit": edit, "detail": detail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--use", default="all", choices=(*USES, "all"))
    parser.add_argument("--images", default=",".join(IMAGES), help="of data/, with commas")
    parser.add_argument("--sites", type=int, default=3000)
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--size", type=int, default=480, help="px, width of the traced picture")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--figures", help="a folder; without it no figures are drawn")
    options = parser.parse_args()
    options.images = options.images.split(",")
    for name in USES if options.use == "all" else (options.use,):
        print(f"## {name}\n\n{USES[name](options)}\n", flush=True)


if __name__ == "__main__":
    main()
