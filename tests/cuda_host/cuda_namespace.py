"""What the stand-in has of `cupy.cuda`: devices, streams, events, graphs, the runtime's queries.

All streams run in the order of the calls; `streams` finds where another one is possible. A stream
or an event that is used on another device than its own is refused, as CuPy or CUDA does.
"""

# ruff: noqa: ARG002 - the signatures are CuPy's

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Self

from .machine import CUDARuntimeError, Machine, OutOfMemoryError
from .raw_module import CompileException
from .streams import Clock

__all__ = ["MemoryPool", "cuda_namespace"]


class CUDADriverError(RuntimeError):
    """As `cupy.cuda.driver.CUDADriverError`."""


class PinnedMemoryPointer(bytearray):
    """Memory of the host that copies can arrive in; longer than it was asked for, as in CuPy."""


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return PinnedMemoryPointer(b"\x7f" * (1 << max(9, (size - 1).bit_length())))


class MemoryPool:
    """As `cupy.get_default_memory_pool()`, of a pool that keeps nothing for later."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def used_bytes(self) -> int:
        return self._machine.allocated

    def total_bytes(self) -> int:
        return self._machine.allocated

    def free_bytes(self) -> int:
        return 0

    def free_all_blocks(self) -> None:
        """Nothing is kept."""


class _OfMachine:
    """The base of classes that `cuda_namespace` makes for one machine."""

    machine: Machine


class Device(_OfMachine):
    """As `cupy.cuda.Device`."""

    compute_capability = "90"

    def __init__(self, device: int | None = None) -> None:
        self.id = self.machine.device if device is None else int(device)
        if not 0 <= self.id < self.machine.devices:
            raise CUDARuntimeError(101, "cudaErrorInvalidDevice: invalid device ordinal")
        self._outer: list[int] = []

    @property
    def mem_info(self) -> tuple[int, int]:
        return self.machine.capacity - self.machine.allocated, self.machine.capacity

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Self:
        self._outer.append(self.machine.device)
        self.machine.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.device = self._outer.pop()

    def synchronize(self) -> None:
        self.machine.synchronize(clock=self.machine.stream_order.everything())


class Event(_OfMachine):
    """As `cupy.cuda.Event`."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self._asked, self._lag, self._device = 0, 0, self.machine.device
        self.timing, self.time = not disable_timing, 0.0
        self._clock: Clock = {}

    def record(self, stream: Any = None) -> None:
        device = self.machine.device if stream is None else stream._device_of()
        if device != self._device:
            raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle: invalid resource handle")
        self._asked, self._lag = self.machine.asked, self.machine.event_lag
        recorded = self.machine.stream if stream is None else (device, stream.ptr)
        self._clock = self.machine.stream_order.recorded(recorded)
        self.time = perf_counter()

    def synchronize(self) -> None:
        self.machine.synchronize(self._asked, self._clock)
        self._lag = 0

    @property
    def done(self) -> bool:
        if self._lag > 0:
            self._lag -= 1
            return False
        self.machine.deliver(self._asked)
        self.machine.stream_order.wait_on_host(self._clock)
        return True


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    if not (start_event.timing and end_event.timing and start_event.time and end_event.time):
        raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle: invalid resource handle")
    return 1e3 * (end_event.time - start_event.time)


class Stream(_OfMachine):
    """As `cupy.cuda.Stream`."""

    null: Stream
    _numbers = itertools.count(1 << 20)

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr = 0 if null else next(self._numbers)
        self.device_id = -1 if null else self.machine.device
        self.machine.stream_order.several |= not null

    @classmethod
    def from_external(cls, obj: Any) -> Self:
        version, pointer = obj.__cuda_stream__()
        if version != 0 or type(pointer) is not int:
            raise TypeError("__cuda_stream__() must return (0, int)")
        stream = cls(null=True)
        stream.ptr = pointer
        return stream

    def _device_of(self) -> int:
        """Return the device; of the null stream and those of others, the current one."""
        return self.machine.device if self.device_id == -1 else self.device_id

    def __enter__(self) -> Self:
        if self._device_of() != self.machine.device:
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with"
                f" the current device ({self.machine.device})"
            )
        self.machine.streams.append((self._device_of(), self))
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.streams.pop()

    def synchronize(self) -> None:
        clock = self.machine.stream_order.recorded((self._device_of(), self.ptr))
        self.machine.synchronize(clock=clock)

    def wait_event(self, event: Event) -> None:
        self.machine.stream_order.wait((self._device_of(), self.ptr), event._clock)

    def begin_capture(self) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.machine.captured = []

    def end_capture(self) -> Graph:
        captured, self.machine.captured = self.machine.captured, None
        if captured is None:
            raise CUDARuntimeError(1, "cudaErrorInvalidValue: invalid argument")
        return Graph(captured)


class Graph:
    """As `cupy.cuda.Graph`, of launches alone."""

    def __init__(self, captured: list[Callable[[], None]]) -> None:
        self._captured = captured

    def launch(self, stream: Any = None) -> None:
        for start in self._captured:
            start()


def cuda_namespace(machine: Machine) -> SimpleNamespace:
    """Return the namespace for one machine."""
    device, event, stream = (
        type(base.__name__, (base,), {"machine": machine}) for base in (Device, Event, Stream)
    )
    stream.null = stream(null=True)

    def get_current_stream() -> Any:
        own = [current for number, current in machine.streams if number == machine.device]
        return own[-1] if own else stream.null

    return SimpleNamespace(
        Device=device,
        Event=event,
        Stream=stream,
        Graph=Graph,
        runtime=_runtime(machine),
        driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=CompileException),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        alloc_pinned_memory=alloc_pinned_memory,
        get_current_stream=get_current_stream,
        get_elapsed_time=get_elapsed_time,
    )


def _runtime(machine: Machine) -> SimpleNamespace:
    def getDeviceProperties(device: int) -> dict[str, Any]:  # noqa: N802 - CuPy's name
        return {
            "name": b"CUDA on the host",
            "multiProcessorCount": 4,
            "l2CacheSize": 1 << 20,
            "sharedMemPerMultiprocessor": 100 << 10,
            "clockRate": 1_000_000,  # kHz
        }

    return SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: machine.devices,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        getDeviceProperties=getDeviceProperties,
        memGetInfo=lambda: (machine.capacity - machine.allocated, machine.capacity),
    )
