/** Triggers: the list, and the editor with its form, its JSON and its phones side by side. */

import { Problem, call, get, list, may } from "./api.js";
import { go } from "./app.js";
import { backtestPanel } from "./backtest.js";
import { badge, empty, field, fill, h, tell, throttle, toast } from "./dom.js";
import { drawPhones } from "./phone.js";
import { blank, triggerForm } from "./trigger_form.js";

const READ_ONLY = ["version", "created_at", "updated_at"];

/** @type {import("./app.js").View} */
export async function view(place, signal) {
  const page = h("div", { class: "page" });
  place.append(page);
  const asked = new URLSearchParams(location.search);
  const id = asked.get("id");
  if (id) return edit(page, signal, await get(path(id)), false);
  if (asked.has("new")) return edit(page, signal, blank(), true);
  await showList(page);
}

/** @param {HTMLElement} page */
async function showList(page) {
  const { items } = await list("/v1/triggers", {}, 5000);
  const again = () => showList(page).catch(tell);
  const create = may("manage") ? h("button", { class: "main", onclick: () => go("/triggers?new") }, "New trigger") : null;
  fill(page, h("div", { class: "row" }, h("h1", { class: "grow" }, "Triggers"), create),
    items.length
      ? h("div", { class: "card scroll" }, h("table", { class: "stack" },
        h("thead", {}, h("tr", {}, ["Trigger", "When", "Says", "State", ""].map((one) => h("th", {}, one)))),
        h("tbody", {}, items.map((one) => row(one, again)))))
      : h("div", { class: "card" }, empty("No triggers yet", "A trigger says: when this happens to such a person, send this message, at most so often. ",
        may("manage") ? "Make the first one." : "A key with the scope manage can make one.")));
}

/** @param {any} trigger @param {() => void} again */
function row(trigger, again) {
  const { message } = trigger.variants[0];
  return h("tr", {},
    h("td", {}, h("a", { href: `/triggers?id=${encodeURIComponent(trigger.id)}` }, trigger.name || trigger.id), h("br"), h("small", {}, trigger.name ? trigger.id : "")),
    h("td", {}, when(trigger)),
    h("td", { class: "long" }, h("b", {}, message.title ?? ""), h("br"), h("small", {}, message.body ?? "")),
    h("td", {}, badge(trigger.enabled === false ? "off" : "on"), " ", trigger.class === "transactional" ? badge("transactional") : null),
    h("td", {}, h("div", { class: "row" },
      may("manage") ? h("button", { onclick: () => pause(trigger).then(again, tell) }, trigger.enabled === false ? "Resume" : "Pause") : null,
      h("a", { class: "button", href: `/explain?trigger=${encodeURIComponent(trigger.id)}` }, "Why"))));
}

/** What a trigger listens to, in words. @param {any} trigger */
function when({ on }) {
  const zones = typeof on.zones === "object" ? [...(on.zones.tags ?? []).map((/** @type {string} */ tag) => `#${tag}`), ...(on.zones.ids ?? [])] : [];
  const detail = on.dwell_s ? ` ${on.dwell_s >= 60 ? `${+(on.dwell_s / 60).toFixed(1)} min` : `${on.dwell_s} s`}` : on.within_m ? ` ${on.within_m} m` : on.name ? ` ${on.name}` : "";
  return h("span", {}, badge(on.event), `${detail} ${zones.length ? `· ${zones.join(", ")}` : on.event === "custom" ? "" : "· everywhere"}`);
}

/** @param {any} trigger */
async function pause(trigger) {
  const enabled = trigger.enabled === false;
  await call("PATCH", path(trigger.id), { enabled });
  toast(`${trigger.name || trigger.id} is ${enabled ? "on" : "paused"}.`);
}

