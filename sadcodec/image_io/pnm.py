"""Netpbm files of 8 and 16 bits: PGM (P5), PPM (P6) and PAM (P7).

Source: the pgm(5), ppm(5) and pam(5) pages of the Netpbm manual. Own code because Pillow scales
deep colour down to 8 bits and does not write PAM.
"""

from __future__ import annotations

import re

import numpy as np

from sadcodec.errors import InputError, LimitError, OutputError

MAGICS = (b"P5", b"P6", b"P7")
_SPACE = rb"(?:\s|#[^\n]*\n)"
_NUMBER = rb"(\d{1,10})"
_HEADER = re.compile(rb"P[2356]" + (_SPACE + rb"+" + _NUMBER) * 3 + rb"\s")
_TUPLE_OF_CHANNELS = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """Pixels of a PGM, PPM or PAM file; other maxima than 255 and 65535 are scaled to them.

    Returns
    -------
    uint8 or uint16 [H, W, C]

    Raises
    ------
    InputError, LimitError
    """
    width, height, channels, maximum, start = (
        _pam_header(data) if data[:2] == b"P7" else _header(data)
    )
    if width == 0 or height == 0:
        raise InputError(f"image of {width} x {height} pixels is empty")
    if width * height > max_pixels:
        raise LimitError(f"image of {width} x {height} pixels is larger than {max_pixels} pixels")
    if not 1 <= maximum <= 65535:
        raise InputError(f"maximum value {maximum} is not in 1..65535")
    dtype = np.dtype(np.uint8 if maximum < 256 else ">u2")
    count = width * height * channels
    if len(data) - start < count * dtype.itemsize:
        raise InputError("image is cut short")
    raw = np.frombuffer(data, dtype, count, start).reshape(height, width, channels)
    full = 255 if maximum < 256 else 65535
    if maximum == full:
        return raw.astype(np.uint8 if full == 255 else np.uint16)
    if int(raw.max()) > maximum:
        raise InputError(f"a value is above the stated maximum of {maximum}")
    scaled = (raw.astype(np.uint32) * full + maximum // 2) // maximum
    return scaled.astype(np.uint8 if full == 255 else np.uint16)


def is_deep_text(data: bytes) -> bool:
    """Whether this is a plain-text PGM or PPM (P2, P3) of more than 8 bits: Pillow cuts these."""
    match = _HEADER.match(data) if data[:2] in (b"P2", b"P3") else None
    return match is not None and int(match.group(3)) > 255


def _header(data: bytes) -> tuple[int, int, int, int, int]:
    match = _HEADER.match(data)
    if not match:
        raise InputError("PNM header is damaged or cut short")
    width, height, maximum = (int(number) for number in match.groups())
    return width, height, 1 if data[:2] == b"P5" else 3, maximum, match.end()


def _pam_header(data: bytes) -> tuple[int, int, int, int, int]:
    fields: dict[bytes, bytes] = {}
    at = 0
    while True:
        end = data.find(b"\n", at, at + 1024)
        if end < 0 or at > 65536:
            raise InputError("PAM header is damaged or cut short")
        key, _, value = data[at:end].strip().partition(b" ")
        at = end + 1
        if key == b"ENDHDR":
            break
        fields[key] = value.strip()
    try:
        width, height, channels, maximum = (
            int(fields[key]) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
    except (KeyError, ValueError):
        raise InputError("PAM header lacks a valid WIDTH, HEIGHT, DEPTH or MAXVAL") from None
    if (
        min(width, height) < 0
        or channels not in _TUPLE_OF_CHANNELS
        or b"CMYK" in fields.get(b"TUPLTYPE", b"")
    ):
        raise InputError("PAM is neither gray nor RGB")
    return width, height, channels, maximum, at


def encode(image: np.ndarray, kind: str) -> bytes:
    """A PGM, PPM or PAM file.

    Parameters
    ----------
    image : uint8 or uint16 [H, W, C], C = 1..4
    kind : str
        ``pgm`` (C = 1), ``ppm`` (C = 3), ``pam`` (any), or ``pnm``: the first of these that fits.

    Raises
    ------
    OutputError
        If the kind cannot hold that many channels.
    """
    height, width, channels = image.shape
    maximum = 255 if image.dtype == np.uint8 else 65535
    if kind == "pnm":
        kind = {1: "pgm", 3: "ppm"}.get(channels, "pam")
    if kind == "pam":
        header = (
            f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {maximum}\n"
            f"TUPLTYPE {_TUPLE_OF_CHANNELS[channels]}\nENDHDR\n"
        )
    elif {"pgm": 1, "ppm": 3}[kind] == channels:
        header = f"{'P5' if channels == 1 else 'P6'}\n{width} {height}\n{maximum}\n"
    else:
        raise OutputError(f"{kind} cannot hold {channels} channels; write a .pam or a .png instead")
    return (
        header.encode()
        + np.ascontiguousarray(image, ">u2" if maximum > 255 else np.uint8).tobytes()
    )
