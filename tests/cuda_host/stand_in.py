"""A stand-in for the module CuPy, with kernels that run on the CPU.

    cupy = make_cupy(order=1)
    cupy.machine.capacity = 1 << 20         # then allocations fail beyond 1 MiB
    function = cupy.RawModule(code=text, options=("--fmad=false",)).get_function("blend")
    function((4, 1, 1), (64, 1, 1), (sites, out, np.int32(8)))
    cupy.synchronizations                   # how often the host has waited

It has what the backend uses of CuPy and no more, is strict where CuPy is, and where CuPy trusts:
see `device_array`, `raw_module` and `cuda_namespace`. tests/real_cupy.py compares its names and
signatures with a CuPy. Memory that `empty` returns is poison (`machine.poison`). `cupy.machine`
(`machine.Machine`) is what a test configures and counts; the environment's SAD_CUDA_HOST_ORDER is
the order of launches by default, and SAD_CUDA_HOST_CHECKED=1 has every access checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .cuda_namespace import MemoryPool, cuda_namespace
from .device_array import FUNCTIONS, UFUNCS, DeviceArray, apply, empty, upload
from .machine import Machine
from .raw_module import RawModule

__all__ = ["StandIn", "make_cupy"]


class StandIn:
    """The module; see the file's own description."""

    __name__ = "cupy"
    __version__ = "14.2.0"
    ndarray = DeviceArray

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cuda = cuda_namespace(machine)
        self.RawModule = partial(RawModule, machine)

    @property
    def synchronizations(self) -> int:
        """How often the host has waited for the device."""
        return self.machine.synchronizations

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(np, name, None)
        if name in UFUNCS or name in FUNCTIONS:
            return lambda *args, **kwargs: self._apply(function, args, kwargs)
        raise AttributeError(f"the stand-in for CuPy has no {name}")

    def _apply(self, function: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in UFUNCS and not any(isinstance(a, DeviceArray) for a in args):
            for value in args:
                if not isinstance(value, int | float | np.generic):
                    raise TypeError(f"Unsupported type {type(value)}")
        return apply(self.machine, function, args, kwargs)

    # ---- New arrays -------------------------------------------------------------------------

    def asarray(self, a: Any, dtype: Any = None) -> DeviceArray:
        """Return a device array; one of that dtype as it is."""
        if isinstance(a, DeviceArray):
            return a if dtype is None else a.astype(dtype, copy=False)
        return self.array(a, dtype)

    def array(self, obj: Any, dtype: Any = None) -> DeviceArray:
        """Return a copy on the device, in the order of the memory that is copied."""
        if isinstance(obj, DeviceArray):
            return obj.astype(dtype or obj.dtype)
        self.machine.uploads += 1
        return upload(self.machine, np.asarray(obj, dtype), keep_order=True)

    def empty(self, shape: Any, dtype: Any = float) -> DeviceArray:
        """Return an array of poison."""
        return empty(self.machine, shape, dtype)

    def full(self, shape: Any, fill_value: Any, dtype: Any = None) -> DeviceArray:
        """Return an array of one value, which may be on the device."""
        if dtype is None:
            on_device = isinstance(fill_value, DeviceArray)
            dtype = fill_value.dtype if on_device else np.array(fill_value).dtype
        array = self.empty(shape, dtype)
        array[...] = fill_value
        return array

    def zeros(self, shape: Any, dtype: Any = float) -> DeviceArray:
        """Return an array of zeros."""
        return self.full(shape, 0, dtype)

    def ones(self, shape: Any, dtype: Any = float) -> DeviceArray:
        """Return an array of ones."""
        return self.full(shape, 1, dtype)

    def empty_like(self, prototype: DeviceArray, dtype: Any = None) -> DeviceArray:
        """Return an array of poison, like another."""
        return self.empty(prototype.shape, dtype or prototype.dtype)

    def zeros_like(self, a: DeviceArray, dtype: Any = None) -> DeviceArray:
        """Return an array of zeros, like another."""
        return self.zeros(a.shape, dtype or a.dtype)

    def arange(self, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> DeviceArray:
        """Return evenly spaced numbers."""
        return upload(self.machine, np.arange(start, stop, step, dtype=dtype))

    # ---- The rest ---------------------------------------------------------------------------

    def get_default_memory_pool(self) -> MemoryPool:
        """Return where arrays are allocated."""
        return MemoryPool(self.machine)


def make_cupy(
    order: int | None = None,
    capacity: int = 8 << 30,
    devices: int = 1,
    checked: bool | None = None,
) -> StandIn:
    """Return a stand-in of its own memory, counts and settings.

    Parameters
    ----------
    order : int, optional
        In which threads and blocks run: 0 forwards, 1 backwards, else a seed from which it is
        drawn, for each launch anew.
    capacity : int
        Bytes that can be allocated.
    devices : int
        How many GPUs there seem to be.
    checked : bool, optional
        Whether every access of a kernel to memory is checked, which takes several times as long.
    """
    return StandIn(Machine(order, capacity, devices, checked))