/** @param {HTMLElement} page @param {AbortSignal} signal @param {any} stored @param {boolean} isNew */
async function edit(page, signal, stored, isNew) {
  let trigger = without(stored);
  const isEditable = may("manage");
  const formPlace = h("div", {});
  const json = h("textarea", { class: "json", spellcheck: "false", "aria-label": "The trigger as JSON", readonly: !isEditable });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const phones = h("div", { class: "phones" });
  const device = h("input", { placeholder: "a made-up person" });
  const tags = await usedTags().catch(() => []);

  const render = throttle(() => void preview(), 300);
  function drawForm() {
    const form = triggerForm(trigger, () => { json.value = pretty(trigger); wrong.textContent = ""; render(); }, { isNew, tags });
    if (!isEditable) for (const input of form.querySelectorAll("input, select, textarea")) input.setAttribute("disabled", "");
    fill(formPlace, form);
  }
  json.addEventListener("input", () => {
    try {
      trigger = JSON.parse(json.value);
      if (!trigger.on || !trigger.variants?.[0]?.message) throw new Error("on and variants[0].message are needed");
      json.setAttribute("aria-invalid", "false");
      wrong.textContent = "";
      drawForm();
      render();
    } catch (error) {
      json.setAttribute("aria-invalid", "true");
      wrong.textContent = error instanceof Error ? error.message : String(error);
    }
  });
  device.addEventListener("change", render);

  async function preview() {
    const { message } = trigger.variants[0];
    try {
      const asked = { message, class: trigger.class ?? "marketing", ...(device.value ? { device_id: device.value } : {}) };
      const made = await call("POST", "/v1/messages/preview", asked, { signal });
      drawPhones(phones, message, made);
    } catch (error) {
      if (signal.aborted) return;
      drawPhones(phones, message, null);
      if (error instanceof Problem && error.status === 422) wrong.textContent = `The message: ${error.message}`;
    }
  }

  async function save() {
    wrong.textContent = "";
    try {
      const headers = /** @type {Record<string, string>} */ (isNew ? { "If-None-Match": "*" } : { "If-Match": `"${stored.version}"` });
      await call("PUT", path(trigger.id), trigger, { headers });
      toast("Saved. It decides from the next event on.");
      go(`/triggers?id=${encodeURIComponent(trigger.id)}`);
    } catch (error) {
      const isTaken = error instanceof Problem && error.status === 412;
      wrong.textContent = isTaken ? (isNew ? "There is a trigger with this id already." : "Somebody else has changed it meanwhile; load the page again.")
        : error instanceof Error ? error.message : String(error);
      if (error instanceof Problem) point(formPlace, error);
    }
  }

  async function remove() {
    try {
      await call("DELETE", path(stored.id));
      go("/triggers");
      toast(`Deleted ${stored.name || stored.id}.`, { action: "Undo", run: () => call("PUT", path(stored.id), without(stored)).then(() => go("/triggers"), tell) });
    } catch (error) {
      tell(error);
    }
  }

  drawForm();
  json.value = pretty(trigger);
  fill(page,
    h("div", { class: "row" }, h("a", { href: "/triggers" }, "← All"), h("h1", { class: "grow" }, isNew ? "New trigger" : stored.name || stored.id),
      isNew ? null : h("small", {}, `Version ${stored.version}`),
      !isNew && isEditable ? [
        h("button", { onclick: () => pause(stored).then(() => go(location.pathname + location.search), tell) }, stored.enabled === false ? "Resume" : "Pause"),
        h("button", { class: "danger", onclick: remove }, "Delete"),
      ] : null,
      isNew ? null : h("a", { class: "button", href: "/try" }, "Try it"),
      isEditable ? h("button", { class: "main", onclick: save }, isNew ? "Create" : "Save") : badge("read only")),
    wrong,
    h("div", { class: "columns" }, h("div", { class: "card" }, formPlace),
      h("div", {}, h("div", { class: "card" }, h("div", { class: "row" }, h("h2", { class: "grow" }, "As it arrives"), field("For the device", device)), phones),
        isEditable ? backtestPanel(() => trigger, !isNew, signal) : null,
        h("div", { class: "card" }, h("h2", {}, "As the API has it"), json))));
  await preview();
}

/** Goes to the field that a problem is about. @param {HTMLElement} place @param {Problem} problem */
function point(place, problem) {
  const word = problem.errors[0]?.pointer.split("/").at(-1) ?? "";
  const words = { title: "Title", body: "Text", dwell_s: "For at least, minutes", within_m: "Within, m", name: "Name", id: "Id", deep_link: "Opens", image_url: "Picture (https)" };
  const label = words[/** @type {keyof words} */ (word)];
  const found = [...place.querySelectorAll("label.field")].find((one) => one.firstElementChild?.textContent === label);
  const input = found?.querySelector("input, textarea");
  input?.setAttribute("aria-invalid", "true");
  /** @type {HTMLElement | null | undefined} */ (input)?.focus();
}

/** @returns {Promise<string[]>} */
async function usedTags() {
  const { items } = await list("/v1/geofences", {}, 500);
  return [...new Set(items.flatMap((one) => one.properties.tags ?? []))].sort();
}

/** @param {any} stored */
function without(stored) {
  return Object.fromEntries(Object.entries(stored).filter(([name]) => !READ_ONLY.includes(name)));
}

/** @param {any} document */
function pretty(document) {
  return JSON.stringify(document, null, 2);
}

/** @param {string} id */
function path(id) {
  return `/v1/triggers/${encodeURIComponent(id)}`;
}
