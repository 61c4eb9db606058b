// Mouse, touch, keys, buttons, and files that are dropped.

import { moved, viewAround, wholeView, zoomed } from "./view.mjs";

const STEP = Math.SQRT2; // zoom of a key
const WHEEL = 0.0015; // log zoom of a unit of the wheel
const ARROW = 64; // px

const ARROWS = {
  ArrowLeft: [ARROW, 0],
  ArrowRight: [-ARROW, 0],
  ArrowUp: [0, ARROW],
  ArrowDown: [0, -ARROW],
};

/** Connect the page's elements to a viewer: `modes` are its three buttons. */
export function connectControls(viewer, { modes, openFile }) {
  const { canvas } = viewer;
  const element = (id) => document.getElementById(id);
  const change = (next) => viewer.guard(() => viewer.view && viewer.show(next(viewer.view)));
  const centre = ({ width, height }) => [width / 2, height / 2];
  const zoom = (factor, at) => {
    change((view) => zoomed(viewer.header, view, factor, at ?? centre(view)));
  };
  const whole = () => change(() => wholeView(viewer.header, viewer.screen(), true));
  const original = () => {
    change((view) => {
      const { x, y, pixel } = view;
      const [cx, cy] = centre(view);
      return viewAround(viewer.header, view, 1, [x + cx * pixel, y + cy * pixel]);
    });
  };
  const actions = {
    p: () => viewer.setMode(0),
    c: () => viewer.setMode(1),
    t: () => viewer.setMode(2),
    o: () => element("file").click(),
    0: whole,
    1: original,
    "+": () => zoom(STEP),
    "=": () => zoom(STEP),
    "-": () => zoom(1 / STEP),
  };

  modes.forEach((button, mode) => {
    button.addEventListener("click", () => viewer.guard(() => viewer.setMode(mode)));
  });
  for (const [id, key] of Object.entries({
    open: "o",
    whole: "0",
    original: "1",
    out: "-",
    in: "+",
  })) {
    element(id).addEventListener("click", actions[key]);
  }
  element("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) openFile(file);
    event.target.value = "";
  });
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    const action = arrow
      ? () => change((view) => moved(viewer.header, view, arrow))
      : actions[event.key];
    if (!action) return;
    event.preventDefault();
    viewer.guard(action);
  });
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) openFile(file);
  });
  new ResizeObserver(() => viewer.guard(() => viewer.fit())).observe(canvas.parentElement);
  connectPointers(canvas, { change, zoom, viewer });
}

/** Drag with one pointer, pinch with two, zoom with the wheel. */
function connectPointers(canvas, { change, zoom, viewer }) {
  const pointers = new Map();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  };
  const distance = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const apart = pointers.size === 2 ? distance([...pointers.values()]) : 0;
    const at = place(event);
    pointers.set(event.pointerId, at);
    const share = pointers.size; // each of several fingers moves its part
    const by = [(at[0] - before[0]) / share, (at[1] - before[1]) / share];
    change((view) => moved(viewer.header, view, by));
    if (apart > 0) {
      const [a, b] = [...pointers.values()];
      zoom(distance([a, b]) / apart, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  }
  const wheel = (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    zoom(Math.exp(-WHEEL * unit * event.deltaY), place(event));
  };
  canvas.addEventListener("wheel", wheel, { passive: false });
}
