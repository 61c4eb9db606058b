"""Print what a part of a large picture takes beside a small picture, and its memory as a whole.

A small photograph is coded. A large file has its sites again and again, side by side, so that both
have the same density of sites. One decodes the small file and the region of the large one in turns.

python benchmarks/region.py                   256 x 256 px of 8192 x 8192
python benchmarks/region.py --whole 16384     time and peak memory of decoding a whole large picture
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from timing import DATA, machine, markdown_table, read

import sadcodec
from sadcodec import bitstream
from sadcodec.diagram import open_diagram
from sadcodec.quantize import dequantize, quantize
from sadcodec.reach import with_reach
from sadcodec.sites import Sites

SMALL = 256  # px
GROUPS = (1, bitstream.AUTOMATIC_GROUPS, 256)


def tiled(data: bytes, times: int, groups: int, stretch: int = 1) -> bytes:
    """Return a file of the sites of `data`, repeated along both axes and stretched."""
    header, symbols = bitstream.read(data)
    sites = dequantize(symbols, header.width, header.height, header.quantizer).params
    side = header.width * stretch
    tile = sites.copy()
    tile[:, [0, 1, 3]] *= stretch
    tile[:, 2] -= np.float32(np.log(stretch))
    rows = []
    for y in range(times):
        for x in range(times):
            moved = tile.copy()
            moved[:, :2] += (x * side, y * side)
            rows.append(moved)
    every = Sites(np.concatenate(rows))
    quantizer = replace(header.quantizer, groups=groups)
    size = {"width": times * side, "height": times * side, "site_count": len(every)}
    large = replace(header, **size, quantizer=quantizer)
    coded = bitstream.write(large, quantize(every, large.width, large.height, quantizer))
    return with_reach(coded)


def command(path: Path, *options: str) -> tuple[float, float, float]:
    """Return seconds of the wall and of the processor, and peak memory in MB, of `sad decode`."""
    line = [sys.executable, "-m", "sadcodec", "decode", str(path), "-o", os.devnull, "--force"]
    return measured([*line, "--threads", "1", "--quiet", *options])


def measured(line: list[str]) -> tuple[float, float, float]:
    """Return seconds of the wall and of the processor, and peak memory in MB, of a command."""
    start = perf_counter()
    child = subprocess.Popen(line)
    _, status, usage = os.wait4(child.pid, 0)
    wall = perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(line)} has failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def in_process(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the wall and of the processor."""
    start, used = perf_counter(), process_time()
    run()
    return perf_counter() - start, process_time() - used


def cell(seconds: list[float]) -> str:
    """Return the median in milliseconds, with the least and the most."""
    low, high = 1000 * min(seconds), 1000 * max(seconds)
    return f"{1000 * median(seconds):.1f} ({low:.1f}..{high:.1f})"


