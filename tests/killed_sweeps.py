"""Kill sweeps with SIGKILL at random moments; check the file each time, and what resuming makes.

As a script: ``python tests/killed_sweeps.py [--kills 10] [--seed 0] [--format csv]``.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sadcodec.evaluate.reading import read_rows
from sadcodec.evaluate.row import Row

DATA = Path(__file__).resolve().parent.parent / "data"
NAMES = ("coffee", "chelsea", "camera")
OPTIONS = ("--sites", "20,30,40,50", "-e", "1", "--backend", "cpu", "--jobs", "2", "--quiet")


@dataclass(frozen=True)
class Round:
    """What one kill left: rows in the file before the start and after the kill."""

    before: int
    after: int
    finished: bool


def make_images(folder: Path, side: int = 64) -> None:
    """Cut small images out of those of data/."""
    for name in NAMES:
        with Image.open(DATA / f"{name}.png") as image:
            image.crop((100, 100, 100 + side, 100 + side)).save(folder / f"{name}.png")


def start(folder: Path, out: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a sweep over the images of the folder."""
    paths = [os.path.abspath(path) for path in sys.path if path]
    images = [f"{name}.png" for name in NAMES]
    # Background jobs of a shell inherit an ignored SIGINT, hence the first statement.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from sadcodec.cli import main; main({['eval', *images, *OPTIONS, '--out', out, *more]})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def untimed(row: Row) -> Row:
    """Return a row without its times, the only columns that differ between runs."""
    return dataclasses.replace(row, encode_s=None, decode_s=None)


def finish(folder: Path, out: str, *more: str) -> list[Row]:
    """Run a sweep to its end and return its rows."""
    with start(folder, out, *more) as process:
        assert process.wait() == 0
    return read_rows((folder / out).read_text())


def rows_in(path: Path) -> list[Row]:
    """Return the rows of a file that must be valid, if there is one."""
    return read_rows(path.read_text()) if path.exists() else []


def lines_in(path: Path) -> list[bytes]:
    """Return the lines of a file, if there is one."""
    return path.read_bytes().splitlines() if path.exists() else []


def kill_and_check(
    folder: Path,
    out: str,
    lines: int,
    seconds: float,
    whole: list[Row],
    number: int = signal.SIGKILL,
) -> Round:
    """Resume a sweep, kill it, and check that its file holds whole rows, the old ones among them.

    Parameters
    ----------
    folder : Path
        Of `make_images`.
    out : str
    lines, seconds : int, float
        The kill comes so many seconds after so many new lines, or after the start for none.
    whole : list of Row
        Of the same sweep, not interrupted.
    number : int
        Of the signal: SIGKILL or SIGINT.
    """
    path = folder / out
    before = rows_in(path)
    before_lines = lines_in(path)
    with start(folder, out, "--resume") as process:
        while process.poll() is None and len(lines_in(path)) < len(before_lines) + lines:
            time.sleep(0.001)
        time.sleep(seconds)
        process.send_signal(number)
        status = process.wait(timeout=30)
    assert status in (0, {signal.SIGKILL: -9, signal.SIGINT: 130}[number])
    after = rows_in(path)
    keys = [row.key for row in after]
    assert len(set(keys)) == len(keys)
    expected = {row.key: untimed(row) for row in whole}
    assert all(expected[row.key] == untimed(row) for row in after)
    assert all(row in after for row in before)  # with its times: not measured again
    return Round(len(before), len(after), status == 0)


def check_completion(folder: Path, out: str, whole: list[Row]) -> None:
    """Resume a sweep to its end and compare it with one that was not interrupted."""
    before = rows_in(folder / out)
    rows = finish(folder, out, "--resume")
    assert [untimed(row) for row in rows] == [untimed(row) for row in whole]
    assert all(row in rows for row in before)


def main() -> None:
    """Kill a sweep as often as asked for; whenever it gets to its end, begin anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", default="csv", choices=("csv", "tsv", "jsonl"))
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), f"rates.{options.format}"
        make_images(folder)
        begin = time.monotonic()
        whole = finish(folder, f"whole.{options.format}")
        longest = time.monotonic() - begin
        print(f"uninterrupted: {len(whole)} rows, {longest:.1f} s")
        for number in range(1, options.kills + 1):
            lines, seconds = moments.randrange(4), moments.uniform(0, 0.5)
            done = kill_and_check(folder, out, lines, seconds, whole)
            end = ", after its end" if done.finished else ""
            print(
                f"kill {number}, {seconds:.3f} s after {lines} new lines{end}: "
                f"{done.before} rows before, {done.after} in a valid file after it"
            )
            if done.after == len(whole):
                check_completion(folder, out, whole)
                (folder / out).unlink()
                print("complete; begun anew")
        check_completion(folder, out, whole)
        print(f"resumed: {len(whole)} rows, equal to the uninterrupted ones but for the times")


if __name__ == "__main__":
    main()
