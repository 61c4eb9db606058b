"""The launches that compute a gradient on a CUDA device, bound to their arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sadcodec.backends.cuda_fit_kernels import (
    GRADIENT_SITES,
    GRADIENT_TILES,
    GRADIENT_TILES_SAMPLED,
)
from sadcodec.backends.launch import Launcher

__all__ = ["GradientPasses", "bind_gradient"]

_TILES_PER_BLOCK = 4  # of gradient_tiles_sampled
_SITES_PER_BLOCK = 16  # of gradient_sites


@dataclass(frozen=True)
class GradientPasses:
    """A gradient's two launches.

    Attributes
    ----------
    all_pixels, sampled : callable
        Sums of each tile over all pixels, (slot, scale), or over those of a phase, (slot, phase,
        scale).
    sites : callable
        Gradients out of these sums, (next).
    """

    all_pixels: Callable[..., None]
    sampled: Callable[..., None]
    sites: Callable[..., None]


def bind_gradient(
    launcher: Launcher, tiles: Mapping[str, Any], sites: Mapping[str, Any]
) -> GradientPasses:
    """Bind the launches to what stays the same from one gradient to the next.

    Parameters
    ----------
    launcher : Launcher
    tiles, sites : mapping
        Arguments of the kernels, but those that `GradientPasses` names.
    """
    blocks = tiles["tiles"]
    sampled = -(-blocks // _TILES_PER_BLOCK)
    site_blocks = -(-sites["count"] // _SITES_PER_BLOCK)
    return GradientPasses(
        launcher.bind(GRADIENT_TILES, blocks, tiles, "slot", "scale"),
        launcher.bind(GRADIENT_TILES_SAMPLED, sampled, tiles, "slot", "phase", "scale"),
        launcher.bind(GRADIENT_SITES, site_blocks, sites, "next"),
    )
