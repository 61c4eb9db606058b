"""Passes on CUDA tensors: CuPy works on their memory (DLPack), on the stream that is current."""

from __future__ import annotations

from typing import Any

import torch

from sadcodec.backends import get_backend

__all__ = ["TensorPasses"]


class TensorPasses:
    """Forward and backward passes of a picture on one CUDA device; nothing waits for it.

    Parameters
    ----------
    device : int
    width, height : int, px
    channels : int
    k : int
    """

    def __init__(self, device: int, width: int, height: int, channels: int, k: int) -> None:
        backend: Any = get_backend(f"cuda:{device}")
        self._device, self._runtime = device, backend.runtime
        self._passes = backend.differentiable(width, height, channels, k)

    def forward(self, sites: torch.Tensor) -> torch.Tensor:
        """Return the picture; the sites stay in memory as long as these passes."""
        return self._on_stream(self._passes.draw, sites)

    def backward(self, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the derivatives with respect to the sites of the forward pass."""
        return (self._on_stream(self._passes.pull_back, cotangent),)

    def _on_stream(self, work: Any, tensor: torch.Tensor) -> torch.Tensor:
        cp = self._runtime.cp
        stream = torch.cuda.current_stream(self._device).cuda_stream
        with self._runtime.activate(), cp.cuda.ExternalStream(stream, self._device):
            return torch.from_dlpack(work(cp.from_dlpack(tensor)))
