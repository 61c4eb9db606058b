"""The pieces of a file: header, chunks, and the rules among them; no site is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sadcodec.errors import BitstreamError, LimitError

from .container import MAX_CHUNKS, MAX_MODELLED, Chunk, iterate_chunks
from .groups import (
    FIELD_BYTES,
    GROUPED,
    SITE_TYPES,
    check_models,
    coder_of,
    end_of,
    listed_groups,
)
from .header import Header, Limits, header_crc, unpack_header
from .layers import LAYERS, Layers, unpack_layers
from .models import MODELS, unpack_models
from .payload import CHUNK_TYPES, GroupFields
from .symbols import MAX_GROUPS

__all__ = ["Parts", "parse", "with_groups"]

_OTHER_KINDS = {  # of files: their first critical chunks
    b"CMPH": "holds a composition of bitmap primitives, which has no sites",
    b"SEQH": "holds a sequence of frames, not a single picture",
}
_SINGLE = frozenset(CHUNK_TYPES.values())


class Parts(NamedTuple):
    """A file in pieces."""

    header: Header  # with coder and number of groups
    others: list[Chunk]  # ancillary
    critical: list[Chunk]  # beside those of sites
    sites: list[Chunk]
    listed: list[GroupFields]  # of `sites`
    layers: Layers


def parse(data: bytes, limits: Limits, most: int | None = None) -> Parts:
    """Read a file as far as its first `most` layers, or to its end.

    Raises
    ------
    BitstreamError
        If it is damaged, cut short or needs a feature this version does not know.
    LimitError
        If it asks for more than `limits`.
    OptionError
        If it has fewer layers.
    """
    header, offset = unpack_header(data, limits)
    others: list[Chunk] = []
    critical: list[Chunk] = []
    sites: list[Chunk] = []
    layers = Layers((header.site_count,))
    follows = b""  # type of what may stand after the first chunk of sites
    for count, chunk in enumerate(iterate_chunks(data, offset), 1):
        if count > MAX_CHUNKS:
            _check_count(header, chunk, count)
        if chunk.type == follows:
            sites.append(chunk)
        elif sites:
            raise BitstreamError(f"{chunk.label}: data after the sites")
        elif chunk.type in SITE_TYPES:
            check_models(header, chunk)
            if critical and chunk.type not in GROUPED:
                raise BitstreamError(f"{chunk.label}: layers are made of groups")
            sites.append(chunk)
            follows = chunk.type if chunk.type in GROUPED else b""
        elif chunk.critical:
            if any(chunk.type == other.type for other in critical):
                raise BitstreamError(f"{chunk.label}: a second critical chunk")
            header, layers = _with_critical(header, layers, header_crc(data), chunk)
            critical.append(chunk)
        else:
            others.append(chunk)
        if sites and most is not None and _reaches(chunk, layers, most):
            break
    if not sites:
        raise BitstreamError("file ends before the sites")
    end = layers[len(layers) - 1 if most is None else most - 1].end
    listed = listed_groups(header, header_crc(data), sites, layers, end)
    return Parts(
        with_groups(header, sites, listed, layers), others, critical, sites, listed, layers
    )


def _with_critical(header: Header, layers: Layers, crc: int, chunk: Chunk) -> tuple[Header, Layers]:
    """The header and the layers with what a critical chunk before the sites says."""
    if chunk.type == LAYERS:
        return header, unpack_layers(header, crc, chunk)
    if chunk.type == MODELS:
        return replace(header, models=unpack_models(header, crc, chunk)), layers
    what = _OTHER_KINDS.get(chunk.type, "unknown critical chunk")
    raise BitstreamError(f"{chunk.label}: {what}")


def _check_count(header: Header, chunk: Chunk, count: int) -> None:
    most = MAX_MODELLED if header.models else MAX_CHUNKS
    if count > most:
        raise LimitError(f"{chunk.label}: more than {most} chunks")


def _reaches(chunk: Chunk, layers: Layers, most: int) -> bool:
    """Whether a chunk of sites is the last of the first `most` layers."""
    end = layers.first(most).end
    whole = chunk.type in _SINGLE or chunk.length < FIELD_BYTES
    return not whole and end_of(chunk) >= end


def with_groups(
    header: Header, sites: Sequence[Chunk], listed: Sequence[GroupFields], layers: Layers
) -> Header:
    """The header with what the chunks of sites add: the coder, and numbers of groups to write."""
    groups = min(len(sites), MAX_GROUPS)
    several: tuple[int, ...] = ()
    if header.models:
        groups = -max(fields.sites for fields in listed)
    if len(layers) > 1:
        numbers = [layers.of(fields.first).number for fields in listed]
        counts = tuple(numbers.count(n) for n in range(max(numbers) + 1))
        most = (groups,) * len(counts) if header.models else counts
        several = most if len(counts) > 1 else ()
    quantizer = replace(header.quantizer, groups=groups, layers=several)
    return replace(header, coder=coder_of(sites[0].type), quantizer=quantizer)
