"""Stands in for CuPy on a machine with two GPUs, of which any piece can be missing or wrong.

The errors are those that CuPy 13.6 and 14.2 raise, copied from runs without the piece.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.machinery
import types
from collections.abc import Iterator
from typing import Any


class CudaError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError: with the number of the error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


INSUFFICIENT = CudaError(
    35,
    "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
)
NO_DEVICE = CudaError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")
MISMATCH = CudaError(
    803,
    "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver "
    "combination",
)
NVRTC_14 = RuntimeError(
    'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13 or '
    "libnvrtc.so.12, No such file: libnvrtc.so.13 or libnvrtc.so.12\n"
)
NVRTC_13 = RuntimeError(
    "CuPy failed to load libnvrtc.so.13: OSError: libnvrtc.so.13: cannot open shared object file: "
    "No such file or directory"
)
HEADERS_14 = RuntimeError(
    "Failed to find CUDA headers. Please install CUDA toolkit headers "
    "(e.g., pip install cupy-cuda12x[ctk]) or specify CUDA_PATH environment variable."
)
HEADERS_13 = Exception(
    '/x/kern.cu(1): catastrophic error: cannot open source file "cuda_fp16.h"\n'
    "  #include <cuda_fp16.h>\n                        ^\n\n"
    '1 catastrophic error detected in the compilation of "kern.cu".\nCompilation terminated.\n'
)
SYNTAX = Exception(
    '\n/x/kern.cu(3): error: expected a ";"\n  int x = ;\n\n1 error detected in the compilation'
)


@dataclasses.dataclass
class Machine:
    """What the fake finds; an exception stands for a call that raises it."""

    version: str = "14.2.0"
    devices: int | Exception = 2
    driver: int = 13000
    cuda: int = 13020
    compiler: tuple[int, int] | Exception = (13, 5)
    capability: str | Exception = "90"
    compiled: Exception | None = None
    loaded: Exception | None = None
    sources: list[tuple[str, tuple[str, ...], int]] = dataclasses.field(default_factory=list)
    current: int = 0


def give(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


def cupy_of(machine: Machine) -> Any:
    """Return a module like CuPy on a machine like this."""

    class Device:
        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def compute_capability(self) -> str:
            return str(give(machine.capability))

        @contextlib.contextmanager
        def _as_current(self) -> Iterator[None]:
            before, machine.current = machine.current, self.number
            yield
            machine.current = before

        def __enter__(self) -> None:
            self._context = self._as_current()
            self._context.__enter__()

        def __exit__(self, *error: object) -> None:
            self._context.__exit__(None, None, None)

        def synchronize(self) -> None:
            machine.current = -self.number

    class RawModule:
        def __init__(self, code: str, options: tuple[str, ...]) -> None:
            self.source = (code, options)

        def compile(self) -> None:
            machine.sources.append((*self.source, machine.current))
            give(machine.compiled)

        def get_function(self, name: str) -> tuple[Any, str]:
            give(machine.loaded)
            return self, name

    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    module.__version__ = machine.version  # type: ignore[attr-defined]
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: give(machine.devices),
        driverGetVersion=lambda: machine.driver,
        runtimeGetVersion=lambda: machine.cuda,
        getDeviceProperties=lambda number: {"name": f"Card {number}".encode()},
        memGetInfo=lambda: (1000 + machine.current, 9000),
    )
    nvrtc = types.SimpleNamespace(getVersion=lambda: give(machine.compiler))
    parts = {
        "cuda": types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc, Device=Device),
        "RawModule": RawModule,
        "get_default_memory_pool": lambda: types.SimpleNamespace(free_bytes=lambda: 500),
    }
    vars(module).update(parts)
    return module
