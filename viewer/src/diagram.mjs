// Sites as numbers to draw with: docs/FORMAT.md, sections 4 and 5.

import { need } from "./errors.mjs";

/**
 * Columns of the sites: x, y, logTau, tau, radius, the metric m0, m1, m2 of m0 dx^2 + 2 m1 dx dy +
 * m2 dy^2, `reach` (metric length of the corner of a square of half side 1), and `color`, four
 * numbers each: red, green, blue, alpha.
 */
export function dequantize(header, sites) {
  const n = sites.x.length;
  const names = ["x", "y", "logTau", "tau", "radius", "m0", "m1", "m2", "reach"];
  const out = Object.fromEntries(names.map((name) => [name, new Float64Array(n)]));
  out.color = new Float32Array(4 * n);
  const step = header.stepPosition / 1024;
  for (let i = 0; i < n; ++i) {
    out.x[i] = Math.fround((sites.x[i] + 0.5) * step);
    out.y[i] = Math.fround((sites.y[i] + 0.5) * step);
    out.logTau[i] = Math.fround((sites.logTau[i] * header.stepLogTau) / 1024);
    out.tau[i] = Math.exp(out.logTau[i]);
    out.radius[i] = Math.fround((sites.radius[i] * header.stepRadius) / 1024);
    const symbol = (sites.logAnisotropy[i] * header.stepLogAnisotropy) / 1024;
    const turn = (2 * Math.PI * sites.angle[i]) / sites.directions[i];
    const p = Math.fround(symbol * Math.cos(turn));
    const q = Math.fround(symbol * Math.sin(turn));
    const a = Math.hypot(p, q);
    const s = a > 0 ? Math.sinh(a) / a : 1;
    out.m0[i] = Math.cosh(a) + s * p;
    out.m1[i] = s * q;
    out.m2[i] = Math.cosh(a) - s * p;
    out.reach[i] = Math.sqrt(out.m0[i] + 2 * Math.abs(out.m1[i]) + out.m2[i]);
    out.color.set(colorOf(sites.value, header.channels, i), 4 * i);
  }
  need(out.color.every(Number.isFinite), "symbols do not give valid sites");
  return out;
}

function colorOf(value, channels, i) {
  const v = Array.from({ length: channels }, (_, c) => value[channels * i + c] / 67108864);
  if (channels < 3) return [v[0], v[0], v[0], v[1] ?? 1];
  const y = v[0] / Math.sqrt(3);
  const co = v[1] / Math.SQRT2;
  const cg = v[2] / Math.sqrt(6);
  return [y + co - cg, y + 2 * cg, y - co - cg, v[3] ?? 1];
}
