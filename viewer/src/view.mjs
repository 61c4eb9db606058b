// Views: which part of the picture lies where on the screen. `width` x `height` screen pixels show
// the picture from (x, y) on, each a square of side `pixel` there.

import { clamp } from "./arithmetic.mjs";
import { tileSide } from "./candidates.mjs";

const LARGEST_ZOOM = 65536; // screen pixels a pixel: binary32 tells more apart, eyes do not
const MOST_SAMPLES = 4; // along either side of a screen pixel that shows several pixels

/** Point of the picture in the middle of a view. */
export function middle(view) {
  return [view.x + (view.width / 2) * view.pixel, view.y + (view.height / 2) * view.pixel];
}

/** A view around a point, on whole screen pixels: at a zoom of 1 those are pixels of the picture. */
export function viewAround(picture, screen, pixel, [x, y]) {
  const most = Math.max(picture.width, picture.height, 16) / 16;
  const side = clamp(pixel, 1 / LARGEST_ZOOM, Math.max(most, 1));
  const corner = (v, length) =>
    Math.round((clamp(v[0], 0, v[1]) - (length / 2) * side) / side) * side;
  return {
    x: corner([x, picture.width], screen.width),
    y: corner([y, picture.height], screen.height),
    pixel: side,
    width: screen.width,
    height: screen.height,
    checker: screen.checker,
    tile: tileSide(side),
    samples: clamp(Math.ceil(side - 1e-6), 1, MOST_SAMPLES),
    pictureWidth: picture.width,
    pictureHeight: picture.height,
  };
}

/** All of the picture; at a zoom of 1 if it is small, unless it shall be enlarged. */
export function wholeView(picture, screen, enlarge) {
  const pixel = Math.max(picture.width / screen.width, picture.height / screen.height);
  const centre = [picture.width / 2, picture.height / 2];
  return viewAround(picture, screen, enlarge ? pixel : Math.max(pixel, 1), centre);
}

/** A view zoomed by a factor about a point of the screen. */
export function zoomed(picture, view, factor, [sx, sy]) {
  const fixed = [view.x + sx * view.pixel, view.y + sy * view.pixel];
  let pixel = view.pixel / factor;
  // Steps there and back meet a zoom of 1 again, though not to the last bit.
  if (Math.abs(pixel - 1) < 1e-6) pixel = 1;
  pixel = viewAround(picture, view, pixel, fixed).pixel;
  const centre = [
    fixed[0] + (view.width / 2 - sx) * pixel,
    fixed[1] + (view.height / 2 - sy) * pixel,
  ];
  return viewAround(picture, view, pixel, centre);
}

/** A view moved by screen pixels. */
export function moved(picture, view, [dx, dy]) {
  const [x, y] = middle(view);
  return viewAround(picture, view, view.pixel, [x - dx * view.pixel, y - dy * view.pixel]);
}
