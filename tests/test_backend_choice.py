"""`get_backend`: names, threads, and what it loads."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from sadcodec import backends, cli, codec
from sadcodec.backends import BACKENDS, cuda, get_backend, resolve_backend
from sadcodec.cli import parameters
from sadcodec.engine import engine_for
from sadcodec.errors import BackendError, BackendWarning, OptionError

ON_THE_CPU = ("cpu", "reference")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """What "auto" stands for is found out once in a process: for each test anew."""
    backends._fastest.cache_clear()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give the machine so many GPUs, or CuPy without any; backends are (device, threads)."""

    def give(count: int) -> None:
        def open_runtime(device: int) -> int:
            if device >= count:
                raise BackendError(f"there is no GPU {device}")
            return device

        module = types.ModuleType("sadcodec.backends.cuda_backend")
        module.CudaBackend = lambda *arguments: arguments  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(backends, "cuda_backend", module, raising=False)
        monkeypatch.setattr(cuda, "open_runtime", open_runtime)
        monkeypatch.setattr(cuda, "cupy_installed", lambda: True)

    return give


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take CuPy away, if it is installed."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(cuda, "_RUNTIMES", {})


@pytest.mark.parametrize("name", ON_THE_CPU)
def test_every_name_gives_its_backend(name):
    assert get_backend(name).name == name


def test_without_cupy_auto_is_the_cpu_without_a_word(no_cupy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_backend().name == get_backend("auto").name == "cpu"
    assert resolve_backend() == "cpu"


def test_auto_imports_no_cupy_to_find_that_there_is_none():
    code = """
import sys
from sadcodec.backends import get_backend
from sadcodec.backends.cuda import cupy_installed
if not cupy_installed():
    get_backend()
print("cupy" in sys.modules)
"""
    assert run(code) == "False"


def test_a_gpu_is_taken_where_there_is_one(gpus):
    gpus(3)
    assert get_backend("cuda", 4) == (0, 4)
    assert get_backend("cuda:2") == (2, None)
    assert get_backend("auto", 5) == (0, 5)
    assert get_backend("cpu").name == "cpu"
    assert [resolve_backend(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == [
        *("cuda", "cuda", "cuda:1", "cpu"),
    ]


def test_a_gpu_that_cannot_be_used_is_named(gpus, no_cupy):
    with pytest.raises(BackendError, match=r"^backend cuda: CuPy is not installed: pip install"):
        get_backend("cuda")
    gpus(1)
    with pytest.raises(BackendError, match=r"^backend cuda:1: there is no GPU 1$"):
        get_backend("cuda:1")


def test_cupy_without_a_gpu_is_told_once(gpus):
    gpus(0)
    with pytest.warns(BackendWarning, match=r"^using the CPU: there is no GPU 0$"):
        assert get_backend("auto").name == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_backend("auto").name == resolve_backend() == "cpu"


def test_decoding_takes_the_gpu_only_when_told_to(gpus, monkeypatch):
    gpus(1)
    assert engine_for("auto", None, "decode").name == "cpu"
    assert engine_for("auto", None, "encode") == (0, None)
    assert engine_for("cuda", 2, "decode") == (0, 2)
    image = np.zeros((8, 8), np.uint8)
    data = codec.encode(image, sites=4, effort=1, backend="cpu")
    gpus(0)
    backends._fastest.cache_clear()
    codec.decode(data)  # no warning either
    with pytest.raises(BackendError, match="backend cuda: "):
        codec.decode(data, backend="cuda")
    with pytest.raises(BackendError, match="backend cuda:7: "):
        codec.encode(image, backend="cuda:7")
    assert codec.load_backend("auto", "decode") == "cpu"


@pytest.mark.parametrize("name", ["abacus", "", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "CUDA"])
def test_an_unknown_name_is_named(name):
    with pytest.raises(OptionError, match=f"unknown backend '{name}'; there are .*cuda:N"):
        get_backend(name)


def test_the_command_line_knows_the_same_names(capfd):
    assert set(parameters.BACKENDS) == {*BACKENDS, "cuda:N"}
    for name in ("abacus", "cuda:N", "cuda:x", "cuda:"):
        with pytest.raises(SystemExit) as caught:
            cli.main(["decode", "in.sad", "--backend", name])
        assert caught.value.code == 2
        assert (
            f"'{name}' is not one of auto, cpu, cuda, cuda:N, reference." in capfd.readouterr()[1]
        )


@pytest.mark.parametrize("threads", [0, -1, 1025])
@pytest.mark.parametrize("name", [*BACKENDS, "cuda:1"])
def test_threads_have_a_range(name, threads):
    with pytest.raises(OptionError, match="threads"):
        get_backend(name, threads=threads)


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_the_reference_is_loaded_when_asked_for():
    code = """
import sys
from sadcodec.backends import get_backend
get_backend("cpu")
before = "sadcodec.backends.reference" in sys.modules
get_backend("reference")
print(before, "sadcodec.backends.reference" in sys.modules)
"""
    assert run(code) == "False True"


def test_without_the_compiled_module_there_is_no_cpu_backend():
    code = """
import sys
sys.modules["sadcodec._core"] = None  # as if it could not be imported
from sadcodec.backends import get_backend
from sadcodec.errors import BackendError
try:
    get_backend("cpu")
except BackendError as error:
    print(error)
print(get_backend("reference").name)
"""
    message, reference = run(code).splitlines()
    assert message.startswith("backend cpu: it cannot be loaded: ")
    assert reference == "reference"
