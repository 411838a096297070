/** The source beside the answer: a pane on wide screens, a sheet over the page on narrow ones. */

import { age, el, icon, present, staleMark, whereabouts } from "./dom.js";
import { render, utf16 } from "./markdown.js";
import { getJSON } from "./sse.js";

const dialog = document.getElementById("source");
const wide = matchMedia("(min-width: 62rem)");
let opener = null; // the button that has opened the pane, and gets the focus back
let loading = null;

/** Closes the source; whether there was one to close. */
export function closeSource() {
  const was = dialog.open;
  dialog.close();
  closed();
  return was;
}

/** A button that opens a citation's document at its passage. */
export function sourceButton(citation, attributes, ...children) {
  const button = el("button", { "aria-expanded": "false", ...attributes, click: () => open(citation, button) }, children);
  return button;
}

async function open(citation, button) {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  point(button);
  const title = el("h2", { id: "source-title", tabindex: -1 }, citation.title);
  const facts = el("div", { class: "facts" });
  const body = el("div", { class: "text", tabindex: 0, role: "region", "aria-label": "Text of the source" }, el("p", { class: "soft" }, "Opening…"));
  const close = el("button", { class: "round", "aria-label": "Close source", click: closeSource }, icon("close"));
  dialog.replaceChildren(el("div", { class: "head" }, title, close, facts), body);
  show();
  title.focus({ preventScroll: true });
  try {
    const source = await getJSON(`/documents/${encodeURIComponent(citation.document_id)}`, signal);
    title.textContent = source.title;
    facts.append(...describe(source, citation));
    fill(body, source.text, citation);
  } catch (problem) {
    if (signal.aborted) return;
    const card = el("div", { class: "card failed", role: "alert" }, icon("warn"), el("p", null, `${problem.message}. ${problem.detail}`));
    body.replaceChildren(card, ...quoted(citation, "The passage as it was quoted:"));
  }
}

function point(button) {
  opener?.setAttribute("aria-expanded", "false");
  opener = button;
  opener?.setAttribute("aria-expanded", "true");
}

function show() {
  if (!dialog.open) wide.matches ? dialog.show() : dialog.showModal();
}

wide.addEventListener("change", () => {
  if (!dialog.open) return;
  dialog.close();
  show();
});

dialog.addEventListener("close", closed); // a phone's back gesture closes it too

function closed() {
  if (dialog.open || !opener) return; // open: it has only changed between pane and sheet
  loading.abort();
  const target = opener.isConnected ? opener : document.getElementById("question");
  point(null);
  target.focus();
}

function describe(source, citation) {
  const path = (citation.heading_path ?? [citation.section]).filter((part) => part && part !== source.title);
  const changed = citation.stale || source.stale || (citation.revision && citation.revision !== source.revision);
  const updated = source.modified_at ? ["Updated ", age(source.modified_at), ` (${source.modified_at.slice(0, 10)})`] : "Undated";
  return present([
    path.length > 0 && el("p", { class: "path" }, path.join(" › ")),
    el("p", null, whereabouts(source.source)),
    el("p", null, updated, ", read ", age(source.ingested_at)),
    changed && el("p", null, staleMark()),
  ]);
}

function fill(body, text, citation) {
  const start = utf16(text, citation.start ?? 0);
  const end = utf16(text, citation.end ?? 0);
  const exact = citation.quote == null || text.slice(start, end) === citation.quote;
  const note = exact ? [] : quoted(citation, "The source no longer holds this passage where it was cited:");
  body.replaceChildren(...note, el("article", null, render(text, start, exact ? end : start)));
  const mark = [...body.querySelectorAll("mark")].find((piece) => piece.getClientRects().length);
  if (mark) body.scrollTop = mark.getBoundingClientRect().top - body.getBoundingClientRect().top - body.clientHeight / 4;
}

const quoted = ({ quote }, why) => (quote ? [el("p", { class: "soft" }, why), el("blockquote", null, quote)] : []);
