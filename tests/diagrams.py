"""Diagrams for tests: random ones, and the degenerate ones that every backend must render alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sadcodec.sites import Sites


@dataclass(frozen=True)
class Diagram:
    name: str
    sites: Sites
    width: int
    height: int
    k: int = 8

    def __str__(self) -> str:
        return self.name


def random_sites(
    seed: int,
    count: int,
    width: int,
    height: int,
    channels: int = 3,
    *,
    log_tau: tuple[float, float] = (-2.0, 2.0),
    radius: tuple[float, float] = (0.0, 4.0),
    anisotropy: tuple[float, float] = (0.0, 2.0),
    margin: float = 0.0,
) -> Sites:
    """Sites drawn uniformly from the ranges; `margin` px around the image are filled too."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, count)
    a = rng.uniform(*anisotropy, count)
    return Sites.from_fields(
        np.stack(
            [
                rng.uniform(-margin, width + margin, count),
                rng.uniform(-margin, height + margin, count),
            ],
            axis=1,
        ),
        rng.uniform(*log_tau, count),
        rng.uniform(*radius, count),
        np.stack([a * np.cos(angle), a * np.sin(angle)], axis=1),
        rng.uniform(0, 1, (count, channels)),
    )


def smooth_target(seed: int, width: int, height: int, channels: int) -> np.ndarray:
    """float32 [H, W, C] in 0..1: waves and an edge, different in each channel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    image = np.empty((height, width, channels))
    for c in range(channels):
        fx, fy, phase = rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.4), rng.uniform(0, 6)
        image[..., c] = 0.5 + 0.3 * np.sin(fx * x + fy * y + phase)
    image[x + 0.3 * y > 0.6 * width] *= 0.6
    return image.astype(np.float32)


def _fields(count: int, seed: int = 0, channels: int = 3) -> dict[str, np.ndarray]:
    """Fields of `count` plain sites at the origin, with random colours."""
    return {
        "position": np.zeros((count, 2)),
        "log_tau": np.zeros(count),
        "radius": np.zeros(count),
        "anisotropy": np.zeros((count, 2)),
        "color": np.random.default_rng(seed).uniform(0, 1, (count, channels)),
    }


def _lattice(columns: int, rows: int, spacing: float, offset: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns]
    return np.stack([x.ravel(), y.ravel()], axis=1) * spacing + offset


def _with(count: int, seed: int = 0, channels: int = 3, **fields: object) -> Sites:
    return Sites.from_fields(**{**_fields(count, seed, channels), **fields})


def random_diagrams() -> list[Diagram]:
    """Ordinary diagrams: sizes that are no multiple of a tile, 1 to 4 channels, several K."""
    shapes = [
        ("gray", 200, 61, 43, 1, 8),
        ("gray alpha", 150, 33, 57, 2, 8),
        ("color", 600, 97, 70, 3, 8),
        ("color alpha", 300, 64, 64, 4, 8),
        ("nearest only", 300, 70, 50, 3, 1),
        ("K 2", 300, 65, 40, 3, 2),
        ("K 5", 300, 70, 50, 3, 5),
        ("K 16", 300, 70, 50, 3, 16),
        ("wide", 100, 300, 5, 3, 8),
        ("crosses a work unit", 400, 150, 140, 3, 8),
    ]
    return [
        Diagram(name, random_sites(i, count, width, height, channels), width, height, k)
        for i, (name, count, width, height, channels, k) in enumerate(shapes)
    ]


def degenerate_diagrams() -> list[Diagram]:
    """Diagrams at the edges of what the format allows, and where ties decide the colours."""
    rng = np.random.default_rng(7)
    center = np.full((40, 2), 16.5)
    return [
        Diagram("one site", _with(1, position=[[3.0, 4.0]]), 20, 13),
        Diagram("one site far outside", _with(1, position=[[-9000.0, 7000.0]]), 20, 13),
        Diagram("N < K", _with(3, position=[[2, 2], [9.5, 3], [4, 11]]), 17, 15),
        Diagram("N = K", random_sites(11, 8, 30, 20), 30, 20),
        Diagram("1 x 1", random_sites(12, 50, 1, 1), 1, 1),
        Diagram("1 x 1, one site", _with(1, position=[[0.5, 0.5]]), 1, 1),
        Diagram("1 x N", random_sites(13, 40, 1, 77), 1, 77),
        Diagram("N x 1", random_sites(14, 40, 77, 1), 77, 1),
        # Every logit of a pixel is equal: only the index says which K sites it takes.
        Diagram("coincident", _with(40, position=center), 33, 33),
        Diagram("coincident, K 1", _with(40, position=center), 33, 33, 1),
        Diagram("coincident, K 16", _with(40, position=center), 33, 33, 16),
        Diagram(
            "coincident, hard, far",
            _with(40, position=center * 0 - 300.3, log_tau=np.full(40, 8.0)),
            33,
            33,
        ),
        Diagram(
            "coincident groups",
            _with(
                60, position=np.repeat(rng.uniform(0, 40, (5, 2)), 12, axis=0)[rng.permutation(60)]
            ),
            40,
            40,
        ),
        # Sites on pixel centres and corners: every pixel has exact ties among its neighbours.
        Diagram("lattice on centres", _with(100, position=_lattice(10, 10, 4.0, 0.5)), 40, 40),
        Diagram("lattice on corners", _with(100, position=_lattice(10, 10, 4.0)), 40, 40, 3),
        Diagram(
            "lattice, all soft",
            _with(256, position=_lattice(16, 16, 2.0, 0.5), log_tau=np.full(256, -8.0)),
            32,
            32,
        ),
        Diagram(
            "lattice, hard",
            _with(256, position=_lattice(16, 16, 2.0), log_tau=np.full(256, 6.0)),
            32,
            32,
            2,
        ),
        Diagram(
            "lattice, skewed metric",
            _with(
                144,
                position=_lattice(12, 12, 3.0),
                anisotropy=np.tile([0.0, 1.3], (144, 1)),
                log_tau=np.full(144, -3.0),
            ),
            36,
            36,
        ),
        # tau so small that every weight is 1 / K: membership of the top K is all there is.
        Diagram("all soft", random_sites(15, 500, 50, 40, log_tau=(-8, -8), radius=(0, 0)), 50, 40),
        Diagram("all soft, radii", random_sites(16, 500, 50, 40, log_tau=(-8, -7)), 50, 40),
        Diagram(
            "all soft, K 1",
            random_sites(17, 500, 50, 40, log_tau=(-8, -8), radius=(0, 0)),
            50,
            40,
            1,
        ),
        Diagram("log_tau -8 to 6", random_sites(18, 400, 60, 50, log_tau=(-8, 6)), 60, 50),
        Diagram("log_tau 6", random_sites(19, 400, 60, 50, log_tau=(6, 6)), 60, 50),
        Diagram("log_tau 8", random_sites(20, 400, 60, 50, log_tau=(8, 8), margin=20), 60, 50),
        Diagram("log_tau 10", random_sites(34, 400, 60, 50, log_tau=(10, 10)), 60, 50),
        Diagram("log_tau -10", random_sites(35, 400, 60, 50, log_tau=(-10, -10)), 60, 50),
        Diagram("radius 512", random_sites(21, 300, 60, 50, radius=(512, 512)), 60, 50),
        Diagram("radius 0 to 512", random_sites(22, 300, 60, 50, radius=(0, 512)), 60, 50),
        Diagram(
            "radius 512, soft",
            random_sites(23, 300, 60, 50, radius=(500, 512), log_tau=(-8, -4)),
            60,
            50,
        ),
        Diagram(
            "negative radius",
            random_sites(24, 300, 60, 50, radius=(-1024, -1000), log_tau=(-2, -1)),
            60,
            50,
        ),
        Diagram("far outside, one tau", _outside(39, log_tau=-2.0, reach=1e5), 60, 50),
        Diagram("a = 4", random_sites(25, 300, 60, 50, anisotropy=(4, 4)), 60, 50),
        Diagram(
            "a = 4, all soft",
            random_sites(26, 300, 60, 50, anisotropy=(4, 4), log_tau=(-8, -6)),
            60,
            50,
        ),
        Diagram(
            "a = 6, hard", random_sites(27, 300, 60, 50, anisotropy=(6, 6), log_tau=(2, 6)), 60, 50
        ),
        Diagram("a near 0", random_sites(28, 300, 60, 50, anisotropy=(0, 1e-7)), 60, 50),
        Diagram(
            "a around the series", random_sites(29, 300, 60, 50, anisotropy=(0.49, 0.51)), 60, 50
        ),
        Diagram("all outside", _outside(30), 60, 50),
        Diagram("all outside, soft", _outside(31, log_tau=-8.0), 60, 50),
        Diagram("thousands in one pixel", _crowd(32), 40, 30),
        Diagram("thousands in one pixel, soft", _crowd(33, log_tau=-8.0), 40, 30),
        Diagram("hundreds coincide far off", _far_ties(), 11, 5),
        Diagram("hundreds coincide far off, K 2", _far_ties(), 11, 5, 2),
        Diagram(
            "one site over all others",
            _dominated(36),
            60,
            50,
        ),
        Diagram("colors outside 0..1", _wild_colors(37), 60, 50),
        Diagram("black and white, soft", _black_and_white(38), 60, 50),
    ]


def _outside(seed: int, log_tau: float = 0.0, reach: float = 5000.0) -> Sites:
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, 200)
    away = rng.uniform(0.02 * reach, reach, 200)
    position = np.stack([30 + away * np.cos(angle), 25 + away * np.sin(angle)], axis=1)
    return _with(200, seed, position=position, log_tau=np.full(200, log_tau))


def _crowd(seed: int, log_tau: float = 2.0) -> Sites:
    """3000 sites within one pixel, 20 elsewhere."""
    rng = np.random.default_rng(seed)
    position = np.concatenate([rng.uniform(17, 18, (3000, 2)), rng.uniform(0, 30, (20, 2))])
    return _with(3020, seed, position=position, log_tau=np.full(3020, log_tau))


def _far_ties() -> Sites:
    """Black sites and then white ones in one place, 12.5 logits under the site of every pixel."""
    position = np.full((600, 2), 2.5)
    position[0, 0], position[1:, 0] = 11.0, 23.5
    color = np.ones((600, 3))
    color[:16] = 0.0
    return _with(600, position=position, color=color)


def _dominated(seed: int) -> Sites:
    """Random sites, and a last one whose radius puts it above all of them everywhere."""
    params = random_sites(seed, 200, 60, 50, log_tau=(0, 0)).params.copy()
    params[-1, 3] = 512.0
    return Sites(params)


def _wild_colors(seed: int) -> Sites:
    params = random_sites(seed, 300, 60, 50).params.copy()
    params[:, 6:] = np.random.default_rng(seed).uniform(-1, 2, (300, 3))
    return Sites(params)


def _black_and_white(seed: int) -> Sites:
    """Colours 0 and 1 alone, so that one site more or less in a top K shows most."""
    params = random_sites(seed, 400, 60, 50, log_tau=(-8, -5), radius=(0, 0)).params.copy()
    params[:, 6:] = np.random.default_rng(seed).integers(0, 2, (400, 1))
    return Sites(params)
