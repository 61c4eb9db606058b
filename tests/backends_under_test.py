"""The backends that tests are run on, by name.

"cuda on the CPU" is the CUDA backend with its kernels executed by tests/cuda_host; "cuda" is the
same on a GPU, in tests marked `gpu`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cuda_host.stand_in import make_cupy

from sadcodec.backends import get_backend
from sadcodec.backends.base import Backend
from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_backend import CudaBackend

ON_CPU = "cuda on the CPU"

CUDA = [ON_CPU, pytest.param("cuda", marks=pytest.mark.gpu)]

# Backends that compute in another way than the reference, and all.
OTHERS = ["cpu", *CUDA]
ALL = [*OTHERS, "reference"]


@cache
def backend_named(name: str) -> Backend:
    if name == ON_CPU:
        return CudaBackend(Runtime(make_cupy(), 0), threads=1)
    return get_backend(name)


def host(array: object) -> np.ndarray:
    """An array of a session as a NumPy array, wherever it lies."""
    return array if isinstance(array, np.ndarray) else array.get()
