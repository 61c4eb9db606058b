"""Kernels compiled for the CPU by the host's C++ compiler.

    module = load_text(Path("kernels/blend.cu").read_text(), {"SAD_K": 8}, (Path("kernels"),))
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
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .signatures import Parameter, Signature, rewrite_dynamic_shared, signatures

__all__ = ["CompileError", "CompiledModule", "Kernel", "KernelError", "load_text"]

_FOLDER = Path(__file__).resolve().parent
_FLAGS = (
    "-std=c++17 -O1 -g1 -fPIC -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing "
    "-U_FORTIFY_SOURCE -fsanitize=bounds,alignment,integer-divide-by-zero "
    "-fsanitize-undefined-trap-on-error -Wall -Wno-unknown-pragmas -Wno-unused"
)
# sanitizer.cpp has what is called for every access.
_SANITIZER_FLAGS = "-std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -Wall -DSAD_HOST_CHECKED"
_CHECKED = "-DSAD_HOST_CHECKED -fsanitize=thread -gdwarf-4"
_VOLATILE = {
    "gcc": "--param=tsan-distinguish-volatile=1",
    "clang": "-mllvm -tsan-distinguish-volatile=1",
}
_SECONDS = 120  # of processor time that a launch may take

Dimensions = tuple[int, int, int] | int


class CompileError(Exception):
    """The compiler refused a source; the message is the compiler's."""


class KernelError(Exception):
    """A kernel did what a device does not allow; the message names kernel, block and thread."""


class _Array(ctypes.Structure):
    """As in regions.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("begin", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("element", ctypes.c_size_t),
        ("constant", ctypes.c_bool),
    )


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel. `max_threads` is its __launch_bounds__, or 1024."""

    name: str
    parameters: tuple[Parameter, ...]
    max_threads: int
    _launch: Any
    _library: Path

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
        values, arrays = self._values(args), self._arrays(args)
        pointers = (ctypes.c_void_p * max(len(values), 1))(*(value.ctypes.data for value in values))
        error = ctypes.create_string_buffer(2048)
        if not self._launch(
            (ctypes.c_uint * 3)(*_three(grid)),
            (ctypes.c_uint * 3)(*self._block(block)),
            pointers,
            (_Array * max(len(arrays), 1))(*arrays),
            ctypes.c_int(len(arrays)),
            ctypes.c_uint64(order),
            ctypes.c_size_t(shared_bytes),
            ctypes.c_int(_SECONDS),
            error,
            ctypes.c_size_t(len(error)),
        ):
            raise KernelError(self._with_lines(error.value.decode()))

    def _arrays(self, args: Sequence[Any]) -> list[_Array]:
        """Say what memory the kernel is given; where an argument is a bare address, none."""
        return [
            _Array(p.name.encode(), a.ctypes.data, a.nbytes, a.itemsize, p.const)
            for p, a in zip(self.parameters, args)
            if p.pointer and isinstance(a, np.ndarray)
        ]

    def _with_lines(self, message: str) -> str:
        """Put lines of the source for the places in the library that a message names."""
        return re.sub("<@([0-9a-f]+)>", lambda place: _line(self._library, place[1]), message)

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


def load_text(
    text: str,
    defines: Mapping[str, Any],
    include: Sequence[Path] = (),
    name: str = "kernel.cu",
    checked: bool = False,
) -> CompiledModule:
    """Compile the text of a .cu file, as `load`; messages call it `name`.

    If `checked`, every access to memory is: see sanitizer.h.
    """
    compiler = "clang" if b"clang" in _version(tuple(_compiler())) else "gcc"
    unit = _translation_unit(text, name)
    command = [
        *_compiler(),
        *_FLAGS.split(),
        *(f"{_CHECKED} {_VOLATILE[compiler]}".split() if checked else ()),
        *(f"-D{macro}={value}" for macro, value in sorted(defines.items())),
        *(f"-I{folder}" for folder in include),
        f"-I{_FOLDER}",
    ]
    headers = _headers((_FOLDER, *include))
    return _build(unit, tuple(command), headers, _sanitizer(headers) if checked else None)


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX") or "c++")


