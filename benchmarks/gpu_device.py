"""How benchmarks/gpu.py asks a device: times of launches, ceilings, launches recorded to repeat."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from gpu_costs import KERNELS, named
from timing import Times, summary

from sadcodec.backends.cuda import kernel_folder
from sadcodec.backends.cuda_fit_kernels import PREPARE_SITES
from sadcodec.backends.launch import Kernel, Launcher

__all__ = ["Clock", "Launch", "MemoryProbe", "Recorder", "ceilings"]

_LEAST_BATCHES = 5
_SLOW_MS = 600.0  # of all batches, from which on there are fewer
_CHAINS = 4  # independent, in a thread
_THREADS = 256

# What the kernels do most, repeated without touching memory, in chains that wait for themselves.
# Numbers come as arguments, so that nothing is known when compiling.
_RATES = """
#include "cuda_common.cuh"
using namespace sad;
constexpr int kChains = 4;
#define LOOP(BODY)                                              \\
  float v[kChains], w[kChains];                                 \\
  for (int j = 0; j < kChains; ++j) v[j] = a + threadIdx.x + j; \\
  for (int j = 0; j < kChains; ++j) w[j] = b * threadIdx.x + j; \\
  _Pragma("unroll 4") for (int i = 0; i < n; ++i) {             \\
    SAD_UNROLL                                                  \\
    for (int j = 0; j < kChains; ++j) { BODY }                  \\
  }                                                             \\
  float sum = 0.0f;                                             \\
  for (int j = 0; j < kChains; ++j) sum = sum + v[j] + w[j];    \\
  if (sum == 12345.0f) out[threadIdx.x] = sum;

