"""CuPy and the GPUs it reaches: what is missing, and kernels compiled at run time.

The only module that imports CuPy, and only inside functions. `import cupy` succeeds without a
driver or a GPU; what is missing then shows later, as an error of CUDA or CuPy that seldom tells
what to do. Here each piece is asked for in turn, and each that is missing gives one line that names
it and how to get it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sadcodec.errors import BackendError

__all__ = ["Runtime", "cupy_installed", "device_count", "load_cupy", "open_runtime"]

# Of CUDA's runtime: cudaError_t.
_INSUFFICIENT_DRIVER = 35
_NO_DEVICE = 100

# By CUDA's major version: the first driver that runs it, and the least compute capability, times
# ten, that its compiler generates code for.
_FIRST_DRIVER = {12: 525, 13: 580}
_LEAST_CAPABILITY = {12: 50, 13: 75}

# The way out for drivers and GPUs that CUDA 13 has left behind.
_CUDA_12 = "pip uninstall cupy-cuda13x and pip install 'sadcodec[cuda12]'"

_OTHER_CACHE = "CUPY_CACHE_DIR can name another folder for compiled kernels"

# CuPy's own kernels (sums, sorts, type conversions) include this header of the CUDA runtime.
_PROBE = '#include <cuda_fp16.h>\nextern "C" __global__ void sad_probe() {}\n'


def cupy_installed() -> bool:
    """Tell whether there is a CuPy to import, without importing it."""
    if "cupy" in sys.modules:
        return sys.modules["cupy"] is not None
    return importlib.util.find_spec("cupy") is not None


def load_cupy() -> Any:
    """Import CuPy.

    Returns
    -------
    module

    Raises
    ------
    BackendError
        If it is not installed or its import fails.
    """
    if not cupy_installed():
        raise BackendError(
            "CuPy is not installed: pip install 'sadcodec[cuda13]', "
            "or 'sadcodec[cuda12]' for an NVIDIA driver older than 580"
        )
    try:
        import cupy
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            # It makes the folder for compiled kernels while it is imported.
            path = f"{error.strerror}: {error.filename}"
            raise BackendError(f"CuPy cannot be imported: {path}; {_OTHER_CACHE}") from error
        raise _broken(_original(error)) from error
    if not hasattr(cupy, "RawModule"):  # a folder of that name, or what a removal left behind
        raise _broken("it has no RawModule")
    return cupy


def _broken(why: str) -> BackendError:
    names = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    wheel = "cupy-cuda12x" if "cupy-cuda12x" in names else "cupy-cuda13x"
    return BackendError(
        f"CuPy is installed but cannot be imported ({why}): pip install --force-reinstall {wheel}"
    )


def _original(error: Exception) -> str:
    """Return the line of CuPy's framed import error that tells what happened."""
    text = str(error)
    return _first_line(text.partition("Original error:")[2] or text) or type(error).__name__


def _first_line(text: str) -> str:
    """Return the first line that has a letter in it."""
    return next((line.strip() for line in text.splitlines() if re.search("[A-Za-z]", line)), "")


def device_count(cp: Any = None) -> int:
    """Return the number of GPUs, at least 1.

    Parameters
    ----------
    cp : module, optional
        CuPy, if loaded already.

    Raises
    ------
    BackendError
        If CuPy cannot be loaded, there is no driver, the driver is too old, or there is no GPU.
    """
    cp = load_cupy() if cp is None else cp
    runtime = cp.cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except Exception as error:
        status = getattr(error, "status", None)
        if status == _INSUFFICIENT_DRIVER:
            raise _driver_error(runtime) from error
        if status != _NO_DEVICE:
            raise BackendError(f"the NVIDIA driver does not work: {_text(error)}") from error
        count = 0
    if count < 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = f"; CUDA_VISIBLE_DEVICES={visible!r} may hide it" if visible is not None else ""
        raise BackendError(f"the NVIDIA driver finds no GPU{hidden}")
    return count


