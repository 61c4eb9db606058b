// The picture at single points, in JavaScript: docs/FORMAT.md, section 5.

import { candidateLists, tileSide } from "./candidates.mjs";

const QUANTILES = [0.01, 0.99]; // of the points: the range of inverse temperature that is told apart
const NARROWEST = Math.LN2; // a range is widened to a factor of two
const POINTS = 64; // along the longer side

/** Blend of the candidates `ids` at a point: [red, green, blue, alpha, log tau]. */
function blend(diagram, k, ids, x, y) {
  const { m0, m1, m2, tau, radius, color, logTau } = diagram;
  const best = [];
  for (const i of ids) {
    const dx = x - diagram.x[i];
    const dy = y - diagram.y[i];
    const d = Math.sqrt(Math.max(m0[i] * dx * dx + 2 * m1[i] * dx * dy + m2[i] * dy * dy, 0));
    const logit = tau[i] * (radius[i] - d);
    let slot = best.length;
    while (slot > 0 && best[slot - 1].logit < logit) --slot;
    if (slot === k) continue;
    best.splice(slot, 0, { i, logit });
    if (best.length > k) best.pop();
  }
  const out = [0, 0, 0, 0, 0];
  let total = 0;
  for (const { i, logit } of best) {
    const weight = Math.exp(logit - best[0].logit);
    total += weight;
    for (let c = 0; c < 4; ++c) out[c] += weight * color[4 * i + c];
    out[4] += weight * logTau[i];
  }
  return out.map((v) => v / total);
}

/** Blend at the centre of a screen pixel of a view with its lists. */
export function samplePixel(diagram, k, view, { tiles, columns, entries, ids }, column, row) {
  const tile = Math.floor(row / view.tile) * columns + Math.floor(column / view.tile);
  const begin = tiles[2 * tile];
  const list = entries.subarray(begin, begin + tiles[2 * tile + 1]);
  const sites = Array.from(list, (entry) => ids[entry]);
  const x = view.x + (column + 0.5) * view.pixel;
  const y = view.y + (row + 0.5) * view.pixel;
  return blend(diagram, k, sites, x, y);
}

/** Call each(column, row, blend) for the centres of squares of side `pixel` of the picture. */
export function samplePicture(header, diagram, pixel, each) {
  const view = {
    x: 0,
    y: 0,
    pixel,
    samples: 1,
    tile: tileSide(pixel),
    width: Math.ceil(header.width / pixel),
    height: Math.ceil(header.height / pixel),
    pictureWidth: header.width,
    pictureHeight: header.height,
  };
  const lists = candidateLists(diagram, header.k, view);
  for (let row = 0; row < view.height; ++row) {
    for (let column = 0; column < view.width; ++column) {
      each(column, row, samplePixel(diagram, header.k, view, lists, column, row));
    }
  }
}

/** Value below which the share q of the ascending values lies, linear between two of them. */
function quantile(values, q) {
  const at = q * (values.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, values.length - 1);
  return values[low] + (at - low) * (values[high] - values[low]);
}

/**
 * Log tau that is drawn black, and that drawn white: those that a hundredth of the picture is under
 * and over, at a grid of points that has all pixels of small pictures.
 */
export function tauRange(header, diagram) {
  const pixel = Math.ceil(Math.max(header.width, header.height) / POINTS);
  const values = [];
  samplePicture(header, diagram, pixel, (_column, _row, [, , , , logTau]) => values.push(logTau));
  values.sort((a, b) => a - b);
  const [low, high] = QUANTILES.map((q) => quantile(values, q));
  const lacking = Math.max(0, NARROWEST - (high - low)) / 2;
  return [low - lacking, high + lacking];
}
