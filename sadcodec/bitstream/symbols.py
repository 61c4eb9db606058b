"""Quantized sites as integer columns, and the quantizer that gives the integers a meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder
from sadcodec.errors import OptionError

__all__ = [
    "AUTOMATIC_GROUPS",
    "MAX_GROUPS",
    "QuantizerParameters",
    "Symbols",
    "angle_levels",
    "color_classes",
    "from_table",
    "groups_for",
    "joined",
    "to_table",
]

MAX_GROUPS = 256  # that a writer makes without layers; a file may have as many as chunks
MAX_GROUPED = 1000  # with layers, which leaves chunks for the rest
AUTOMATIC_GROUPS = 0
# Automatic groups cost 2 to 3 % of the bytes; a region is read from few of them. A file can have
# some 2 N / (their most sites) + 1.
_MOST_OF_GROUP, _SITES_FOR_GROUPS, _MOST_AUTOMATIC = 1536, 1 << 17, 4000

_STEPS = ("step_position", "step_log_tau", "step_log_anisotropy", "step_angle", "step_radius")
_GAINS = ("class_distance_gain", "class_tau_gain")
_COLUMNS = ("x", "y", "log_tau", "log_anisotropy", "angle", "radius")


def groups_for(groups: int | None, coder: str) -> int:
    """Return the groups of a quantizer: as asked for, or those of the coder by default.

    Raises
    ------
    OptionError
        If groups is not 1..MAX_GROUPS.
    """
    if groups is None:
        return AUTOMATIC_GROUPS if coder == "range" else 1
    if not 1 <= groups <= MAX_GROUPS or groups != int(groups):
        raise OptionError(f"groups must be 1..{MAX_GROUPS}, not {groups}")
    return int(groups)


@dataclass(frozen=True)
class QuantizerParameters:
    """Quantization steps and the gains of the colour step classes; all integers.

    Parameters
    ----------
    step_position, step_log_tau, step_log_anisotropy, step_angle : int, 1..65535
        Steps in units of 1/1024 (px, dimensionless, dimensionless, rad).
    step_radius : int, 0..65535
        In 1/1024 px; 0 means that there is no radius column.
    step_color : tuple of C ints, 1..65535, C = 1..4
        One base step per transformed colour axis, in units of 1/16384.
    class_distance_gain, class_tau_gain : int, 0..255
        In units of 1/128: how fast a site's colour step falls with the distance to its neighbours
        and grows with its sharpness.
    groups : int, -2^24..MAX_GROUPS
        Runs of the stored order that are coded alone (docs/FORMAT.md, section 11). Neighbours do
        not reach from one into another, so the groups are part of what decides a step class.
        -M: groups of at most M sites, as compact as the order allows; in the range profile their
        models start from a table of the file. AUTOMATIC_GROUPS: one group below 131,072 sites, and
        -1536 from there on (-N / 2000 from 3,072,000 sites on). Not a field of the header: the
        chunks say it.
    layers : tuple of int, -2^24..MAX_GROUPED, several or none
        Groups of each layer, if there are layers (`Symbols.layer` says which site is in which);
        AUTOMATIC_GROUPS as above, by the sites of the layer. By default each has `groups`.

    Raises
    ------
    OptionError
        If a value lies outside its range.
    """

    step_position: int
    step_log_tau: int
    step_log_anisotropy: int
    step_angle: int
    step_radius: int
    step_color: tuple[int, ...]
    class_distance_gain: int = 128
    class_tau_gain: int = 58
    groups: int = 1
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.step_color) <= 4:
            raise OptionError(f"step_color has {len(self.step_color)} values; it needs 1 to 4")
        for name in _STEPS:
            _check_range(name, getattr(self, name), 0 if name == "step_radius" else 1, 65535)
        for name in _GAINS:
            _check_range(name, getattr(self, name), 0, 255)
        for value in self.step_color:
            _check_range("step_color", value, 1, 65535)
        _check_range("groups", self.groups, -(1 << 24), MAX_GROUPS)
        if len(self.layers) == 1 or sum(max(n, 1) for n in self.layers) > MAX_GROUPED:
            raise OptionError(f"{len(self.layers)} layers with {sum(self.layers)} groups")
        for count in self.layers:
            _check_range("groups", count, -(1 << 24), MAX_GROUPED)

    @property
    def channels(self) -> int:
        """Number of colour axes."""
        return len(self.step_color)

    def as_tuple(self) -> tuple[int, ...]:
        """The order that the coder expects: five steps, two gains, the colour steps."""
        fields = [int(getattr(self, name)) for name in _STEPS + _GAINS]
        return (*fields, *(int(step) for step in self.step_color))

    def group_count(self, sites: int) -> int:
        """Groups that so many sites without layers are written in, at least one site in each.

        Negative: as many as there are with at most that many sites.
        """
        return _group_count(self.groups, sites)

    def partition(self, symbols: Symbols) -> tuple[list[int], NDArray[np.int32] | None]:
        """Groups of each layer that these sites are written in, and the layer of each site.

        Raises
        ------
        OptionError
            If the sites have other layers than this, or there is a layer without sites.
        """
        if symbols.layer is None:
            if self.layers:
                raise OptionError("the sites have no layers")
            return [self.group_count(len(symbols))], None
        sites = np.bincount(symbols.layer).tolist()
        wanted = self.layers or (self.groups,) * len(sites)
        if len(wanted) != len(sites) or len(sites) < 2:
            raise OptionError(f"{len(sites)} layers of sites, and groups for {len(wanted)}")
        if 0 in sites:
            raise OptionError("there is a layer without sites")
        layer = np.ascontiguousarray(symbols.layer)
        return [_group_count(n, count) for n, count in zip(wanted, sites)], layer

    @classmethod
    def from_tuple(cls, fields: tuple[int, ...]) -> QuantizerParameters:
        """Inverse of `as_tuple`."""
        position, log_tau, log_anisotropy, angle, radius, distance_gain, tau_gain, *color = fields
        return cls(
            position, log_tau, log_anisotropy, angle, radius, tuple(color), distance_gain, tau_gain
        )

    def grid_size(self, width: int, height: int) -> tuple[int, int]:
        """Cells of the position grid along x and y for an image of width x height px."""
        step = self.step_position
        return -(-width * 1024 // step), -(-height * 1024 // step)


@dataclass(frozen=True, eq=False)
class Symbols:
    """Integer columns of N sites.

    Parameters
    ----------
    x, y : int32 [N]
        Cell of the position grid; the site lies at its centre.
    log_tau : int32 [N]
        Multiples of the step; the value's magnitude is at most 10.
    log_anisotropy : int32 [N], >= 0
        Multiples of the step; the value is at most 6.
    angle : int32 [N]
        0 <= angle < n, n from `angle_levels` of the site's log_anisotropy.
    radius : int32 [N] or None
        Multiples of the step, at most 1024 px; None without a radius column.
    color : int32 [N, C]
        Multiples of the site's own step on the transformed axes (`color_classes`).
    classes : int8 [N] or None
        `color_classes` of these sites where they are known already; they follow from the
        other columns, so None says no less.
    layer : int32 [N] or None
        Layer of each site, 0 the first in the file; None without layers.

    Raises
    ------
    OptionError
        If a column has the wrong dtype, shape or memory order. Values are checked by the coder.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    log_tau: NDArray[np.int32]
    log_anisotropy: NDArray[np.int32]
    angle: NDArray[np.int32]
    radius: NDArray[np.int32] | None
    color: NDArray[np.int32]
    classes: NDArray[np.int8] | None = None
    layer: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        count = len(self.x)
        for name in (*_COLUMNS, "layer"):
            column = getattr(self, name)
            if name in ("radius", "layer") and column is None:
                continue
            if column.dtype != np.int32 or column.shape != (count,):
                raise OptionError(
                    f"column {name} is {column.dtype} {column.shape}, not int32 ({count},)"
                )
        if self.color.dtype != np.int32 or self.color.ndim != 2 or len(self.color) != count:
            raise OptionError(
                f"column color is {self.color.dtype} {self.color.shape}, not int32 ({count}, C)"
            )

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: NDArray[np.integer]) -> Symbols:
        """The sites of `index`, in that order; layers without any are no more."""
        radius = None if self.radius is None else self.radius[index]
        layer: NDArray[np.int32] | None = None
        if self.layer is not None:
            kept, number = np.unique(self.layer[index], return_inverse=True)
            layer = number.astype(np.int32) if len(kept) > 1 else None
        return Symbols(
            self.x[index],
            self.y[index],
            self.log_tau[index],
            self.log_anisotropy[index],
            self.angle[index],
            radius,
            self.color[index],
            layer=layer,
        )


