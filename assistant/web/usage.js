/** The usage page: what language models were asked for and what that cost, for administrators. */

import { columns } from "./charts.js";
import { el, icon, plural } from "./dom.js";
import { count, dollars, short } from "./figures.js";
import { session, state } from "./session.js";
import { signInButton } from "./signin.js";
import { getBlob, getJSON } from "./sse.js";
import { budgets, byDay, figures, shares } from "./tables.js";

const DAY = 86_400_000; // milliseconds
const SPANS = ["7", "30", "90"];

const $ = (id) => document.getElementById(id);
const [range, csv, trouble, page, live] = ["range", "csv", "trouble", "figures", "live"].map($);
let loading = null;

/** The days to show, of which today is the last, as the server takes them: dates in UTC. */
function span() {
  const date = (ago) => new Date(Date.now() - ago * DAY).toISOString().slice(0, 10);
  return new URLSearchParams({ since: date(range.elements.days.value - 1), until: date(0) });
}

async function show() {
  loading?.abort();
  const { signal } = (loading = new AbortController());
  csv.hidden = true;
  page.setAttribute("aria-busy", "true");
  if (!page.firstChild) page.replaceChildren(el("p", { class: "soft" }, "Adding up…"));
  try {
    const usage = await getJSON(`/usage?${span()}`, signal);
    if (signal.aborted) return;
    draw(usage);
    csv.hidden = usage.totals.requests === 0;
    live.textContent = `${plural(usage.totals.requests, "call")} from ${usage.since} to ${usage.until}`;
  } catch (problem) {
    if (signal.aborted || problem.name === "AbortError") return;
    page.replaceChildren(refusal(problem));
  }
  page.removeAttribute("aria-busy");
}

function draw(usage) {
  const some = usage.totals.requests > 0;
  page.replaceChildren(
    ...(some ? [totals(usage.totals)] : [nothing()]),
    ...budgets(usage.budgets),
    ...(some ? charts(usage) : []));
}

function totals({ requests, input_tokens: input, output_tokens: output, cached_tokens: cached, cost, failures }) {
  const tile = (term, value, more) => el("div", null, el("dt", null, term), el("dd", null, value), more && el("dd", { class: "soft" }, more));
  return el("dl", { class: "totals" },
    tile("Calls", count(requests), failures > 0 && plural(failures, "failed attempt")),
    tile("Tokens in", count(input), cached > 0 && `${count(cached)} from the provider’s cache`),
    tile("Tokens out", count(output)),
    tile("Cost", dollars(cost), "as far as prices are known"));
}

function charts(usage) {
  const days = byDay(usage);
  const label = ({ day }) => new Date(day).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const tokens = days.map((row) => ({ label: label(row), values: [row.input_tokens, row.output_tokens], words: `${row.day}: ${count(row.input_tokens)} in, ${count(row.output_tokens)} out` }));
  const costs = days.map((row) => ({ label: label(row), values: [Number(row.cost ?? 0)], words: `${row.day}: ${dollars(row.cost)}` }));
  return [
    el("div", { class: "charts" },
      chart("Tokens by day", el("p", { class: "legend soft" }, el("span", { class: "in" }, "in"), el("span", { class: "out" }, "out")), columns(tokens, ["in", "out"], short)),
      chart("Cost by day", null, columns(costs, ["cost"], dollars))),
    el("details", null, el("summary", null, "Figures by day"), figures("Usage by day (UTC)", "Day", days.map((row) => [row.day, row]).reverse())),
    shares("By team", "Team", usage.by_team, "team", "no team"),
    shares("By model", "Model", usage.by_model, "model", "cut off before an end"),
    shares("By key", "Key", usage.by_key, "key", "nobody"),
  ];
}

const chart = (title, ...parts) => el("section", null, el("h3", null, title), parts);

function nothing() {
  return el("div", { class: "card none" },
    el("p", null, el("strong", null, "No calls in these days.")),
    el("p", { class: "soft" }, "Without a language model answers are in the sources’ own words, and cost nothing. How to configure one stands in ", el("code", null, "docs/gateway.md"), "."));
}

function refusal(problem) {
  const denied = [401, 403].includes(problem.status);
  const [title, words] = denied ? ["Usage is shown to administrators", whoLooks()] : [problem.message, problem.detail];
  const remedy = !denied ? el("button", { class: "quiet", click: show }, "Try again") : !state().signedIn && signInButton();
  return el("div", { class: "card failed", role: "alert" }, icon(denied ? "key" : "warn"), el("div", null, el("p", null, el("strong", null, title)), el("p", null, words), remedy));
}

function whoLooks() {
  const { signedIn, refused, who } = state();
  if (!signedIn) return "Sign in with an administrator’s key to see it.";
  return refused ? "Your key is not accepted any more." : `You are signed in as ${who?.name ?? "somebody"}, who is no administrator.`;
}

/* Downloading: a link could not send the key. */

csv.addEventListener("click", async () => {
  const dates = span();
  csv.disabled = true;
  trouble.textContent = "";
  try {
    const address = URL.createObjectURL(await getBlob(`/usage.csv?${dates}`));
    el("a", { href: address, download: `casebook-usage-${dates.get("since")}-${dates.get("until")}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000); // long enough to be read
  } catch (problem) {
    if (problem.name !== "AbortError") trouble.textContent = `${problem.message}. ${problem.detail}`;
  } finally {
    csv.disabled = false;
  }
});

/* Which days, and who looks */

range.addEventListener("change", () => {
  history.replaceState(null, "", `?days=${range.elements.days.value}`);
  show();
});
for (const event of ["entered", "left"]) {
  session.addEventListener(event, () => {
    page.replaceChildren(); // what the one saw is no business of the other
    live.textContent = trouble.textContent = "";
    show();
  });
}
session.addEventListener("known", () => state().signedIn && page.querySelector(".failed") && show()); // with the name

const asked = new URLSearchParams(location.search).get("days");
range.elements.days.value = SPANS.includes(asked) ? asked : "30";
show();
