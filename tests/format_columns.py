"""The columns of sites from their predictions: sections 7 and 9 of docs/FORMAT.md, literally."""

from __future__ import annotations

from format_arithmetic import (
    LOG2E,
    PI,
    SCALE,
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
