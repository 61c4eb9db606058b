"""What a GPU does in fitting and drawing, and how far that is from what it could; see
docs/BENCHMARKS.md.

Measures part by part, each in a process of its own, so that one that fails or hangs does not take
the others' results along; prints tables, and with --out writes everything as JSON after each row.
"""  # noqa: D205 - the command's help

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import gpu_descent
import gpu_fits
import gpu_passes
from gpu_device import Clock, ceilings
from gpu_passes import Bench, Row, Size
from gpu_tables import part_tables
from timing import DATA, machine, numbers, read

from sadcodec.errors import SadError

# What is measured: the image as it is, and enlarged.
_MIDDLE, _LARGE = (2048, 1365), (7680, 4320)
SIZES = [Size(5_000), Size(50_000), Size(50_000, _MIDDLE), Size(200_000, _LARGE)]
DRAWN = [Size(n, extent) for extent in (None, _MIDDLE, _LARGE) for n in (5_000, 50_000)]
QUICK_SIZES = [Size(12), Size(30, (40, 24))]
CROP = (24, 32)  # rows and columns of --quick

CPU_ITERATIONS = 500
AUTHORS_SECONDS = 120.0

# In this order: what matters most comes first. Seconds after which a part starts no further row;
# it is ended after these and GRACE.
LIMITS = {
    "machine": 30.0,
    "ceilings": 30.0,
    "compile": 120.0,
    "fits": 120.0,
    "iterations": 30.0,
    "passes": 90.0,
    "descent": 40.0,
    "decode": 40.0,
    "cpu": 30.0,
    "memory": 30.0,
    "authors": 300.0,
}
GRACE = 45.0
NO_DEVICE = 3  # status where there is nothing to measure


def part_rows(part: str, bench: Bench, options: argparse.Namespace) -> Iterator[Row]:
    """Measure one part: the rows of its results, as they come."""
    quick = options.quick
    drawn = QUICK_SIZES if quick else DRAWN
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "machine": lambda: iter([gpu_machine(bench.runtime, options.threads)]),
        "ceilings": lambda: ceilings(
            bench.runtime,
            bench.clock,
            size=1 << 16 if quick else 1 << 30,
            steps=4 if quick else 2048,
        ),
        "compile": lambda: gpu_fits.compile_rows(bench, options.sites),
        "fits": lambda: gpu_fits.fit_rows(bench, options.sites, options.iterations),
        "iterations": lambda: gpu_passes.iteration_rows(bench),
        "passes": lambda: gpu_passes.pass_rows(bench),
        "descent": lambda: gpu_descent.descent_rows(bench),
        "decode": lambda: gpu_fits.decode_rows(bench, drawn),
        "cpu": lambda: gpu_fits.cpu_rows(
            bench, options.sites, min(CPU_ITERATIONS, max(options.iterations))
        ),
        "memory": lambda: gpu_fits.memory_rows(bench, bench.sizes),
        "authors": lambda: gpu_fits.authors_rows(
            options.images, options.authors, options.sites, max(options.iterations), AUTHORS_SECONDS
        ),
    }
    return parts[part]()


def gpu_machine(runtime: Any, threads: int | None) -> Row:
    """Return what the figures depend on."""
    cuda = runtime.cp.cuda
    properties = cuda.runtime.getDeviceProperties(runtime.device)
    row: Row = {
        "gpu": runtime.name,
        "compute_capability": cuda.Device(runtime.device).compute_capability,
        "memory_bytes": int(cuda.runtime.memGetInfo()[1]),
        "cuda_driver": cuda.runtime.driverGetVersion(),
        "cuda_runtime": cuda.runtime.runtimeGetVersion(),
        "nvrtc": ".".join(str(n) for n in cuda.nvrtc.getVersion()),
        "cupy": runtime.cp.__version__,
    }
    for name in ("multiProcessorCount", "l2CacheSize", "sharedMemPerMultiprocessor", "clockRate"):
        if name in properties:
            row[name] = properties[name]
    row["driver"] = _first_line(Path("/proc/driver/nvidia/version"))
    row["commit"] = _commit()
    return {**row, **machine(threads)}


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return None


def _commit() -> str | None:
    """Return the commit and whether files were changed since, where git knows."""
    words = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class Report:
    """Results by part, and a file that always has the latest.

    Attributes
    ----------
    rows : dict
        Parts, each a list of rows; under "errors" the trace of a part that failed, under
        "left_out" what there was no time for.
    """

    def __init__(self, path: str | None) -> None:
        self.rows: dict[str, Any] = {"errors": {}, "left_out": {}, "seconds": {}}
        self._path = Path(path) if path else None
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(json.dumps(self.rows, default=_plain, indent=1) + "\n", encoding="utf-8")
        part.replace(self._path)

    def take(self, path: Path) -> None:
        """Take over what another process has written."""
        if not path.exists():
            return
        for name, value in json.loads(path.read_text(encoding="utf-8")).items():
            if isinstance(value, dict):
                self.rows.setdefault(name, {}).update(value)
            else:
                self.rows[name] = value


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.item() if hasattr(value, "item") else str(value)


def measure(part: str, bench: Bench, options: argparse.Namespace, report: Report) -> None:
    """Measure a part in this process; an error ends it and keeps the rows before."""
    start = perf_counter()
    limit = min(LIMITS[part], options.seconds)
    report.rows[part] = rows = []
    try:
        with bench.runtime.activate():
            for row in part_rows(part, bench, options):
                rows.append(row)
                report.save()
                if perf_counter() - start > limit:
                    report.rows["left_out"][part] = f"stopped after {len(rows)} rows, {limit:.0f} s"
                    break
    except Exception:  # noqa: BLE001 - whatever it is: the other parts are still to be measured
        report.rows["errors"][part] = traceback.format_exc()
    if part == "ceilings":
        bench.rates.update({row["name"]: row["rate"] for row in rows if "rate" in row})
    report.rows["seconds"][part] = perf_counter() - start
    report.save()


