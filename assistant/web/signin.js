/** Signing in and out: a button that says who is signed in, and a small dialog. */

import { el, icon } from "./dom.js";
import { authorization, enter, know, leave, session, state } from "./session.js";
import { getJSON, whoHolds } from "./sse.js";

const $ = (id) => document.getElementById(id);
const [dialog, form, field, submit, problem, button, notice] = ["sign-in", "key-form", "key", "key-send", "key-problem", "who", "refused"].map($);

let asking = null; // the AbortController of a key that is being tried

const MISTYPED = "This key is not accepted: it is mistyped, revoked or has expired.";

/** A button that offers to sign in. */
export const signInButton = () => el("button", { type: "button", class: "quiet", click: openSignIn }, state().signedIn ? "Sign in again" : "Sign in");

export function openSignIn() {
  const { signedIn, refused, who } = state();
  $("account").hidden = !signedIn || refused;
  form.hidden = !$("account").hidden;
  describe(who ?? { name: "not known: the server could not be asked", labels: ["what the key opens"] });
  dialog.setAttribute("aria-labelledby", form.hidden ? "account-title" : "sign-in-title");
  dialog.showModal();
}

function describe({ name, administrator, labels }) {
  $("account-name").textContent = name;
  $("account-reads").textContent = administrator ? "everything, as an administrator" : labels.join(", ") || "nothing";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = field.value.trim();
  if (!key) return complain("Type or paste a key first.");
  if (!/^[\x21-\x7e]+$/.test(key)) return complain("This is no key: it holds characters that no key has.");
  submit.disabled = true;
  const { signal } = (asking = new AbortController());
  try {
    const caller = await whoHolds(key, signal);
    dialog.close();
    enter(key, caller);
  } catch (failure) {
    if (!signal.aborted) complain(failure.signIn ? MISTYPED : `${failure.message}. ${failure.detail}`);
  } finally {
    submit.disabled = false;
  }
});

function complain(words) {
  problem.textContent = words;
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

field.addEventListener("input", calm);

function calm() {
  problem.textContent = "";
  field.removeAttribute("aria-invalid");
}

dialog.addEventListener("close", () => {
  asking?.abort();
  field.value = "";
  $("account-name").textContent = $("account-reads").textContent = "";
  calm();
  if (document.activeElement === document.body) ($("question") ?? button).focus();
});

button.addEventListener("click", openSignIn);
for (const close of dialog.querySelectorAll(".cancel")) close.addEventListener("click", () => dialog.close());
$("again-in").addEventListener("click", openSignIn);
for (const out of ["sign-out", "go-on"].map($)) {
  out.addEventListener("click", () => {
    dialog.close();
    leave();
  });
}

/* What the header says */

function show() {
  const { signedIn, refused, who } = state();
  const name = who?.name ?? "Signed in";
  button.replaceChildren(icon(signedIn ? "person" : "key"), el("span", null, signedIn ? name : "Sign in"));
  button.classList.toggle("in", signedIn);
  button.setAttribute("aria-label", signedIn && who ? `Signed in as ${name}` : signedIn ? name : "Sign in");
  button.hidden = refused;
  notice.hidden = !refused;
}

for (const event of ["entered", "left", "refused", "known"]) session.addEventListener(event, show);
show();

/* Asked for strangers too: at a service that nobody has claimed yet they may do what administrators may. */

const { Authorization: asked } = authorization();
getJSON("/me").then((caller) => authorization().Authorization === asked && know(caller)).catch(() => {}); // a refusal shows itself
