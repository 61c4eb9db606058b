// The page: opens files, keeps the view, and has it drawn by the worker and the graphics device.

import { FileError, need } from "./errors.mjs";
import { readUrl } from "./fetching.mjs";
import { connectControls } from "./controls.mjs";
import { LIMITS } from "./limits.mjs";
import { Renderer } from "./renderer.mjs";
import { middle, viewAround, wholeView } from "./view.mjs";

const MODES = ["picture", "cells", "tau"];
const CHECKER = 8; // side of a square under transparent colours, CSS pixels

const element = (id) => document.getElementById(id);

/** Leave the last time that something took to the browser's tools. */
function note(name, seconds) {
  const end = performance.now();
  performance.clearMeasures(name);
  performance.measure(name, { start: Math.max(end - 1000 * seconds, 0), end });
}

class Viewer {
  constructor() {
    this.canvas = element("canvas");
    this.mode = 0;
    this.clear();
  }

  clear() {
    this.worker?.terminate();
    Object.assign(this, { worker: null, header: null, view: null, busy: false, stale: false });
    this.renderer?.clear();
    this.setState("empty");
  }

  /** State of the page: empty, reading, drawing, ready or error. */
  setState(state) {
    document.documentElement.dataset.state = state;
  }

  fail(error) {
    const message = error instanceof FileError ? error.message : `a defect of this page: ${error}`;
    this.clear();
    element("error").textContent = this.name ? `${this.name}: ${message}` : message;
    element("facts").textContent = "";
    this.setState("error");
  }

