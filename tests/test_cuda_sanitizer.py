"""Accesses to memory that a GPU takes on trust: each kind of mistake is found, and every kernel
makes none.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from compositions import random_composition
from cuda_host import CompiledModule, KernelError, load_text, make_cupy
from descents import add_costs, make_case
from diagrams import random_sites, smooth_target
from test_cuda_kernels import KERNELS

from sadcodec.backends.base import RateTerm, Start
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.backends.cuda_bitmaps import CudaBitmaps
from sadcodec.backends.cuda_ragged import Ragged
from sadcodec.backends.launch import Launcher
from sadcodec.backends.propagation import Propagation
from sadcodec.compose.quads import quads
from sadcodec.sites import Sites

ORDERS = (0, 1, 7)
RATES = np.full(9, 0.02, np.float32)

# Bodies of kernels of two blocks of 64 threads, t the thread and i its number among all, and the
# array or shared memory that the conflict is in. It is between lines 1 and 2, or within line 1.
CONFLICTS = {
    # Threads of a block: no barrier, or the one after which the memory is used again is missing.
    "s[t] = in[t]; __syncthreads(); float x = s[t ^ 33];\ns[t] = x;": "shared memory",
    "out[i] = in[i]; if (t > 40)\nout[i - 1] = 2;": "out",
    "float x = 0; for (int j = 0; j < 2; ++j) { s[t] = x; __syncthreads(); x += s[63 - t]; }": (
        "shared memory"
    ),
    # Lanes of a warp: they do not run in step, nor does a vote or a shuffle order what they do.
    "s[t] = in[t]; __syncthreads(); s[t] = 1;\nout[i] = s[t ^ 1];": "shared memory",
    "s[t] = in[t]; __syncthreads(); s[t] = 1; __any_sync(~0u, t);\nout[i] = s[t ^ 1];": (
        "shared memory"
    ),
    "s[t] = in[t]; __syncthreads(); out[i] = s[t ^ 1]; __shfl_sync(~0u, t, 0);\ns[t] = 1;": (
        "shared memory"
    ),
    "s[t] = in[t]; __syncthreads(); s[t] = 1; __syncwarp(t % 32 < 16 ? 0xffffu : 0xffff0000u);"
    "\nout[i] = s[t ^ 16];": "shared memory",
    # The same value from all is a conflict too, as is one plain access among atomics.
    "if (t % 7 == 0) n[5] = 1;": "n",
    "atomicAdd(n, 1); if (t == 5)\nn[1] = n[0];": "n",
    "*(volatile int*)n = 4; if (t == 3)\nn[0] = 5;": "n",
    # Blocks: nothing orders them in a launch, whatever they wait for themselves.
    "__syncthreads(); if (t == 9) out[7] = 1;": "out",
    "__syncthreads(); if (t == blockIdx.x) out[64 * blockIdx.x + 70] = 1; __syncthreads();"
    "\nif (t == 30) s[0] = out[70];": "out",
    "if (t == 0) n[2] = 5; __threadfence(); __syncthreads();\nif (t == 0) out[i] = n[2];": "n",
    "if (t == 3) atomicOr(n, 8); __syncthreads(); if (t == 3)\nout[i] = n[0];": "n",
}

# As above: what is done, to what, in line 1.
REFUSED = {
    "out[i] = in[i + 1];": r"reads byte 0 after in .*",
    "out[i] = in[i - 1];": r"reads byte 4 before in .*",
    "if (t == 9) *(int4*)(n + 60) = int4{};": r"writes byte 0 after n .*",
    "out[i] = in[i + (1 << 28)];": "reads memory far from all arrays .*",
    "const_cast<float*>(in)[i] = 1;": r"writes in\[\d+\] .*, a const",
    "out[i] = s[t];": "reads shared memory .*, which its block has not written",
    "if (t < 32) s[t] = 1; __syncthreads(); out[i] = s[t];": (
        "reads shared memory .*, which its block has not written"
    ),
    "((char*)s)[4 * t] = 1; out[i] = s[t];": (
        "reads shared memory .*, which its block has not written"
    ),
    "out[i] = d[t % 32];": "reads shared memory .*, which its block has not written",
    "d[t + 32] = 1;": r"writes byte \d+ after shared memory .*",
    "out[i] = never[i];": r"reads never\[\d+\] .*, which nobody has written",
    "atomicAdd(never + i, 1.0f);": r"reads never\[\d+\] .*, which nobody has written",
    "pairs[t] = ((const float2*)never)[t];": r"reads never\[\d+\] .*, which nobody has written",
    "out[i] = ((const float2*)(in + 1))->y;": "misaligned",
    "out[i] = *(const long long*)(in + 1);": "misaligned",
    "((uint4*)(out + 2))->w = 1;": "misaligned",
}

LEGAL = [
    "s[t] = in[t]; __syncthreads(); float x = s[t ^ 33]; __syncthreads(); s[t] = x;",
    "s[t] = in[t]; __syncwarp(); float x = s[t ^ 1]; __syncwarp(); s[t] = x;",
    # From lane to lane: 0 and 1 meet, then 1 and 2.
    "if (!t) s[0] = 1; if (t < 2) __syncwarp(3); if (t > 0 && t < 3) __syncwarp(6), out[i] = s[0];",
    "const float x = in[0]; s[t] = x; __syncthreads_or(t); if (t == 0) out[i] = s[40];",
    "atomicAdd(n, 1); atomicMax(n, 3); if (*(volatile int*)n > 3) *(volatile int*)(n + 1) = 1;",
    "((char*)n)[i] = 1; ((short*)s)[t] = 1; __syncthreads(); if (!t) out[i] = ((short*)s)[63];",
    "if (t < 32) { d[t] = 1; __syncwarp(); out[i] = d[31 - t]; }",
    "struct P { int a; double b; }; __shared__ P y[64], z[64]; y[t].a = t; z[t] = y[t];",
    "float own[9]; for (int j = 0; j < 9; ++j) own[j] = table[t % 3]; out[i] = own[t % 9];",
    "if (t < 32) pairs[i % 32 + 32 * blockIdx.x] = ((const float2*)in)[t]; out[i] = in[t];",
]


def compiled(bodies) -> CompiledModule:
    text = "__constant__ float table[3] = {1, 2, 3};\n" + "".join(
        'extern "C" __global__ void __launch_bounds__(64)\n'
        f"k{number}(const float* in, float* out, int* n, float2* pairs, float* never) {{\n"
        "const int t = threadIdx.x, i = blockIdx.x * 64 + t;\n"
        "__shared__ float s[64]; extern __shared__ float d[];\n"
        f'#line 1 "kernel.cu"\n{body}\n}}\n'
        for number, body in enumerate(bodies)
    )
    return load_text(text, {}, (), checked=True)


@pytest.fixture(scope="module")
def kernels():
    """The kernels by their bodies."""
    bodies = [*CONFLICTS, *REFUSED, *LEGAL]
    module = compiled(bodies)
    return {body: module.kernels[f"k{number}"] for number, body in enumerate(bodies)}


def run(kernel, order: int) -> None:
    cp = make_cupy()
    arrays = [
        cp.asarray(np.arange(128, dtype=np.float32)),
        cp.zeros(200, np.float32),
        cp.zeros(62, np.int32),
        cp.zeros(128, np.float32),
        cp.empty(128, np.float32),
    ]
    kernel.launch(2, 64, [array._host for array in arrays], order, shared_bytes=128)


@pytest.mark.parametrize("order", ORDERS)
def test_conflicts_are_found_in_every_order(kernels, order) -> None:
    for body, of in CONFLICTS.items():
        with pytest.raises(KernelError) as error:
            run(kernels[body], order)
        where = r"(\[\d+\])? in line (\d) of kernel.cu"
        found = re.search(
            rf"block \(\d, 0, 0\): thread \(\d+, 0, 0\) \w+ {of}{where}, and thread "
            rf"\(\d+, 0, 0\)(?: of block \(\d, 0, 0\))? (?:wrote|read) it in line (\d) of kernel.cu"
            " with nothing to order the two$",
            str(error.value),
        )
        assert found, (body, str(error.value))
        assert {*found.groups()[1:]} <= ({"1", "2"} if "\n" in body else {"1"}), str(error.value)


def test_a_conflict_is_told_with_threads_and_lines(kernels) -> None:
    first, *_, last = CONFLICTS
    with pytest.raises(KernelError) as error:
        run(kernels[first], 0)
    assert str(error.value) == (
        "kernel k0, block (0, 0, 0): thread (0, 0, 0) reads shared memory in line 1 of kernel.cu, "
        "and thread (33, 0, 0) wrote it in line 2 of kernel.cu with nothing to order the two"
    )
    with pytest.raises(KernelError) as error:
        run(kernels[last], 0)
    assert "block (1, 0, 0)" in str(error.value)
    assert "thread (3, 0, 0) of block (0, 0, 0) read it in line 2" in str(error.value)


@pytest.mark.parametrize("order", ORDERS)
def test_accesses_that_are_wrong_in_themselves_are_refused(kernels, order) -> None:
    for body, message in REFUSED.items():
        with pytest.raises(KernelError, match=message) as error:
            run(kernels[body], order)
        assert message == "misaligned" or "in line 1 of kernel.cu" in str(error.value)


@pytest.mark.parametrize("order", ORDERS)
def test_what_a_device_allows_passes(kernels, order) -> None:
    for body in LEGAL:
        try:
            run(kernels[body], order)
        except KernelError as error:
            raise AssertionError(body) from error


# ---- The kernels ----------------------------------------------------------------------------


def fits(backend: CudaBackend) -> None:
    """Fit by exact lists and by the map, with all that changes an iteration or the sites."""
    target = smooth_target(90, 37, 22, 3)
    weights = np.linspace(0.5, 1.5, 37 * 22, dtype=np.float32).reshape(22, 37)
    for options in ({"weights": weights}, {"propagation": Propagation()}):
        session = backend.fit_session(target, Start(40, seed=3), **options)
        for phase, noise in ((None, None), (2, np.full((40, 9), 0.01, np.float32))):
            session.refresh()
            session.gradient(phase, noise=noise, seed=5)
            session.adam(RATES, 0.9, 0.95)
        session.set_rate(
            RateTerm(session.params, np.ones((40, 9), np.float32), np.eye(3, dtype="f4"), 0.1, 0.1)
        )
        session.adam(RATES, 0.9, 0.95)
        session.set_rate(None)
        session.removal_deltas()
        session.keep(np.arange(30)[::-1])
        session.append(session.rows(np.arange(3)))
        session.refresh()
        session.gradient()


def drawings(backend: CudaBackend) -> None:
    """Draw in float and in double, a window, points; and the derivatives of picture and points."""
    cp, sites = backend.runtime.cp, random_sites(4, 40, 37, 22)
    backend.render(sites, 37, 22)
    backend.render(sites, 37, 22, exact=True, window=(5, 3, 20, 9), bit_depth=16)
    backend.render(sites, 37, 22, window=(5, 3, 20, 9), bit_depth=8)
    passes = backend.differentiable(37, 22, 3)
    passes.forward(sites.params)
    passes.backward(smooth_target(91, 37, 22, 3))
    points = backend.points(3)
    points.draw(cp.asarray(sites.params), cp.asarray(sites.params[:, :2] * 1.5))
    points.pull_back(cp.asarray(sites.params[:, 6:].copy()))


def crowds(backend: CudaBackend) -> None:
    """Lists that a block goes through in several pieces: of sites that coincide, of a grid."""
    cp, few = backend.runtime.cp, np.linspace(0, 8, 10).reshape(5, 2)
    for count in (200, 1100):
        params = np.repeat(random_sites(5, 1, 9, 8).params, count, axis=0)
        session = backend.fit_session(smooth_target(92, 9, 8, 3), params)
        session.refresh()
        for phase in (None, 3):
            session.gradient(phase)
        session.removal_deltas()
        backend.render(Sites(params), 9, 8)
        backend.points(3).draw(cp.asarray(params), cp.asarray(few))
    make_case(5, width=9, height=8, params=params[:80]).start(backend).build_lists()
    lists = Ragged(Launcher(backend.runtime, {}), 5000)
    lists.counts.fill(1)
    lists.lay_out(0, longer=True)


def descent(backend: CudaBackend) -> None:
    case = make_case(80, 20, 30, 26, radius=True)
    refiner = case.start(backend)
    refiner.build_lists()
    add_costs(refiner, case)
    refiner.sweep(0.05, geometry=True)
    refiner.solve_colors(2)
    refiner.removal_deltas()


def bitmaps(backend: CudaBackend) -> None:
    drawn = random_composition(280, 45, 37, background=False, blend=0.7)
    device = CudaBitmaps(backend.runtime, *quads(drawn.templates, True, 1.0))
    device.set_params(drawn.params, drawn.opacity, drawn.blend)
    image = np.empty((4, 37, 45), np.float32)
    device.draw(image)
    device.gradient(image, np.ones_like(image))


def test_every_kernel_is_free_of_them() -> None:
    cp = make_cupy(order=7, checked=True)
    backend = CudaBackend(Runtime(cp, 0), threads=1)
    for work in (fits, drawings, crowds, descent, bitmaps):
        work(backend)
    assert {*cp.machine.launches} == {kernel.name for kernel in KERNELS}
