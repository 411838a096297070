/** Trying again later, where the server has said when. */

import { el, plural } from "./dom.js";

const inWords = (seconds) => (seconds < 100 ? plural(seconds, "second") : plural(Math.ceil(seconds / 60), "minute"));

/** What tells a person when to ask again. */
export const whenAgain = (seconds) => `You can ask again in ${inWords(seconds)}.`;

/** A button to `retry` with, that counts down until it can be pressed, and words for whoever does not see it. */
export function retryIn(seconds, retry) {
  const due = Date.now() + 1000 * seconds;
  const words = el("p", { class: "hide", role: "status" }, whenAgain(seconds));
  const button = el("button", { class: "quiet", disabled: "", click: retry }, label(seconds));
  const timer = setInterval(() => {
    const left = Math.ceil((due - Date.now()) / 1000);
    if (left <= 0) {
      button.disabled = false;
      words.textContent = "You can ask again now.";
    }
    if (left <= 0 || !button.isConnected) clearInterval(timer);
    button.textContent = label(left);
  }, 250);
  return [words, button];
}

const label = (left) => (left > 0 ? `Ask again in ${inWords(left)}` : "Ask again");
