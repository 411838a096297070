/** The chat page: the composer, the conversation, and the address that repeats it. */

import { createTurn, spokenAnswer } from "./answer.js";
import { el, plural } from "./dom.js";
import { filters, foldFilters, forgetOptions, fromAddress, inWords, leaveFilters, resetFilters, startFilters, toAddress, toRequest } from "./filters.js";
import { tellHealth } from "./health.js";
import { closePane, reloadPane } from "./pane.js";
import { whenAgain } from "./retry.js";
import { holdsKey, session, state } from "./session.js";
import { signInButton } from "./signin.js";
import { ask, getJSON } from "./sse.js";

const LIMIT = 4000; // what the server accepts, in code points
const NEAR = 3600;
const REMEMBERED = 10; // turns that go along with a follow-up

const $ = (id) => document.getElementById(id);
const [field, send, stop, problem, live, counter] = ["question", "send", "stop", "problem", "live", "count"].map($);
const touch = matchMedia("(pointer: coarse)");

let turns = [];
let thread = []; // the last answered question, after those it depends on: what the address repeats
let running = null; // the AbortController of the question that is being answered
let coming = []; // questions of the address that are still to be asked
let held = []; // turns that wait for a key which is accepted
let shown = []; // the questions in the address
let callers = 0; // how often somebody has signed in or out
let looking = null; // the AbortController of the examples

function put(question) {
  const turn = createTurn(question, () => run(turn));
  turns.push(turn);
  $("welcome").hidden = true;
  $("new").hidden = false;
  $("turns").append(turn.node);
  showAddress([...thread, question]);
  turn.node.scrollIntoView();
  return run(turn);
}

async function run(turn) {
  if (running) return;
  const mine = (running = new AbortController());
  setBusy(true);
  held = held.filter((other) => other !== turn);
  turn.asked = circumstances();
  const request = toRequest(filters());
  turn.start(inWords(filters()));
  foldFilters();
  offerRepeat();
  try {
    for await (const { event, data } of ask(turn.question, before(turn), request, mine.signal)) {
      if (event === "citations") {
        turn.cite(data);
        if (!data.length) live.textContent = "Writing";
      }
      if (event === "sentence") turn.say(data);
      if (event === "answer") finish(turn, data);
    }
  } catch (error) {
    if (error.name !== "AbortError") fail(turn, error);
    else {
      turn.stop();
      if (running === mine) live.textContent = "Stopped";
    }
  }
  if (running !== mine) return;
  running = null;
  setBusy(false);
}

function finish(turn, answer) {
  turn.finish(answer);
  live.textContent = spokenAnswer(answer);
  thread = [...(answer.trace?.query?.from_conversation ? thread : []), turn.question];
  showAddress(thread);
}

function fail(turn, error) {
  if (error.signIn) {
    held.push(turn);
    turn.fail({ message: "Not answered yet", detail: "Your question is kept, and is asked again as soon as you have signed in." }, signInButton());
  } else turn.fail(error);
  live.textContent = `${error.message}. ${error.detail ?? ""} ${error.retryAfter ? whenAgain(error.retryAfter) : ""}`;
}

/** The conversation that a turn continues, as the server takes it. */
function before(turn) {
  const answered = turns.slice(0, turns.indexOf(turn)).filter(({ result }) => result);
  return answered.slice(-REMEMBERED).map(({ question, result }) => ({ question, answer: result.answer }));
}

function showAddress(questions = shown) {
  shown = questions;
  const query = new URLSearchParams([...[...questions, ...coming].map((question) => ["q", question]), ...toAddress(filters())]);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  document.title = [...questions.slice(-1), "Casebook"].join(" · ");
}

function halt() {
  running?.abort();
  running = null;
  setBusy(false);
}

function startOver() {
  halt();
  closePane();
  [turns, thread, held] = [[], [], []];
  $("turns").replaceChildren();
  $("welcome").hidden = false;
  $("new").hidden = true;
  offerRepeat();
  showAddress([]);
  field.focus();
}

