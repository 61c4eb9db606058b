"""CUDA kernels as the host sees them: what arguments each takes, checked before a launch.

A `Kernel` declares the parameters of one ``extern "C" __global__`` function of kernels/*.cu in the
order of its signature (a test compares the two). `Kernel.check` takes the arguments by name and
refuses what the device would read as garbage: another dtype, shape, layout or device, a missing or
an unknown name. Nothing here needs CuPy: an array is anything that has its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np

from sadcodec.errors import BackendError

__all__ = ["Array", "Kernel", "Launcher", "Scalar", "on_device"]

Dimension = int | str


@dataclass(frozen=True, init=False)
class Array:
    """A pointer parameter.

    Parameters
    ----------
    name : str
    dtype : dtype-like
        Of the elements.
    shape : int or str
        Dimensions: a number, or a name that means the same number in all arguments of a launch.
    out : bool
        The kernel writes it; otherwise its parameter is ``const``.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Dimension, ...]
    out: bool

    def __init__(self, name: str, dtype: Any, *shape: Dimension, out: bool = False) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "dtype", np.dtype(dtype))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "out", out)

    def check(self, value: Any, device: int, sizes: dict[str, int]) -> Any:
        """Return the array if it fits, and note the sizes of its named dimensions in `sizes`."""
        try:
            there = value.device.id
        except AttributeError:  # the device of NumPy's arrays is a word, or there is none
            what = type(value).__name__
            raise _refusal(self.name, f"is a {what}, not an array of the device") from None
        if there != device:
            raise _refusal(self.name, f"lies on device {there}, not {device}")
        if value.dtype != self.dtype:
            raise _refusal(self.name, f"is {value.dtype}, not {self.dtype}")
        if not value.flags.c_contiguous:
            raise _refusal(self.name, "is not contiguous")
        if len(value.shape) != len(self.shape):
            raise _refusal(self.name, f"has shape {value.shape}, not {list(self.shape)}")
        for got, wanted in zip(value.shape, self.shape, strict=True):
            size = sizes.setdefault(wanted, got) if isinstance(wanted, str) else wanted
            if got != size:
                raise _refusal(self.name, f"has shape {value.shape}, but {wanted} is {size}")
        return value


_NUMBERS = (int, float, np.number)


@dataclass(frozen=True, init=False)
class Scalar:
    """A parameter passed by value: integers and floats of Python are converted to `dtype`."""

    name: str
    dtype: np.dtype[Any]
    type: Any  # of NumPy's scalars
    limits: tuple[int, int] | None  # of an integer: asking NumPy at each launch takes a microsecond

    def __init__(self, name: str, dtype: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "dtype", np.dtype(dtype))
        object.__setattr__(self, "type", self.dtype.type)
        limits = np.iinfo(self.dtype) if self.dtype.kind in "iu" else None
        object.__setattr__(self, "limits", limits and (int(limits.min), int(limits.max)))

    def check(self, value: Any, *_: Any) -> Any:
        """Return the value as a NumPy scalar of the declared type."""
        if not isinstance(value, _NUMBERS):
            raise _refusal(self.name, f"is a {type(value).__name__}, not a number")
        if self.limits is not None:
            least, most = self.limits
            if int(value) != value or not least <= value <= most:
                raise _refusal(self.name, f"is {value}, which is no {self.dtype}")
            value = int(value)
        return self.type(value)


def _refusal(name: str, why: str) -> BackendError:
    return BackendError(f"cuda: argument {name} {why}")


Blocks = int | tuple[int, int, int]


