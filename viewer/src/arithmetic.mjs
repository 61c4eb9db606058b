// Integer functions of docs/FORMAT.md, sections 1, 6 and 9. A Number holds integers below 2^53
// exactly, and quotients of such integers are floored exactly; BigInt serves where files may state
// larger products. Bit operations are used only on what fits 32 bits.

export const LOG2E = 94548;
const PI = 205887;
export const EXACT = 2 ** 53;

/** Number of binary digits of an integer 0 <= v < 2^53. */
export function bits(v) {
  const high = Math.floor(v / 4294967296);
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(v);
}

export function clamp(v, low, high) {
  return v < low ? low : v > high ? high : v;
}

// A table is many times as fast as the operator.
const POWERS = Float64Array.from({ length: 64 }, (_, n) => 2 ** n);

/** 2^n, 0 <= n < 64. */
export function power(n) {
  return POWERS[n];
}

/** floor(v / 2^n) of any integer, 0 <= n < 64. */
export function shift(v, n) {
  return Math.floor(v / POWERS[n]);
}

/** floor((a b + c) / d) of integers, d > 0, whatever the size of the product. */
export function mulDiv(a, b, c, d) {
  const product = a * b + c;
  if (Math.abs(product) < EXACT) return Math.floor(product / d);
  const whole = BigInt(a) * BigInt(b) + BigInt(c);
  const quotient = whole / BigInt(d);
  return Number(whole < 0n && quotient * BigInt(d) !== whole ? quotient - 1n : quotient);
}

export function ilog2(v) {
  const e = bits(v) - 1;
  const f = Math.floor(((v - POWERS[e]) * 65536) / POWERS[e]);
  return 65536 * e + shift(f * (88244 - shift(22708 * f, 16)), 16);
}

export function iexp2(v) {
  const e = shift(v, 16);
  if (e < -40) return 0;
  const f = v - 65536 * e;
  const m = 65536 + shift(f * (43024 + shift(22512 * f, 16)), 16);
  return e >= 0 ? m * POWERS[e] : shift(m, -e);
}

/** Number of directions that a site of log_anisotropy symbol a has. */
export function levels(header, a) {
  const h = shift(a * header.stepLogAnisotropy * LOG2E, 10);
  const s = shift(iexp2(h) - iexp2(-h), 1);
  const b = header.stepAngle * 4194304;
  return clamp(Math.floor((PI * s + shift(b, 1)) / b), 1, 4096);
}

/** Cosine, Q14, of an angle in 1/65536 turns. */
export function icos(u) {
  let v = u & 65535;
  if (v > 32768) v = 65536 - v;
  const z = v <= 16384 ? 16384 - v : v - 16384;
  let y = (z * (32768 - z)) >> 14;
  y = (y * (12698 + ((3686 * y) >> 14))) >> 14;
  return v <= 16384 ? y : -y;
}

export function isin(u) {
  return icos(u - 16384);
}

/** Direction of (x, y) in 1/65536 turns. */
export function iatan2(y, x) {
  if (x === 0 && y === 0) return 0;
  const ax = Math.abs(x);
  const ay = Math.abs(y);
  const r = Math.floor((32768 * Math.min(ax, ay)) / Math.max(ax, ay));
  let g = shift(r * (8192 + ((2847 * (32768 - r)) >> 15)), 15);
  if (ay > ax) g = 16384 - g;
  if (x < 0) g = 32768 - g;
  if (y < 0) g = -g;
  return g & 65535;
}

/** `round` of the document: {quotient, third}. */
export function rounded(a, b) {
  const s = a + Math.floor(b / 2);
  const quotient = Math.floor(s / b);
  const r = 3 * (s - quotient * b);
  return { quotient, third: r < b ? 0 : r < 2 * b ? 1 : 2 };
}

export function scaleClass(m, u) {
  const v = Math.floor((16 * m) / u);
  if (v < 2) return v;
  const e = bits(v) - 1;
  return Math.min(2 * e + (shift(v, e - 1) % 2), 23);
}

export function offsetClass(v, u) {
  const w = Math.floor((4 * Math.abs(v)) / u);
  const m = w < 1 ? 0 : w < 3 ? 1 : w < 6 ? 2 : w < 14 ? 3 : 4;
  return v < 0 ? 4 - m : 4 + m;
}

export function sizeClass(r) {
  const m = Math.abs(r);
  return m < 2 ? m : m < 4 ? 2 : 3;
}
