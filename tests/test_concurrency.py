"""The library in several threads at once: the same results, and other threads go on meanwhile."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from descents import make_case
from diagrams import random_sites, smooth_target
from symbol_samples import sample

import sadcodec
from sadcodec import _coder, _core, image_io
from sadcodec.quiet import without_warnings

OPTIONS: dict[str, Any] = {"effort": 1, "backend": "cpu"}
_WAIT = 60.0  # seconds


def at_once(calls: list[Callable[[], Any]], threads: int) -> list[Any]:
    """Make all calls, so many at a time, the first ones at one moment; return the results."""
    together = threading.Barrier(threads)

    def make(number: int) -> Any:
        if number < threads:
            together.wait(_WAIT)
        return calls[number]()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(make, range(len(calls))))


def test_threads_get_what_one_would(photo: np.ndarray, gray: np.ndarray) -> None:
    small, other, plane = photo[:24, :32], photo[30:54, 40:72], gray[:24, :32]
    wide = (photo[:20, :24].astype(np.uint16) * 257)[:, :, :1]
    one, two = {"threads": 1}, {"threads": 2}
    encodes: list[Callable[[], Any]] = [
        lambda: sadcodec.encode(small, sites=20, **one, **OPTIONS),
        lambda: sadcodec.encode(small, sites=20, **two, **OPTIONS),
        lambda: sadcodec.encode(other, bpp=2, coder="zstd", **one, **OPTIONS),
        lambda: sadcodec.encode(plane, sites=30, groups=2, **two, **OPTIONS),
        lambda: sadcodec.encode(wide, sites=15, metric="ssim", **one, **OPTIONS),
    ]
    alone = [call() for call in encodes]
    assert alone[0] == alone[1]
    files = alone[1:]
    others: list[Callable[[], Any]] = []
    for data in files:
        others += [
            lambda data=data: sadcodec.decode(data, threads=1).tobytes(),
            lambda data=data: sadcodec.decode(data, threads=2, repair=True).tobytes(),
            lambda data=data: sadcodec.info(data),
            lambda data=data: sadcodec.export_sites(data),
        ]
    png = image_io.encode_image(small, "png")
    others.append(lambda: image_io.decode_image(png).tobytes())
    calls = encodes + 3 * others
    expected = alone + 3 * [call() for call in others]
    for _ in range(2):
        assert at_once(calls, 4) == expected
        calls, expected = calls[::-1], expected[::-1]


def test_errors_are_those_of_their_call(photo: np.ndarray) -> None:
    data = sadcodec.encode(photo[:16, :16], sites=9, threads=1, **OPTIONS)
    whole = sadcodec.decode(data).tobytes()

    def attempt(cut: int) -> Any:
        try:
            return sadcodec.decode(data[: len(data) - cut], threads=1).tobytes()
        except sadcodec.SadError as error:
            return str(error)

    cuts = 20 * [0, 1, 9]
    expected = [attempt(cut) for cut in cuts]
    assert expected[:2] == [whole, expected[1]]
    assert expected[1] != whole
    assert at_once([lambda cut=cut: attempt(cut) for cut in cuts], 4) == expected


def releases(call: Callable[[], object]) -> bool:
    """Whether a native call lets another thread run before it returns.

    The interpreter is told not to take turns by time: the thread that calls gives way only where it
    waits or releases the lock. A call that holds the lock is over whenever this thread looks.
    """
    begun, over = threading.Event(), threading.Event()

    def make() -> None:
        begun.set()
        call()
        over.set()

    thread = threading.Thread(target=make)
    thread.start()
    begun.wait(_WAIT)
    overlapped = not over.is_set()
    thread.join(_WAIT)
    return overlapped


@pytest.fixture
def no_turns():
    before = sys.getswitchinterval()
    sys.setswitchinterval(_WAIT)
    yield
    sys.setswitchinterval(before)


def fit_calls() -> dict[str, Callable[[], object]]:
    target = smooth_target(0, 128, 128, 3)
    params = random_sites(0, 1000, 128, 128, 3).params
    fit = _core.Fit(target, params, 8, 1)
    fit.refresh(0.01)
    fit.gradient()
    rates = np.full(params.shape[1], 1e-6, np.float32)
    top = _core.TopKMap(128, 128, 8, 1)
    top.set_sites(params)
    top.sort_sites()
    top.first_lists()
    return {
        "render": lambda: _core.render(params, 128, 128, 8, True, 1),
        "exact_lists": lambda: _core.exact_lists(params, 128, 128, 8, 1),
        "refresh": lambda: fit.refresh(0.01),
        "gradient": fit.gradient,
        "adam": lambda: fit.adam(rates, 0.9, 0.99),
        "statistics": fit.statistics,
        "error_moments": fit.error_moments,
        "neighbours": fit.neighbours,
        "first_lists": top.first_lists,
        "run_pass": lambda: top.run_pass(8, 4, 0, 0),
        "follow": lambda: fit.follow(top, 0.01),
    }


def refinement_calls() -> dict[str, Callable[[], object]]:
    case = make_case(0, 300, 128, 128)
    refine = _core.Refine(case.target, case.k, 1)
    refine.set_sites(**case.arguments)
    refine.build_lists()
    return {
        "build_lists": refine.build_lists,
        "solve_colors": lambda: refine.solve_colors(2),
        "sweep": lambda: refine.sweep(0.0, True),
        "removal_deltas": refine.removal_deltas,
    }


def coder_calls() -> dict[str, Callable[[], object]]:
    header, symbols = sample(4000, width=200, height=150)
    place = (header.width, header.height, header.quantizer.as_tuple())
    columns = (symbols.x, symbols.y, symbols.log_tau, symbols.log_anisotropy, symbols.angle)
    rest = (*columns, symbols.radius, symbols.color)
    calls: dict[str, Callable[[], object]] = {}
    for encode, decode in (("encode", "decode"), ("residuals", "from_residuals")):
        write, read = getattr(_coder, encode), getattr(_coder, decode)
        data = write(*place, *rest)[0][0][0]
        calls[encode] = lambda write=write: write(*place, *rest)
        calls[decode] = lambda read=read, data=data: read(data, len(symbols), 3, *place)
    calls["analyze"] = lambda: _coder.analyze(*place, *rest)
    calls["color_classes"] = lambda: _coder.color_classes(*columns[:3], *place)
    return calls


@pytest.mark.parametrize("calls", [fit_calls, refinement_calls, coder_calls])
def test_native_code_lets_other_threads_run(calls, no_turns) -> None:
    for name, call in calls().items():
        # Once is proof; a machine under load may wake this thread too late.
        deadline = time.monotonic() + _WAIT
        while not releases(call):
            assert time.monotonic() < deadline, name


def test_what_holds_the_lock_is_seen_to(no_turns) -> None:
    assert not any(releases(lambda: sum(range(50_000))) for _ in range(20))


def test_silence_ends_with_the_last_thread_inside() -> None:
    """`warnings.catch_warnings` alone would leave the filters of the first thread for good."""
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with without_warnings("another"):
            inside.set()
            leave.wait(_WAIT)

    thread = threading.Thread(target=first)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        outer = list(warnings.filters)
        thread.start()
        inside.wait(_WAIT)
        with without_warnings(__name__):
            leave.set()
            thread.join(_WAIT)
            warnings.warn("first", UserWarning, stacklevel=1)
        assert warnings.filters == outer
        warnings.warn("second", UserWarning, stacklevel=1)
    assert [str(each.message) for each in heard] == ["second"]
    assert warnings.filters == before
