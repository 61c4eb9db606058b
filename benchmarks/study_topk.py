"""Print how faithful the paper's top-K map is, and what it costs a fit: several tables in Markdown.

docs/STUDY.md says what is in them. `along`: maps beside exact lists along a fit, by injected sites
and passes; `angles`: gradients by column; `coverage`: a map of fixed sites after more passes;
`fits`: final PSNR with maps and with exact lists, `ks`: the same by K.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import topk_measures
from timing import DATA, machine, markdown_table, names_of, numbers
from topk_measures import COLUMNS, Case

from sadcodec.backends.base import DEFAULT_K, Propagation
from sadcodec.errors import SadError
from sadcodec.processors import default_threads
from sadcodec.progress import ProgressBar

Row = dict[str, Any]
Rows = Sequence[Row]

PAPER = Propagation()
MEASURES = ("fidelity", "coverage", "fits")


# ---- Means and deviations -----------------------------------------------------------------------


def by_seed(rows: Rows, value: Callable[[Row], float]) -> list[float]:
    """Return the mean over the images for each seed."""
    seeds: dict[int, list[float]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(value(row))
    return [mean(values) for values in seeds.values()]


def cell(rows: Rows, value: Callable[[Row], float], digits: int) -> str:
    """Return the mean over images and seeds, and the deviation of the seeds' means."""
    if not rows:
        return "-"
    values = by_seed(rows, value)
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def of(rows: Rows, **wanted: Any) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def distinct(rows: Rows, *names: str) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(row[name] for name in names) for row in rows))


# ---- Tables -------------------------------------------------------------------------------------

_MAP_HEADER = [
    "lists that differ, %",
    "best site missed, %",
    "weight missed, %",
    "99.9 % of pixels under, %",
    "most, %",
    "PSNR, dB",
    "gradient, degrees",
]


def map_cells(rows: Rows) -> list[str]:
    return [
        cell(rows, lambda row: 100 * row["differs"], 2),
        cell(rows, lambda row: 100 * row["best_missed"], 2),
        cell(rows, lambda row: 100 * row["missed"], 3),
        cell(rows, lambda row: 100 * row["missed_999"], 1),
        f"{100 * max(row['missed_most'] for row in rows):.1f}",
        cell(rows, lambda row: row["psnr_change_db"], 3),
        cell(rows, lambda row: row["angle"]["all"], 1),
    ]


def along_table(rows: Rows) -> str:
    lines = []
    for iteration, moment in sorted(distinct(rows, "iteration", "moment"), key=_when):
        for injected, passes in sorted(distinct(rows, "injected", "passes"), key=_setting):
            if moment == "before" and (injected, passes) != (PAPER.injected, PAPER.passes):
                continue
            mine = of(rows, iteration=iteration, moment=moment, injected=injected, passes=passes)
            which = [str(iteration), moment, str(injected), str(passes)]
            lines.append(which + map_cells(mine))
    return markdown_table(["iteration", "renewal", "injected", "passes", *_MAP_HEADER], lines)


def _setting(setting: tuple[int, int]) -> tuple[int, int]:
    return setting[1], setting[0]


def _when(at: tuple[int, str]) -> tuple[int, bool]:
    return at[0], at[1] == "after"


def angles_table(rows: Rows) -> str:
    lines = []
    for iteration, moment in sorted(distinct(rows, "iteration", "moment"), key=_when):
        for injected in (0, PAPER.injected):
            chosen = {"injected": injected, "passes": PAPER.passes}
            mine = of(rows, iteration=iteration, moment=moment, **chosen)
            if not mine:
                continue
            cells = [
                cell(mine, lambda row, name=name: row["angle"][name], 1)
                for name in ("all", *COLUMNS)
            ]
            lines.append([str(iteration), moment, str(injected), *cells])
    return markdown_table(["iteration", "renewal", "injected", "all", *COLUMNS], lines)


