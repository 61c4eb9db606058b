// The page's decoder without the page. Reads lines of JSON from standard input, [kind, path], and
// answers each with one: the "symbols" of a file; the pixels of its "picture" (base64 of the code
// values, 16 bits little-endian); the content of a zstd "frame"; or the error that the page shows.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { dequantize } from "../viewer/src/diagram.mjs";
import { FileError } from "../viewer/src/errors.mjs";
import { readFile } from "../viewer/src/file.mjs";
import { samplePicture, tauRange } from "../viewer/src/sampling.mjs";
import * as tables from "../viewer/src/tables.mjs";
import { unpack } from "../viewer/src/zstd.mjs";

function base64(array) {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
}

function pixels(header, diagram) {
  const { channels, width, height, bitDepth } = header;
  const most = 2 ** bitDepth - 1;
  const out = new Uint16Array(channels * width * height);
  samplePicture(header, diagram, 1, (column, row, [red, green, blue, alpha]) => {
    const values = [[red], [red, alpha], [red, green, blue], [red, green, blue, alpha]];
    values[channels - 1].forEach((v, c) => {
      const value = Math.floor(Math.min(Math.max(v, 0), 1) * most + 0.5);
      out[channels * (row * width + column) + c] = value;
    });
  });
  return base64(out);
}

function symbols(data) {
  const columns = Object.entries(readFile(data).sites);
  return Object.fromEntries(columns.map(([name, column]) => [name, Array.from(column)]));
}

function picture(data) {
  const { header, sites } = readFile(data);
  const diagram = dequantize(header, sites);
  return { pixels: pixels(header, diagram), tauRange: tauRange(header, diagram) };
}

function answer([kind, path]) {
  if (kind === "tables") {
    const { LOGISTIC, SCALE, PRIOR, DIRECTION_PRIOR } = tables;
    return [LOGISTIC, SCALE, ...PRIOR, DIRECTION_PRIOR].map((table) => Array.from(table));
  }
  try {
    const data = new Uint8Array(readFileSync(path));
    if (kind === "symbols") return symbols(data);
    return kind === "picture" ? picture(data) : { content: base64(unpack(data, 2 ** 24)) };
  } catch (error) {
    if (error instanceof FileError) return { error: error.message };
    throw error;
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line)))}\n`);
});
