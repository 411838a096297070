/** What a model was asked, what it cost, and what became of each sentence that it wrote. */

import { el, icon, place, plural } from "./dom.js";
import { count, dollars, UNPRICED } from "./figures.js";
import { sourceButton } from "./source.js";

/** Tokens and money of an answer, as rows of facts. */
export function spending(usage) {
  if (!usage) return {};
  const { input_tokens: input, output_tokens: output, cached_tokens: cached, cost, estimated, attempts, from_cache: again } = usage;
  const parts = [`${count(input)} in${cached > 0 ? `, ${count(cached)} of them from the provider’s cache` : ""}`, `${count(output)} out`, estimated && "estimated"];
  return {
    Tokens: parts.filter(Boolean).join(" · "),
    Cost: again ? "none: the same had been asked before, and that answer was kept" : cost == null ? `${UNPRICED}: there is no price for this model` : dollars(cost),
    Calls: attempts > 1 && `${count(attempts)} until one was answered`,
  };
}

/** How a model's answer came about: its sentences, and what it was given. */
export function generation(answer) {
  const trace = answer.trace?.generation;
  if (!trace) return null;
  const { sentences = [], attempts = [] } = trace;
  const kept = sentences.filter((sentence) => sentence.kept).length;
  return [
    el("h3", null, "What the model wrote"),
    el("p", null, sentences.length ? `${kept} of ${plural(sentences.length, "sentence")} passed the check against the passages.` : "Nothing that could be checked."),
    sentences.length > 0 && el("ol", { class: "wrote" }, sentences.map((sentence) => written(sentence, passages(answer)))),
    attempts.length > 0 && [el("p", null, "What went wrong:"), el("ul", { class: "attempts soft" }, attempts.map((attempt) => el("li", null, attempt)))],
  ];
}

/** What a model was given, as rows of facts. */
export function prompting(trace) {
  if (!trace) return {};
  const { prompt_version: version, prompt_sha256: hash, prompt_tokens: tokens, passages = [], model, outcome } = trace;
  return {
    Writer: model,
    Outcome: outcome,
    Prompt: [`version ${version}, ${plural(tokens, "token")}, ${plural(passages.length, "passage")}, `, el("code", { title: `SHA-256 ${hash}` }, String(hash).slice(0, 12))],
  };
}

function written({ text, kept, reason, probability, citations }, given) {
  const sure = typeof probability === "number" && `support ${probability.toFixed(2)}`;
  const verdict = [kept ? "Kept" : "Left out", reason, sure].filter(Boolean).join(" · ");
  return el("li", { class: kept ? "kept" : "removed" },
    icon(kept ? "check" : "close"),
    el("div", null,
      el("p", null, el(kept ? "span" : "del", null, text), " ", citations.map((n) => marker(n, given[n - 1]))),
      el("p", { class: "soft" }, verdict)));
}

/** A passage as the model numbered it, which is not how the answer numbers its citations. */
function marker(n, passage) {
  return passage ? sourceButton(passage, { class: "cite", "aria-label": `Passage ${n}: ${place(passage)}` }, `[${n}]`) : `[${n}]`;
}

/** The passages that the model was given, with the titles that candidates have. */
function passages({ trace: { generation: { passages: given = [] }, candidates = [] } }) {
  return given.map((passage) => {
    const { title, section } = candidates.find(({ document_id: id, start, end }) => id === passage.document_id && start < passage.end && passage.start < end) ?? {};
    return { ...passage, title: title ?? "A passage", section };
  });
}
