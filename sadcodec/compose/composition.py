"""The composition: N bitmap primitives in one float32 array, their templates, and checks.

The model is that of DiffBMP (arXiv 2602.22625): every primitive is a template (a small picture with
alpha) that is moved, turned, scaled and coloured, and laid over those behind it. What the numbers
mean, pixel by pixel, is in `sadcodec.compose.reference`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import CompositionError

__all__ = [
    "ANGLE",
    "COLOR",
    "COLUMNS",
    "MAX_PRIMITIVES",
    "MAX_SIDE",
    "MAX_TEMPLATES",
    "OPACITY",
    "TEMPLATE_SIDE",
    "Composition",
    "R",
    "X",
    "Y",
]

# Columns of `Composition.params`; the three colour logits start at COLOR.
X, Y, R, ANGLE, OPACITY, COLOR = range(6)
COLUMNS = 8

TEMPLATE_SIDE = 128  # px
MAX_TEMPLATES = 256
MAX_PRIMITIVES = 1 << 20
MAX_SIDE = 1 << 24  # px, of the picture


@dataclass(frozen=True, eq=False)
class Composition:
    """A picture of N primitives; the arrays are not copied.

    Parameters
    ----------
    params : float32 [N, 8], C-contiguous, finite, N = 1..2^20
        One row a primitive, the first in front: x, y of its centre (px, pixel centres at
        i + 0.5), r (half the side of its square, px, > 0), angle (radians, clockwise on the
        screen), opacity logit v, three colour logits c.
    width, height : int, 1..2^24, px
    templates : uint8 [P, 128, 128, 4], C-contiguous, P = 1..256
        Straight (not premultiplied) RGBA; primitive i uses template i mod P. Colour where alpha is
        0 means nothing.
    background : float32 [3], 0..1, or None
        Display-referred RGB behind all primitives; None: transparent.
    blend : float, 0..1
        A primitive's colour is (1 - blend) sigmoid(c) + blend * the template's colour.
    opacity : float, 0 < opacity <= 1
        A primitive's alpha is opacity * sigmoid(v) * the template's alpha.

    Raises
    ------
    CompositionError
        If a type, shape, memory order or range is not as stated.
    """

    params: NDArray[np.float32]
    width: int
    height: int
    templates: NDArray[np.uint8]
    background: NDArray[np.float32] | None = None
    blend: float = 0.0
    opacity: float = 1.0

    def __post_init__(self) -> None:
        _check_array("primitive parameters", self.params, np.float32, (None, COLUMNS))
        side = TEMPLATE_SIDE
        _check_array("templates", self.templates, np.uint8, (None, side, side, 4))
        if not 1 <= len(self.params) <= MAX_PRIMITIVES:
            raise CompositionError(f"{len(self.params)} primitives; 1 to {MAX_PRIMITIVES} can be")
        if not 1 <= len(self.templates) <= MAX_TEMPLATES:
            raise CompositionError(f"{len(self.templates)} templates; 1 to {MAX_TEMPLATES} can be")
        finite = np.isfinite(self.params).all(axis=1)
        if not finite.all():
            raise CompositionError(
                f"primitive {int(np.flatnonzero(~finite)[0])} has a parameter that is not finite"
            )
        if not (self.params[:, R] > 0).all():
            raise CompositionError("a primitive's r must be greater than 0")
        for name, value in (("width", self.width), ("height", self.height)):
            if not 1 <= value <= MAX_SIDE:
                raise CompositionError(f"{name} {value} is not in 1..{MAX_SIDE} px")
        if self.background is not None:
            _check_array("background", self.background, np.float32, (3,))
            if not ((self.background >= 0) & (self.background <= 1)).all():
                raise CompositionError("the background's colour must be in 0..1")
        if not 0 <= self.blend <= 1:
            raise CompositionError(f"blend {self.blend} is not in 0..1")
        if not 0 < self.opacity <= 1:
            raise CompositionError(f"opacity {self.opacity} is not in (0, 1]")

    def __len__(self) -> int:
        """Return the number of primitives N."""
        return len(self.params)

    @property
    def channels(self) -> int:
        """Channels of its picture: 3 with a background, 4 without."""
        return 4 if self.background is None else 3

    def at_size(self, width: int, height: int) -> Composition:
        """Return the same picture at another size: positions and r scale.

        Parameters
        ----------
        width, height : int, px
            Positions scale with either side; r, since templates stay square, with the geometric
            mean of both.

        Returns
        -------
        Composition
            A new one, or this one at its own size.
        """
        if (width, height) == (self.width, self.height):
            return self
        across, down = width / self.width, height / self.height
        params = self.params.copy()
        params[:, X] *= np.float32(across)
        params[:, Y] *= np.float32(down)
        params[:, R] *= np.float32(np.sqrt(across * down))
        return replace(self, params=params, width=width, height=height)


def _check_array(
    name: str, array: object, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        kind = getattr(array, "dtype", type(array).__name__)
        raise CompositionError(f"{name} must be a {np.dtype(dtype)} array, not {kind}")
    if array.ndim != len(shape) or any(
        wanted not in (None, side) for wanted, side in zip(shape, array.shape, strict=True)
    ):
        wanted_shape = ", ".join("N" if side is None else str(side) for side in shape)
        raise CompositionError(f"{name} must have shape [{wanted_shape}], not {list(array.shape)}")
    if not array.flags.c_contiguous:
        raise CompositionError(f"{name} must be C-contiguous")
