/** Who wrote what of an answer: a model's sentences, each checked, and the sources' own. */

import { el, icon, place } from "./dom.js";
import { sourceButton } from "./source.js";

export const QUOTES_FOLLOW = "From here on in the sources’ own words";

const byModel = ({ mode }) => mode === "generated";

/** What is seen until the first sentence, and below the last until the answer is complete. */
export function waiting(words) {
  return el("p", { class: "waiting soft" }, words, el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")));
}

/** Who has written an answer, in words. */
export function authors({ mode, model, sentences }) {
  if (mode === "extractive") return "In the sources’ own words";
  const name = model ?? "a model";
  const alone = sentences.every(byModel) || !sentences.some(byModel);
  return alone ? `Written by ${name} from the sources, every sentence checked` : `Begun by ${name}, every sentence checked, then in the sources’ own words`;
}

export const byline = (answer) => el("span", { class: "soft by" }, icon(answer.mode === "extractive" ? "quote" : "pen"), el("span", null, authors(answer)));

/** The sentences as they are read aloud. */
export function spoken(sentences) {
  const divide = sentences.findIndex((sentence, i) => i > 0 && !byModel(sentence) && byModel(sentences[i - 1]));
  return sentences.map(({ text }, i) => (i === divide ? `${QUOTES_FOLLOW}: ${text}` : text)).join(" ");
}

/** Prose that grows by sentences: `node`, and what can happen to it. A change of hands is a new paragraph. */
export function createProse() {
  const node = el("div", { class: "prose" });
  let shown = []; // of each sentence: what it is made of, and the nodes that came with it

  function say(sentence, citations) {
    const before = shown.at(-1)?.sentence;
    const opens = !before || byModel(before) !== byModel(sentence);
    const added = [];
    if (opens) {
      if (before && byModel(before)) added.push(el("p", { class: "divide" }, icon("quote"), QUOTES_FOLLOW));
      added.push(el("p"));
      node.append(...added);
    }
    const pieces = phrase(sentence, citations);
    node.lastChild.append(...pieces);
    shown.push({ sentence, made: made(sentence, citations), nodes: [...added, ...pieces] });
  }

  return {
    node,
    say,
    empty: () => shown.length === 0,

    clear() {
      shown = [];
      node.replaceChildren();
    },

    /** Shows these sentences. Those which are there already stay as they are, focus included. */
    become(sentences, citations) {
      const differs = sentences.findIndex((sentence, i) => shown[i]?.made !== made(sentence, citations));
      const kept = differs < 0 ? sentences.length : differs;
      for (const { nodes } of shown.splice(kept)) for (const each of nodes) each.remove();
      for (const sentence of sentences.slice(kept)) say(sentence, citations);
    },
  };
}

const made = ({ text, mode = "extractive", citations: numbers }, citations) =>
  JSON.stringify([text, mode, numbers, numbers.map((n) => citations.find((one) => one.n === n))]);

function phrase({ text, citations: numbers }, citations) {
  const markers = numbers.map((n) => {
    const citation = citations.find((one) => one.n === n);
    return citation ? sourceButton(citation, { class: "cite", "aria-label": `[${n}] ${place(citation)}` }, `[${n}]`) : `[${n}]`;
  });
  const last = text.search(/\S{0,20}$/u); // a citation stays on the line of the word before it
  const sentence = el("span", { class: "sentence" }, text.slice(0, last), el("span", { class: "tie" }, text.slice(last), "\u202f", markers));
  return [document.createTextNode(" "), sentence];
}