extern "C" __global__ void __launch_bounds__(256)
    rate_arithmetic(float* out, float a, float b, int n) {
  LOOP(v[j] = v[j] * b + a; w[j] = w[j] * b + a;)
}
extern "C" __global__ void __launch_bounds__(256)
    rate_logit(float* out, float a, float b, int n) {
  LOOP(const float d = sad_distance(v[j] - a, w[j] - b, a, b, a); w[j] = v[j];
       v[j] = sad_logit(d, b, a);)
}
extern "C" __global__ void __launch_bounds__(256)
    rate_quick_logit(float* out, float a, float b, int n) {
  LOOP(const float d = approximate_distance(v[j] - a, w[j] - b, a, b, a); w[j] = v[j];
       v[j] = sad_logit(d, b, a);)
}
extern "C" __global__ void __launch_bounds__(256)
    rate_exp2(float* out, float a, float b, int n) {
  LOOP(v[j] = sad_exp2(0.0f - v[j]);)
}
extern "C" __global__ void __launch_bounds__(256)
    rate_insert(float* out, float a, float b, int n) {
  float top[kChains][8];
  for (int j = 0; j < kChains; ++j)
    for (int k = 0; k < 8; ++k) top[j][k] = a - k;
  LOOP(v[j] = sad_insert<8>(top[j], v[j] + b);)
  for (int j = 0; j < kChains; ++j)
    for (int k = 0; k < 8; ++k)
      if (top[j][k] == 12345.0f) out[threadIdx.x] = top[j][k];
}
extern "C" __global__ void __launch_bounds__(256)
    nothing(float* out, float a, float b, int n) {
  if (n < 0) out[threadIdx.x] = a + b;
}
"""
_PER_STEP = {"arithmetic": 4, "logit": 1, "quick_logit": 1, "exp2": 1, "insert": 1}  # of a chain


class Clock:
    """Times what a device does.

    Parameters
    ----------
    runtime : Runtime
    batches : int
        Measurements, of which the median is taken.
    batch_ms : float
        Launches are repeated until a batch takes about this long.
    """

    def __init__(self, runtime: Any, batches: int = 20, batch_ms: float = 2.0) -> None:
        self._runtime = runtime
        self._cuda = runtime.cp.cuda
        self.batches = batches
        self.batch_ms = batch_ms

    def wait(self) -> None:
        """Wait for the device."""
        self._cuda.Device(self._runtime.device).synchronize()

    def once(self, run: Callable[[], Any], repeats: int = 1) -> float:
        """Return the milliseconds of some runs on an idle device, by its events."""
        self.wait()
        first, last = self._cuda.Event(), self._cuda.Event()
        first.record()
        for _ in range(repeats):
            run()
        last.record()
        last.synchronize()
        return float(self._cuda.get_elapsed_time(first, last))

    def latency_ms(self, run: Callable[[], Any], repeats: int = 1) -> float:
        """Return the milliseconds from before the first run until the device has done the last."""
        self.wait()
        start = perf_counter()
        for _ in range(repeats):
            run()
        self.wait()
        return 1000 * (perf_counter() - start)

    def _plan(self, run: Callable[[], Any]) -> tuple[int, int]:
        """Warm up; return the runs of a batch, and how many batches: fewer where a run is slow."""
        run()
        ms = max(self.once(run), 1e-3)
        return int(min(200, max(1, self.batch_ms // ms))), int(
            min(self.batches, max(_LEAST_BATCHES, _SLOW_MS // ms))
        )

    def throughput(self, run: Callable[[], Any]) -> Times:
        """Milliseconds of a run among many one after the other."""
        repeats, batches = self._plan(run)
        return summary([self.once(run, repeats) / repeats for _ in range(batches)])

    def latency(self, run: Callable[[], Any]) -> Times:
        """Milliseconds of a single run, from the call to its end on the device."""
        _, batches = self._plan(run)
        return summary([self.latency_ms(run) for _ in range(batches)])

    def issue(self, run: Callable[[], Any], repeats: int = 10) -> Times:
        """Milliseconds that the host needs to ask for a run, on a device that has nothing to do."""
        runs, batches = self._plan(run)
        repeats = min(repeats, 5 * runs)  # few enough to wait in line on the device
        taken = []
        for _ in range(batches):
            self.wait()
            start = perf_counter()
            for _ in range(repeats):
                run()
            taken.append(1000 * (perf_counter() - start) / repeats)
        self.wait()
        return summary(taken)

    def graph(self, run: Callable[[], Any]) -> Times | None:
        """Milliseconds of a run that the device starts by itself; None where CuPy cannot.

        A graph of many runs is recorded once and replayed, so that the host's time to start each
        does not count.
        """
        repeats, batches = self._plan(run)
        try:
            stream = self._cuda.Stream(non_blocking=True)
            self.wait()
            with stream:
                stream.begin_capture()
                try:
                    for _ in range(repeats):
                        run()
                finally:
                    graph = stream.end_capture()
                graph.launch(stream)
                stream.synchronize()
                return summary(
                    [
                        self._once_on(stream, lambda: graph.launch(stream)) / repeats
                        for _ in range(batches)
                    ]
                )
        except Exception:  # noqa: BLE001 - a capture may fail in many ways; the batches remain
            with contextlib.suppress(Exception):
                self.wait()
            return None

    def _once_on(self, stream: Any, run: Callable[[], Any]) -> float:
        first, last = self._cuda.Event(), self._cuda.Event()
        stream.synchronize()
        first.record(stream)
        run()
        last.record(stream)
        last.synchronize()
        return float(self._cuda.get_elapsed_time(first, last))


@dataclass(frozen=True)
class Launch:
    """A launch that was made and can be made again: its arrays stay where they are."""

    kernel: Kernel
    defines: dict[str, int]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    values: tuple[Any, ...]
    function: Any

    def __call__(self) -> None:
        self.function(self.grid, self.block, self.values)

    @property
    def arguments(self) -> dict[str, Any]:
        """By name."""
        return named(self.kernel, self.values)

    @property
    def resources(self) -> dict[str, int]:
        """Registers and local bytes of a thread, shared bytes of a block, where CuPy tells."""
        found: dict[str, int] = {}
        for name in ("num_regs", "local_size_bytes", "shared_size_bytes"):
            value = getattr(self.function, name, None)
            if value is not None:
                found[name] = int(value)
        return found


class Recorder:
    """A runtime that hands on to another and notes the launches while told to."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.cp = runtime.cp
        self.device = runtime.device
        self._launches: list[Launch] | None = None

    def activate(self) -> AbstractContextManager[Any]:
        """As `Runtime.activate`."""
        return self._runtime.activate()

    def free_memory(self, enough: int | None = None) -> int:
        """As `Runtime.free_memory`."""
        return self._runtime.free_memory(enough)

    def function(self, file_name: str, name: str, defines: Mapping[str, int]) -> Any:
        """As `Runtime.function`."""
        function = self._runtime.function(file_name, name, defines)
        kernel = KERNELS.get((file_name, name))

        def start(grid: Any, block: Any, values: Any) -> None:
            function(grid, block, values)
            if self._launches is not None and kernel is not None:
                fixed = dict(defines)
                self._launches.append(Launch(kernel, fixed, grid, block, tuple(values), function))

        return start

    @contextlib.contextmanager
    def recording(self) -> Iterator[list[Launch]]:
        """Note the launches made in this context, on any thread."""
        self._launches = found = []
        try:
            yield found
        finally:
            self._launches = None


