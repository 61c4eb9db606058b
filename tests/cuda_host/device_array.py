"""`DeviceArray`: CuPy's ndarray over NumPy, which refuses what CuPy refuses.

It is no `numpy.ndarray` and does not become one but by `get`. In an operation with it, a NumPy
array raises TypeError. Whatever needs a value on the host counts as a synchronization. What
computes or copies on the device is refused where another device is the current one: CuPy fails
there, or places the result on the wrong one.
"""

# ruff: noqa: ARG002 - the signatures are CuPy's

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .machine import Machine, Memory, poison

__all__ = ["DISPATCHED", "DeviceArray", "apply", "upload"]

_SCALARS = (bool, int, float, complex, np.generic)

# Functions that CuPy has under NumPy's name and with NumPy's meaning, for np.f(device array) and
# cupy.f(device array). Those that need values on the host are in _WAITING.
_DISPATCHED = (
    "all allclose amax amin any append argmax argmin argsort array_equal around atleast_1d "
    "atleast_2d atleast_3d average broadcast_to ceil clip column_stack concatenate copy cumprod "
    "cumsum diff divide dot einsum expand_dims fix flip fliplr flipud hstack hypot isclose "
    "lexsort max mean median min moveaxis ndim nonzero flatnonzero unique bincount nan_to_num "
    "outer pad percentile prod ptp quantile ravel repeat reshape roll rot90 round searchsorted "
    "shape size sort split squeeze stack std sum swapaxes take take_along_axis tensordot tile "
    "transpose tril triu var vdot vstack where full_like ones_like zeros_like empty_like"
)
DISPATCHED = frozenset(_DISPATCHED.split())
_WAITING = frozenset(["bincount", "flatnonzero", "nonzero", "unique"])


