"""The files of tests/golden: one of every feature of the format, with the pixels it decodes to.

`make golden` runs this file. It only ever adds what is missing: a file that was written once must
be decoded by every later version, so none is made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from compositions import random_composition
from conftest import load
from symbol_samples import sample

import sadcodec
from sadcodec import bitstream
from sadcodec.attachments import chunks_of
from sadcodec.backends import get_backend
from sadcodec.compose.stored import pack
from sadcodec.image_io import pnm
from sadcodec.reach import with_reach
from sadcodec.refine import draw

FOLDER = Path(__file__).resolve().parent / "golden"


def photo(channels: int, *, deep: bool = False) -> np.ndarray:
    """uint8 or uint16 [32, 48, channels]: the rim of a cup, and a ramp of alpha."""
    rgb = load("coffee.png")[96:128, 112:160]
    gray = rgb.mean(axis=2, keepdims=True).astype(np.uint8)
    ramp = np.linspace(0, 255, 48).astype(np.uint8)
    alpha = np.broadcast_to(ramp[None, :, None], (32, 48, 1))
    image = np.concatenate([rgb if channels >= 3 else gray, alpha], axis=2)[:, :, :channels]
    return image.astype(np.uint16) * 257 if deep else np.ascontiguousarray(image)


def fitted(channels: int, *, deep: bool = False, **options: object) -> bytes:
    """Return the file of an ordinary encode."""
    settings = {"bpp": 1.5, "effort": 2, "backend": "cpu", "threads": 1} | options
    return sadcodec.encode(photo(channels, deep=deep), **settings)


def drawn(count: int, *, k: int = 8, bit_depth: int = 8, coder: str = "range", **options: object):
    """Return the file of `count` random sites."""
    header, symbols = sample(count, seed=count + k, **({"width": 41, "height": 29} | options))
    return bitstream.write(replace(header, k=k, bit_depth=bit_depth), symbols, coder=coder)


def with_chunks() -> bytes:
    """Return a file with chunks that no decoder needs."""
    header, symbols = sample(40, seed=7, width=41, height=29)
    chunks = [(b"teXt", b"skip me"), (b"zzZz", b"")]
    return bitstream.write(header, symbols, chunks=chunks)


# Three kinds of metadata, none of which means anything.
METADATA = {
    "icc_profile": bytes(range(256)) * 3,
    "exif": b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0",
    "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
}


def with_metadata() -> bytes:
    """Return a file with an ICC profile, Exif that states orientation 6, and XMP."""
    header, symbols = sample(40, seed=8, width=41, height=29)
    return bitstream.write(header, symbols, chunks=chunks_of(METADATA))


def extremes() -> bytes:
    """Return a file of sites with the least and the largest symbols of every column."""
    header, symbols = sample(64, seed=9, width=41, height=29, radius=True)
    q = header.quantizer
    low, high = slice(0, None, 2), slice(1, None, 2)
    symbols.log_tau[low], symbols.log_tau[high] = -10240 // q.step_log_tau + 1, 0
    symbols.log_tau[3] = 10240 // q.step_log_tau
    symbols.log_anisotropy[low], symbols.log_anisotropy[high] = 0, 6144 // q.step_log_anisotropy
    levels = bitstream.angle_levels(int(symbols.log_anisotropy.max()) + 1, q)
    symbols.angle[:] = levels[symbols.log_anisotropy] - 1
    columns, rows = q.grid_size(header.width, header.height)
    symbols.x[:8], symbols.y[:8] = [0, columns - 1] * 4, [0, 0, rows - 1, rows - 1] * 2
    return bitstream.write(header, symbols)


MAKERS: dict[str, Callable[[], bytes]] = {
    "gray": lambda: fitted(1),
    "gray-alpha": lambda: fitted(2),
    "rgb": lambda: fitted(3),
    "rgb-alpha": lambda: fitted(4),
    "gray-16": lambda: fitted(1, deep=True),
    "rgb-16": lambda: fitted(3, deep=True),
    "rgb-alpha-16": lambda: fitted(4, deep=True),
    "zstd": lambda: fitted(3, coder="zstd"),
    "radius": lambda: fitted(3, bpp=None, sites=60),
    "radius-zstd": lambda: fitted(3, bpp=None, sites=60, coder="zstd"),
    "one-pixel": lambda: sadcodec.encode(photo(3)[:1, :1], effort=1, backend="cpu"),
    "one-row": lambda: sadcodec.encode(photo(3)[:1], sites=6, effort=1, backend="cpu"),
    "one-column": lambda: sadcodec.encode(photo(1)[:, :1], sites=6, effort=1, backend="cpu"),
    "one-site": lambda: drawn(1),
    "fewer-sites-than-k": lambda: drawn(5),
    "k-1": lambda: drawn(60, k=1),
    "k-16": lambda: drawn(60, k=16),
    "coincident": lambda: drawn(30, coincident=True),
    "coincident-zstd": lambda: drawn(30, coincident=True, coder="zstd"),
    "fine-grid": lambda: drawn(50, step_position=1),
    "coarse-steps": lambda: drawn(50, step_position=4000, step_angle=2000, step_log_tau=900),
    "classes": lambda: drawn(80, class_tau_gain=255, class_distance_gain=255),
    "extremes": extremes,
    "chunks": with_chunks,
    "metadata": with_metadata,
    "groups": lambda: drawn(60, groups=4),
    "groups-zstd": lambda: drawn(60, groups=4, coder="zstd"),
    "groups-photo": lambda: fitted(4, bpp=3.0, groups=3),
    "groups-of-one-site": lambda: drawn(6, groups=6, radius=True),
    "groups-coincident": lambda: drawn(31, groups=3, coincident=True),
    "groups-reach": lambda: with_reach(drawn(90, groups=5)),
    "groups-small": lambda: drawn(4, groups=2, channels=1),
    "groups-small-zstd": lambda: drawn(4, groups=2, channels=1, coder="zstd"),
    "models": lambda: drawn(170, groups=-30),
    "models-radius": lambda: drawn(140, groups=-30, radius=True, channels=1),
    "models-layers": lambda: drawn(150, channels=4, layers=(-30, -30)),
    "models-reach": lambda: with_reach(drawn(160, groups=-30)),
    "layers": lambda: drawn(60, layers=(1, 1, 1)),
    "layers-zstd": lambda: drawn(60, layers=(1, 1), coder="zstd"),
    "layers-groups": lambda: drawn(80, layers=(1, 3, 2), radius=True),
    "layers-reach": lambda: with_reach(drawn(90, layers=(1, 4))),
    "layers-coincident": lambda: drawn(31, layers=(2, 1, 1), coincident=True),
    "layers-of-one-site": lambda: drawn(5, layers=(1, 1, 1, 1, 1), channels=1),
}


def moving(channels: int, *, deep: bool = False) -> bytes:
    """Return a sequence: a view that moves, of key frames and delta frames."""
    image = load("coffee.png")[80:128, 100:160]
    gray = image.mean(axis=2, keepdims=True).astype(np.uint8)
    alpha = np.broadcast_to(np.linspace(0, 255, 60).astype(np.uint8)[None, :, None], gray.shape)
    image = image if channels == 3 else np.concatenate([gray, alpha], axis=2)
    image = image.astype(np.uint16) * 257 if deep else image
    frames = [np.ascontiguousarray(image[i : i + 24, 3 * i : 3 * i + 32]) for i in range(5)]
    options = {"bpp": 2.0, "effort": 1, "key_interval": 3, "backend": "cpu", "threads": 1}
    return sadcodec.encode_sequence(frames, **options)


SEQUENCES: dict[str, Callable[[], bytes]] = {
    "moving": lambda: moving(3),
    "moving-gray-alpha-16": lambda: moving(2, deep=True),
}


def composed(*counts: int, **options: object) -> bytes:
    """Return a composition: a frame for each count, those of equal counts nearly alike."""
    first = random_composition(max(counts), **options)
    frames = []
    for number, count in enumerate(counts):
        params = first.params[:count].copy()
        params[number::5] += 0.3 * number
        frames.append(replace(first, params=params))
    return pack(frames)


COMPOSITIONS: dict[str, Callable[[], bytes]] = {
    "colored": lambda: composed(14, blend=0.6),
    "masks": lambda: composed(14, seed=1),
    "transparent": lambda: composed(14, seed=2, background=False, blend=0.3),
    "one-primitive": lambda: composed(1, width=1, height=1),
    "frames": lambda: composed(12, 12, 12, 9, 9, seed=3, blend=0.5),
}


def drawn_composition(data: bytes, backend: str = "reference") -> np.ndarray:
    """Return the picture of a composition, or its frames, one below the other."""
    composition = bitstream.open_composition(data)
    assert composition is not None
    if len(composition) > 1:
        return stacked(data, backend)
    return sadcodec.decode(data, backend=backend)


def stacked(data: bytes, backend: str = "reference") -> np.ndarray:
    """Return the frames of a sequence, one below the other."""
    return np.concatenate(list(sadcodec.decode_frames(data, backend=backend)))


def pixels(data: bytes) -> np.ndarray:
    """Return what the float64 reference draws."""
    header, symbols = bitstream.read(data)
    return draw(get_backend("reference"), header, symbols)


def main() -> None:
    """Write the files that are missing."""
    for folder, makers, draw_all in (
        (FOLDER, MAKERS, pixels),
        (FOLDER / "sequences", SEQUENCES, stacked),
        (FOLDER / "compositions", COMPOSITIONS, drawn_composition),
    ):
        folder.mkdir(exist_ok=True, parents=True)
        for name, make in makers.items():
            coded, picture = folder / f"{name}.sad", folder / f"{name}.pam"
            if not coded.exists():
                coded.write_bytes(make())
            if not picture.exists():
                picture.write_bytes(pnm.encode(draw_all(coded.read_bytes()), "pam"))


if __name__ == "__main__":
    main()
