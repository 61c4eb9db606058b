"""Kernels compiled for the CPU by the host's C++ compiler.

    module = load(Path("kernels/blend.cu"), {"SAD_K": 8})
    module.kernels["blend"].parameters      # as in the source
    module.kernels["blend"].launch(grid=(4, 1, 1), block=(64, 1, 1), args=[sites, out, 8], order=0)

The .cu file is compiled behind shim.h, which see for what CUDA it understands, with checks of array
bounds and alignment. Threads run as fibers in the order that `launch` names; what they do wrong
(a barrier that not all reach, a shuffle whose mask is wrong, a fault, no end) raises `KernelError`
with the kernel, the block and the thread. The compiler is $CXX, or c++. Shared objects are kept in
the temporary folder, by a hash of all that they depend on.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .signatures import Parameter, Signature, rewrite_dynamic_shared, signatures

__all__ = ["CompileError", "CompiledModule", "Kernel", "KernelError", "load", "load_text"]

_FOLDER = Path(__file__).resolve().parent
_FLAGS = (
    "-std=c++17 -O1 -g1 -fPIC -shared -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing "
    "-U_FORTIFY_SOURCE -fsanitize=bounds,alignment,integer-divide-by-zero "
    "-fsanitize-undefined-trap-on-error -Wall -Wno-unknown-pragmas -Wno-unused"
)
_SECONDS = 120  # of processor time that a launch may take

Dimensions = tuple[int, int, int] | int


class CompileError(Exception):
    """The compiler refused a source; the message is the compiler's."""


