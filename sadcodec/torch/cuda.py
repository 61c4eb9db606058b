"""Passes on CUDA tensors: CuPy works on their memory (DLPack), on the stream that is current."""

from __future__ import annotations

from typing import Any

import torch

from sadcodec.backends import get_backend

__all__ = ["PointTensorPasses", "TensorPasses"]


class _Stream:
    """A stream by the CUDA stream protocol, which those of older versions of torch do not have."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return (0, self._pointer)  # 0: of the protocol


class _OnDevice:
    """The backend of one CUDA device, working on tensors; nothing waits for it."""

    def __init__(self, device: int) -> None:
        backend: Any = get_backend(f"cuda:{device}")
        self.backend, self._device, self._runtime = backend, device, backend.runtime

    def run(self, work: Any, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the work, on arrays of CuPy in the current stream, returns."""
        cp = self._runtime.cp
        stream = _Stream(torch.cuda.current_stream(self._device).cuda_stream)
        with self._runtime.activate(), cp.cuda.Stream.from_external(stream):
            found = work(*(cp.from_dlpack(tensor) for tensor in tensors))
            arrays = found if isinstance(found, tuple) else (found,)
            return tuple(torch.from_dlpack(array) for array in arrays)


class TensorPasses:
    """Forward and backward passes of a picture on one CUDA device.

    Parameters
    ----------
    device : int
    width, height : int, px
    channels : int
    k : int
    """

    def __init__(self, device: int, width: int, height: int, channels: int, k: int) -> None:
        self._device = _OnDevice(device)
        self._passes = self._device.backend.differentiable(width, height, channels, k)

    def forward(self, sites: torch.Tensor) -> torch.Tensor:
        """Return the picture; a copy of the sites stays in memory as long as these passes."""
        return self._device.run(self._passes.draw, sites.clone())[0]  # the caller may change them

    def backward(self, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the derivatives with respect to the sites of the forward pass."""
        return self._device.run(self._passes.pull_back, cotangent)


class PointTensorPasses:
    """Forward and backward passes of points on one CUDA device.

    Parameters
    ----------
    device : int
    channels : int
    k : int
    """

    def __init__(self, device: int, channels: int, k: int) -> None:
        self._device = _OnDevice(device)
        self._passes = self._device.backend.points(channels, k)

    def forward(self, sites: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return the colours at the points."""
        return self._device.run(self._passes.draw, sites, points)[0]

    def backward(self, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the derivatives with respect to sites and points of the forward pass."""
        return self._device.run(self._passes.pull_back, cotangent)
