/** One turn of the conversation: a question, its answer as it streams in, and its sources. */

import { el, freshness, icon, openAt, place, plural, present, revision, staleMark, whereabouts } from "./dom.js";
import { retryIn } from "./retry.js";
import { sourceButton } from "./source.js";
import { whyPanel } from "./trace.js";
import { authors, byline, createProse, spoken, waiting } from "./writing.js";

let count = 0;

/** The turn's `node`, and what can happen to it; `retry` asks the same question again. */
export function createTurn(question, retry) {
  const id = `turn-${++count}`;
  const prose = createProse();
  const body = el("div", { class: "body" }, prose.node);
  const heading = el("h2", { id, class: question.length > 240 && "long" }, question);
  const used = el("p", { class: "used soft", hidden: "" });
  const node = el("article", { class: "turn", "aria-labelledby": id }, heading, used, body);
  const again = (label) => el("button", { class: "quiet", click: retry }, label);
  let citations = [];

  /** All that can follow comes below what is already being read, which stays: nothing jumps or loses the focus. */
  function follow(...parts) {
    while (prose.node.nextSibling) prose.node.nextSibling.remove();
    body.append(...present(parts));
  }

  function settle(...parts) {
    node.removeAttribute("aria-busy");
    follow(...parts);
  }

  return {
    node,
    question,
    result: null, // the final answer, once there is one

    /** Begins to answer; `filters`: in words, what the answer may come from. */
    start(filters) {
      citations = [];
      this.result = null;
      delete node.dataset.status;
      used.hidden = !filters;
      used.replaceChildren(icon("filter"), el("span", null, filters));
      prose.clear();
      settle(waiting("Reading the sources"));
      node.setAttribute("aria-busy", "true");
    },

    /** All citations so far; an empty list says that a model is asked. */
    cite(found) {
      citations = found;
      if (!found.length) follow(waiting("Writing"));
    },

    say(sentence) {
      if (prose.empty()) follow(waiting("Writing"));
      prose.say(sentence, citations);
    },

    finish(answer) {
      this.result = answer;
      prose.become(answer.sentences, answer.citations);
      node.dataset.status = answer.status;
      settle(answer.status === "abstained" ? silence(answer) : sources(question, answer), whyPanel(answer));
    },

    stop() {
      settle(el("p", { class: "tools" }, el("span", { class: "soft" }, "Stopped before the answer was complete."), again("Ask again")));
    },

    /** `remedy`: a button to press in place of trying again. */
    fail({ message, detail = "The answer can’t be shown.", retryAfter }, remedy = retryAfter ? retryIn(retryAfter, retry) : again("Try again")) {
      settle(el("div", { class: "card failed" }, icon("warn"), el("div", null, el("strong", null, message), el("p", null, detail), remedy)));
    },
  };
}

/** What a screen reader hears when an answer is complete. */
export function spokenAnswer({ status, notice, sentences, citations }) {
  if (status === "abstained") return `The sources don’t say. ${notice ?? ""} ${plural(citations.length, "near passage")} listed.`;
  return `${spoken(sentences)} ${notice ?? ""} ${plural(citations.length, "source")} listed.`;
}

function sources(question, answer) {
  return [
    answer.status === "partial" && answer.mode === "extractive" && el("p", { class: "verdict" }, icon("part"), " The sources say only part of this"),
    answer.notice && el("div", { class: "card notice" }, icon("warn"), el("p", null, answer.notice)),
    reading(answer),
    tools(question, answer),
    cards("Sources", answer.citations),
  ];
}

function silence(answer) {
  const words = el("div", null, el("p", { class: "verdict" }, "The sources don’t say"), el("p", null, answer.notice));
  return [el("div", { class: "card silent" }, icon("silent"), words), reading(answer), answer.citations.length > 0 && cards("Nearest passages", answer.citations)];
}

/** How the question was read, where that differs from how it was asked. */
function reading({ trace }) {
  const { corrections, from_conversation: together } = trace?.query ?? {};
  const fixed = Object.entries(corrections ?? {}).map(([from, to]) => `“${to}” instead of “${from}”`);
  const words = [fixed.length && `Searched for ${fixed.join(", ")}.`, together && "Read together with your earlier questions."].filter(Boolean);
  return words.length > 0 && el("p", { class: "reading soft" }, words.join(" "));
}

function tools(question, answer) {
  const button = el("button", { class: "quiet copy", "aria-live": "polite", click: copy }, "Copy answer");
  return el("p", { class: "tools" }, byline(answer), button);

  async function copy() {
    // A page on plain http has no clipboard.
    const copied = await navigator.clipboard?.writeText(asText(question, answer)).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy answer"), 2000);
  }
}

/** The answer as plain text, with its author, its citations listed below it. */
function asText(question, answer) {
  const list = answer.citations.map((citation) => `[${citation.n}] ${place(citation)}, ${citation.source}`);
  return `${question}\n\n${answer.answer}\n\n${authors(answer)}\n\n${list.join("\n")}\n`;
}

function cards(title, citations) {
  return [el("h3", null, title), el("ol", { class: "cards" }, citations.map(card))];
}

function card(citation) {
  const number = !citation.candidate && el("span", { class: "n" }, `[${citation.n}]`);
  return el("li", { class: citation.candidate ? "card candidate" : "card" },
    sourceButton(citation, { class: "link" }, number, el("span", null, place(citation))),
    el("blockquote", null, citation.quote),
    el("p", { class: "from soft" }, el("span", null, freshness(citation)), citation.revision && revision(citation), citation.stale && staleMark(),
      openAt(citation.link) ?? whereabouts(citation.source)));
}
