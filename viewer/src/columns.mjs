// Symbols of all columns of one chunk of sites: docs/FORMAT.md, sections 7, 9 and 11.

import {
  bits,
  clamp,
  iatan2,
  icos,
  isin,
  levels,
  mulDiv,
  LOG2E,
  offsetClass,
  rounded,
  scaleClass,
  shift,
} from "./arithmetic.mjs";
import { readColors } from "./colors.mjs";
import { need } from "./errors.mjs";
import { findNeighbours } from "./neighbours.mjs";

// Columns of residuals, after the colour axes 0..3.
export const LOG_TAU = 4;
export const LOG_ANISOTROPY = 5;
export const RADIUS = 6;

const COHERENCE = [120, 250, 400, 560, 720, 900, 1100, 1300, 1600, 2000];
const ELONGATION = [500, 900, 1300, 1700, 2200];

/** The position grid: cells, bits of either axis, and the keys from `begin` to `end` - 1. */
export function gridOf(header, group) {
  const width = Math.ceil((1024 * header.width) / header.stepPosition);
  const height = Math.ceil((1024 * header.height) / header.stepPosition);
  const bitsX = bits(width - 1);
  const bitsY = bits(height - 1);
  const grid = { width, height, bitsX, bitsY, begin: 0, end: 2 ** (bitsX + bitsY) };
  if (group) {
    const unit = 2 ** Math.max(0, bitsX + bitsY - 16);
    const end = (group.high + 1) * unit;
    need(group.low <= group.high && end <= grid.end, "group fields out of range");
    return { ...grid, begin: group.low * unit, end };
  }
  return grid;
}

/** Key of a cell: the order in which sites are stored. */
export function keyOf(grid, x, y) {
  let key = 0;
  let rx = grid.bitsX;
  let ry = grid.bitsY;
  while (rx > 0 || ry > 0) key = 2 * key + (rx >= ry ? (x >> --rx) & 1 : (y >> --ry) & 1);
  return key;
}

function checkOrder(grid, x, y) {
  let last = -1;
  for (let i = 0; i < x.length; ++i) {
    const key = keyOf(grid, x[i], y[i]);
    need(key >= last, "positions not in traversal order");
    need(key >= grid.begin && key < grid.end, "positions outside the group's interval");
    last = key;
  }
}

/** What the columns know of the sites decoded so far, and what all of them predict from. */
class Reader {
  constructor(header, source, near, count) {
    Object.assign(this, near);
    this.header = header;
    this.source = source;
    this.count = count;
    this.error = new Float64Array(count);
  }

  /** floor(factor x the weighted mean of `values` over the coded neighbours), 0 without any. */
  mean(i, values, factor = 1) {
    const n = Math.min(12, i);
    if (n === 0) return 0;
    let sum = 0;
    let total = 0;
    for (let k = 12 * i; k < 12 * i + n; ++k) {
      sum += this.weight[k] * values[this.coded[k]];
      total += this.weight[k];
    }
    return Math.floor((sum * factor) / total);
  }

  /** E of the document. */
  excess(i, logTau) {
    if (this.nearCount === 0) return 65536 * logTau[i];
    let sum = 0;
    for (let k = 0; k < this.nearCount; ++k) sum += logTau[this.near[6 * i + k]];
    return 65536 * logTau[i] - Math.floor((65536 * sum) / this.nearCount);
  }

  /** One residual in the context of the last ones of its column. */
  residual(i, column, detail, signA, signB) {
    const scale = scaleClass(this.mean(i, this.error), 65536);
    const r = this.source.residual(column, scale, detail, signA, signB);
    this.error[i] = 65536 * Math.min(Math.abs(r), 1048576);
    return r;
  }

  /** A column whose sign is told by the nearest coded site; predict(i, mean) -> Q16. */
  plain(column, limit, what, predict) {
    const out = new Int32Array(this.count);
    for (let i = 0; i < this.count; ++i) {
      const mean = this.mean(i, out, 65536);
      const { quotient, third } = rounded(predict(i, mean), 65536);
      const near = i > 0 ? 65536 * out[this.coded[12 * i]] - mean : 0;
      const sign = 3 * offsetClass(near, 65536) + third;
      const value = clamp(quotient, -limit, limit) + this.residual(i, column, 0, sign, third);
      need(Math.abs(value) <= limit, `${what} out of range`);
      out[i] = value;
    }
    return out;
  }

  logTau([alpha, beta, delta, gamma]) {
    const limit = Math.floor(10240 / this.header.stepLogTau);
    return this.plain(LOG_TAU, limit, "log_tau", (i, mean) => {
      const spacing = this.mean(i, this.spacing);
      return 256 * gamma + shift(alpha * mean + beta * this.spacing[i] + delta * spacing, 8);
    });
  }

