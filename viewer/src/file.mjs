// Whole files: header, chunks, groups. docs/FORMAT.md, sections 2, 3, 8, 10, 11 and 12.

import { LOG_ANISOTROPY, LOG_TAU, RADIUS, gridOf, keyOf, readColumns } from "./columns.mjs";
import { FileError, need } from "./errors.mjs";
import { LIMITS } from "./limits.mjs";
import { RangeSource, Start } from "./range_source.mjs";
import { Varints, VarintSource } from "./varints.mjs";
import { unpack } from "./zstd.mjs";

const SIGNATURE = [0x89, 0x53, 0x41, 0x44, 0x0d, 0x0a, 0x1a, 0x0a];

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; ++bit) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

export function crc32(data) {
  let crc = 0xffffffff;
  for (let i = 0; i < data.length; ++i) crc = CRC[(crc ^ data[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Little-endian numbers and letters at byte offsets. */
class Bytes {
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.length = data.length;
  }

  u16(at) {
    return this.view.getUint16(at, true);
  }

  u32(at) {
    return this.view.getUint32(at, true);
  }

  part(begin, end) {
    return new Bytes(this.data.subarray(begin, end));
  }
}

function signatureProblem(data) {
  if (data.length === 0) return "file is empty";
  const begins = data.every((byte, i) => i >= 8 || byte === SIGNATURE[i]);
  if (data.length < 8 && begins) return "file ends inside the signature";
  if (data.length >= 4 && [1, 2, 3].every((i) => data[i] === SIGNATURE[i])) {
    return begins ? null : "file was damaged in transfer (text mode?)";
  }
  return "not a .sad file";
}

/** Fields of the header, checked; `end` is the offset of the first chunk. */
export function readHeader(data) {
  const problem = signatureProblem(data);
  need(!problem, problem);
  const bytes = new Bytes(data);
  need(bytes.length >= 36, "file ends inside the header");
  const version = data[8];
  need(version === 1, `format version ${version} is not supported (this is version 1)`);
  const channels = data[10] & 7;
  const crcAt = 36 + 2 * channels;
  need(bytes.length >= crcAt + 4, "file ends inside the header");
  const crc = bytes.u32(crcAt);
  need(crc32(data.subarray(0, crcAt)) === crc, "header does not match its checksum");
  need(data[10] < 16, "header has reserved bits set");
  const header = {
    channels,
    bitDepth: data[10] & 8 ? 16 : 8,
    k: data[11],
    width: bytes.u32(12),
    height: bytes.u32(16),
    siteCount: bytes.u32(20),
    stepPosition: bytes.u16(24),
    stepLogTau: bytes.u16(26),
    stepLogAnisotropy: bytes.u16(28),
    stepAngle: bytes.u16(30),
    stepRadius: bytes.u16(32),
    classDistanceGain: data[34],
    classTauGain: data[35],
    stepColor: Array.from({ length: channels }, (_, c) => bytes.u16(36 + 2 * c)),
    crc,
    end: crcAt + 4,
  };
  checkLimits(header);
  checkHeader(header, data[9]);
  return header;
}

function checkLimits({ width, height, siteCount }) {
  const size = `image of ${width} x ${height} pixels`;
  need(width * height <= LIMITS.pixels, `${size} exceeds the limit of ${LIMITS.pixels}`);
  need(Math.max(width, height) <= LIMITS.side, `${size} has a side over ${LIMITS.side}`);
  need(siteCount <= LIMITS.sites, `${siteCount} sites exceed the limit of ${LIMITS.sites}`);
}

function checkHeader(header, flags) {
  const { channels, k, width, height, siteCount } = header;
  const bad = (condition, problem) => need(condition, `bad header: ${problem}`);
  bad(channels >= 1 && channels <= 4, `step_color has ${channels} values; it needs 1 to 4`);
  const steps = {
    step_position: header.stepPosition,
    step_log_tau: header.stepLogTau,
    step_log_anisotropy: header.stepLogAnisotropy,
    step_angle: header.stepAngle,
    step_color: Math.min(...header.stepColor),
  };
  for (const [name, step] of Object.entries(steps)) {
    bad(step >= 1, `${name} is 0; it must lie in 1..65535`);
  }
  bad(width >= 1 && height >= 1, "image size out of range");
  bad(k >= 1 && k <= 16, `K is ${k}; it must lie in 1..16`);
  bad(flags === 0, "reserved flags are set");
  bad(
    siteCount >= 1 && siteCount <= 4 * width * height + 64,
    `${siteCount} sites are not possible for ${width} x ${height} px`,
  );
  const grid = gridOf(header);
  bad(Math.max(grid.width, grid.height) <= 2 ** 19, "image too large for its position step");
}

/** All chunks: {type, label, data}. */
function readChunks(data, begin) {
  const bytes = new Bytes(data);
  const chunks = [];
  let most = LIMITS.chunks;
  for (let at = begin; at < data.length;) {
    need(data.length - at >= 12, `file ends inside the head of a chunk at byte ${at}`);
    const end = at + 8 + bytes.u32(at);
    const name = data.subarray(at + 4, at + 8);
    const letters = name.every((byte) => (byte | 32) >= 97 && (byte | 32) <= 122);
    const type = String.fromCharCode(...name);
    const hex = Array.from(name, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const label = `chunk ${letters ? type : hex} at byte ${at}`;
    need(end + 4 <= data.length, `${label}: the file ends inside it, or its length is damaged`);
    need(crc32(data.subarray(at, end)) === bytes.u32(end), `${label}: does not match its checksum`);
    need(letters && !(name[2] & 32), `${label}: bad chunk type`);
    chunks.push({ type, label, critical: !(name[0] & 32), data: data.subarray(at + 8, end) });
    if (type === "MODL") most = LIMITS.modelled;
    need(chunks.length <= most, `${label}: more than ${most} chunks`);
    at = end + 4;
  }
  return chunks;
}

const SITE_TYPES = ["SITE", "SITZ", "GRPE", "GRPZ", "GRPM"];

/** The site after each layer, of a chunk that states the layers. */
function layerEnds(header, { data, label }) {
  const fail = (condition, problem) => need(condition, `${label}: ${problem}`);
  fail(data.length % 4 === 0 && data.length >= 12, `${data.length} bytes cannot be layers`);
  const bytes = new Bytes(data);
  fail(bytes.u32(0) === header.crc, "belongs to another header");
  const ends = [];
  let end = 0;
  for (let at = 4; at < data.length; at += 4) {
    const count = bytes.u32(at);
    end = count > 0 ? end + count : Infinity;
    ends.push(end);
  }
  fail(end === header.siteCount, `the layers do not have ${header.siteCount} sites`);
  return ends;
}

/** What models start from, of a chunk that states it. */
function startOf(header, { data, label }) {
  need(data.length > 4, `${label}: too short for models`);
  need(new Bytes(data).u32(0) === header.crc, `${label}: belongs to another header`);
  const colors = Array.from({ length: header.channels }, (_, c) => c);
  const columns = [LOG_TAU, LOG_ANISOTROPY, ...(header.stepRadius > 0 ? [RADIUS] : []), ...colors];
  return prefixed(`${label}: damaged models`, () => Start.read(data.subarray(4), columns));
}

/** Chunks of sites; `ends` of the layers, of a file without layers a single one; `start`. */
function siteChunks(header, chunks) {
  const sites = [];
  const known = new Set();
  let ends = [header.siteCount];
  let start;
  for (const chunk of chunks) {
    const first = sites[0];
    const follows = first && chunk.type === first.type && first.type.startsWith("GRP");
    need(!first || follows, `${chunk.label}: data after the sites`);
    need(chunk.type !== "CMPH", "holds a composition of bitmap primitives, which is not shown here");
    need(chunk.type !== "SEQH", "holds a sequence of pictures, which is not shown here");
    if (SITE_TYPES.includes(chunk.type)) {
      const grouped = chunk.type.startsWith("GRP");
      need(start || chunk.type !== "GRPM", `${chunk.label}: its models are missing`);
      need(!start || chunk.type === "GRPM", `${chunk.label}: does not start from models`);
      need(grouped || known.size === 0, `${chunk.label}: layers are made of groups`);
      sites.push(chunk);
    } else if (chunk.critical) {
      need(!known.has(chunk.type), `${chunk.label}: a second critical chunk`);
      known.add(chunk.type);
      if (chunk.type === "LAYR") ends = layerEnds(header, chunk);
      else if (chunk.type === "MODL") start = startOf(header, chunk);
      else need(false, `${chunk.label}: unknown critical chunk`);
    }
  }
  need(sites.length > 0, "file ends before the sites");
  return { sites, ends, start };
}

/** Fields of the groups, which must follow one another without gaps. */
function groupFields(header, chunks, ends) {
  let first = 0;
  let low = 0;
  let layer = 0;
  return chunks.map((chunk, index) => {
    const fail = (condition, problem) => need(condition, `${chunk.label}: ${problem}`);
    fail(chunk.data.length >= 18, "too short for a group");
    const bytes = new Bytes(chunk.data);
    const group = { low: bytes.u16(12), high: bytes.u16(14), spacing: bytes.u16(16) };
    const count = bytes.u32(8);
    const begin = bytes.u32(4);
    const end = begin + count;
    fail(bytes.u32(0) === header.crc, "belongs to another header");
    fail(count >= 1 && count < header.siteCount, `a group of ${count} sites is not possible`);
    const run = `${begin} to ${end - 1}`;
    fail(begin >= first && end <= header.siteCount, `sites ${run} are out of place`);
    let begins = begin === 0;
    for (; ends[layer] <= begin; ++layer) begins = true;
    if (begins) low = 0;
    fail(end <= ends[layer], `sites ${run} are in two layers`);
    fail(group.low >= low && group.low <= group.high, "the group's positions are out of place");
    fail(begin === first, `the sites before ${run} are missing`);
    [first, low] = [end, group.high];
    const last = index === chunks.length - 1;
    fail(!last || end === header.siteCount, "file ends before the other groups of sites");
    return { group, count, begins };
  });
}

/** Call read(), with `prefix` before the message of its FileError. */
function prefixed(prefix, read) {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new FileError(`${prefix}: ${error.message}`);
  }
}

function readSites(header, { type, label }, data, count, group, start) {
  return prefixed(label, () => {
    need(count <= 64 * data.length, "payload is too short for its number of sites");
    const zstd = type.endsWith("Z");
    const content = zstd ? unpack(data, 20 + 5 * count * (6 + header.channels)) : data;
    return prefixed("damaged site data", () => {
      const least = zstd ? count * (5 + header.channels) : 0;
      need(content.length >= least, "payload ends too early");
      const reader = new Varints(content);
      const tau = [0, 1, 2, 3].map(() => reader.next());
      need(Math.max(...tau.map(Math.abs)) <= 1048576, "prediction coefficient out of range");
      const coded = content.subarray(reader.at);
      const source = zstd ? new VarintSource(reader) : new RangeSource(coded, start);
      return readColumns(header, source, tau, count, group);
    });
  });
}

/** The columns of all groups behind one another. */
function joined(parts) {
  if (parts.length === 1) return parts[0];
  const columns = {};
  for (const [name, first] of Object.entries(parts[0])) {
    const length = parts.reduce((sum, part) => sum + part[name].length, 0);
    const column = new first.constructor(length);
    let at = 0;
    for (const part of parts) {
      column.set(part[name], at);
      at += part[name].length;
    }
    columns[name] = column;
  }
  return columns;
}

/** Header and sites, in stored order, of the bytes of a file. */
export function readFile(data) {
  need(data.length <= LIMITS.fileBytes, `file exceeds the limit of ${LIMITS.fileBytes} bytes`);
  const header = readHeader(data);
  const { sites: chunks, ends, start } = siteChunks(header, readChunks(data, header.end));
  if (chunks[0].type.startsWith("SIT")) {
    const [chunk] = chunks;
    return { header, sites: readSites(header, chunk, chunk.data, header.siteCount) };
  }
  const grid = gridOf(header);
  let last = 0;
  const parts = groupFields(header, chunks, ends).map(({ group, count, begins }, index) => {
    const chunk = chunks[index];
    const part = readSites(header, chunk, chunk.data.subarray(18), count, group, start);
    need(
      begins || keyOf(grid, part.x[0], part.y[0]) >= last,
      `${chunk.label}: the group's positions are out of order`,
    );
    last = keyOf(grid, part.x[count - 1], part.y[count - 1]);
    return part;
  });
  return { header, sites: joined(parts) };
}
