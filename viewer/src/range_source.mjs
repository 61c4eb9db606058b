// What the range profile holds of positions, residuals and directions: docs/FORMAT.md, section 9.

import { bits, clamp, mulDiv, power } from "./arithmetic.mjs";
import { need } from "./errors.mjs";
import { Models, RangeDecoder } from "./range_coder.mjs";
import { DIRECTION_PRIOR, PRIOR } from "./tables.mjs";

const OUTSIDE = "count outside its node";

function withPrior(prior) {
  const models = new Models(prior.length, 0, 150);
  prior.forEach((p, i) => {
    models.p[i] = 256 * p + 128;
  });
  return models;
}

/** Models of one column of residuals. */
class Column {
  constructor(kind) {
    this.bins = [withPrior(PRIOR[kind]), new Models(256 * 16)];
    this.signs = [new Models(128), new Models(128)];
    this.escape = new Models(31);
    this.weights = Int32Array.from({ length: 32 }, (_, i) => (i % 2 ? 13107 : 45875));
    this.signWeights = Int32Array.of(29491, 29491);
  }

  copy() {
    const { bins, signs, escape, weights, signWeights } = this;
    const parts = {
      bins: bins.map((models) => models.copy()),
      signs: signs.map((models) => models.copy()),
      escape: escape.copy(),
      weights: weights.slice(),
      signWeights: signWeights.slice(),
    };
    return Object.assign(Object.create(Column.prototype), parts);
  }
}

/** What the models of residuals and directions start from; see section 11, Models. */
export class Start {
  constructor() {
    this.columns = new Map();
    this.directions = [
      withPrior(DIRECTION_PRIOR),
      new Models(11 * 6 * 16),
      new Models(16 * 6 * 16),
    ];
    this.directionWeights = Int32Array.from({ length: 48 }, (_, i) => (i % 3 ? 13107 : 45875));
  }

  column(number) {
    const column = this.columns.get(number);
    return column ? column.copy() : new Column(number < 4 ? 0 : 1);
  }

  /** As the table of a file says, for the columns with these numbers. */
  static read(table, numbers) {
    const start = new Start();
    const coder = new RangeDecoder(table);
    const given = new Models(2);
    let g = 0;
    const readModels = (models) => {
      for (let i = 0; i < models.p.length; ++i) {
        g = coder.adaptive(given, g) ? 1 : 0;
        if (g === 0) continue;
        models.p[i] = 256 * coder.raw(8) + 128;
        models.count[i] = 150;
      }
    };
    const readWeights = (weights) => {
      for (let i = 0; i < weights.length; ++i) weights[i] = 128 * (coder.raw(16) - 32768);
    };
    for (const number of numbers) {
      const column = start.column(number);
      for (const models of [...column.bins, ...column.signs]) readModels(models);
      readWeights(column.weights);
      readWeights(column.signWeights);
      start.columns.set(number, column);
    }
    start.directions.forEach(readModels);
    readWeights(start.directionWeights);
    coder.finish();
    return start;
  }
}

const FRESH = new Start();

/** Models of how many sites of a node lie in its low half. */
class Counts {
  constructor() {
    this.small = new Models(9 * 8, 32768, 60);
    for (let c = 2; c <= 8; ++c) this.startSmall(c, 0, c);
    this.large = Array.from({ length: 25 }, () => ({
      nonzero: new Models(1, 58000, 5),
      negative: new Models(1, 32768, 5),
      unary: new Models(12, 38000, 5),
      escape: new Models(25),
    }));
  }

  startSmall(c, low, high) {
    if (low >= high) return;
    const m = (low + high) >> 1;
    let a = 0;
    let b = 0;
    let binomial = 1;
    for (let v = 0; v <= high; binomial = (binomial * (c - v)) / (v + 1), ++v) {
      if (v >= low) b += binomial;
      if (v > m) a += binomial;
    }
    this.small.p[8 * c + m] = Math.floor((65536 * a) / b);
    this.startSmall(c, low, m);
    this.startSmall(c, m + 1, high);
  }

  readSmall(coder, c) {
    let low = 0;
    let high = c;
    while (low < high) {
      const m = (low + high) >> 1;
      if (coder.adaptive(this.small, 8 * c + m)) low = m + 1;
      else high = m;
    }
    return low;
  }

  readLarge(coder, c, expected) {
    const z = bits(c) - 1;
    const g = Math.max(0, (z >> 1) - 1);
    const models = this.large[z];
    if (!coder.adaptive(models.nonzero, 0)) return expected;
    const negative = coder.adaptive(models.negative, 0);
    let q = 0;
    while (q < 12 && coder.adaptive(models.unary, q)) ++q;
    if (q === 12) {
      let b = 0;
      while (coder.adaptive(models.escape, b)) need(++b <= 24, OUTSIDE);
      q = 11 + power(b) + coder.raw(b);
    }
    const magnitude = power(g) * q + coder.raw(g) + 1;
    const result = negative ? expected - magnitude : expected + magnitude;
    need(result >= 0 && result <= c, OUTSIDE);
    return result;
  }
}

