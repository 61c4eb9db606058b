// Candidate lists: the sites that can be among the K of some point of a tile of the screen.
//
// Over a square with centre c and half side h the distance to site i lies within d_i(c) +- h
// reach_i (triangle inequality), so its logit lies in [tau (r - d - h reach), tau (r - max(d - h
// reach, 0))]. The K-th largest lower bound is a threshold: a site whose upper bound is under it is
// nowhere among the K. Squares are quartered down to tiles, each from the list of the one around.

import { FileError } from "./errors.mjs";

const CUT = 16; // logits this far under the largest weigh 1e-7
const SLACK = 1e-5; // relative: what is drawn with these lists is computed in binary32
const MAX_TILE = 8; // screen pixels, and pixels of the picture

// Evaluations of a site: for lists in all, some seconds, and for drawing as SECURITY.md has them.
const MOST_FOR_LISTS = 2 ** 28;
const MOST_OF_A_PIXEL = 128;
const MOST_ENTRIES = 2 ** 24; // of all lists of a view: 64 MiB

/** Side in screen pixels of tiles when one covers `pixel` pixels of the picture. */
export function tileSide(pixel) {
  const side = 2 ** Math.floor(Math.log2(MAX_TILE / Math.max(pixel, 1)));
  return Math.max(side, 1);
}

/** Ids, in growing arrays. */
class IdStack {
  constructor(size) {
    this.ids = new Int32Array(size);
    this.length = 0;
  }

  /** Make room for `more` ids behind the last one. */
  reserve(more) {
    const size = this.length + more;
    if (size <= this.ids.length) return;
    const larger = new Int32Array(Math.max(size, 2 * this.ids.length));
    larger.set(this.ids.subarray(0, this.length));
    this.ids = larger;
  }
}

class ListBuilder {
  constructor(diagram, k, view) {
    const n = diagram.x.length;
    Object.assign(this, { diagram, k, view });
    this.upper = new Float64Array(n);
    this.best = new Float64Array(k);
    this.stack = new IdStack(4 * n + 1024);
    this.entries = new IdStack(4 * n + 1024);
    this.columns = Math.ceil(view.width / view.tile);
    this.rows = Math.ceil(view.height / view.tile);
    this.tiles = new Uint32Array(2 * this.columns * this.rows);
    this.evaluations = 0;
    this.drawing = 0;
    this.mostDrawing = MOST_OF_A_PIXEL * (view.width * view.height + 16 * n + 32768);
  }

  refuse() {
    const n = this.diagram.x.length;
    throw new FileError(`too many of its ${n} sites matter at one pixel`);
  }

  /** Push those of the ids begin..end - 1 of the stack that matter in a square, and count them. */
  filter(begin, end, cx, cy, half) {
    const { k, best, upper, stack } = this;
    const { x, y, m0, m1, m2, tau, radius, reach } = this.diagram;
    this.evaluations += end - begin;
    if (this.evaluations > MOST_FOR_LISTS) this.refuse();
    best.fill(-Infinity);
    for (let e = begin; e < end; ++e) {
      const i = stack.ids[e];
      const dx = cx - x[i];
      const dy = cy - y[i];
      const d = Math.sqrt(Math.max(m0[i] * dx * dx + 2 * m1[i] * dx * dy + m2[i] * dy * dy, 0));
      const across = half * reach[i];
      const slack = tau[i] * (d + across + Math.abs(radius[i])) * SLACK + 1e-6;
      upper[e - begin] = tau[i] * (radius[i] - Math.max(d - across, 0)) + slack;
      const low = tau[i] * (radius[i] - d - across) - slack;
      if (low <= best[k - 1]) continue;
      let j = k - 1;
      for (; j > 0 && best[j - 1] < low; --j) best[j] = best[j - 1];
      best[j] = low;
    }
    const threshold = Math.max(best[k - 1], best[0] - CUT);
    stack.reserve(end - begin);
    const first = stack.length;
    for (let e = begin; e < end; ++e) {
      if (upper[e - begin] >= threshold) stack.ids[stack.length++] = stack.ids[e];
    }
    return stack.length - first;
  }

  /** Lists of the tiles in the square of `side` screen pixels at (column, row) of the screen. */
  visit(begin, end, column, row, side) {
    const { view, stack } = this;
    if (column >= view.width || row >= view.height) return;
    const half = (side * view.pixel) / 2;
    const cx = view.x + column * view.pixel + half;
    const cy = view.y + row * view.pixel + half;
    if (cx + half < 0 || cy + half < 0) return;
    if (cx - half > view.pictureWidth || cy - half > view.pictureHeight) return;
    const first = stack.length;
    const count = this.filter(begin, end, cx, cy, half);
    if (side === view.tile) {
      this.add(first, count, (row / side) * this.columns + column / side);
    } else {
      for (const down of [0, side / 2]) {
        for (const right of [0, side / 2]) {
          this.visit(first, first + count, column + right, row + down, side / 2);
        }
      }
    }
    stack.length = first;
  }

  add(first, count, tile) {
    const { entries, stack, view } = this;
    this.drawing += count * (view.tile * view.samples) ** 2;
    if (this.drawing > this.mostDrawing || entries.length + count > MOST_ENTRIES) this.refuse();
    this.tiles[2 * tile] = entries.length;
    this.tiles[2 * tile + 1] = count;
    entries.reserve(count);
    entries.ids.set(stack.ids.subarray(first, first + count), entries.length);
    entries.length += count;
  }

  run() {
    const { stack, view } = this;
    const n = this.diagram.x.length;
    for (let i = 0; i < n; ++i) stack.ids[i] = i;
    stack.length = n;
    let side = view.tile;
    while (side < Math.max(view.width, view.height)) side *= 2;
    this.visit(0, n, 0, 0, side);
  }
}

/**
 * Lists of all tiles of a view.
 *
 * A view has `width` x `height` screen pixels from (x, y) of the picture on, each of side `pixel`
 * there and drawn at `samples`^2 points, in tiles of side `tile`; beside the picture of
 * `pictureWidth` x `pictureHeight` tiles are empty. The result has `tiles`, first entry and number
 * of entries of each tile, row by row; `entries`, places in `ids`; and `ids`, the sites that
 * matter anywhere, ascending.
 */
export function candidateLists(diagram, k, view) {
  const builder = new ListBuilder(diagram, k, view);
  builder.run();
  const entries = Uint32Array.from(builder.entries.ids.subarray(0, builder.entries.length));
  const place = new Int32Array(diagram.x.length);
  for (const i of entries) place[i] = 1;
  let count = 0;
  for (let i = 0; i < place.length; ++i) place[i] = place[i] ? ++count : 0;
  const ids = new Int32Array(count);
  for (let i = 0; i < place.length; ++i) if (place[i]) ids[place[i] - 1] = i;
  for (let e = 0; e < entries.length; ++e) entries[e] = place[entries[e]] - 1;
  const { tiles, columns, rows } = builder;
  return { tiles, columns, rows, entries, ids };
}