class DeviceArray(NDArrayOperatorsMixin):
    """An array in the memory of a `Machine`; `_host` is a view of that memory."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, machine: Machine, memory: Memory, host: np.ndarray) -> None:
        self._machine, self._memory, self._host = machine, memory, host

    # ---- What it is -------------------------------------------------------------------------

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    ndim = property(lambda self: self._host.ndim)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: self._view(self._host.T))
    device = property(lambda self: SimpleNamespace(id=self._memory.device))

    @property
    def data(self) -> SimpleNamespace:
        address = self._host.ctypes.data if self.size else 0
        return SimpleNamespace(ptr=address, mem=self._memory, device_id=self._memory.device)

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return f"DeviceArray({self._host!r})"

    def check_current(self) -> None:
        """Refuse to work on the array if its device is not the current one."""
        here, there = self._machine.device, self._memory.device
        if here != there:
            raise ValueError(f"the array is on device {there}, the current one is {here}")

    # ---- To and from the host ---------------------------------------------------------------

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> np.ndarray:
        """Return a copy on the host; if not `blocking`, it arrives with a synchronization."""
        if out is None:
            out = np.empty(self.shape, self.dtype)
        elif not isinstance(out, np.ndarray) or out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError("Shape or dtype mismatch of out, or it is no NumPy array")
        if blocking:
            self._machine.synchronize()
            out[...] = self._host
            return out
        content = self._host.copy()  # as of now: the copy is in the stream's order
        poison(out)
        self._machine.later(lambda: np.copyto(out, content))
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        self._machine.uploads += 1
        self._host[...] = arr

    def item(self, *args: Any) -> Any:
        self._machine.synchronize()
        return self._host.item(*args)

    def tolist(self) -> Any:
        self._machine.synchronize()
        return self._host.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.item().__index__()

    def __bool__(self) -> bool:
        return bool(self.item())

    # ---- Elements ---------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> DeviceArray:
        index, kind = _index(self, key)
        if kind != "slices":
            self.check_current()
        if kind == "mask":
            self._machine.synchronize()  # for the result's size
        # With an ellipsis an element is a view of no dimensions, not a NumPy scalar.
        found = self._host[(*index, ...)] if Ellipsis not in _types(index) else self._host[index]
        if kind == "slices":
            return self._view(np.asarray(found) if found.ndim else found)
        return upload(self._machine, found)

    def __setitem__(self, key: Any, value: Any) -> None:
        index, kind = _index(self, key)
        if kind == "mask" and isinstance(value, DeviceArray) and value.ndim:
            raise ValueError("values for a mask: only scalars")
        if isinstance(value, np.ndarray | list | tuple):
            raise TypeError(f"Unsupported type {type(value)}")
        self.check_current()
        self._host[index] = _host(value)

    # ---- Copies and views -------------------------------------------------------------------

    def _view(self, host: np.ndarray) -> DeviceArray:
        return DeviceArray(self._machine, self._memory, host)

    def copy(self, order: str = "C") -> DeviceArray:
        self.check_current()
        return upload(self._machine, self._host)

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> DeviceArray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        self.check_current()
        with np.errstate(all="ignore"):
            return upload(self._machine, self._host.astype(dtype))

    def view(self, dtype: Any = None) -> DeviceArray:
        return self._view(self._host.view(dtype or self.dtype))

    def fill(self, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("Non-scalar numpy.ndarray cannot be used for fill")
        self.check_current()
        self._host.fill(_host(value))

    def reshape(self, *shape: Any, order: str = "C") -> DeviceArray:
        return self._call("reshape", shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> DeviceArray:
        return self._view(self._host.transpose(*axes))

    def sort(self, axis: int = -1) -> None:
        self.check_current()
        self._host.sort(axis=axis, kind="stable")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return apply(self._machine, getattr(np, name), (self, *args), kwargs)

    # ---- NumPy's protocols ------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if "where" in kwargs:
            raise TypeError("where= is not supported")
        for value in (*inputs, *kwargs.get("out", ())):
            if not isinstance(value, (*_SCALARS, DeviceArray)):
                raise TypeError(f"Unsupported type {type(value)}")
        return apply(self._machine, getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ not in DISPATCHED or func.__module__ != "numpy":
            raise TypeError(f"np.{func.__name__} is none of the functions that the stand-in has")
        return apply(self._machine, func, args, kwargs)


def _method(name: str) -> Any:
    def method(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, *args, **kwargs)

    method.__name__ = name
    return method


_METHODS = (
    "max min sum any all mean prod std var argmax argmin argsort cumsum cumprod take repeat ravel "
    "squeeze swapaxes clip round nonzero dot"
)
for _name in _METHODS.split():
    setattr(DeviceArray, _name, _method(_name))
DeviceArray.flatten = lambda self: self.copy().ravel()  # type: ignore[attr-defined]


# ---- Between the machine and NumPy ------------------------------------------------------------


def empty(machine: Machine, shape: Any, dtype: Any) -> DeviceArray:
    """Return an array whose elements are poison."""
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
    dtype = np.dtype(dtype)
    memory = machine.allocate(math.prod(shape) * dtype.itemsize)
    host = memory.bytes.view(dtype).reshape(shape)
    poison(host)
    return DeviceArray(machine, memory, host)


def upload(machine: Machine, host: Any) -> DeviceArray:
    """Return a copy of a NumPy array, or scalar, on the device."""
    host = np.asarray(host)
    array = empty(machine, host.shape, host.dtype)
    array._host[...] = host
    return array


def apply(machine: Machine, function: Any, args: Any, kwargs: Any) -> Any:
    """Call a NumPy function on what the device arrays hold; its arrays are device arrays."""
    name = getattr(function, "__name__", "")
    if name in _WAITING:
        machine.synchronize()
    if name == "repeat" and not isinstance(args[1], int | list | tuple):
        raise TypeError("repeat: the numbers have to be known on the host")  # in CuPy before 14
    if name in ("sort", "argsort"):
        if kwargs.get("kind") not in (None, "stable"):
            raise ValueError("kind can only be None or 'stable'")
        kwargs = {**kwargs, "kind": "stable"}
    arrays: list[DeviceArray] = []
    args, kwargs = _unwrap(args, arrays), _unwrap(kwargs, arrays)
    for array in arrays:
        array.check_current()
    with np.errstate(all="ignore"):
        return _wrap(machine, function(*args, **kwargs), arrays)


def _unwrap(value: Any, arrays: list[DeviceArray]) -> Any:
    if isinstance(value, DeviceArray):
        arrays.append(value)
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(v, arrays) for v in value)
    if isinstance(value, dict):
        return {key: _unwrap(v, arrays) for key, v in value.items()}
    return value


def _wrap(machine: Machine, result: Any, arrays: list[DeviceArray]) -> Any:
    if isinstance(result, tuple | list) and any(isinstance(r, np.ndarray) for r in result):
        return type(result)(_wrap(machine, r, arrays) for r in result)
    if isinstance(result, np.ndarray):
        for array in arrays:
            if array._host is result:
                return array
            if result.size and np.may_share_memory(result, array._host):
                return array._view(result)
    if isinstance(result, np.ndarray | np.generic | bool):
        return upload(machine, result)
    return result


def _host(value: Any) -> Any:
    if not isinstance(value, (*_SCALARS, DeviceArray)):
        raise TypeError(f"Unsupported type {type(value)}")
    return value._host if isinstance(value, DeviceArray) else value


def _types(index: tuple[Any, ...]) -> list[Any]:
    """Return the members that can be compared by ==."""
    return [i for i in index if not isinstance(i, np.ndarray)]


def _index(array: DeviceArray, key: Any) -> tuple[tuple[Any, ...], str]:
    """Return NumPy's index, and whether it is of slices (and numbers), of arrays, or a mask."""
    index, kind = [], "slices"
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, np.ndarray):
            raise TypeError("a NumPy array as an index of a device array")
        if isinstance(part, DeviceArray | list):
            found = part._host if isinstance(part, DeviceArray) else np.asarray(part)
            if found.dtype.kind not in "iub":
                raise IndexError("arrays used as indices must be of integer or boolean type")
            kind = "mask" if found.dtype.kind == "b" or kind == "mask" else "arrays"
            index.append(found)
        else:
            index.append(part)
    return tuple(index), kind
