"""The tests' own CUDA: kernels on the CPU do what a device does, and mistakes are reported."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from cuda_host import CompileError, Kernel, KernelError, compiler, load_text, nvrtc, signatures

ORDERS = (0, 1, 7, 8)
KERNELS = Path(__file__).resolve().parent.parent / "kernels"
LANES = np.arange(32)


def kernel(text: str, name: str = "k") -> Kernel:
    return load_text(text, {}, (KERNELS,)).kernels[name]


def blocks(*bodies: str, threads: int = 1024) -> list[Kernel]:
    """Compile kernels of one block that read in[] and write out[], floats, with t the thread."""
    text = "".join(
        f'extern "C" __global__ void __launch_bounds__({threads})\n'
        f"k{number}(const float* in, float* out) {{\n"
        "const int t = threadIdx.x; const unsigned all = 0xffffffffu;\n"
        f'#line 1 "kernel.cu"\n{body}\n}}\n'
        for number, body in enumerate(bodies)
    )
    module = load_text(text, {}, (KERNELS,))
    return [module.kernels[f"k{number}"] for number in range(len(bodies))]


def run(body: str | Kernel, values: np.ndarray, order: int = 0) -> np.ndarray:
    out = np.zeros(len(values), np.float32)
    compiled = blocks(body)[0] if isinstance(body, str) else body
    compiled.launch(1, len(values), [values.astype(np.float32), out], order)
    return out


def failure(body: str | Kernel, threads: int = 32, order: int = 0) -> str:
    with pytest.raises(KernelError) as error:
        run(body, np.zeros(threads), order)
    return str(error.value)


# ---- What a device does ---------------------------------------------------------------------

SUM = """
#include "sad_core.h"
extern "C" __global__ void __launch_bounds__(256) k(const float* __restrict__ in, float* out) {
  __shared__ float sums[8];
  float x = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (int offset = 16; offset; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  if (threadIdx.x % warpSize == 0) sums[threadIdx.x / warpSize] = sad::sad_sqrt(x * x);
  __syncthreads();
  if (threadIdx.x >= 8) return;
  x = sums[threadIdx.x];
  for (int offset = 4; offset; offset /= 2) x += __shfl_down_sync(0xff, x, offset);
  if (threadIdx.x == 0) out[blockIdx.x] = x;
}
"""


@pytest.mark.parametrize("order", ORDERS)
def test_a_sum_over_blocks_is_the_same_in_every_order(order, rng) -> None:
    values = rng.integers(0, 100, (20, 256)).astype(np.float32)
    out = np.zeros(20, np.float32)
    for _ in range(3):
        kernel(SUM).launch(20, 256, [values, out], order)
        assert np.array_equal(out, values.sum(axis=1))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only there")
def test_subnormal_floats_count_as_0_in_kernels_alone() -> None:
    values = np.array([3e-38, 1e-39, -1e-39, 1.0], np.float32)
    assert run("out[t] = in[t] * 0.25f;", values).tolist() == [0.0, 0.0, 0.0, 0.25]
    assert run("out[t] = in[t] > 0.0f;", values).tolist() == [1.0, 0.0, 0.0, 1.0]
    assert (values * np.float32(0.25)).all()


SHUFFLES = {
    "__shfl_sync(all, in[t], t * 5)": LANES * 5 % 32,
    "__shfl_sync(all, in[t], 3, 8)": LANES // 8 * 8 + 3,
    "__shfl_sync(all, in[t], 11, 8)": LANES // 8 * 8 + 3,
    "__shfl_up_sync(all, in[t], 3)": np.where(LANES < 3, LANES, LANES - 3),
    "__shfl_up_sync(all, in[t], 3, 16)": np.where(LANES % 16 < 3, LANES, LANES - 3),
    "__shfl_down_sync(all, in[t], 5)": np.where(LANES > 26, LANES, LANES + 5),
    "__shfl_down_sync(all, in[t], 5, 8)": np.where(LANES % 8 > 2, LANES, LANES + 5),
    "__shfl_xor_sync(all, in[t], 21)": LANES ^ 21,
    "__shfl_xor_sync(all, in[t], 8, 8)": np.where(LANES % 16 < 8, LANES, LANES - 8),
}


@pytest.mark.parametrize("order", ORDERS)
def test_shuffles_take_the_value_of_the_lane_that_cuda_names(order, rng) -> None:
    values = rng.random(32).astype(np.float32)
    compiled = blocks(*(f"out[t] = {call};" for call in SHUFFLES))
    for kernel, (call, source) in zip(compiled, SHUFFLES.items()):
        assert np.array_equal(run(kernel, values, order), values[source]), call


def test_shuffles_keep_all_bits_of_every_type() -> None:
    factors = {
        "int": "3",
        "unsigned": "-3",
        "long long": "(1ll << 40)",
        "unsigned long long": "~7ull",
        "double": "(1.0 + 1e-12)",
        "bool": "1",
    }
    bodies = [
        f"const {ctype} x = ({ctype})({factor} * t); const auto y = __shfl_xor_sync(all, x, 1);"
        f"out[t] = y == ({ctype})({factor} * (t ^ 1));"
        for ctype, factor in factors.items()
    ]
    for kernel in blocks(*bodies):
        assert run(kernel, np.zeros(32)).all()


def test_a_lane_outside_the_mask_has_no_value_to_give() -> None:
    result = run("if (t < 8) out[t] = __shfl_sync(0xff, in[t], t + 1);", np.arange(32.0))
    assert np.array_equal(result[:7], np.arange(1, 8))
    assert np.isnan(result[7])


def test_votes_and_reductions(rng) -> None:
    values = rng.integers(-5, 6, 32).astype(np.float32)
    calls = {
        "__popc(__ballot_sync(all, in[t] > 0))": (values > 0).sum(),
        "__ffs(__ballot_sync(all, t >= 5))": 6,
        "__any_sync(all, in[t] > 100)": 0,
        "__all_sync(all, in[t] > -100)": 1,
        "__reduce_add_sync(all, (int)in[t])": values.sum(),
        "__reduce_min_sync(all, (int)in[t])": values.min(),
        "__reduce_max_sync(all, (int)in[t])": values.max(),
        "__reduce_max_sync(all, (unsigned)t)": 31,
        "__reduce_xor_sync(all, 1u << t % 3)": 0b100 ^ 0b010 ^ 0b001 ^ 0b100,
    }
    expected = list(calls.values())
    # 32 = 11 + 11 + 10 lanes with t % 3 = 0, 1, 2.
    expected[-1] = 0b011
    body = "".join(f"{{const int x = {c}; if (t == {i}) out[t] = x;}}" for i, c in enumerate(calls))
    assert run(body, values)[: len(calls)].tolist() == expected


def test_parts_of_a_warp_meet_by_themselves() -> None:
    body = """
      float x = in[t];
      if (t < 16) for (int i = 0; i < 3; ++i) x += __shfl_xor_sync(0x0000ffff, x, 1);
      else x = __shfl_sync(0xffff0000, x, 20);
      __syncwarp();
      out[t] = x;
    """
    values = np.arange(32.0)
    expected = np.where(LANES < 16, 4 * (values + values[LANES ^ 1]), 20)
    for order in ORDERS:
        assert np.array_equal(run(body, values, order), expected)


def test_barriers_that_count() -> None:
    count, either = blocks(
        "out[t] = __syncthreads_count(t % 3 == 0);",
        "out[t] = __syncthreads_or(t == 9) + __syncthreads_and(t < 9);",
    )
    assert set(run(count, np.zeros(100))) == {34}
    assert set(run(either, np.zeros(100))) == {1}


@pytest.mark.parametrize("order", ORDERS)
def test_atomics_lose_nothing(order) -> None:
    text = """
    extern "C" __global__ void k(int* n, unsigned* u, unsigned long long* q, float* f, int* seen) {
      const int i = blockIdx.x * blockDim.x + threadIdx.x;
      seen[atomicAdd(n, 1)] = i;
      atomicMax(u, (unsigned)i); atomicMin(u + 1, (unsigned)i); atomicOr(u + 2, 1u << i % 32);
      atomicCAS(u + 3, 0u, 5u); atomicExch(u + 4, 6u);
      atomicAdd(q, 1ull << 33);
      atomicAdd(f, 0.5f);
    }"""
    n, u, q = np.zeros(1, np.int32), np.array([0, 99, 0, 0, 0], np.uint32), np.zeros(1, np.uint64)
    f, seen = np.zeros(1, np.float32), np.zeros(300, np.int32)
    kernel(text).launch(3, 100, [n, u, q, f, seen], order)
    assert (n[0], q[0], f[0]) == (300, 300 << 33, 150.0)
    assert u.tolist() == [299, 0, 0xFFFFFFFF, 5, 6]
    assert sorted(seen) == list(range(300))
    assert (seen.tolist() == list(range(300))) == (order == 0)


def test_blocks_and_threads_of_three_dimensions() -> None:
    text = """
    extern "C" __global__ void k(int* out) {
      const int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
      const int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
      out[b * blockDim.x * blockDim.y * blockDim.z + t] = b * 1000 + t;
    }"""
    for order in ORDERS:
        out = np.zeros((24, 30), np.int32)
        kernel(text).launch((2, 3, 4), (5, 3, 2), [out], order)
        assert np.array_equal(out, np.arange(24)[:, None] * 1000 + np.arange(30))


def test_shared_memory_starts_as_nan_in_every_block() -> None:
    text = """
    extern "C" __global__ void k(float* out) {
      __shared__ float never[4];
      __shared__ float once[4];
      extern __shared__ float asked[];
      out[blockIdx.x * 3] = never[2];
      out[blockIdx.x * 3 + 1] = once[2];
      out[blockIdx.x * 3 + 2] = asked[2];
      once[2] = asked[2] = 1.0f;
    }"""
    out = np.zeros((3, 3), np.float32)
    kernel(text).launch(3, 1, [out], shared_bytes=16)
    assert np.isnan(out).all()


RACE = """
  __shared__ float s[64];
  s[t] = in[t];
  %s
  out[t] = s[t ^ 33];
"""


def test_orders_change_the_result_of_a_race_only() -> None:
    values = np.arange(64.0)
    correct = [run(RACE % "__syncthreads();", values, order) for order in ORDERS]
    assert all(np.array_equal(result, values[np.arange(64) ^ 33]) for result in correct)
    racy = [run(RACE % "", values, order) for order in ORDERS]
    assert len({result.tobytes() for result in racy}) == len(ORDERS)


# ---- Mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_a_barrier_that_threads_have_returned_without_is_an_error(order) -> None:
    message = failure("if (t == 40) return;\n__syncthreads();", 64, order)
    assert message.startswith("kernel k0, block (0, 0, 0): thread (")
    assert "waits at __syncthreads in line 2 of kernel.cu for thread (40, 0, 0)" in message
    assert message.endswith("which has returned")


def test_barriers_of_different_lines_are_an_error() -> None:
    message = failure("if (t < 20) __syncthreads();\nelse __syncthreads();", 32)
    assert "__syncthreads in line 1" in message
    assert "__syncthreads in line 2" in message


@pytest.mark.parametrize("order", ORDERS)
def test_a_warp_at_different_operations_is_an_error(order) -> None:
    message = failure("if (t < 9) __shfl_xor_sync(all, t, 1);\nelse __any_sync(all, t);", 32, order)
    assert "__shfl_xor_sync with mask 0xffffffff in line 1" in message
    assert "__any_sync with mask 0xffffffff in line 2" in message


def test_a_barrier_for_some_and_a_shuffle_for_others_is_an_error() -> None:
    message = failure("if (t < 9) __syncthreads();\nelse __shfl_sync(all, t, 0);")
    assert "waits at __syncthreads in line 1" in message
    assert "waits at __shfl_sync" in message


def test_a_mask_has_to_name_its_caller() -> None:
    assert "thread (5, 0, 0) is not in the mask of its __shfl_sync with mask 0x1f" in failure(
        "if (t == 5) __shfl_sync(0x1f, t, 0);"
    )


def test_a_mask_may_name_no_thread_that_is_not_there() -> None:
    absent, returned = blocks("__shfl_sync(all, t, 0);", "if (t < 3) return; __any_sync(all, t);")
    assert "lane 20 of the mask of its __shfl_sync with mask 0xffffffff" in failure(absent, 20)
    assert all("has returned" in failure(returned, 32, order) for order in ORDERS)


FAULTS = {
    "out[1ll << 50] = 0;": "thread (0, 0, 0): an address that is not mapped",
    "__shared__ float s[4]; s[t] = 0; out[0] = s[1];": "(4, 0, 0): an index beyond its array",
    "*(float4*)(out + 1) = float4{0, 0, 0, 0};": "misaligned",  # clang leaves it to the processor
    "out[t] = 3 / (int)in[t];": "a division by zero",
    "if (t == 3) __trap();": "thread (3, 0, 0): __trap",
    "struct F { static int f(volatile int n) { volatile int x[999]; x[n % 999] = n;"
    "return f(n + 1) + x[3]; } }; out[t] = F::f(1);": "the stack is full",
}


def test_faults_are_errors_and_the_next_launch_works() -> None:
    *faulty, good = blocks(*FAULTS, "__syncthreads(); out[t] = 2;")
    for kernel, message in zip(faulty, FAULTS.values()):
        assert message in failure(kernel)
        assert run(good, np.zeros(64)).sum() == 128


def test_a_kernel_without_end_is_ended(monkeypatch) -> None:
    monkeypatch.setattr(compiler, "_SECONDS", 1)
    assert "thread (3, 0, 0): no end in the time" in failure(
        "if (t == 3) while (*(volatile const float*)in == 0.0f) {}"
    )


def test_blocks_are_no_larger_than_the_launch_bounds() -> None:
    with pytest.raises(KernelError, match=r"64 x 2 x 1 threads, but the kernel's largest has 64"):
        blocks("out[t] = in[t];", threads=64)[0].launch(1, (64, 2, 1), [0, 0])


def test_what_does_not_compile_says_why() -> None:
    with pytest.raises(CompileError, match=r"kernel\.cu:3.*nothing_of_that_name"):
        blocks("\n\nout[t] = nothing_of_that_name;")


# ---- Signatures -----------------------------------------------------------------------------


def test_signatures_are_read_as_written() -> None:
    (found,) = signatures("""
      extern "C" __global__ void  // void g(int x)
      __launch_bounds__(sad::f(8, 8), 4) name_of_it(
          const sad::PreparedSite* __restrict__ sites, /* (, */ unsigned int n,
          float4 *out, const unsigned long long* __restrict__ q, const float f) { g(1); }
    """)
    assert (found.name, found.launch_bounds) == ("name_of_it", "sad::f(8, 8)")
    seen = [(p.name, p.pointer, p.const, p.restrict, p.dtype) for p in found.parameters]
    assert seen == [
        ("sites", True, True, True, np.float32),
        ("n", False, False, False, np.uint32),
        ("out", True, False, False, np.float32),
        ("q", True, True, True, np.uint64),
        ("f", False, True, False, np.float32),
    ]
    with pytest.raises(ValueError, match='without extern "C"'):
        signatures("__global__ void k() {}")


# ---- NVRTC ----------------------------------------------------------------------------------

needs_nvrtc = pytest.mark.skipif(
    nvrtc.find_library() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc"
)

HEAVY = """
#include "sad_core.h"
extern "C" __global__ void k(const float* in, float* out) {
  __shared__ float s[33];
  float v[48];
  for (int i = 0; i < 48; ++i) v[i] = in[i * 32 + threadIdx.x];
  s[threadIdx.x] = v[0];
  __syncthreads();
  for (int j = 0; j < 48; ++j) {
#pragma unroll
    for (int i = 0; i < 48; ++i) v[i] = v[i] * v[(i * 7 + 1) % 48] + sad::sad_exp2(s[j % 32]);
  }
  for (int i = 0; i < 48; ++i) out[i * 32 + threadIdx.x] = v[i];
}
extern "C" __global__ void light(float* out) { out[threadIdx.x] = sad::sad_sqrt(2.0f); }
"""


@pytest.fixture
def heavy(tmp_path) -> Path:
    path = tmp_path / "heavy.cu"
    path.write_text(HEAVY)
    return path


@needs_nvrtc
@pytest.mark.parametrize("arch", ["sm_75", "sm_120"])
def test_nvrtc_tells_registers_and_spills(arch, heavy) -> None:
    include = f"-I{KERNELS}"
    free = nvrtc.compile(heavy, arch, options=(include,)).kernels
    assert set(free) == {"k", "light"}
    assert free["k"].registers > 48 > free["light"].registers > 0
    assert free["k"].shared == 132
    assert free["k"].spill_stores == free["k"].spill_loads == free["k"].stack == 0
    tight = nvrtc.compile(heavy, arch, options=(include, "--maxrregcount=24"))
    assert tight.kernels["k"].registers <= 24
    assert min(tight.kernels["k"].spill_stores, tight.kernels["k"].spill_loads) > 0
    assert tight.kernels["k"].stack > 0
    assert tight.kernels["light"].spill_stores == 0
    assert tight.cubin.startswith(b"\x7fELF")


@needs_nvrtc
def test_nvrtc_takes_warnings_as_errors(tmp_path) -> None:
    path = tmp_path / "warns.cu"
    path.write_text('extern "C" __global__ void k(float* out) { int unused; out[0] = SAD_K; }')
    with pytest.raises(nvrtc.NvrtcError, match=r'warns\.cu.*"unused" was declared'):
        nvrtc.compile(path, "sm_90", {"SAD_K": 8})
