/** Usage in figures: tables of calls, tokens and money, and how far budgets are used up. */

import { across } from "./charts.js";
import { el } from "./dom.js";
import { count, dollars } from "./figures.js";

const NOTHING = { requests: 0, input_tokens: 0, output_tokens: 0, cached_tokens: 0, cost: "0", failures: 0 };
const COLUMNS = [["Calls", "requests", count], ["Tokens in", "input_tokens", count], ["Cached", "cached_tokens", count], ["Tokens out", "output_tokens", count], ["Cost", "cost", dollars], ["Failures", "failures", count]];
const SHARE = "Share of tokens";
const DAY = 86_400_000; // milliseconds

const NEARLY = 0.8; // of a budget: where alerts begin unless set otherwise

/** A row for every day of the time that is shown, those without calls included. */
export function byDay({ since, until, by_day: rows }) {
  const found = new Map(rows.map((row) => [row.day, row]));
  const days = [];
  for (let day = Date.parse(since); day <= Date.parse(until); day += DAY) days.push(new Date(day).toISOString().slice(0, 10));
  return days.map((day) => found.get(day) ?? { day, ...NOTHING });
}

/** A table of named rows; `bars`: what stands in a row before its figures, if anything. */
export function figures(caption, first, rows, bars) {
  const head = [first, ...(bars ? [SHARE] : []), ...COLUMNS.map(([name]) => name)];
  const body = rows.map(([name, row]) => el("tr", null,
    el("th", { scope: "row", title: name }, name),
    bars && el("td", { class: "share" }, el("div", null, bars(row))),
    COLUMNS.map(([, key, words]) => el("td", { class: "n" }, words(row[key])))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", { class: "figures" },
      el("caption", { class: "hide" }, caption),
      el("thead", null, el("tr", null, head.map((name, i) => el("th", { scope: "col", class: name === SHARE ? "share" : i > 0 && "n" }, name)))),
      el("tbody", null, body)));
}

const tokens = (row) => row.input_tokens + row.output_tokens;

/** Who or what has used how much, most first, with a bar for each; `unnamed`: what an empty name stands for. */
export function shares(title, first, rows, key, unnamed) {
  const sorted = [...rows].sort((a, b) => tokens(b) - tokens(a) || b.requests - a.requests);
  const all = sorted.reduce((sum, row) => sum + tokens(row), 0) || 1;
  const bar = (row) => [across(tokens(row) / all, "in"), el("span", null, `${Math.round((100 * tokens(row)) / all)} %`)];
  return el("section", null, el("h3", null, title), figures(`Usage ${title.toLowerCase()}`, first, sorted.map((row) => [row[key] || unnamed, row]), bar));
}

const UNITS = { requests: ["calls", count], tokens: ["tokens", count], dollars: ["", dollars] };

/** What is used up today of each budget; nothing where there is none. */
export function budgets(rows) {
  if (!rows?.length) return [];
  const items = rows.map((row) => el("li", { class: "card budget" }, el("h4", null, whose(row)), meters(row)));
  const day = rows[0].day;
  return [el("section", null, el("h3", null, "Budgets", day && ` of ${day} (UTC)`), el("ul", { class: "cards" }, items))];
}

const whose = ({ per, name }) => (per === "all" ? "Everybody together" : `${per === "key" ? "Key" : "Team"} ${name}`);

function meters({ per, name, used, limit }) {
  const set = Object.entries(UNITS).filter(([unit]) => limit[unit] != null);
  return set.map(([unit, [noun, words]]) => {
    const [now, most] = [Number(used[unit] ?? 0), Number(limit[unit])];
    const share = most > 0 ? now / most : 1;
    const level = share >= 1 ? "spent" : share >= NEARLY ? "nearly" : "in";
    const text = `${words(now)} of ${words(most)} ${noun}`.trim();
    const state = { spent: "used up", nearly: `${Math.round(100 * share)} %`, in: `${Math.round(100 * share)} %` }[level];
    const meter = el("div", { class: "meter", role: "meter", "aria-label": `${whose({ per, name })}, ${unit}`, "aria-valuemin": 0, "aria-valuemax": most, "aria-valuenow": Math.min(now, most), "aria-valuetext": `${text}, ${state}` }, across(share, level));
    return el("div", null, meter, el("p", { class: "from" }, el("span", null, text), el("span", { class: level === "in" ? "soft" : `level ${level}` }, state)));
  });
}
