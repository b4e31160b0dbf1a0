/** The public API, as this console calls it: the session cookie says who, problems are thrown. */

/** @typedef {{tenant: string, key_id: string, scopes: string[], tiles: string | null}} Session */

/** An answer that is no success (RFC 9457). */
export class Problem extends Error {
  /** @param {number} status @param {any} body */
  constructor(status, body) {
    const errors = /** @type {{pointer: string, detail: string}[]} */ (body?.errors ?? []);
    const where = errors.map((one) => `${one.pointer} ${one.detail}`).join("; ");
    super(where || body?.detail || body?.title || `The gateway answered ${status}.`);
    this.status = status;
    this.errors = errors;
  }
}

/** @type {Session | null} */
let session = null;

/** Called when the session has ended. */
export const onSignedOut = { run: () => {} };

/** @returns {Session} */
export function currentSession() {
  if (!session) throw new Error("not signed in");
  return session;
}

/** Whether the key allows this. @param {"manage" | "ingest" | "read"} scope */
export function may(scope) {
  return Boolean(session?.scopes.includes(scope));
}

/** @param {string | null} key null: the session of the cookie, if there is one */
export async function signIn(key) {
  try {
    session = await (key === null ? get("/v1/session") : call("POST", "/v1/session", { key }));
  } catch (error) {
    session = null;
    if (key !== null || !(error instanceof Problem && [401, 403].includes(error.status))) throw error;
  }
  return session;
}

export async function signOut() {
  session = null;
  await call("DELETE", "/v1/session");
}

/**
 * @param {string} method
 * @param {string} path
 * @param {any} [body] JSON, or a file with its media type
 * @param {{headers?: Record<string, string>, signal?: AbortSignal}} [more]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, { headers = {}, signal } = {}) {
  const isFile = body instanceof Blob;
  const answer = await fetch(path, {
    method,
    signal,
    credentials: "same-origin",
    headers: {
      "X-Gateway-Console": "1",
      ...(body === undefined || isFile ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : isFile ? body : JSON.stringify(body),
  }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("The gateway does not answer. Is it running, and is the network up?");
  });
  const text = await answer.text();
  const isJson = /[/+]json/.test(answer.headers.get("content-type") ?? "");
  const document = isJson && text ? JSON.parse(text) : text;
  if (answer.ok) return document;
  if (answer.status === 401 && session) {
    session = null;
    onSignedOut.run();
  }
  throw new Problem(answer.status, document);
}

/**
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} [query] empty values are left out
 * @param {AbortSignal} [signal]
 */
export function get(path, query = {}, signal) {
  return call("GET", path + queryOf(query), undefined, { signal });
}

/** @param {Record<string, string | number | null | undefined>} query */
export function queryOf(query) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

/**
 * The items of a list, page by page, at most so many, and whether there are more.
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} query
 * @param {number} most
 * @param {AbortSignal} [signal]
 * @returns {Promise<{items: any[], isMore: boolean}>}
 */
export async function list(path, query, most, signal) {
  /** @type {any[]} */
  const items = [];
  /** @type {string | null} */
  let cursor = null;
  do {
    const limit = Math.min(most - items.length, 1000);
    const page = await get(path, { ...query, limit, cursor }, signal);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return { items, isMore: cursor !== null };
}

/** What a route gives, or null where this gateway has no such route. @param {Promise<any>} asked */
export async function ifThere(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Problem && [403, 404, 405].includes(error.status)) return null;
    throw error;
  }
}

const KINDS = ["enter", "dwell", "exit", "cross", "approach", "custom"];

/**
 * Follows events live until the signal aborts.
 * @param {(event: any) => void} take
 * @param {AbortSignal} signal
 * @param {{query?: Record<string, string>, onState?: (isLive: boolean) => void}} [more]
 */
export function follow(take, signal, { query = {}, onState } = {}) {
  const source = new EventSource(`/v1/events/stream${queryOf(query)}`);
  for (const kind of KINDS) {
    source.addEventListener(kind, (message) => take(JSON.parse(message.data)));
  }
  source.addEventListener("open", () => onState?.(true));
  source.addEventListener("error", () => onState?.(false));
  signal.addEventListener("abort", () => source.close());
}

/** Offers text as a file. @param {string} name @param {string} text @param {string} type */
export function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/**
 * Rows as CSV (RFC 4180). A cell that a spreadsheet would take for a formula gets an apostrophe.
 * @param {string[]} columns
 * @param {Record<string, any>[]} rows
 */
export function csv(columns, rows) {
  const cell = (/** @type {any} */ value) => {
    const text = value == null ? "" : String(value);
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = rows.map((row) => columns.map((name) => cell(row[name])).join(","));
  return [columns.join(","), ...lines, ""].join("\r\n");
}
