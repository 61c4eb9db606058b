"""Rendering and sampling as functions that autograd differentiates, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from sadcodec.backends.base import DEFAULT_K
from sadcodec.backends.cpu import CpuBackend
from sadcodec.backends.points import PointSession, pixel_centers
from sadcodec.backends.propagation import propagation_of
from sadcodec.errors import OptionError
from sadcodec.sites import GEOMETRY_COLUMNS, MAX_CHANNELS

__all__ = ["render", "sample"]


def render(
    sites: torch.Tensor,
    size: tuple[int, int],
    k: int = DEFAULT_K,
    topk: str = "exact",
    *,
    threads: int | None = None,
) -> torch.Tensor:
    """Return the picture of a diagram, differentiable with respect to every parameter.

    Which sites are a pixel's top K is taken as constant.

    Parameters
    ----------
    sites : float32 or float64 [N, 6 + C]
        Rows as in `sadcodec.Sites`: x, y, log_tau, radius, p, q, then C = 1..4 colours. On the CPU,
        or in float32 on a CUDA device, where CuPy then works on the tensors themselves, on the
        current stream.
    size : (width, height), px
    k : int, 1..16
        Sites that a pixel blends.
    topk : str
        "exact"; or, in float32 on the CPU, "propagate": a pixel's sites from the paper's map, made
        anew at each call. It is for comparisons: the exact lists are faster.
    threads : int, optional
        Of the CPU; as many as torch uses by default. Has no influence on the result.

    Returns
    -------
    [H, W, C], of the sites' type and on their device
        Not clamped to 0..1.

    Raises
    ------
    OptionError
        If an argument is out of range, of another type, or on a device that is not supported.
    SiteError
        If the sites are not finite.
    BackendError
        If there is no CuPy for tensors on a CUDA device.
    """
    width, height = size
    _check_sites(sites)
    if not (1 <= width <= 1 << 23 and 1 <= height <= 1 << 23):
        raise OptionError(f"a picture cannot be {width} x {height} pixels")
    propagation = propagation_of(topk)
    if propagation is not None and (sites.dtype != torch.float32 or sites.device.type != "cpu"):
        raise OptionError("topk propagate takes float32 tensors on the CPU")
    channels = sites.shape[1] - GEOMETRY_COLUMNS
    passes: Any
    if sites.device.type == "cuda":
        from sadcodec.torch.cuda import TensorPasses

        passes = TensorPasses(sites.device.index, width, height, channels, k)
    elif sites.dtype == torch.float64:
        passes = _DoublePasses(width, height, k, _threads(threads))
    else:
        engine = CpuBackend(_threads(threads))
        passes = _HostPasses(engine.differentiable(width, height, channels, k, propagation))
    return _Function.apply(passes, sites)


def sample(
    sites: torch.Tensor,
    points: torch.Tensor,
    k: int = DEFAULT_K,
    *,
    threads: int | None = None,
) -> torch.Tensor:
    """Return the colours at any points, differentiable with respect to parameters and points.

    Parameters
    ----------
    sites : float32 or float64 [N, 6 + C]
        As for `render`; on a CUDA device in float64 too.
    points : [M, 2], px, of the sites' type
        x and y; pixel (row j, column i) has its centre at (i + 0.5, j + 0.5).
    k, threads
        As for `render`.

    Returns
    -------
    [M, C], of the sites' type
        Computed in float64; not clamped.

    Raises
    ------
    OptionError
        If an argument is out of range, of another type, or on a device that is not supported.
    SiteError
        If the sites are not finite, on the CPU: nothing waits for a CUDA device to tell.
    BackendError
        If there is no CuPy for tensors on a CUDA device.
    """
    _check_sites(sites, double_on_cuda=True)
    if not isinstance(points, torch.Tensor) or points.ndim != 2 or points.shape[1] != 2:
        raise OptionError("points are a tensor [M, 2]")
    if (points.dtype, points.device) != (sites.dtype, sites.device):
        raise OptionError(f"points are {_kind(points)}, sites {_kind(sites)}: give both alike")
    passes: Any
    if sites.device.type == "cuda":
        from sadcodec.torch.cuda import PointTensorPasses

        passes = PointTensorPasses(sites.device.index, sites.shape[1] - GEOMETRY_COLUMNS, k)
    else:
        passes = _PointPasses(k, _threads(threads))
    return _Function.apply(passes, sites, points)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def _threads(threads: int | None) -> int:
    return torch.get_num_threads() if threads is None else threads


def _check_sites(sites: torch.Tensor, *, double_on_cuda: bool = False) -> None:
    most = GEOMETRY_COLUMNS + MAX_CHANNELS
    if not isinstance(sites, torch.Tensor):
        raise OptionError(f"sites are a tensor, not {type(sites).__name__}")
    if sites.ndim != 2 or not GEOMETRY_COLUMNS < sites.shape[1] <= most or len(sites) == 0:
        raise OptionError(f"sites are [N, 7..{most}], not {list(sites.shape)}")
    if sites.device.type not in ("cpu", "cuda"):
        raise OptionError(f"sites are on the CPU or a CUDA device, not on {sites.device}")
    double = sites.device.type == "cpu" or double_on_cuda
    wanted = (torch.float32, torch.float64) if double else (torch.float32,)
    if sites.dtype not in wanted:
        names = " or ".join(str(t).removeprefix("torch.") for t in wanted)
        raise OptionError(f"sites are {names} on {sites.device.type}, not {_kind(sites)}")


class _HostPasses:
    """Forward and backward passes of the CPU in float32, on the memory of tensors."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def forward(self, sites: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._session.forward(sites.detach().numpy()))

    def backward(self, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.from_numpy(self._session.backward(cotangent.numpy())),)


class _PointPasses:
    """The passes of points, in float64 and rounded to the type of the tensors."""

    def __init__(self, k: int, threads: int) -> None:
        self._k, self._threads = k, threads

    def forward(self, sites: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        self._type = sites.dtype
        self._session = PointSession(
            *(sites.detach().numpy(), points.detach().numpy(), self._k, self._threads)
        )
        return torch.from_numpy(self._session.forward()).to(self._type)

    def backward(self, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
        slopes = self._session.backward(cotangent.numpy())
        return tuple(torch.from_numpy(array).to(self._type) for array in slopes)


class _DoublePasses:
    """The passes of a picture in float64: those of its pixels' centres."""

    def __init__(self, width: int, height: int, k: int, threads: int) -> None:
        self._size, self._k, self._threads = (width, height), k, threads

    def forward(self, sites: torch.Tensor) -> torch.Tensor:
        width, height = self._size
        rows = sites.detach().numpy()
        self._session = PointSession(rows, pixel_centers(width, height), self._k, self._threads)
        return torch.from_numpy(self._session.forward().reshape(height, width, -1))

    def backward(self, cotangent: torch.Tensor) -> tuple[torch.Tensor, ...]:
        colors = np.ascontiguousarray(cotangent.numpy()).reshape(-1, cotangent.shape[2])
        return (torch.from_numpy(self._session.backward(colors)[0]),)


class _Function(torch.autograd.Function):  # type: ignore[misc]
    """Passes of any kind, as a node of autograd's graph.

    What a backward pass needs is in the passes, which live as long as the graph: it can go back
    twice (retain_graph), but its derivatives have none.
    """

    @staticmethod
    def forward(ctx: Any, passes: Any, *tensors: torch.Tensor) -> torch.Tensor:
        ctx.passes = passes
        return passes.forward(*(tensor.detach().contiguous() for tensor in tensors))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[Any, ...]:
        return (None, *ctx.passes.backward(cotangent.contiguous()))
