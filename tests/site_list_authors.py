"""The authors' conventions once more, in plain NumPy: what their code draws from a site list.

Written from docs/SITE_LIST.md, without anything of the package.
"""

from __future__ import annotations

import numpy as np

K = 8


def read(text: str) -> tuple[np.ndarray, int, int]:
    """Rows float32 [N, 10] of the active sites, width, height; reads as leniently as they do."""
    rows, size = [], (0, 0)
    for line in text.splitlines():
        if line.startswith("#"):
            if "image size" in line.lower():
                width, height = line.split(":")[1].split()
                size = int(width), int(height)
            continue
        parts = line.split()
        if len(parts) == 10:
            rows.append([float(part) for part in parts])
    table = np.array(rows, np.float32)
    return table[table[:, 0] >= 0], *size


def draw(text: str) -> np.ndarray:
    """float64 [H, W, 3], clamped to 0..1."""
    table, width, height = read(text)
    x, y, *color, log_tau, radius, u, v, log_anisotropy = table.astype(np.float64).T
    scale = max(width, height)
    row, column = np.mgrid[:height, :width]  # pixel centres are whole numbers
    dx, dy = column[..., None] - x, row[..., None] - y
    along = (u * dx + v * dy) ** 2
    across = np.maximum(dx * dx + dy * dy - along, 0.0)
    squared = np.exp(log_anisotropy) * along + np.exp(-log_anisotropy) * across
    distance = np.sqrt(np.maximum(squared / scale**2, 1e-8)) - radius / scale
    logit = -np.exp(log_tau) * distance
    order = np.argsort(-logit, axis=2, kind="stable")[..., :K]
    best = np.take_along_axis(logit, order, axis=2)
    weight = np.exp(best - best[..., :1])
    weight /= weight.sum(axis=2, keepdims=True)
    blended = np.einsum("hwk,hwkc->hwc", weight, np.stack(color, axis=1)[order])
    return np.clip(blended, 0.0, 1.0)
