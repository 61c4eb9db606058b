"""`get_backend`: names, threads, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sadcodec.backends import BACKENDS, get_backend
from sadcodec.errors import OptionError


@pytest.mark.parametrize("name", BACKENDS)
def test_every_name_gives_its_backend(name):
    assert get_backend(name).name == ("cpu" if name == "auto" else name)


def test_the_default_is_auto():
    assert get_backend().name == get_backend("auto").name


def test_an_unknown_name_is_named():
    with pytest.raises(OptionError, match="unknown backend 'abacus'"):
        get_backend("abacus")


@pytest.mark.parametrize("threads", [0, -1, 1025])
@pytest.mark.parametrize("name", BACKENDS)
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
    assert message.startswith("the cpu backend cannot be loaded: ")
    assert reference == "reference"
