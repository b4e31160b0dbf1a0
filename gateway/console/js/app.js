/** The shell: sign-in, navigation, theme. Each view is a module that is loaded when it is opened. */

import { currentSession, onSignedOut, signIn, signOut } from "./api.js";
import { field, fill, h, tell } from "./dom.js";

/**
 * A view fills its place; when the signal aborts it lets go of everything.
 * @typedef {(place: HTMLElement, signal: AbortSignal) => void | Promise<void>} View
 */

/** @type {Record<string, {title: string, load: () => Promise<{view: View}>}>} */
const VIEWS = {
  "/": { title: "Map", load: () => import("./view_map.js") },
  "/triggers": { title: "Triggers", load: () => import("./view_triggers.js") },
  "/explain": { title: "Why", load: () => import("./view_explain.js") },
  "/deliveries": { title: "Numbers", load: () => import("./view_deliveries.js") },
  "/try": { title: "Try it", load: () => import("./view_try.js") },
};

const top_ = /** @type {HTMLElement} */ (document.querySelector("#top"));
const main = /** @type {HTMLElement} */ (document.querySelector("#main"));
let leaving = new AbortController();

/** Opens an address of the console without loading the page again. @param {string} address */
export function go(address) {
  history.pushState(null, "", address);
  void show();
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const view = VIEWS[location.pathname] ?? VIEWS["/"];
  document.title = `${view.title} · Trigger gateway`;
  drawTop();
  const place = h("div", { class: "view" });
  fill(main, place);
  try {
    const { view: open } = await view.load();
    if (!signal.aborted) await open(place, signal);
  } catch (error) {
    if (!signal.aborted) tell(error);
  }
}

function drawTop() {
  const links = Object.entries(VIEWS).map(([path, { title }]) =>
    h("a", { href: path, "aria-current": location.pathname === path && "page" }, title));
  fill(top_,
    h("a", { class: "brand", href: "/" }, h("img", { src: "/console/icon.svg", alt: "", width: 22, height: 22 }), h("b", {}, "Gateway")),
    h("nav", { "aria-label": "Views" }, links),
    h("span", { class: "who", title: `Key ${currentSession().key_id}: ${currentSession().scopes.join(", ")}` }, currentSession().tenant),
    h("button", { class: "quiet", onclick: turnTheme, "aria-label": "Light or dark" }, "◐"),
    h("button", { class: "quiet", onclick: leave }, "Sign out"));
}

async function leave() {
  await signOut().catch(tell);
  askForKey();
}

function askForKey() {
  leaving.abort();
  document.title = "Sign in · Trigger gateway";
  const key = h("input", {
    type: "password", name: "key", required: true, autocomplete: "current-password", placeholder: "API key",
    value: decodeURIComponent(new URLSearchParams(location.hash.slice(1)).get("key") ?? ""),
  });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const enter = h("button", { class: "main" }, "Sign in");
  const form = h("form", { class: "card narrow signin" },
    h("h1", {}, "Trigger gateway"),
    field("API key", key),
    wrong, enter,
    h("p", { class: "note" }, "Make one on the gateway's machine: "),
    h("pre", {}, "gateway keys create --tenant acme --scopes manage,ingest,read"),
    h("p", { class: "note" }, "A key with the scope read sees everything and changes nothing. ", h("a", { href: "/docs" }, "API reference")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    enter.disabled = true;
    try {
      await signIn(key.value);
      if (location.hash) history.replaceState(null, "", location.pathname + location.search);
      await show();
    } catch (error) {
      wrong.textContent = error instanceof Error ? error.message : String(error);
    } finally {
      enter.disabled = false;
    }
  });
  fill(top_);
  fill(main, form);
  (key.value ? enter : key).focus();
}

function turnTheme() {
  const now = document.documentElement.dataset.theme
    ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", next);
  document.documentElement.dataset.theme = next;
  void show(); // maps and charts take their colours when they are made
}

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const link = /** @type {HTMLAnchorElement | null} */ (target.closest("a[href]"));
  if (!link || event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  if (link.origin !== location.origin || !(link.pathname in VIEWS) || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
addEventListener("popstate", () => void show());
onSignedOut.run = askForKey;

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
signIn(null).then((session) => (session ? show() : askForKey()), (error) => { askForKey(); tell(error); });
