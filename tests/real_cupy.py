"""Compare the tests' stand-in for CuPy with a CuPy; compile the kernels as it does.

    make check-cupy

Needs CuPy, NVRTC and the headers, as the extra cuda13 installs them, but no GPU. Prints what
differs. What the stand-in lacks is no difference: it has what the backend uses.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda_host import nvrtc
from cuda_host.cuda_namespace import Graph, MemoryPool
from cuda_host.device_array import FUNCTIONS, METHODS, UFUNCS, DeviceArray
from cuda_host.raw_module import Function, RawModule
from cuda_host.stand_in import StandIn, make_cupy

from sadcodec.backends.cuda import Runtime, kernel_folder

__all__ = ["compile_kernels", "differences"]

_OWN = {"machine", "synchronizations", "check_current"}  # of the stand-in, for tests
_DTYPES = ("?", "u1", "i4", "i8", "u4", "u8", "f4", "f8")


def differences(cp: Any) -> list[str]:
    """Return a line for each name, parameter or type in which the stand-in differs from CuPy."""
    return [*_names(cp), *_functions(cp), *_promotions(cp)]


# ---- Names and parameters -----------------------------------------------------------------------


def _names(cp: Any) -> Iterator[str]:
    yield from _members("cupy", StandIn, cp, set(FUNCTIONS) | UFUNCS)
    yield from _members("ndarray", DeviceArray, cp.ndarray)
    yield from _members("cuda", make_cupy().cuda, cp.cuda)
    yield from _members("cuda.Graph", Graph, cp.cuda.Graph)
    yield from _members("memory pool", MemoryPool, cp.get_default_memory_pool())
    yield from _members("RawModule", RawModule, cp.RawModule)
    yield from _parameters("RawModule", partial(RawModule, None), cp.RawModule)
    yield from _members("RawKernel", Function, cp.RawKernel)
    yield from _parameters("RawKernel()", Function.__call__, cp.RawKernel.__call__)


def _members(what: str, ours: Any, theirs: Any, more: Iterable[str] = ()) -> Iterator[str]:
    for name in sorted({*_public(ours), *more}):
        if not hasattr(theirs, name):
            yield f"{what}.{name}: CuPy has none"
            continue
        mine, own = getattr(ours, name, None), getattr(theirs, name)
        if isinstance(mine, SimpleNamespace):
            yield from _members(f"{what}.{name}", mine, own)
        elif isinstance(mine, type) and issubclass(mine, Exception):
            if mine.__mro__[1] not in own.__mro__:
                yield f"{what}.{name}: not a {mine.__mro__[1].__name__}"
        elif isinstance(mine, type) and mine is not DeviceArray:
            yield from _parameters(f"{what}.{name}", mine, own)
            yield from _members(f"{what}.{name}", mine, own)
        elif name not in METHODS and inspect.isroutine(mine):
            yield from _parameters(f"{what}.{name}", mine, own)


def _public(of: Any) -> set[str]:
    parts = [of]
    if isinstance(of, type):
        parts = [c for c in of.__mro__ if c.__module__.startswith("cuda_host")]
    return {name for part in parts for name in vars(part) if not name.startswith("_")} - _OWN


def _parameters(what: str, ours: Any, theirs: Any) -> Iterator[str]:
    """Compare the parameters: each of ours has to be one of CuPy's, in its place.

    Those that have a default have CuPy's.
    """
    wanted = _signature(theirs)
    if wanted is None:
        yield f"{what}: no signature to compare with"
        return
    own = [p for p in inspect.signature(ours).parameters.values() if p.name != "self"]
    for i, parameter in enumerate(own):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if parameter.name not in wanted:
                yield f"{what}: takes *{parameter.name}, CuPy does not"
            continue
        if parameter.name not in wanted:
            if "kwargs" not in wanted:
                yield f"{what}: CuPy does not take {parameter.name}"
            continue
        place, default = wanted[parameter.name]
        if parameter.kind != parameter.KEYWORD_ONLY and place != i:
            yield f"{what}: CuPy takes {parameter.name} as number {place}, not {i}"
        if parameter.default is not parameter.empty and default != repr(parameter.default):
            yield f"{what}: the default of {parameter.name} is {default}"


def _signature(of: Any) -> dict[str, tuple[int | None, str | None]] | None:
    """Return the places (None: by name alone) and defaults of the parameters, by their names."""
    try:
        found = inspect.signature(of)
    except ValueError:
        return _documented(of.__doc__ or "")
    places: dict[str, tuple[int | None, str | None]] = {}
    for p in found.parameters.values():
        if p.name != "self":
            by_name = p.kind == p.KEYWORD_ONLY
            default = None if p.default is p.empty else repr(p.default)
            places[p.name] = (None if by_name else len(places), default)
    return places


def _documented(text: str) -> dict[str, tuple[int | None, str | None]] | None:
    """Read the first line that Cython writes: RawModule.compile(self, log_stream=None)."""
    match = re.match(r"[\w.]+\((.*)\)(?: ->.*)?$", text.partition("\n")[0])
    if match is None:
        return None
    places: dict[str, tuple[int | None, str | None]] = {}
    by_name = False
    for part in filter(None, match[1].split(", ")):
        name, _, default = part.partition("=")
        by_name = by_name or part == "*"
        word = name.split()[-1].lstrip("*")
        if word and word != "self":
            places[word] = (None if by_name else len(places), default or None)
    return places


def _functions(cp: Any) -> Iterator[str]:
    """Compare the parameters of the functions that NumPy hands over, and of the methods."""
    for name, ours in FUNCTIONS.items():
        wanted = list(_signature(getattr(cp, name)) or ())
        if list(ours) != wanted[: len(ours)]:
            yield f"{name}: CuPy takes {wanted}, not {list(ours)}"
        if name in METHODS:
            wanted = list(_signature(getattr(cp.ndarray, name)) or ())
            if list(ours[1:]) != wanted[: len(ours) - 1]:
                yield f"ndarray.{name}: CuPy takes {wanted}, not {list(ours[1:])}"


# ---- Types of results ---------------------------------------------------------------------------


def _promotions(cp: Any) -> Iterator[str]:
    """Compare the dtypes of what ufuncs return with NumPy's, numbers of Python among the inputs."""
    dtypes = [np.dtype(name) for name in _DTYPES]
    for name in sorted(UFUNCS):
        ours, theirs = getattr(np, name), getattr(cp, name)
        numbers = [1, 0.5] if ours.nin > 1 else []
        for inputs in itertools.product([*dtypes, *numbers], repeat=ours.nin):
            if all(isinstance(x, int | float) for x in inputs):
                continue
            try:
                arrays = [np.ones(2, x) if isinstance(x, np.dtype) else x for x in inputs]
                expected = ours(*arrays).dtype
            except TypeError:
                continue  # so does CuPy, when it is called
            found = _result(theirs, inputs)
            if found != expected:
                yield f"{name}{inputs}: CuPy returns {found}, NumPy {expected}"


