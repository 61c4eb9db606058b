"""The tests' stand-in for CuPy refuses what CuPy refuses, and checks what it takes on trust."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_host import KernelError, LaunchError, StandIn, make_cupy
from cuda_host.streams import StreamError

SOURCE = """
#include <cuda_fp16.h>
extern "C" __global__ void __launch_bounds__(64)
scale(const float* __restrict__ in, float* out, int n, float by) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = by * in[i];
}
extern "C" __global__ void writes_const(const float* in) { const_cast<float*>(in)[2] = 1; }
extern "C" __global__ void add(double* a, const unsigned long long* b) { a[0] += b[0]; }
struct Site { float x, y; };
extern "C" __global__ void move(Site* sites, float4* more) { sites[1].y += ++more[1].w; }
extern "C" __global__ void last(int* turn, int* next) { turn[0] = next[0]++ * 0 + blockIdx.x; }
"""
OPTIONS = ("-std=c++17", "--fmad=false", "-DSAD_K=8")


@pytest.fixture
def cp() -> StandIn:
    return make_cupy()


def function(cp: StandIn, name: str = "scale"):
    return cp.RawModule(code=SOURCE, options=OPTIONS).get_function(name)


@pytest.mark.gpu
def test_it_is_like_cupy() -> None:
    import cupy
    from real_cupy import differences

    assert differences(cupy) == []


# ---- Launches -------------------------------------------------------------------------------


def test_a_kernel_runs_on_device_arrays(cp) -> None:
    values, out = cp.arange(100, dtype=np.float32), cp.empty(100, np.float32)
    function(cp)((2,), (64,), (values, out, np.int32(100), np.float32(2)))
    assert np.array_equal(out.get(), 2 * np.arange(100, dtype=np.float32))
    assert cp.machine.launches == ["scale"]
    a, b = cp.full(1, 0.5), cp.array([1 << 40], dtype=np.uint64)
    function(cp, "add")((1, 1, 1), (1, 1, 1), (a, b))
    assert float(a[0]) == 0.5 + (1 << 40)
    sites, more = cp.zeros((2, 2), np.float32), cp.zeros((2, 4), np.float32)
    function(cp, "move")((1, 1, 1), (1, 1, 1), (sites, more))
    assert (sites.get()[1, 1], more.get()[1, 3]) == (1, 1)


def test_the_order_of_launches_is_configured(monkeypatch) -> None:
    found = set()
    for order in ("0", "1", "5"):
        monkeypatch.setenv("SAD_CUDA_HOST_ORDER", order)
        cp = make_cupy(checked=False)  # blocks race here
        turn, following = cp.zeros(1, np.int32), cp.zeros(1, np.int32)
        for _ in range(4):
            function(cp, "last")((9,), (1,), (turn, following))
            found.add((order, turn.get().item()))
    assert {("0", 8), ("1", 0)} <= found
    assert len(found) > 4  # a seed draws a new order for each launch


def refusals(cp: StandIn) -> dict[str, tuple]:
    values, out = cp.zeros(128, np.float32), cp.zeros(128, np.float32)
    n, by = np.int32(64), np.float32(2)
    one, block = (1, 1, 1), (64, 1, 1)
    return {
        "takes 4 arguments, not 3": (one, block, (values, out, n)),
        "in as a device array, not ndarray": (one, block, (np.zeros(64, np.float32), out, n, by)),
        "in as a device array, not int": (one, block, (values.data.ptr, out, n, by)),
        "out as an array of float32, not float64": (one, block, (values, cp.zeros(64), n, by)),
        "out as a contiguous array": (one, block, (values, out[::2], n, by)),
        "n as int32, not int64": (one, block, (values, out, np.int64(64), by)),
        "n as int32, not int 64": (one, block, (values, out, 64, by)),
        "by as float32, not float 2.0": (one, block, (values, out, n, 2.0)),
        "in and out as __restrict__, but they": (one, block, (values, values[32:], n, by)),
        r"a grid of \(0, 1, 1\)": ((0, 1, 1), block, (values, out, n, by)),
        r"a grid of \(1, 65536, 1\)": ((1, 65536, 1), block, (values, out, n, by)),
        "a grid that is no tuple": ([1, 1, 1], block, (values, out, n, by)),
        "a block of 65 x 1 x 1 threads": (one, (65, 1, 1), (values, out, n, by)),
    }


@pytest.mark.parametrize("message", refusals(make_cupy()))
def test_launches_that_a_device_takes_on_trust_are_refused(cp, message) -> None:
    arguments = refusals(cp)[message]
    with pytest.raises((LaunchError, KernelError), match=f"kernel scale.*{message}"):
        function(cp)(*arguments)


@pytest.mark.parametrize("order", [0, 1])
def test_writing_around_an_array_is_an_error(order) -> None:
    cp = make_cupy(order, checked=False)  # which finds it before it is done
    values, out = cp.zeros(128, np.float32), cp.zeros(100, np.float32)
    with pytest.raises(KernelError, match=r"scale.*byte 0 after the memory of 400 bytes of out"):
        function(cp)((2,), (64,), (values, out, np.int32(128), np.float32(1)))
    with pytest.raises(KernelError, match="writes_const has written to in, a const"):
        function(cp, "writes_const")((1,), (1,), (values,))


def test_a_module_has_to_be_compiled_as_the_stand_in_computes(cp) -> None:
    contracted = cp.RawModule(code=SOURCE, options=()).get_function("scale")
    with pytest.raises(LaunchError, match="--fmad=false"):
        contracted((1,), (1,), ())
    with pytest.raises(cp.cuda.compiler.CompileException, match="--use_fast_math"):
        cp.RawModule(code=SOURCE, options=("--use_fast_math",))
    with pytest.raises(cp.cuda.compiler.CompileException, match="no_such_type"):
        cp.RawModule(code='extern "C" __global__ void k(no_such_type* p) {}').compile()
    with pytest.raises(LaunchError, match="CUDA_ERROR_NOT_FOUND"):
        function(cp, "absent")


# ---- Arrays ---------------------------------------------------------------------------------


def test_arrays_compute_as_numpy_does(cp, rng) -> None:
    host = rng.random((5, 7)).astype(np.float32)
    a = cp.asarray(host)
    index = cp.asarray(np.array([3, 1]))
    pairs = [
        (2 * a + a, 2 * host + host),
        (np.hypot(a, 1), np.hypot(host, 1)),
        (cp.maximum(a, np.float32(0.5)), np.maximum(host, np.float32(0.5))),
        (a[index, 2:], host[[3, 1], 2:]),
        (a[1, 2], host[1, 2]),
        (a.T[:, ::2], host.T[:, ::2]),
        (np.argsort(a[0]), np.argsort(host[0], kind="stable")),
        (cp.cumsum(a, axis=1, dtype=np.float64), np.cumsum(host, axis=1, dtype=np.float64)),
        (cp.searchsorted(cp.arange(5), index), np.searchsorted(np.arange(5), [3, 1])),
        (np.concatenate([a, a]), np.concatenate([host, host])),
        (np.repeat(a, 3, axis=0), np.repeat(host, 3, axis=0)),
        (cp.take(a, index, axis=1), np.take(host, [3, 1], axis=1)),
        (a.max(axis=0), host.max(axis=0)),
        (a.astype(np.int32).sum(), host.astype(np.int32).sum()),
        (np.where(a > 0.5, a, 0), np.where(host > 0.5, host, 0)),
    ]
    for device, expected in pairs:
        assert isinstance(device, cp.ndarray)
        assert not isinstance(device, np.ndarray)
        assert device.dtype == expected.dtype
        assert np.array_equal(device.get(), expected)


def test_views_share_memory_and_copies_do_not(cp) -> None:
    a = cp.zeros((4, 6), np.float32)
    copies = [a.copy(), a.astype(np.float32), cp.array(a)]
    for view in (a[1], a.ravel()[6:], a.reshape(2, 12)[0, 6:], a.view(np.int32)[1], a.T[:, 1]):
        assert view.device.id == 0
    a.reshape(-1)[6:] = 3
    a[0, 0] = a[1, 1]
    same = a
    same += 1
    assert a.get()[0].tolist() == [4, 1, 1, 1, 1, 1]
    assert a.data.ptr % 512 == 0
    assert a[1:].data.ptr == a.data.ptr + 24
    assert not any(copy.get().any() for copy in copies)


def test_host_arrays_are_not_mixed_with_device_arrays(cp) -> None:
    a, host = cp.zeros(3), np.zeros(3)
    for operation in (
        lambda: a + host,
        lambda: host + a,
        lambda: a + np.array(1.0),
        lambda: np.maximum(host, a),
        lambda: cp.maximum(host, 1),
        lambda: np.concatenate([a, host]),
        lambda: cp.concatenate([a, host]),
        lambda: np.asarray(a),
        lambda: np.array([a, a]),
        lambda: a[host.astype(int)],
        lambda: a.__setitem__(0, host[0:1]),
        lambda: np.add(host, 1, out=a) + np.add(a, 1, out=host),
        lambda: np.cov(a),
    ):
        with pytest.raises(TypeError):
            operation()


def test_what_cupy_lacks_is_refused(cp) -> None:
    a = cp.asarray(np.ones((2, 3), np.float32))
    index = cp.asarray(np.array([1, 1]))
    for operation in (
        lambda: range(cp.zeros(1, np.int32)[0]),
        lambda: float(a[0, :1]),
        lambda: a[0, 0].item(0),
        lambda: np.sort(a, kind="quicksort"),
        a.T.sort,
        lambda: np.sum(a, where=a > 0),
        lambda: np.add(a, 1, where=a > 0),
        lambda: np.add.reduce(a),
        lambda: np.spacing(a),
        lambda: np.cov(a),
        lambda: cp.cov(a),
        lambda: cp.asarray(a, subok=True),
        lambda: a.__setitem__(index, a),
        lambda: a.get(out=np.empty((2, 3))),
        lambda: a.get(out=np.empty((2, 4), np.float32)),
        lambda: cp.RawModule(code=SOURCE, options=list(OPTIONS)),
        lambda: cp.RawModule(SOURCE),
    ):
        with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
            operation()


def test_copies_from_the_host_keep_the_order_of_its_memory(cp) -> None:
    host = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    a = cp.asarray(host)
    assert (a.flags.c_contiguous, a.flags.f_contiguous) == (False, True)
    assert not a.astype(np.int32).flags.c_contiguous
    for copy in (a.copy(), a + 1, a.ravel(), cp.asarray(host[:, ::2])):
        assert copy.flags.c_contiguous
    assert np.array_equal(a.get(), host)
    a.set(host + 1)
    assert np.array_equal(a.astype(np.int32).get(), host + 1)


def test_streams_and_events_belong_to_a_device() -> None:
    cp = make_cupy(devices=2)
    stream, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event()
    with stream:
        assert cp.cuda.get_current_stream() is stream
        with cp.cuda.Device(1):
            assert cp.cuda.get_current_stream() is cp.cuda.Stream.null
    assert cp.cuda.get_current_stream() is cp.cuda.Stream.null
    event.record(stream)
    with cp.cuda.Device(1):
        with pytest.raises(RuntimeError, match="does not match"), stream:
            pass
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
            event.record()

    class Foreign:
        def __cuda_stream__(self) -> tuple[int, int]:
            return (0, 1234)

    with cp.cuda.Stream.from_external(Foreign()):
        assert cp.cuda.get_current_stream().ptr == 1234


def test_streams_use_memory_in_an_order_of_events(cp) -> None:
    stream, values = cp.cuda.Stream(non_blocking=True), cp.zeros(64, np.float32)
    events = [cp.cuda.Event() for _ in range(3)]
    unordered = r"on stream \d+ {} memory that an operation {} on stream \d+, with nothing to order"

    def refused(work, what: str, before: str) -> None:
        with pytest.raises(StreamError, match=unordered.format(what, before)):
            work()

    def beside() -> None:
        with stream:
            values + 1

    refused(beside, "reads", "writes")
    events[0].record()
    refused(beside, "reads", "writes")  # nobody waits for the event
    stream.wait_event(events[0])
    beside()
    values + 1  # both may read
    refused(lambda: values.fill(1), "writes", "reads")
    events[1].record(stream)
    beside()  # behind the event
    events[1].synchronize()
    refused(lambda: values.fill(1), "writes", "reads")
    events[2].record(stream)
    cp.cuda.Stream.null.wait_event(events[2])
    values.fill(1)


def test_memory_goes_to_its_stream_when_it_is_freed(cp) -> None:
    stream, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event()
    values = cp.zeros(64, np.float32)
    event.record()
    with stream:
        stream.wait_event(event)
        values + 1
        cp.zeros(64, np.float32)  # is had from others
    del values
    with pytest.raises(StreamError, match="on stream 0 writes memory that an operation reads on"):
        cp.zeros(64, np.float32)
    stream.synchronize()
    cp.zeros(64, np.float32)


def test_graphs_hold_launches(cp) -> None:
    values, out = cp.arange(4, dtype=np.float32), cp.zeros(4, np.float32)
    stream, scale = cp.cuda.Stream(non_blocking=True), function(cp)
    with pytest.raises(RuntimeError, match="default"):
        cp.cuda.Stream.null.begin_capture()
    stream.begin_capture()
    scale((1,), (64,), (values, out, np.int32(4), np.float32(3)))
    for refused in (lambda: values + 1, out.get, stream.synchronize):
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="capturing"):
            refused()
    graph = stream.end_capture()
    assert not out.get().any()
    first, last = cp.cuda.Event(), cp.cuda.Event()
    first.record()
    graph.launch(stream)
    last.record()
    assert out.get().tolist() == [0, 3, 6, 9]
    assert cp.cuda.get_elapsed_time(first, last) > 0
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        cp.cuda.get_elapsed_time(first, cp.cuda.Event(disable_timing=True))


def test_new_memory_is_poison(cp) -> None:
    assert np.isnan(cp.empty((2, 3), np.float32).get()).all()
    assert set(cp.empty(5, np.int32).get()) == {0x7FFDA5A5}
    assert set(cp.empty_like(cp.zeros(2, np.uint8)).get()) == {0x7F}
    assert cp.empty(0).data.ptr == 0


def test_synchronizations_are_counted(cp) -> None:
    a = cp.zeros(4, np.float32)
    a += 1
    a[1:] = a[:-1] * 2
    cp.argsort(a)
    assert cp.synchronizations == 0
    for number, wait in enumerate(
        (
            a.get,
            a[0].item,
            lambda: float(a[0]),
            lambda: bool(a[0] > 0),
            lambda: a[a > 0],
            lambda: cp.nonzero(a),
            cp.cuda.Device().synchronize,
            cp.cuda.Stream.null.synchronize,
        )
    ):
        wait()
        assert cp.synchronizations == number + 1


def test_copies_that_do_not_block_arrive_with_their_event(cp) -> None:
    a = cp.array([7])
    pinned = [cp.cuda.alloc_pinned_memory(8) for _ in range(2)]
    first, second = (np.frombuffer(memory, np.int64, 1) for memory in pinned)
    assert len(np.frombuffer(pinned[0], np.int64)) > 1  # CuPy lends more than was asked for
    event = cp.cuda.Event()
    cp.machine.event_lag = 1
    a.get(out=first, blocking=False)
    event.record()
    a[0] = 8
    a.get(out=second, blocking=False)
    assert not event.done
    assert 7 not in first
    assert event.done
    assert (cp.synchronizations, first[0]) == (0, 7)
    assert 8 not in second
    cp.cuda.Device(0).synchronize()
    assert second[0] == 8


def test_memory_is_limited_and_given_back() -> None:
    cp = make_cupy(capacity=4096)
    a = cp.zeros(512, np.float32)
    assert cp.cuda.Device(0).mem_info == (2048, 4096)
    with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="allocating 2,560 bytes"):
        cp.empty(2049, np.uint8)
    view = a[3:]
    del a
    assert cp.get_default_memory_pool().used_bytes() == 2048
    del view
    assert cp.machine.allocated == 0
    assert cp.machine.peak == 2048


def test_devices_are_numbered() -> None:
    cp = make_cupy(devices=2)
    with cp.cuda.Device(1):
        there = cp.zeros(3, np.float32)
    assert (there.device.id, cp.zeros(3).device.id) == (1, 0)
    assert there[1:].get().tolist() == [0, 0]
    for operation in (
        lambda: there + 1,
        lambda: np.argsort(there),
        lambda: cp.zeros(3, np.float32) + there,
        lambda: there[cp.zeros(2, np.int32)],
        lambda: there.__setitem__(0, 1.0),
        lambda: there.astype(np.int32),
        there.copy,
        lambda: there.fill(1.0),
    ):
        with pytest.raises(ValueError, match="on device 1, the current one is 0"):
            operation()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        cp.cuda.Device(2)
    assert cp.cuda.runtime.getDeviceCount() == 2
    with pytest.raises(LaunchError, match="takes in on device 0, not 1"):
        function(cp, "writes_const")((1,), (1,), (there,))
