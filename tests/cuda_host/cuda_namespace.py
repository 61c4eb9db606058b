"""What the stand-in has of `cupy.cuda`: devices, streams, events, the runtime's queries."""

# ruff: noqa: ARG002 - the signatures are CuPy's

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Self

from .machine import Machine, OutOfMemoryError
from .raw_module import CompileException

__all__ = ["MemoryPool", "cuda_namespace"]


class CUDARuntimeError(RuntimeError):
    """As `cupy.cuda.runtime.CUDARuntimeError`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class CUDADriverError(RuntimeError):
    """As `cupy.cuda.driver.CUDADriverError`."""


class PinnedMemory(bytearray):
    """Memory of the host that copies can arrive in while it does something else."""


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

    def set_limit(self, size: int | None = None) -> None:
        if size:
            self._machine.capacity = size


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

    def use(self) -> None:
        self.machine.device = self.id

    def __enter__(self) -> Self:
        self._outer.append(self.machine.device)
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.device = self._outer.pop()

    def synchronize(self) -> None:
        self.machine.synchronize()


class Event(_OfMachine):
    """As `cupy.cuda.Event`."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self._asked, self._lag = 0, 0

    def record(self, stream: Any = None) -> None:
        self._asked, self._lag = self.machine.asked, self.machine.event_lag

    def synchronize(self) -> None:
        self.machine.synchronize(self._asked)
        self._lag = 0

    @property
    def done(self) -> bool:
        if self._lag > 0:
            self._lag -= 1
            return False
        self.machine.deliver(self._asked)
        return True


class Stream(_OfMachine):
    """As `cupy.cuda.Stream`; all streams run in the order of the calls."""

    ptr = 0

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def use(self) -> Self:
        return self

    def synchronize(self) -> None:
        self.machine.synchronize()

    def record(self, event: Any = None) -> Any:
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        """The event has happened."""


def cuda_namespace(machine: Machine) -> SimpleNamespace:
    """Return the namespace for one machine."""
    device, event, stream = (
        type(base.__name__, (base,), {"machine": machine}) for base in (Device, Event, Stream)
    )
    null = stream.null = stream()
    return SimpleNamespace(
        Device=device,
        Event=event,
        Stream=stream,
        runtime=_runtime(machine),
        driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        OutOfMemoryError=OutOfMemoryError,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=CompileException),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
        alloc_pinned_memory=lambda size: PinnedMemory(b"\x7f" * size),
        get_current_stream=lambda: null,
        is_available=lambda: machine.devices > 0,
    )


def _runtime(machine: Machine) -> SimpleNamespace:
    def properties(number: int) -> dict[str, Any]:
        return {
            "name": b"CUDA on the host",
            "multiProcessorCount": 4,
            "major": 9,
            "minor": 0,
            "totalGlobalMem": machine.capacity,
            "sharedMemPerBlock": 48 << 10,
            "maxThreadsPerBlock": 1024,
            "warpSize": 32,
        }

    return SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: machine.devices,
        getDevice=lambda: machine.device,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        getDeviceProperties=properties,
        memGetInfo=lambda: (machine.capacity - machine.allocated, machine.capacity),
        deviceSynchronize=machine.synchronize,
    )
