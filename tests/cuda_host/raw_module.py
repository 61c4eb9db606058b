"""`RawModule` and its functions: kernels compiled for the CPU, launched as CuPy launches them.

A launch checks what a device takes on trust: the number of arguments, every dtype, that pointers
are contiguous device arrays on the current device, the sizes of block and grid, and afterwards that
nothing was written around the arrays or into those that the kernel declares const.
"""

# ruff: noqa: ARG002 - the signatures are CuPy's

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .compiler import CompiledModule, CompileError, Kernel, KernelError, load_text
from .device_array import DeviceArray
from .machine import Machine
from .signatures import Parameter

__all__ = ["CompileException", "Function", "LaunchError", "RawModule"]

_IGNORED_OPTIONS = {"-std=c++17", "--std=c++17", "-lineinfo", "--generate-line-info"}
_COMPARED_BYTES = 64 << 20  # const arrays up to this size are compared with what they were


class LaunchError(Exception):
    """A launch that a device would refuse, or run on garbage."""


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """As `cupy.cuda.compiler.CompileException`: the compiler's messages."""


class RawModule:
    """The kernels of one source. `code` is CUDA C++; options are -I, -D, -std=c++17, --fmad."""

    def __init__(
        self,
        machine: Machine,
        *,
        code: str,
        options: tuple[str, ...] = (),
    ) -> None:
        if not isinstance(options, tuple) or not isinstance(code, str):
            raise TypeError("code has to be a str, options a tuple")
        self._machine, self._code, self._compiled = machine, code, None
        self.options = options
        self._contracts = True
        self._include: list[Path] = []
        self._defines: dict[str, str] = {}
        for option in options:
            self._read(option)

    def _read(self, option: str) -> None:
        if option.startswith("-I"):
            self._include.append(Path(option[2:]))
        elif option.startswith("-D"):
            name, _, value = option[2:].partition("=")
            self._defines[name] = value or "1"
        elif option in ("--fmad=false", "-fmad=false"):
            self._contracts = False
        elif option not in _IGNORED_OPTIONS:
            raise CompileException(f"the stand-in does not know the option {option}")

    def compile(self, log_stream: Any = None) -> None:
        """Compile now, not at the first `get_function`."""
        self._module()

    def _module(self) -> CompiledModule:
        if self._compiled is None:
            try:
                self._compiled = load_text(
                    self._code,
                    self._defines,
                    tuple(self._include),
                    checked=self._machine.checked,
                )
            except (CompileError, ValueError) as error:
                raise CompileException(str(error)) from error
        return self._compiled

    def get_function(self, name: str) -> Function:
        """Return a kernel, callable as f(grid, block, args, shared_mem=0)."""
        kernel = self._module().kernels.get(name)
        if kernel is None:
            raise LaunchError(f"CUDA_ERROR_NOT_FOUND: named symbol not found ({name})")
        return Function(self._machine, kernel, self._contracts)


class Function:
    """A kernel of a module, as `cupy.RawKernel`."""

    num_regs = local_size_bytes = shared_size_bytes = 0

    def __init__(self, machine: Machine, kernel: Kernel, contracts: bool) -> None:
        self._machine, self._kernel, self._contracts = machine, kernel, contracts
        self.name = kernel.name
        self.max_threads_per_block = kernel.max_threads

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
    ) -> None:
        machine = self._machine
        if self._contracts:
            self._refuse("is compiled without --fmad=false, but the stand-in never contracts")
        grid, block = self._dimensions("grid", grid), self._dimensions("block", block)
        if grid[0] >= 1 << 31 or max(grid[1:]) >= 1 << 16:
            self._refuse(f"is launched with a grid of {grid}")
        if shared_mem > 48 << 10:
            self._refuse(f"is launched with {shared_mem} bytes of dynamic shared memory")
        if len(args) != len(self._kernel.parameters):
            self._refuse(f"takes {len(self._kernel.parameters)} arguments, not {len(args)}")
        pairs = list(zip(self._kernel.parameters, args))
        values = [self._value(parameter, value) for parameter, value in pairs]
        arrays = [(parameter, value) for parameter, value in pairs if parameter.pointer]
        self._check_overlap(arrays)
        if machine.captured is not None:
            machine.captured.append(lambda: self(grid, block, args, shared_mem=shared_mem))
            return
        for parameter, value in arrays:
            value._memory.use(not parameter.const, self.name)
        before = self._constants(arrays)
        machine.launches.append(self.name)
        order = machine.order + len(machine.launches) if machine.order > 1 else machine.order
        self._kernel.launch(grid, block, values, order, shared_mem)
        self._check_after(arrays, before)

    def _refuse(self, why: str) -> None:
        raise LaunchError(f"kernel {self.name} {why}")

    def _dimensions(self, what: str, value: Any) -> tuple[int, int, int]:
        if not isinstance(value, tuple) or not 1 <= len(value) <= 3:
            self._refuse(f"is launched with a {what} that is no tuple of 1 to 3 numbers: {value!r}")
        if any(not isinstance(n, int | np.integer) or n < 1 for n in value):
            self._refuse(f"is launched with a {what} of {value}")
        x, y, z = (*value, 1, 1)[:3]
        return int(x), int(y), int(z)

    def _value(self, parameter: Parameter, value: Any) -> Any:
        name, dtype = parameter.name, parameter.dtype
        if not parameter.pointer:
            # CuPy passes Python's int as 8 bytes, float as double: only NumPy's say what they are.
            if not isinstance(value, np.generic) or value.dtype != dtype:
                kind = type(value).__name__
                self._refuse(f"takes {name} as {dtype}, not {kind} {value!r}")
            return value
        if not isinstance(value, DeviceArray):
            self._refuse(f"takes {name} as a device array, not {type(value).__name__}")
        if value.dtype != dtype:
            self._refuse(f"takes {name} as an array of {dtype}, not {value.dtype}")
        if not value.flags.c_contiguous:
            self._refuse(f"takes {name} as a contiguous array")
        if value.device.id != self._machine.device:
            self._refuse(f"takes {name} on device {self._machine.device}, not {value.device.id}")
        return value._host

    def _check_overlap(self, arrays: list[tuple[Parameter, DeviceArray]]) -> None:
        """Refuse two arguments in the same memory where one is written and one is restrict."""
        for i, (a, first) in enumerate(arrays):
            for b, second in arrays[i + 1 :]:
                written = not (a.const and b.const)
                if not (written and (a.restrict or b.restrict) and first.size and second.size):
                    continue
                if np.may_share_memory(first._host, second._host):
                    self._refuse(f"takes {a.name} and {b.name} as __restrict__, but they overlap")

    def _constants(self, arrays: list[tuple[Parameter, DeviceArray]]) -> dict[str, bytes]:
        """Return the content of what the kernel may not write; not of what it may, elsewhere."""
        written = [value._host for parameter, value in arrays if not parameter.const]
        return {
            parameter.name: value._host.tobytes()
            for parameter, value in arrays
            if parameter.const
            and value.nbytes <= _COMPARED_BYTES
            and not any(np.may_share_memory(value._host, other) for other in written)
        }

    def _check_after(
        self, arrays: list[tuple[Parameter, DeviceArray]], before: dict[str, bytes]
    ) -> None:
        for parameter, value in arrays:
            damage = value._memory.damage()
            if damage:
                raise KernelError(f"kernel {self.name} has written at {damage} of {parameter.name}")
            if before.get(parameter.name, b"") not in (b"", value._host.tobytes()):
                raise KernelError(f"kernel {self.name} has written to {parameter.name}, a const")