@functools.cache
def _version(compiler: tuple[str, ...]) -> bytes:
    return subprocess.run([*compiler, "--version"], check=True, capture_output=True).stdout


def _headers(folders: Sequence[Path]) -> bytes:
    """Return the text of everything that a source could include."""
    ends = ("h", "cuh", "cpp")
    files = [p for folder in folders for end in ends for p in Path(folder).glob(f"*.{end}")]
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
    const unsigned* grid, const unsigned* block, void** arguments,
    const sad_host::Array* arrays, int array_count, uint64_t order, size_t shared_bytes,
    int seconds, char* error, size_t error_bytes) {{
  const auto call = [](void** values) {{ sad_host::call_kernel({name}, values); }};
  return sad_host::launch("{name}", call, grid, block, arguments, arrays, array_count, order,
                          shared_bytes, seconds, error, error_bytes);
}}
"""


@functools.cache
def _build(
    unit: str, command: tuple[str, ...], headers: bytes, sanitizer: Path | None
) -> CompiledModule:
    """Compile a translation unit and link it, with the sanitizer's object if there is one."""
    library = _kept(unit.encode(), "\0".join(command).encode(), headers).with_suffix(".so")
    log = library.with_suffix(".log")
    if not (library.exists() and log.exists()):
        # Parallel test processes may compile the same source: each renames a finished file.
        with tempfile.TemporaryDirectory(dir=library.parent) as temporary:
            folder = Path(temporary)
            source, compiled, linked = (folder / f"kernel.{end}" for end in ("cpp", "o", "so"))
            source.write_text(unit)
            messages = folder / "log"
            messages.write_text(_run([*command, "-c", str(source), "-o", str(compiled)]))
            objects = [str(compiled), *([str(sanitizer)] if sanitizer else [])]
            _run([*_compiler(), "-shared", *objects, "-o", str(linked)])
            messages.replace(log)
            linked.replace(library)
    # PyDLL keeps the interpreter's lock: a launch's state is the library's, not a thread's.
    loaded = ctypes.PyDLL(str(library))
    return CompiledModule(
        {kernel.name: _kernel(loaded, kernel, library) for kernel in signatures(unit)},
        log.read_text(),
    )


def _kernel(library: ctypes.PyDLL, signature: Signature, path: Path) -> Kernel:
    threads = getattr(library, f"sad_threads_{signature.name}")()
    launch = getattr(library, f"sad_launch_{signature.name}")
    launch.restype = ctypes.c_bool
    return Kernel(signature.name, signature.parameters, threads, launch, path)


def _line(library: Path, place: str) -> str:
    """Return "in line 3 of kernel.cu" of a place in a library, and where it was inlined."""
    command = ["addr2line", "-i", "-e", str(library), f"0x{place}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.split(" (")[0].rpartition(":") for line in found.splitlines()]
    return " from ".join(f"in line {line} of {Path(file).name}" for file, _, line in lines)


@functools.cache
def _sanitizer(headers: bytes) -> Path:
    """Return the object file of sanitizer.cpp."""
    flags = _SANITIZER_FLAGS.split()
    compiled = _kept(_SANITIZER_FLAGS.encode(), headers).with_suffix(".o")
    if not compiled.exists():
        with tempfile.TemporaryDirectory(dir=compiled.parent) as folder:
            output = Path(folder) / "sanitizer.o"
            source = str(_FOLDER / "sanitizer.cpp")
            _run([*_compiler(), *flags, "-c", source, "-o", str(output)])
            output.replace(compiled)
    return compiled


def _kept(*parts: bytes) -> Path:
    """Return where the outcome of a compilation is kept, less the ending: by what it depends on."""
    key = hashlib.sha256()
    for part in (_version(tuple(_compiler())), *parts):
        key.update(len(part).to_bytes(8, "little") + part)
    folder = Path(tempfile.gettempdir()) / f"sadcodec-cuda-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / key.hexdigest()[:32]


def _run(command: Sequence[str]) -> str:
    """Return what a compiler says when it succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompileError(done.stderr)
    return done.stderr