def coverage_table(rows: Rows) -> str:
    lines = []
    for injected, passes in distinct(rows, "injected", "passes"):
        mine = of(rows, injected=injected, passes=passes)
        lines.append([str(passes), str(injected), *map_cells(mine)])
    lines.sort(key=lambda line: (int(line[0]), int(line[1])))
    return markdown_table(["passes", "injected", *_MAP_HEADER], lines)


def _changes(rows: Rows, others: Rows) -> list[Row]:
    """Give each row the PSNR of the exact fit of its image, seed and K."""
    exact = {(row["image"], row["seed"], row["k"]): row for row in others}
    return [
        row | {"change_db": row["psnr_db"] - exact[row["image"], row["seed"], row["k"]]["psnr_db"]}
        for row in rows
    ]


def _fit_cells(rows: Rows, exact: Rows) -> list[str]:
    return [
        cell(rows, lambda row: row["psnr_db"], 2),
        cell(_changes(rows, exact), lambda row: row["change_db"], 2),
        f"{min(row['change_db'] for row in _changes(rows, exact)):.2f}",
        f"{mean(row['seconds'] for row in rows):.1f}",
    ]


def fits_table(rows: Rows) -> str:
    mine = of(rows, k=DEFAULT_K)
    exact = of(mine, injected=None)
    lines = [["exact", "-", "-", "-", *_fit_cells(exact, exact)]]
    for setting in distinct(of_maps(mine), "injected", "passes", "interval"):
        names = dict(zip(("injected", "passes", "interval"), setting))
        lines.append(["propagate", *map(str, setting), *_fit_cells(of(mine, **names), exact)])
    header = ["lists", "injected", "passes", "interval", "PSNR, dB", "to exact", "worst", "seconds"]
    return markdown_table(header, lines)


def of_maps(rows: Rows) -> list[Row]:
    return [row for row in rows if row["injected"] is not None]


def ks_table(rows: Rows) -> str:
    setting = {name: getattr(PAPER, name) for name in ("injected", "passes", "interval")}
    lines = []
    for (k,) in sorted(distinct(rows, "k")):
        exact, maps = of(rows, k=k, injected=None), of(rows, k=k, **setting)
        if not exact or not maps:
            continue
        of_k = [row | {"k": DEFAULT_K} for row in exact]
        to_default = _changes(of_k, of(rows, k=DEFAULT_K, injected=None))
        cells = [
            cell(exact, lambda row: row["psnr_db"], 2),
            cell(to_default, lambda row: row["change_db"], 2),
            cell(maps, lambda row: row["psnr_db"], 2),
            cell(_changes(maps, exact), lambda row: row["change_db"], 2),
        ]
        seconds = [f"{mean(row['seconds'] for row in each):.1f}" for each in (exact, maps)]
        lines.append([str(k), *cells, *seconds])
    header = ["K", "exact, dB", f"to K = {DEFAULT_K}", "propagate, dB", "to exact", "exact, s"]
    return markdown_table([*header, "propagate, s"], lines)


def tables(report: dict[str, Rows]) -> Iterator[tuple[str, str]]:
    """Give a title and a table for everything that was measured."""
    if "fidelity" in report:
        yield (
            "Maps beside the exact lists of the same sites, along fits:",
            along_table(report["fidelity"]),
        )
        yield "Angle between the gradients, degrees:", angles_table(report["fidelity"])
    if "coverage" in report:
        yield (
            "Maps of fitted sites, after so many passes from their start:",
            coverage_table(report["coverage"]),
        )
    if "fits" in report:
        yield f"Fits at K = {DEFAULT_K}:", fits_table(report["fits"])
        yield "Fits by K:", ks_table(report["fits"])


# ---- Running ------------------------------------------------------------------------------------


def measure(part: str, case: Case) -> list[Row]:
    """Run one part for one image and seed; called in a process of its own."""
    name = Path(case.path).name
    rows = getattr(topk_measures, part)(case)
    return [{"image": name, "seed": case.seed, **row} for row in rows]