  radius() {
    const limit = Math.floor(1048576 / this.header.stepRadius);
    return this.plain(RADIUS, limit, "radius", (_, mean) => mean);
  }

  logAnisotropy(logTau) {
    const { stepLogAnisotropy, stepLogTau } = this.header;
    const limit = Math.floor(6144 / stepLogAnisotropy);
    const out = new Int32Array(this.count);
    for (let i = 0; i < this.count; ++i) {
      const { quotient, third } = rounded(this.mean(i, out, 65536), 65536);
      const g = Math.min((quotient * stepLogAnisotropy) >> 8, 15);
      const h = clamp(((logTau[i] * stepLogTau) >> 9) + 10, 0, 15);
      const o = offsetClass(this.excess(i, logTau) * stepLogTau, 768 * 65536);
      const signB = 9 * Math.min(h, 13) + o;
      const r = this.residual(i, LOG_ANISOTROPY, 16 * h + g, 3 * g + third, signB);
      need(quotient + r >= 0 && quotient + r <= limit, "log_anisotropy out of range");
      out[i] = quotient + r;
    }
    return out;
  }

  /** Angles, and of each site the number of directions and its angle in 1/65536 turns. */
  angles(logAnisotropy) {
    const known = new Map();
    const directions = new Int32Array(this.count);
    const turn = new Int32Array(this.count);
    const angle = new Int32Array(this.count);
    const p = new Int32Array(this.count);
    const q = new Int32Array(this.count);
    for (let i = 0; i < this.count; ++i) {
      const symbol = logAnisotropy[i];
      if (!known.has(symbol)) known.set(symbol, levels(this.header, symbol));
      const n = known.get(symbol);
      const a = symbol * this.header.stepLogAnisotropy;
      const mp = this.mean(i, p);
      const mq = this.mean(i, q);
      const w = iatan2(mq, mp);
      const zero = ((w * n + 32768) >>> 16) % n;
      const v = Math.max(Math.abs(mp), Math.abs(mq)) + (Math.min(Math.abs(mp), Math.abs(mq)) >> 1);
      const coherence = COHERENCE.filter((border) => border < v).length;
      const elongation = ELONGATION.filter((border) => border <= a).length;
      directions[i] = n;
      angle[i] = (zero + this.source.direction(n, coherence, elongation, w)) % n;
      turn[i] = Math.floor((65536 * angle[i]) / n);
      p[i] = (a * icos(turn[i])) >> 14;
      q[i] = (a * isin(turn[i])) >> 14;
    }
    return { angle, turn, directions };
  }

  /** Step classes, 0..16 for -8..8. */
  classes(logTau, spacingOfClass0) {
    const { classTauGain, classDistanceGain, stepLogTau } = this.header;
    const out = new Uint8Array(this.count).fill(8);
    if (this.count === 1) return out;
    let reference = spacingOfClass0;
    if (reference === undefined) {
      reference = Math.floor(this.spacing.reduce((sum, v) => sum + v, 0) / this.count);
    }
    for (let i = 0; i < this.count; ++i) {
      const excess = classTauGain * stepLogTau * this.excess(i, logTau);
      const far = classDistanceGain * (this.spacing[i] - reference);
      const sharp = mulDiv(excess, LOG2E, 0, 67108864);
      out[i] = clamp(shift(sharp - far + 2097152, 22), -8, 8) + 8;
    }
    return out;
  }
}

/**
 * Read the sites of one chunk from a source of either profile.
 *
 * `tau` has the coefficients alpha, beta, delta, gamma, `group` the fields of a group, if it is one.
 */
export function readColumns(header, source, tau, count, group) {
  const grid = gridOf(header, group);
  const x = new Int32Array(count);
  const y = new Int32Array(count);
  source.positions(grid, x, y);
  checkOrder(grid, x, y);
  const reader = new Reader(header, source, findNeighbours(x, y), count);
  const logTau = reader.logTau(tau);
  const logAnisotropy = reader.logAnisotropy(logTau);
  const { angle, turn, directions } = reader.angles(logAnisotropy);
  const radius = header.stepRadius > 0 ? reader.radius() : new Int32Array(count);
  const sites = { x, y, logTau, logAnisotropy, angle, directions, radius };
  const classes = reader.classes(logTau, group && 32 * group.spacing);
  Object.assign(sites, readColors(header, source, reader, sites, turn, classes));
  source.finish();
  return sites;
}
