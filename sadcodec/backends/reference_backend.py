"""The float64 reference as a backend."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K, Start
from sadcodec.backends.differentiable import DifferentiableSession
from sadcodec.backends.initialize import placed
from sadcodec.backends.place import PLAIN, Place, Window
from sadcodec.backends.propagation import Propagation
from sadcodec.backends.reference import check_k, render
from sadcodec.backends.reference_fit import ReferenceFitSession
from sadcodec.backends.reference_refine import ReferenceRefiner
from sadcodec.errors import OptionError
from sadcodec.pixels import code_values
from sadcodec.sites import Sites

__all__ = ["ReferenceBackend"]


class ReferenceBackend:
    """`sadcodec.backends.base.Backend`, exact and slow."""

    name = "reference"
    threads = 1

    def render(
        self,
        sites: Sites,
        width: int,
        height: int,
        k: int = DEFAULT_K,
        *,
        exact: bool = True,
        max_work: int = 0,
        window: Window | None = None,
        place: Place = PLAIN,
        bit_depth: int | None = None,
    ) -> NDArray[Any]:
        """Evaluate a diagram: see `render`; always exact, without limits."""
        del exact, max_work
        drawn = render(sites, width, height, k, window, place)
        return drawn if bit_depth is None else code_values(drawn, bit_depth)

    def fit_session(
        self,
        target: NDArray[np.float32],
        start: NDArray[np.float32] | Start,
        k: int = DEFAULT_K,
        weights: NDArray[np.float32] | None = None,
        propagation: Propagation | None = None,
    ) -> ReferenceFitSession:
        """Start fitting: see `Backend.fit_session`; always by the exact top K."""
        if propagation is not None:
            raise OptionError("reference: it has no top-K map, only the exact top K")
        return ReferenceFitSession(target, placed(target, start), k, weights)

    def differentiable(
        self, width: int, height: int, channels: int, k: int = DEFAULT_K
    ) -> DifferentiableSession:
        """Start forward and backward passes: see `DifferentiableSession`."""
        check_k(k)
        shape = (height, width, channels)
        return DifferentiableSession(shape, lambda params: ReferenceFitSession(shape, params, k))

    def refiner(
        self,
        target: NDArray[np.float32],
        k: int = DEFAULT_K,
        weights: NDArray[np.float32] | None = None,
    ) -> ReferenceRefiner:
        """Start refining symbols: see `Backend.refiner`."""
        return ReferenceRefiner(target, k, weights)
