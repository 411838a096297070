/**
 * Bars as inline SVG, made by DOM calls and styled by classes: the CSP allows no other way.
 *
 * All of them are pictures of figures that stand in a table beside them, and hidden from screen readers.
 */

import { el } from "./dom.js";

const SEEN = 0.8; // of 100: the least height of what is not nothing

const NS = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const rect = (name, x, y, width, height) => svg("rect", { class: name, x, y, width, height });

/** A stretched drawing, `width` by 100 units; whatever its size on the screen, its text is outside. */
const drawing = (width, ...children) => svg("svg", { viewBox: `0 0 ${width} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...children);

/** The next number up of 1, 2, 5, 10, 20, …, which is easy to read off an axis. */
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}

/**
 * One column a day, parts on top of each other. `days`: of each its `label`, its `values` (one a part)
 * and the `words` that are shown over it; `parts`: class names; `figure`: a number in words.
 */
export function columns(days, parts, figure) {
  const top = roundUp(Math.max(...days.map(({ values }) => values.reduce((a, b) => a + b, 0))));
  const plot = drawing(10 * days.length, ...days.map((day, i) => column(day, 10 * i, parts, top)));
  const middle = days[Math.floor((days.length - 1) / 2)];
  return el("div", { class: "plot", "aria-hidden": "true" },
    el("div", { class: "scale" }, [top, top / 2, 0].map((value) => el("span", null, figure(value)))),
    el("div", { class: "drawn" }, plot),
    el("div", { class: "days" }, [days[0], middle, days.at(-1)].map(({ label }) => el("span", null, label))));
}

function column({ values, words }, x, parts, top) {
  let y = 100;
  const bars = values.map((value, i) => {
    const height = value > 0 ? Math.max((100 * value) / top, SEEN) : 0;
    y -= height;
    return rect(parts[i], x + 1.5, y, 7, height);
  });
  return svg("g", {}, svg("title", {}, words), rect("over", x, 0, 10, 100), ...bars);
}

/** A bar across, for a share between 0 and 1. */
export const across = (share, name) => drawing(100, rect(name, 0, 0, 100 * Math.min(share, 1), 100));
