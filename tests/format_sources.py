"""What either profile reads for a column, in plain Python, from docs/FORMAT.md (sections 9, 10)."""

from __future__ import annotations

from itertools import product
from math import comb

from format_arithmetic import (
    DIRECTION_PRIOR,
    PRIOR,
    Fresh,
    Model,
    RangeDecoder,
    Varints,
    bits,
    clamp,
    need,
)

# ---- section 9: what is read from the range coder -------------------------------------------


class RangeSource:
    def __init__(self, data: bytes, table: bytes = b"", columns: tuple = ()) -> None:
        self.coder = RangeDecoder(data)
        self.columns: dict[object, dict] = {}
        self.fresh_angle()
        if table:
            self.start(RangeDecoder(table), columns)

    def start(self, r: RangeDecoder, columns: tuple) -> None:
        """Section 11, Models."""
        given, g = Fresh(), 0

        def models(places: object, of: dict) -> None:
            nonlocal g
            for place in places:
                g = r.adaptive(given[g])
                if g:
                    of[place] = Model(256 * r.raw(8) + 128, 150)

        def weights(mixers: list) -> None:
            for mixer in mixers:
                mixer[:] = [128 * (r.raw(16) - 32768) for _ in mixer]

        for column in columns:
            m = self.column(column)
            models(product(range(24), range(16)), m["scale"])
            models(product(range(256), range(16)), m["detail"])
            models(range(128), m["sign"][0])
            models(range(128), m["sign"][1])
            weights([*m["mixer"], m["sign_mixer"]])
        models(product(range(11), range(16)), self.angle[0])
        models(product(range(11), range(6), range(16)), self.angle[1])
        models(product(range(16), range(6), range(16)), self.angle[2])
        weights(self.angle_mixer)
        r.finish()

    def fresh_angle(self) -> None:
        self.angle = [
            {
                (c, n): Model(256 * DIRECTION_PRIOR[c][n] + 128, 150)
                for c in range(11)
                for n in range(16)
            },
            Fresh(),
            Fresh(),
        ]
        self.angle_mixer = [[45875, 13107, 13107] for _ in range(16)]

    def positions(
        self, count: int, bx: int, by: int, gw: int, gh: int, begin: int, end: int
    ) -> list[tuple[int, int]]:
        """Cells of the sites, whose keys lie in begin..end - 1."""
        r = self.coder
        small = {}
        for c in range(2, 9):
            self.start_small(small, c, 0, c)
        large = {
            z: {
                "nonzero": Model(58000, 5),
                "negative": Model(32768, 5),
                "unary": [Model(38000, 5) for _ in range(12)],
                "escape": Fresh(),
            }
            for z in range(25)
        }
        out = []

        def inside(key: int, keys: int) -> int:
            return max(0, min(end, key + keys) - max(begin, key))

        def node(x: int, y: int, rx: int, ry: int, count: int, key: int = 0) -> None:
            if count == 0:
                return
            if (rx == 0 and ry == 0) or count == 1:
                x, y = x * 2**rx + r.raw(rx), y * 2**ry + r.raw(ry)
                need(x < gw and y < gh)
                out.extend([(x, y)] * count)
                return
            along_x = rx >= ry
            half = 2 ** ((rx if along_x else ry) - 1)
            start = (2 * x if along_x else 2 * y) * half
            upper = clamp((gw if along_x else gh) - start - half, 0, half)
            keys = 2 ** (rx + ry - 1)
            w0 = inside(key, keys)
            w1 = (inside(key + keys, keys) * upper + half - 1) // half
            if w1 == 0:
                low = count
            elif w0 == 0:
                low = 0
            elif w0 != w1:
                low = self.large(large, count, count * w0 // (w0 + w1))
            elif count <= 8:
                low = self.small(small, count)
            else:
                low = self.large(large, count, count // 2)
            high, up = count - low, key + keys
            if along_x:
                node(2 * x, y, rx - 1, ry, low, key)
                node(2 * x + 1, y, rx - 1, ry, high, up)
            else:
                node(x, 2 * y, rx, ry - 1, low, key)
                node(x, 2 * y + 1, rx, ry - 1, high, up)

        node(0, 0, bx, by, count)
        return out

    def start_small(self, small: dict, c: int, low: int, high: int) -> None:
        if low < high:
            m = (low + high) // 2
            a = sum(comb(c, v) for v in range(m + 1, high + 1))
            b = sum(comb(c, v) for v in range(low, high + 1))
            small[c, m] = Model(65536 * a // b, 60)
            self.start_small(small, c, low, m)
            self.start_small(small, c, m + 1, high)

    def small(self, small: dict, c: int) -> int:
        low, high = 0, c
        while low < high:
            m = (low + high) // 2
            if self.coder.adaptive(small[c, m]):
                low = m + 1
            else:
                high = m
        return low

    def large(self, large: dict, c: int, expected: int) -> int:
        r, z = self.coder, bits(c) - 1
        g, models = max(0, z // 2 - 1), large[z]
        if not r.adaptive(models["nonzero"]):
            return expected
        negative = r.adaptive(models["negative"])
        q = 0
        while q < 12 and r.adaptive(models["unary"][q]):
            q += 1
        if q == 12:
            b = 0
            while r.adaptive(models["escape"][b]):
                b += 1
                need(b <= 24)
            q = 11 + 2**b + r.raw(b)
        magnitude = 2**g * q + r.raw(g) + 1
        result = expected - magnitude if negative else expected + magnitude
        need(0 <= result <= c)
        return result

    def column(self, column: object) -> dict:
        if column not in self.columns:
            prior = PRIOR[0 if isinstance(column, int) else 1]
            self.columns[column] = {
                "scale": {
                    (s, b): Model(256 * prior[s][b] + 128, 150)
                    for s in range(24)
                    for b in range(16)
                },
                "detail": Fresh(),
                "sign": (Fresh(), Fresh()),
                "escape": Fresh(),
                "mixer": [[45875, 13107] for _ in range(16)],
                "sign_mixer": [29491, 29491],
            }
        return self.columns[column]

    def residual(self, column: object, scale: int, detail: int, sign_a: int, sign_b: int) -> int:
        r, m = self.coder, self.column(column)

        def one(b: int) -> int:
            return r.mixed(m["mixer"][b], [m["scale"][scale, b], m["detail"][detail, b]])

        if not one(0):
            return 0
        negative = r.mixed(m["sign_mixer"], [m["sign"][0][sign_a], m["sign"][1][sign_b]])
        k = 0
        while k < 15 and one(k + 1):
            k += 1
        if k == 15:
            while r.adaptive(m["escape"][k - 15]):
                k += 1
                need(k <= 45)
        g = k // 2 - 1
        magnitude = k + 1 if k < 4 else 2**g * (2 + (k & 1)) + r.raw(g) + 1
        return -magnitude if negative else magnitude

    def direction(self, n: int, c: int, g: int, w: int) -> int:
        if n == 1:
            return 0

        def start(k: int) -> int:
            return ((2 * k - 1) * n + 31) // 32

        low, high, node = 0, 16, 1
        for _ in range(4):
            m = (low + high) // 2
            if start(m) == start(low):
                b = 1
            elif start(m) == start(high):
                b = 0
            else:
                models = [
                    self.angle[0][c, node],
                    self.angle[1][c, g, node],
                    self.angle[2][w >> 12, c // 2, node],
                ]
                b = self.coder.mixed(self.angle_mixer[node], models)
            low, high = (m, high) if b else (low, m)
            node = 2 * node + b
        return (start(low) + self.coder.uniform(start(high) - start(low))) % n

    def finish(self) -> None:
        self.coder.finish()


class VarintSource:
    """Section 10."""

    def __init__(self, reader: Varints) -> None:
        self.reader = reader

    def positions(
        self, count: int, _bx: int, _by: int, gw: int, gh: int, *_: int
    ) -> list[tuple[int, int]]:
        axes = []
        for limit in (gw, gh):
            v, axis = 0, []
            for _ in range(count):
                v += self.reader.next()
                need(0 <= v < limit)
                axis.append(v)
            axes.append(axis)
        return list(zip(*axes))

    def residual(self, *_: object) -> int:
        return self.reader.next()

    def direction(self, n: int, *_: object) -> int:
        v = self.reader.next()
        need(-((n - 1) // 2) <= v <= n // 2)
        return v % n

    def finish(self) -> None:
        need(self.reader.at == len(self.reader.data))
