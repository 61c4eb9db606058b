// The worker of the page: reads files and makes lists, so that the page itself never waits.

import { candidateLists } from "./candidates.mjs";
import { dequantize } from "./diagram.mjs";
import { FileError } from "./errors.mjs";
import { readFile } from "./file.mjs";
import { deviceArrays } from "./prepare.mjs";
import { samplePixel, tauRange } from "./sampling.mjs";

let opened = null;

function open({ data }) {
  const start = performance.now();
  const { header, sites } = readFile(new Uint8Array(data));
  const diagram = dequantize(header, sites);
  opened = { header, diagram };
  const seconds = (performance.now() - start) / 1000;
  postMessage({ header, bytes: data.byteLength, tauRange: tauRange(header, diagram), seconds });
}

function prepare({ view }) {
  const start = performance.now();
  const { diagram, header } = opened;
  opened.view = view;
  opened.lists = candidateLists(diagram, header.k, view);
  const prepared = deviceArrays(diagram, view, opened.lists);
  const buffers = [prepared.tiles, prepared.entries, prepared.sites].map(({ buffer }) => buffer);
  postMessage({ prepared, seconds: (performance.now() - start) / 1000 }, buffers);
}

/** Colours of pixels of the view that was prepared last, which the device is not certain of. */
function resolve({ uncertain }) {
  const { diagram, header, view, lists } = opened;
  const colors = new Float64Array(4 * uncertain.length);
  uncertain.forEach((pixel, i) => {
    const row = Math.floor(pixel / view.width);
    const blend = samplePixel(diagram, header.k, view, lists, pixel - row * view.width, row);
    colors.set(blend.slice(0, 4), 4 * i);
  });
  postMessage({ colors, uncertain });
}

addEventListener("message", ({ data: message }) => {
  try {
    if (message.data) open(message);
    else if (message.view) prepare(message);
    else resolve(message);
  } catch (error) {
    const known = error instanceof FileError;
    postMessage({ error: known ? error.message : `not enough memory, or a defect: ${error}` });
  }
});
