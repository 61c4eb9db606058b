// Exact nearest neighbours of sites in stored order: docs/FORMAT.md, section 7. Boxes around 8, 64,
// 512, ... consecutive sites bound the search, also for many sites in one place: of equal distances
// the lower index counts.

import { bits, ilog2, shift } from "./arithmetic.mjs";

const FAN = 8;
const NEAR = 6;
const CODED = 12;

/** Boxes of the sites, then of eight boxes each, up to a single one. */
function boxLevels(x, y) {
  const levels = [];
  let below = { x0: x, x1: x, y0: y, y1: y };
  do {
    const size = Math.ceil(below.x0.length / FAN);
    const level = {
      x0: new Int32Array(size).fill(2147483647),
      x1: new Int32Array(size).fill(-1),
      y0: new Int32Array(size).fill(2147483647),
      y1: new Int32Array(size).fill(-1),
    };
    for (let i = 0; i < below.x0.length; ++i) {
      const b = i >> 3;
      if (below.x0[i] < level.x0[b]) level.x0[b] = below.x0[i];
      if (below.x1[i] > level.x1[b]) level.x1[b] = below.x1[i];
      if (below.y0[i] < level.y0[b]) level.y0[b] = below.y0[i];
      if (below.y1[i] > level.y1[b]) level.y1[b] = below.y1[i];
    }
    levels.push(level);
    below = level;
  } while (below.x0.length > 1);
  return levels;
}

/** The `size` nearest sites so far, by squared distance and then by index. */
class Nearest {
  constructor(size) {
    this.size = size;
    this.distance = new Float64Array(size);
    this.index = new Int32Array(size);
    this.clear();
  }

  clear() {
    this.distance.fill(Infinity);
    this.index.fill(2147483647);
  }

  /** Whether a site of at least this distance and index may enter. */
  admits(d, i) {
    const last = this.size - 1;
    return d < this.distance[last] || (d === this.distance[last] && i < this.index[last]);
  }

  offer(d, i) {
    if (!this.admits(d, i)) return;
    const { distance, index } = this;
    let slot = this.size - 1;
    for (; slot > 0; --slot) {
      const before = distance[slot - 1];
      if (before < d || (before === d && index[slot - 1] < i)) break;
      distance[slot] = before;
      index[slot] = index[slot - 1];
    }
    distance[slot] = d;
    index[slot] = i;
  }
}

/**
 * Neighbours of all sites: `near` (nearCount each) and `coded` (min(12, i) of site i at 12 i) with
 * their `weight`, and `spacing` L.
 */
export function findNeighbours(x, y) {
  const n = x.length;
  const levels = boxLevels(x, y);
  const nearCount = Math.min(NEAR, n - 1);
  const near = new Int32Array(NEAR * n);
  const coded = new Int32Array(CODED * n);
  const weight = new Uint16Array(CODED * n);
  const spacing = new Int32Array(n);
  const any = new Nearest(NEAR);
  const before = new Nearest(CODED);
  let site = 0;
  let px = 0;
  let py = 0;

  const scan = (leaf) => {
    const end = Math.min(FAN * leaf + FAN, n);
    for (let j = FAN * leaf; j < end; ++j) {
      if (j === site) continue;
      const d = (x[j] - px) ** 2 + (y[j] - py) ** 2;
      any.offer(d, j);
      if (j < site) before.offer(d, j);
    }
  };
  const visit = (level, block) => {
    const box = levels[level];
    const dx = Math.max(box.x0[block] - px, 0, px - box.x1[block]);
    const dy = Math.max(box.y0[block] - py, 0, py - box.y1[block]);
    const first = block << (3 * (level + 1));
    if (!(first < site ? before : any).admits(dx * dx + dy * dy, first)) return;
    if (level === 0) scan(block);
    else children(level, block, -1);
  };
  const children = (level, block, except) => {
    const end = Math.min(FAN * block + FAN, levels[level - 1].x0.length);
    for (let child = FAN * block; child < end; ++child) {
      if (child !== except) visit(level - 1, child);
    }
  };

  for (; site < n; ++site) {
    px = x[site];
    py = y[site];
    any.clear();
    before.clear();
    let node = site >> 3;
    scan(node);
    for (let level = 1; level < levels.length; ++level) {
      children(level, node >> 3, node);
      node >>= 3;
    }
    let sum = 0;
    for (let k = 0; k < nearCount; ++k) {
      near[NEAR * site + k] = any.index[k];
      sum += ilog2(any.distance[k] + 1);
    }
    spacing[site] = nearCount ? Math.floor(sum / (2 * nearCount)) : 0;
    const count = Math.min(CODED, site);
    if (count === 0) continue;
    const farthest = before.distance[count - 1];
    const h = Math.max(0, bits(before.distance[0] + farthest) - 19);
    const f = shift(before.distance[0], h);
    for (let k = 0; k < count; ++k) {
      coded[CODED * site + k] = before.index[k];
      const d = shift(before.distance[k], h);
      weight[CODED * site + k] = Math.floor((4096 * (2 * f + 1)) / (d + f + 1));
    }
  }
  return { near, nearCount, coded, weight, spacing };
}
