"""What the site chunks hold: symbols to payload bytes in either profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sadcodec import _coder
from sadcodec.errors import BitstreamError, OptionError

from . import zstd_profile
from .header import Header
from .models import models_of
from .symbols import Symbols

__all__ = [
    "CHUNK_TYPES",
    "GROUP_TYPES",
    "MAX_SITES_PER_BYTE",
    "MODELLED",
    "GroupFields",
    "Payload",
    "coder_arguments",
    "column_names",
    "decode_payload",
    "encode_payload",
]

_Ints: TypeAlias = NDArray[np.int32]
_Arguments: TypeAlias = tuple[
    int, int, tuple[int, ...], _Ints, _Ints, _Ints, _Ints, _Ints, _Ints | None, _Ints
]

CHUNK_TYPES = {"range": b"SITE", "zstd": b"SITZ"}
GROUP_TYPES = {"range": b"GRPE", "zstd": b"GRPZ"}  # of several groups
MODELLED = b"GRPM"  # of several groups of the range profile, whose models start from a table

# Bounds the memory and work that a short file can ask for. The range coder alone would not: three
# bins a site, none under 0.0007 bit, are 3787 sites a byte, if they are identical and in one cell.
# The smallest sites of pictures take about 20 bits, 0.4 sites a byte.
MAX_SITES_PER_BYTE = 64


class GroupFields(NamedTuple):
    """What the chunk of a group states beside its sites (docs/FORMAT.md, section 11)."""

    first: int  # index of its first site in stored order
    sites: int
    low: int  # upper 16 bits of the keys of the first and the last site
    high: int
    spacing: int  # of step class 0, in 1/2048 octaves

    @property
    def end(self) -> int:
        """Index of the site after its last one."""
        return self.first + self.sites


@dataclass(frozen=True)
class Payload:
    """An encoded set of sites.

    Parameters
    ----------
    groups : tuple of (GroupFields, bytes)
        Of each group: fields, and the coded sites. The fields of a single group are not stored.
    order : int32 [N]
        order[k] is the index in the input of the k-th stored site.
    bits : float64 [5 + C]
        Cost of every column (`column_names`), without the coefficients at the start. Range
        profile: code length; zstd profile: the frame's size shared out by residual bytes.
    layers : tuple of int
        Sites of each layer; none without layers.
    models : bytes
        Table of what the models of all groups start from; empty without one.
    """

    groups: tuple[tuple[GroupFields, bytes], ...]
    order: NDArray[np.int32]
    bits: NDArray[np.float64]
    layers: tuple[int, ...] = ()
    models: bytes = b""

    @property
    def data(self) -> bytes:
        """Coded sites of all groups."""
        return b"".join(data for _, data in self.groups)


def column_names(channels: int) -> tuple[str, ...]:
    """Names of the columns in the order of `Payload.bits`."""
    colors = {
        1: ("gray",),
        2: ("gray", "alpha"),
        3: ("y", "co", "cg"),
        4: ("y", "co", "cg", "alpha"),
    }
    return ("position", "log_tau", "log_anisotropy", "angle", "radius", *colors[channels])


def coder_arguments(header: Header, symbols: Symbols) -> _Arguments:
    """Return what `_coder.encode`, `residuals` and `analyze` take first, arrays contiguous."""
    return (
        header.width,
        header.height,
        header.quantizer.as_tuple(),
        np.ascontiguousarray(symbols.x),
        np.ascontiguousarray(symbols.y),
        np.ascontiguousarray(symbols.log_tau),
        np.ascontiguousarray(symbols.log_anisotropy),
        np.ascontiguousarray(symbols.angle),
        None if symbols.radius is None else np.ascontiguousarray(symbols.radius),
        np.ascontiguousarray(symbols.color),
    )


def encode_payload(header: Header, symbols: Symbols, threads: int = 1) -> Payload:
    """Code `symbols` with the coder that `header` names; the number of threads changes no byte.

    Raises
    ------
    OptionError
        If the symbols do not match the header, lie outside their ranges, or know other step
        classes than the groups give them.
    """
    if len(symbols) != header.site_count or symbols.color.shape[1] != header.channels:
        raise OptionError("symbols do not match the header")
    encode = _coder.encode if header.coder == "range" else _coder.residuals
    partition = header.quantizer.partition(symbols)
    try:
        parts, order, bits, classes, models = encode(
            *coder_arguments(header, symbols), threads, *partition
        )
    except ValueError as error:
        raise OptionError(str(error)) from None
    if symbols.classes is not None and not np.array_equal(symbols.classes[order], classes):
        raise OptionError("the colours are multiples of other steps than these groups have")
    groups = [(GroupFields(*fields), data) for data, *fields in parts]
    if header.coder == "zstd":
        before = sum(len(data) for _, data in groups)
        groups = [(fields, zstd_profile.compress(data)) for fields, data in groups]
        bits = bits * (sum(len(data) for _, data in groups) / max(before, 1))
    if any(fields.sites > MAX_SITES_PER_BYTE * len(data) for fields, data in groups):
        raise OptionError("more sites than a payload of this size may hold")
    layers = () if symbols.layer is None else tuple(np.bincount(symbols.layer).tolist())
    return Payload(tuple(groups), order, bits, layers, models)


def decode_payload(
    header: Header, data: bytes, threads: int = 1, group: GroupFields | None = None
) -> tuple[Symbols, NDArray[np.float64]]:
    """Symbols and column costs (as `Payload.bits`) of the coded sites of one group.

    Parameters
    ----------
    header : Header
        Its site count is not used if there is a `group`.
    data : bytes
    threads : int
        Changes nothing but the time.
    group : GroupFields, optional
        None if the group is the only one.

    Raises
    ------
    BitstreamError
        If no encoder writes such a payload for this header.
    """
    count = header.site_count if group is None else group.sites
    if count > MAX_SITES_PER_BYTE * len(data):
        raise BitstreamError("payload is too short for its number of sites")
    decode = _coder.decode
    share = 1.0
    if header.coder == "zstd":
        packed = len(data)
        data = zstd_profile.decompress(data, count, header.channels)
        decode, share = _coder.from_residuals, packed / max(len(data), 1)
    quantizer = header.quantizer.as_tuple()
    models = None if group is None else models_of(header)
    try:
        x, y, log_tau, log_anisotropy, angle, radius, color, bits, classes = decode(
            data,
            count,
            header.channels,
            header.width,
            header.height,
            quantizer,
            threads,
            None if group is None else (group.low, group.high, group.spacing),
            models,
        )
    except ValueError as error:
        raise BitstreamError(f"damaged site data: {error}") from None
    symbols = Symbols(x, y, log_tau, log_anisotropy, angle, radius, color, classes)
    return symbols, bits * share
