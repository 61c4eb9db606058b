// Varints, and what the zstd profile holds of the columns: docs/FORMAT.md, sections 8 and 10.

import { FileError, need } from "./errors.mjs";

export class Varints {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  next() {
    let v = 0;
    for (let i = 0; i < 5; ++i) {
      need(this.at < this.data.length, "payload ends too early");
      const byte = this.data[this.at++];
      v += (byte & 127) * 128 ** i;
      if (byte < 128) {
        need(byte !== 0 || i === 0, "overlong integer");
        return v % 2 ? -(v + 1) / 2 : v / 2;
      }
    }
    throw new FileError("overlong integer");
  }
}

export class VarintSource {
  constructor(reader) {
    this.reader = reader;
  }

  positions(grid, x, y) {
    for (const [axis, limit] of [
      [x, grid.width],
      [y, grid.height],
    ]) {
      let v = 0;
      for (let i = 0; i < axis.length; ++i) {
        v += this.reader.next();
        need(v >= 0 && v < limit, "position outside the grid");
        axis[i] = v;
      }
    }
  }

  residual() {
    return this.reader.next();
  }

  direction(n) {
    const v = this.reader.next();
    need(v >= -((n - 1) >> 1) && v <= n >> 1, "angle out of range");
    return v < 0 ? v + n : v;
  }

  finish() {
    need(this.reader.at === this.reader.data.length, "payload length does not match its content");
  }
}
