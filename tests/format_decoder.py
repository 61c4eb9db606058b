"""A decoder of `.sad` files in plain Python, written from docs/FORMAT.md alone: slow and literal.

It shares nothing with the package; its tables are read from the document.
"""

from __future__ import annotations

import math
import struct
import zlib

import zstandard
from format_arithmetic import (
    LOG2E,
    PI,
    SCALE,
    Varints,
    bits,
    clamp,
    iatan2,
    icos,
    iexp2,
    ilog2,
    isin,
    nearest,
    need,
    offset,
    quotient,
    scale,
    size,
)
from format_sources import RangeSource, VarintSource

# ---- sections 7 and 9: prediction -----------------------------------------------------------


class Sites:
    """Decodes the columns of one file; attributes are named as in the document."""

    def __init__(
        self,
        h: dict,
        source: RangeSource | VarintSource,
        tau: list[int],
        group: tuple[int, int, int, int] | None = None,  # sites, low, high, spacing
    ) -> None:
        self.h, self.source, self.tau = h, source, tau
        self.n, low, high, self.spacing = group or (h["site_count"], 0, 0, None)
        self.gw = -(-1024 * h["width"] // h["step_position"])
        self.gh = -(-1024 * h["height"] // h["step_position"])
        need(max(self.gw, self.gh) <= 2**19)
        bx, by = bits(self.gw - 1), bits(self.gh - 1)
        begin, end, s = 0, 2 ** (bx + by), max(0, bx + by - 16)
        if group:
            need(low <= high and (high + 1) * 2**s <= end)
            begin, end = low * 2**s, (high + 1) * 2**s
        self.xy = source.positions(self.n, bx, by, self.gw, self.gh, begin, end)
        self.keys = [self.key(x, y, bx, by) for x, y in self.xy]
        need(self.keys == sorted(self.keys) and begin <= self.keys[0] and self.keys[-1] < end)
        self.neighbours()
        self.T, self.A, self.D = [0] * self.n, [0] * self.n, [0] * self.n
        self.R: list[int] | None = [0] * self.n if h["step_radius"] else None
        self.S = [[0] * h["channels"] for _ in range(self.n)]
        self.log_tau()
        self.log_anisotropy()
        self.angles()
        if self.R is not None:
            self.radius()
        self.colors()
        source.finish()

    def key(self, x: int, y: int, rx: int, ry: int) -> int:
        k = 0
        while rx or ry:
            if rx >= ry:
                rx -= 1
                k = 2 * k + (x >> rx & 1)
            else:
                ry -= 1
                k = 2 * k + (y >> ry & 1)
        return k

    def neighbours(self) -> None:
        self.near, self.coded, self.weight, self.L = [], [], [], []
        for i, (x, y) in enumerate(self.xy):
            d2 = [((u - x) ** 2 + (v - y) ** 2, j) for j, (u, v) in enumerate(self.xy) if j != i]
            near = sorted(d2)[:6]
            coded = sorted(p for p in d2 if p[1] < i)[:12]
            self.near.append([j for _, j in near])
            self.coded.append([j for _, j in coded])
            total = sum(ilog2(d + 1) for d, _ in near)
            self.L.append(total // (2 * len(near)) if near else 0)
            weight = []
            if coded:
                f, g = coded[0][0], coded[-1][0]
                h = max(0, bits(f + g) - 19)
                f >>= h
                weight = [(2**12 * (2 * f + 1)) // ((d >> h) + f + 1) for d, _ in coded]
            self.weight.append(weight)

    def mean(self, i: int, v: object) -> int:
        if not self.coded[i]:
            return 0
        total = sum(w * v(j) for w, j in zip(self.weight[i], self.coded[i]))
        return total // sum(self.weight[i])

    def excess(self, i: int) -> int:
        near = self.near[i]
        if not near:
            return 65536 * self.T[i]
        return 65536 * self.T[i] - 65536 * sum(self.T[j] for j in near) // len(near)

    def log_tau(self) -> None:
        alpha, beta, delta, gamma = self.tau
        limit, error = 10240 // self.h["step_log_tau"], []
        for i in range(self.n):
            m = self.mean(i, lambda j: 65536 * self.T[j])
            p = alpha * m + beta * self.L[i] + delta * self.mean(i, lambda j: self.L[j])
            value, third = nearest(256 * gamma + (p >> 8), 65536)
            value = clamp(value, -limit, limit)
            o = 65536 * self.T[self.coded[i][0]] - m if self.coded[i] else 0
            en = self.mean(i, lambda j: error[j])
            sign = 3 * offset(o, 65536) + third
            r = self.source.residual("log_tau", scale(en, 65536), 0, sign, third)
            self.T[i] = value + r
            need(abs(self.T[i]) <= limit)
            error.append(65536 * min(abs(r), 2**20))

    def log_anisotropy(self) -> None:
        step, error = self.h["step_log_anisotropy"], []
        for i in range(self.n):
            value, third = nearest(self.mean(i, lambda j: 65536 * self.A[j]), 65536)
            g = min((value * step) >> 8, 15)
            h = clamp(((self.T[i] * self.h["step_log_tau"]) >> 9) + 10, 0, 15)
            o = offset(self.excess(i) * self.h["step_log_tau"], 768 * 65536)
            en = scale(self.mean(i, lambda j: error[j]), 65536)
            sign_b = 9 * min(h, 13) + o
            r = self.source.residual("log_anisotropy", en, 16 * h + g, 3 * g + third, sign_b)
            self.A[i] = value + r
            need(0 <= self.A[i] <= 6144 // step)
            error.append(65536 * min(abs(r), 2**20))

    def levels(self, a: int) -> int:
        h = (a * self.h["step_log_anisotropy"] * LOG2E) >> 10
        s = (iexp2(h) - iexp2(-h)) >> 1
        b = self.h["step_angle"] * 2**22
        return clamp((PI * s + (b >> 1)) // b, 1, 4096)

    def angles(self) -> None:
        p, q = [], []
        for i in range(self.n):
            n, a = self.levels(self.A[i]), self.A[i] * self.h["step_log_anisotropy"]
            mp, mq = self.mean(i, lambda j: p[j]), self.mean(i, lambda j: q[j])
            w = iatan2(mq, mp)
            z = ((w * n + 32768) >> 16) % n
            v = max(abs(mp), abs(mq)) + min(abs(mp), abs(mq)) // 2
            c = sum(b < v for b in (120, 250, 400, 560, 720, 900, 1100, 1300, 1600, 2000))
            g = sum(b <= a for b in (500, 900, 1300, 1700, 2200))
            self.D[i] = (z + self.source.direction(n, c, g, w)) % n
            own = 65536 * self.D[i] // n
            p.append((a * icos(own)) >> 14)
            q.append((a * isin(own)) >> 14)

    def radius(self) -> None:
        limit, error = 1048576 // self.h["step_radius"], []
        for i in range(self.n):
            m = self.mean(i, lambda j: 65536 * self.R[j])
            value, third = nearest(m, 65536)
            o = 65536 * self.R[self.coded[i][0]] - m if self.coded[i] else 0
            en = scale(self.mean(i, lambda j: error[j]), 65536)
            r = self.source.residual("radius", en, 0, 3 * offset(o, 65536) + third, third)
            self.R[i] = value + r
            need(abs(self.R[i]) <= limit)
            error.append(65536 * min(abs(r), 2**20))

    def step_classes(self) -> list[int]:
        if self.n == 1:
            return [0]
        reference = sum(self.L) // self.n if self.spacing is None else 32 * self.spacing
        out = []
        for i in range(self.n):
            sharp = self.h["class_tau_gain"] * self.h["step_log_tau"] * self.excess(i) * LOG2E
            far = self.h["class_distance_gain"] * (self.L[i] - reference)
            out.append(clamp(((sharp >> 26) - far + 2**21) >> 22, -8, 8))
        return out

    def metric(self, i: int) -> tuple[int, int, int, int]:
        h = (self.A[i] * self.h["step_log_anisotropy"] * LOG2E) >> 10
        ch, sh = (iexp2(h) + iexp2(-h)) >> 9, (iexp2(h) - iexp2(-h)) >> 9
        w = 65536 * self.D[i] // self.levels(self.A[i])
        p = (sh * icos(w)) >> 14
        lt = (2 * self.T[i] * self.h["step_log_tau"] * LOG2E) >> 10
        return ch + p, ch - p, (sh * isin(w)) >> 14, lt

    def closeness(self, i: int, metrics: list) -> tuple[list[int], int]:
        """Weights W of the coded neighbours, and the most similar one."""

        def form(m: tuple, x: int, y: int) -> int:
            return max(0, m[0] * x * x + m[1] * y * y + 2 * m[2] * x * y)

        (x, y), coded = self.xy[i], self.coded[i]
        d = [(self.xy[j][0] - x, self.xy[j][1] - y) for j in coded]
        h = max(0, bits(max(max(abs(u), abs(v)) for u, v in d)) - 13)
        distance = []
        for j, (u, v) in zip(coded, d):
            s = iexp2(clamp(metrics[j][3] - metrics[i][3], -(2**19), 2**19)) >> 8
            mine = form(metrics[i], u >> h, v >> h)
            distance.append(min(mine + ((form(metrics[j], u >> h, v >> h) * s) >> 8), 2**47))
        f, g = min(distance), max(distance)
        similar = coded[distance.index(f)]
        h = max(0, bits(g + 8 * f) - 20)
        f >>= h
        return [(2**11 * (9 * f + 1)) // ((v >> h) + 8 * f + 1) for v in distance], similar

    def colors(self) -> None:
        channels, classes = self.h["channels"], self.step_classes()
        self.u = [[s * SCALE[k + 8] for s in self.h["step_color"]] for k in classes]
        value, error, metrics = [], [], []

        def slope(cov: int, var: int) -> int:
            return clamp(quotient(cov, (var >> 12) + 1), -16384, 16384)

        for i in range(self.n):
            metrics.append(self.metric(i))
            coded, u = self.coded[i], self.u[i]
            weight, similar = self.closeness(i, metrics) if coded else ([], 0)
            value.append([0] * channels)
            error.append([0] * channels)
            mean, slopes, r = [0] * channels, [0] * channels, 0

            def wmean(v: object, weight: list = weight, coded: list = coded) -> int:
                if not coded:
                    return 0
                return sum(w * v(j) for w, j in zip(weight, coded)) // sum(weight)

            def dev(j: int, c: int, mean: list = mean) -> int:
                return (value[j][c] - mean[c]) >> 12

            def own(c: int, i: int = i, mean: list = mean) -> int:
                return value[i][c] - mean[c]

            stiff = 4 * sum(weight) * (u[0] >> 12) ** 2
            for c in range(channels):
                mean[c] = wmean(lambda j, c=c: value[j][c])
                b = mean[c]
                if coded and c in (1, 2):
                    cov = sum(w * dev(j, 0) * dev(j, c) for w, j in zip(weight, coded))
                    var = stiff + sum(w * dev(j, 0) ** 2 for w, j in zip(weight, coded))
                    slopes[c] = slope(cov, var)
                    b += (slopes[c] * own(0)) >> 12
                if coded and c == 2:
                    rest = [dev(j, 1) - ((slopes[1] * dev(j, 0)) >> 12) for j in coded]
                    left = [dev(j, 2) - ((slopes[2] * dev(j, 0)) >> 12) for j in coded]
                    cov = sum(w * s * t for w, s, t in zip(weight, rest, left))
                    var = stiff + sum(w * s * s for w, s in zip(weight, rest))
                    b += (slope(cov, var) * (own(1) - ((slopes[1] * own(0)) >> 12))) >> 12
                limit = 2**29 // u[c]
                predicted, third = nearest(b, u[c])
                predicted = clamp(predicted, -limit, limit)
                en = wmean(lambda j, c=c: error[j][c])
                spread = wmean(lambda j, c=c, m=mean: abs(value[j][c] - m[c]))
                o = offset(value[similar][c] - mean[c] if coded else 0, u[c])
                detail = 4 * (scale(spread + en, 2 * u[c]) // 2) + size(r)
                sign_b = 9 * offset(r, 1) + o
                r = self.source.residual(c, scale(en, u[c]), detail, 3 * o + third, sign_b)
                self.S[i][c] = predicted + r
                need(abs(self.S[i][c]) <= limit)
                value[i][c] = self.S[i][c] * u[c]
                error[i][c] = abs(value[i][c] - b)


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
