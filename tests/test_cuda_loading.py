"""What is said when a piece of CUDA is missing, and the compiling of kernels; without CuPy."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import pytest
from cupy_stand_in import (
    HEADERS_13,
    HEADERS_14,
    INSUFFICIENT,
    MISMATCH,
    NO_DEVICE,
    NVRTC_13,
    NVRTC_14,
    SYNTAX,
    CudaError,
    Machine,
    cupy_of,
)

from sadcodec.backends import cuda
from sadcodec.backends.cuda import Runtime, device_count, load_cupy, open_runtime
from sadcodec.errors import BackendError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with two GPUs, its CuPy in place of the real one."""
    found = Machine()
    monkeypatch.setitem(sys.modules, "cupy", cupy_of(found))
    monkeypatch.setattr(cuda, "_RUNTIMES", {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def refusal(device: int = 0) -> str:
    with pytest.raises(BackendError) as caught:
        open_runtime(device)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- Finding what is missing --------------------------------------------------------------------


def test_everything_there(machine):
    runtime = open_runtime(1)
    assert runtime is open_runtime(1)
    assert runtime is not open_runtime(0)
    assert (runtime.device, runtime.name) == (1, "Card 1")
    assert runtime.cp is sys.modules["cupy"]
    assert device_count() == 2
    assert [device for _, _, device in machine.sources] == [1, 0]  # a probe each
    assert "cuda_fp16.h" in machine.sources[0][0]


def test_no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    assert not cuda.cupy_installed()
    with pytest.raises(BackendError, match=r"CuPy is not installed: pip install 'sadcodec\[cuda13"):
        load_cupy()


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (
            (
                'raise ImportError("\\n====\\nFailed to import CuPy.\\n\\nOriginal error:\\n'
                '  ImportError: libfoo.so: no such file\\n====\\n")'
            ),
            "ImportError: libfoo.so: no such file",
        ),
        ("import there_is_no_such_module", "No module named 'there_is_no_such_module'"),
        ("raise OSError", "OSError"),
        ("", "it has no RawModule"),
    ],
)
def test_a_cupy_that_cannot_be_imported(tmp_path, monkeypatch, source, cause):
    (tmp_path / "cupy.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert cuda.cupy_installed()
    try:
        assert f"cannot be imported ({cause}): pip install --force-reinstall" in refusal()
    finally:
        sys.modules.pop("cupy", None)


def test_a_cupy_without_a_folder_for_compiled_kernels(tmp_path, monkeypatch):
    """As CuPy 14 is imported with a home that cannot be written to."""
    (tmp_path / "file").write_text("")
    source = f"import os\nos.makedirs({str(tmp_path / 'file' / 'kernel_cache')!r}, exist_ok=True)"
    (tmp_path / "cupy.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    message = r"cannot be imported: Not a directory: .*kernel_cache; CUPY_CACHE_DIR can name"
    with pytest.raises(BackendError, match=message):
        load_cupy()


CASES = {
    "no driver": (
        {"devices": INSUFFICIENT, "driver": 0},
        "there is no NVIDIA driver (no libcuda): install driver 580 or later",
    ),
    "no driver, CUDA 12": (
        {"devices": INSUFFICIENT, "driver": 0, "cuda": 12090},
        "there is no NVIDIA driver (no libcuda): install driver 525 or later",
    ),
    "old driver": (
        {"devices": INSUFFICIENT, "driver": 12040},
        (
            "the NVIDIA driver is too old: it is for CUDA 12, CuPy for 13; update it to 580 or "
            "later, or pip uninstall cupy-cuda13x and pip install 'sadcodec[cuda12]'"
        ),
    ),
    "old driver, CUDA 12": (
        {"devices": INSUFFICIENT, "driver": 11080, "cuda": 12090},
        "the NVIDIA driver is too old: it is for CUDA 11, CuPy for 12; update it to 525 or later",
    ),
    "driver that fails": (
        {"devices": MISMATCH},
        f"the NVIDIA driver does not work: {MISMATCH}",
    ),
    "no device": ({"devices": NO_DEVICE}, "the NVIDIA driver finds no GPU"),
    "no devices": ({"devices": 0}, "the NVIDIA driver finds no GPU"),
    "no NVRTC": (
        {"compiler": NVRTC_14},
        "NVRTC, CUDA's run-time compiler, cannot be loaded: pip install nvidia-cuda-nvrtc",
    ),
    "no NVRTC, CUDA 12": (
        {"compiler": NVRTC_14, "cuda": 12090},
        "NVRTC, CUDA's run-time compiler, cannot be loaded: pip install nvidia-cuda-nvrtc-cu12",
    ),
    "no NVRTC, CuPy 13": (
        {"compiler": NVRTC_13, "version": "13.6.0"},
        (
            "NVRTC, CUDA's run-time compiler, cannot be loaded: "
            "pip install 'cupy-cuda13x>=14' nvidia-cuda-nvrtc"
        ),
    ),
    "old device": (
        {"capability": "61"},
        (
            "GPU 0 is too old: its compute capability is 6.1, CUDA 13 needs 7.5; "
            "pip uninstall cupy-cuda13x and pip install 'sadcodec[cuda12]'"
        ),
    ),
    "very old device": (
        {"capability": "35", "compiler": (12, 9), "cuda": 12090},
        "GPU 0 is too old: its compute capability is 3.5, CUDA 12 needs 5.0",
    ),
    "device in use": (
        {"capability": CudaError(46, "cudaErrorDevicesUnavailable: busy or unavailable")},
        "GPU 0 cannot be used: cudaErrorDevicesUnavailable: busy or unavailable",
    ),
    "no headers": (
        {"compiled": HEADERS_14},
        "the CUDA runtime's headers are not found (cuda_fp16.h): pip install nvidia-cuda-runtime",
    ),
    "no headers, CuPy 13": (
        {"compiled": HEADERS_13, "version": "13.6.0", "cuda": 12090},
        (
            "the CUDA runtime's headers are not found (cuda_fp16.h): "
            "pip install 'cupy-cuda12x>=14' nvidia-cuda-runtime-cu12"
        ),
    ),
    "other failure of the compiler": (
        {"compiled": SYNTAX},
        'a test kernel cannot be compiled: /x/kern.cu(3): error: expected a ";"',
    ),
    "no cache": (
        {"compiled": PermissionError(13, "Permission denied", "/root/.cupy")},
        (
            "a test kernel cannot be compiled: Permission denied; "
            "CUPY_CACHE_DIR can name another folder for compiled kernels"
        ),
    ),
}


@pytest.mark.parametrize(("state", "message"), CASES.values(), ids=CASES)
def test_each_missing_piece_has_its_line(machine, monkeypatch, state, message):
    vars(machine).update(state)
    monkeypatch.setitem(sys.modules, "cupy", cupy_of(machine))
    assert refusal() == message


def test_a_device_may_be_hidden(machine, monkeypatch):
    machine.devices = NO_DEVICE
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert refusal() == ("the NVIDIA driver finds no GPU; CUDA_VISIBLE_DEVICES='' may hide it")
    with pytest.raises(BackendError, match="finds no GPU"):
        device_count()


def test_devices_are_numbered_from_0(machine):
    assert refusal(2) == "there is no GPU 2: there are 2 GPUs, numbered from 0"
    machine.devices = 1
    assert refusal(1) == "there is no GPU 1: there is 1 GPU, number 0"


def test_the_first_missing_piece_is_told(machine):
    """Everything is wrong at once; repairing piece by piece meets the messages in this order."""
    wrong = {
        "devices": INSUFFICIENT,
        "compiler": NVRTC_14,
        "capability": "61",
        "compiled": HEADERS_14,
    }
    vars(machine).update(wrong, driver=0)
    right = vars(Machine())
    for name, words in zip(wrong, ["driver", "NVRTC", "too old", "headers"], strict=True):
        assert words in refusal()
        setattr(machine, name, right[name])
    assert open_runtime().device == 0


# ---- Compiling ----------------------------------------------------------------------------------


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of kernels in the place of the real one."""
    for name in ("sad_core.h", "common.cuh", "one.cu", "two.cu", "notes.txt"):
        (tmp_path / name).write_text(f"// {name}\n")
    monkeypatch.setattr(cuda, "kernel_folder", lambda: tmp_path)
    return tmp_path


def option(options: tuple[str, ...], start: str) -> str:
    (found,) = [text for text in options if text.startswith(start)]
    return found.removeprefix(start)


def test_a_kernel_is_compiled_once_for_its_macros(machine, kernels):
    runtime = Runtime(cupy_of(machine), 1)
    first = runtime.module("one.cu", {"SAD_K": 8, "SAD_CHANNELS": 3})
    assert runtime.module("one.cu", {"SAD_CHANNELS": 3, "SAD_K": 8}) is first
    assert runtime.module("one.cu", {"SAD_K": 4, "SAD_CHANNELS": 3}) is not first
    assert runtime.module("two.cu", {}) is not first
    assert [(code, device) for code, _, device in machine.sources] == [
        *(("// one.cu\n", 1), ("// one.cu\n", 1), ("// two.cu\n", 1)),
    ]
    options = machine.sources[0][1]
    assert {"-std=c++17", "--fmad=false", "-DSAD_K=8", "-DSAD_CHANNELS=3"} <= set(options)
    assert option(options, "-I") == str(kernels)
    assert machine.current == 0  # as before
    function = runtime.function("one.cu", "run", {"SAD_K": 8, "SAD_CHANNELS": 3})
    assert function == (first, "run")
    assert runtime.function("one.cu", "run", {"SAD_K": 8, "SAD_CHANNELS": 3}) is function
    assert len(machine.sources) == 3


def test_threads_do_not_compile_twice(machine, kernels):
    runtime = Runtime(cupy_of(machine), 0)
    threads = [
        threading.Thread(target=runtime.function, args=("one.cu", "run", {})) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(machine.sources) == 1


def test_a_changed_header_changes_the_options(machine, kernels):
    digests = []
    changes = {"notes.txt": "x", "common.cuh": "x", "sad_core.h": "x", "one.cu": "x"}
    for name, text in {"": "", **changes}.items():
        if name:
            (kernels / name).write_text(text)
        Runtime(cupy_of(machine), 0).module("two.cu", {})
        digests.append(option(machine.sources[-1][1], "-DSAD_KERNELS_SHA="))
    assert all(re.fullmatch("0x[0-9a-f]{15}", digest) for digest in digests)
    assert digests[0] == digests[1]
    assert len(set(digests)) == len(digests) - 1
    (kernels / "new.cuh").write_text("")
    Runtime(cupy_of(machine), 0).module("two.cu", {})
    assert option(machine.sources[-1][1], "-DSAD_KERNELS_SHA=") not in digests


def test_failures_of_a_kernel_name_it(machine, kernels):
    runtime = Runtime(cupy_of(machine), 0)
    with pytest.raises(BackendError, match=r"none\.cu cannot be read: No such file"):
        runtime.module("none.cu", {})
    machine.compiled = SYNTAX
    with pytest.raises(BackendError, match=r'^one\.cu cannot be compiled: /x.*expected a ";"$'):
        runtime.function("one.cu", "run", {})
    # An include of our own that is not there is our mistake, whatever it looks like.
    machine.compiled = Exception('one.cu(1): error: could not open source file "common.cuh"\n')
    with pytest.raises(BackendError, match=r"one\.cu cannot be compiled: one\.cu"):
        runtime.module("one.cu", {})
    machine.compiled = None
    machine.loaded = CudaError(500, "CUDA_ERROR_NOT_FOUND: named symbol not found")
    with pytest.raises(BackendError, match=r"run of one\.cu cannot be loaded: CUDA_ERROR_NOT_FOU"):
        runtime.function("one.cu", "run", {})
    machine.loaded = None
    assert runtime.function("one.cu", "run", {})[1] == "run"


def test_memory_and_waiting(machine):
    runtime = Runtime(cupy_of(machine), 3)
    assert runtime.free_memory() == runtime.free_memory(501) == 1003 + 500
    assert runtime.free_memory(500) == 500
    runtime.synchronize()
    assert machine.current == -3


def test_the_kernels_are_found():
    folder = cuda.kernel_folder()
    assert (folder / "sad_core.h").is_file()
    options = Runtime(None, 0)._options
    assert f"-I{folder}" in options


def test_without_kernels_the_package_is_incomplete(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda.importlib.resources, "files", lambda _: tmp_path / "package")
    monkeypatch.setattr(cuda, "__file__", str(tmp_path / "a/b/c.py"))
    with pytest.raises(BackendError, match="kernel sources are missing"):
        cuda.kernel_folder()
