"""What a fit gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FitResult"]


@dataclass
class FitResult:
    """Fitted parameters float32 [N, 6 + C] and their mean squared error over all pixels."""

    params: NDArray[np.float32]
    mse: float
