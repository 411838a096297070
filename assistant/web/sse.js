/** Talking to the server: JSON, event streams, and every failure as one kind of error. */

import { authorization, lifetime, refuse } from "./session.js";

/** What went wrong, in the server's words (RFC 9457) where it had any. */
export class Problem extends Error {
  constructor({ title, detail }, status, retryAfter) {
    super(title || "Something went wrong");
    this.detail = typeof detail === "string" ? detail : "The server gave no reason.";
    this.status = status;
    this.signIn = status === 401; // to sign in (again) is the remedy
    this.retryAfter = [429, 503].includes(status) ? seconds(retryAfter) : null; // to wait so long is the remedy
  }
}

/** Retry-After, which is a number of seconds or a date, in seconds from now; null where it is neither. */
function seconds(stated) {
  const left = /^\d+$/.test(stated ?? "") ? Number(stated) : Math.ceil((Date.parse(stated) - Date.now()) / 1000);
  return left > 0 ? left : null;
}

const unreachable = () => new Problem({ title: "Casebook can’t be reached", detail: "Is the server running, and are you online?" });
const lost = () => new Problem({ title: "The connection was lost", detail: "The answer stopped half-way." });
const REFUSED = { title: "Your key is not accepted any more", detail: "It was revoked or has expired." };

export async function getJSON(path, signal) {
  return (await reach(path, { signal: lasting(signal) })).json();
}

export async function getBlob(path, signal) {
  return (await reach(path, { signal: lasting(signal) })).blob();
}

/** What the server says of whom a key belongs to; raises a `Problem` with `signIn` if to nobody. */
export async function whoHolds(key, signal) {
  return (await send("/me", { signal, headers: authorization(key) })).json();
}

/** The events of one answer, as `{event, data}`, up to the final `answer`. */
export async function* ask(question, conversation, filters, stopped) {
  const signal = lasting(stopped);
  const response = await reach("/ask", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ question, explain: true, conversation, filters }),
  });
  let whole = false;
  try {
    for await (const message of events(response.body, signal)) { // to its end: the connection can be used again
      if (message.event === "error") throw new Problem(message.data);
      whole ||= message.event === "answer";
      yield message;
    }
  } catch (error) {
    if (!whole) throw error; // what is lost after the answer is nothing
  }
  if (!whole) throw lost();
}

const lasting = (signal) => AbortSignal.any([lifetime(), signal].filter(Boolean));

/** A response to whoever is signed in. */
async function reach(path, options) {
  const credentials = authorization();
  try {
    return await send(path, { ...options, headers: { ...options.headers, ...credentials } });
  } catch (problem) {
    if (!problem.signIn || !credentials.Authorization || options.signal.aborted) throw problem;
    refuse();
    throw new Problem(REFUSED, 401);
  }
}

async function send(path, options) {
  // Not stored: what one caller was shown is no business of the next one at this machine.
  const response = await fetch(path, { cache: "no-store", ...options }).catch((error) => {
    throw options.signal?.aborted ? error : unreachable();
  });
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Problem(said?.title ? said : { title: `The server answered ${response.status}` }, response.status, response.headers.get("Retry-After"));
}

/** Server-sent events from a byte stream, wherever its pieces happen to break. */
async function* events(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let pending = ""; ; ) {
    const { value, done } = await reader.read().catch((error) => {
      throw signal.aborted ? error : lost();
    });
    if (done) return;
    const messages = (pending + value).split(/\r?\n\r?\n/);
    pending = messages.pop();
    for (const message of messages) {
      const fields = message.split(/\r?\n/).map((line) => /^(\w*):? ?(.*)$/s.exec(line) ?? []);
      const named = (name) => fields.filter(([, field]) => field === name).map(([, , value]) => value).join("\n");
      if (named("data")) yield { event: named("event"), data: JSON.parse(named("data")) };
    }
  }
}
