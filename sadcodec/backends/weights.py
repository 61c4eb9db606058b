"""Weights of the pixels' squared errors: the check that every backend makes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec.errors import OptionError

__all__ = ["checked_weights"]

_MEAN_TOLERANCE = 1e-3


def checked_weights(weights: ArrayLike, height: int, width: int) -> NDArray[np.float32]:
    """Return the weights of an image's squared errors, contiguous float32 [H, W].

    Parameters
    ----------
    weights : float [H, W], >= 0 with mean 1 (to within 0.001)
        The mean keeps errors, learning rates and lambda in the units that they have without.
    height, width : int, px

    Raises
    ------
    OptionError
        If they are not of the image's size, of another type, not finite, negative or of another
        mean.
    """
    array = np.asarray(weights)
    if array.shape != (height, width):
        raise OptionError(
            f"weights of shape {list(array.shape)} do not fit {width} x {height} pixels"
        )
    if array.dtype.kind not in "iuf":
        raise OptionError(f"weights must be numbers, not {array.dtype}")
    with np.errstate(over="ignore"):  # what overflows is not finite
        out = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(out).all():
        raise OptionError("weights must be finite")
    if out.min() < 0:
        raise OptionError("weights must not be negative")
    mean = float(out.mean(dtype=np.float64))
    if abs(mean - 1.0) > _MEAN_TOLERANCE:
        raise OptionError(f"weights must have mean 1, not {mean:g}")
    return out
