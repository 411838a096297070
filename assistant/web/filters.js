/** Which documents an answer may come from: by source, kind and age of their last change. */

import { el, phrase } from "./dom.js";
import { loadSources } from "./sources.js";

const AGES = new Map([["", ["any time", 0]], ["30d", ["30 days", 30]], ["6m", ["6 months", 183]], ["1y", ["a year", 365]], ["3y", ["3 years", 1096]]]);
const DAY = 86_400_000; // milliseconds

/* Documents of no configured source have no source's name; the list of sources calls them so. */
const UNNAMED = "files";

const $ = (id) => document.getElementById(id);
const [button, panel, summary, reset] = ["filter", "filters", "active", "reset"].map($);

/** What is chosen: lists of names, and the key of an age. */
let chosen = { source: [], kind: [], since: "" };
let changed = () => {};
let loading = null;

export const filters = () => chosen;

/** Filters as an address holds them: the age relative, so that it is still true tomorrow. */
export function fromAddress(query) {
  const [source, kind] = ["source", "kind"].map((name) => [...new Set(query.getAll(name))].filter(Boolean));
  const since = query.get("since") ?? "";
  return { source, kind, since: AGES.has(since) ? since : "" };
}

export const toAddress = ({ source, kind, since }) => [...source.map((name) => ["source", name]), ...kind.map((name) => ["kind", name]), ...(since ? [["since", since]] : [])];

/** Filters as `POST /ask` takes them; undefined where nothing is left out. */
export function toRequest({ source, kind, since }) {
  const oldest = new Date(Date.now() - AGES.get(since)[1] * DAY).toISOString().slice(0, 10);
  const request = {
    ...(source.length && { source_name: source.map((name) => (name === UNNAMED ? "" : name)) }),
    ...(kind.length && { kind }),
    ...(since && { changed_since: oldest }),
  };
  return Object.keys(request).length ? request : undefined;
}

const list = (names) => (names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", "));

/** Filters in words; empty where nothing is left out. */
export function inWords({ source, kind, since }) {
  const parts = [source.length && `Source: ${list(source)}`, kind.length && `Kind: ${list(kind.map(phrase))}`, since && `Changed within ${AGES.get(since)[0]}`];
  return parts.filter(Boolean).join(" · ");
}

/** Chooses filters, shows them, and tells of every later change. */
export function startFilters(first, onChange) {
  changed = onChange;
  choose(first);
}

/** Folds the panel and forgets its options: they are those of one caller. */
export function forgetOptions() {
  loading?.abort();
  panel.replaceChildren();
  fold(true);
}

export function resetFilters() {
  forgetOptions();
  choose({ source: [], kind: [], since: "" });
}

function choose(filters) {
  chosen = filters;
  const words = inWords(chosen);
  summary.textContent = words;
  summary.hidden = reset.hidden = !words;
  button.classList.toggle("in", Boolean(words));
  changed();
}

/* The panel */

function fold(folded) {
  panel.hidden = folded;
  button.setAttribute("aria-expanded", String(!folded));
}

export const foldFilters = () => fold(true);

/** Folds the panel if the focus is in it; whether that was so. */
export function leaveFilters() {
  const inside = !panel.hidden && [panel, button].some((part) => part.contains(document.activeElement));
  if (!inside) return false;
  fold(true);
  button.focus();
  return true;
}

async function unfold() {
  fold(false);
  loading?.abort();
  const { signal } = (loading = new AbortController());
  if (!panel.firstChild) draw([]);
  const sources = await loadSources(signal).catch(() => []); // by age one can filter without them
  if (!signal.aborted) draw(sources);
}

/** Draws the options there are, and those that are chosen whether there or not. */
function draw(sources) {
  const names = sources.filter(({ documents }) => documents > 0).map(({ name, documents }) => [name, documents]);
  const kinds = new Map();
  for (const [kind, count] of sources.flatMap((source) => Object.entries(source.kinds))) kinds.set(kind, (kinds.get(kind) ?? 0) + count);
  const focused = document.activeElement?.id;
  panel.replaceChildren(...[many("source", "Source", names, String), many("kind", "Kind", [...kinds].sort(), phrase), ages()].filter(Boolean));
  if (focused?.startsWith("filter-")) $(focused)?.focus();
}

function many(name, legend, found, words) {
  const options = new Map([...chosen[name].map((value) => [value, 0]), ...found]);
  if (options.size < 2 && !chosen[name].length) return null; // nothing to choose from
  const boxes = [...options].map(([value, count]) => chip({ type: "checkbox", name: `filter-${name}`, value, change: pick }, chosen[name].includes(value), words(value), count));
  return el("fieldset", null, el("legend", null, legend), el("div", { class: "chips" }, boxes));

  function pick() {
    const values = [...panel.querySelectorAll(`[name=filter-${name}]:checked`)].map((box) => box.value);
    choose({ ...chosen, [name]: values });
  }
}

function ages() {
  const boxes = [...AGES].map(([value, [words]]) => chip({ type: "radio", name: "filter-since", value, change: () => choose({ ...chosen, since: value }) }, chosen.since === value, words));
  return el("fieldset", null, el("legend", null, "Changed within"), el("div", { class: "chips" }, boxes));
}

function chip(attributes, checked, words, count) {
  const box = el("input", { id: `${attributes.name}-${attributes.value}`, ...attributes, checked: checked && "" });
  return el("label", { class: "chip" }, box, words, count > 0 && el("span", { class: "soft" }, count.toLocaleString("en")));
}

button.addEventListener("click", () => (panel.hidden ? unfold() : fold(true)));
reset.addEventListener("click", () => {
  resetFilters();
  $("question").focus();
});
