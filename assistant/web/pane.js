/** The pane beside the conversation: at its side on wide screens, a sheet over the page on narrow ones. */

import { el, icon } from "./dom.js";
import { signInButton } from "./signin.js";

const dialog = document.getElementById("source");
const wide = matchMedia("(min-width: 62rem)");
let opener = null; // the button that has opened the pane, and gets the focus back
let loading = null;

/** Closes the pane and empties it; whether there was one to close. */
export function closePane() {
  const was = dialog.open;
  dialog.close();
  closed();
  return was;
}

/** Shows anew what the pane shows, to whoever is signed in now. */
export function reloadPane() {
  if (dialog.open) opener?.click();
}

/** The parts of the pane that a button has opened, to be filled until `signal` is aborted. */
export function openPane(button, heading, label) {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  point(button);
  const title = el("h2", { id: "source-title", tabindex: -1 }, heading);
  const body = el("div", { class: "text", tabindex: 0, role: "region", "aria-label": label }, el("p", { class: "soft" }, "Opening…"));
  const close = el("button", { class: "round", "aria-label": "Close", click: closePane }, icon("close"));
  const head = el("div", { class: "head" }, title, close);
  dialog.replaceChildren(head, body);
  show();
  title.focus({ preventScroll: true });
  return { head, title, body, signal };
}

/** Why there is nothing to show. */
export function problemCard({ message, detail, signIn }) {
  return el("div", { class: "card failed", role: "alert" }, icon("warn"), el("div", null, el("p", null, `${message}. ${detail}`), signIn && signInButton()));
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
  dialog.replaceChildren();
  const target = opener.isConnected ? opener : document.getElementById("question");
  point(null);
  target.focus();
}
