"""Templates and compositions for tests."""

import numpy as np

from sadcodec.compose.composition import COLUMNS, TEMPLATE_SIDE, Composition, R


def drawn_templates() -> np.ndarray:
    """A soft disc, a hard-edged bar that touches two sides, and a coloured ramp, uint8 RGBA."""
    axis = (np.arange(TEMPLATE_SIDE) + 0.5) / TEMPLATE_SIDE * 2 - 1
    v, u = np.meshgrid(axis, axis, indexing="ij")
    out = np.zeros((3, TEMPLATE_SIDE, TEMPLATE_SIDE, 4), np.uint8)
    out[0, ..., :3] = (np.hypot(u, v) * 150)[..., None]
    out[0, ..., 3] = 255 * np.clip((0.9 - np.hypot(u, v)) / 0.3, 0, 1)
    out[1, ..., :3] = (200, 30, 90)
    out[1, ..., 3] = np.where(np.abs(v) < 0.4, 255, 0)
    out[2, ..., 0] = 127 * (u + 1)
    out[2, ..., 1] = 127 * (v + 1)
    out[2, ..., 3] = np.where(np.abs(u) + np.abs(v) < 1.2, 80 + 80 * (u + 1), 0)
    return out


def random_composition(
    count: int = 12,
    width: int = 45,
    height: int = 38,
    seed: int = 0,
    *,
    background: bool = True,
    blend: float = 0.0,
    largest: float = 20.0,
) -> Composition:
    """Primitives all over the picture and past its borders, from 1 px up to `largest`."""
    random = np.random.default_rng(seed)
    params = random.normal(0, 1.5, (count, COLUMNS))
    params[:, :2] = random.uniform(-5, 5 + np.array([width, height]), (count, 2))
    params[:, R] = np.geomspace(largest, 1.0, count)
    return Composition(
        params.astype(np.float32),
        width,
        height,
        drawn_templates(),
        background=np.array([0.2, 0.5, 0.9], np.float32) if background else None,
        blend=blend,
        opacity=0.9,
    )
