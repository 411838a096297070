/** The sources there are for the caller: what each holds, and how fresh that is. */

import { age, el, icon, phrase, plural, present, revision } from "./dom.js";
import { healthCard, loadHealth } from "./health.js";
import { openPane, problemCard } from "./pane.js";
import { getJSON } from "./sse.js";

export const loadSources = async (signal) => (await getJSON("/sources", signal)).sources;

const button = document.getElementById("sources");
button.addEventListener("click", open);

async function open() {
  const { body, signal } = openPane(button, "Sources", "List of sources");
  try {
    const [sources, health] = await Promise.all([loadSources(signal), loadHealth(signal)]);
    const documents = sources.reduce((sum, source) => sum + source.documents, 0);
    const sum = el("p", { class: "sum soft" }, `${plural(documents, "document")} that you may read`);
    body.replaceChildren(healthCard(health), sum, el("ul", { class: "cards" }, sources.map(card)));
  } catch (problem) {
    if (!signal.aborted) body.replaceChildren(problemCard(problem));
  }
}

function card(source) {
  const kinds = Object.entries(source.kinds).map(([kind, count]) => el("span", null, `${phrase(kind)} ${count.toLocaleString("en")}`));
  return el("li", { class: "card source" },
    el("h3", null, source.name, source.type !== source.name && el("span", { class: "soft" }, source.type)),
    el("p", { class: "from" }, el("strong", null, plural(source.documents, "document")), kinds),
    el("p", { class: "from soft" }, source.documents > 0 && el("span", null, "Newest change ", source.newest ? age(source.newest) : "undated"), el("span", null, source.synced_at ? ["Read ", age(source.synced_at)] : "Never read")),
    source.stale && el("p", { class: "stale" }, icon("old"), " Overdue: not read for too long"),
    source.sync && lastSync(source.sync));
}

/** What only administrators are told. */
function lastSync({ revision: read, failed, error, failed_at: failedAt, next_run: next }) {
  const parts = present([
    read && revision({ revision: read }),
    next && el("span", null, "Next read ", age(next)),
    failed > 0 && el("span", { class: "stale" }, `${plural(failed, "item")} could not be read`),
  ]);
  return [
    parts.length > 0 && el("p", { class: "from soft" }, parts),
    error && el("p", { class: "error" }, icon("warn"), el("span", null, "The last sync failed ", failedAt && [age(failedAt)], ": ", error)),
  ];
}
