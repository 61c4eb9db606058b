"""The diagram: one float32 array of sites, its named columns and their checks.

The model is the soft anisotropic diagram of Iinbor, Dou and Matusik, *Soft Anisotropic
Diagrams for Differentiable Image Representation* (arXiv 2604.21984), with anisotropy held as
the double-angle vector (p, q) = a (cos 2t, sin 2t), which has no singular point at a = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec.errors import SiteError

__all__ = [
    "COLOR",
    "COLOR_RANGE",
    "GEOMETRY_COLUMNS",
    "LOG_TAU",
    "LOG_TAU_RANGE",
    "MAX_CHANNELS",
    "MAX_LOG_ANISOTROPY",
    "RADIUS",
    "RADIUS_RANGE",
    "P",
    "Q",
    "Sites",
    "X",
    "Y",
]

# Columns of `Sites.params`; the colour channels start at COLOR.
X, Y, LOG_TAU, RADIUS, P, Q, COLOR = range(7)
GEOMETRY_COLUMNS = COLOR
MAX_CHANNELS = 4

# Bounds that fitting keeps (kernels/sad_core.h has the same); a diagram may lie outside them.
LOG_TAU_RANGE = (-8.0, 8.0)  # ln(1/px)
RADIUS_RANGE = (0.0, 512.0)  # px
MAX_LOG_ANISOTROPY = 4.0  # |(p, q)|
COLOR_RANGE = (-1.0, 2.0)


@dataclass(frozen=True, eq=False)
class Sites:
    """N sites in one array, not copied: views of it are what the properties return.

    Parameters
    ----------
    params : float32 [N, 6 + C], C-contiguous, finite, N >= 1, C = 1..4
        One row a site: x (px), y (px), log_tau (ln(1/px)), radius (px), p, q (dimensionless),
        then C display-referred colour channels (0..1 is black to white; values outside are
        allowed). Pixel (row j, column i) is sampled at x = i + 0.5, y = j + 0.5.

    Raises
    ------
    SiteError
        If dtype, shape, memory order or finiteness are not as stated.

    Examples
    --------
    >>> sites = Sites.from_fields([[1.5, 2.0]], [0.0], [4.0], [[0.0, 1.0]], [[0.5]])
    >>> len(sites), sites.channels
    (1, 1)
    >>> sites.log_anisotropy.tolist()
    [1.0]
    """

    params: NDArray[np.float32]

    def __post_init__(self) -> None:
        params = self.params
        if not isinstance(params, np.ndarray) or params.dtype != np.float32:
            kind = getattr(params, "dtype", type(params).__name__)
            raise SiteError(f"site parameters must be a float32 array, not {kind}")
        columns_low, columns_high = GEOMETRY_COLUMNS + 1, GEOMETRY_COLUMNS + MAX_CHANNELS
        if params.ndim != 2 or not columns_low <= params.shape[1] <= columns_high:
            raise SiteError(
                f"site parameters must have shape [N, {columns_low}..{columns_high}],"
                f" not {list(params.shape)}"
            )
        if len(params) == 0:
            raise SiteError("a diagram needs at least one site")
        if not params.flags.c_contiguous:
            raise SiteError("site parameters must be C-contiguous")
        if not np.isfinite(params).all():
            bad = int(np.flatnonzero(~np.isfinite(params).all(axis=1))[0])
            raise SiteError(f"site {bad} has a parameter that is not finite")

    @classmethod
    def from_fields(
        cls,
        position: ArrayLike,
        log_tau: ArrayLike,
        radius: ArrayLike,
        anisotropy: ArrayLike,
        color: ArrayLike,
    ) -> Sites:
        """Build the array from its columns; each is converted to float32.

        Parameters
        ----------
        position : [N, 2], px
        log_tau : [N], ln(1/px)
        radius : [N], px
        anisotropy : [N, 2], (p, q)
        color : [N, C], display-referred, C = 1..4

        Returns
        -------
        Sites
            A new array; the arguments are not referred to.

        Raises
        ------
        SiteError
            If the shapes do not fit together, or for the reasons of `Sites`.
        """
        fields: list[tuple[str, NDArray[Any], tuple[int | None, ...]]] = [
            ("position", np.asarray(position, np.float32), (None, 2)),
            ("log_tau", np.asarray(log_tau, np.float32), (None,)),
            ("radius", np.asarray(radius, np.float32), (None,)),
            ("anisotropy", np.asarray(anisotropy, np.float32), (None, 2)),
            ("color", np.asarray(color, np.float32), (None, None)),
        ]
        count = fields[0][1].shape[0] if fields[0][1].ndim else 0
        for name, value, (_, *rest) in fields:
            fits = value.ndim == 1 + len(rest) and value.shape[0] == count
            if not fits or any(w is not None and w != s for w, s in zip(rest, value.shape[1:])):
                raise SiteError(f"{name} of shape {list(value.shape)} does not fit {count} sites")
        columns = [value.reshape(count, -1) for _, value, _ in fields]
        return cls(np.ascontiguousarray(np.concatenate(columns, axis=1)))

    def __len__(self) -> int:
        """Return the number of sites N."""
        return len(self.params)

    @property
    def channels(self) -> int:
        """Number of colour channels C, 1..4."""
        return int(self.params.shape[1]) - GEOMETRY_COLUMNS

    @property
    def position(self) -> NDArray[np.float32]:
        """float32 [N, 2] view: x and y in px."""
        return self.params[:, X : Y + 1]

    @property
    def log_tau(self) -> NDArray[np.float32]:
        """float32 [N] view: natural logarithm of the inverse temperature in 1/px."""
        return self.params[:, LOG_TAU]

    @property
    def radius(self) -> NDArray[np.float32]:
        """float32 [N] view: additive (Apollonius) weight in px."""
        return self.params[:, RADIUS]

    @property
    def anisotropy(self) -> NDArray[np.float32]:
        """float32 [N, 2] view: (p, q) = a (cos 2t, sin 2t)."""
        return self.params[:, P : Q + 1]

    @property
    def color(self) -> NDArray[np.float32]:
        """float32 [N, C] view: display-referred colour, unclamped."""
        return self.params[:, COLOR:]

    @property
    def tau(self) -> NDArray[np.float64]:
        """float64 [N]: inverse temperature exp(log_tau) in 1/px."""
        return np.exp(self.log_tau.astype(np.float64))

    @property
    def log_anisotropy(self) -> NDArray[np.float64]:
        """float64 [N]: a = |(p, q)| >= 0; distances are stretched by e^(a/2) along `direction`."""
        p, q = self.anisotropy.T.astype(np.float64)
        length: NDArray[np.float64] = np.hypot(p, q)
        return length

    @property
    def direction(self) -> NDArray[np.float64]:
        """float64 [N, 2]: unit vector (cos t, sin t), 0 <= t <= pi; (1, 0) where a = 0."""
        p, q = self.anisotropy.T.astype(np.float64)
        angle = np.arctan2(q, p) / 2
        angle += np.where(angle < 0, np.pi, 0.0)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