  /** Call a function whose errors are shown. */
  guard(action) {
    try {
      action();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Open what the promise of bytes gives, under a name. */
  async open(name, bytes) {
    this.clear();
    this.name = name;
    this.setState("reading");
    element("error").textContent = "";
    element("facts").textContent = `${name}: reading`;
    const turn = {};
    this.turn = turn;
    try {
      const data = await bytes();
      if (this.turn !== turn) return;
      this.renderer ??= this.newRenderer();
      this.worker = this.newWorker();
      this.worker.postMessage({ data }, [data]);
    } catch (error) {
      if (this.turn === turn) this.fail(error);
    }
  }

  newRenderer() {
    this.canvas.addEventListener("webglcontextlost", () => {
      this.renderer = null;
      this.fail(new FileError("the graphics device gave up; reload the page to go on"));
    });
    return new Renderer(this.canvas);
  }

  newWorker() {
    const source = new Blob([element("worker").textContent], { type: "text/javascript" });
    const url = URL.createObjectURL(source);
    const worker = new Worker(url);
    URL.revokeObjectURL(url);
    worker.onmessage = ({ data }) => this.guard(() => this.receive(data));
    worker.onerror = (event) => {
      event.preventDefault();
      this.fail(new FileError(`the decoder stopped: ${event.message}`));
    };
    return worker;
  }

  receive({ error, header, prepared, colors, uncertain, ...facts }) {
    if (error) throw new FileError(error);
    if (colors) {
      this.patch(uncertain, colors);
      return;
    }
    if (header) {
      note("decode", facts.seconds);
      Object.assign(this, { header, bytes: facts.bytes, tauRange: facts.tauRange });
      this.show(wholeView(header, this.screen(), false));
      return;
    }
    note("lists", facts.seconds);
    this.renderer.load(prepared, this.header);
    this.redraw();
  }

  /** Size of the canvas on the screen, in pixels of the device. */
  screen() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    const { largest } = this.renderer;
    const size = (length) => Math.min(Math.max(Math.round(length * ratio), 1), largest);
    return { width: size(clientWidth), height: size(clientHeight), checker: CHECKER * ratio };
  }

  /** Go to a view: at once with what is drawn, then anew. */
  show(view) {
    this.view = view;
    this.resize(view);
    this.renderer.show(view);
    this.describe();
    this.setState("drawing");
    this.stale = true;
    if (!this.busy) this.prepare();
  }

  resize({ width, height }) {
    const { canvas } = this;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
  }

  prepare() {
    this.busy = true;
    this.stale = false;
    this.worker.postMessage({ view: this.view });
  }

  setMode(mode) {
    this.mode = mode;
    for (const [i, name] of MODES.entries()) {
      element(name).setAttribute("aria-pressed", String(i === mode));
    }
    if (!this.view) return;
    this.describe();
    const waits = this.busy && !this.renderer.next; // for lists: the mode counts when they are here
    if (this.renderer.loaded && !waits) this.redraw();
  }

  /** Draw what is loaded, a band in each turn. */
  redraw() {
    this.busy = true;
    this.setState("drawing");
    this.renderer.begin(this.mode, this.tauRange);
    this.started = performance.now();
    if (this.stepping) return;
    this.stepping = true;
    const step = () => {
      this.stepping = false;
      if (!this.renderer?.next) return;
      if (this.renderer.draw()) {
        this.finish();
        return;
      }
      this.stepping = true;
      setTimeout(() => this.guard(step));
    };
    setTimeout(() => this.guard(step));
  }

  /** Show a frame that was drawn; go on to the next view, or settle what is left of this one. */
  finish() {
    const { renderer } = this;
    this.busy = false;
    renderer.show(this.view);
    if (this.stale) {
      this.prepare();
      return;
    }
    const { mode, view } = renderer.frame;
    const uncertain = mode === 0 && view.samples === 1 ? renderer.uncertain() : [];
    note("draw", (performance.now() - this.started) / 1000);
    this.resolving = renderer.frame;
    if (uncertain.length > 0) this.worker.postMessage({ uncertain });
    else this.setState("ready");
  }

  patch(uncertain, colors) {
    if (this.renderer.frame !== this.resolving) return;
    this.renderer.patch(uncertain, colors);
    this.renderer.show(this.view);
    if (!this.busy) this.setState("ready");
  }

  describe() {
    const { header, bytes, view, name, mode, tauRange } = this;
    const number = (v) => v.toLocaleString("en");
    const colors = ["gray", "gray and alpha", "RGB", "RGBA"][header.channels - 1];
    const parts = [
      name,
      `${header.width} x ${header.height} px, ${colors}, ${header.bitDepth} bits`,
      `${number(header.siteCount)} sites, K = ${header.k}`,
      `${number(bytes)} bytes, ${((8 * bytes) / (header.width * header.height)).toPrecision(3)} bpp`,
      `${Number((100 / view.pixel).toPrecision(3))} %`,
    ];
    const tau = tauRange.map((v) => Number(Math.exp(v).toPrecision(2)));
    if (mode === 2) parts.push(`black ${tau[0]} / px, white ${tau[1]} / px`);
    element("facts").textContent = parts.join(" · ");
    this.canvas.dataset.view = JSON.stringify(view);
  }

  /** Keep the middle when the size of the window changes. */
  fit() {
    if (!this.view) return;
    const view = viewAround(this.header, this.screen(), this.view.pixel, middle(this.view));
    if (view.width !== this.view.width || view.height !== this.view.height) this.show(view);
  }
}

async function readLocal(file) {
  need(file.size <= LIMITS.fileBytes, `file exceeds the limit of ${LIMITS.fileBytes} bytes`);
  try {
    return await file.arrayBuffer();
  } catch {
    throw new FileError("cannot be read");
  }
}

const viewer = new Viewer();
window.addEventListener("error", ({ message }) => viewer.fail(message));
window.addEventListener("unhandledrejection", ({ reason }) => viewer.fail(reason));
viewer.guard(() => {
  connectControls(viewer, {
    modes: MODES.map(element),
    openFile: (file) => viewer.open(file.name, () => readLocal(file)),
  });
  const query = new URLSearchParams(location.search);
  const mode = MODES.indexOf(query.get("mode"));
  if (mode > 0) viewer.setMode(mode);
  const url = query.get("url");
  if (url) viewer.open(url.split("/").pop(), () => readUrl(url));
});
