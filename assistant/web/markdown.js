/**
 * Markdown as a readable document that still holds every character of its text.
 *
 * Syntax such as `## ` or `**` stays in the DOM inside `.md`, which the style sheet hides. So the
 * fragment's textContent is the text, and what its marks hold together is exactly `[start, end)`.
 */

import { el, isWeb, link } from "./dom.js";

/** UTF-16 index of an offset in Unicode code points, which is what the server counts. */
export function utf16(text, codePoints) {
  let index = 0;
  for (let n = 0; n < codePoints && index < text.length; n++) index += text.codePointAt(index) > 0xffff ? 2 : 1;
  return index;
}

/** Blocks `{kind, from, body, tail, to}`, which cover the text; outside `[body, tail)` is syntax. */
function blocks(text) {
  const found = [];
  let fence = null;
  for (let from = 0, to; from < text.length; from = to) {
    to = text.indexOf("\n", from) + 1 || text.length;
    const line = text.slice(from, to);
    const last = found.at(-1);
    if (fence) {
      const closes = line.trim().startsWith(fence);
      [last.tail, last.to] = [closes ? from : to, to];
      if (closes) fence = null;
      continue;
    }
    fence = /^\s*(```|~~~)/.exec(line)?.[1] ?? (from === 0 && line.trim() === "---" ? "---" : null);
    const block = fence ? { kind: "pre", body: line.length } : classify(line);
    const continues = block.kind === "p" ? /^(p|li)$/.test(last?.kind) : block.kind === "table" && last?.kind === "table";
    if (continues) last.tail = last.to = to;
    else found.push({ ...block, from, body: from + block.body, tail: to, to });
  }
  return found;
}

function classify(line) {
  if (!line.trim()) return { kind: "gap", body: 0 };
  const [heading, hashes] = /^(#{1,6})[ \t]+/.exec(line) ?? [];
  if (heading) return { kind: `h${Math.min(6, hashes.length + 2)}`, body: heading.length };
  const [item, indent, number] = /^([ \t]*)(?:[-*+]|(\d+[.)]))[ \t]+/.exec(line) ?? [];
  if (item) return { kind: "li", indent, number, body: (number ? indent : item).length };
  return { kind: line.startsWith("|") ? "table" : "p", body: 0 };
}

/** Inline syntax; lengths are bounded so that no text can make this slow. */
const INLINE = /(`{1,3})([^`\n]{1,300})\1|\*\*([^*]{1,600})\*\*|\[([^\]\n]{1,300})\]\(([^()\s]{1,600})\)/g;

/** The document's nodes, with `<mark>` around `[start, end)` (UTF-16). */
export function render(text, start, end) {
  const page = document.createDocumentFragment();
  let list = null;
  for (const block of blocks(text)) {
    if (block.kind === "li") list ??= page.appendChild(el("ul"));
    else if (block.kind !== "gap") list = null;
    const host = list ?? page;
    const node = block.kind === "gap" ? host : host.appendChild(element(block));
    const verbatim = block.kind === "pre" || block.kind === "table";
    syntax(node, block.from, block.body);
    (verbatim ? paint : inline)(node, block.body, block.tail);
    syntax(node, block.tail, block.to);
  }
  return page;

  function inline(parent, from, to) {
    let at = from;
    for (const match of text.slice(from, to).matchAll(INLINE)) {
      const [whole, ticks, code, bold, label, address] = match;
      const open = from + match.index;
      const close = open + whole.length;
      const inner = open + (ticks?.length ?? (bold ? 2 : 1));
      const tail = inner + (code ?? bold ?? label).length;
      const child = code ? el("code") : bold ? el("strong") : isWeb(address) ? link(address, "") : el("span");
      paint(parent, at, open);
      syntax(parent, open, inner);
      parent.append(child);
      (code ? paint : inline)(child, inner, tail);
      syntax(parent, tail, close);
      at = close;
    }
    paint(parent, at, to);
  }

  function syntax(parent, from, to) {
    if (from < to) paint(parent.appendChild(el("span", { class: "md" })), from, to);
  }

  function paint(parent, from, to) {
    const a = Math.min(Math.max(start, from), to);
    const b = Math.min(Math.max(end, a), to);
    parent.append(text.slice(from, a));
    if (a < b) parent.append(el("mark", null, text.slice(a, b)));
    parent.append(text.slice(b, to));
  }
}

function element({ kind, indent, number }) {
  return el(kind === "table" ? "pre" : kind, kind === "li" && { class: `${indent ? "nested" : ""} ${number ? "" : "bullet"}` });
}
