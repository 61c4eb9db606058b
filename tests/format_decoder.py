"""A decoder of `.sad` files in plain Python, written from docs/FORMAT.md alone: slow and literal.

It shares nothing with the package; its tables are read from the document.
"""

from __future__ import annotations

import math
import struct
import zlib

import zstandard
from format_arithmetic import Varints, need
from format_columns import Sites
from format_sources import RangeSource, VarintSource

# ---- sections 2 and 3 -----------------------------------------------------------------------


def header_fields(data: bytes) -> dict:
    """Fields of the header by name; its CRC is right."""
    need(data[:8] == b"\x89SAD\r\n\x1a\n" and data[8:9] == b"\x01")

    def at(offset: int, length: int) -> int:
        need(offset + length <= len(data))
        return int.from_bytes(data[offset : offset + length], "little")

    h: dict = {"flags": at(9, 1), "channels": at(10, 1) & 7, "k": at(11, 1)}
    h |= {"bit_depth": 16 if at(10, 1) & 8 else 8, "width": at(12, 4), "height": at(16, 4)}
    h["site_count"] = at(20, 4)
    names = ("position", "log_tau", "log_anisotropy", "angle", "radius")
    h |= {f"step_{name}": at(24 + 2 * i, 2) for i, name in enumerate(names)}
    h |= {"class_distance_gain": at(34, 1), "class_tau_gain": at(35, 1)}
    h["step_color"] = [at(36 + 2 * c, 2) for c in range(h["channels"])]
    end = 36 + 2 * h["channels"]
    need(at(end, 4) == zlib.crc32(data[:end]))
    need(h["flags"] == 0 and at(10, 1) < 16 and 1 <= h["k"] <= 16)
    need(1 <= h["site_count"] <= min(2**24, 4 * h["width"] * h["height"] + 64))
    return h


def decode(data: bytes) -> tuple[dict, Sites]:
    """Header fields by name, and the sites in stored order."""
    h = header_fields(data)
    end = 36 + 2 * h["channels"]

    def at(offset: int, length: int) -> int:
        need(offset + length <= len(data))
        return int.from_bytes(data[offset : offset + length], "little")

    offset, groups, kind, layers = end + 4, [], b"", [h["site_count"]]
    while offset < len(data):
        length = at(offset, 4)
        name, stop = data[offset + 4 : offset + 8], offset + 8 + length
        need(at(stop, 4) == zlib.crc32(data[offset:stop]))
        content = data[offset + 8 : stop]
        need(name.isalpha() and name.isascii() and name[2:3].isupper())
        if name in (b"SITE", b"SITZ"):
            need(not groups and len(layers) == 1 and "models" not in h)
            groups.append(sites_of(h, name, content, None))
            kind = name
        elif name in (b"GRPE", b"GRPZ", b"GRPM"):
            need((not groups or kind == name) and (name == b"GRPM") == ("models" in h))
            groups.append(group_of(h, at(end, 4), name, content, groups, layers))
            kind = name
        elif name == b"LAYR":
            need(not groups and len(layers) == 1)
            layers = layers_of(h, at(end, 4), content)
        elif name == b"MODL":
            need(not groups and "models" not in h and len(content) > 4)
            need(int.from_bytes(content[:4], "little") == at(end, 4))
            h["models"] = content[4:]
        else:
            need(name[:1].islower() and not groups)
        offset = stop + 4
    need(groups and sum(group.n for group in groups) == h["site_count"])
    need(kind[:1] == b"S" or len(groups) > 1)
    return h, joined(groups)


def sites_of(h: dict, name: bytes, content: bytes, group: tuple | None) -> Sites:
    """The sites of a chunk, of a group's after its fields."""
    if name.endswith(b"Z"):
        content = zstandard.ZstdDecompressor().decompress(content, allow_extra_data=False)
    reader = Varints(content)
    tau = [reader.next() for _ in range(4)]
    need(max(abs(v) for v in tau) <= 2**20)
    ranged = not name.endswith(b"Z")
    colors = range(h["channels"])
    columns = ("log_tau", "log_anisotropy", *(["radius"] if h["step_radius"] else []), *colors)
    source = (
        RangeSource(content[reader.at :], h.get("models", b""), columns)
        if ranged
        else VarintSource(reader)
    )
    return Sites(h, source, tau, group)


