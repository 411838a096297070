/** Elements, icons and ages. Text enters the page only as text nodes: the CSP allows no other way. */

const SVG = "http://www.w3.org/2000/svg";

/** An element. Functions among the attributes become listeners; null, undefined and false are left out. */
export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value != null && value !== false) node.setAttribute(name, value);
  }
  node.append(...present(children));
  return node;
}

/** Children without the empty ones, however deep. */
export const present = (children) => children.flat(Infinity).filter((child) => child != null && child !== false && child !== "");

/** A symbol of index.html, as decoration. */
export function icon(name) {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS(SVG, tag));
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A name from the index as words: "case-study" reads "case study". */
export const phrase = (name) => name.replaceAll("-", " ");

export const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

const UNITS = [["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const RELATIVE = new Intl.RelativeTimeFormat("en");
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short" });

/** A time that reads as an age ("3 months ago") and holds the exact date. */
export function age(iso) {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return "at an unknown time";
  const seconds = (time - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? [];
  const words = unit ? RELATIVE.format(Math.trunc(seconds / length), unit) : "just now";
  return el("time", { datetime: iso, title: EXACT.format(time) }, words);
}

/** How old a source is: since its last change or, where nobody knows, since it was read. */
export const freshness = ({ modified_at: modified, ingested_at: ingested }) => (modified ? ["updated ", age(modified)] : ["undated, read ", age(ingested)]);

export const staleMark = () => el("span", { class: "stale" }, icon("old"), " Changed since it was read");

/** A revision, short as people write it (a commit, a digest), with the whole one at hand. */
export function revision({ revision: whole }) {
  const short = /^[0-9a-f]{8,}$/i.test(whole) ? whole.slice(0, 7) : whole.slice(0, 16);
  return el("span", { title: `Revision ${whole}` }, "revision ", el("code", null, short));
}

export const isWeb = (address) => /^https?:\/\//i.test(address);

export const link = (address, text) => el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text);

/** A link that says where it leads; null for what a browser should not open. */
export function openAt(address) {
  return isWeb(address) && URL.canParse(address) ? link(address, `open at ${new URL(address).host}`) : null;
}

/** Where a source lives: a link if a browser may open it, else its path. */
export const whereabouts = (source) => (isWeb(source) ? link(source, source.replace(/^\w+:\/\//, "")) : el("span", null, source));

/** "Title › Section", without saying the same twice. */
export const place = ({ title, section }) => [...new Set([title, section])].filter(Boolean).join(" › ");
