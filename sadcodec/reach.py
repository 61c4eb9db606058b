"""Say in a file with groups where each of them matters, so that a region can be drawn from few."""

from __future__ import annotations

from sadcodec import bitstream
from sadcodec.bitstream import REACH, Limits
from sadcodec.quantize import dequantize

__all__ = ["with_reach"]


def with_reach(data: bytes, threads: int = 1) -> bytes:
    """Add the chunk to a ``.sad`` file that has none, unless each layer is one group.

    Takes some four times as long as a decode; adds `sadcodec.bitstream.reach_bytes`.

    Raises
    ------
    BitstreamError
        If the file is damaged.
    """
    from sadcodec.backends.cpu import CpuBackend

    limits = Limits(max_pixels=1 << 46)
    starts = bitstream.group_starts(data, limits)
    if bitstream.reach_bytes(len(starts), len(bitstream.read_layers(data, limits))) == 0:
        return data
    header, symbols = bitstream.read(data, limits, threads)
    sites = dequantize(symbols, header.width, header.height, header.quantizer)
    boxes = CpuBackend(threads).reaches(sites, header.width, header.height, header.k, starts)
    crc = bitstream.header_crc(data)
    content = bitstream.pack_reach(crc, header.width, header.height, boxes.tolist())
    return bitstream.insert_chunks(data, [(REACH, content)])