# ---- section 11 -----------------------------------------------------------------------------


def layers_of(h: dict, crc: int, content: bytes) -> list[int]:
    """The sites of each layer."""
    need(len(content) >= 12 and len(content) % 4 == 0)
    header, *layers = struct.unpack(f"<{len(content) // 4}I", content)
    need(header == crc and min(layers) >= 1 and sum(layers) == h["site_count"])
    return layers


def group_of(
    h: dict, crc: int, name: bytes, content: bytes, before: list[Sites], layers: list[int]
) -> Sites:
    """The sites of the chunk of a group."""
    header, first, n, low, high, spacing = struct.unpack("<IIIHHH", content[:18])
    need(header == crc and first == sum(group.n for group in before))
    need(1 <= n < h["site_count"] and first + n <= h["site_count"])
    starts = [sum(layers[:i]) for i in range(len(layers) + 1)]
    need(not any(first < start < first + n for start in starts))
    sites = sites_of(h, name, content[18:], (n, low, high, spacing))
    need(first in starts or before[-1].keys[-1] <= sites.keys[0])
    return sites


def joined(groups: list[Sites]) -> Sites:
    """All columns of the groups behind each other, in the first of them."""
    whole = groups[0]
    for group in groups[1:]:
        for name in ("xy", "T", "A", "D", "S", "u"):
            getattr(whole, name).extend(getattr(group, name))
        if whole.R is not None:
            whole.R.extend(group.R)
    return whole


# ---- section 4 ------------------------------------------------------------------------------


def to_float(value: float) -> float:
    """The nearest binary32 number."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def dequantize(h: dict, sites: Sites) -> list[list[float]]:
    """Rows of position, log_tau, radius, p, q and colour, each a binary32 number."""
    rows = []
    for i, (x, y) in enumerate(sites.xy):
        step = h["step_position"] / 1024
        radius = sites.R[i] * h["step_radius"] / 1024 if sites.R else 0.0
        a = sites.A[i] * h["step_log_anisotropy"] / 1024
        t = math.pi * sites.D[i] / sites.levels(sites.A[i])
        row = [(x + 0.5) * step, (y + 0.5) * step, sites.T[i] * h["step_log_tau"] / 1024, radius]
        row += [a * math.cos(2 * t), a * math.sin(2 * t)]
        value = [s * u / 2**26 for s, u in zip(sites.S[i], sites.u[i])]
        if len(value) >= 3:
            luma, co, cg = value[:3]
            luma, co, cg = luma / math.sqrt(3), co / math.sqrt(2), cg / math.sqrt(6)
            value[:3] = [luma + co - cg, luma + 2 * cg, luma - co - cg]
        rows.append([to_float(v) for v in row + value])
    return rows


# ---- section 5 ------------------------------------------------------------------------------


def draw(h: dict, rows: list[list[float]]) -> list[list[list[int]]]:
    """Code values [height][width][channel] of the sites in `rows`."""
    across, down = range(h["width"]), range(h["height"])
    return [[pixel(h, rows, i + 0.5, j + 0.5) for i in across] for j in down]


def pixel(h: dict, rows: list[list[float]], x: float, y: float) -> list[int]:
    """Code values of the channels at one point."""
    logits = [logit(row, x, y) for row in rows]
    best = sorted(range(len(rows)), key=lambda i: (-logits[i], i))[: h["k"]]
    weights = [math.exp(logits[i] - logits[best[0]]) for i in best]
    maximum = 65535 if h["bit_depth"] == 16 else 255
    values = []
    for c in range(h["channels"]):
        blend = sum(w * rows[i][6 + c] for w, i in zip(weights, best)) / sum(weights)
        values.append(math.floor(max(0.0, min(blend, 1.0)) * maximum + 0.5))
    return values


def logit(row: list[float], x: float, y: float) -> float:
    """How much a site claims the point (x, y)."""
    dx, dy, log_tau, radius, p, q = x - row[0], y - row[1], *row[2:6]
    a = math.hypot(p, q)
    ratio = math.sinh(a) / a if a else 1.0
    form = math.cosh(a) * (dx * dx + dy * dy) + ratio * (p * (dx * dx - dy * dy) + 2 * q * dx * dy)
    return math.exp(log_tau) * (radius - math.sqrt(max(form, 0.0)))