def joined(parts: Sequence[Symbols]) -> Symbols:
    """The sites of several groups, in this order; all must know their classes."""
    if len(parts) == 1:
        return parts[0]

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    x, y, log_tau, log_anisotropy, angle = (column(name) for name in _COLUMNS[:5])
    return Symbols(
        x,
        y,
        log_tau,
        log_anisotropy,
        angle,
        radius=None if parts[0].radius is None else column("radius"),
        color=column("color"),
        classes=column("classes"),
        layer=None if parts[0].layer is None else column("layer"),
    )


def color_classes(
    symbols: Symbols,
    width: int,
    height: int,
    quantizer: QuantizerParameters,
    threads: int = 1,
) -> NDArray[np.int8]:
    """Colour step class of every site: its step is the base step times 2^(class / 2).

    Only positions, log_tau and layers of `symbols` are used; the number of threads changes nothing.

    Returns
    -------
    int8 [N], -8..8

    Raises
    ------
    OptionError
        If a position or a log_tau symbol is out of range, or as `QuantizerParameters.partition`.
    """
    try:
        return _coder.color_classes(
            np.ascontiguousarray(symbols.x),
            np.ascontiguousarray(symbols.y),
            np.ascontiguousarray(symbols.log_tau),
            width,
            height,
            quantizer.as_tuple(),
            threads,
            *quantizer.partition(symbols),
        )
    except ValueError as error:
        raise OptionError(str(error)) from None


