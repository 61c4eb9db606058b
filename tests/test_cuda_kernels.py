"""The kernels as files: declared as they are written, and compiled for every supported GPU."""

from __future__ import annotations

import importlib
import pkgutil
import re

import numpy as np
import pytest
from cuda_host import make_cupy, nvrtc
from cuda_host.signatures import signatures

import sadcodec.backends
from sadcodec.backends.cuda import Runtime, kernel_folder
from sadcodec.backends.launch import Array, Kernel

FOLDER = kernel_folder()
FILES = sorted(FOLDER.glob("*.cu"))
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")

# Registers of a thread: 65536 of a multiprocessor keep 512 threads at work with 128, 390 with 168.
MOST_REGISTERS = 96
MOST_REGISTERS_OF_ALL = 168  # for K = 16 and 4 channels

# What macros a file is compiled with: the default, the least, and the most of both.
SETTINGS = (
    {"SAD_K": 8, "SAD_CHANNELS": 3},
    {"SAD_K": 1, "SAD_CHANNELS": 1},
    {"SAD_K": 16, "SAD_CHANNELS": 4},
)


def declared() -> list[Kernel]:
    kernels: dict[int, Kernel] = {}
    for module in pkgutil.iter_modules(sadcodec.backends.__path__):
        if module.name.startswith("cuda"):
            loaded = importlib.import_module(f"sadcodec.backends.{module.name}")
            kernels |= {id(v): v for v in vars(loaded).values() if isinstance(v, Kernel)}
    return sorted(kernels.values(), key=lambda kernel: (kernel.file, kernel.name))


KERNELS = declared()
RUNTIME = Runtime(make_cupy(checked=True), 0)  # so compiled for test_cuda_sanitizer.py too


def test_every_kernel_is_declared_once():
    written = [(path.name, s.name) for path in FILES for s in signatures(path.read_text())]
    assert sorted(written) == [(kernel.file, kernel.name) for kernel in KERNELS]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_declarations_are_the_signatures(kernel: Kernel):
    text = (FOLDER / kernel.file).read_text()
    signature = next(s for s in signatures(text) if s.name == kernel.name)
    macros = {name: SETTINGS[0][name] for name in kernel.defines}  # as a session compiles it
    function = RUNTIME.function(kernel.file, kernel.name, macros)
    assert function.max_threads_per_block == kernel.threads
    assert [p.name for p in signature.parameters] == [p.name for p in kernel.parameters]
    for ours, written in zip(kernel.parameters, signature.parameters, strict=True):
        assert isinstance(ours, Array) == written.pointer, ours.name
        assert ours.dtype == np.dtype(written.dtype), ours.name
        if isinstance(ours, Array):
            assert ours.out != written.const, ours.name


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_declarations_name_the_macros_that_the_file_reads(kernel: Kernel):
    read = re.findall(r"\bSAD_(?:K|CHANNELS)\b", (FOLDER / kernel.file).read_text())
    assert set(kernel.defines) == set(read)


def check(report: nvrtc.Report, path, most: int = MOST_REGISTERS) -> None:
    assert report.kernels.keys() == {s.name for s in signatures(path.read_text())}
    assert "warning" not in report.log.lower(), report.log
    for name, usage in report.kernels.items():
        assert usage.spill_stores == usage.spill_loads == 0, name
        assert usage.registers <= most, f"{name} takes {usage.registers} registers"
        assert usage.shared <= 48 * 1024, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_kernel_compiles_for_every_gpu(path, architecture):
    check(nvrtc.compile(path, architecture, SETTINGS[0]), path)


@pytest.mark.parametrize("settings", SETTINGS[1:], ids=["least", "most"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_kernel_compiles_for_every_diagram(path, settings):
    if re.search(r"\bSAD_(K|CHANNELS)\b", path.read_text()):
        check(nvrtc.compile(path, "sm_75", settings), path, MOST_REGISTERS_OF_ALL)
