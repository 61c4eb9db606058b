"""Opacity and colours are fractions, their parameters logits: from one to the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["logit", "sigmoid"]


def sigmoid(x: ArrayLike) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-x)), float64 of the shape of x."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64))))


def logit(share: ArrayLike, least: float = 0.0) -> NDArray[Any]:
    """Return ln(p / (1 - p)) of fractions, in their type, kept within least..1 - least first."""
    inside = np.clip(share, least, 1 - least)
    return np.asarray(np.log(inside / (1 - inside)))
