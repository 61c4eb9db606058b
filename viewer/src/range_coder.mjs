// The range decoder, adaptive and mixed bits: docs/FORMAT.md, section 8.

import { clamp } from "./arithmetic.mjs";
import { need } from "./errors.mjs";
import { LOGISTIC } from "./tables.mjs";

const [SQUASH, STRETCH, CONFIDENCE] = mixTables();

function mixTables() {
  const squash = new Int32Array(4096);
  for (let d = 0; d < 4096; ++d) {
    const a = LOGISTIC[d >> 7];
    squash[d] = clamp(a + (((LOGISTIC[(d >> 7) + 1] - a) * (d & 127)) >> 7), 32, 65504);
  }
  const stretch = new Int32Array(4096);
  for (let i = 0, d = 1; i < 4096; ++i) {
    while (d < 4095 && squash[d] < 16 * i + 8) ++d;
    stretch[i] = d - 2048;
  }
  const confidence = Int32Array.from({ length: 256 }, (_, n) =>
    Math.floor((512 * n) / (2 * n + 3)),
  );
  return [squash, stretch, confidence];
}

/** Adaptive bits of one kind: probabilities of a 1 (Q16), and how many bins each has seen. */
export class Models {
  constructor(size, p = 32768, count = 0) {
    this.p = new Uint16Array(size).fill(p);
    this.count = new Uint8Array(size).fill(count);
  }

  copy() {
    const other = new Models(0);
    other.p = this.p.slice();
    other.count = this.count.slice();
    return other;
  }

  update(i, bit) {
    const rate = Math.floor(131072 / (2 * this.count[i] + 3));
    const p = this.p[i];
    if (bit) this.p[i] = Math.min(p + Math.floor(((65536 - p) * rate) / 65536), 65504);
    else this.p[i] = Math.max(p - Math.floor((p * rate) / 65536), 32);
    if (this.count[i] < 255) ++this.count[i];
  }

  /** What this model says of the next bin, drawn to 0 while it has seen few. */
  stretch(i) {
    return (STRETCH[this.p[i] >> 4] * CONFIDENCE[this.count[i]]) >> 8;
  }
}

export class RangeDecoder {
  constructor(data) {
    this.data = data;
    this.at = 0;
    this.range = 4294967295;
    this.code = 0;
    this.logits = new Int32Array(3);
    for (let i = 0; i < 4; ++i) this.code = this.code * 256 + this.next();
  }

  next() {
    need(this.at < this.data.length + 4, "payload ends too early");
    const byte = this.at < this.data.length ? this.data[this.at] : 0;
    ++this.at;
    return byte;
  }

  normalize() {
    while (this.range < 16777216) {
      this.range *= 256;
      this.code = this.code * 256 + this.next();
    }
  }

  fixed(p) {
    const bound = Math.floor((this.range * p) / 65536);
    const bit = this.code < bound;
    if (bit) {
      this.range = bound;
    } else {
      this.code -= bound;
      this.range -= bound;
    }
    this.normalize();
    return bit;
  }

  uniform(n) {
    if (n <= 1) return 0;
    this.range = Math.floor(this.range / n);
    const v = Math.floor(this.code / this.range);
    need(v < n, "range coder: value outside its interval");
    this.code -= v * this.range;
    this.normalize();
    return v;
  }

  raw(count) {
    let v = 0;
    for (; count > 12; count -= 12) v = v * 4096 + this.uniform(4096);
    return v * (1 << count) + this.uniform(1 << count);
  }

  adaptive(models, i) {
    const bit = this.fixed(models.p[i]);
    models.update(i, bit);
    return bit;
  }

  /**
   * One bin that the models `models[j]` predict together at their places `at[j]`, with the weights
   * from `first` on.
   */
  mixed(weights, first, models, at) {
    const s = this.logits;
    let sum = 0;
    for (let j = 0; j < models.length; ++j) {
      s[j] = models[j].stretch(at[j]);
      sum += weights[first + j] * s[j];
    }
    const p = SQUASH[clamp(Math.floor(sum / 65536), -2047, 2047) + 2048];
    const bit = this.fixed(p);
    const error = (bit ? 65536 : 0) - p;
    for (let j = 0; j < models.length; ++j) {
      const weight = weights[first + j] + ((s[j] * error + 32768) >> 16);
      weights[first + j] = clamp(weight, -4194304, 4194304);
      models[j].update(at[j], bit);
    }
    return bit;
  }

  finish() {
    const { at, data } = this;
    need(at >= data.length, "payload length does not match its content");
    need(
      at === data.length + 4 || data.length === 0 || data[data.length - 1] !== 0,
      "payload ends with a superfluous zero byte",
    );
  }
}
