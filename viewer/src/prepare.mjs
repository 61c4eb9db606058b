// What the graphics device needs to draw a view: candidate lists and the sites in them, in rows of
// textures.

import { ENTRY_COLUMNS, SITE_COLUMNS } from "./shaders.mjs";
import { middle } from "./view.mjs";

function filledUp(array, row) {
  const rows = Math.max(1, Math.ceil(array.length / row));
  const out = new array.constructor(rows * row);
  out.set(array);
  return out;
}

/** `lists` of a view for the device, with the sites' positions seen from the view's middle. */
export function deviceArrays(diagram, view, { tiles, columns, rows, entries, ids }) {
  const [middleX, middleY] = middle(view);
  const sites = new Float32Array(12 * ids.length);
  ids.forEach((i, place) => {
    const { x, y, tau, radius, m0, m1, m2, logTau } = diagram;
    sites.set([x[i] - middleX, y[i] - middleY, tau[i], radius[i]], 12 * place);
    sites.set([m0[i], m1[i], m2[i], logTau[i]], 12 * place + 4);
    sites.set(diagram.color.subarray(4 * i, 4 * i + 4), 12 * place + 8);
  });
  return {
    view,
    columns,
    rows,
    tiles: tiles.slice(),
    entries: filledUp(entries, ENTRY_COLUMNS),
    sites: filledUp(sites, 12 * SITE_COLUMNS),
  };
}