def _result(ufunc: Any, inputs: tuple[Any, ...]) -> np.dtype | None:
    """Return the dtype that CuPy chooses before it launches anything (NEP 50)."""
    weak = [type(x) if isinstance(x, int | float) else False for x in inputs]
    types = tuple(np.dtype(w or x) for w, x in zip(weak, inputs))
    scores = {"b": 0, "i": 1, "u": 1, "f": 2}
    arrays = max((scores[t.kind] for t, w in zip(types, weak) if not w), default=-1)
    if any(w and scores[t.kind] > arrays for t, w in zip(types, weak)):
        weak = [False] * len(weak)
    chosen = ufunc._ops._guess_routine_from_in_types(types, tuple(weak))
    return None if chosen is None else np.dtype(chosen.out_types[0])


# ---- Kernels --------------------------------------------------------------------------------


class _Module:
    """What takes compiled code where there is no GPU to load it."""

    def load(self, cubin: bytes) -> None:
        """Check that there is code."""
        if not cubin:
            raise ValueError("no code")

    def _set_mapping(self, mapping: Any) -> None:
        """There are no templates."""


def compile_kernels(architecture: str = "90") -> list[str]:
    """Compile all kernels by CuPy's own code, and a kernel of its own; return what differs.

    CuPy asks the device for the architecture and loads the code there: both are replaced, so that
    no kernel runs in this process afterwards.
    """
    from cupy._core import core
    from cupy.cuda import compiler

    compiler.function = SimpleNamespace(Module=_Module)
    compiler._get_arch = lambda: architecture
    compiler._get_arch_for_options_for_nvrtc = lambda _: (f"-arch=sm_{architecture}", "cubin")
    own, options = compiler._NVRTCProgram.compile, []

    def compile_program(program: Any, given: tuple[str, ...], log: Any = None) -> Any:
        options.append(given)
        return own(program, given, log)

    compiler._NVRTCProgram.compile = compile_program

    def build(code: str, given: tuple[str, ...]) -> None:
        compiler._compile_module_with_cache(
            code, core.assemble_cupy_compiler_options(given), extra_source=str(len(options))
        )

    headers = "".join(f"#include <{name}>\n" for name in core._cupy_header_list)
    build(headers + 'extern "C" __global__ void k(CArray<float, 1, 1, 1> a) { a[0] = 1; }', ())
    ours = Runtime(None, 0)._options
    for path in sorted(kernel_folder().glob("*.cu")):
        build(path.read_text(), (*ours, "-DSAD_K=8", "-DSAD_CHANNELS=3"))
    added = [o for o in options[-1] if not o.startswith(("-I", "-D", "-arch")) and o not in ours]
    if sorted(added) != sorted(nvrtc.OF_CUPY):
        return [f"CuPy compiles with {added}, the tests with {list(nvrtc.OF_CUPY)}"]
    return []


def main() -> int:
    """Print what differs; return 1 if anything does."""
    import cupy

    found = [*differences(cupy), *compile_kernels()]
    sys.stdout.write("\n".join([*found, f"CuPy {cupy.__version__}: {len(found)} differences\n"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
