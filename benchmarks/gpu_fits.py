"""Whole fits, drawing, memory and the authors' own program: for benchmarks/gpu.py."""

from __future__ import annotations

import contextlib
import shlex
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from gpu_device import MemoryProbe, Recorder
from gpu_passes import Bench, Row, Size, enlarged, label, scaled, trial
from timing import shares, timed

from sadcodec import metrics
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.errors import InputError
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.sites import Sites

__all__ = [
    "authors_rows",
    "compile_rows",
    "cpu_rows",
    "decode_rows",
    "fit_rows",
    "memory_rows",
    "time_to",
]

_PRINTED = 8000  # characters of the authors' program that are kept


def _fit(backend: Any, image: np.ndarray, sites: int, iterations: int) -> tuple[Row, np.ndarray]:
    """Fit without quantization; return seconds and quality in code values, and the parameters."""
    height, width, _ = image.shape
    target, sites = shares(image), min(sites, width * height)
    start = perf_counter()
    result = fit(backend, target, sites, FitOptions(iterations=iterations))
    seconds = perf_counter() - start
    decoded = backend.render(Sites(result.params), width, height, bit_depth=8 * image.itemsize)
    similarity = None
    with contextlib.suppress(InputError):  # smaller than its window
        similarity = metrics.ssim(image, decoded)
    row = {
        "backend": backend.name,
        "sites": len(result.params),
        "iterations": iterations,
        "seconds": seconds,
        "psnr_db": metrics.psnr(image, decoded),
        "ssim": similarity,
    }
    return row, result.params


def compile_rows(bench: Bench, sites: int) -> Iterator[Row]:
    """The first fit and the first drawing, which compile the kernels, against the second ones."""
    image, iterations = bench.first, FitOptions.density_interval + 2
    for which in ("first", "second"):
        start = perf_counter()
        params = trial(bench.backend, image, min(sites, image[:, :, 0].size), iterations)
        fitted = perf_counter()
        bench.backend.render(Sites(params), image.shape[1], image.shape[0])
        yield {
            "run": which,
            "iterations": iterations,
            "fit_s": fitted - start,
            "render_s": perf_counter() - fitted,
        }


def fit_rows(bench: Bench, sites: int, iterations: Sequence[int]) -> Iterator[Row]:
    """Fit every image with every number of iterations, the small ones first."""
    compiled = compile_rows(bench, sites)
    warm_up = sum(row["fit_s"] + row["render_s"] for row in compiled)
    for count in sorted(iterations):
        for i, (name, image) in enumerate(bench.images.items()):
            row, params = _fit(bench.backend, image, sites, count)
            if i == 0 and count == min(iterations):  # the same fit again
                again, repeated = _fit(bench.backend, image, sites, count)
                row["equal_when_repeated"] = bool(np.array_equal(params, repeated))
                row["seconds_repeated"] = again["seconds"]
                row["warm_up_seconds"] = warm_up
            yield {"image": name, **row}


def time_to(rows: Sequence[Row], goal: float) -> Row:
    """Return the seconds of the fewest iterations that reach a PSNR.

    Parameters
    ----------
    rows : sequence of rows of `fit_rows`
    goal : float, dB

    Returns
    -------
    dict
        "mean": iterations, seconds, PSNR and SSIM, each the mean over the images, of the smallest
        number of iterations whose mean PSNR reaches the goal, or None; "images": the same of each
        image. Numbers of iterations that not all images have are left out of the mean.
    """
    names = list(dict.fromkeys(row["image"] for row in rows))
    by_count: dict[int, list[Row]] = {}
    for row in rows:
        by_count.setdefault(row["iterations"], []).append(row)
    means = [
        _mean(by_count[count]) for count in sorted(by_count) if len(by_count[count]) == len(names)
    ]
    found: dict[str, Any] = {"goal_db": goal, "means": means, "images": {}}
    found["mean"] = next((mean for mean in means if mean["psnr_db"] >= goal), None)
    for name in names:
        own = sorted((r for r in rows if r["image"] == name), key=lambda r: r["iterations"])
        found["images"][name] = next(
            (
                {key: row[key] for key in ("iterations", "seconds", "psnr_db")}
                for row in own
                if row["psnr_db"] >= goal
            ),
            None,
        )
    return found


def _mean(rows: Sequence[Row]) -> Row:
    mean: Row = {"iterations": rows[0]["iterations"], "images": len(rows)}
    for key in ("seconds", "psnr_db", "ssim"):
        values = [row[key] for row in rows if row[key] is not None]
        mean[key] = statistics.mean(values) if values else None
    return mean