def _driver_error(runtime: Any) -> BackendError:
    """Tell apart no driver and an old one: CUDA has one error for both."""
    version = int(runtime.driverGetVersion())  # 0 without a driver
    major = _cuda_major(runtime)
    needed = _FIRST_DRIVER.get(major)
    if version == 0:
        which = f" {needed} or later" if needed else ""
        return BackendError(f"there is no NVIDIA driver (no libcuda): install driver{which}")
    which = f" to {needed} or later" if needed else ""
    return BackendError(
        f"the NVIDIA driver is too old: it is for CUDA {version // 1000}, CuPy for {major}; "
        f"update it{which}" + (f", or {_CUDA_12}" if major > 12 else "")
    )


def _cuda_major(runtime: Any) -> int:
    """Return the major version of CUDA that CuPy was built for."""
    return int(runtime.runtimeGetVersion()) // 1000


def _check_device(cp: Any, device: int) -> None:
    """Check everything up to the first compilation."""
    count = device_count(cp)
    if not 0 <= device < count:
        there = "is 1 GPU, number 0" if count == 1 else f"are {count} GPUs, numbered from 0"
        raise BackendError(f"there is no GPU {device}: there {there}")
    try:
        compiler = int(cp.cuda.nvrtc.getVersion()[0])
    except Exception as error:
        raise BackendError(
            f"NVRTC, CUDA's run-time compiler, cannot be loaded: {_wheels(cp, 'nvrtc')}"
        ) from error
    least = _LEAST_CAPABILITY.get(compiler, 0)
    try:
        capability = int(cp.cuda.Device(device).compute_capability)
    except Exception as error:
        raise BackendError(f"GPU {device} cannot be used: {_text(error)}") from error
    if capability < least:
        raise BackendError(
            f"GPU {device} is too old: its compute capability is {capability / 10}, "
            f"CUDA {compiler} needs {least / 10}" + (f"; {_CUDA_12}" if compiler > 12 else "")
        )


def _wheels(cp: Any, name: str) -> str:
    """Return the command that installs a part of CUDA where CuPy finds it."""
    major = _cuda_major(cp.cuda.runtime)
    wheel = f"nvidia-cuda-{name}-cu12" if major == 12 else f"nvidia-cuda-{name}"
    # Before version 14, CuPy does not look into wheels.
    newer = f"'cupy-cuda{major}x>=14' " if int(cp.__version__.partition(".")[0]) < 14 else ""
    return f"pip install {newer}{wheel}"


def _text(error: BaseException) -> str:
    return _first_line(str(error)) or type(error).__name__


def _failure(cp: Any, error: Exception, what: str) -> BackendError:
    """Say in one line why something could not be compiled or loaded."""
    text = str(error)
    absent = re.search(r'(?:cannot|could not) open source file "([^"]+)"', text)
    if "CUDA headers" in text or "CUDA root directory" in text or absent:
        name = absent.group(1) if absent else "cuda_fp16.h"
        if not absent or not (kernel_folder() / name).is_file():
            return BackendError(
                f"the CUDA runtime's headers are not found ({name}): {_wheels(cp, 'runtime')}"
            )
    if isinstance(error, OSError):
        return BackendError(f"{what}: {error.strerror or _text(error)}; {_OTHER_CACHE}")
    return BackendError(f"{what}: {_text(error)}")


def kernel_folder() -> Path:
    """Return the folder of the CUDA sources: in the package, or beside it in a checkout."""
    installed = Path(str(importlib.resources.files("sadcodec") / "kernels"))
    checkout = Path(__file__).resolve().parents[2] / "kernels"
    for folder in (installed, checkout):
        if (folder / "sad_core.h").is_file():
            return folder
    raise BackendError(f"the kernel sources are missing: there is no {installed}")


