// Colours: docs/FORMAT.md, section 9.

import {
  bits,
  clamp,
  EXACT,
  icos,
  iexp2,
  isin,
  LOG2E,
  offsetClass,
  rounded,
  scaleClass,
  shift,
  sizeClass,
} from "./arithmetic.mjs";
import { need } from "./errors.mjs";
import { SCALE } from "./tables.mjs";

/** Metrics of the sites, four numbers each: xx, yy, xy and lt. */
function metrics(header, sites, turn) {
  const count = turn.length;
  const out = new Float64Array(4 * count);
  for (let i = 0; i < count; ++i) {
    const h = shift(sites.logAnisotropy[i] * header.stepLogAnisotropy * LOG2E, 10);
    const ch = shift(iexp2(h) + iexp2(-h), 9);
    const sh = shift(iexp2(h) - iexp2(-h), 9);
    const p = shift(sh * icos(turn[i]), 14);
    out[4 * i] = ch + p;
    out[4 * i + 1] = ch - p;
    out[4 * i + 2] = shift(sh * isin(turn[i]), 14);
    out[4 * i + 3] = shift(2 * sites.logTau[i] * header.stepLogTau * LOG2E, 10);
  }
  return out;
}

function form(m, i, x, y) {
  return Math.max(0, m[4 * i] * x * x + m[4 * i + 1] * y * y + 2 * m[4 * i + 2] * x * y);
}

/** Slope (Q12) of b over a, n weighted terms; 4 total unit^2 pulls it to 0. */
function slope(n, weight, total, a, b, unit) {
  let variance = 4 * total * unit * unit;
  let covariance = 0;
  let size = 0;
  for (let k = 0; k < n; ++k) {
    const term = weight[k] * a[k] * b[k];
    variance += weight[k] * a[k] * a[k];
    covariance += term;
    size += Math.abs(term);
  }
  // Sums of such a size come from steps that no picture needs.
  if (variance >= EXACT || size >= EXACT) return exactSlope(n, weight, total, a, b, unit);
  return clamp(Math.trunc(covariance / (Math.floor(variance / 4096) + 1)), -16384, 16384);
}

function exactSlope(n, weight, total, a, b, unit) {
  let variance = 4n * BigInt(total) * BigInt(unit) ** 2n;
  let covariance = 0n;
  for (let k = 0; k < n; ++k) {
    const w = BigInt(weight[k]) * BigInt(a[k]);
    variance += w * BigInt(a[k]);
    covariance += w * BigInt(b[k]);
  }
  return clamp(Number(covariance / ((variance >> 12n) + 1n)), -16384, 16384);
}

/** Means over the coded neighbours of one site at a time, weighted in both sites' metrics. */
class Similarity {
  constructor(sites, coded, metric, channels, value) {
    Object.assign(this, { sites, coded, metric, channels, value });
    this.weight = new Float64Array(12);
    this.distance = new Float64Array(12);
    this.mean = [0, 0, 0, 0];
    this.slope = [0, 0, 0, 0];
    this.a = new Float64Array(12);
    this.b = new Float64Array(12);
  }

  start(i) {
    const { sites, coded, metric, weight, distance } = this;
    this.site = i;
    this.n = Math.min(12, i);
    this.total = 0;
    if (this.n === 0) return;
    let reach = 0;
    for (let k = 0; k < this.n; ++k) {
      const j = coded[12 * i + k];
      const dx = Math.abs(sites.x[j] - sites.x[i]);
      reach = Math.max(reach, dx, Math.abs(sites.y[j] - sites.y[i]));
    }
    const h = Math.max(0, bits(reach) - 13);
    let nearest = Infinity;
    let farthest = 0;
    for (let k = 0; k < this.n; ++k) {
      const j = coded[12 * i + k];
      const dx = (sites.x[j] - sites.x[i]) >> h;
      const dy = (sites.y[j] - sites.y[i]) >> h;
      const s = shift(iexp2(clamp(metric[4 * j + 3] - metric[4 * i + 3], -524288, 524288)), 8);
      const other = form(metric, j, dx, dy);
      // floor(other s / 256) in two parts: the product may exceed 2^53.
      const high = Math.floor(other / 256);
      const scaled = high * s + Math.floor(((other - 256 * high) * s) / 256);
      const d = Math.min(form(metric, i, dx, dy) + scaled, 2 ** 47);
      distance[k] = d;
      farthest = Math.max(farthest, d);
      if (d < nearest) {
        nearest = d;
        this.similar = j;
      }
    }
    const narrow = Math.max(0, bits(farthest + 8 * nearest) - 20);
    const f = shift(nearest, narrow);
    for (let k = 0; k < this.n; ++k) {
      weight[k] = Math.floor((2048 * (9 * f + 1)) / (shift(distance[k], narrow) + 8 * f + 1));
      this.total += weight[k];
    }
  }

