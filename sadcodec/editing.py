"""Sites changed by hand: moved, recoloured, removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec.errors import OptionError
from sadcodec.sites import COLOR, LOG_TAU, RADIUS, P, Q, Sites, X, Y

__all__ = ["Index", "edited", "without"]

Index = int | slice | Sequence[int] | NDArray[Any]

_COLUMNS: dict[str, int | slice] = {
    "position": slice(X, Y + 1),
    "log_tau": LOG_TAU,
    "radius": RADIUS,
    "anisotropy": slice(P, Q + 1),
    "color": slice(COLOR, None),
}


def edited(sites: Sites, index: Index, changes: Mapping[str, ArrayLike | None]) -> Sites:
    """Return sites of which those of `index` have other values: see `sadcodec.Diagram.edited`."""
    params = sites.params.copy()
    rows = _chosen(sites, index)
    for name, value in changes.items():
        if value is None:
            continue
        columns = _COLUMNS["position" if name == "shift" else name]
        try:
            new = np.asarray(value, np.float32)
            params[rows, columns] = params[rows, columns] + new if name == "shift" else new
        except ValueError:
            raise OptionError(
                f"{name} of shape {list(np.shape(value))} does not fit {len(rows)} sites"
            ) from None
    return Sites(params)


def without(sites: Sites, index: Index) -> Sites:
    """Return the other sites: see `sadcodec.Diagram.without`."""
    left = np.delete(sites.params, _chosen(sites, index), axis=0)
    if len(left) == 0:
        raise OptionError("a diagram needs at least one site")
    return Sites(left)


def _chosen(sites: Sites, index: Index) -> NDArray[np.int64]:
    try:
        return np.atleast_1d(np.arange(len(sites))[index])
    except (IndexError, TypeError) as error:
        raise OptionError(f"{error} (of {len(sites)} sites)") from None
