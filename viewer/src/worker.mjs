// The worker of the page: reads files and makes lists, so that the page itself never waits.

import { dequantize } from "./diagram.mjs";
import { FileError } from "./errors.mjs";
import { readFile } from "./file.mjs";
import { prepareView } from "./prepare.mjs";
import { tauRange } from "./sampling.mjs";

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
  const prepared = prepareView(opened.diagram, opened.header.k, view);
  const buffers = [prepared.tiles, prepared.entries, prepared.sites].map(({ buffer }) => buffer);
  postMessage({ prepared }, buffers);
}

addEventListener("message", ({ data: message }) => {
  try {
    if (message.data) open(message);
    else prepare(message);
  } catch (error) {
    const known = error instanceof FileError;
    postMessage({ error: known ? error.message : `not enough memory, or a defect: ${error}` });
  }
});