/* Asking the last question again, where another answer may be had by now */

const circumstances = () => JSON.stringify([filters(), callers]);

function offerRepeat() {
  const last = turns.at(-1);
  $("repeat").hidden = !last || last.asked === circumstances();
}

$("repeat").addEventListener("click", () => {
  if (running) return complain("Wait for the answer, or stop it.");
  field.focus();
  const last = turns.at(-1);
  last.node.scrollIntoView();
  run(last);
});

/* The composer */

const size = () => [...field.value.trim()].length;

function submit() {
  const question = field.value.trim();
  const excess = size() - LIMIT;
  if (running) return complain("Wait for the answer, or stop it.");
  if (!question) return complain("Type a question first.");
  if (excess > 0) return complain(`Too long by ${plural(excess, "character")}.`);
  if (holdsKey(question)) return complain("That holds a key, and was not sent. Sign in with it above.");
  write("");
  if (touch.matches) field.blur();
  put(question);
}

function write(text) {
  field.value = text;
  edited();
}

function complain(words) {
  problem.textContent = words;
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

function edited() {
  problem.textContent = "";
  field.removeAttribute("aria-invalid");
  counter.textContent = size() < NEAR ? "" : `${size().toLocaleString("en")} of ${LIMIT.toLocaleString("en")}`;
  counter.className = size() > LIMIT ? "over" : "";
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function setBusy(busy) {
  const focused = document.activeElement === (busy ? send : stop);
  send.hidden = busy;
  stop.hidden = !busy;
  if (focused) (busy ? stop : field).focus();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
field.addEventListener("input", edited);
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
stop.addEventListener("click", () => running?.abort());
$("new").addEventListener("click", () => {
  coming = [];
  startOver();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || $("sign-in").open) return;
  if (!leaveFilters() && !closePane()) running?.abort();
});

/* Who is signed in */

session.addEventListener("entered", async ({ detail: { other } }) => {
  callers++;
  const waiting = held;
  if (waiting.length || other) halt();
  if (other) {
    coming = [...waiting.map(({ question }) => question), ...coming];
    startOver();
  }
  forgetOptions();
  showExamples();
  reloadPane();
  offerRepeat();
  live.textContent = `Signed in as ${state().who.name}`;
  if (!other) for (const turn of waiting) await run(turn);
  askComing();
});

session.addEventListener("left", () => {
  callers++;
  const question = held.at(-1)?.question ?? "";
  coming = [];
  resetFilters();
  startOver();
  $("examples").replaceChildren();
  showExamples();
  write(question);
  field.focus();
  live.textContent = "Signed out";
});

for (const event of ["entered", "left", "known"]) {
  session.addEventListener(event, () => ($("usage").hidden = !state().who?.administrator));
}

/* The first visit */

async function showExamples() {
  looking?.abort();
  tellHealth();
  const { signal } = (looking = new AbortController());
  const { questions } = await getJSON("/suggestions", signal).catch(() => ({ questions: [] })); // one can ask without them
  if (signal.aborted) return;
  const items = questions.map((question) => el("li", null, el("button", { click: () => running || put(question) }, question)));
  $("examples").replaceChildren(...(items.length ? [el("h3", { id: "for-example" }, "For example"), el("ul", { "aria-labelledby": "for-example" }, items)] : []));
}

/** Asks the questions of the address, each after the one before it. */
async function askComing() {
  while (coming.length && !running) {
    await put(coming.shift());
    if (turns.at(-1)?.result) continue;
    if (!held.length) coming = []; // stopped, failed or cleared: what follows would hang in the air
    return;
  }
}

const query = new URLSearchParams(location.search);
coming = query.getAll("q").map((question) => question.trim()).filter((question) => question && !holdsKey(question));
startFilters(fromAddress(query), () => {
  showAddress();
  offerRepeat();
});
showExamples();
if (!coming.length && !touch.matches) field.focus();
askComing();
