"""What a launch refuses before the device would read garbage."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_host.stand_in import make_cupy

from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_fit_kernels import ADAM, GATHER_ROWS, GRADIENT_TILES, LOSS_SLOTS
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.errors import BackendError

CP = make_cupy()


@pytest.fixture
def launcher() -> Launcher:
    return Launcher(Runtime(CP, 0), {"SAD_K": 8, "SAD_CHANNELS": 3})


def gather_arguments() -> dict:
    return {
        "in": CP.asarray(np.arange(12, dtype=np.float32).reshape(4, 3)),
        "index": CP.asarray(np.array([2, 0], np.int32)),
        "out": CP.empty((2, 3), np.float32),
        "kept": 2,
        "columns": 3,
    }


def test_a_launch_runs(launcher: Launcher):
    arguments = gather_arguments()
    launcher.launch(GATHER_ROWS, 1, arguments)
    np.testing.assert_array_equal(arguments["out"].get(), [[6, 7, 8], [0, 1, 2]])


def test_a_bound_launch_takes_what_varies(launcher: Launcher):
    arguments = gather_arguments()
    del arguments["kept"]
    start = launcher.bind(GATHER_ROWS, 1, arguments, "kept")
    start(1)
    assert arguments["out"].get()[0].tolist() == [6, 7, 8]
    assert np.isnan(arguments["out"].get()[1]).all()  # memory that nothing wrote
    start(2)
    assert arguments["out"].get()[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in": np.zeros((4, 3), np.float32)}, "argument in is a ndarray, not an array of the dev"),
        ({"in": CP.zeros((4, 3), np.float64)}, "argument in is float64, not float32"),
        ({"in": CP.zeros((4, 6), np.float32)[:, ::2]}, "argument in is not contiguous"),
        ({"in": CP.zeros(12, np.float32)}, "argument in has shape"),
        ({"out": CP.zeros((2, 4), np.float32)}, "argument out has shape .* but P is 3"),
        ({"index": CP.zeros(3, np.int32)}, "but kept is 3"),
        ({"kept": 2.5}, "kept is 2.5, which is no int32"),
        ({"kept": 1 << 31}, "which is no int32"),
        ({"columns": "3"}, "columns is a str, not a number"),
        ({"columns": None}, "columns is a NoneType"),
        ({"extra": 1}, "extra is unknown"),
    ],
)
def test_a_wrong_argument_is_named(launcher: Launcher, change, message):
    with pytest.raises(BackendError, match=message) as error:
        launcher.launch(GATHER_ROWS, 1, {**gather_arguments(), **change})
    assert "gather_rows" in str(error.value)


def test_a_missing_argument_is_named(launcher: Launcher):
    arguments = gather_arguments()
    del arguments["index"]
    with pytest.raises(BackendError, match="gather_rows: index is missing"):
        launcher.launch(GATHER_ROWS, 1, arguments)
    with pytest.raises(BackendError, match="index is missing"):
        launcher.bind(GATHER_ROWS, 1, arguments)


def test_an_array_of_another_device_is_refused(launcher: Launcher):
    class Elsewhere:
        dtype, shape = np.dtype(np.float32), (4, 3)
        device = type("Device", (), {"id": 1})

    with pytest.raises(BackendError, match="in lies on device 1, not 0"):
        launcher.launch(GATHER_ROWS, 1, {**gather_arguments(), "in": Elsewhere()})


@pytest.mark.parametrize("blocks", [0, 1 << 31, (1, 0, 1), (1, 1 << 16, 1)])
def test_a_grid_that_no_device_has_is_refused(launcher: Launcher, blocks):
    with pytest.raises(BackendError, match="blocks"):
        launcher.launch(GATHER_ROWS, blocks, gather_arguments())


def test_every_declared_argument_counts(launcher: Launcher):
    """Each array of the largest kernels, left out or of another type, fails the launch."""
    sizes = {"N": 4, "P": 9, "ends": 2, "capacity": 8, "H": 8, "W": 8, "C": 3, "M": 64}
    for kernel in (GRADIENT_TILES, ADAM):
        arguments = {}
        for parameter in kernel.parameters:
            if isinstance(parameter, Array):
                shape = [sizes.get(size, size) for size in parameter.shape]
                arguments[parameter.name] = CP.zeros(shape, parameter.dtype)
            else:
                arguments[parameter.name] = 0
        kernel.check(0, arguments)
        for parameter in kernel.parameters:
            wrong = dict(arguments)
            del wrong[parameter.name]
            with pytest.raises(BackendError, match=parameter.name):
                kernel.check(0, wrong)
            if isinstance(parameter, Array):
                wrong[parameter.name] = arguments[parameter.name].astype(np.int16)
                with pytest.raises(BackendError, match=parameter.name):
                    kernel.check(0, wrong)
    assert LOSS_SLOTS > 64


def test_scalars_become_the_declared_type():
    kernel = Kernel("x.cu", "x", (Scalar("n", np.int32), Scalar("seed", np.uint64)), 1)
    n, seed = kernel.check(0, {"n": np.int64(7), "seed": 2**64 - 1})
    assert (type(n), type(seed)) == (np.int32, np.uint64)
    assert seed == 2**64 - 1
