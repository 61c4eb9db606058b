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

__all__ = ["FUNCTIONS", "METHODS", "UFUNCS", "DeviceArray", "apply", "empty", "upload"]

_SCALARS = (bool, int, float, complex, np.generic)

# Functions that CuPy has under NumPy's name and with NumPy's meaning, for np.f(device array) and
# cupy.f(device array), with the names of CuPy's parameters.
FUNCTIONS = {
    name: tuple(parameters.split())
    for name, parameters in {
        "argsort": "a axis kind",
        "concatenate": "tup axis out dtype casting",
        "cumsum": "a axis dtype out",
        "max": "a axis out keepdims",
        "nonzero": "a",
        "ravel": "a order",
        "repeat": "a repeats axis",
        "reshape": "a newshape order",
        "searchsorted": "a v side sorter",
        "sort": "a axis kind",
        "sum": "a axis dtype out keepdims",
        "take": "a indices axis out",
        "where": "condition x y",
    }.items()
}
_UFUNCS = (
    "absolute add arctan2 copysign cos divide equal exp floor greater greater_equal hypot less "
    "less_equal maximum minimum multiply negative not_equal power sin sqrt subtract"
)
UFUNCS = frozenset(_UFUNCS.split())
_OF_UFUNCS = {"out", "dtype", "casting"}


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
    T = property(lambda self: self._view(self._host.T))
    device = property(lambda self: SimpleNamespace(id=self._memory.device))

    @property
    def flags(self) -> SimpleNamespace:
        flags, whole = self._host.flags, self._host.size * self.itemsize == self._memory.size
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=whole
        )

    @property
    def data(self) -> SimpleNamespace:
        address = self._host.ctypes.data if self.size else 0
        return SimpleNamespace(ptr=address, mem=self._memory, device_id=self._memory.device)

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return f"DeviceArray({self._host!r})"

    def check_current(self, *, writes: bool = False) -> None:
        """Refuse to work on the array if its device is not the current one; note that one does."""
        self._machine.check_not_captured()
        here, there = self._machine.device, self._memory.device
        if here != there:
            raise ValueError(f"the array is on device {there}, the current one is {here}")
        self._memory.use(writes, "an operation")

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
            out = np.empty(self.shape, self.dtype, order)
        elif not isinstance(out, np.ndarray) or out.dtype != self.dtype:
            raise TypeError("out is no NumPy array of the same dtype")
        elif out.shape != self.shape:
            raise ValueError(f"Shape mismatch. Expected shape: {self.shape}")
        elif not (out.flags.c_contiguous or out.flags.f_contiguous):
            raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
        self._memory.use(False, "a copy to the host")
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
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        self._machine.check_not_captured()
        self._memory.use(True, "a copy from the host")
        self._machine.uploads += 1
        self._host[...] = arr

    def item(self) -> Any:
        self._machine.synchronize()
        return self._host.item()

    def tolist(self) -> Any:
        self._machine.synchronize()
        return self._host.tolist()

    # There is no __index__: it does not stand where Python needs an integer.

    def __float__(self) -> float:
        return float(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    def __bool__(self) -> bool:
        return bool(self.item())

    def _scalar(self) -> Any:
        if self.ndim:  # NumPy, to which CuPy leaves it, warns
            raise TypeError("only arrays of no dimensions are converted to numbers")
        return self.item()

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
        if kind == "arrays" and isinstance(value, DeviceArray) and value.size > 1:
            _refuse_duplicates(index, self.shape)
        self.check_current(writes=True)
        self._host[index] = _host(value)

    # ---- Copies and views -------------------------------------------------------------------

    def _view(self, host: np.ndarray) -> DeviceArray:
        return DeviceArray(self._machine, self._memory, host)

    def copy(self) -> DeviceArray:
        self.check_current()
        return upload(self._machine, self._host)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: None = None,
        subok: None = None,
        copy: bool = True,
    ) -> DeviceArray:
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        if not copy and self.dtype == np.dtype(dtype):
            return self
        if order != "K":
            raise ValueError("the stand-in's astype keeps the order")
        self.check_current()
        with np.errstate(all="ignore"):
            return upload(self._machine, self._host.astype(dtype), keep_order=True)

    def view(self, dtype: Any = None) -> DeviceArray:
        return self._view(self._host.view(dtype or self.dtype))

    def fill(self, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("Non-scalar numpy.ndarray cannot be used for fill")
        self.check_current(writes=True)
        self._host.fill(_host(value))

    def reshape(self, *shape: Any) -> DeviceArray:
        return self._call("reshape", shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> DeviceArray:
        return self._view(self._host.transpose(*axes))

    def sort(self, axis: int = -1) -> None:
        if not self.flags.c_contiguous:
            raise NotImplementedError("Sorting non-contiguous array is not supported.")
        self.check_current(writes=True)
        self._host.sort(axis=axis, kind="stable")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return apply(self._machine, getattr(np, name), (self, *args), kwargs)

    # ---- NumPy's protocols ------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__":
            raise NotImplementedError(f"the stand-in has no {ufunc.__name__}.{method}")
        for value in (*inputs, *kwargs.get("out", ())):
            if not isinstance(value, (*_SCALARS, DeviceArray)):
                raise TypeError(f"Unsupported type {type(value)}")
        return apply(self._machine, ufunc, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ not in FUNCTIONS or func.__module__ != "numpy":
            raise TypeError(f"np.{func.__name__} is none of the functions that the stand-in has")
        return apply(self._machine, func, args, kwargs)


def _method(name: str) -> Any:
    def method(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, *args, **kwargs)

    method.__name__ = name
    return method


METHODS = ("argsort", "cumsum", "max", "nonzero", "ravel", "repeat", "sum", "take")
for _name in METHODS:
    setattr(DeviceArray, _name, _method(_name))


# ---- Between the machine and NumPy ------------------------------------------------------------


def empty(machine: Machine, shape: Any, dtype: Any) -> DeviceArray:
    """Return an array whose elements are poison."""
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
    dtype = np.dtype(dtype)
    memory = machine.allocate(math.prod(shape) * dtype.itemsize)
    host = memory.bytes.view(dtype).reshape(shape)
    poison(host)
    return DeviceArray(machine, memory, host)


def upload(machine: Machine, host: Any, *, keep_order: bool = False) -> DeviceArray:
    """Return a copy of a NumPy array, or scalar, on the device.

    CuPy's copies keep Fortran's order where they come from the host or change the dtype; what it
    computes is in C's.
    """
    host = np.asarray(host)
    turned = keep_order and host.flags.fnc
    array = empty(machine, host.shape[::-1] if turned else host.shape, host.dtype)
    array = array.T if turned else array
    array._memory.use(True, "an operation")
    array._host[...] = host
    return array


def apply(machine: Machine, function: Any, args: Any, kwargs: Any) -> Any:
    """Call a NumPy function on what the device arrays hold; its arrays are device arrays."""
    name = function.__name__
    if name == "nonzero" or (name == "where" and len(args) == 1):
        machine.synchronize()
    known = _OF_UFUNCS if name in UFUNCS else FUNCTIONS.get(name)
    if known is None:
        raise TypeError(f"the stand-in for CuPy has no {name}")
    if unknown := kwargs.keys() - set(known):
        raise TypeError(f"CuPy's {name} does not take {', '.join(sorted(unknown))}")
    if name == "repeat" and not isinstance(args[1], int | list | tuple):
        raise TypeError("repeat: the numbers have to be known on the host")  # in CuPy before 14
    if name in ("sort", "argsort"):
        if kwargs.get("kind") not in (None, "stable"):
            raise ValueError("kind can only be None or 'stable'")
        kwargs = {**kwargs, "kind": "stable"}
    arrays: list[DeviceArray] = []
    out = kwargs.get("out")
    written = out if isinstance(out, tuple) else (out,)
    args, kwargs = _unwrap(args, arrays), _unwrap(kwargs, arrays)
    for array in arrays:
        array.check_current(writes=any(array is w for w in written))
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


def _refuse_duplicates(index: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Refuse to write two values to one element: CuPy leaves open which one it holds then."""
    places = np.arange(math.prod(shape)).reshape(shape)[index].ravel()
    if len(np.unique(places)) < len(places):
        raise ValueError("two values for one element")


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
