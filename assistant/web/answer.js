/** One turn of the conversation: a question, its answer as it streams in, and its sources. */

import { el, freshness, icon, openAt, place, plural, present, revision, staleMark, whereabouts } from "./dom.js";
import { sourceButton } from "./source.js";
import { whyPanel } from "./trace.js";

let count = 0;

/** The turn's `node`, and what can happen to it; `retry` asks the same question again. */
export function createTurn(question, retry) {
  const id = `turn-${++count}`;
  const prose = el("p", { class: "prose" });
  const body = el("div", { class: "body" });
  const heading = el("h2", { id, class: question.length > 240 && "long" }, question);
  const used = el("p", { class: "used soft", hidden: "" });
  const node = el("article", { class: "turn", "aria-labelledby": id }, heading, used, body);
  const again = (label) => el("button", { class: "quiet", click: retry }, label);
  let citations = [];
  let shown = [];

  /** All that can follow comes below what is already being read, so nothing jumps. */
  function settle(...parts) {
    node.removeAttribute("aria-busy");
    body.replaceChildren(...present([prose, parts]));
  }

  return {
    node,
    question,
    result: null, // the final answer, once there is one

    /** Begins to answer; `filters`: in words, what the answer may come from. */
    start(filters) {
      [citations, shown] = [[], []];
      this.result = null;
      delete node.dataset.status;
      used.hidden = !filters;
      used.replaceChildren(icon("filter"), el("span", null, filters));
      prose.replaceChildren();
      settle(el("p", { class: "waiting soft" }, "Reading the sources…"));
      node.setAttribute("aria-busy", "true");
    },

    cite(found) {
      citations = found;
    },

    say(sentence) {
      if (!shown.length) body.replaceChildren(prose);
      shown.push(sentence);
      prose.append(...phrase(sentence, citations));
    },

    /** What has streamed stays as it is, focus included, unless the final answer differs. */
    finish(answer) {
      this.result = answer;
      const same = JSON.stringify([shown, citations]) === JSON.stringify([answer.sentences, answer.citations]);
      if (!same) prose.replaceChildren(...answer.sentences.flatMap((sentence) => phrase(sentence, answer.citations)));
      node.dataset.status = answer.status;
      settle(answer.status === "abstained" ? silence(answer) : sources(question, answer), whyPanel(answer));
    },

    stop() {
      settle(el("p", { class: "tools" }, el("span", { class: "soft" }, "Stopped before the answer was complete."), again("Ask again")));
    },

    /** `remedy`: a button to press in place of trying again. */
    fail({ message, detail = "The answer can’t be shown." }, remedy = again("Try again")) {
      settle(el("div", { class: "card failed" }, icon("warn"), el("div", null, el("strong", null, message), el("p", null, detail), remedy)));
    },
  };
}

/** What a screen reader hears when an answer is complete. */
export function spokenAnswer({ status, notice, sentences, citations }) {
  if (status === "abstained") return `The sources don’t say. ${notice ?? ""} ${plural(citations.length, "near passage")} listed.`;
  return `${sentences.map(({ text }) => text).join(" ")} ${notice ?? ""} ${plural(citations.length, "source")} listed.`;
}

function phrase({ text, citations: numbers }, citations) {
  const markers = numbers.map((n) => {
    const citation = citations.find((one) => one.n === n);
    return citation ? sourceButton(citation, { class: "cite", "aria-label": `[${n}] ${place(citation)}` }, `[${n}]`) : `[${n}]`;
  });
  const last = text.search(/\S{0,20}$/u); // a citation stays on the line of the word before it
  return [" ", el("span", { class: "sentence" }, text.slice(0, last), el("span", { class: "tie" }, text.slice(last), "\u202f", markers))];
}

function sources(question, answer) {
  return [
    answer.status === "partial" && el("p", { class: "verdict" }, icon("part"), " The sources say only part of this"),
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
  const how = answer.mode === "extractive" ? "In the sources’ own words" : `Written by ${answer.model ?? "a model"} from the sources`;
  const button = el("button", { class: "quiet copy", "aria-live": "polite", click: copy }, "Copy answer");
  return el("p", { class: "tools" }, el("span", { class: "soft" }, how), button);

  async function copy() {
    // A page on plain http has no clipboard.
    const copied = await navigator.clipboard?.writeText(asText(question, answer)).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy answer"), 2000);
  }
}

/** The answer as plain text, its citations listed below it. */
function asText(question, { answer, citations }) {
  const list = citations.map((citation) => `[${citation.n}] ${place(citation)}, ${citation.source}`);
  return `${question}\n\n${answer}\n\n${list.join("\n")}\n`;
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
