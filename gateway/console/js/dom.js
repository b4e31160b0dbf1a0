/**
 * Elements, messages and times. Text only ever becomes text nodes: nothing here parses HTML, so no
 * name or message that somebody stored can become markup.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

/** Properties that are set on the element itself; all others are attributes. */
const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "hidden"]);

/**
 * Makes an element. `on*` are listeners; `class` and all others are attributes (false: left out).
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) Object.assign(element, { [name]: value });
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...present(children));
  return element;
}

/**
 * Puts children in place of what is there.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function present(children) {
  return children.flat().flatMap((child) =>
    child == null || child === false ? [] : [child instanceof Node ? child : String(child)]);
}

/**
 * A labelled field.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
export function field(label, input, hint) {
  return h("label", { class: "field" }, h("span", {}, label), input,
    hint ? h("small", {}, hint) : null);
}

/**
 * A drop-down list.
 * @param {(string | [string, string])[]} options values, or [value, words]
 * @param {string} chosen
 * @param {Record<string, any>} [attributes]
 */
export function select(options, chosen, attributes = {}) {
  const made = h("select", attributes, options.map((option) => {
    const [value, words] = typeof option === "string" ? [option, option] : option;
    return h("option", { value }, words);
  }));
  made.value = chosen;
  return made;
}

/**
 * Says something for some seconds, with an action (undo) if one is given.
 * @param {string} text
 * @param {{kind?: "ok" | "bad", action?: string, run?: () => void}} [more]
 */
export function toast(text, { kind = "ok", action, run } = {}) {
  const box = h("div", { class: `toast ${kind}` }, h("span", {}, text),
    action ? h("button", { onclick: () => { box.remove(); run?.(); } }, action) : null,
    h("button", { class: "quiet", "aria-label": "Dismiss", onclick: () => box.remove() }, "×"));
  document.querySelector("#toasts")?.append(box);
  setTimeout(() => box.remove(), action || kind === "bad" ? 12000 : 4000);
}

/** @param {unknown} error */
export function tell(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  toast(error instanceof Error ? error.message : String(error), { kind: "bad" });
}

/** What to show where there is nothing yet. @param {string} title @param {...Child} body */
export function empty(title, ...body) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, ...body));
}

/** A coloured word: a result, a state, a kind. @param {string} word */
export function badge(word) {
  return h("span", { class: `badge ${/^[a-z_]+$/.test(word) ? word : ""}` }, word.replaceAll("_", " "));
}

/** @param {string | number | null | undefined} instant */
export function clock(instant) {
  if (instant == null) return "";
  const date = new Date(instant);
  const isToday = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const day = date.toLocaleDateString([], { day: "numeric", month: "short" });
  return isToday ? time : `${day}, ${time}`;
}

/** A time element that shows the full instant on hover. @param {string} instant */
export function time(instant) {
  return h("time", { datetime: instant, title: instant }, clock(instant));
}

/**
 * Runs a function at most once per so many milliseconds, the last call always.
 * @param {() => void} run
 * @param {number} wait_ms
 */
export function throttle(run, wait_ms) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  return () => {
    timer ??= setTimeout(() => { timer = undefined; run(); }, wait_ms);
  };
}
