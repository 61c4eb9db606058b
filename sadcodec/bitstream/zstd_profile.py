"""The zstd profile: the varint residuals of all columns in one zstd frame."""

from __future__ import annotations

import zstandard

from sadcodec.errors import BitstreamError

__all__ = ["compress", "decompress", "pack_metadata", "unpack_metadata"]

_LEVEL = 19
_MAGIC = b"\x28\xb5\x2f\xfd"  # of a frame with content; other kinds can be skipped
_MAX_WINDOW = 1 << 27
_BYTES_PER_VALUE = 5
_COEFFICIENT_BYTES = 4 * _BYTES_PER_VALUE


def compress(data: bytes) -> bytes:
    """`data` as one zstd frame that states its size."""
    compressor = zstandard.ZstdCompressor(
        level=_LEVEL, write_checksum=False, write_content_size=True
    )
    return compressor.compress(data)


def decompress(data: bytes, site_count: int, channels: int) -> bytes:
    """Residual bytes of a site chunk.

    Raises
    ------
    BitstreamError
        If `data` is not one frame of a size that `site_count` sites can have.
    """
    most = _COEFFICIENT_BYTES + site_count * (6 + channels) * _BYTES_PER_VALUE
    return _decompress(data, most, "site data")


def pack_metadata(data: bytes) -> bytes:
    """Content of a metadata chunk."""
    return compress(data)


def unpack_metadata(data: bytes, most: int) -> bytes:
    """Metadata bytes of a metadata chunk, at most `most` of them.

    Raises
    ------
    BitstreamError
        If `data` is not one frame of at most that size.
    """
    return _decompress(data, most, "metadata")


def _decompress(data: bytes, most: int, what: str) -> bytes:
    # max_output_size is ignored for frames that state their size, and max_window_size when a whole
    # frame is unpacked at once, so both are checked first. The size is all that is allocated.
    if not data.startswith(_MAGIC):
        raise BitstreamError(f"{what}: not one whole zstd frame")
    try:
        frame = zstandard.get_frame_parameters(data)
        size = frame.content_size
        if size > most:  # the "unknown" marker is 2^64 - 1
            raise BitstreamError(f"{what}: zstd frame has no size or one over {most} bytes")
        if frame.window_size > _MAX_WINDOW:
            raise BitstreamError(f"{what}: zstd frame with a window over {_MAX_WINDOW} bytes")
        if frame.dict_id:
            raise BitstreamError(f"{what}: zstd frame with a dictionary")
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        result = decompressor.decompress(data, max_output_size=max(size, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BitstreamError(f"{what}: not one whole zstd frame") from error
    if len(result) != size:
        raise BitstreamError(f"{what}: zstd frame is not of the size it states")
    return result
