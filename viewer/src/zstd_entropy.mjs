// Bit streams, FSE and Huffman codes of zstd: RFC 8878, section 4.

import { bits } from "./arithmetic.mjs";
import { need } from "./errors.mjs";

export const BROKEN = "site data: not one whole zstd frame";

/** Read bits from the last byte of `data` to the first, below the highest 1 of the last. */
export class BackwardBits {
  constructor(data) {
    need(data.length > 0 && data[data.length - 1] !== 0, BROKEN);
    this.data = data;
    this.left = 8 * data.length - 9 + bits(data[data.length - 1]);
  }

  /** `count` <= 32 bits; those before the start are 0, and `left` is negative then. */
  read(count) {
    this.left -= count;
    return this.at(this.left, count);
  }

  peek(count) {
    return this.at(this.left - count, count);
  }

  at(low, count) {
    const first = low >> 3;
    let v = 0;
    for (let i = (low + count - 1) >> 3; i >= first; --i) v = v * 256 + (i < 0 ? 0 : this.data[i]);
    return Math.floor(v / 2 ** (low - 8 * first)) % 2 ** count;
  }
}

/** A decoding table: symbol, number of bits and base of the next state, by state. */
export class FseTable {
  constructor(log, distribution) {
    const size = 1 << log;
    this.log = log;
    this.symbol = new Uint8Array(size);
    this.width = new Uint8Array(size);
    this.base = new Uint16Array(size);
    const next = distribution.map((p) => Math.abs(p));
    let high = size - 1;
    distribution.forEach((p, symbol) => {
      if (p < 0) this.symbol[high--] = symbol;
    });
    const step = (size >> 1) + (size >> 3) + 3;
    let place = 0;
    distribution.forEach((p, symbol) => {
      for (let i = 0; i < p; ++i) {
        this.symbol[place] = symbol;
        do place = (place + step) & (size - 1);
        while (place > high);
      }
    });
    for (let state = 0; state < size; ++state) {
      const n = next[this.symbol[state]]++;
      this.width[state] = log + 1 - bits(n);
      this.base[state] = (n << this.width[state]) - size;
    }
  }

  /** The table of a single symbol, which takes no bits. */
  static of(symbol) {
    const table = new FseTable(0, [1]);
    table.symbol[0] = symbol;
    return table;
  }

  /** A table as stored at the start of `data`, and the bytes that it takes. */
  static read(data, maxLog, maxSymbol) {
    let at = 0;
    const peek = (count) => {
      let v = 0;
      for (let i = 2; i >= 0; --i) v = v * 256 + (data[(at >> 3) + i] ?? 0);
      return (v >> (at & 7)) & ((1 << count) - 1);
    };
    const log = peek(4) + 5;
    at += 4;
    need(log <= maxLog, BROKEN);
    let remaining = (1 << log) + 1;
    const distribution = [];
    while (remaining > 1) {
      need(distribution.length <= maxSymbol, BROKEN);
      const width = bits(remaining);
      const short = 2 ** width - 1 - remaining;
      let value = peek(width - 1);
      if (value < short) {
        at += width - 1;
      } else {
        value = peek(width);
        at += width;
        if (value >= 2 ** (width - 1)) value -= short;
      }
      distribution.push(value - 1);
      remaining -= Math.abs(value - 1);
      for (let zeros = value === 1 ? 3 : 0; zeros === 3;) {
        zeros = peek(2);
        at += 2;
        for (let i = 0; i < zeros; ++i) distribution.push(0);
      }
    }
    const bytes = (at + 7) >> 3;
    need(remaining === 1 && distribution.length <= maxSymbol + 1 && bytes <= data.length, BROKEN);
    return { table: new FseTable(log, distribution), bytes };
  }
}

/** Weights that are coded with two FSE states in turn, until the bits run out. */
function codedWeights(data) {
  const { table, bytes } = FseTable.read(data, 6, 255);
  const source = new BackwardBits(data.subarray(bytes));
  const states = [source.read(table.log), source.read(table.log)];
  need(source.left >= 0, BROKEN);
  const weights = [];
  for (let turn = 0; ; turn ^= 1) {
    need(weights.length < 254, BROKEN);
    const state = states[turn];
    weights.push(table.symbol[state]);
    states[turn] = table.base[state] + source.read(table.width[state]);
    if (source.left < 0) {
      weights.push(table.symbol[states[turn ^ 1]]);
      return weights;
    }
  }
}

export class HuffmanTable {
  constructor(weights) {
    const total = weights.reduce((sum, w) => sum + (w > 0 ? 2 ** (w - 1) : 0), 0);
    need(total > 0, BROKEN);
    this.log = bits(total);
    const rest = 2 ** this.log - total;
    need(this.log <= 11 && weights.length < 256 && 2 ** (bits(rest) - 1) === rest, BROKEN);
    const all = [...weights, bits(rest)];
    this.symbol = new Uint8Array(2 ** this.log);
    this.width = new Uint8Array(2 ** this.log);
    let at = 0;
    for (let weight = 1; weight <= this.log; ++weight) {
      all.forEach((w, symbol) => {
        if (w !== weight) return;
        this.symbol.fill(symbol, at, at + 2 ** (w - 1));
        this.width.fill(this.log + 1 - w, at, at + 2 ** (w - 1));
        at += 2 ** (w - 1);
      });
    }
    need(at === 2 ** this.log, BROKEN);
  }

  /** A table as stored at the start of `data`, and the bytes that it takes. */
  static read(data) {
    need(data.length > 0, BROKEN);
    const head = data[0];
    const count = head - 127;
    const size = head < 128 ? head : (count + 1) >> 1;
    need(data.length > size, BROKEN);
    const content = data.subarray(1, 1 + size);
    const weights =
      head < 128
        ? codedWeights(content)
        : Array.from({ length: count }, (_, i) => (content[i >> 1] >> (i % 2 ? 0 : 4)) & 15);
    return { table: new HuffmanTable(weights), bytes: 1 + size };
  }

  /** Fill `out` with the symbols of one stream. */
  decode(data, out) {
    const source = new BackwardBits(data);
    for (let i = 0; i < out.length; ++i) {
      const code = source.peek(this.log);
      out[i] = this.symbol[code];
      source.left -= this.width[code];
      need(source.left >= 0, BROKEN);
    }
    need(source.left === 0, BROKEN);
  }
}