def run(parts: Sequence[str], cases: Sequence[Case], jobs: int, bar: ProgressBar) -> dict[str, Any]:
    """Return the rows of each part, in the order of the cases."""
    tasks = [(part, case) for part in parts for case in cases]
    done: dict[int, list[Row]] = {}

    def finish(index: int, rows: list[Row]) -> None:
        done[index] = rows
        bar(len(done) / len(tasks), f"{len(done)} of {len(tasks)}")

    if jobs == 1:
        for index, task in enumerate(tasks):
            finish(index, measure(*task))
    else:
        # Started anew, not forked: the threads of the core do not survive a fork.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(measure, *task): i for i, task in enumerate(tasks)}
            for future in as_completed(futures):
                finish(futures[future], future.result())
    report: dict[str, list[Row]] = {part: [] for part in parts}
    for i, (part, _) in enumerate(tasks):
        report[part] += done[i]
    return report


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", help="default: the images of data/")
    parser.add_argument(
        "--only",
        type=names_of(MEASURES),
        default=list(MEASURES),
        metavar="LIST",
        help="of " + ",".join(MEASURES),
    )
    for name, value, text in (
        ("seeds", [0, 1, 2], "of the fits and of the maps"),
        ("probes", [8, 40, 100, 200], "iterations at which maps are compared"),
        ("injected", [0, 1, 2, 4, 8], "sites drawn at random for a pixel and pass"),
        ("passes", [1, 2], "at each renewal"),
        ("intervals", [2], "iterations between renewals, of fits"),
        ("ks", [4, 6, 8, 12, 16], "K of fits"),
    ):
        shown = ",".join(map(str, value))
        parser.add_argument(
            f"--{name}", type=numbers, default=value, metavar="LIST", help=f"{text} ({shown})"
        )
    parser.add_argument("--sites", type=int, default=5000, help="default 5000")
    parser.add_argument("--iterations", type=int, default=200, help="of every fit (default 200)")
    parser.add_argument(
        "--rate-scale", type=float, default=1.0, help="factor on the learning rates (default 1)"
    )
    parser.add_argument("--jobs", type=int, help="processes of one thread (default: processors)")
    parser.add_argument("--out", metavar="FILE", help="write every number as JSON")
    parser.add_argument(
        "--from", dest="measured", metavar="FILE", help="print the tables of such a file again"
    )
    return parser.parse_args(arguments)


def show(report: dict[str, Any]) -> None:
    """Print what was measured of what, and the tables."""
    case, rows = report["case"], [row for part in MEASURES for row in report.get(part, [])]
    names = ", ".join(name for (name,) in distinct(rows, "image"))
    pace = "" if case["rate_scale"] == 1.0 else f", learning rates x {case['rate_scale']:g}"
    seeds = len(distinct(rows, "seed"))
    counts = f"{case['sites']} sites, {case['iterations']} iterations, {seeds} seeds{pace}"
    print(f"{names}; {counts}.\n")
    for title, table in tables(report):
        print(f"{title}\n\n{table}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.measured is not None:
        try:
            report = json.loads(Path(options.measured).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            print(f"study_topk: {options.measured}: {error}", file=sys.stderr)
            return 1
        show(report)
        return 0
    paths = options.images or sorted(str(path) for path in DATA.glob("*.png"))
    lists = {name: tuple(getattr(options, name)) for name in ("probes", "injected", "passes", "ks")}
    jobs = options.jobs or default_threads()
    try:
        topk_measures.warm_up(paths)
        cases = [
            Case(
                path=path,
                seed=seed,
                sites=options.sites,
                iterations=options.iterations,
                threads=1,
                intervals=tuple(options.intervals),
                rate_scale=options.rate_scale,
                **lists,
            )
            for seed in options.seeds
            for path in paths
        ]
        with ProgressBar() as bar:
            rows = run(options.only, cases, jobs, bar)
            bar.clear()
    except (OSError, SadError) as error:
        print(f"study_topk: {error}", file=sys.stderr)
        return 1
    report = {"machine": machine(1) | {"jobs": jobs}, "case": asdict(cases[0]), **rows}
    if options.out is not None:
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
