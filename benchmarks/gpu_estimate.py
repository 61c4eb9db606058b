"""Print how long the CUDA backend should take on an H200, counted without one: two tables.

Instructions of a warp are read off the machine code for sm_90 (NVRTC 13, nvdisasm) once, into
`COUNTS`; how often each part runs follows from the lengths of lists, taken from diagrams that the
CPU backend fits. docs/GPU.md says what is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gpu_costs import reaching
from gpu_passes import enlarged
from timing import markdown_table, read, shares

from sadcodec.backends.base import DEFAULT_CUT, DEFAULT_K, STATISTICS_CUT
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.cuda_lists import TILE, grid_sides
from sadcodec.backends.reference import metric
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.sites import LOG_TAU, RADIUS, P, Q, X, Y

# An H200: 132 multiprocessors of 4 schedulers, each at best an instruction a cycle.
SCHEDULERS, CLOCK, BYTES_PER_SECOND = 132 * 4, 1.75e9, 4.8e12
ISSUED, COPIED = 0.6, 0.7  # shares of both that are taken to be reached
LAUNCH_US = 2.0  # from the end of one kernel to the start of the next
SCAN_US = 1.5  # a round of 4096 counts, by one block

# Instructions of a warp with K = 8 and RGB, by kernel and by what they grow with. A minimum, a
# maximum, a comparison or a choice takes two cycles of a scheduler: loops that consist of little
# else have twice their number.
COUNTS = {
    "quads": {  # of the two quarters of a warp
        "warp": 190,  # the thresholds
        "row staged": 14,  # 64 entries of a tile's list
        "row bounded": 28,  # 16 entries, for each of the quarters
        "row chosen": 60,
    },
    "gradient_tiles": {
        "warp": 260,  # two a tile; with the error and the loss
        "logit": 34,  # of an entry of a quarter's list, and its insertion
        "blend": 54,
        "sums": 126,  # of an entry that a pixel of the warp blends
        "piece": 120,  # 32 entries of a tile's list, written
    },
    "gradient_sites": {"site": 50, "entry": 6},
    "adam": {"32 sites": 620},
    "filter": {"count block": 1600, "fill block": 560, "count": 77, "fill": 83},
    "filter_lists": {"list block": 2100, "list": 130},
    "filter_lists_wide": {"list block": 17000, "list": 136},
    "filter_wide": {"count block": 13000, "fill block": 4500, "count": 82, "fill": 92},
    "statistics_tiles": {"warp": 1700, "logit": 82, "row": 45},
    "statistics_sites": {"site": 8, "entry": 1},
    "render_tiles": {"warp": 150, "logit": 44, "blend": 52, "active": 34},
}
COLUMNS = 9  # of a parameter row


@dataclass
class Lists:
    """Mean lengths of a diagram's lists, of squares by their side and of quarters of tiles.

    Attributes
    ----------
    sites, width, height : int
    squares : dict
        Of the grids that a fit builds, and of the tiles of density control and of drawing.
    quarter : float
        Entries that one quarter of a tile chooses, or the longer of two.
    blended : float
        Entries of a tile's list that some pixel of a warp blends, eight by four.
    several : float
        Share of the tiles whose lists do not fit into shared memory at once.
    """

    sites: int
    width: int
    height: int
    squares: dict[str, float]
    quarter: float
    blended: float
    several: float

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.width // TILE) * -(-self.height // TILE)


class Sampled:
    """A diagram's sites as the kernels evaluate them: x, y, m0, m1, m2, tau, radius."""

    def __init__(self, params: np.ndarray) -> None:
        g00, g01, *_ = metric(*(params[:, column].astype(np.float64) for column in (P, Q)))
        m0 = np.sqrt(g00)
        tau = np.exp(params[:, LOG_TAU].astype(np.float64))
        self.columns = (
            *(params[:, X], params[:, Y], m0, g01 / m0, 1 / m0),
            *(tau, params[:, RADIUS]),
        )

    def listed(self, of: np.ndarray, at: tuple[int, int], side: int, cut: float) -> np.ndarray:
        """Return which of the sites `of` a square lists, as kernels/candidates.cu does."""
        x, y, m0, m1, m2, tau, radius = (column[of] for column in self.columns)
        dx, dy, half = at[0] + side / 2 - x, at[1] + side / 2 - y, (side - 1) / 2
        distance = np.hypot(m0 * dx + m1 * dy, m2 * dy)
        reach = np.hypot(half * (m0 + np.abs(m1)), half * m2)
        least = -np.sort(tau * (distance + reach - radius))[:DEFAULT_K]
        bound = max(least[-1], least[0] - cut)
        return of[tau * (radius - np.maximum(distance - reach, 0)) >= bound]

    def chosen(self, of: np.ndarray, at: tuple[int, int]) -> int:
        """Return how many of a tile's sites a quarter of it chooses."""
        return int(reaching([c[of] for c in self.columns], at, DEFAULT_K, DEFAULT_CUT).sum())

    def blended(self, of: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        """Return bool [pixels, entries]: which of a tile's sites each of its pixels blends."""
        x, y, m0, m1, m2, tau, radius = (column[of] for column in self.columns)
        rows, columns = np.mgrid[at[1] : at[1] + TILE, at[0] : at[0] + TILE].reshape(2, -1, 1) + 0.5
        dx, dy = columns - x, rows - y
        logits = tau * (radius - np.hypot(m0 * dx + m1 * dy, m2 * dy))
        best = -np.sort(-logits, axis=1)[:, :DEFAULT_K]
        return np.asarray(logits >= np.maximum(best[:, -1], best[:, 0] - DEFAULT_CUT)[:, None])


def measured(params: np.ndarray, width: int, height: int, samples: int = 40) -> Lists:
    """Return the lengths of a diagram's lists, from some squares of it."""
    rng, sites = np.random.default_rng(0), Sampled(params)
    everything = np.arange(len(params))
    sides = grid_sides(width, height, len(params))[:-1]
    found: dict[str, list[float]] = {}
    for _ in range(samples):
        corner = (64 * int(rng.integers(width // 64)), 64 * int(rng.integers(height // 64)))
        large = everything
        for side in sides:
            if side >= 64:
                large = sites.listed(large, _square(corner, side), side, DEFAULT_CUT)
                _note(found, str(side), large)
        for _ in range(4):
            tile = (
                corner[0] + TILE * int(rng.integers(8)),
                corner[1] + TILE * int(rng.integers(8)),
            )
            of = large
            if sides[-1] < 64:
                of = sites.listed(large, _square(tile, sides[-1]), sides[-1], DEFAULT_CUT)
                _note(found, str(sides[-1]), of)
            ids = sites.listed(of, tile, TILE, DEFAULT_CUT)
            _note(found, "8", ids)
            found.setdefault("several", []).append(len(ids) > 192)
            for name, cut in (("statistics", STATISTICS_CUT), ("drawing", 16.0)):
                _note(found, name, sites.listed(large, tile, TILE, cut))
            quarters = [
                sites.chosen(ids, (tile[0] + x, tile[1] + y)) for y in (0, 4) for x in (0, 4)
            ]
            found.setdefault("quarter", []).append((max(quarters[:2]) + max(quarters[2:])) / 2)
            halves = sites.blended(ids, tile).reshape(2, -1, len(ids)).any(axis=1)
            found.setdefault("blended", []).append(halves.sum() / 2)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    others = [means.pop(name) for name in ("quarter", "blended", "several")]
    return Lists(len(params), width, height, means, *others)


def _square(at: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the corner of the square of a grid that a place is in."""
    return at[0] // side * side, at[1] // side * side


def _note(found: dict[str, list[float]], name: str, ids: np.ndarray) -> None:
    found.setdefault(name, []).append(len(ids))


# ---- Times ----------------------------------------------------------------------------------


def microseconds(instructions: float, size: float) -> float:
    """Return the microseconds of a launch, from instructions of warps and bytes moved."""
    issue = instructions / (SCHEDULERS * CLOCK * ISSUED)
    return 1e6 * max(issue, size / (BYTES_PER_SECOND * COPIED)) + LAUNCH_US


def quads(lists: Lists, length: float) -> float:
    """Instructions of a warp to choose the sites of its quarters from lists of a length."""
    c, rows = COUNTS["quads"], length / 16
    stagings, choices = 1 + 3 * lists.several, 1 + lists.several
    staging = stagings * (40 + length / 64 * c["row staged"])
    return c["warp"] + rows * (c["row bounded"] + choices * c["row chosen"]) + staging


def gradient_tiles(lists: Lists) -> float:
    """Microseconds of the sums of all tiles."""
    c, length = COUNTS["gradient_tiles"], lists.squares["8"]
    warp = c["warp"] + quads(lists, length) + lists.quarter * (c["logit"] + c["blend"])
    warp += lists.blended * c["sums"] + length / 32 * c["piece"]
    size = 12 * lists.width * lists.height + lists.tiles * length * (4 + 4 * COLUMNS)
    return microseconds(2 * lists.tiles * warp, size + 64 * lists.sites)


def gradient_sites(lists: Lists) -> float:
    """Microseconds of the gradients of the sites."""
    c, entries = COUNTS["gradient_sites"], lists.tiles * lists.squares["8"]
    size = entries * (8 + 4 * COLUMNS) + lists.sites * 8 * COLUMNS
    return microseconds(lists.sites * c["site"] + entries * c["entry"], size)


def adam(lists: Lists) -> float:
    """Microseconds of a step."""
    size = lists.sites * (7 * 4 * COLUMNS + 64)
    return microseconds(lists.sites / 32 * COUNTS["adam"]["32 sites"], size)


def renewal(lists: Lists, name: str = "8") -> float:
    """Microseconds of new lists, without sorting their entries: `name` says which tiles'.

    For drawing a grid is one launch, without the sums of counts.
    """
    kernel, parts = (
        ("filter_lists", ["list"]) if name == "drawing" else ("filter", ["count", "fill"])
    )
    total, parents = 0.0, float(lists.sites)
    for side in grid_sides(lists.width, lists.height, lists.sites):
        squares = -(-lists.width // side) * -(-lists.height // side)
        c, threads = (COUNTS[f"{kernel}_wide"], 1024) if side >= 64 else (COUNTS[kernel], 128)
        rounds = -(-parents // threads) * threads / 32
        for part in parts:
            blocks = squares * (c[f"{part} block"] + rounds * c[part])
            # Fewer blocks than multiprocessors leave some without work.
            total += microseconds(blocks * max(1.0, 132 / squares), 0.0)
        if kernel == "filter":
            total += LAUNCH_US + SCAN_US * -(-squares // 4096)
        parents = lists.squares[name if side == TILE else str(side)]
    return total


def sort(entries: float) -> float:
    """Microseconds of sorting entries by site and finding where each site's begin."""
    room = 1.5 * entries
    return 9 * LAUNCH_US + microseconds(0.0, room * (8 + 4 * 24)) + microseconds(0.0, room * 12)


def statistics(lists: Lists) -> float:
    """Microseconds of a step of density control: its lists, its sums, kept rows."""
    c, length = COUNTS["statistics_tiles"], lists.squares["statistics"]
    entries = lists.tiles * length
    warp = c["warp"] + length * (c["logit"] + c["row"])
    total = renewal(lists, "statistics") + sort(entries)
    total += microseconds(2 * lists.tiles * warp, entries * 16)
    c = COUNTS["statistics_sites"]
    total += microseconds(lists.sites * c["site"] + entries * c["entry"], entries * 20)
    return total + 2 * sort(lists.sites) + 12 * LAUNCH_US


def drawing(lists: Lists) -> float:
    """Microseconds of the kernels of a picture."""
    c, length = COUNTS["render_tiles"], lists.squares["drawing"]
    warp = c["warp"] + quads(lists, length) + lists.quarter * (c["logit"] + c["blend"])
    warp += lists.blended * c["active"]
    prepare = microseconds(lists.sites / 32 * 2500, lists.sites * 200)
    picture = microseconds(2 * lists.tiles * warp, 12 * lists.width * lists.height)
    return renewal(lists, "drawing") + prepare + picture


def estimates(lists: Lists) -> dict[str, float]:
    """Return the microseconds of each part of a fit, and of drawing."""
    parts = {
        "gradient, tiles": gradient_tiles(lists),
        "gradient, sites": gradient_sites(lists),
        "Adam": adam(lists),
    }
    parts["iteration"] = sum(parts.values())
    parts["lists renewed"] = renewal(lists) + sort(lists.tiles * lists.squares["8"])
    parts["density step"] = statistics(lists)
    parts["drawing"] = drawing(lists)
    return parts


# ---- Diagrams -------------------------------------------------------------------------------


class _Noting:
    """A session that keeps copies of its parameters at some of its gradients."""

    def __init__(self, session: Any, at: tuple[int, ...]) -> None:
        self._session, self._at, self._calls = session, at, 0
        self.found: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def gradient(self, *arguments: Any) -> Any:
        if self._calls in self._at:
            self.found.append(self._session.params)
        self._calls += 1
        return self._session.gradient(*arguments)


class _Backend:
    """The CPU backend with such sessions."""

    def __init__(self, at: tuple[int, ...], threads: int | None) -> None:
        self._backend, self._at = CpuBackend(threads), at

    def fit_session(self, *arguments: Any) -> _Noting:
        self.session = _Noting(self._backend.fit_session(*arguments), self._at)
        return self.session


def diagrams(
    image: np.ndarray, sites: int, iterations: int, threads: int | None
) -> Iterator[np.ndarray]:
    """Yield the diagrams of a fit at its start, in its course and at its end."""
    at = tuple(iterations * k // 4 for k in range(4))
    backend: Any = _Backend(at, threads)
    last = fit(backend, shares(image), sites, FitOptions(iterations=iterations)).params
    yield from (*backend.session.found, last)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--sites", type=int, default=50_000)
    parser.add_argument("--iterations", type=int, default=440)
    parser.add_argument("--enlarge", type=int, nargs=2, metavar=("W", "H"))
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    image = enlarged(read(options.image), tuple(options.enlarge) if options.enlarge else None)
    height, width, _ = image.shape
    found = [
        measured(params, width, height)
        for params in diagrams(image, options.sites, options.iterations, options.threads)
    ]
    names = ["start", "1/4", "1/2", "3/4", "end"]
    lengths = [["sites", *(str(lists.sites) for lists in found)]]
    for name in found[0].squares:
        label = f"{name} px" if name.isdigit() else f"8 px, {name}"
        lengths.append([label, *(f"{lists.squares.get(name, 0):.0f}" for lists in found)])
    lengths.append(["quarter", *(f"{lists.quarter:.1f}" for lists in found)])
    lengths.append(["blended by a warp", *(f"{lists.blended:.1f}" for lists in found)])
    print(markdown_table(["entries", *names], lengths), end="\n\n")
    times = [estimates(lists) for lists in found]
    rows = [[part, *(f"{time[part]:.0f}" for time in times)] for part in times[0]]
    print(markdown_table(["us", *names], rows), end="\n\n")
    print(_whole(times, options.iterations))


def _whole(times: list[dict[str, float]], iterations: int) -> str:
    """Return how long a fit takes, by parts."""
    mean = {part: float(np.mean([time[part] for time in times])) for part in times[0]}
    interval, density = FitOptions.list_interval, FitOptions.density_interval
    steps = int(0.6 * iterations) // density + 1
    renewals = 2 * steps + -(-(iterations - steps * density) // interval)
    parts = {
        f"{iterations} iterations": iterations * mean["iteration"],
        f"{renewals} renewals": renewals * mean["lists renewed"],
        f"{steps} density steps": steps * mean["density step"],
    }
    text = ", ".join(f"{part} {us / 1000:.1f} ms" for part, us in parts.items())
    return f"{text}; together {sum(parts.values()) / 1000:.0f} ms of kernels"


if __name__ == "__main__":
    main()