class _Noting(int):
    """A number that notes what it is compared with."""

    need = 0

    def __lt__(self, other: object) -> bool:  # asked for by `need > free`, since it is a subclass
        if isinstance(other, int):
            self.need = max(self.need, int(other))
        return super().__lt__(other)  # type: ignore[operator]

    __hash__ = int.__hash__


class MemoryProbe(Recorder):
    """A runtime that notes how much memory was foreseen, by what free memory is compared with."""

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self._answers: list[_Noting] = []

    def free_memory(self, enough: int | None = None) -> int:
        """As `Runtime.free_memory`."""
        self._answers.append(_Noting(super().free_memory(enough)))
        return self._answers[-1]

    @property
    def foreseen(self) -> int:
        """The largest number of bytes that a check asked for."""
        return max((answer.need for answer in self._answers), default=0)


def ceilings(runtime: Any, clock: Clock, *, size: int, steps: int) -> Iterator[dict[str, Any]]:
    """Measure what the device does at most: a row each.

    Parameters
    ----------
    runtime : Runtime
    clock : Clock
    size : int
        Bytes of the copy.
    steps : int
        Of the loops.
    """
    best = _copy(runtime, clock, size)
    yield {"name": "copy", "unit": "bytes/s", "rate": 2 * size / (best.median / 1e3), "ms": best}
    cp = runtime.cp
    code = cp.RawModule(code=_RATES, options=("-std=c++17", "--fmad=false", f"-I{kernel_folder()}"))
    out = cp.zeros(_THREADS, np.float32)
    properties = cp.cuda.runtime.getDeviceProperties(runtime.device)
    blocks = min(steps, 16 * int(properties.get("multiProcessorCount", 100)))
    values = (out, np.float32(0.75), np.float32(0.5), np.int32(steps))
    for name, each in _PER_STEP.items():
        function = code.get_function(f"rate_{name}")
        best = clock.throughput(
            lambda function=function: function((blocks, 1, 1), (_THREADS, 1, 1), values)
        )
        done = each * _CHAINS * steps * blocks * _THREADS
        yield {"name": name, "unit": "1/s", "rate": done / (best.median / 1e3), "ms": best}
    function = code.get_function("nothing")
    yield from _overheads(
        "an empty kernel", clock, lambda: function((1, 1, 1), (_THREADS, 1, 1), values)
    )
    launcher = Launcher(runtime, {"SAD_K": 8, "SAD_CHANNELS": 3})
    arguments = {"params": cp.zeros((1, 9), np.float32), "sites": cp.empty((1, 16), np.float32)}
    arguments["count"] = 1
    yield from _overheads(
        "a bound launch", clock, launcher.bind(PREPARE_SITES, 1, arguments), graph=False
    )
    yield from _overheads(
        "a checked launch",
        clock,
        lambda: launcher.launch(PREPARE_SITES, 1, arguments),
        graph=False,
    )


def _copy(runtime: Any, clock: Clock, size: int) -> Times:
    source, target = (runtime.cp.ones(size // 4, np.float32) for _ in range(2))

    def copy() -> None:
        target[...] = source

    return clock.throughput(copy)


def _overheads(
    name: str, clock: Clock, run: Callable[[], Any], *, graph: bool = True
) -> Iterator[dict[str, Any]]:
    """Measure a launch: what the host needs to ask, one among many, a single one, in a graph."""
    yield {"name": f"{name}: host", "unit": "ms", "ms": clock.issue(run, 50)}
    yield {"name": f"{name}: among many", "unit": "ms", "ms": clock.throughput(run)}
    yield {"name": f"{name}: single", "unit": "ms", "ms": clock.latency(run)}
    replayed = clock.graph(run) if graph else None
    if replayed is not None:
        yield {"name": f"{name}: in a graph", "unit": "ms", "ms": replayed}
