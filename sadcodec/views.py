"""Pictures of a diagram and of what it misses: cells, inverse temperature, error.

Every view is uint8 [H, W, 3], ready for an image file. A backend draws diagrams and nothing else;
so the views of one are drawings of its sites with other numbers in the place of their colours. All
have one sample a pixel, of a raster as `Backend.render` takes it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import DEFAULT_K, MAX_WORK, Backend
from sadcodec.backends.place import PLAIN, Place, Window
from sadcodec.errors import InputError, OptionError
from sadcodec.sites import COLOR, Sites

__all__ = [
    "DEFAULT_GAIN",
    "FILLS",
    "cells",
    "color_map",
    "error",
    "fill_colors",
    "rgb",
    "tau",
    "top_sites",
]

Picture = NDArray[np.uint8]

FILLS = ("color", "hash")
DEFAULT_GAIN = 4.0

_INDEX_BITS = 12  # of one channel of a drawing of indices: float32 holds such numbers exactly
_BORDER_SHARE = 0.45  # of black on a light cell, of white on a dark one
_QUANTILES = (0.01, 0.99)  # of the pixels: the range of inverse temperature that is told apart
_NARROWEST = 2.0  # times; a range is widened to it


def top_sites(
    backend: Backend,
    sites: Sites,
    width: int,
    height: int,
    window: Window | None = None,
    place: Place = PLAIN,
    max_work: int = MAX_WORK,
) -> NDArray[np.int32]:
    """Return the site of largest logit at every pixel, the one that weighs most there.

    Parameters
    ----------
    backend : Backend
    sites : Sites
    width, height : int >= 1, px
    window, place, max_work
        As for `Backend.render`.

    Returns
    -------
    int32 [H, W]
        Rows of `sites.params`; ties go to the lower one.
    """
    index = np.arange(len(sites))
    halves = np.stack([index & ((1 << _INDEX_BITS) - 1), index >> _INDEX_BITS], axis=1)
    # With K = 1 a pixel has the colour of its first site.
    options: dict[str, Any] = {"max_work": max_work, "window": window, "place": place}
    drawn = backend.render(_recolored(sites, halves), width, height, 1, **options)
    low, high = np.moveaxis(np.rint(drawn).astype(np.int32), 2, 0)
    return low | high << _INDEX_BITS


def fill_colors(sites: Sites, fill: str = "color") -> Picture:
    """Return a colour for the cell of each site.

    Parameters
    ----------
    sites : Sites
    fill : str
        "color": the site's own colour, alpha over white. "hash": one that follows from the site's
        index alone, so that neighbours differ.

    Returns
    -------
    uint8 [N, 3]

    Raises
    ------
    OptionError
        If fill is none of `FILLS`.
    """
    if fill not in FILLS:
        raise OptionError(f"fill must be one of {', '.join(FILLS)}, not {fill!r}")
    if fill == "color":
        values = np.floor(np.clip(sites.color, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5))
        return rgb(values.astype(np.uint8)[None])[0]
    # Knuth's multiplicative hash; its upper bytes, kept away from black and white.
    scattered = (np.arange(1, len(sites) + 1, dtype=np.uint64) * 2654435761) % (1 << 32)
    shifts = np.array([24, 16, 8], np.uint64)
    channels = (scattered[:, None] >> shifts) & 255
    return (40 + channels * 190 // 255).astype(np.uint8)


def cells(
    backend: Backend,
    sites: Sites,
    width: int,
    height: int,
    *,
    fill: str = "color",
    borders: bool = True,
    window: Window | None = None,
    place: Place = PLAIN,
    max_work: int = MAX_WORK,
) -> Picture:
    """Draw the partition: each pixel has the colour of the site that weighs most there.

    Parameters
    ----------
    backend : Backend
    sites : Sites
    width, height : int >= 1, px
    fill : str
        As for `fill_colors`.
    borders : bool
        Darken (in dark cells, lighten) the pixels whose neighbour to the right or below belongs to
        another cell.
    window, place, max_work
        As for `Backend.render`.

    Returns
    -------
    uint8 [H, W, 3]

    Raises
    ------
    OptionError
        If fill is none of `FILLS`, or width or height is out of range.
    """
    colors = fill_colors(sites, fill)
    owner = top_sites(backend, sites, width, height, window, place, max_work)
    picture = colors[owner]
    if not borders:
        return picture
    edge = np.zeros(owner.shape, bool)
    edge[:, :-1] |= owner[:, :-1] != owner[:, 1:]
    edge[:-1] |= owner[:-1] != owner[1:]
    light = colors[owner[edge]].astype(np.float64)
    end = np.where(light.mean(axis=1, keepdims=True) < 96, 255.0, 0.0)
    picture[edge] = np.rint(light + _BORDER_SHARE * (end - light)).astype(np.uint8)
    return picture


def tau(
    backend: Backend,
    sites: Sites,
    width: int,
    height: int,
    k: int = DEFAULT_K,
    *,
    limits: tuple[float, float] | None = None,
    window: Window | None = None,
    place: Place = PLAIN,
    max_work: int = MAX_WORK,
) -> tuple[Picture, tuple[float, float]]:
    """Draw the inverse temperature: dark where the diagram is soft, bright where it is hard.

    A pixel shows the mean of log tau over its K sites, each with the weight that its colour has in
    the picture.

    Parameters
    ----------
    backend : Backend
    sites : Sites
    width, height : int >= 1, px
    k : int
        K of the picture.
    limits : (low, high), 1/px, 0 < low < high, optional
        What becomes black and white, logarithmic between them. By default those that a hundredth
        of the pixels is under and over, at least a factor of two apart.
    window, place, max_work
        As for `Backend.render`.

    Returns
    -------
    picture : uint8 [H, W, 3]
        In the colours of `color_map`.
    limits : (low, high), 1/px
        As given, or as found.

    Raises
    ------
    OptionError
        If limits, width, height or k is out of range.
    """
    if limits is not None and not 0.0 < limits[0] < limits[1] < math.inf:
        raise OptionError(f"a range of inverse temperature has 0 < low < high, not {limits}")
    log_tau = _recolored(sites, sites.log_tau[:, None])
    options: dict[str, Any] = {"max_work": max_work, "window": window, "place": place}
    drawn = backend.render(log_tau, width, height, k, **options)
    values = drawn[:, :, 0].astype(np.float64)
    if limits is None:
        low, high = (float(end) for end in np.quantile(values, _QUANTILES))
        lacking = max(0.0, math.log(_NARROWEST) - (high - low))
        low, high = low - lacking / 2, high + lacking / 2
        limits = math.exp(low), math.exp(high)
    else:
        low, high = map(math.log, limits)
    return color_map((values - low) / (high - low)), limits


def error(original: NDArray[Any], decoded: NDArray[Any], *, gain: float = DEFAULT_GAIN) -> Picture:
    """Draw the difference of two images, decoded less original: gray where they are equal.

    Parameters
    ----------
    original, decoded : uint8 or uint16 [H, W] or [H, W, C], of one type, C = 1..4
        Alpha is shown over white: see `rgb`.
    gain : float, > 0
        How many steps of the picture one code value of 8 bits makes; 128 is no difference.

    Returns
    -------
    uint8 [H, W, 3]

    Raises
    ------
    InputError
        If shapes or types differ.
    OptionError
        If gain is out of range.
    """
    if not 0.0 < gain < math.inf:
        raise OptionError(f"gain must be positive, not {gain}")
    original, decoded = (_with_channels(image) for image in (original, decoded))
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        raise InputError(f"images of {original.shape} and {decoded.shape} have no difference")
    difference = _display(decoded) - _display(original)
    return np.clip(np.rint(128.0 + gain * difference), 0, 255).astype(np.uint8)


def color_map(values: NDArray[np.floating]) -> Picture:
    """Map 0..1 to 256 colours from black to white whose brightness rises with the value.

    Green 2011, "A colour scheme for the display of astronomical intensity images": a helix around
    the gray diagonal of the RGB cube, here from blue (start 0.5), -0.8 of a turn, hue 1.

    Parameters
    ----------
    values : float [...]
        Clipped to 0..1.

    Returns
    -------
    uint8 [..., 3]
    """
    return _helix()[np.rint(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)]


@functools.cache
def _helix() -> Picture:
    share = np.linspace(0.0, 1.0, 256)
    angle = 2.0 * np.pi * (0.5 / 3.0 + 1.0 - 0.8 * share)
    reach = share * (1.0 - share) / 2.0
    cos, sin = reach * np.cos(angle), reach * np.sin(angle)
    channels = [
        share - 0.14861 * cos + 1.78277 * sin,
        share - 0.29227 * cos - 0.90649 * sin,
        share + 1.97294 * cos,
    ]
    return np.rint(255.0 * np.clip(np.stack(channels, axis=-1), 0.0, 1.0)).astype(np.uint8)


def rgb(image: NDArray[Any]) -> Picture:
    """Return any image of the codec as 8-bit RGB.

    Parameters
    ----------
    image : uint8 or uint16 [H, W] or [H, W, C], C = 1..4
        Gray is repeated, alpha (the last of 2 or 4 channels) put over white, 16 bits rounded to 8.

    Returns
    -------
    uint8 [H, W, 3]
        A new array.
    """
    return np.rint(_display(_with_channels(image))).astype(np.uint8)


def _with_channels(image: NDArray[Any]) -> NDArray[Any]:
    return image[:, :, None] if image.ndim == 2 else image


def _display(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return float64 [H, W, 3], 0..255, of an image [H, W, C]."""
    values = image * (255.0 / np.iinfo(image.dtype).max)
    color = values[:, :, :1] if values.shape[2] < 3 else values[:, :, :3]
    if values.shape[2] in (2, 4):
        cover = values[:, :, -1:] / 255.0
        color = color * cover + 255.0 * (1.0 - cover)
    return np.broadcast_to(color, (*color.shape[:2], 3))


def _recolored(sites: Sites, colors: NDArray[Any]) -> Sites:
    """Return the same diagram with other numbers, [N, C], as colours."""
    params = np.concatenate([sites.params[:, :COLOR], colors.astype(np.float32)], axis=1)
    return Sites(np.ascontiguousarray(params))