def angle_levels(count: int, quantizer: QuantizerParameters) -> NDArray[np.int32]:
    """Number of directions for the log_anisotropy symbols 0..count-1.

    Returns
    -------
    int32 [count], 1..4096

    Raises
    ------
    OptionError
        If `count` exceeds the number of symbols up to a log anisotropy of 6.
    """
    try:
        return _coder.angle_levels(count, quantizer.step_log_anisotropy, quantizer.step_angle)
    except ValueError as error:
        raise OptionError(str(error)) from None


def to_table(symbols: Symbols) -> NDArray[np.int32]:
    """Return symbols as one int32 [N, 6 + C] table.

    Columns: x, y, log_tau, log_anisotropy, angle, radius (0 without that column), colours.
    """
    count, channels = symbols.color.shape
    table = np.zeros((count, 6 + channels), np.int32)
    table[:, 0], table[:, 1] = symbols.x, symbols.y
    table[:, 2], table[:, 3] = symbols.log_tau, symbols.log_anisotropy
    table[:, 4] = symbols.angle
    if symbols.radius is not None:
        table[:, 5] = symbols.radius
    table[:, 6:] = symbols.color
    return table


def from_table(table: NDArray[np.int32], *, radius: bool) -> Symbols:
    """Inverse of `to_table`; `radius` says whether there is a radius column."""
    x, y, log_tau, log_anisotropy, angle, reach = (
        np.ascontiguousarray(table[:, j]) for j in range(6)
    )
    color = np.ascontiguousarray(table[:, 6:])
    return Symbols(x, y, log_tau, log_anisotropy, angle, reach if radius else None, color)


def _group_count(wanted: int, sites: int) -> int:
    """Groups that so many sites are written in, at least one site in each."""
    if wanted == AUTOMATIC_GROUPS:
        if sites >= _SITES_FOR_GROUPS:
            return -max(_MOST_OF_GROUP, -(-2 * sites // _MOST_AUTOMATIC))
        wanted = 1
    return wanted if wanted < 0 else max(1, min(wanted, sites))


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} is {value}; it must lie in {low}..{high}")
