/**
 * Who is signed in: the key, in this tab's sessionStorage and nowhere else, and what the server says of it.
 *
 * `session` tells by its events what happened: "entered" (detail: `{other}`, whether in the place of
 * somebody else), "left", "refused", and "known" once a key kept over a reload has a name.
 */

const KEPT = "casebook.key";

export const session = new EventTarget();

let key = recall();
let who = null; // as GET /me has it
let refused = false; // a refused key stays until its owner has decided: nobody becomes anonymous unawares
let life = new AbortController(); // of all that is asked for in the name of the key

export const state = () => ({ signedIn: key !== null, who, refused });

/** Whether a text holds what looks like a key, which must not be sent or shown as if it were words. */
export const holdsKey = (text) => /cbk_[0-9a-z]{8}_[0-9A-Za-z]{20}/.test(text);

export const authorization = (token = key) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Aborted when its caller leaves, so that nothing which was under way arrives afterwards. */
export const lifetime = () => life.signal;

export function enter(token, caller) {
  const other = key !== null && JSON.stringify(who) !== JSON.stringify(caller);
  if (key !== null) end();
  [key, who, refused] = [token, caller, false];
  keep(key);
  tell("entered", { other });
}

export function leave() {
  end();
  [key, who, refused] = [null, null, false];
  keep(null);
  tell("left");
}

export function know(caller) {
  who = caller;
  tell("known");
}

/** The server has refused the key. */
export function refuse() {
  if (refused || key === null) return;
  refused = true;
  tell("refused");
}

const tell = (event, detail) => session.dispatchEvent(new CustomEvent(event, { detail }));

function end() {
  life.abort();
  life = new AbortController();
}

/* Where a browser is set to store nothing, even looking throws: then the key lasts until a reload. */

function recall() {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function keep(token) {
  try {
    token === null ? sessionStorage.removeItem(KEPT) : sessionStorage.setItem(KEPT, token);
  } catch {
    // it is in `key`
  }
}
