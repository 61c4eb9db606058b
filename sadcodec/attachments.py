"""What a file carries beside its picture: ICC profile, Exif and XMP, by name and as chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadcodec import bitstream
from sadcodec.bitstream import METADATA, Limits
from sadcodec.decoding import as_bytes, limits_for
from sadcodec.errors import LimitError, OptionError

__all__ = ["chunks_of", "metadata", "metadata_left"]

_CHUNK_OF = {name: chunk for chunk, name in METADATA.items()}
_EXIF_PREFIX = b"Exif\0\0"  # of JPEG's segment; what a chunk has begins after it


def chunks_of(contents: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return metadata as `sadcodec.bitstream.write` takes it; what is empty is left out.

    Parameters
    ----------
    contents : mapping of str to bytes
        "icc_profile", "exif" and "xmp".

    Raises
    ------
    OptionError
        If there is another name.
    LimitError
        If one has more than 2^24 bytes.
    """
    unknown = [name for name in contents if name not in _CHUNK_OF]
    if unknown:
        raise OptionError(f"metadata is {', '.join(_CHUNK_OF)}, not {unknown[0]!r}")
    most = Limits().max_metadata
    chunks = []
    for name, chunk in _CHUNK_OF.items():
        content = as_bytes(contents.get(name, b""))
        content = content.removeprefix(_EXIF_PREFIX) if name == "exif" else content
        if len(content) > most:
            raise LimitError(f"{name} of {len(content)} bytes is over the limit of {most} bytes")
        if content:
            chunks.append((chunk, content))
    return chunks


def metadata(data: bytes, *, max_pixels: int | None = None) -> dict[str, bytes]:
    """Return the metadata of a ``.sad`` file, as `encode` takes it and Pillow's `save` too.

    Parameters
    ----------
    data : bytes
        Or another object with the buffer interface.
    max_pixels : int, optional
        As for `decode`.

    Returns
    -------
    dict of bytes
        "icc_profile", "exif" (from its byte-order mark on) and "xmp", those that there are.

    Raises
    ------
    BitstreamError, LimitError
        For the reasons of `decode`, and if one cannot be unpacked or has more than 2^24 bytes.
    """
    content, limits = as_bytes(data), limits_for(max_pixels)
    if _of_many(content, limits):
        found, problems = bitstream.front_metadata(content, limits)
        if problems:
            raise problems[0]
    else:
        found = dict(bitstream.metadata(content, limits))
    return {METADATA[name]: found[name] for name in found if name in METADATA}


def metadata_left(
    data: bytes, *, max_pixels: int | None = None
) -> tuple[dict[str, bytes], list[str]]:
    """Return what is left of the metadata of a file that may be damaged, as `decode` may repair it.

    Returns
    -------
    metadata : dict of bytes
    problems : list of str
        One line for each that cannot be unpacked.

    Raises
    ------
    BitstreamError, LimitError
        If the header is damaged, or the file is larger than the limits.
    """
    content, limits = as_bytes(data), limits_for(max_pixels)
    if not _of_many(content, limits):
        return bitstream.salvage_metadata(content, limits)
    found, problems = bitstream.front_metadata(content, limits)
    return {METADATA[name]: found[name] for name in found}, [str(each) for each in problems]


def _of_many(data: bytes, limits: Limits) -> bool:
    """Whether a file holds frames or primitives, which follow its metadata."""
    return bitstream.is_sequence(data, limits) or bitstream.is_composition(data, limits)
