"""A diagram as a module: parameters for an optimizer, density control between its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K
from sadcodec.backends.cpu_fit import CpuFitSession
from sadcodec.diagram import Diagram
from sadcodec.errors import OptionError
from sadcodec.fit.density import prune, split
from sadcodec.fit.schedule import learning_rates
from sadcodec.sites import (
    COLOR,
    COLOR_RANGE,
    LOG_TAU,
    LOG_TAU_RANGE,
    MAX_LOG_ANISOTROPY,
    RADIUS,
    RADIUS_RANGE,
    P,
    Q,
    Sites,
    X,
    Y,
)
from sadcodec.torch.functions import render, sample

__all__ = ["SoftAnisotropicDiagram"]

_COLUMNS = {
    "position": slice(X, Y + 1),
    "log_tau": slice(LOG_TAU, LOG_TAU + 1),
    "radius": slice(RADIUS, RADIUS + 1),
    "anisotropy": slice(P, Q + 1),
    "color": slice(COLOR, None),
}


class _Followed(CpuFitSession):
    """A session that remembers where its sites come from: their first index, -1 for new ones."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.origin = np.arange(self.site_count)

    def keep(self, index: NDArray[np.integer]) -> None:
        super().keep(index)
        self.origin = self.origin[index]

    def append(self, params: NDArray[np.float32]) -> None:
        super().append(params)
        self.origin = np.concatenate([self.origin, np.full(len(params), -1)])


