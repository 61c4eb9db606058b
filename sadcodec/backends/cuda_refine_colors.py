"""Colours of a descent on the device: least squares by conjugate gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sadcodec.backends.cuda_refine_kernels import (
    CHANNELS,
    COLORS_BEGIN,
    COLORS_BLEND,
    COLORS_GATHER,
    COLORS_SHARES,
    COLORS_STEP,
)
from sadcodec.backends.launch import Launcher

__all__ = ["least_squares"]


def least_squares(
    launcher: Launcher, pixels: Mapping[str, Any], colors: Any, shares: Any, iterations: int
) -> None:
    """Bring colours near the optimum for the lists as they are; nothing waits.

    Parameters
    ----------
    launcher : Launcher
    pixels : mapping
        The arguments that the kernels have in common: order, starts, list_ids, list_logits, target,
        weights, count, k, weighted.
    colors : float32 [N, 4], on the device
        Replaced.
    shares : float32 [12 P], on the device
        Memory for the blend weights.
    iterations : int >= 1
        Three launches each.
    """
    cp, count = launcher.cp, len(colors)
    size = len(pixels["target"])
    vectors = {
        "sums": cp.empty((count, CHANNELS), np.float32),
        "diagonal": cp.empty(count, np.float32),
        "rest": cp.empty((count, CHANNELS), np.float64),
        "direction": cp.empty((count, CHANNELS), np.float32),
        "state": cp.empty(1, np.float64),
        "count": count,
    }
    residual = cp.empty((size, CHANNELS), np.float32)

    def of(*names: str) -> dict[str, Any]:
        return {name: pixels[name] for name in names}

    lists = of("list_ids", "list_logits", "weights", "count", "k", "weighted")
    by_site = {**of("order", "starts"), "shares": shares}
    arguments = {**lists, **by_site, "diagonal": vectors["diagonal"]}
    launcher.launch(COLORS_SHARES, count, arguments)
    blend = {**lists, "target": pixels["target"], "residual": residual, "pixels": size}
    blocks = COLORS_BLEND.blocks(size)
    gather = {**by_site, "residual": residual, "sums": vectors["sums"]}
    first = {**blend, "colors": colors, "less_target": 1}
    launcher.launch(COLORS_BLEND, blocks, first)
    launcher.launch(COLORS_GATHER, count, gather)
    launcher.launch(COLORS_BEGIN, 1, vectors)
    passes = (
        launcher.bind(
            COLORS_BLEND, blocks, {**blend, "colors": vectors["direction"], "less_target": 0}
        ),
        launcher.bind(COLORS_GATHER, count, gather),
        launcher.bind(COLORS_STEP, 1, {**vectors, "colors": colors}),
    )
    for _ in range(iterations):
        for start in passes:
            start()
