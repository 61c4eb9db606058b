"""The results of benchmarks/gpu.py as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gpu_fits import time_to
from timing import Times, markdown_table, table

__all__ = ["part_tables"]

Row = Mapping[str, Any]
Table = tuple[str, Sequence[str], list[list[str]]]


def part_tables(
    part: str, rows: Sequence[Row], *, goal: float = 46.0, markdown: bool = False
) -> str:
    """Return the tables of one part as text."""
    draw = markdown_table if markdown else table
    texts = [
        f"{title}\n{draw(header, lines)}" if not markdown else f"{title}\n\n{draw(header, lines)}"
        for title, header, lines in _TABLES.get(part, _plain)(part, rows, goal)
        if lines
    ]
    return "\n\n".join(texts)


def _cell(value: Any, digits: int = 3) -> str:
    """Text of a value: of times the median."""
    if value is None:
        return "-"
    if isinstance(value, Times):
        value = value.median
    elif isinstance(value, Mapping) and "median" in value:
        value = value["median"]
    if isinstance(value, float):
        return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return str(value)


def _lines(rows: Iterable[Row], *columns: str) -> list[list[str]]:
    return [[_cell(row.get(column)) for column in columns] for row in rows]


def _plain(part: str, rows: Sequence[Row], _: float) -> list[Table]:
    return [(part, ("", "value"), [[k, _cell(v)] for row in rows for k, v in row.items()])]


def _ceilings(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    lines = [[r["name"], r["unit"], _cell(r.get("rate")), _cell(r["ms"], 5)] for r in rows]
    return [("ceilings", ("", "unit", "rate", "ms"), lines)]


def _compile(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("run", "iterations", "fit_s", "render_s")
    return [("compilation", columns, _lines(rows, *columns))]


def _quality(row: Row) -> list[str]:
    return [_cell(row["seconds"]), _cell(row["psnr_db"], 2), _cell(row["ssim"], 4)]


def _fits(_: str, rows: Sequence[Row], goal: float) -> list[Table]:
    lines = [[r["image"], str(r["sites"]), str(r["iterations"]), *_quality(r)] for r in rows]
    reached = time_to(rows, goal)
    means = [[str(m["iterations"]), str(m["images"]), *_quality(m)] for m in reached["means"]]
    header = ("seconds", "PSNR", "SSIM")
    firsts = {**reached["images"], "mean of all": reached["mean"]}
    times = [
        [name, *(_cell(found[key]) for key in ("iterations", "seconds", "psnr_db"))]
        if found
        else [name, "-", "-", "-"]
        for name, found in firsts.items()
    ]
    return [
        ("fits", ("image", "sites", "iterations", *header), lines),
        ("means over the images", ("iterations", "images", *header), means),
        (f"time to {goal:g} dB", ("image", "iterations", "seconds", "PSNR"), times),
    ]


def _cpu(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("backend", "sites", "iterations", "seconds", "psnr_db", "ratio", "difference_db")
    return [("the same fit on the CPU", columns, _lines(rows, *columns))]


def _iterations(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("size", "pixels", "iteration_ms", "step_ms", "step_host_ms", "step_device_ms")
    columns += ("lists_ms", "lists_host_ms", "host_share")
    return [("iterations", columns, _lines(rows, *columns))]


def _passes(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    tables: list[Table] = []
    launches = ("in_a_graph", "among_many", "single", "bytes_ms", "operations_ms", "times_floor")
    launches += ("num_regs", "local_size_bytes", "blocks")
    for size in dict.fromkeys(row["size"] for row in rows):
        own = [row for row in rows if row["size"] == size]
        lists = [
            [stage, *(_cell(found.get(key)) for key in ("mean", "most"))]
            + [_cell(found.get(key)) for key in ("active_per_pixel", "active_in_a_warp")]
            for row in own
            if row["stage"] == "lists"
            for stage, found in row.items()
            if isinstance(found, Mapping)
        ]
        header = ("lists", "mean", "most", "active/pixel", "active/warp")
        tables.append((f"lists of tiles, {size}", header, lists))
        kernels = [row for row in own if "kernel" in row and row["kernel"] != "whole call"]
        lines = [
            [
                f"{row['stage']}: {row['kernel']}",
                *(_cell(row.get(column), 4) for column in launches),
            ]
            for row in kernels
        ]
        tables.append((f"kernels, ms, {size}", ("stage: kernel", *launches), lines))
        calls = [row for row in own if row.get("kernel") == "whole call"]
        whole = ("stage", "among_many", "single", "host")
        tables.append((f"calls, ms, {size}", whole, _lines(calls, *whole)))
    return tables


def _descent(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("size", "stage", "among_many", "single", "host")
    columns += ("launches", "classes", "sites_at_once")
    return [("calls of the integer descent, ms", columns, _lines(rows, *columns))]


def _decode(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("size", "render", "kernels", "copy_to_host", "exact", "cpu")
    columns += ("most_difference", "share_different")
    lines = [
        [*(_cell(row.get(column)) for column in columns[:-1]), f"{row['share_different']:.2e}"]
        for row in rows
    ]
    return [("drawing, ms", columns, lines)]


def _memory(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("fit_bytes", "fit_foreseen", "render_bytes", "render_foreseen")
    lines = [[row["size"], *(f"{row[c] / 2**20:.1f}" for c in columns)] for row in rows]
    return [("device memory, MiB", ("size", *columns), lines)]


def _authors(_: str, rows: Sequence[Row], __: float) -> list[Table]:
    columns = ("image", "seconds", "status", "error")
    return [("the authors' program", columns, _lines(rows, *columns))]


_TABLES: dict[str, Callable[[str, Sequence[Row], float], list[Table]]] = {
    "ceilings": _ceilings,
    "compile": _compile,
    "fits": _fits,
    "cpu": _cpu,
    "iterations": _iterations,
    "passes": _passes,
    "descent": _descent,
    "decode": _decode,
    "memory": _memory,
    "authors": _authors,
}
