/** "Why this answer": how an answer came about, as a panel that opens on demand. */

import { el, place } from "./dom.js";
import { generation, prompting, spending } from "./generation.js";
import { sourceButton } from "./source.js";

const NUMBER = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const words = (key) => String(key).replaceAll("_", " ");
const list = (values, unit = "") => Object.entries(values ?? {}).map(([key, value]) => `${words(key)}\u00a0${figure(value)}${unit}`).join(" · ");

function figure(value) {
  return typeof value === "number" ? NUMBER.format(value) : String(value ?? "–");
}

export function whyPanel(answer) {
  const trace = answer.trace ?? {};
  return el("details", { class: "why" },
    el("summary", null, answer.status === "abstained" ? "Why no answer" : "Why this answer"),
    confidence(trace.confidence ?? { value: answer.confidence }),
    facts(answer, trace),
    generation(answer),
    trace.candidates?.length && candidates(trace.candidates));
}

function confidence({ value, threshold }) {
  if (typeof value !== "number") return null;
  const needed = typeof threshold === "number" ? `, answers need ${threshold.toFixed(2)}` : "";
  const bar = el("div", { class: value < threshold ? "bar low" : "bar", role: "meter", "aria-label": "Confidence", "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": value },
    el("b"), needed && el("i"));
  bar.firstChild.style.width = `${100 * value}%`;
  if (needed) bar.lastChild.style.left = `${100 * threshold}%`;
  return [el("p", null, "Confidence ", el("strong", null, value.toFixed(2)), ` of 1${needed}`), bar];
}

function facts(answer, { query = {}, shelves, reason, confidence: { parts } = {}, models, times_ms: times, generation: written }) {
  const corrections = Object.entries(query.corrections ?? {});
  const rows = {
    Reason: reason && words(reason),
    "Searched for": query.searched,
    Corrected: corrections.map(([from, to]) => `${from} → ${to}`).join(", "),
    Evidence: list(parts),
    "Searched in": shelves?.map((labels) => [labels].flat().join(" + ")).join(", "),
    Time: list(times, " ms"),
    Models: list(models),
    ...prompting(written),
    "Model’s time": list(written?.times_ms, " ms"),
    ...spending(answer.usage),
    "Index state": answer.index_state,
  };
  const known = Object.entries(rows).filter(([, value]) => value);
  return el("dl", null, known.map(([term, value]) => el("div", null, el("dt", null, term), el("dd", null, value))));
}

/** One row a candidate, one column a stage: its rank, and its score where there is one. */
function candidates(rows) {
  const stages = [...new Set(rows.flatMap(({ ranks, scores }) => Object.keys({ ...ranks, ...scores })))];
  const head = ["Passage", ...stages].map((name) => el("th", { scope: "col" }, words(name)));
  const body = rows.map((row) => el("tr", null,
    el("th", { scope: "row" }, sourceButton(row, { class: "link" }, place(row))),
    stages.map((stage) => el("td", null, cell(row.ranks?.[stage], row.scores?.[stage])))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Candidate passages" },
    el("table", null, el("caption", null, "Passages considered: rank and score at each stage"), el("thead", null, el("tr", null, head)), el("tbody", null, body)));
}

const cell = (rank, score) => [rank != null && el("b", null, figure(rank)), " ", (score != null || rank == null) && el("span", { class: "soft" }, figure(score))];