class SoftAnisotropicDiagram(torch.nn.Module):  # type: ignore[misc]
    """The picture of a diagram, whose parameters an optimizer changes.

    Parameters
    ----------
    sites : Sites, Diagram, or tensor [N, 6 + C]
        Where it starts; copied.
    size : (width, height), px, optional
        That of a Diagram by default.
    k, topk, threads
        As for `render`; k is that of a Diagram by default.

    Attributes
    ----------
    position : Parameter [N, 2], px
    log_tau : Parameter [N, 1], ln(1/px)
    radius : Parameter [N, 1], px
    anisotropy : Parameter [N, 2], (p, q)
    color : Parameter [N, C], display-referred

    Raises
    ------
    OptionError
        If there is no size.
    """

    def __init__(
        self,
        sites: Sites | Diagram | torch.Tensor,
        size: tuple[int, int] | None = None,
        k: int | None = None,
        topk: str = "exact",
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(sites, Diagram):
            size = size or (sites.width, sites.height)
            k = k or sites.k
            sites = sites.sites
        if size is None:
            raise OptionError("a diagram of sites alone needs a size")
        rows = torch.tensor(sites.params) if isinstance(sites, Sites) else sites.detach()
        self.size, self.k, self.topk = size, k or DEFAULT_K, topk
        self.threads = threads
        for name, columns in _COLUMNS.items():
            setattr(self, name, torch.nn.Parameter(rows[:, columns].clone()))

    def __len__(self) -> int:
        """Return the number of sites."""
        return len(self.position)

    @property
    def sites(self) -> torch.Tensor:
        """The parameters as one tensor [N, 6 + C], differentiable."""
        return torch.cat([getattr(self, name) for name in _COLUMNS], dim=1)

    def forward(self) -> torch.Tensor:
        """Return the picture [H, W, C]: see `render`."""
        return render(self.sites, self.size, self.k, self.topk, threads=self.threads)

    def sample(self, points: torch.Tensor) -> torch.Tensor:
        """Return the colours at points [M, 2]: see `sample`."""
        return sample(self.sites, points, self.k, threads=self.threads)

    def parameter_groups(self, scale: float = 1.0) -> list[dict[str, Any]]:
        """Return the parameters with the learning rates of a fit, for `torch.optim.Adam`.

        They hold where gradients have any scale, as Adam's steps do. A fit has betas of 0.9 and
        0.95 and lets the rates fall to 7 % over its second half (docs/FITTING.md).

        Parameters
        ----------
        scale : float, > 0
            On all rates.
        """
        width, height = self.size
        rates = learning_rates(width, height, len(self), self.color.shape[1], radius=True)
        return [
            {"params": [getattr(self, name)], "lr": scale * float(rates[columns][0]), "name": name}
            for name, columns in _COLUMNS.items()
        ]

    def clamp_(self) -> None:
        """Bring the parameters within the bounds that a fit keeps, in place."""
        width, height = self.size
        with torch.no_grad():
            self.position.clamp_(min=0.0)
            self.position.clamp_(max=self.position.new_tensor([width, height]))
            self.log_tau.clamp_(*LOG_TAU_RANGE)
            self.radius.clamp_(*RADIUS_RANGE)
            self.color.clamp_(*COLOR_RANGE)
            length = self.anisotropy.norm(dim=1, keepdim=True)
            self.anisotropy.mul_(MAX_LOG_ANISOTROPY / length.clamp(min=MAX_LOG_ANISOTROPY))

    def densify(
        self, count: int, target: torch.Tensor, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Split the `count` sites of largest error over mass^0.7, as `sadcodec.fit.density` does.

        Parameters
        ----------
        count : int
        target : [H, W, C]
            What errors are measured against. For a loss L that is no squared error: picture -
            (H W C / 2) dL/dpicture, of which the squared error has the same gradients.
        optimizer : torch.optim.Optimizer, optional
            Whose state goes with the sites; new sites start with zeros. The parameters stay the
            same objects, of other lengths: an optimizer that has taken steps must be given.
        """
        session = self._session(target)
        split(session, count)
        self._take(session, optimizer)

    def prune(
        self, count: int, target: torch.Tensor, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Drop the sites whose removal raises the squared error least, down to `count`.

        Parameters
        ----------
        count : int, >= 1
            Sites that are left.
        target, optimizer
            As of `densify`.
        """
        if count < 1:
            raise OptionError("a diagram needs at least one site")
        session = self._session(target)
        prune(session, count)
        self._take(session, optimizer)

    def _session(self, target: torch.Tensor) -> _Followed:
        width, height = self.size
        image = target.detach().to("cpu", torch.float32).numpy()
        params = self.sites.detach().to("cpu", torch.float32).numpy()
        if image.shape != (height, width, self.color.shape[1]):
            raise OptionError(f"a target of shape {list(image.shape)} is not the picture's")
        return _Followed(image, params, self.k, self.threads or torch.get_num_threads())

    def _take(self, session: _Followed, optimizer: torch.optim.Optimizer | None) -> None:
        """Take over the sites of a session, and an optimizer's state with them."""
        origin = torch.from_numpy(session.origin)
        rows = torch.from_numpy(session.params)
        before = len(self)
        for name, columns in _COLUMNS.items():
            parameter = getattr(self, name)
            place = origin.to(parameter.device)
            old = place >= 0
            value = rows[:, columns].to(parameter)
            value[old] = parameter.detach()[place[old]]  # float64 ones are not rounded
            parameter.data, parameter.grad = value, None
            state = {} if optimizer is None else optimizer.state.get(parameter, {})
            for key, moments in state.items():
                if isinstance(moments, torch.Tensor) and moments.shape[:1] == (before,):
                    moved = moments.new_zeros((len(value), *moments.shape[1:]))
                    moved[old] = moments[place[old]]
                    state[key] = moved

    def to_sites(self) -> Sites:
        """Return a copy of the sites, in float32."""
        return Sites(self.sites.detach().to("cpu", torch.float32).numpy().copy())

    def to_diagram(self, **options: Any) -> Diagram:
        """Return a copy as a Diagram, to draw, edit or save; `options` of `Diagram.from_sites`."""
        width, height = self.size
        return Diagram.from_sites(self.to_sites(), width, height, k=self.k, **options)
