/** Try it: a simulated phone, dragged over the map, with the real engine of this gateway. */

import { Problem, call, follow, get, ifThere, may } from "./api.js";
import { badge, clock, empty, field, fill, h, select, tell, time, toast } from "./dom.js";
import { Fences, maplibre, openMap } from "./map.js";
import { push } from "./phone.js";

const STEP_MS = 700;
const LOOK_MS = 900;
const PHONE = "sim-phone";

/** @type {import("./app.js").View} */
export async function view(place, signal) {
  if (!may("manage") || !may("ingest")) {
    place.append(h("div", { class: "page" }, h("h1", {}, "Try it"), h("div", { class: "card" },
      empty("This key cannot simulate a phone", "Sign in with a key that has the scopes manage, ingest and read."))));
    return;
  }
  const id = localStorage.getItem(PHONE) ?? `sim-${crypto.randomUUID().slice(0, 8)}`;
  localStorage.setItem(PHONE, id);
  const canvas = h("div", { class: "map-canvas", role: "application", "aria-label": "Map with a simulated phone; arrow keys move it" });
  const screen = h("div", { class: "phone ios" });
  const story = h("ul", { class: "plain items" });
  const accuracy = select([["5", "5 m, open sky"], ["30", "30 m, street"], ["150", "150 m, indoors"]], "5");
  const attributes = h("input", { value: localStorage.getItem("sim-attributes") ?? '{"first_name": "Kim"}', spellcheck: "false" });
  const side = h("aside", { class: "side", "aria-label": "The simulated phone" },
    h("h2", {}, "Drag the phone into a geofence"), screen,
    h("div", { class: "grid" }, field("Accuracy", accuracy), field("The person's attributes", attributes)),
    h("div", { class: "row" },
      h("button", { onclick: () => forget().catch(tell) }, "Start over"),
      h("a", { class: "button", href: `/explain?device=${id}` }, "Why"),
      h("button", { onclick: () => getItHere(id).catch(tell) }, "Get it on this browser")),
    h("p", { class: "note" }, `The phone ${id} is a device of this tenant like any other: triggers really fire for it, it counts in the numbers, and what it is sent goes to its inbox (webhooks of a trigger are called, too). “Start over” erases it.`),
    h("h2", {}, "What the gateway says"), story);
  const hint = h("div", { class: "strip" }, "Each move is a ping; so is a click on the map.");
  place.append(h("div", { class: "split" }, h("div", { class: "map" }, canvas, hint), side));

  await makePhone(id, attributes.value);
  const map = await openMap(canvas, signal);
  const fences = new Fences(map, signal);
  await fences.findFirst();
  const marker = new maplibre.Marker({ element: h("div", { class: "marker", tabindex: 0, role: "button", "aria-label": "Simulated phone: arrow keys move it" }), draggable: true, anchor: "bottom" })
    .setLngLat(map.unproject([canvas.clientWidth / 2, canvas.clientHeight * 0.88])).addTo(map);

  const place_ = () => { const { lng, lat } = marker.getLngLat(); return `${lat.toFixed(7)},${lng.toFixed(7)}`; };
  let sent = place_(); // nothing happens until the phone is moved
  let isBusy = false;
  async function ping() {
    const { lng, lat } = marker.getLngLat();
    const now = place_();
    if (isBusy || now === sent) return;
    isBusy = true;
    sent = now;
    try {
      await call("POST", "/v1/pings", { device_id: id, lat, lon: lng, accuracy_m: Number(accuracy.value), recorded_at: Date.now() });
    } catch (error) {
      tell(error);
    } finally {
      isBusy = false;
    }
  }
  const timer = setInterval(ping, STEP_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  map.on("click", (event) => marker.setLngLat(event.lngLat));
  marker.getElement().addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, -12], ArrowDown: [0, 12], ArrowLeft: [-12, 0], ArrowRight: [12, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const at = map.project(marker.getLngLat());
    marker.setLngLat(map.unproject([at.x + step[0], at.y + step[1]]));
  });
  attributes.addEventListener("change", () => makePhone(id, attributes.value).then(() => toast("From the next event on."), tell));

  /** @type {any[]} */
  let events = [];
  async function look() {
    const [inbox, decisions] = await Promise.all([get("/v1/inbox", { device: id, limit: 5 }), get("/v1/explain", { device: id, limit: 30 })]);
    if (signal.aborted) return;
    const acted = (/** @type {any} */ action) => call("POST", `/v1/actions/${action.token}`).then(() => toast("Pressed: the gateway knows."), tell);
    fill(screen, h("b", {}, "Simulated phone"), inbox.items.length ? inbox.items.map((/** @type {any} */ one) => push(one.message, clock(one.created_at), acted)) : h("small", {}, "No push yet."));
    const lines = [...events.map((one) => ({ at: one.occurred_at, node: [badge(one.kind), h("span", { class: "what" }, one.zone?.id ?? one.name ?? "")] })),
      ...decisions.items.map((/** @type {any} */ one) => ({ at: one.decided_at, node: [badge(one.result), h("span", { class: "what" }, h("b", {}, one.trigger_id), ` ${one.summary}`)] }))]
      .sort((a, b) => Date.parse(b.at) - Date.parse(a.at)).slice(0, 40);
    fill(story, lines.length ? lines.map((one) => h("li", {}, time(one.at), one.node)) : h("li", {}, h("span", { class: "what" }, "Nothing yet.")));
  }
  let isDue = true;
  const looking = setInterval(() => { if (isDue) { isDue = false; look().catch(tell); } }, LOOK_MS);
  signal.addEventListener("abort", () => clearInterval(looking));
  follow((event) => {
    events = [event, ...events].slice(0, 40);
    if (event.zone) fences.flash(event.zone.id);
    isDue = true;
    setTimeout(() => { isDue = true; }, 2500); // a push goes a moment after its event
  }, signal, { query: { device: id } });

  async function forget() {
    await call("DELETE", `/v1/devices/${id}`);
    await call("DELETE", `/v1/users/${id}-user`).catch(() => null);
    await makePhone(id, attributes.value);
    events = [];
    isDue = true;
    sent = "";
    toast("The phone starts anew: no visits, no cooldowns of its own.");
  }
}

/**
 * Opens the page that subscribes this browser to what the phone is sent.
 * @param {string} id
 */
async function getItHere(id) {
  const tab = window.open("about:blank");
  try {
    const { token } = await call("POST", `/v1/devices/${id}/token`, {});
    const address = `/push#${new URLSearchParams({ token })}`;
    if (tab) tab.location.href = address;
    else location.href = address;
  } catch (error) {
    tab?.close();
    throw error;
  }
}

/** The device and its person, with consent and nothing but an inbox. @param {string} id @param {string} attributes JSON */
async function makePhone(id, attributes) {
  let parsed;
  try {
    parsed = JSON.parse(attributes || "{}");
  } catch {
    throw new Error("The attributes are no JSON object, for example {\"tier\": \"gold\"}.");
  }
  localStorage.setItem("sim-attributes", attributes);
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  await call("PUT", `/v1/users/${id}-user`, { attributes: parsed, consents: { push: true }, timezone });
  const known = await ifThere(get(`/v1/devices/${id}`));
  if (known) return;
  try {
    await call("PUT", `/v1/devices/${id}`, { user_id: `${id}-user`, timezone, tags: ["simulated"], consents: { push: true, location: "precise" } });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    tell(error);
  }
}
