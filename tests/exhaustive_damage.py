"""Every truncation and every changed byte of files: an error, or the picture; never another one.

With `repair`, tried for every truncation and every changed bit, no crash either: what is left are
sites of the file, in their places, and every site that is missing was reported.

`make test-damage` does so with all files of tests/golden, in some minutes; arguments choose some.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from golden_files import FOLDER, MAKERS
from symbol_samples import rows_of

from sadcodec import bitstream
from sadcodec.bitstream import Symbols
from sadcodec.errors import SadError

EVERY_VALUE = tuple(range(1, 256))
EVERY_BIT = tuple(1 << bit for bit in range(8))


def damaged(data: bytes, values: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Every beginning of a file (0), and the file with each byte changed by each exclusive or."""
    for length in range(len(data)):
        yield 0, data[:length]
    out = bytearray(data)
    for at, byte in enumerate(data):
        for value in values:
            out[at] = byte ^ value
            yield value, bytes(out)
        out[at] = byte


def table(symbols: Symbols) -> np.ndarray:
    """All that is drawn of the sites: symbols and step classes, int32 [N, columns]."""
    classes = symbols.classes
    assert classes is not None
    return np.column_stack([rows_of(symbols), classes])


def check(data: bytes, values: Sequence[int] = EVERY_VALUE) -> Counter[str]:
    """Damage a file in every way and count what came of it.

    Raises
    ------
    AssertionError
        If something else was drawn, or something is missing without a word.
    """
    header, symbols = bitstream.read(data)
    whole = table(symbols)
    count: Counter[str] = Counter()
    for value, file in damaged(data, values):
        try:
            _, got = bitstream.read(file)
        except SadError:
            count["error"] += 1
        else:
            assert np.array_equal(table(got), whole)
            count["right picture"] += 1
        if value & (value - 1):
            continue
        try:
            found, got, report = bitstream.salvage(file)
        except SadError:
            count["repair: error"] += 1
            continue
        lost = [np.arange(run.first, run.first + run.count) for run in report.lost]
        kept = np.setdiff1d(np.arange(len(whole)), np.concatenate([*lost, []]))
        assert np.array_equal(table(got), whole[kept])
        assert found.quantizer.as_tuple() == header.quantizer.as_tuple()
        assert (found.width, found.height, found.k) == (header.width, header.height, header.k)
        assert report.damage
        assert report.messages()
        count["repair: a part" if report.lost else "repair: whole"] += 1
    return count


def main(names: list[str]) -> None:
    """Print the counts of each file, and of all."""
    total: Counter[str] = Counter()
    for name in names or sorted(MAKERS):
        count = check((FOLDER / f"{name}.sad").read_bytes())
        sys.stdout.write(f"{name}: {dict(count)}\n")
        sys.stdout.flush()
        total += count
    sys.stdout.write(f"all: {dict(total)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