export class RangeSource {
  constructor(data, start = FRESH) {
    this.coder = new RangeDecoder(data);
    this.start = start;
    this.columns = new Map();
    this.directions = start.directions.map((models) => models.copy());
    this.directionWeights = start.directionWeights.slice();
  }

  /** Fill x and y; `grid` is as in columns.mjs. */
  positions(grid, x, y) {
    const { coder } = this;
    const counts = new Counts();
    const stack = [{ x: 0, y: 0, rx: grid.bitsX, ry: grid.bitsY, count: x.length, key: 0 }];
    let at = 0;
    while (stack.length > 0) {
      const node = stack.pop();
      if (node.count === 1 || (node.rx === 0 && node.ry === 0)) {
        const cellX = node.x * power(node.rx) + coder.raw(node.rx);
        const cellY = node.y * power(node.ry) + coder.raw(node.ry);
        need(cellX < grid.width && cellY < grid.height, "position outside the grid");
        for (const end = at + node.count; at < end; ++at) {
          x[at] = cellX;
          y[at] = cellY;
        }
        continue;
      }
      const alongX = node.rx >= node.ry;
      const keys = power(node.rx + node.ry - 1);
      const count = this.lowCount(node, grid, alongX, keys, counts);
      const low = {
        x: alongX ? 2 * node.x : node.x,
        y: alongX ? node.y : 2 * node.y,
        rx: alongX ? node.rx - 1 : node.rx,
        ry: alongX ? node.ry : node.ry - 1,
        count,
        key: node.key,
      };
      const high = {
        x: alongX ? low.x + 1 : low.x,
        y: alongX ? low.y : low.y + 1,
        rx: low.rx,
        ry: low.ry,
        count: node.count - count,
        key: node.key + keys,
      };
      if (high.count > 0) stack.push(high);
      if (low.count > 0) stack.push(low);
    }
  }

  lowCount(node, grid, alongX, keys, counts) {
    const cells = power((alongX ? node.rx : node.ry) - 1);
    const start = 2 * cells * (alongX ? node.x : node.y) + cells;
    const upper = clamp((alongX ? grid.width : grid.height) - start, 0, cells);
    const inside = (key) => Math.max(0, Math.min(grid.end, key + keys) - Math.max(grid.begin, key));
    const w0 = inside(node.key);
    const w1 = mulDiv(inside(node.key + keys), upper, cells - 1, cells);
    const c = node.count;
    if (w1 === 0) return c;
    if (w0 === 0) return 0;
    if (w0 !== w1) return counts.readLarge(this.coder, c, mulDiv(c, w0, 0, w0 + w1));
    return c <= 8 ? counts.readSmall(this.coder, c) : counts.readLarge(this.coder, c, c >> 1);
  }

  residual(column, scale, detail, signA, signB) {
    const { coder } = this;
    if (!this.columns.has(column)) this.columns.set(column, this.start.column(column));
    const m = this.columns.get(column);
    const bin = (b) => coder.mixed(m.weights, 2 * b, m.bins, [16 * scale + b, 16 * detail + b]);
    if (!bin(0)) return 0;
    const negative = coder.mixed(m.signWeights, 0, m.signs, [signA, signB]);
    let k = 0;
    while (k < 15 && bin(k + 1)) ++k;
    if (k === 15) {
      while (coder.adaptive(m.escape, k - 15)) need(++k <= 45, "residual out of range");
    }
    const g = (k >> 1) - 1;
    const magnitude = k < 4 ? k + 1 : power(g) * (2 + (k & 1)) + coder.raw(g) + 1;
    return negative ? -magnitude : magnitude;
  }

  direction(n, coherence, elongation, w) {
    if (n === 1) return 0;
    const start = (k) => ((2 * k - 1) * n + 31) >> 5;
    let low = 0;
    let high = 16;
    let node = 1;
    for (let i = 0; i < 4; ++i) {
      const m = (low + high) >> 1;
      const places = [
        16 * coherence + node,
        16 * (6 * coherence + elongation) + node,
        16 * (6 * (w >> 12) + (coherence >> 1)) + node,
      ];
      const up =
        start(m) === start(low) ||
        (start(m) !== start(high) &&
          this.coder.mixed(this.directionWeights, 3 * node, this.directions, places));
      if (up) low = m;
      else high = m;
      node = 2 * node + (up ? 1 : 0);
    }
    return (((start(low) + this.coder.uniform(start(high) - start(low))) % n) + n) % n;
  }

  finish() {
    this.coder.finish();
  }
}