def compare(small: bytes, large: int, repeats: int) -> None:
    """Print the table of a region beside the small file."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, large - SMALL, (repeats, 2))
    regions = [(int(x), int(y), SMALL, SMALL) for x, y in places]
    files = {n: tiled(small, large // SMALL, n) for n in GROUPS}
    diagram = open_diagram(files[GROUPS[0]], threads=1)
    groups = {n: f"region, {len(bitstream.group_starts(data))} groups" for n, data in files.items()}
    groups[bitstream.AUTOMATIC_GROUPS] += " (default)"
    names = ["the small file", *groups.values(), "region, sites in memory"]
    times: dict[str, list[list[float]]] = {name: [[], [], [], []] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        paths = {n: Path(folder) / f"{n}.sad" for n in files}
        for n, data in files.items():
            paths[n].write_bytes(data)
        first = Path(folder) / "small.sad"
        first.write_bytes(small)
        for region in regions:
            part = ",".join(map(str, region))
            runs = [(names[0], lambda: sadcodec.decode(small, threads=1), first, [])]
            for n, data in files.items():
                draw = lambda d=data, r=region: sadcodec.decode(d, region=r, threads=1)  # noqa: E731
                runs.append((groups[n], draw, paths[n], ["--region", part]))
            runs.append((names[-1], lambda r=region: diagram.picture(region=r), None, []))
            for name, run, path, options in runs:
                found = in_process(run)
                told = command(path, *options)[:2] if path else ()
                for column, seconds in zip(times[name], (*found, *told)):
                    column.append(seconds)
    size = {names[0]: len(small), names[-1]: 0}
    size |= {groups[n]: len(data) for n, data in files.items()}
    base = [median(column) for column in times[names[0]]]
    rows = []
    for name in names:
        row = [name, f"{size[name]}" if size[name] else "-"]
        for column, reference in zip(times[name], base):
            row.append(f"{cell(column)}, x {median(column) / reference:.2f}" if column else "-")
        rows.append(row)
    heads = ["decode", "bytes", "ms", "ms of the processor", "command, ms", "of the processor, ms"]
    print(f"{SMALL} x {SMALL} px of {large} x {large}, {repeats} places, one thread")
    print(f"sites: {len(open_diagram(small).sites)} and {len(diagram.sites)}\n")
    print(markdown_table(heads, rows))


def whole(small: bytes, large: int, stretch: int) -> None:
    """Print time and peak memory of decoding a large file as a whole."""
    heads = ["picture", "sites", "output", "s", "s of the processor", "peak MB", "bytes a pixel"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.sad"
        path.write_bytes(tiled(small, large // SMALL // stretch, 1, stretch))
        sites = len(open_diagram(path.read_bytes(), threads=1).sites)
        for kind in ("ppm", "png"):
            out = Path(folder) / f"out.{kind}"
            wall, used, memory = command(path, "-o", str(out), "--max-pixels", str(large * large))
            each = memory * 2**20 / large**2
            row = [f"{large} x {large}", str(sites), kind, f"{wall:.1f}", f"{used:.1f}"]
            rows.append([*row, f"{memory:.0f}", f"{each:.1f}"])
            print(rows[-1], file=sys.stderr, flush=True)
            out.unlink()
    print(markdown_table(heads, rows))


def encoding(image: np.ndarray, sides: list[int], threads: int) -> None:
    """Print time and peak memory of encoding pictures of these sides, the image repeated."""
    heads = ["picture", "bpp", "s", "peak MB", "bytes a pixel"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "large.ppm", Path(folder) / "large.sad"
        for side in sides:
            times = -(-side // min(image.shape[:2]))
            large = np.tile(image, (times, times, 1))[:side, :side]
            source.write_bytes(b"P6 %d %d 255\n" % (side, side) + large.tobytes())
            line = [sys.executable, "-m", "sadcodec", "encode", str(source), "-o", str(out)]
            line += ["--force", "--quiet", "--bpp", "0.5", "--effort", "1", "--backend", "cpu"]
            wall, _, memory = measured([*line, "--threads", str(threads)])
            bpp = 8 * out.stat().st_size / side**2
            each = memory * 2**20 / side**2
            rows.append([f"{side} x {side}", f"{bpp:.3f}", f"{wall:.1f}", f"{memory:.0f}"])
            rows[-1].append(f"{each:.0f}")
            print(rows[-1], file=sys.stderr, flush=True)
    print(markdown_table(heads, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--image", default=str(DATA / "coffee.png"))
    parser.add_argument("--large", type=int, default=8192)
    parser.add_argument("--whole", type=int, default=0)
    parser.add_argument("--stretch", type=int, default=4, help="of the sites, with --whole")
    parser.add_argument("--encode", type=int, nargs="+", help="sides of pictures to encode")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    if options.encode:
        encoding(np.ascontiguousarray(read(options.image)), options.encode, 2)
        return
    image = np.ascontiguousarray(read(options.image)[:SMALL, :SMALL])
    small = sadcodec.encode(image, bpp=0.5, backend="cpu", threads=1, effort=3)
    print(", ".join(f"{name} {value}" for name, value in machine(1).items()), end="\n\n")
    if options.whole:
        whole(small, options.whole, options.stretch)
    else:
        compare(small, options.large, options.repeats)


if __name__ == "__main__":
    main()
