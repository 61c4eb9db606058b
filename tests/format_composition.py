"""Compositions in plain Python and NumPy, from docs/FORMAT.md, section 16, alone."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from format_arithmetic import PI, Fresh, bits, clamp, iexp2, need, scale, size
from format_decoder import header_fields
from format_sequence import chunks
from format_sources import RangeSource
from PIL import Image

PLACES = ("x", "y", "r", "d", "v", 0, 1, 2)
FIXED = {"k": 1, "site_count": 1, "step_radius": 0}


class Primitives:
    """Decodes one chunk."""

    def __init__(self, h: dict, payload: bytes) -> None:
        self.h, self.source = h, RangeSource(payload)
        self.coder = self.source.coder
        self.tree, self.kept = Fresh(), Fresh()
        self.e, self.s = dict.fromkeys(PLACES, 65536), dict.fromkeys(PLACES, 0)
        self.level = 0

    def begin(self) -> None:
        self.c = self.q = 0

    def next(self, place: object) -> int:
        detail = 16 * self.level + 4 * min(self.c, 3) + size(self.q)
        e = self.e[place]
        r = self.source.residual(place, scale(e, 65536), detail, self.s[place], 0)
        self.e[place] = e + ((65536 * min(abs(r), 2**20) - e) >> 4)
        self.s[place] = 0 if r == 0 else 1 if r < 0 else 2
        self.c += r != 0
        self.q = r
        return r

    def directions(self, r: int) -> int:
        b = self.h["step_arc"] * 2**22
        length = 2 * PI * iexp2(32 * (2 * r + 1) * self.h["step_log_radius"] - 131072)
        return clamp((length + (b >> 1)) // b, 1, 4096)

    def radius(self, r: int) -> int:
        need(0 <= r <= 22528 // self.h["step_log_radius"])
        return r

    def rest(self, b: list[int]) -> list[int]:
        """V and the colours."""
        most = self.h["color_levels"]
        v = b[4] + self.next("v")
        green = b[6] + self.next(1)
        red, blue = (clamp(b[5 + c] + green - b[6], 0, most) + self.next(c) for c in (0, 2))
        need(0 <= v <= self.h["opacity_levels"])
        need(all(0 <= s <= most for s in (red, green, blue)))
        return [v, red, green, blue]

    def key(self, count: int) -> list[list[int]]:
        rows: list[list[int]] = []
        latest: dict[tuple[int, int], list[int]] = {}
        total = bits(self.h["gw"] - 1) + bits(self.h["gh"] - 1)
        half = self.h["opacity_levels"] // 2, self.h["color_levels"] // 2
        for _ in range(count):
            x = y = key = 0
            rx, ry, node = bits(self.h["gw"] - 1), bits(self.h["gh"] - 1), 1
            for number in range(total):
                if number < 8:
                    bit = self.coder.adaptive(self.tree[node])
                    node = 2 * node + bit
                else:
                    bit = self.coder.raw(1)
                if rx >= ry:
                    x, rx = 2 * x + bit, rx - 1
                else:
                    y, ry = 2 * y + bit, ry - 1
                key = 2 * key + bit
            need(x < self.h["gw"] and y < self.h["gh"])
            prefixes = [(n, key >> max(0, total - n)) for n in (10, 8, 6, 4, 2, 0)]
            found = [prefix in latest for prefix in prefixes]
            self.level = found.index(True) if True in found else 6
            b = latest[prefixes[self.level]] if self.level < 6 else None
            self.begin()
            predicted = 0 if b is None else (rows[-1][2] + b[2]) // 2
            r = self.radius(predicted + self.next("r"))
            d = self.coder.uniform(self.directions(r))
            rest = self.rest(b or [0, 0, 0, 0, half[0], *[half[1]] * 3])
            rows.append([x, y, r, d, *rest])
            latest.update(dict.fromkeys(prefixes, rows[-1]))
        self.source.finish()
        return rows

    def delta(self, before: list[list[int]]) -> list[list[int]]:
        rows, h = [], 0
        for b in before:
            kept = self.coder.adaptive(self.kept[h.bit_count()])
            h = (2 * h + 1 - kept) & 255
            if kept:
                rows.append(b)
                continue
            self.begin()
            x, y = b[0] + self.next("x"), b[1] + self.next("y")
            r = self.radius(b[2] + self.next("r"))
            need(0 <= x < self.h["gw"] and 0 <= y < self.h["gh"])
            n, m, d = self.directions(r), self.directions(b[2]), 0
            if n > 1:
                t = (2 * n * b[3] + m) // (2 * m) % n
                turn = self.next("d")
                need(-((n - 1) // 2) <= turn <= n // 2)
                d = (t + turn + n) % n
            rows.append([x, y, r, d, *self.rest(b)])
        self.source.finish()
        return rows


def template(data: bytes) -> np.ndarray:
    """Straight RGBA, uint8 [128, 128, 4]."""
    picture = Image.open(io.BytesIO(data))
    need(picture.size == (128, 128) and picture.format in ("PNG", "WEBP"))
    if "A" in picture.getbands():
        return np.asarray(picture.convert("RGBA"))
    mask = np.asarray(picture).reshape(128, 128, -1)[..., :1]
    return np.concatenate([np.full((128, 128, 3), 255, np.uint8), mask], axis=-1)


def decode(data: bytes) -> Iterator[tuple[dict, list[list[int]]]]:
    """Fields, with the templates, and symbols of every frame."""
    listed = [(name, content) for name, content in chunks(data) if not name[0] & 0x20]
    (first, fields), (second, stored), *frames = listed
    need(first == b"CMPH" and second == b"TMPL")
    h = header_fields(data)
    need(all(h[name] == value for name, value in FIXED.items()))
    p, flags, reserved, red, green, blue, blend, opacity, *steps = struct.unpack_from(
        "<HBB3HHH5H", fields
    )
    need(1 <= p <= 256 and flags <= 1 and reserved == 0 and opacity > 0 and min(steps) > 0)
    need(h["channels"] == (3 if flags else 4) and steps[1] <= 1024)
    names = ("step_position", "step_log_radius", "step_arc", "opacity_levels", "color_levels")
    h |= dict(zip(names, steps))
    need(flags == 1 or red == green == blue == 0)
    h |= {"background": (red, green, blue) if flags else None}
    h |= {"blend": blend / 65535, "opacity": opacity / 65535}
    h |= {"gw": -(-2048 * h["width"] // steps[0]), "gh": -(-2048 * h["height"] // steps[0])}
    h["templates"], at = [], 0
    for _ in range(p):
        length = int.from_bytes(stored[at : at + 4], "little")
        h["templates"].append(template(stored[at + 4 : at + 4 + length]))
        at += 4 + length
    need(at == len(stored) and len(fields) == 24 + 4 * len(frames))
    rows: list[list[int]] = []
    for number, (name, content) in enumerate(frames):
        entry = int.from_bytes(fields[24 + 4 * number :][:4], "little")
        need(name in (b"PKEY", b"PDLT") and entry == len(content) | (name == b"PKEY") << 31)
        stated, count = struct.unpack_from("<II", content)
        need(stated == number and 1 <= count <= 2**20)
        if name == b"PKEY":
            need(count <= 64 * (len(content) - 8))
            rows = Primitives(h, content[8:]).key(count)
        else:
            need(count == len(rows))
            rows = Primitives(h, content[8:]).delta(rows)
        yield h, rows


def levels(rgba: np.ndarray) -> list[np.ndarray]:
    """Premultiplied texels as shares, by level."""
    straight = rgba.astype(np.int64)
    alpha = straight[..., 3:]
    texels = np.concatenate([(2 * straight[..., :3] * alpha + 255) // 510, alpha], axis=-1)
    out = [texels / 255]
    while len(texels) > 1:
        rows = texels[0::2] + texels[1::2]
        texels = (rows[:, 0::2] + rows[:, 1::2] + 2) >> 2
        out.append(texels / 255)
    return out


def draw(h: dict, rows: list[list[int]]) -> np.ndarray:
    """Code values, uint8 [height, width, channels]."""
    shape = (h["height"], h["width"])
    y, x = (axis + 0.5 for axis in np.indices(shape))
    color, left = np.zeros((*shape, 3)), np.ones((*shape, 1))
    pyramids = [levels(rgba) for rgba in h["templates"]]
    for number, (cx, cy, r, d, v, *s) in enumerate(rows):
        px = (cx + 0.5) * h["step_position"] / 1024 - h["width"] / 2
        py = (cy + 0.5) * h["step_position"] / 1024 - h["height"] / 2
        radius = 2.0 ** ((r + 0.5) * h["step_log_radius"] / 1024 - 2)
        angle = 2 * np.pi * d / Primitives(h, b"").directions(r)
        a = h["opacity"] * v / h["opacity_levels"]
        level = max([n for n in range(8) if radius * 2 ** (n + 1) <= 128], default=0)
        texels = np.pad(pyramids[number % len(pyramids)][level], ((1, 1), (1, 1), (0, 0)))
        side = len(texels) - 2
        u = (np.cos(angle) * (x - px) + np.sin(angle) * (y - py)) / radius
        w = (np.cos(angle) * (y - py) - np.sin(angle) * (x - px)) / radius
        across = np.clip((u + 1) * side / 2 + 0.5, 0, side + 0.999999)
        down = np.clip((w + 1) * side / 2 + 0.5, 0, side + 0.999999)
        j, i = down.astype(int), across.astype(int)
        fj, fi = (down - j)[..., None], (across - i)[..., None]
        upper = (1 - fi) * texels[j, i] + fi * texels[j, i + 1]
        lower = (1 - fi) * texels[j + 1, i] + fi * texels[j + 1, i + 1]
        sample = (1 - fj) * upper + fj * lower
        own = (1 - h["blend"]) * np.array(s) / h["color_levels"]
        color += left * a * (own * sample[..., 3:] + h["blend"] * sample[..., :3])
        left *= 1 - a * sample[..., 3:]
    if h["background"] is not None:
        values = color + left * np.array(h["background"]) / 65535
    else:
        values = np.concatenate([color / np.maximum(1 - left, 1e-9), 1 - left], axis=-1)
    code = np.floor(np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    if h["background"] is None:
        code[code[..., 3] == 0] = 0
    return code
