"""What of an image matters, as its owner says: a mask of what counts, regions of interest.

Both are factors on the squared error of each pixel. A mask is also how a picture is judged: PSNR is
measured with it. A region of interest only moves bits: PSNR is measured without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec.errors import InputError, OptionError

__all__ = ["DEFAULT_STRENGTH", "MAX_STRENGTH", "Importance", "Region", "importance_of"]

Floats = NDArray[np.float32]

DEFAULT_STRENGTH = 4.0
MAX_STRENGTH = 100.0

# The squared error of n sites an area falls as n^-0.76 (2.3 dB per doubling). Weighed by w and
# summed, it is least for sites spread as w^(1 / 1.76).
_DENSITY_POWER = 1 / 1.76


class Region(NamedTuple):
    """A rectangle in which errors count `strength` times.

    `x`, `y`: its first column and row, px from the left and the top; `width`, `height` >= 1, px;
    `strength`: 1..MAX_STRENGTH.
    """

    x: int
    y: int
    width: int
    height: int
    strength: float = DEFAULT_STRENGTH


@dataclass(frozen=True, eq=False)
class Importance:
    """How much each pixel counts.

    Attributes
    ----------
    weights : float32 [H, W], >= 0 with mean 1
        Of the squared errors that are optimized: mask times regions.
    mask : float32 [H, W], >= 0 with mean 1, or None
        Of the squared errors that are measured.
    density : float32 [H, W], >= 0
        Factor on the density of sites that goes with the weights.
    total : float, px
        Sum of the weights where white, outside of all regions, is 1.
    area : float, px
        Of a picture in which as many sites would lie as far apart. A mask of black and white: the
        number of white pixels.
    """

    weights: Floats
    mask: Floats | None
    density: Floats
    total: float
    area: float


def importance_of(
    mask: ArrayLike | None, roi: Sequence[Sequence[float]], height: int, width: int
) -> Importance | None:
    """Return how much each pixel of an image of `width` x `height` px counts; None: all alike.

    Parameters
    ----------
    mask : bool, integer or float [H, W] or [H, W, 1], >= 0, optional
        Only ratios count: the largest value is white.
    roi : sequence of (x, y, width, height) or (x, y, width, height, strength)
        See `Region`. Where several overlap, the strongest counts.

    Raises
    ------
    InputError
        If the mask is of another size or type, negative, not finite, or black everywhere.
    OptionError
        If a region is not inside the image, or a strength not in 1..MAX_STRENGTH.
    """
    if mask is None and len(roi) == 0:
        return None
    masked = None if mask is None else _checked_mask(mask, height, width)
    raised = np.ones((height, width))
    for each in roi:
        region = _checked_region(each, height, width)
        rows = slice(region.y, region.y + region.height)
        columns = slice(region.x, region.x + region.width)
        np.maximum(raised[rows, columns], region.strength, out=raised[rows, columns])
    weights = raised if masked is None else masked * raised
    density = weights**_DENSITY_POWER
    return Importance(
        weights=_of_mean_1(weights),
        mask=None if masked is None else _of_mean_1(masked),
        density=density.astype(np.float32),
        total=float(weights.sum()),
        area=float(density.sum() ** 2 / (density * density).sum()),
    )


def _of_mean_1(weights: NDArray[np.float64]) -> Floats:
    return (weights / weights.mean()).astype(np.float32)


def _checked_mask(mask: ArrayLike, height: int, width: int) -> NDArray[np.float64]:
    """Return the mask, float64 [H, W], its largest value 1."""
    array = np.asarray(mask)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise InputError(f"a mask is numbers [H, W], not {array.dtype} {list(array.shape)}")
    if array.shape != (height, width):
        raise InputError(
            f"the mask has {array.shape[1]} x {array.shape[0]} pixels, the image {width} x {height}"
        )
    values = array.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError("a mask must be finite and not negative")
    white = values.max()
    if white == 0:
        raise InputError("the mask is black everywhere: no pixel would count")
    return values / white


def _checked_region(region: Sequence[float], height: int, width: int) -> Region:
    if not isinstance(region, Sequence | np.ndarray):
        raise OptionError("roi is a sequence of regions, each X, Y, W, H and a strength")
    if not 4 <= len(region) <= 5:
        raise OptionError(f"a region is X, Y, W, H and a strength, not {len(region)} numbers")
    given = Region(*(int(side) for side in region[:4]), *(float(value) for value in region[4:]))
    x, y, w, h, strength = given
    if tuple(region[:4]) != given[:4] or min(x, y) < 0 or min(w, h) < 1:
        raise OptionError(f"a region is whole pixels from 0 on, not {tuple(region[:4])}")
    if x + w > width or y + h > height:
        raise OptionError(f"region {x},{y},{w},{h} is not inside of {width} x {height} pixels")
    if not 1.0 <= strength <= MAX_STRENGTH:
        raise OptionError(f"the strength of a region is 1..{MAX_STRENGTH:g}, not {strength:g}")
    return given