class KernelError(Exception):
    """A kernel did what a device does not allow; the message names kernel, block and thread."""


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel. `max_threads` is its __launch_bounds__, or 1024."""

    name: str
    parameters: tuple[Parameter, ...]
    max_threads: int
    _launch: Any

    def launch(
        self,
        grid: Dimensions,
        block: Dimensions,
        args: Sequence[Any],
        order: int = 0,
        shared_bytes: int = 0,
    ) -> None:
        """Run the kernel to its end.

        Parameters
        ----------
        grid, block : (x, y, z) or int
        args : sequence
            NumPy arrays (contiguous, of the parameter's dtype) or addresses for pointers, numbers
            for the rest.
        order : int
            In which threads and blocks run: 0 forwards, 1 backwards, else a seed.
        shared_bytes : int
            Size of dynamic shared memory.

        Raises
        ------
        KernelError
        """
        values = self._values(args)
        pointers = (ctypes.c_void_p * max(len(values), 1))(*(value.ctypes.data for value in values))
        error = ctypes.create_string_buffer(2048)
        if not self._launch(
            (ctypes.c_uint * 3)(*_three(grid)),
            (ctypes.c_uint * 3)(*self._block(block)),
            pointers,
            ctypes.c_uint64(order),
            ctypes.c_size_t(shared_bytes),
            ctypes.c_int(_SECONDS),
            error,
            ctypes.c_size_t(len(error)),
        ):
            raise KernelError(error.value.decode())

    def _block(self, block: Dimensions) -> tuple[int, int, int]:
        x, y, z = _three(block)
        if min(x, y, z) < 1 or x * y * z > self.max_threads:
            raise KernelError(
                f"kernel {self.name}: a block of {x} x {y} x {z} threads, "
                f"but the kernel's largest has {self.max_threads}"
            )
        return x, y, z

    def _values(self, args: Sequence[Any]) -> list[np.ndarray]:
        """Return every argument as an array that holds the bytes to pass."""
        if len(args) != len(self.parameters):
            raise KernelError(
                f"kernel {self.name} takes {len(self.parameters)} arguments, not {len(args)}"
            )
        values = []
        for parameter, value in zip(self.parameters, args, strict=True):
            if not parameter.pointer:
                values.append(np.array(value, dtype=parameter.dtype))
                continue
            address = value
            if isinstance(value, np.ndarray):
                if value.dtype != parameter.dtype or not value.flags.c_contiguous:
                    raise KernelError(
                        f"kernel {self.name}: {parameter.name} is no contiguous array of "
                        f"{parameter.dtype}"
                    )
                address = value.ctypes.data
            values.append(np.array(address, dtype=np.uint64))
        return values


@dataclass(frozen=True)
class CompiledModule:
    """A compiled .cu file: its kernels by name, and the compiler's warnings."""

    kernels: dict[str, Kernel]
    log: str


def _three(dimensions: Dimensions) -> tuple[int, int, int]:
    return (dimensions, 1, 1) if isinstance(dimensions, int) else dimensions


def load(path: Path, defines: Mapping[str, int] | None = None) -> CompiledModule:
    """Compile a .cu file for the CPU, or find it compiled.

    Parameters
    ----------
    path : Path
        The file; its folder is where it includes from.
    defines : mapping, optional
        Values of macros.

    Raises
    ------
    CompileError
    """
    path = Path(path).resolve()
    return load_text(path.read_text(), defines or {}, (path.parent,), path.name)


def load_text(
    text: str,
    defines: Mapping[str, Any],
    include: Sequence[Path] = (),
    name: str = "kernel.cu",
) -> CompiledModule:
    """Compile the text of a .cu file, as `load`; messages call it `name`."""
    unit = _translation_unit(text, name)
    command = [
        *_compiler(),
        *_FLAGS.split(),
        *(f"-D{macro}={value}" for macro, value in sorted(defines.items())),
        *(f"-I{folder}" for folder in include),
        f"-I{_FOLDER}",
    ]
    return _build(unit, tuple(command), _headers((_FOLDER, *include)))


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX") or "c++")


@functools.cache
def _version(compiler: tuple[str, ...]) -> bytes:
    return subprocess.run([*compiler, "--version"], check=True, capture_output=True).stdout


def _headers(folders: Sequence[Path]) -> bytes:
    """Return the text of everything that a source could include."""
    files = [p for folder in folders for end in ("h", "cuh") for p in Path(folder).glob(f"*.{end}")]
    return b"".join(p.name.encode() + b"\0" + p.read_bytes() for p in sorted(files))


def _translation_unit(text: str, name: str) -> str:
    lines = ['#include "shim.h"', f'#line 1 "{name}"', rewrite_dynamic_shared(text)]
    lines += ['#line 1 "launchers"', "namespace sad {}", "using namespace sad;"]
    for kernel in signatures(text):
        lines.append(_LAUNCHER.format(name=kernel.name, bounds=kernel.launch_bounds or "1024"))
    return "\n".join(lines)


_LAUNCHER = """
extern "C" __attribute__((visibility("default"))) int sad_threads_{name}() {{ return {bounds}; }}
extern "C" __attribute__((visibility("default"))) bool sad_launch_{name}(
    const unsigned* grid, const unsigned* block, void** arguments, uint64_t order,
    size_t shared_bytes, int seconds, char* error, size_t error_bytes) {{
  const auto call = [](void** values) {{ sad_host::call_kernel({name}, values); }};
  return sad_host::launch("{name}", call, grid, block, arguments, order, shared_bytes, seconds,
                          error, error_bytes);
}}
"""


@functools.cache
def _build(unit: str, command: tuple[str, ...], headers: bytes) -> CompiledModule:
    key = hashlib.sha256()
    compiler = command[: len(_compiler())]
    for part in (unit.encode(), "\0".join(command).encode(), headers, _version(compiler)):
        key.update(len(part).to_bytes(8, "little") + part)
    folder = Path(tempfile.gettempdir()) / f"sadcodec-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library, log = folder / f"{key.hexdigest()[:32]}.so", folder / f"{key.hexdigest()[:32]}.log"
    if not (library.exists() and log.exists()):
        _compile(unit, command, library, log)
    # PyDLL keeps the interpreter's lock: a launch's state is the library's, not a thread's.
    loaded = ctypes.PyDLL(str(library))
    return CompiledModule(
        {kernel.name: _kernel(loaded, kernel) for kernel in signatures(unit)}, log.read_text()
    )


def _kernel(library: ctypes.PyDLL, signature: Signature) -> Kernel:
    threads = getattr(library, f"sad_threads_{signature.name}")()
    launch = getattr(library, f"sad_launch_{signature.name}")
    launch.restype = ctypes.c_bool
    return Kernel(signature.name, signature.parameters, threads, launch)


def _compile(unit: str, command: Sequence[str], library: Path, log: Path) -> None:
    # Parallel test processes may compile the same source: each renames a finished file.
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        source, output = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(unit)
        done = subprocess.run(
            [*command, str(source), "-o", str(output)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CompileError(done.stderr)
        messages = Path(folder) / "log"
        messages.write_text(done.stderr)
        messages.replace(log)
        output.replace(library)
