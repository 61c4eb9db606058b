"""How long encoding and decoding take, and where the time goes; see docs/BENCHMARKS.md.

Prints tables, or with --json one JSON document. Times are wall-clock medians with the least and the
most in parentheses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from timing import DATA, Times, machine, numbers, read, shares, summary, table, timed

import sadcodec
from sadcodec import bitstream, metrics
from sadcodec.backends.cpu import CpuBackend
from sadcodec.codec import encode_with_report
from sadcodec.effort import DEFAULT_EFFORT, effort_for
from sadcodec.errors import InputError, SadError
from sadcodec.fit.loop import BETA1, BETA2, fit
from sadcodec.fit.schedule import FitOptions, learning_rates
from sadcodec.pixels import code_values
from sadcodec.quantize import dequantize
from sadcodec.refine import RATE_STRENGTH, choose_quantizer, start_refiner
from sadcodec.sites import Sites

TRIAL_ITERATIONS = 60  # of the fit whose diagram the passes are timed on
SWEEPS = 3


def files(path: str, image: np.ndarray, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Encode at each effort; decode the file in this process and as a command."""
    rows = []
    for effort in options.effort:
        made: list[Any] = []

        def encode(effort: int = effort, made: list[Any] = made) -> None:
            made[:] = encode_with_report(
                image, bpp=options.bpp, effort=effort, threads=options.threads
            )

        encoding = timed(encode, options.encodes, warm=False)
        data, report = made
        row = {
            "image": os.path.basename(path),
            "width": image.shape[1],
            "height": image.shape[0],
            "effort": effort,
            "bytes": len(data),
            "bpp": report.bpp,
            "psnr_db": report.psnr,
            "sites": report.sites,
            "encode_ms": encoding,
            "decode_ms": timed(
                lambda data=data: sadcodec.decode(data, threads=options.threads), options.decodes
            ),
            "command_ms": command(data, options.commands, options.threads),
        }
        rows.append(row)
    return rows


def command(data: bytes, repeats: int, threads: int | None) -> Times | None:
    """Time `sad decode` as a process, start-up and writing of the PNG included."""
    if repeats == 0:
        return None
    limit = [] if threads is None else ["--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.sad"), Path(folder, "out.png")
        source.write_bytes(data)
        words = [sys.executable, "-m", "sadcodec", "decode", str(source), "-o", str(target)]
        words += ["--quiet", "--force", *limit]
        return timed(lambda: subprocess.run(words, check=True), repeats)


def passes(image: np.ndarray, sites: int, options: argparse.Namespace) -> dict[str, Times]:
    """Time every pass of fitting, refining and coding on a diagram of this many sites."""
    height, width, channels = image.shape
    sites = min(sites, height * width)
    target, repeats = shares(image), options.repeats
    backend = CpuBackend(options.threads)
    fitted = fit(backend, target, sites, FitOptions(iterations=TRIAL_ITERATIONS, radius=False))
    session = backend.fit_session(target, fitted.params)
    rates = learning_rates(width, height, sites, channels, radius=False) * np.float32(0.01)
    found = {
        "fit: candidate lists": timed(session.refresh, repeats),
        "fit: gradients, all pixels": timed(lambda: session.gradient(None), repeats),
    }
    if min(height, width) >= 2:
        found["fit: gradients, 1 of 4"] = timed(lambda: session.gradient(0), repeats)
    found["fit: Adam"] = timed(lambda: session.adam(rates, BETA1, BETA2), repeats)
    found["fit: statistics, own lists"] = timed(session.removal_deltas, repeats)

    header = bitstream.Header(
        width=width,
        height=height,
        channels=channels,
        bit_depth=8 * image.itemsize,
        k=8,
        site_count=sites,
        quantizer=choose_quantizer(fitted.mse, width, height, sites, channels),
    )
    refinement = start_refiner(backend, target, fitted.params, header)
    refiner = refinement.refiner
    found["refine: least-squares colours"] = timed(lambda: refiner.solve_colors(12), repeats)
    found["refine: costs of symbols"] = timed(lambda: refinement.price(RATE_STRENGTH), repeats)
    sweeps, lists, lambda_ = [], [], refinement.price(RATE_STRENGTH)
    refiner.build_lists()
    for _ in range(SWEEPS):  # each finds less to do than the one before
        start = perf_counter()
        refiner.sweep(lambda_, True)
        sweeps.append(1000 * (perf_counter() - start))
        start = perf_counter()
        refiner.build_lists()  # of sites that have moved: others keep theirs
        lists.append(1000 * (perf_counter() - start))
    found["refine: sweep"] = summary(sweeps)
    found["refine: lists"] = summary(lists)
    found["refine: sweep, colours only"] = timed(lambda: refiner.sweep(lambda_, False), repeats)
    found["refine: removal deltas"] = timed(refiner.removal_deltas, repeats)

    refinement.settle_colors(0)
    symbols = refinement.symbols
    data = bitstream.write(header, symbols)
    _, stored = bitstream.read(data)  # with the colour classes that a decoder knows
    restored = dequantize(stored, width, height, header.quantizer)
    found["coder: encode"] = timed(lambda: bitstream.write(header, symbols), repeats)
    found["coder: decode"] = timed(lambda: bitstream.read(data), repeats)
    found["decode: symbols to sites"] = timed(
        lambda: dequantize(stored, width, height, header.quantizer), repeats
    )
    found["decode: render"] = timed(lambda: backend.render(restored, width, height), repeats)
    return found


