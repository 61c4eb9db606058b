// Draws views with WebGL2, a few bands of tiles at a time: the page stays responsive, and no call
// takes so long that the system would stop the graphics device.

import { need } from "./errors.mjs";
import { CORNERS, drawing, ENTRY_COLUMNS, SHOWING, SITE_COLUMNS } from "./shaders.mjs";
import { middle } from "./view.mjs";

const EVALUATIONS = 2 ** 25; // of a site at a point, in one call
const MOST_UNCERTAIN = 2 ** 14; // pixels; more are only where many sites lie in one place

export class Renderer {
  constructor(canvas) {
    const options = { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true };
    this.gl = canvas.getContext("webgl2", options);
    need(this.gl, "this browser has no WebGL2, which drawing needs");
    need(!this.gl.isContextLost(), "the graphics device gave up; reload the page to go on");
    this.canvas = canvas;
    this.largest = this.gl.getParameter(this.gl.MAX_TEXTURE_SIZE);
    this.programs = new Map();
    this.textures = new Map();
    this.framebuffer = this.gl.createFramebuffer();
    this.frame = null; // what is shown
    this.next = null; // what is being drawn
  }

  program(name, fragments) {
    const { gl } = this;
    if (this.programs.has(name)) return this.programs.get(name);
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, CORNERS],
      [gl.FRAGMENT_SHADER, fragments],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      gl.deleteShader(shader);
    }
    gl.linkProgram(program);
    const linked = gl.getProgramParameter(program, gl.LINK_STATUS) || gl.isContextLost();
    need(linked, "the graphics device does not take the drawing program");
    this.programs.set(name, program);
    return program;
  }

  /** Use a program with uniforms {name: [setter, values]}. */
  use(program, uniforms) {
    const { gl } = this;
    gl.useProgram(program);
    for (const [name, [setter, ...values]] of Object.entries(uniforms)) {
      gl[setter](gl.getUniformLocation(program, name), ...values);
    }
  }

  /** A texture of `data`, whose rows are filled up, for texelFetch. */
  upload(name, unit, [internal, format, type], width, height, data) {
    const { gl } = this;
    const fits = Math.max(width, height) <= this.largest;
    need(fits, "too many sites for the graphics device of this browser");
    if (!this.textures.has(name)) this.textures.set(name, gl.createTexture());
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, this.textures.get(name));
    gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, format, type, data);
    this.nearest();
  }

  nearest() {
    const { gl } = this;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  emptyFrame(view) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, view.width, view.height);
    this.nearest();
    return { texture, view };
  }

  /** Take the lists and sites of a view, made by `prepareView`, to draw it with. */
  load(prepared, header) {
    const { gl } = this;
    const { view, sites, tiles, columns, rows, entries } = prepared;
    const floats = [gl.RGBA32F, gl.RGBA, gl.FLOAT];
    const siteRows = sites.length / (12 * SITE_COLUMNS);
    this.upload("sites", 0, floats, 3 * SITE_COLUMNS, siteRows, sites);
    const pairs = [gl.RG32UI, gl.RG_INTEGER, gl.UNSIGNED_INT];
    this.upload("tiles", 1, pairs, columns, rows, tiles);
    const integers = [gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT];
    this.upload("entries", 2, integers, ENTRY_COLUMNS, entries.length / ENTRY_COLUMNS, entries);
    this.loaded = { view, header, tiles, columns, rows };
  }

  /** Begin to draw what is loaded; `draw` does it. */
  begin(mode, tauRange) {
    this.discard(this.next);
    this.next = { ...this.emptyFrame(this.loaded.view), mode, tauRange, row: 0 };
  }

  /** Rows of tiles from `row` on that one call may draw. */
  band(row) {
    const { tiles, columns, rows, view } = this.loaded;
    let evaluations = 0;
    let end = row;
    while (end < rows && (end === row || evaluations < EVALUATIONS)) {
      for (let i = end * columns; i < (end + 1) * columns; ++i) {
        evaluations += tiles[2 * i + 1] * (view.tile * view.samples) ** 2;
      }
      ++end;
    }
    return end;
  }

  /** Draw a band of the frame that was begun, and return whether it was the last. */
  draw() {
    const { gl, next } = this;
    const { view, header, rows } = this.loaded;
    const [middleX, middleY] = middle(view);
    const corner = [view.x - middleX, view.y - middleY];
    const picture = [-middleX, -middleY, header.width - middleX, header.height - middleY];
    const end = this.band(next.row);
    this.use(this.program(`drawing ${header.k}`, drawing(header.k)), {
      sites: ["uniform1i", 0],
      tiles: ["uniform1i", 1],
      entries: ["uniform1i", 2],
      mode: ["uniform1i", next.mode],
      tile: ["uniform1i", view.tile],
      samples: ["uniform1i", view.samples],
      pixel: ["uniform1f", view.pixel],
      checker: ["uniform1f", view.checker],
      corner: ["uniform2f", ...corner],
      bounds: ["uniform4f", ...picture],
      tau_range: ["uniform2f", ...next.tauRange],
    });
    this.attach(next);
    gl.viewport(0, 0, view.width, view.height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, next.row * view.tile, view.width, (end - next.row) * view.tile);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.disable(gl.SCISSOR_TEST);
    gl.flush();
    next.row = end;
    if (end < rows) return false;
    this.discard(this.frame);
    this.frame = next;
    this.next = null;
    return true;
  }

  /** Attach a frame to draw into it or to read it. */
  attach({ texture }) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  }

  /** Pixels of the shown frame that it is not certain of, row by row. */
  uncertain() {
    const { gl, frame } = this;
    const { width, height } = frame.view;
    const pixels = new Uint8Array(4 * width * height);
    this.attach(frame);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    const found = [];
    for (let i = 0; i < width * height && found.length < MOST_UNCERTAIN; ++i) {
      if (pixels[4 * i + 3] === 0) found.push(i);
    }
    return found;
  }

  /** Put colours, 0 to 1, at those pixels of the shown frame. */
  patch(uncertain, colors) {
    const { gl, frame } = this;
    const { width, checker } = frame.view;
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, frame.texture);
    uncertain.forEach((pixel, i) => {
      const y = Math.floor(pixel / width);
      const x = pixel - y * width;
      const square = Math.floor((x + 0.5) / checker) + Math.floor((y + 0.5) / checker);
      const ground = square % 2 === 0 ? 255 : 204;
      const values = Array.from(colors.subarray(4 * i, 4 * i + 4), (v) =>
        Math.min(Math.max(v, 0), 1),
      );
      const mixed = values.map((v) => Math.round(ground + values[3] * (255 * v - ground)));
      const texel = Uint8Array.of(mixed[0], mixed[1], mixed[2], 255);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, x, y, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, texel);
    });
  }

  discard(frame) {
    if (frame) this.gl.deleteTexture(frame.texture);
  }

  /** Forget what is shown and drawn. */
  clear() {
    [this.frame, this.next].forEach((frame) => this.discard(frame));
    [this.frame, this.next, this.loaded] = [null, null, null];
  }

  /** Show the last whole frame as it lies in a view. */
  show(view) {
    const { gl, frame } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, view.width, view.height);
    gl.clearColor(0.15, 0.15, 0.15, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!frame) return;
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, frame.texture);
    const { x, y, pixel } = frame.view;
    this.use(this.program("showing", SHOWING), {
      frame: ["uniform1i", 3],
      offset: ["uniform2f", (view.x - x) / pixel, (view.y - y) / pixel],
      ratio: ["uniform1f", view.pixel / pixel],
      height: ["uniform1f", view.height],
    });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
