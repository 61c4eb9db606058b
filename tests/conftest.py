"""Images that several test files use, and a seeded random generator."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
BENCHMARKS = ROOT / "benchmarks"

Load = Callable[[str], ModuleType]


def load(name: str) -> NDArray[np.uint8]:
    """Return uint8 [H, W, C] (C = 1 or 3) of a file of data/, without the package's own reader."""
    with Image.open(DATA / name) as image:
        pixels = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


@pytest.fixture(scope="session")
def data_images() -> list[Path]:
    """Paths of all images of data/, sorted by name."""
    return sorted(DATA.glob("*.png"))


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """uint8 [64, 96, 3]: the rim of a cup, a handle and wood grain."""
    return load("coffee.png")[96:160, 96:192].copy()


@pytest.fixture
def drawing() -> NDArray[np.uint8]:
    """uint8 [64, 96, 3]: flat areas, sharp edges and thin lines."""
    return load("drawing.png")[96:160, 180:276].copy()


@pytest.fixture
def gray() -> NDArray[np.uint8]:
    """uint8 [64, 96, 1]: a photograph of one channel."""
    return load("camera.png")[32:96, 80:176].copy()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Import a module of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20260419)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop at the first test for a GPU where there is none: all of them would fail alike."""
    if item.get_closest_marker("gpu"):
        from sadcodec.backends.cuda import open_runtime
        from sadcodec.errors import BackendError

        try:
            open_runtime(0)
        except BackendError as error:
            pytest.exit(f"the tests for a GPU cannot run: {error}", returncode=1)
