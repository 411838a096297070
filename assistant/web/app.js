/** The chat page: the composer, the conversation, and the address that repeats it. */

import { createTurn, spokenAnswer } from "./answer.js";
import { el, plural } from "./dom.js";
import { closeSource } from "./source.js";
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
  turn.start();
  try {
    for await (const { event, data } of ask(turn.question, before(turn), mine.signal)) {
      if (event === "citations") turn.cite(data);
      if (event === "sentence") turn.say(data);
      if (event === "answer") finish(turn, data);
    }
  } catch (error) {
    if (mine.signal.aborted) turn.stop();
    else fail(turn, error);
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
  turn.fail(error);
  live.textContent = `${error.message}. ${error.detail ?? ""}`;
}

/** The conversation that a turn continues, as the server takes it. */
function before(turn) {
  const answered = turns.slice(0, turns.indexOf(turn)).filter(({ result }) => result);
  return answered.slice(-REMEMBERED).map(({ question, result }) => ({ question, answer: result.answer }));
}

function showAddress(questions) {
  const query = new URLSearchParams(questions.map((question) => ["q", question]));
  history.replaceState(null, "", questions.length ? `?${query}` : location.pathname);
  document.title = [...questions.slice(-1), "Casebook"].join(" · ");
}

function startOver() {
  running?.abort();
  running = null;
  setBusy(false);
  closeSource();
  turns = [];
  thread = [];
  $("turns").replaceChildren();
  $("welcome").hidden = false;
  $("new").hidden = true;
  showAddress([]);
  field.focus();
}

/* The composer */

const size = () => [...field.value.trim()].length;

function submit() {
  const question = field.value.trim();
  const excess = size() - LIMIT;
  if (running) return complain("Wait for the answer, or stop it.");
  if (!question) return complain("Type a question first.");
  if (excess > 0) return complain(`Too long by ${plural(excess, "character")}.`);
  field.value = "";
  edited();
  if (touch.matches) field.blur();
  put(question);
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
$("new").addEventListener("click", startOver);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  if (!closeSource()) running?.abort();
});

/* The first visit */

async function showExamples() {
  const { questions } = await getJSON("/suggestions");
  const items = questions.map((question) => el("li", null, el("button", { click: () => running || put(question) }, question)));
  if (items.length) $("examples").append(el("h3", { id: "for-example" }, "For example"), el("ul", { "aria-labelledby": "for-example" }, items));
}

showExamples().catch(() => {}); // one can ask without them

const asked = new URLSearchParams(location.search).getAll("q").map((q) => q.trim()).filter(Boolean);
if (!asked.length && !touch.matches) field.focus();
for (const question of asked) {
  await put(question);
  if (!turns.at(-1)?.result) break; // stopped, failed or cleared: what follows would hang in the air
}
