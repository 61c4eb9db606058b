// The viewers of a report. Without this script the page shows all pictures side by side; with it,
// any two can be wiped against each other, and all of a viewer zoom and scroll together.
"use strict";

/** Call a function for the next frame only, however often it is asked for. */
function oncePerFrame(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** Return what is in the middle of a pane, as shares of its picture's width and height. */
function middleOf(pane) {
  return [
    (pane.scrollLeft + pane.clientWidth / 2) / (pane.scrollWidth || 1),
    (pane.scrollTop + pane.clientHeight / 2) / (pane.scrollHeight || 1),
  ];
}

function setMiddle(pane, [x, y]) {
  pane.scrollLeft = x * pane.scrollWidth - pane.clientWidth / 2;
  pane.scrollTop = y * pane.scrollHeight - pane.clientHeight / 2;
}

/** Let the panes of a viewer, which differ in size, show the same place in their middles. */
function scrollTogether(panes) {
  let leader = panes[0];
  const follow = oncePerFrame(() => {
    const middle = middleOf(leader);
    panes.filter((pane) => pane !== leader).forEach((pane) => setMiddle(pane, middle));
  });
  for (const pane of panes) {
    // Only the pane under the pointer or with the focus leads: to be moved is to scroll, too.
    for (const kind of ["pointerenter", "pointerdown", "focusin"]) {
      pane.addEventListener(kind, () => {
        leader = pane;
      });
    }
    pane.addEventListener("scroll", () => {
      if (leader === pane) follow();
    });
  }
}

/** Make the wipe of one exhibit; returns what draws it anew. */
function startWipe(exhibit) {
  const wipe = exhibit.querySelector(".wipe");
  const stage = wipe.querySelector(".stage");
  const [under, over] = [0, 1].map(() => stage.appendChild(document.createElement("img")));
  const slider = wipe.querySelector("input[type=range]");
  const [left, right] = wipe.querySelectorAll("select");
  const tags = wipe.querySelectorAll(".tag");
  const line = wipe.querySelector(".line");
  const pictures = [...exhibit.querySelectorAll("figure img")];

  const draw = oncePerFrame(() => {
    const at = (slider.value / slider.max) * stage.clientWidth;
    line.style.left = `${at}px`;
    over.style.clipPath = `inset(0 0 0 ${Math.max(0, at + stage.scrollLeft)}px)`;
    const share = Math.round((100 * slider.value) / slider.max);
    slider.setAttribute(
      "aria-valuetext",
      `${share} % ${pictures[left.value].dataset.label}, ` +
        `${100 - share} % ${pictures[right.value].dataset.label}`,
    );
  });
  const choose = () => {
    [
      [under, left, tags[0]],
      [over, right, tags[1]],
    ].forEach(([image, select, tag]) => {
      const picture = pictures[select.value];
      image.src = picture.src;
      image.alt = picture.alt;
      tag.textContent = picture.dataset.label;
    });
    draw();
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    const share = (event.clientX - box.left) / stage.clientWidth;
    slider.value = Math.round(Math.min(1, Math.max(0, share)) * slider.max);
    draw();
  };
  const onBar = (event) => {
    const box = stage.getBoundingClientRect();
    return (
      event.clientX - box.left > stage.clientWidth || event.clientY - box.top > stage.clientHeight
    );
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || onBar(event)) return; // the scroll bars are the browser's
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("scroll", draw);
  slider.addEventListener("input", draw);
  left.addEventListener("change", choose);
  right.addEventListener("change", choose);
  wipe.querySelector(".swap").addEventListener("click", () => {
    [left.value, right.value] = [right.value, left.value];
    choose();
  });
  window.addEventListener("resize", draw);
  wipe.hidden = false;
  choose();
  return draw;
}

/** Make the zoom of one exhibit: "fit", or so many screen pixels to a pixel. */
function startZoom(exhibit, panes, redraw) {
  const group = exhibit.querySelector(".zoom");
  const set = (zoom) => {
    // What is in the middle stays there.
    const middles = panes.map(middleOf);
    exhibit.classList.toggle("zoomed", zoom !== "fit");
    exhibit.style.setProperty("--zoom", zoom === "fit" ? "" : zoom);
    panes.forEach((pane, nth) => setMiddle(pane, middles[nth]));
    redraw();
  };
  for (const input of group.querySelectorAll("input")) {
    input.addEventListener("change", () => set(input.value));
  }
  group.hidden = false;
  const chosen = group.querySelector("input:checked"); // a reloaded page may remember one
  set(chosen ? chosen.value : "fit");
}

/** Show one exhibit of an image at a time, where there are several. */
function startRates(viewer) {
  const select = viewer.querySelector(".rates select");
  if (!select) return;
  const exhibits = [...viewer.querySelectorAll(".exhibit")];
  const show = () => {
    exhibits.forEach((exhibit, nth) => {
      exhibit.hidden = nth !== Number(select.value);
    });
    window.dispatchEvent(new Event("resize"));
  };
  select.addEventListener("change", show);
  viewer.querySelector(".rates").hidden = false;
  show();
}

for (const exhibit of document.querySelectorAll(".exhibit")) {
  const panes = [...exhibit.querySelectorAll(".pane")];
  scrollTogether(panes);
  startZoom(exhibit, panes, startWipe(exhibit));
}
document.querySelectorAll(".viewer").forEach(startRates);
