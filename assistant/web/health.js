/** Health in words: a line above the question field while nothing can be answered, and all of it in the pane of sources. */

import { el, phrase } from "./dom.js";
import { getJSON } from "./sse.js";

const WORST_FIRST = ["down", "impaired", "well"];
const SAID = { down: "out of order", impaired: "not well" };

const line = document.getElementById("health");

export const loadHealth = (signal) => getJSON("/status", signal);

/** The whole in a line, and each thing that is worth a word. */
export function healthCard({ words, parts }) {
  const sorted = [...parts].sort((a, b) => WORST_FIRST.indexOf(a.standing) - WORST_FIRST.indexOf(b.standing));
  return el("details", { class: "card health" },
    el("summary", null, words),
    el("ul", null, sorted.map((part) => el("li", null, el("strong", null, phrase(part.name), part.standing in SAID && `, ${SAID[part.standing]}`), " ", part.words))));
}

/** Says before a question that it can't be answered; what is less than that, answers say of themselves. */
export async function tellHealth() {
  const { standing, words } = await loadHealth().catch(() => ({ standing: "unknown" })); // then a question says why
  line.hidden = standing !== "down";
  line.textContent = line.hidden ? "" : words;
}
