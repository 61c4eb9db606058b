"""Forward and backward passes of sadcodec.torch against plain PyTorch; see docs/GRADIENTS.md.

Two plain implementations of the same model. "tiles": for each tile of 16 x 16 px (8 x 8 where
a site has less than 32 px) the sites of largest upper bound of the logit, as many as --candidates;
each pixel takes its K of them, and the logits of these K are differentiated by autograd. "all
pairs": each pixel takes its K of all sites; timed on some rows of the picture, and scaled to all of
it. Both choose without a graph, so that autograd keeps K sites a pixel. Prints a table of
milliseconds, medians with the least and the most in parentheses, one implementation after the other
in each round: of one thread the time that the processor worked, of more that on the clock.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from time import perf_counter, process_time

import numpy as np
import torch
from PIL import Image
from timing import DATA, machine, markdown_table, numbers, read, shares, summary

from sadcodec.backends.initialize import initialize
from sadcodec.torch import render

K = 8
PAIRS_AT_ONCE = 1 << 22  # faster than more: they stay in the cache

Tensor = torch.Tensor


def table(sites: Tensor) -> Tensor:
    """Return what a logit needs of each site, and its colour: [N, 7 + C]."""
    x, y, log_tau, radius, p, q = sites[:, :6].unbind(dim=1)
    a = (p * p + q * q + 1e-12).sqrt()
    cosh, s = torch.cosh(a), torch.sinh(a) / a
    columns = [x, y, cosh + s * p, 2 * s * q, cosh - s * p, torch.exp(log_tau), radius]
    return torch.cat([torch.stack(columns, dim=1), sites[:, 6:]], dim=1)


def logits(rows: Tensor, points: Tensor) -> Tensor:
    """Return the logits of rows of the table [..., L, 7 + C] at points [..., 2]: [..., L]."""
    x, y, g00, cross, g11, tau, radius = rows[..., :7].unbind(dim=-1)
    dx, dy = points[..., 0, None] - x, points[..., 1, None] - y
    squared = (g00 * dx + cross * dy) * dx + g11 * dy * dy
    return tau * (radius - squared.clamp(min=1e-12).sqrt())


def blended(sites: Tensor, ids: Tensor, points: Tensor) -> Tensor:
    """Return the colours at points [M, 2], of the sites `ids` [M, K]; differentiable."""
    rows = table(sites)[ids]
    weights = torch.softmax(logits(rows, points), dim=1)
    return (weights[:, :, None] * rows[:, :, 7:]).sum(dim=1)


def centers(width: int, rows: range) -> Tensor:
    y, x = torch.meshgrid(torch.tensor(list(rows)), torch.arange(width), indexing="ij")
    return torch.stack([x.flatten() + 0.5, y.flatten() + 0.5], dim=1)


def all_pairs(sites: Tensor, width: int, rows: range) -> Tensor:
    """Return the picture's rows, every site looked at for each pixel."""
    points = centers(width, rows)
    with torch.no_grad():
        every = table(sites)[None]
        pieces = points.split(max(1, PAIRS_AT_ONCE // len(sites)))
        ids = torch.cat([logits(every, some).topk(K, dim=1).indices for some in pieces])
    return blended(sites, ids, points).reshape(len(rows), width, -1)


def by_tiles(sites: Tensor, width: int, height: int, candidates: int) -> Tensor:
    """Return the picture, the pixels of a tile looking at the same candidates."""
    tile = 16 if width * height >= 32 * len(sites) else 8  # px
    across, down = -(-width // tile), -(-height // tile)
    with torch.no_grad():
        every = table(sites)
        _, _, g00, cross, g11, tau, radius = every[:, :7].unbind(dim=1)
        reach = 0.5 * (tile - 1) * (g00 + cross.abs() + g11).sqrt()  # in the site's metric
        inside = centers(tile, range(tile)) - 0.5 * tile
        middles, found = tile * centers(across, range(down)), []
        for some in middles.split(max(1, PAIRS_AT_ONCE // len(sites))):
            distance = radius - logits(every[None], some) / tau
            upper = tau * (radius - (distance - reach).clamp(min=0))
            listed = upper.topk(min(candidates, len(sites)), dim=1).indices  # [tiles, L]
            at = some[:, None] + inside  # [tiles, pixels, 2]
            place = logits(every[listed][:, None], at).topk(K, dim=2).indices
            found.append(listed[:, None].expand(-1, len(inside), -1).gather(2, place))
        ids = torch.cat(found).reshape(down, across, tile, tile, K).transpose(1, 2)
        ids = ids.reshape(down * tile, across * tile, K)[:height, :width].reshape(-1, K)
    return blended(sites, ids, centers(width, range(height))).reshape(height, width, -1)


def passes(sites: Tensor, draw: Callable[[Tensor], Tensor], g: Tensor) -> tuple[Tensor, Tensor]:
    """One forward and backward pass: the picture and the gradients."""
    own = sites.clone().requires_grad_()
    picture = draw(own)
    picture.backward(g)
    return picture.detach(), own.grad


def measure(target: np.ndarray, count: int, options: argparse.Namespace) -> dict:
    height, width, _ = target.shape
    sites = torch.tensor(initialize(target, count))
    g = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    rows = range(height // 2, min(height, height // 2 + options.rows))
    part = g[rows.start : rows.stop]
    runs: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "ours": lambda: passes(sites, lambda s: render(s, (width, height), K), g),
        "tiles": lambda: passes(sites, lambda s: by_tiles(s, width, height, options.candidates), g),
        "all_pairs": lambda: passes(sites, lambda s: all_pairs(s, width, rows), part),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    found = {}
    clock = process_time if options.threads == 1 else perf_counter
    runs["ours"]()  # warms up
    for _ in range(options.repeats):
        for name, run in runs.items():
            start = clock()
            found[name] = run()
            taken[name].append(1000 * (clock() - start))
    taken["all_pairs"] = [height / len(rows) * t for t in taken["all_pairs"]]
    times = {name: summary(values) for name, values in taken.items()}
    (picture, slopes), (other, others) = found["ours"], found["tiles"]
    strip = found["all_pairs"][0]
    return {
        "sites": count,
        "times": times,
        "tiles_ratio": times["tiles"].median / times["ours"].median,
        "least_ratio": times["tiles"].least / times["ours"].most,
        "pairs_ratio": times["all_pairs"].median / times["ours"].median,
        "picture_difference": float((picture[rows.start : rows.stop] - strip).abs().max()),
        "tiles_same": float(((picture - other).abs().amax(dim=2) < 1e-4).float().mean()),
        "gradient_difference": float((slopes - others).norm() / others.norm()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", default=str(DATA / "coffee.png"))
    parser.add_argument("--size", default="768,512", type=numbers, help="width, height in px")
    parser.add_argument("--sites", default="5000,50000", type=numbers)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=64, help="of a tile, in plain PyTorch")
    parser.add_argument("--rows", type=int, default=1, help="of the picture, for all pairs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    picture = Image.fromarray(read(options.image)[:, :, :3]).resize(tuple(options.size))
    target = shares(np.asarray(picture))
    found = [measure(target, count, options) for count in options.sites]
    about = {**machine(options.threads), "torch": torch.__version__}
    if options.json:
        rows = [{**r, "times": {n: asdict(t) for n, t in r["times"].items()}} for r in found]
        print(json.dumps({"machine": about, "rows": rows}))
        return
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    kind = "ms of processor time" if options.threads == 1 else "ms"
    print(
        f"{options.size[0]} x {options.size[1]} px, K = {K}, float32, {threads},"
        f" {about['cpu']}, {about['instruction_set']}, torch {about['torch']}; {kind} of"
        f" a forward and backward pass, {options.repeats} rounds\n"
    )
    header = ["sites", "sadcodec.torch", "plain, tiles", "ratio", "least", "plain, all pairs"]
    header += ["ratio", "same pixels", "gradients"]
    lines = [
        [
            f"{r['sites']:,}",
            *(str(r["times"]["ours"]), str(r["times"]["tiles"])),
            *(f"{r['tiles_ratio']:.0f}", f"{r['least_ratio']:.0f}"),
            *(str(r["times"]["all_pairs"]), f"{r['pairs_ratio']:.0f}"),
            *(f"{100 * r['tiles_same']:.1f} %", f"{r['gradient_difference']:.0e}"),
        ]
        for r in found
    ]
    print(markdown_table(header, lines))
    print(
        "\nratio: of the medians; least: the shortest time of plain PyTorch over our longest; same"
        " pixels: of both pictures, within 1e-4; gradients: norm of the difference, relative."
        f" All pairs: timed on {options.rows} of {options.size[1]} rows, scaled."
    )


if __name__ == "__main__":
    main()
