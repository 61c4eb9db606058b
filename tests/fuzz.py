"""Decode a great many mutated files: `make fuzz`, on a build with sanitizers.

File i of a seed is always the same, so a crash is known by its number and is written where it can
be looked at. What must hold of every file: an error of one line or a picture; 5 s of one processor
at most; a stated peak of memory; nothing accepted whose checksums are wrong; a picture for every
file that is as it was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import MutableSequence
from contextlib import suppress
from itertools import islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from random import Random
from typing import Any

from mutations import corpus, mutated, sound

import sadcodec
from sadcodec.bitstream import Limits, is_composition, is_sequence, open_composition
from sadcodec.errors import SadError

SECONDS = 5  # of processor time for one file; SIGPROF ends the process
MEGABYTES = 768  # resident, of a worker, with what the sanitizers take
MAX_PIXELS = 1 << 18
FRAMES = 8  # of a sequence, at most
BATCH = 500  # files between two reports
STILL = 20 * SECONDS  # of one file, by the clock: two threads that wait for each other


def file_of(files: list[bytes], seed: int, index: int) -> tuple[bytes, str]:
    """File number `index`, and what was done to it."""
    return mutated(files, Random(f"{seed}/{index}"))


def many_frames(data: bytes) -> bool:
    """Whether a file holds a sequence, or a composition of several frames."""
    limits = Limits(max_pixels=MAX_PIXELS)
    if not is_composition(data, limits):
        return is_sequence(data, limits)
    composition = open_composition(data, limits)
    return composition is not None and len(composition) > 1


def drawn(data: bytes, threads: int, *, repair: bool) -> bool:
    """Decode a picture, or the first frames of a sequence; whether that was all of the file."""
    options: dict[str, Any] = {"backend": "cpu", "threads": threads, "max_pixels": MAX_PIXELS}
    if many_frames(data):
        frames = list(islice(sadcodec.decode_frames(data, **options), FRAMES))
        assert max(frame.size for frame in frames) <= 4 * MAX_PIXELS
        return len(frames) < FRAMES
    picture, report = sadcodec.decode_with_report(data, **options, repair=repair)
    assert picture.size <= 4 * MAX_PIXELS
    assert repair or not report.messages()
    return not repair


def outcome(data: bytes, threads: int, *, repair: bool) -> str:
    """What a decoder says of a file: "picture", or the kind of its error.

    Raises
    ------
    AssertionError
        If it says something that it must not, or accepts what has a wrong checksum.
    """
    try:
        whole = drawn(data, threads, repair=repair)
    except SadError as error:
        said = str(error)
        name = type(error).__name__
    else:
        assert sound(data) or not whole, "accepted with a wrong checksum"
        return "picture"
    assert said
    assert "\n" not in said
    return name


def check(data: bytes, index: int, known: frozenset[bytes]) -> tuple[str, str]:
    """The outcome without and with repair; every eighth file is decoded on two threads."""
    threads = 2 if index % 8 == 0 else 1
    plain = outcome(data, threads, repair=False)
    repaired = outcome(data, threads, repair=True)
    assert plain != "picture" or repaired == "picture"
    with suppress(SadError):
        sadcodec.info(data, max_pixels=MAX_PIXELS)
    return ("unchanged: " if data in known else "") + plain, "repair: " + repaired


Report = tuple[Counter[str], float, int]  # outcomes, longest seconds, peak megabytes


def work(
    numbers: range, seed: int, at: MutableSequence[int], job: int, reports: SimpleQueue[Report]
) -> None:
    """Check files; `at[job]` is the number of the one in hand."""
    files = corpus()
    known = frozenset(files)
    count: Counter[str] = Counter()
    longest = 0.0
    for index in numbers:
        at[job] = index
        data, _ = file_of(files, seed, index)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        start = time.process_time()
        count.update(check(data, index, known))
        longest = max(longest, time.process_time() - start)
        if (index - numbers.start) // numbers.step % BATCH == BATCH - 1 or index == numbers[-1]:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            assert peak < MEGABYTES, f"{peak} MB"
            reports.put((count, longest, peak))
            count = Counter()


class Total:
    """What all workers reported."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.longest, self.peak = 0.0, 0
        self.start = time.monotonic()

    def take(self, reports: SimpleQueue[Report]) -> None:
        """Add the reports that have come."""
        while not reports.empty():
            outcomes, longest, peak = reports.get()
            self.outcomes += outcomes
            self.longest, self.peak = max(self.longest, longest), max(self.peak, peak)

    def line(self) -> str:
        """Files, time, bounds."""
        files = sum(n for name, n in self.outcomes.items() if not name.startswith("repair"))
        seconds = time.monotonic() - self.start
        return f"{files} files, {seconds:.0f} s, longest {self.longest:.2f} s, peak {self.peak} MB"


def run(options: argparse.Namespace) -> tuple[Total, dict[int, int | str]]:
    """All files; the numbers of those at which a worker ended, with its exit status or a reason."""
    context = multiprocessing.get_context("spawn")
    reports: SimpleQueue[Report] = context.SimpleQueue()
    end = options.first + options.count
    shares = [range(options.first + job, end, options.jobs) for job in range(options.jobs)]
    at = context.Array("q", [share.start for share in shares], lock=False)
    workers = [
        context.Process(target=work, args=(share, options.seed, at, job, reports))
        for job, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    total, seen = (
        Total(),
        {job: (share.start, time.monotonic()) for job, share in enumerate(shares)},
    )
    failures: dict[int, int | str] = {}
    while not failures and any(worker.is_alive() for worker in workers):
        workers[-1].join(1)
        total.take(reports)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{total.line()} ")
        for job, worker in enumerate(workers):
            if at[job] != seen[job][0]:
                seen[job] = at[job], time.monotonic()
            elif worker.exitcode is None and time.monotonic() - seen[job][1] > STILL:
                failures[at[job]] = f"no end after {STILL} s"
            if worker.exitcode:
                failures[at[job]] = worker.exitcode
    for worker in workers:
        if failures:
            worker.kill()
        worker.join()
    total.take(reports)
    return total, failures


def main() -> int:
    """Print the counts; 1 if a worker ended before its time, its file written to be looked at."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="files (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--out", type=Path, default=Path(), help="folder for files that fail")
    options = parser.parse_args()
    total, failures = run(options)
    sys.stdout.write(f"{total.line()}\n")
    for name, count in sorted(total.outcomes.items()):
        sys.stdout.write(f"{count:9} {name}\n")
    files = corpus() if failures else []
    for index, cause in failures.items():
        data, changes = file_of(files, options.seed, index)
        path = options.out / f"fuzz-{options.seed}-{index}.sad"
        path.write_bytes(data)
        sys.stdout.write(f"{path}: {changes}: {cause}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
