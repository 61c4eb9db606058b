"""End ``sad encode --force`` at random moments; its output is the old file or the new one.

As a script: ``python tests/killed_encodes.py [--kills 20] [--seed 0]``.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

IMAGE = Path(__file__).resolve().parent.parent / "data" / "coffee.png"
SITES = (20, 30)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_WAIT = 60.0  # seconds


@dataclass(frozen=True)
class Round:
    """What one signal left.

    Attributes
    ----------
    status : int
        As of `subprocess.Popen`.
    new : bool
        Whether the output is the new file, not the old one.
    leftovers : int
        Temporary files that stayed; only SIGKILL may leave one.
    """

    status: int
    new: bool
    leftovers: int


def start(folder: Path, sites: int, out: str) -> subprocess.Popen[bytes]:
    """Start an encode of the folder's image to one of its files."""
    paths = [os.path.abspath(path) for path in sys.path if path]
    options = ["--sites", str(sites), "-e", "1", "--backend", "cpu", "--threads", "1", "--quiet"]
    # Background jobs of a shell inherit an ignored SIGINT, hence the first statement.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from sadcodec.cli import main; main({['encode', 'in.png', '-o', out, '-f', *options]})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        stderr=subprocess.DEVNULL,  # an interruption while Python starts has a trace
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def prepare(folder: Path) -> tuple[dict[int, bytes], float]:
    """Write in.png and out.sad; return the files by their number of sites, and seconds of one."""
    with Image.open(IMAGE) as image:
        image.crop((100, 100, 132, 124)).save(folder / "in.png")
    whole = {}
    for sites in reversed(SITES):
        begin = time.monotonic()
        with start(folder, sites, "out.sad") as process:
            assert process.wait(timeout=_WAIT) == 0
        seconds = time.monotonic() - begin
        whole[sites] = (folder / "out.sad").read_bytes()
    assert len(set(whole.values())) == len(SITES)
    return whole, seconds


def parts(folder: Path) -> list[Path]:
    """Return the temporary files of the output."""
    return list(folder.glob(".out.sad.*.part"))


def kill_and_check(
    folder: Path, whole: dict[int, bytes], number: int, seconds: float, writing: bool
) -> Round:
    """End an encode over the file that is there, and check that one of the two is there, whole.

    Parameters
    ----------
    folder : Path
        Of `prepare`, as `whole`.
    whole : dict of int -> bytes
    number : int
        Of the signal.
    seconds : float
        When it is sent: after the start, or after the temporary file appeared.
    writing : bool
        Wait for the temporary file.
    """
    path = folder / "out.sad"
    old = path.read_bytes()
    ((sites, new),) = [item for item in whole.items() if item[1] != old]
    with start(folder, sites, "out.sad") as process:
        while writing and process.poll() is None and not parts(folder):
            time.sleep(0.0002)
        time.sleep(seconds)
        process.send_signal(number)
        status = process.wait(timeout=_WAIT)
    # Python dies of the signal itself while it starts and while it ends.
    assert status in (0, -number, 128 + number), status
    found = path.read_bytes()
    assert found in (old, new)
    assert found == new or status != 0
    left = parts(folder)
    assert not left or number == signal.SIGKILL
    for leftover in left:
        leftover.unlink()
    assert sorted(os.listdir(folder)) == ["in.png", "out.sad"]
    return Round(status, found == new, len(left))


def main() -> None:
    """Send as many signals as asked for: half at any time, half while the file is written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, seconds = prepare(folder)
        print(f"an encode takes {seconds:.2f} s")
        for turn in range(options.kills):
            number, writing = SIGNALS[turn % len(SIGNALS)], turn % 2 == 1
            moment = moments.uniform(0.0, 0.004 if writing else seconds)
            done = kill_and_check(folder, whole, number, moment, writing)
            when = "after it began to write" if writing else "after the start"
            print(
                f"{signal.Signals(number).name} {1000 * moment:.1f} ms {when}: status"
                f" {done.status}, the {'new' if done.new else 'old'} file,"
                f" {done.leftovers} temporary files"
            )
            counts["new" if done.new else "old"] += 1
            counts["left"] += done.leftovers
    print(
        f"{options.kills} signals: the old file {counts['old']} times, the new one"
        f" {counts['new']} times, both whole; {counts['left']} temporary files after SIGKILL"
    )


if __name__ == "__main__":
    main()