class Kernel:
    """One function of a kernel file.

    Parameters
    ----------
    file : str
        In kernels/.
    name : str
        Of the function.
    parameters : tuple of Array and Scalar
        In the order of the signature.
    threads : int
        Threads of a block, as in the function's ``__launch_bounds__``.
    defines : tuple of str
        The macros that the file reads, e.g. ``SAD_K``; the session that launches it has them.
    """

    def __init__(
        self,
        file: str,
        name: str,
        parameters: tuple[Array | Scalar, ...],
        threads: int,
        defines: tuple[str, ...] = (),
    ) -> None:
        self.file = file
        self.name = name
        self.parameters = parameters
        self.threads = threads
        self.defines = defines
        self._names = frozenset(p.name for p in parameters)

    def check(self, device: int, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the arguments in the order of the signature.

        Parameters
        ----------
        device : int
            Number of the device that the launch is on.
        arguments : mapping
            Value of every parameter by name.

        Raises
        ------
        BackendError
            If one is missing, unknown, or not as declared.
        """
        names = self._names
        if names != arguments.keys():
            missing, unknown = names - arguments.keys(), arguments.keys() - names
            wrong = [f"{n} is missing" for n in sorted(missing)]
            wrong += [f"{n} is unknown" for n in sorted(unknown)]
            raise BackendError(f"cuda: {self.name}: {', '.join(wrong)}")
        sizes: dict[str, int] = {}
        try:
            return tuple([p.check(arguments[p.name], device, sizes) for p in self.parameters])
        except BackendError as error:
            raise BackendError(f"{error} ({self.name})") from None

    def blocks(self, threads: int) -> int:
        """Return the number of blocks for so many threads."""
        return -(-threads // self.threads)

    def grid(self, blocks: Blocks) -> tuple[int, int, int]:
        """Return the grid of a launch; a number of blocks lies along x.

        Raises
        ------
        BackendError
            If it is larger than any device allows.
        """
        grid = (blocks, 1, 1) if isinstance(blocks, int) else blocks
        x, y, z = grid
        if not (1 <= x < 1 << 31 and 1 <= y < 1 << 16 and 1 <= z < 1 << 16):
            raise BackendError(f"cuda: {self.name}: a grid of {x} x {y} x {z} blocks")
        return grid


class Runtime(Protocol):
    """What a launcher needs of a device: see `sadcodec.backends.cuda.Runtime`."""

    @property
    def cp(self) -> Any:
        """CuPy, or what stands in for it."""

    @property
    def device(self) -> int:
        """Number of the device."""

    def function(self, file_name: str, name: str, defines: Mapping[str, int]) -> Any:
        """Return a compiled function, callable as f(grid, block, arguments)."""

    def activate(self) -> AbstractContextManager[Any]:
        """Make the device current while in the context."""

    def free_memory(self, enough: int | None = None) -> int:
        """Bytes that can be allocated on the device; perhaps fewer, but `enough`, if they are."""


class Launcher:
    """Launches kernels on one device, compiled for one set of macros.

    Parameters
    ----------
    runtime : Runtime
    defines : mapping
        Values of the macros ``SAD_K`` (sites blended per pixel) and ``SAD_CHANNELS``. A kernel file
        is compiled with those that its `Kernel` names.
    """

    def __init__(self, runtime: Runtime, defines: Mapping[str, int]) -> None:
        self.runtime = runtime
        self.cp = runtime.cp
        self.defines = dict(defines)
        self._functions: dict[tuple[str, str], Any] = {}

    def _function(self, kernel: Kernel) -> Any:
        key = (kernel.file, kernel.name)
        if key not in self._functions:
            defines = {name: self.defines[name] for name in kernel.defines}
            self._functions[key] = self.runtime.function(kernel.file, kernel.name, defines)
        return self._functions[key]

    @contextmanager
    def on_device(self) -> Iterator[None]:
        """Make the device current; what it reports is a BackendError in the context."""
        cuda = self.cp.cuda
        with self.runtime.activate():
            try:
                yield
            except MemoryError as error:
                # CuPy's own, or its sort's: std::bad_alloc as Cython passes it on.
                of_device = isinstance(error, cuda.memory.OutOfMemoryError)
                if not of_device and "bad_alloc" not in str(error):
                    raise  # the host has none
                raise BackendError(f"cuda: the device has no memory left: {error}") from error
            except RuntimeError as error:
                # Errors of CUDA are; CuPy's sort has none of its own for them, but their names.
                own = (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError)
                if not isinstance(error, own) and "cudaError" not in str(error):
                    raise
                raise BackendError(f"cuda: the device failed: {error}") from error

    def launch(self, kernel: Kernel, blocks: Blocks, arguments: Mapping[str, Any]) -> None:
        """Check the arguments and start a kernel; it runs after what was started before it.

        Raises
        ------
        BackendError
            If an argument is not as declared, or the kernel cannot be compiled.
        """
        values = kernel.check(self.runtime.device, arguments)
        self._function(kernel)(kernel.grid(blocks), (kernel.threads, 1, 1), values)

    def bind(
        self, kernel: Kernel, blocks: Blocks, arguments: Mapping[str, Any], *varying: str
    ) -> Callable[..., None]:
        """Check the arguments once, for many launches that differ in some numbers.

        Parameters
        ----------
        kernel, blocks, arguments
            As in `launch`, without the parameters `varying`.
        varying : str
            Names of the scalars that each launch brings, in the order that it brings them.

        Returns
        -------
        callable
            Starts the kernel with the numbers that it is given.

        Raises
        ------
        BackendError
        """
        values = list(kernel.check(self.runtime.device, {**arguments, **dict.fromkeys(varying, 0)}))
        places = {p.name: (i, p.dtype.type) for i, p in enumerate(kernel.parameters)}
        changing = [places[name] for name in varying]
        function, grid, block = self._function(kernel), kernel.grid(blocks), (kernel.threads, 1, 1)

        def start(*numbers: float) -> None:
            for (place, dtype), number in zip(changing, numbers, strict=True):
                values[place] = dtype(number)
            function(grid, block, tuple(values))

        return start


class _Launching(Protocol):
    _launcher: Launcher


S = TypeVar("S", bound=_Launching)
P = ParamSpec("P")
R = TypeVar("R")


def on_device(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Wrap a method such that it runs with the device of the object's launcher."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._launcher.on_device():
            return method(self, *args, **kwargs)

    return call
