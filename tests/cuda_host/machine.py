"""The pretended GPU: its memory, with guards around every allocation, and what waits for it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .streams import Clock, StreamOrder, Uses

__all__ = ["GUARD_BYTES", "CUDARuntimeError", "Machine", "Memory", "OutOfMemoryError", "poison"]

ALIGNMENT = 512
GUARD_BYTES = 2048
# What nobody has written: NaN as float and as double, as kUnwritten in shadow.h.
_POISON = np.array([0x7FFDA5A5], "<u4").tobytes()
# The same of another number, so that it is nothing that a kernel is likely to write.
_GUARD = bytes.fromhex("a5a5f57f") * (GUARD_BYTES // 4)


class CUDARuntimeError(RuntimeError):
    """As `cupy.cuda.runtime.CUDARuntimeError`, which makes its text of the status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes, "
            f"limit set to: {limit:,} bytes)."
        )


class Memory:
    """One allocation. `address` is 0 where there are no bytes, as in CuPy."""

    def __init__(self, machine: Machine, size: int) -> None:
        self.machine, self.size, self.device = machine, size, machine.device
        self.stream = machine.stream
        self.uses: Uses = machine.stream_order.allocated(self.stream)
        padded = np.empty(size + 2 * GUARD_BYTES + ALIGNMENT, np.uint8)
        start = -(padded.ctypes.data + GUARD_BYTES) % ALIGNMENT + GUARD_BYTES
        self.bytes = padded[start : start + size]
        self._before = padded[start - GUARD_BYTES : start]
        self._after = padded[start + size : start + size + GUARD_BYTES]
        self._before[:] = self._after[:] = np.frombuffer(_GUARD, np.uint8)
        self.address = self.bytes.ctypes.data if size else 0

    def use(self, writes: bool, what: str) -> None:
        """Note that something on the current stream uses the memory."""
        if self.size:
            self.machine.stream_order.use(self.machine.stream, self.uses, writes, what)

    def damage(self) -> str | None:
        """Say where the guards have been overwritten; None if they are whole."""
        for where, guard in (("before", self._before), ("after", self._after)):
            if guard.tobytes() != _GUARD:
                wrong = np.flatnonzero(guard != np.frombuffer(_GUARD, np.uint8))
                byte = GUARD_BYTES - wrong[-1] if where == "before" else wrong[0]
                return f"byte {byte} {where} the memory of {self.size} bytes"
        return None


class Machine:
    """The state of a stand-in: what a test configures and counts.

    Attributes
    ----------
    order : int
        Of threads and blocks in launches: 0 forwards, 1 backwards, else a seed.
    checked : bool
        Whether kernels are compiled with a check of every access to memory.
    capacity : int
        Bytes that can be allocated on each device.
    allocated, peak : int
        Bytes that arrays hold, now and at most.
    synchronizations : int
        How often the host has waited for the device.
    uploads : int
        How often the host has sent it an array.
    launches : list of str
        Names of the kernels launched.
    event_lag : int
        How many queries of an event find it not done before one does.
    captured : list or None
        The launches of a graph that is being captured.
    stream_order : StreamOrder
        What is in order on the streams.
    """

    def __init__(
        self, order: int | None, capacity: int, devices: int, checked: bool | None
    ) -> None:
        self.order = int(os.environ.get("SAD_CUDA_HOST_ORDER", "0")) if order is None else order
        asked = os.environ.get("SAD_CUDA_HOST_CHECKED", "0") != "0"
        self.checked = asked if checked is None else checked
        self.capacity = capacity
        self.devices = devices
        self.allocated = self.peak = self.synchronizations = self.uploads = 0
        self.launches: list[str] = []
        self.event_lag = 0
        self.stream_order = StreamOrder()
        self.captured: list[Callable[[], None]] | None = None
        self.asked = 0  # copies to the host, ever
        self._coming: list[Callable[[], None]] = []
        self._current = threading.local()

    @property
    def device(self) -> int:
        """Number of the current device of this thread."""
        return getattr(self._current, "device", 0)

    @device.setter
    def device(self, number: int) -> None:
        self._current.device = number

    @property
    def streams(self) -> list[tuple[int, Any]]:
        """The streams that this thread has made current, each with its device, the last the top."""
        if not hasattr(self._current, "streams"):
            self._current.streams = []
        return self._current.streams

    @property
    def stream(self) -> tuple[int, int]:
        """Device and pointer of the current stream of this thread."""
        own = [stream.ptr for number, stream in self.streams if number == self.device]
        return self.device, own[-1] if own else 0

    def check_not_captured(self) -> None:
        """Refuse what the stand-in's graphs do not hold: all but launches."""
        if self.captured is not None:
            text = "operation not permitted when stream is capturing"
            raise CUDARuntimeError(900, f"cudaErrorStreamCaptureUnsupported: {text}")

    def allocate(self, size: int) -> Memory:
        """Return memory whose content is poison, or raise `OutOfMemoryError`."""
        rounded = -(-size // ALIGNMENT) * ALIGNMENT
        if self.allocated + rounded > self.capacity:
            raise OutOfMemoryError(rounded, self.allocated, self.capacity)
        memory = Memory(self, size)
        self.allocated += rounded
        self.peak = max(self.peak, self.allocated)
        weakref.finalize(memory, self._free, rounded, memory.stream, memory.uses)
        return memory

    def _free(self, size: int, stream: tuple[int, int], uses: Uses) -> None:
        self.allocated -= size
        self.stream_order.free(stream, uses)

    def synchronize(self, upto: int | None = None, clock: Clock | None = None) -> None:
        """Wait for the device: for all copies to the host, or for the first `upto` of them.

        `clock` is that of the event that is waited for; by default all on the current stream is.
        """
        self.check_not_captured()
        reached = self.stream_order.recorded(self.stream) if clock is None else clock
        self.stream_order.wait_on_host(reached)
        self.synchronizations += 1
        self.deliver(upto)

    def later(self, arrival: Callable[[], None]) -> None:
        """Have a copy to the host arrive at the next synchronization."""
        self._coming.append(arrival)
        self.asked += 1

    def deliver(self, upto: int | None = None) -> None:
        """Let copies arrive without a synchronization that counts."""
        while self._coming and (upto is None or self.asked - len(self._coming) < upto):
            self._coming.pop(0)()


def poison(host: np.ndarray[Any, Any]) -> None:
    """Fill with what checked kernels find unwritten; bytes and the like with 0x7f."""
    pattern = _POISON * (host.itemsize // 4) if host.itemsize >= 4 else b"\x7f" * host.itemsize
    host[...] = np.frombuffer(pattern, host.dtype)[0]
