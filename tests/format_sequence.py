"""Sequences in plain Python, from docs/FORMAT.md, section 15, alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import format_decoder
from format_arithmetic import LOG2E, PI, Fresh, Model, clamp, iexp2, need, quotient, scale, size
from format_sources import RangeSource

Site = list[int]  # x, y, T, A, D, R, then the colours


class Differences:
    """One set of models: of sites that moved, or of those beside others."""

    def __init__(self, h: dict, source: RangeSource, near: int) -> None:
        self.h, self.source = h, source
        self.e = [near, near] + [65536] * (4 + h["channels"])
        self.s = [0] * (6 + h["channels"])
        self.gw = -(-1024 * h["width"] // h["step_position"])
        self.gh = -(-1024 * h["height"] // h["step_position"])

    def directions(self, a: int) -> int:
        h = (a * self.h["step_log_anisotropy"] * LOG2E) >> 10
        s = (iexp2(h) - iexp2(-h)) >> 1
        b = self.h["step_angle"] * 2**22
        return clamp((PI * s + (b >> 1)) // b, 1, 4096)

    def residual(self, p: int, column: object) -> int:
        detail = 64 * (p == 1) + 4 * min(self.c, 15) + size(self.q)
        r = self.source.residual(column, scale(self.e[p], 65536), detail, self.s[p], 0)
        self.e[p] += (65536 * min(abs(r), 2**20) - self.e[p]) >> 3
        self.s[p] = 0 if r == 0 else 1 if r < 0 else 2
        self.c += r != 0
        self.q = r
        return r

    def site(self, b: Site, dx: int, dy: int) -> Site:
        self.c = self.q = 0
        x = clamp(b[0] + dx, 0, self.gw - 1) + self.residual(0, "position")
        y = clamp(b[1] + dy, 0, self.gh - 1) + self.residual(1, "position")
        t = b[2] + self.residual(2, "log_tau")
        a = b[3] + self.residual(3, "log_anisotropy")
        need(0 <= a <= 6144 // self.h["step_log_anisotropy"])
        n, m = self.directions(a), self.directions(b[3])
        d = (2 * n * b[4] + m) // (2 * m) % n
        if n > 1:
            r = self.residual(4, "angle")
            need(-((n - 1) // 2) <= r <= n // 2)
            d = (d + r + n) % n
        radius = b[5] + self.residual(5, "radius") if self.h["step_radius"] else 0
        colors = [b[6 + c] + self.residual(6 + c, c) for c in range(self.h["channels"])]
        return [x, y, t, a, d, radius, *colors]


def following(
    h: dict, before: list[Site], changed: list[int], payload: bytes, count: int
) -> tuple[list[Site], list[int], list[int]]:
    """Return sites, flags and sources of a delta frame."""
    sources = RangeSource(payload), RangeSource(b"")
    coder = sources[1].coder = sources[0].coder
    kept_models = Fresh()
    gone, more = Model(4096, 4), [Model(2048, 4), Model(2048, 4)]
    moved = Differences(h, sources[0], 65536)
    beside = Differences(h, sources[1], 524288)
    mx = my = recent = 0
    out, flags, origin = [], [], []
    for i, b in enumerate(before):
        kept = coder.adaptive(kept_models[2 * recent.bit_count() + changed[i]])
        recent = (2 * recent + 1 - kept) & 255
        if not kept and coder.adaptive(gone):
            continue
        site = b if kept else moved.site(b, quotient(mx, 16), quotient(my, 16))
        if not kept:
            mx += quotient(16 * (site[0] - b[0]) - mx, 4)
            my += quotient(16 * (site[1] - b[1]) - my, 4)
        taken = [site]
        while coder.adaptive(more[1 - kept]):
            taken.append(beside.site(site, 0, 0))
            need(len(out) + len(taken) <= count)
        out += taken
        flags += [1 - kept] + [1] * (len(taken) - 1)
        origin += [i] * len(taken)
    need(len(out) == count)
    coder.finish()
    return out, flags, origin


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Types and data of the chunks after the header."""
    offset = 40 + 2 * (data[10] & 7)
    while offset < len(data):
        stop = offset + 8 + int.from_bytes(data[offset : offset + 4], "little")
        need(zlib.crc32(data[offset:stop]) == int.from_bytes(data[stop : stop + 4], "little"))
        yield data[offset + 4 : offset + 8], data[offset + 8 : stop]
        offset = stop + 4


def decode(data: bytes) -> Iterator[tuple[dict, list[list[float]]]]:
    """Header fields and dequantized sites of every frame."""
    listed = [(name, content) for name, content in chunks(data) if not name[0] & 0x20]
    (name, index), frames = listed[0], listed[1:]
    need(name == b"SEQH" and len(index) == 4 * len(frames) and frames[0][0] == b"FKEY")
    for number, (name, content) in enumerate(frames):
        entry = int.from_bytes(index[4 * number : 4 * number + 4], "little")
        need(entry == len(content) | (name == b"FKEY") << 31)
        need(int.from_bytes(content[:4], "little") == number)
        if name == b"FKEY":
            h, sites = format_decoder.decode(content[4:])
            need([data[8:11], data[12:20]] == [content[12:15], content[16:24]])
            end = 40 + 2 * (data[10] & 7)
            need(number > 0 or data[:end] == content[4 : 4 + end])
            changed = [0] * sites.n
        else:
            need(name == b"FDLT")
            radius = sites.R or [0] * sites.n
            columns = zip(sites.xy, sites.T, sites.A, sites.D, radius, sites.S)
            before = [[*xy, t, a, d, r, *color] for xy, t, a, d, r, color in columns]
            count = int.from_bytes(content[4:8], "little")
            rows, changed, origin = following(h, before, changed, content[8:], count)
            sites.n, sites.xy = count, [(row[0], row[1]) for row in rows]
            sites.T, sites.A, sites.D = ([row[i] for row in rows] for i in (2, 3, 4))
            sites.R = [row[5] for row in rows] if sites.R else None
            sites.S = [row[6:] for row in rows]
            sites.u = [sites.u[i] for i in origin]
        yield h, format_decoder.dequantize(h, sites)
