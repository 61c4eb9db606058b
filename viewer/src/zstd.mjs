// One zstd frame without a dictionary: RFC 8878, section 3. The checksum of its content, if it has
// one, is not looked at: the chunk around the frame has its own.

import { need } from "./errors.mjs";
import { BackwardBits, BROKEN, FseTable, HuffmanTable } from "./zstd_entropy.mjs";

const MAX_WINDOW = 2 ** 27;
const MAX_BLOCK = 2 ** 17;

/** The three kinds of codes of a sequence. Values of a code: base + `width` bits. */
const LITERALS = lengthCodes(
  0,
  [...new Array(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  9,
  new FseTable(6, [
    ...[4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2],
    ...[1, 1, 1, 1, 1, -1, -1, -1, -1],
  ]),
);
const OFFSETS = {
  maxLog: 8,
  widths: Array.from({ length: 32 }, (_, code) => code),
  bases: Array.from({ length: 32 }, (_, code) => 2 ** code),
  predefined: new FseTable(5, [
    ...[1, 1, 1, 1, 1, 1, 2, 2, 2],
    ...new Array(15).fill(1),
    ...[-1, -1, -1, -1, -1],
  ]),
};
const MATCHES = lengthCodes(
  3,
  [...new Array(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
  9,
  new FseTable(6, [
    ...[1, 4, 3, 2, 2, 2, 2, 2, 2],
    ...new Array(37).fill(1),
    ...[-1, -1, -1, -1, -1, -1, -1],
  ]),
);

function lengthCodes(first, widths, maxLog, predefined) {
  let next = first;
  const bases = widths.map((width) => {
    next += 2 ** width;
    return next - 2 ** width;
  });
  return { widths, bases, maxLog, predefined };
}

/** Little-endian number of `count` bytes. */
function number(data, at, count) {
  need(at + count <= data.length, BROKEN);
  let v = 0;
  for (let i = count - 1; i >= 0; --i) v = v * 256 + data[at + i];
  return v;
}

/** Size and window of a frame, and where its blocks begin. */
function frameHeader(data, most) {
  need(number(data, 0, 4) === 0xfd2fb528, BROKEN);
  const descriptor = number(data, 4, 1);
  const single = (descriptor & 32) !== 0;
  need((descriptor & 8) === 0, BROKEN);
  let at = 5;
  let window = 0;
  if (!single) {
    const code = number(data, at++, 1);
    window = 2 ** (10 + (code >> 3)) * (1 + (code & 7) / 8);
  }
  const dictionary = [0, 1, 2, 4][descriptor & 3];
  need(number(data, at, dictionary) === 0, "site data: zstd frame with a dictionary");
  at += dictionary;
  const bytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6];
  const size = number(data, at, bytes) + (bytes === 2 ? 256 : 0);
  need(bytes > 0 && size <= most, `site data: zstd frame has no size or one over ${most} bytes`);
  window = single ? size : window;
  need(window <= MAX_WINDOW, `site data: zstd frame with a window over ${MAX_WINDOW} bytes`);
  return { at: at + bytes, size, window, checksum: (descriptor & 4) !== 0 };
}

class Frame {
  constructor(size, window) {
    this.out = new Uint8Array(size);
    this.at = 0;
    this.window = window;
    this.repeats = [1, 4, 8];
    this.huffman = null;
    this.tables = new Map();
  }

  append(bytes) {
    need(this.at + bytes.length <= this.out.length, BROKEN);
    this.out.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** The literals at the start of a block, and the bytes that they take. */
  literals(block) {
    const head = number(block, 0, 1);
    const kind = head & 3;
    const format = (head >> 2) & 3;
    if (kind < 2) {
      const bytes = [1, 2, 1, 3][format];
      const size = number(block, 0, bytes) >> (format % 2 ? 4 : 3);
      need(size <= MAX_BLOCK, BROKEN);
      const end = bytes + (kind === 0 ? size : 1);
      need(end <= block.length, BROKEN);
      const content = block.subarray(bytes, end);
      return { literals: kind === 0 ? content : new Uint8Array(size).fill(content[0]), bytes: end };
    }
    const bytes = [3, 3, 4, 5][format];
    const width = [10, 10, 14, 18][format];
    const sizes = Math.floor(number(block, 0, bytes) / 16);
    const size = sizes % 2 ** width;
    const packed = Math.floor(sizes / 2 ** width);
    const end = bytes + packed;
    need(size <= MAX_BLOCK && end <= block.length, BROKEN);
    let content = block.subarray(bytes, end);
    if (kind === 2) {
      const read = HuffmanTable.read(content);
      this.huffman = read.table;
      content = content.subarray(read.bytes);
    }
    need(this.huffman, BROKEN);
    const literals = new Uint8Array(size);
    if (format === 0) this.huffman.decode(content, literals);
    else this.fourStreams(content, literals);
    return { literals, bytes: end };
  }

  fourStreams(content, literals) {
    const each = (literals.length + 3) >> 2;
    let at = 6;
    for (let i = 0; i < 4; ++i) {
      const end = i < 3 ? at + number(content, 2 * i, 2) : content.length;
      need(at <= end && end <= content.length && 3 * each <= literals.length, BROKEN);
      const part = literals.subarray(i * each, i < 3 ? (i + 1) * each : literals.length);
      this.huffman.decode(content.subarray(at, end), part);
      at = end;
    }
  }

  /** The table of one kind of codes, and the bytes that it takes. */
  table(kind, mode, data) {
    let read = { table: this.tables.get(kind), bytes: 0 };
    if (mode === 0) read.table = kind.predefined;
    if (mode === 1) read = { table: FseTable.of(number(data, 0, 1)), bytes: 1 };
    if (mode === 2) read = FseTable.read(data, kind.maxLog, kind.widths.length - 1);
    need(read.table && read.table.symbol.every((code) => code < kind.widths.length), BROKEN);
    this.tables.set(kind, read.table);
    return read;
  }

  block(block) {
    const { literals, bytes } = this.literals(block);
    let at = bytes;
    let count = number(block, at++, 1);
    if (count === 255) {
      count = number(block, at, 2) + 0x7f00;
      at += 2;
    } else if (count >= 128) {
      count = (count - 128) * 256 + number(block, at++, 1);
    }
    if (count === 0) {
      need(at === block.length, BROKEN);
      this.append(literals);
      return;
    }
    const modes = number(block, at++, 1);
    need((modes & 3) === 0, BROKEN);
    const kinds = [LITERALS, OFFSETS, MATCHES].map((kind, i) => {
      const { table, bytes: used } = this.table(
        kind,
        (modes >> (6 - 2 * i)) & 3,
        block.subarray(at),
      );
      at += used;
      return { ...kind, table };
    });
    this.sequences(new BackwardBits(block.subarray(at)), kinds, count, literals);
  }

  sequences(source, [lengths, offsets, matches], count, literals) {
    const start = ({ table }) => source.read(table.log);
    const states = [start(lengths), start(offsets), start(matches)];
    const value = (kind, state) => {
      const code = kind.table.symbol[state];
      return kind.bases[code] + source.read(kind.widths[code]);
    };
    const next = ({ table }, state) => table.base[state] + source.read(table.width[state]);
    let used = 0;
    for (let i = 0; i < count; ++i) {
      const offset = value(offsets, states[1]);
      const match = value(matches, states[2]);
      const length = value(lengths, states[0]);
      need(source.left >= 0 && used + length <= literals.length, BROKEN);
      this.append(literals.subarray(used, used + length));
      used += length;
      this.copy(this.distance(offset, length), match);
      if (i === count - 1) break;
      states[0] = next(lengths, states[0]);
      states[2] = next(matches, states[2]);
      states[1] = next(offsets, states[1]);
    }
    need(source.left === 0, BROKEN);
    this.append(literals.subarray(used));
  }

  /** The distance that an offset value stands for; the three last ones have short values. */
  distance(value, length) {
    const { repeats } = this;
    if (value > 3) {
      this.repeats = [value - 3, repeats[0], repeats[1]];
      return value - 3;
    }
    const which = value - 1 + (length === 0 ? 1 : 0);
    const distance = which === 3 ? repeats[0] - 1 : repeats[which];
    if (which === 1) this.repeats = [distance, repeats[0], repeats[2]];
    if (which > 1) this.repeats = [distance, repeats[0], repeats[1]];
    return distance;
  }

  copy(distance, length) {
    const { out } = this;
    need(distance > 0 && distance <= Math.min(this.at, this.window), BROKEN);
    need(this.at + length <= out.length, BROKEN);
    for (let i = 0; i < length; ++i, ++this.at) out[this.at] = out[this.at - distance];
  }
}

/** Content of `data`, one whole frame of at most `most` bytes. */
export function unpack(data, most) {
  const { at: begin, size, window, checksum } = frameHeader(data, most);
  const frame = new Frame(size, window);
  let at = begin;
  for (let last = false; !last;) {
    const head = number(data, at, 3);
    last = (head & 1) === 1;
    const kind = (head >> 1) & 3;
    const length = head >> 3;
    at += 3;
    need(kind < 3 && length <= Math.min(MAX_BLOCK, Math.max(window, 1)), BROKEN);
    const end = at + (kind === 1 ? 1 : length);
    need(end <= data.length, BROKEN);
    const content = data.subarray(at, end);
    if (kind === 0) frame.append(content);
    if (kind === 1) frame.append(new Uint8Array(length).fill(content[0]));
    if (kind === 2) frame.block(content);
    at = end;
  }
  need(at + (checksum ? 4 : 0) === data.length && frame.at === size, BROKEN);
  return frame.out;
}