def cpu_rows(bench: Bench, sites: int, iterations: int) -> Iterator[Row]:
    """The same fit of the first image on the GPU and on the CPU."""
    trial(
        bench.backend,
        bench.first,
        min(sites, bench.first[:, :, 0].size),
        FitOptions.density_interval + 2,
    )
    on_gpu, _ = _fit(bench.backend, bench.first, sites, iterations)
    yield on_gpu
    on_cpu, _ = _fit(CpuBackend(bench.threads), bench.first, sites, iterations)
    ratio = on_cpu["seconds"] / on_gpu["seconds"]
    yield {**on_cpu, "ratio": ratio, "difference_db": on_gpu["psnr_db"] - on_cpu["psnr_db"]}


def decode_rows(bench: Bench, sizes: Sequence[Size]) -> Iterator[Row]:
    """Draw fitted diagrams, enlarged; compare with the CPU's drawing."""
    fitted: dict[int, np.ndarray] = {}
    height, width, _ = bench.first.shape
    for size in sizes:
        count = min(size.sites, width * height)
        if count not in fitted:
            fitted[count] = trial(bench.backend, bench.first, count, bench.trial_iterations)
        image = enlarged(bench.first, size.extent)
        rows, columns = image.shape[:2]
        sites = Sites(scaled(fitted[count], columns / width, rows / height))
        yield {"size": label(image, count), **_decode(bench, sites, columns, rows)}


def _decode(bench: Bench, sites: Sites, width: int, height: int) -> Row:
    recorder = Recorder(bench.runtime)
    backend, cpu = CudaBackend(recorder, bench.threads), CpuBackend(bench.threads)

    def draw(of: Any = backend, **options: Any) -> Any:
        return of.render(sites, width, height, bit_depth=8, **options)

    picture = draw()
    with recorder.recording() as launches:
        draw()
    repeated = list(launches)

    def kernels() -> None:
        for launch in repeated:
            launch()

    repeats = min(5, bench.clock.batches)
    row: Row = {
        "render": timed(draw, repeats),
        "kernels": bench.clock.graph(kernels) or bench.clock.throughput(kernels),
        "exact": timed(lambda: draw(exact=True), min(2, repeats)),
        "cpu": timed(lambda: draw(cpu), min(3, repeats)),
    }
    device = bench.runtime.cp.asarray(picture)
    row["copy_to_host"] = timed(device.get, repeats)
    away = np.abs(picture.astype(np.int16) - draw(cpu))
    row["most_difference"] = int(away.max())
    row["share_different"] = float(np.count_nonzero(away) / away.size)
    return row


def memory_rows(bench: Bench, sizes: Sequence[Size]) -> Iterator[Row]:
    """What CuPy's pool holds after a fit and after drawing, from an empty pool on."""
    pool = bench.runtime.cp.get_default_memory_pool()
    for size in sizes:
        image = enlarged(bench.first, size.extent)
        count = min(size.sites, image.shape[0] * image.shape[1])
        row: Row = {"size": label(image, count)}
        bench.clock.wait()
        pool.free_all_blocks()
        before, probe = int(pool.total_bytes()), MemoryProbe(bench.runtime)
        params = trial(CudaBackend(probe), image, count, FitOptions.density_interval + 2)
        row["fit_bytes"], row["fit_foreseen"] = int(pool.total_bytes()) - before, probe.foreseen
        pool.free_all_blocks()
        before, probe = int(pool.total_bytes()), MemoryProbe(bench.runtime)
        CudaBackend(probe).render(Sites(params), image.shape[1], image.shape[0])
        row["render_bytes"] = int(pool.total_bytes()) - before
        row["render_foreseen"] = probe.foreseen
        yield row


def authors_rows(
    paths: Sequence[str], command: str, sites: int, iterations: int, seconds: float
) -> Iterator[Row]:
    """Run another program on every image; {image}, {sites} and {iterations} are filled in."""
    for path in paths:
        words = [
            word.format(image=path, sites=sites, iterations=iterations)
            for word in shlex.split(command)
        ]
        row: Row = {"image": path.rpartition("/")[2], "command": words}
        start = perf_counter()
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            row["error"] = str(error)
        else:
            row["status"] = done.returncode
            row["printed"] = (done.stdout + done.stderr)[-_PRINTED:]
        yield {**row, "seconds": perf_counter() - start}
