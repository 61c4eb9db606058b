"""CUDA kernels without a GPU: run on the CPU (`compiler`, `stand_in`), compiled by `nvrtc`."""

from . import nvrtc
from .compiler import CompiledModule, CompileError, Kernel, KernelError, load_text
from .raw_module import LaunchError
from .signatures import Parameter, signatures
from .stand_in import StandIn, make_cupy

__all__ = [
    "CompileError",
    "CompiledModule",
    "Kernel",
    "KernelError",
    "LaunchError",
    "Parameter",
    "StandIn",
    "load_text",
    "make_cupy",
    "nvrtc",
    "signatures",
]
