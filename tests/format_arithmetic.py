"""Integer functions and range decoder in plain Python, from docs/FORMAT.md (sections 1, 6, 8)."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "FORMAT.md"

LOG2E, PI = 94548, 205887
SCALE = [256, 362, 512, 724, 1024, 1448, 2048, 2896, 4096, 5793, 8192, 11585, 16384, 23170, 32768]
SCALE += [46341, 65536]


def _tables() -> tuple[list[int], list[list[list[int]]], list[list[int]]]:
    text = DOCUMENT.read_text(encoding="utf-8").split("## Tables")[1]
    logistic = [int(v) for v in re.findall(r"\d+", text.split("2048:")[1].split("\n\n")[1])]
    rows = [
        bytes.fromhex(row)
        for row in re.findall(r"^    ((?:[0-9a-f]{2} ?){16})$", text, re.MULTILINE)
    ]
    table = [list(row) for row in rows]
    return logistic, [table[:24], table[24:48]], table[48:59]


LOGISTIC, PRIOR, DIRECTION_PRIOR = _tables()


class CorruptError(Exception):
    """The file breaks a rule of the document."""


def need(condition: bool) -> None:
    if not condition:
        raise CorruptError


# ---- section 1 and 6 ------------------------------------------------------------------------


def bits(v: int) -> int:
    return v.bit_length()


def quotient(a: int, b: int) -> int:
    """Division rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def clamp(v: int, low: int, high: int) -> int:
    return max(low, min(v, high))


def ilog2(v: int) -> int:
    e = bits(v) - 1
    m = v - 2**e
    f = m >> (e - 16) if e >= 16 else m * 2 ** (16 - e)
    return 65536 * e + ((f * (88244 - ((22708 * f) >> 16))) >> 16)


def iexp2(v: int) -> int:
    e, f = v >> 16, v & 65535
    m = 65536 + ((f * (43024 + ((22512 * f) >> 16))) >> 16)
    if e >= 0:
        return m * 2**e
    return m >> -e if e >= -40 else 0


def icos(u: int) -> int:
    v = u & 65535
    if v > 32768:
        v = 65536 - v
    z = 16384 - v if v <= 16384 else v - 16384
    y = (z * (32768 - z)) >> 14
    y = (y * (12698 + ((3686 * y) >> 14))) >> 14
    return y if v <= 16384 else -y


def isin(u: int) -> int:
    return icos(u - 16384)


def iatan2(y: int, x: int) -> int:
    if x == 0 and y == 0:
        return 0
    r = (2**15 * min(abs(x), abs(y))) // max(abs(x), abs(y))
    g = (r * (8192 + ((2847 * (32768 - r)) >> 15))) >> 15
    if abs(y) > abs(x):
        g = 16384 - g
    if x < 0:
        g = 32768 - g
    if y < 0:
        g = -g
    return g & 65535


def nearest(a: int, b: int) -> tuple[int, int]:
    """`round` of the document: quotient and third."""
    s = a + b // 2
    v = s // b
    r = 3 * (s - v * b)
    return v, 0 if r < b else 1 if r < 2 * b else 2


def scale(m: int, u: int) -> int:
    v = 16 * m // u
    if v < 2:
        return v
    e = bits(v) - 1
    return min(2 * e + ((v >> (e - 1)) & 1), 23)


def offset(v: int, u: int) -> int:
    w = 4 * abs(v) // u
    m = 0 if w < 1 else 1 if w < 3 else 2 if w < 6 else 3 if w < 14 else 4
    return 4 - m if v < 0 else 4 + m


def size(r: int) -> int:
    return abs(r) if abs(r) < 2 else 2 if abs(r) < 4 else 3


# ---- section 8 ------------------------------------------------------------------------------


def squash(d: int) -> int:
    e = d + 2048
    a, b = LOGISTIC[e >> 7], LOGISTIC[(e >> 7) + 1]
    return clamp(a + (((b - a) * (e & 127)) >> 7), 32, 65504)


def _stretch_table() -> list[int]:
    table, d = [], -2047
    for i in range(4096):
        while d < 2047 and squash(d) < 16 * i + 8:
            d += 1
        table.append(d)
    return table


STRETCH = _stretch_table()


class Model:
    def __init__(self, p: int = 32768, count: int = 0) -> None:
        self.p, self.count = p, count

    def update(self, b: int) -> None:
        rate = 131072 // (2 * self.count + 3)
        if b:
            self.p = min(self.p + (((65536 - self.p) * rate) >> 16), 65504)
        else:
            self.p = max(self.p - ((self.p * rate) >> 16), 32)
        self.count = min(self.count + 1, 255)


class Fresh(dict):
    """Models by context, made when first used."""

    def __missing__(self, key: object) -> Model:
        self[key] = Model()
        return self[key]


class RangeDecoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.range = data, 4, 2**32 - 1
        self.code = int.from_bytes((data[:4] + bytes(4))[:4], "big")

    def normalize(self) -> None:
        while self.range < 2**24:
            need(self.at < len(self.data) + 4)
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.range *= 256
            self.code = (self.code * 256 + byte) % 2**32
            self.at += 1

    def fixed(self, p: int) -> int:
        b = (self.range * p) >> 16
        result = int(self.code < b)
        if result:
            self.range = b
        else:
            self.code -= b
            self.range -= b
        self.normalize()
        return result

    def uniform(self, n: int) -> int:
        if n == 1:
            return 0
        self.range //= n
        v = self.code // self.range
        need(v < n)
        self.code -= v * self.range
        self.normalize()
        return v

    def raw(self, c: int) -> int:
        v = 0
        while c > 12:
            v, c = v * 4096 + self.uniform(4096), c - 12
        return v * 2**c + self.uniform(2**c)

    def adaptive(self, m: Model) -> int:
        b = self.fixed(m.p)
        m.update(b)
        return b

    def mixed(self, weight: list[int], models: list[Model]) -> int:
        s = [(STRETCH[m.p >> 4] * (512 * m.count // (2 * m.count + 3))) >> 8 for m in models]
        d = clamp(sum(w * v for w, v in zip(weight, s)) >> 16, -2047, 2047)
        b = self.fixed(squash(d))
        e = 65536 * b - squash(d)
        for j, m in enumerate(models):
            weight[j] = clamp(weight[j] + ((s[j] * e + 32768) >> 16), -(2**22), 2**22)
            m.update(b)
        return b

    def finish(self) -> None:
        need(len(self.data) <= self.at)
        if self.at < len(self.data) + 4 and self.data:
            need(self.data[-1] != 0)


class Varints:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def next(self) -> int:
        v = 0
        for i in range(5):
            need(self.at < len(self.data))
            byte = self.data[self.at]
            self.at += 1
            v |= (byte & 127) << (7 * i)
            if byte < 128:
                need(byte != 0 or i == 0)
                return v >> 1 if v % 2 == 0 else -((v + 1) >> 1)
        raise CorruptError
