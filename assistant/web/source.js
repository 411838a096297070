/** The source of a citation, opened at its passage. */

import { age, el, openAt, present, revision, staleMark, whereabouts } from "./dom.js";
import { render, utf16 } from "./markdown.js";
import { openPane, problemCard } from "./pane.js";
import { getJSON } from "./sse.js";

/** A button that opens a citation's document at its passage. */
export function sourceButton(citation, attributes, ...children) {
  const button = el("button", { "aria-expanded": "false", ...attributes, click: () => open(citation, button) }, children);
  return button;
}

async function open(citation, button) {
  const { head, title, body, signal } = openPane(button, citation.title, "Text of the source");
  const facts = head.appendChild(el("div", { class: "facts" }));
  try {
    const source = await getJSON(`/documents/${encodeURIComponent(citation.document_id)}`, signal);
    title.textContent = source.title;
    facts.append(...describe(source, citation));
    fill(body, source.text, citation);
  } catch (problem) {
    if (signal.aborted) return;
    body.replaceChildren(problemCard(problem), ...quoted(citation, "The passage as it was quoted:"));
  }
}

function describe(source, citation) {
  const path = (citation.heading_path ?? [citation.section]).filter((part) => part && part !== source.title);
  const changed = citation.stale || source.stale || (citation.revision && citation.revision !== source.revision);
  const updated = source.modified_at ? ["Updated ", age(source.modified_at), ` (${source.modified_at.slice(0, 10)})`] : "Undated";
  const address = citation.link && openAt(citation.link);
  return present([
    path.length > 0 && el("p", { class: "path" }, path.join(" › ")),
    el("p", null, whereabouts(source.source), address && [" · ", address]),
    el("p", null, updated, ", read ", age(source.ingested_at), source.revision && [" · ", revision(source)]),
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