  /** floor of the weighted mean of |values[channels j + c] - from|, or of the plain values. */
  average(values, c, from) {
    if (this.n === 0) return 0;
    let sum = 0;
    for (let k = 0; k < this.n; ++k) {
      const v = values[this.channels * this.coded[12 * this.site + k] + c];
      sum += this.weight[k] * (from === undefined ? v : Math.abs(v - from));
    }
    return Math.floor(sum / this.total);
  }

  deviation(k, c) {
    const j = this.coded[12 * this.site + k];
    return shift(this.value[this.channels * j + c] - this.mean[c], 12);
  }

  own(c) {
    return this.value[this.channels * this.site + c] - this.mean[c];
  }

  /** B of the document; the axes before c must be known. unit: the step of axis 0. */
  predict(c, unit) {
    this.mean[c] = this.average(this.value, c);
    if (this.n === 0 || c === 0 || c === 3) return this.mean[c];
    const { a, b, n, total, weight } = this;
    const stiffness = shift(unit, 12);
    for (let k = 0; k < n; ++k) {
      a[k] = this.deviation(k, 0);
      b[k] = this.deviation(k, c);
    }
    this.slope[c] = slope(n, weight, total, a, b, stiffness);
    let result = this.mean[c] + shift(this.slope[c] * this.own(0), 12);
    if (c === 1) return result;
    for (let k = 0; k < n; ++k) {
      b[k] -= shift(this.slope[2] * a[k], 12);
      a[k] = this.deviation(k, 1) - shift(this.slope[1] * a[k], 12);
    }
    const rest = this.own(1) - shift(this.slope[1] * this.own(0), 12);
    result += shift(slope(n, weight, total, a, b, stiffness) * rest, 12);
    return result;
  }
}

/** Colour symbols times their steps: {value: Float64Array [N x C], Q26}. */
export function readColors(header, source, { coded }, sites, turn, classes) {
  const { channels, stepColor } = header;
  const count = turn.length;
  const value = new Float64Array(channels * count);
  const error = new Float64Array(channels * count);
  const means = new Similarity(sites, coded, metrics(header, sites, turn), channels, value);
  for (let i = 0; i < count; ++i) {
    means.start(i);
    let r = 0;
    for (let c = 0; c < channels; ++c) {
      const u = stepColor[c] * SCALE[classes[i]];
      const limit = Math.floor(536870912 / u);
      const b = means.predict(c, stepColor[0] * SCALE[classes[i]]);
      const { quotient, third } = rounded(b, u);
      const energy = means.average(error, c);
      const spread = means.average(value, c, means.mean[c]);
      const near = means.n > 0 ? value[channels * means.similar + c] - means.mean[c] : 0;
      const o = offsetClass(near, u);
      const detail = 4 * (scaleClass(spread + energy, 2 * u) >> 1) + sizeClass(r);
      const signB = 9 * offsetClass(r, 1) + o;
      r = source.residual(c, scaleClass(energy, u), detail, 3 * o + third, signB);
      const symbol = clamp(quotient, -limit, limit) + r;
      need(Math.abs(symbol) <= limit, "colour out of range");
      value[channels * i + c] = symbol * u;
      error[channels * i + c] = Math.abs(symbol * u - b);
    }
  }
  return { value };
}
