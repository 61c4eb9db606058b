"""The front of a file: what a viewer wants to know before it asks for the picture."""

from __future__ import annotations

import contextlib
from itertools import takewhile
from typing import IO

from sadcodec.errors import BitstreamError

from .composition import COMPOSITION
from .container import CHUNK_OVERHEAD, MAX_CHUNKS, MAX_MODELLED, chunk_at, iterate_chunks
from .groups import SITE_TYPES
from .header import MAX_HEADER_BYTES, Header, Limits, unpack_header
from .models import MODELS
from .sadfile import METADATA, first_metadata, unpacked
from .zstd_profile import unpack_metadata

__all__ = ["front_metadata", "read_front"]


def read_front(
    stream: IO[bytes], limits: Limits | None = None
) -> tuple[Header, dict[bytes, bytes]]:
    """Header and metadata of a file, without a look at its sites, or at its primitives.

    Parameters
    ----------
    stream : binary file that can seek
        At the start of the file; left anywhere.
    limits : Limits, optional

    Returns
    -------
    header : Header
        Its `coder` and number of groups are the default ones.
    metadata : dict of bytes
        By chunk type, unpacked: the first of each type. What cannot be unpacked is left out, as
        it does not change the picture.

    Raises
    ------
    BitstreamError
        If the header or a chunk before the sites is damaged or cut short.
    LimitError
        If the header asks for more than `limits`.
    """
    limits = limits or Limits()
    start = stream.tell()
    header, offset = unpack_header(stream.read(MAX_HEADER_BYTES), limits)
    metadata: dict[bytes, bytes] = {}
    seen = set()
    for count in range(MAX_MODELLED):
        if count == MAX_CHUNKS and MODELS not in seen:
            break
        stream.seek(start + offset)
        head = stream.read(8)
        if len(head) < 8:
            raise BitstreamError("file ends before the sites")
        length, name = int.from_bytes(head[:4], "little"), head[4:]
        if name in SITE_TYPES or name == COMPOSITION:
            return header, metadata
        first = name in METADATA and name not in seen
        seen.add(name)
        if first and length <= limits.max_metadata:
            chunk = chunk_at(head + stream.read(length + 4), 0, offset)
            with contextlib.suppress(BitstreamError):
                metadata[name] = unpack_metadata(chunk.data, limits.max_metadata)
        offset += CHUNK_OVERHEAD + length
    raise BitstreamError("too many chunks before the sites")


def front_metadata(
    data: bytes, limits: Limits | None = None
) -> tuple[dict[bytes, bytes], list[BitstreamError]]:
    """The metadata before the first critical chunk of a file, where many pictures have theirs.

    Returns
    -------
    metadata : dict of bytes
        By chunk type, unpacked: the first of each type.
    problems : list of BitstreamError
        One for each that cannot be unpacked.

    Raises
    ------
    BitstreamError, LimitError
        If the header or a chunk up to there is damaged or cut short, or as the header asks for more
        than `limits`.
    """
    limits = limits or Limits()
    _, offset = unpack_header(data, limits)
    leading = takewhile(lambda chunk: not chunk.critical, iterate_chunks(data, offset))
    metadata: dict[bytes, bytes] = {}
    problems = []
    for chunk in first_metadata(leading):
        try:
            metadata[chunk.type] = unpacked(chunk, limits)
        except BitstreamError as error:
            problems.append(error)
    return metadata, problems