def _digest(folder: Path) -> str:
    """Return 15 hexadecimal digits of a hash of all CUDA sources and headers in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".cu", ".cuh", ".h"}:
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:15]  # fits a signed 64-bit integer


class Runtime:
    """One GPU: compiles kernels for it, each once, and tells its name and memory.

    Parameters
    ----------
    cp : module
        CuPy, or a stand-in with what is used of it here: ``RawModule(code=, options=)`` with
        ``compile()`` and ``get_function(name)``; ``cuda.Device(n)``, a context manager with
        ``synchronize()``; ``cuda.runtime.memGetInfo()`` and ``getDeviceProperties(n)``;
        ``get_default_memory_pool().free_bytes()``.
    device : int
        Its number.

    Attributes
    ----------
    cp : module
    device : int
    """

    def __init__(self, cp: Any, device: int) -> None:
        self.cp = cp
        self.device = device
        self._lock = threading.RLock()
        self._modules: dict[tuple[Any, ...], Any] = {}
        self._functions: dict[tuple[Any, ...], Any] = {}
        folder = kernel_folder()
        # CuPy caches compiled kernels on disk by source and options and does not see the headers
        # under -I: a hash of them among the options keeps stale kernels from being run.
        self._folder = folder
        self._options = (
            "-std=c++17",
            "--fmad=false",
            f"-I{folder}",
            f"-DSAD_KERNELS_SHA=0x{_digest(folder)}",
        )

    def module(self, file_name: str, defines: Mapping[str, int]) -> Any:
        """Compile a kernel file, or return what was compiled.

        Parameters
        ----------
        file_name : str
            In kernels/.
        defines : mapping of str to int
            Macros.

        Returns
        -------
        RawModule

        Raises
        ------
        BackendError
            If the file does not compile or cannot be loaded: the compiler's first line.
        """
        key = (file_name, *sorted(defines.items()))
        with self._lock:
            if key not in self._modules:
                try:
                    source = (self._folder / file_name).read_text(encoding="utf-8")
                except OSError as error:
                    raise BackendError(f"{file_name} cannot be read: {error.strerror}") from error
                macros = tuple(f"-D{name}={value}" for name, value in sorted(defines.items()))
                self._modules[key] = self._compile(file_name, source, (*self._options, *macros))
            return self._modules[key]

    def _compile(self, what: str, source: str, options: tuple[str, ...]) -> Any:
        try:
            with self.activate():
                module = self.cp.RawModule(code=source, options=options)
                module.compile()  # now: otherwise errors come with the first launch
        except Exception as error:
            raise _failure(self.cp, error, f"{what} cannot be compiled") from error
        return module

    def function(self, file_name: str, name: str, defines: Mapping[str, int]) -> Any:
        """Return a function of `module`, callable as f(grid, block, arguments)."""
        key = (file_name, name, *sorted(defines.items()))
        with self._lock:
            if key not in self._functions:
                module = self.module(file_name, defines)
                try:
                    with self.activate():
                        self._functions[key] = module.get_function(name)
                except Exception as error:
                    what = f"{name} of {file_name} cannot be loaded"
                    raise _failure(self.cp, error, what) from error
            return self._functions[key]

    def probe(self) -> None:
        """Compile a few lines, so that a compiler without headers is found out at once.

        Raises
        ------
        BackendError
        """
        self._compile("a test kernel", _PROBE, ())

    @property
    def name(self) -> str:
        """Name of the device, as its maker calls it."""
        name = self.cp.cuda.runtime.getDeviceProperties(self.device)["name"]
        return name.decode(errors="replace") if isinstance(name, bytes) else str(name)

    def free_memory(self, enough: int | None = None) -> int:
        """Return the bytes that can be allocated: free on the device, or unused in CuPy's pool.

        Where the pool alone has `enough`, those on the device are not asked for, nor counted.
        """
        with self.activate():
            free = int(self.cp.get_default_memory_pool().free_bytes())
            if enough is None or free < enough:
                free += int(self.cp.cuda.runtime.memGetInfo()[0])
            return free

    def synchronize(self) -> None:
        """Wait until the device has done everything asked of it."""
        self.cp.cuda.Device(self.device).synchronize()

    def activate(self) -> AbstractContextManager[Any]:
        """Return a context in which this device is CuPy's current one."""
        return self.cp.cuda.Device(self.device)


_RUNTIMES: dict[int, Runtime] = {}  # one a device, so that a process compiles each kernel once
_LOCK = threading.Lock()


def open_runtime(device: int = 0) -> Runtime:
    """Return a GPU, ready to compile and run kernels; the same object for the same number.

    Parameters
    ----------
    device : int
        From 0, as CUDA numbers them.

    Raises
    ------
    BackendError
        If anything it needs is missing: one line with what and how to get it.
    """
    with _LOCK:
        if device not in _RUNTIMES:
            cp = load_cupy()
            _check_device(cp, device)
            runtime = Runtime(cp, device)
            runtime.probe()
            _RUNTIMES[device] = runtime
        return _RUNTIMES[device]
