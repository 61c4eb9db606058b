"""Kernels compiled for a GPU by NVRTC, which needs neither a GPU nor a driver.

    report = compile(Path("kernels/render.cu"), "sm_90", {"SAD_K": 8})
    report.kernels["render"].registers

The library is that of the package nvidia-cuda-nvrtc, or one that the system has; `find_library`
returns None without. Warnings are errors.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NvrtcError", "Report", "Usage", "architectures", "compile", "find_library"]

# What CuPy's compiler adds, but for include paths. -ftz=true cannot be undone: it comes last.
OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")

_PACKAGES = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13", "nvidia-cuda-nvrtc-cu12")


class NvrtcError(Exception):
    """NVRTC refused a source, or is not there; the message is its log."""


@dataclass(frozen=True)
class Usage:
    """What ptxas allotted to one kernel: registers and bytes of a thread, shared bytes of a block.

    Dynamic shared memory is not counted.
    """

    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    shared: int


@dataclass(frozen=True)
class Report:
    """A compiled file: the compiler's log, machine code, and its kernels by name."""

    log: str
    cubin: bytes
    kernels: dict[str, Usage]


@functools.cache
def find_library() -> str | None:
    """Return where the NVRTC library is; None if nowhere."""
    for package in _PACKAGES:
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if re.match(r"libnvrtc\.so\.\d+|nvrtc64_\d+_\d\.dll", file.name):
                return str(file.locate())
    return ctypes.util.find_library("nvrtc")


@functools.cache
def _library() -> ctypes.CDLL:
    path = find_library()
    if path is None:
        raise NvrtcError(f"no NVRTC library: install {_PACKAGES[0]}")
    library = ctypes.CDLL(path)
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def _check(code: int, log: str = "") -> None:
    if code != 0:
        raise NvrtcError(log or _library().nvrtcGetErrorString(code).decode())


def architectures() -> tuple[str, ...]:
    """Return the names of the architectures that this NVRTC compiles for."""
    library, count = _library(), ctypes.c_int()
    _check(library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    numbers = (ctypes.c_int * count.value)()
    _check(library.nvrtcGetSupportedArchs(numbers))
    return tuple(f"sm_{number}" for number in numbers)


def compile(  # noqa: A001 - as in `nvrtc.compile`
    path: Path,
    arch: str,
    defines: Mapping[str, int] | None = None,
    options: Sequence[str] = (),
) -> Report:
    """Compile a .cu file for one architecture.

    Parameters
    ----------
    path : Path
        The file; its folder is where it includes from.
    arch : str
        Such as "sm_90".
    defines : mapping, optional
        Values of macros.
    options : sequence of str
        More options of NVRTC, such as "--maxrregcount=32".

    Raises
    ------
    NvrtcError
        With the log, also for a warning.
    """
    path = Path(path).resolve()
    flags = [
        f"-arch={arch}",
        "-std=c++17",
        "--fmad=false",
        *OF_CUPY,
        "-Werror=all-warnings",
        "--ptxas-options=--verbose",
        f"-I{path.parent}",
        *(f"-D{name}={value}" for name, value in (defines or {}).items()),
        *options,
    ]
    library, program = _library(), ctypes.c_void_p()
    _check(
        library.nvrtcCreateProgram(
            ctypes.byref(program), path.read_bytes(), path.name.encode(), 0, None, None
        )
    )
    try:
        encoded = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        code = library.nvrtcCompileProgram(program, len(flags), encoded)
        log = _output(program, "ProgramLog").rstrip(b"\0").decode()
        _check(code, log)
        return Report(log, _output(program, "CUBIN"), _usages(log))
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _output(program: ctypes.c_void_p, what: str) -> bytes:
    library, size = _library(), ctypes.c_size_t()
    _check(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    data = ctypes.create_string_buffer(size.value)
    _check(getattr(library, f"nvrtcGet{what}")(program, data))
    return data.raw


def _usages(log: str) -> dict[str, Usage]:
    """Read what ``ptxas --verbose`` says of each kernel."""
    usages = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part[: part.index("'")]
        registers, stores = _number(r"Used (\d+) registers", part), r"(\d+) bytes spill stores"
        if registers is None or _number(stores, part) is None:
            raise NvrtcError(f"no account of kernel {name} in the log:\n{log}")
        usages[name] = Usage(
            registers=registers,
            spill_stores=_number(stores, part) or 0,
            spill_loads=_number(r"(\d+) bytes spill loads", part) or 0,
            stack=_number(r"(\d+) bytes stack frame", part) or 0,
            shared=_number(r"(\d+) bytes smem", part) or 0,
        )
    return usages


def _number(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text)
    return int(match[1]) if match else None