def fits(path: str, image: np.ndarray, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Fit without quantization: time, PSNR and SSIM of the picture in code values."""
    height, width, _ = image.shape
    backend = CpuBackend(options.threads)
    start = perf_counter()
    result = fit(
        backend,
        shares(image),
        min(options.sites, width * height),
        replace(FitOptions(), iterations=options.iterations, seed=seed),
    )
    seconds = perf_counter() - start
    picture = backend.render(Sites(result.params), width, height)
    decoded = code_values(picture, 8 * image.itemsize)
    try:
        similarity = metrics.ssim(image, decoded)
    except InputError:  # smaller than its window
        similarity = None
    return {
        "image": os.path.basename(path),
        "sites": len(result.params),
        "iterations": options.iterations,
        "seed": seed,
        "seconds": seconds,
        "psnr_db": metrics.psnr(image, decoded),
        "ssim": similarity,
    }


def file_table(rows: Sequence[dict[str, Any]]) -> str:
    header = ("image", "size", "effort", "bytes", "bpp", "PSNR", "sites")
    header += ("encode ms", "decode ms", "command ms")
    return table(
        header,
        [
            (
                row["image"],
                f"{row['width']}x{row['height']}",
                str(row["effort"]),
                str(row["bytes"]),
                f"{row['bpp']:.3f}",
                f"{row['psnr_db']:.2f}",
                str(row["sites"]),
                *(str(row[name] or "-") for name in ("encode_ms", "decode_ms", "command_ms")),
            )
            for row in rows
        ],
    )


def pass_table(measured: dict[int, dict[str, Times]]) -> str:
    names = list(dict.fromkeys(name for found in measured.values() for name in found))
    return table(
        ("pass, ms", *(f"{sites} sites" for sites in measured)),
        [(n, *(str(found.get(n, "-")) for found in measured.values())) for n in names],
    )


def fit_table(rows: Sequence[dict[str, Any]]) -> str:
    """Every fit; the mean over the images for each seed; the deviation of these means."""
    seeds = sorted({row["seed"] for row in rows})
    lines = [fit_line(row["image"], row) for row in rows]
    means = [mean_fit([row for row in rows if row["seed"] == seed]) for seed in seeds]
    if len(rows) > len(seeds):
        lines += [fit_line("mean", each) for each in means]
    if len(seeds) > 1:
        lines.append(fit_line("deviation of the seeds", mean_fit(means, statistics.stdev), 1))
    return table(("image", "sites", "iterations", "seed", "fit s", "PSNR", "SSIM"), lines)


def mean_fit(
    rows: Sequence[dict[str, Any]], of: Callable[[list[float]], float] = statistics.mean
) -> dict[str, Any]:
    """Return what was measured, averaged over rows that know it."""
    found: dict[str, Any] = {name: rows[0][name] for name in ("sites", "iterations")}
    found["seed"] = rows[0]["seed"] if of is statistics.mean else ""
    for name in ("seconds", "psnr_db", "ssim"):
        known = [row[name] for row in rows if row[name] is not None]
        found[name] = of(known) if len(known) == len(rows) else None
    return found


def fit_line(name: str, row: dict[str, Any], further: int = 0) -> tuple[str, ...]:
    """Return the cells of a line, numbers with so many further decimals."""
    decimals = {"seconds": 2, "psnr_db": 2, "ssim": 4}
    cells = (
        "-" if row[key] is None else f"{row[key]:.{count + further}f}"
        for key, count in decimals.items()
    )
    return (name, str(row["sites"]), str(row["iterations"]), str(row["seed"]), *cells)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", help="default: the images of data/")
    parser.add_argument("--bpp", type=float, default=0.5, help="of the files (default 0.5)")
    parser.add_argument(
        "--effort", type=numbers, default=[DEFAULT_EFFORT], metavar="LIST", help="e.g. 1,5,9"
    )
    parser.add_argument("--threads", type=int, help="default: all processors")
    parser.add_argument("--encodes", type=int, default=1, help="encodes of a file (default 1)")
    parser.add_argument("--decodes", type=int, default=20, help="decodes of a file (default 20)")
    parser.add_argument(
        "--commands", type=int, default=10, help="decodes as a command (default 10; 0: none)"
    )
    parser.add_argument(
        "--passes",
        type=numbers,
        default=[1500, 5000],
        metavar="LIST",
        help="site counts at which the passes are timed, on the first image (default 1500,5000)",
    )
    parser.add_argument("--repeats", type=int, default=10, help="of each pass (default 10)")
    parser.add_argument(
        "--sites", type=int, help="only fit this many sites to each image, without coding them"
    )
    parser.add_argument("--seeds", type=int, default=1, help="of the fits of --sites (default 1)")
    parser.add_argument(
        "--iterations",
        type=int,
        default=effort_for(DEFAULT_EFFORT).iterations,
        help="of the fits of --sites (default: those of the default effort)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    paths = options.images or sorted(str(path) for path in DATA.glob("*.png"))
    report: dict[str, Any] = {"machine": machine(options.threads)}
    try:
        images = {path: read(path) for path in paths}
        if options.sites:
            report["fits"] = [
                fits(path, image, seed, options)
                for seed in range(options.seeds)
                for path, image in images.items()
            ]
        else:
            rows = [files(path, image, options) for path, image in images.items()]
            report["files"] = [row for each in rows for row in each]
            first = next(iter(images.values()))
            report["passes"] = {n: passes(first, n, options) for n in options.passes}
    except (OSError, SadError) as error:
        print(f"speed: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(report, default=asdict))
        return 0
    print("\n".join(f"{name}: {value}" for name, value in report["machine"].items()))
    if "fits" in report:
        print("\n" + fit_table(report["fits"]))
    if "files" in report:
        print("\n" + file_table(report["files"]))
    if report.get("passes"):
        print(f"\npasses on {os.path.basename(paths[0])}\n" + pass_table(report["passes"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