def measure_apart(
    part: str, arguments: Sequence[str], report: Report, left: float, folder: Path
) -> bool:
    """Measure a part in a process of its own; return False if no part can be measured.

    Parameters
    ----------
    part : str
    arguments : sequence of str
        Of this command.
    report : Report
    left : float
        Seconds.
    folder : Path
        For the processes' results and compiled kernels: empty at first, so that the time of
        compilation is measured.
    """
    path, known = folder / f"{part}.json", folder / "known.json"
    known.write_text(json.dumps(report.rows.get("ceilings", []), default=_plain), "utf-8")
    words = [sys.executable, __file__, *arguments, "--parts", part, "--seconds", str(left)]
    words += ["--in-process", "--out", str(path), "--ceilings", str(known)]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=min(LIMITS[part], left) + GRACE,
            check=False,
            env={**os.environ, "CUPY_CACHE_DIR": str(folder / "kernels")},
        )
        status, error = done.returncode, (done.stdout + done.stderr)[-4000:]
    except subprocess.TimeoutExpired:
        status, error = 1, "it did not end in time"
    report.take(path)
    if status:
        report.rows["errors"].setdefault(part, error or f"status {status}")
    report.save()
    return status != NO_DEVICE


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=int, default=0, help="number of the GPU (default 0)")
    parser.add_argument("--images", nargs="+", metavar="PATH", help="default: the images of data/")
    parser.add_argument("--sites", type=int, default=50_000, help="of the fits (default 50000)")
    parser.add_argument(
        "--iterations",
        type=numbers,
        default=[200, 300, 400, 500, 1000, 4000],
        metavar="LIST",
        help="of the fits (default 200,300,400,500,1000,4000)",
    )
    parser.add_argument("--goal", type=float, default=46.0, help="of time-to-PSNR, dB (default 46)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: all processors)")
    parser.add_argument("--out", metavar="FILE", help="write all results as JSON")
    parser.add_argument("--markdown", action="store_true", help="print tables of Markdown")
    parser.add_argument("--quick", action="store_true", help="only try whether everything runs")
    parser.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        metavar="LIST",
        help=f"only some of {', '.join(LIMITS)}",
    )
    parser.add_argument(
        "--seconds", type=float, default=280.0, help="to end within, about (default 280)"
    )
    parser.add_argument(
        "--authors",
        metavar="COMMAND",
        help="time another program too, on every image: {image}, {sites} and {iterations} are"
        " filled in, the last with the largest of --iterations",
    )
    parser.add_argument("--in-process", action="store_true", help="no process for each part")
    parser.add_argument("--ceilings", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.parts and not set(options.parts) <= set(LIMITS):
        parser.error(f"--parts: there are {', '.join(LIMITS)}")
    options.images = options.images or sorted(str(path) for path in DATA.glob("*.png"))
    if options.quick:
        options.sites, options.iterations = 30, [2, 3]
        options.images = options.images[:1]
    if options.parts is None:
        options.parts = [name for name in LIMITS if name != "authors" or options.authors]
    return options


def prepare(options: argparse.Namespace, runtime: Any) -> Bench:
    """Read the images and open the device."""
    if runtime is None:
        from sadcodec.backends.cuda import open_runtime

        runtime = open_runtime(options.device)
    images = {Path(path).name: read(path) for path in options.images}
    if options.quick:
        images = {name: image[: CROP[0], : CROP[1]] for name, image in images.items()}
    bench = Bench(
        runtime,
        Clock(runtime, 1, 0.01) if options.quick else Clock(runtime),
        images,
        QUICK_SIZES if options.quick else SIZES,
        trial_iterations=2 if options.quick else 100,
        cycles=1 if options.quick else 4,
        threads=options.threads,
    )
    if options.ceilings:
        known = json.loads(Path(options.ceilings).read_text(encoding="utf-8"))
        bench.rates.update({row["name"]: row["rate"] for row in known if "rate" in row})
    return bench


def main(arguments: Sequence[str] | None = None, runtime: Any = None) -> int:
    """Measure; a runtime is for tests, which have no GPU."""
    start = perf_counter()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(arguments)
    report, bench = Report(options.out), None
    if options.in_process or runtime is not None:
        try:
            bench = prepare(options, runtime)
        except (OSError, SadError) as error:
            print(f"gpu: {error}", file=sys.stderr)
            return NO_DEVICE
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            left = options.seconds - (perf_counter() - start)
            if left < 1.0:
                report.rows["left_out"][part] = "no time was left"
            elif bench is not None:
                measure(part, bench, options, report)
            elif not measure_apart(part, arguments, report, left, Path(folder)):
                break
            rows = report.rows.get(part, [])
            text = part_tables(part, rows, goal=options.goal, markdown=options.markdown)
            print(text + "\n", flush=True)
    if report.rows.get("fits"):
        report.rows["time_to"] = gpu_fits.time_to(report.rows["fits"], options.goal)
    report.rows["seconds"]["all"] = perf_counter() - start
    report.save()
    for part, why in [*report.rows["left_out"].items(), *report.rows["errors"].items()]:
        print(f"gpu: {part}: {why.strip()}", file=sys.stderr)
    return 1 if report.rows["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
