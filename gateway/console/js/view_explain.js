/** Why: what happened to a device or a user, each decision with its checks, each push to its end. */

import { call, get, list } from "./api.js";
import { go } from "./app.js";
import { badge, clock, empty, field, fill, h, tell, time, toast } from "./dom.js";
import { openMap, maplibre } from "./map.js";
import { drawPhones } from "./phone.js";
import { boxOf, drawn } from "./shapes.js";

const NAMES = ["device", "user", "trigger", "zone", "since"];

/** @type {import("./app.js").View} */
export async function view(place, signal) {
  const query = new URLSearchParams(location.search);
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  const answers = h("div", {});
  place.append(h("div", { class: "page" }, h("h1", {}, "Why did it come, or not?"), question(asked), answers));
  if (asked.device || asked.user) return about(answers, asked, signal);
  const items = await recent(asked);
  fill(answers, items.length
    ? h("div", { class: "card" }, h("h2", {}, asked.trigger ? "Pushes of this trigger" : "Lately"), h("ul", { class: "plain items" }, items))
    : h("div", { class: "card" }, empty("Nothing happened yet", "As soon as somebody enters a geofence, it is here. ", h("a", { href: "/try" }, "Drag a phone in"), ".")));
}

/** @param {Record<string, string>} asked */
function question(asked) {
  const inputs = Object.fromEntries(NAMES.map((name) => [name, h("input", { value: asked[name], type: name === "since" ? "datetime-local" : "text" })]));
  if (asked.since) inputs.since.value = local(asked.since);
  const form = h("form", { class: "card row end" },
    field("Device", inputs.device), field("or user", inputs.user), field("Trigger", inputs.trigger), field("Place", inputs.zone), field("Since", inputs.since),
    h("button", { class: "main" }, "Explain"),
    h("button", { type: "button", onclick: () => navigator.clipboard.writeText(location.href).then(() => toast("Link copied."), () => toast("Copy the address of this page.")) }, "Copy link"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = NAMES.map((name) => [name, inputs[name].value.trim()]).filter(([, value]) => value)
      .map(([name, value]) => [name, name === "since" ? new Date(value).toISOString() : value]);
    go(`/explain?${new URLSearchParams(given)}`);
  });
  return form;
}

/** What happened to anybody: links to their stories. @param {Record<string, string>} asked */
async function recent(asked) {
  if (asked.trigger) {
    const { items } = await get("/v1/deliveries", { trigger: asked.trigger, after: asked.since, limit: 100 });
    return items.map((/** @type {any} */ one) => h("li", {}, time(one.at), badge(one.state),
      h("span", { class: "what" }, h("a", { href: link(one.device_id, asked.trigger) }, one.device_id), ` ${one.channel ?? ""} ${one.reason ?? ""}`)));
  }
  const { items } = await get("/v1/events", { zone: asked.zone, after: asked.since, limit: 100 });
  return items.map((/** @type {any} */ one) => h("li", {}, time(one.occurred_at), badge(one.kind),
    h("span", { class: "what" }, h("a", { href: link(one.device_id, "") }, one.device_id), one.zone ? ` · ${one.zone.id}` : "")));
}

/** @param {HTMLElement} place @param {Record<string, string>} asked @param {AbortSignal} signal */
async function about(place, asked, signal) {
  const who = { device: asked.device, user: asked.user };
  const [decisions, events, steps] = await Promise.all([
    get("/v1/explain", { ...who, trigger: asked.trigger, since: asked.since, limit: 100 }),
    list("/v1/events", { ...who, zone: asked.zone, after: asked.since }, 200),
    list("/v1/deliveries", { ...who, trigger: asked.trigger, after: asked.since }, 300),
  ]);
  const shown = decisions.items.filter((/** @type {any} */ one) => !asked.zone || one.zone_id === asked.zone);
  const canvas = h("div", { class: "map-canvas" });
  const story = h("div", {});
  fill(place, h("div", { class: "columns" },
    h("div", {}, h("h2", {}, `${shown.length} decisions`), shown.length ? shown.map((/** @type {any} */ one, /** @type {number} */ i) => decision(one, steps.items, i === 0))
      : h("div", { class: "card" }, empty("No decision", events.items.length ? "Events happened, and no trigger listens to them." : "Nothing is known of this one in this time."))),
    h("div", {}, h("div", { class: "card track", hidden: !events.items.some((one) => one.position) }, canvas),
      h("div", { class: "card" }, h("h2", {}, "Events"), story))));
  fill(story, h("ul", { class: "plain items" }, events.items.map((one) => h("li", {}, time(one.occurred_at), badge(one.kind),
    h("span", { class: "what" }, one.zone?.id ?? one.name ?? "", " ", h("small", {}, facts(one)))))));
  await drawTrack(canvas, events.items, signal);
}

/** @param {any} event */
function facts(event) {
  const known = [event.confidence && `${event.confidence} confidence`, event.dwell_s && `after ${event.dwell_s} s`, event.reason,
    event.evidence_age_s && `last heard ${Math.round(event.evidence_age_s)} s before`, late(event) > 5 && `known ${Math.round(late(event))} s later`, event.is_mock && "mocked"];
  return known.filter(Boolean).join(", ");
}

/** @param {any} event seconds between happening and knowing */
function late(event) {
  return (Date.parse(event.received_at) - Date.parse(event.occurred_at)) / 1000;
}

/** @param {any} one @param {any[]} steps @param {boolean} isFirst */
function decision(one, steps, isFirst) {
  const own = steps.filter((step) => step.push_id.split("/")[0] === one.push_id).toReversed();
  const checks = one.checks.map((/** @type {any} */ check) => h("li", { class: check.ok ? "" : "failed" },
    h("span", { "aria-label": check.ok ? "passed" : "failed" }, check.ok ? "✓" : "✗"), h("span", {}, `${check.name}: ${check.detail || (check.ok ? "ok" : "no")}`)));
  return h("article", { class: `card decision ${one.result === "sent" ? "sent" : ""}` },
    h("div", { class: "row" }, badge(one.result), h("h3", { class: "grow" }, h("a", { href: `/triggers?id=${encodeURIComponent(one.trigger_id)}` }, one.trigger_id)), time(one.decided_at)),
    h("p", {}, one.summary),
    h("details", { open: isFirst }, h("summary", {}, `${checks.length} checks on ${one.event_kind ?? "the event"} ${one.zone_id ?? ""}`), h("ul", { class: "plain check-list" }, checks)),
    own.length ? h("ul", { class: "plain items" }, own.map((step) => h("li", {}, time(step.at), badge(step.state),
      h("span", { class: "what" }, [step.channel, step.provider, step.attempt > 1 && `attempt ${step.attempt}`, step.reason, step.due_at && `again at ${clock(step.due_at)}`].filter(Boolean).join(" · "))))) : null,
    one.result === "sent" ? looks(one, own[0]?.variant ?? 0) : null);
}

/** A button that draws the push of a decision, rendered for its device and place. @param {any} one @param {number} variant */
function looks(one, variant) {
  const phones = h("div", { class: "phones" });
  const draw = async () => {
    const trigger = await get(`/v1/triggers/${encodeURIComponent(one.trigger_id)}`);
    const { message } = trigger.variants[variant] ?? trigger.variants[0];
    const zone = one.zone_id ? { zone: { id: one.zone_id } } : {};
    drawPhones(phones, message, await call("POST", "/v1/messages/preview", { message, class: trigger.class ?? "marketing", device_id: one.device_id, ...zone }));
  };
  return h("div", {}, h("button", { onclick: () => draw().catch(tell), title: "Rendered now, from the trigger as it stands" }, "Show the push"), phones);
}

/** @param {HTMLElement} canvas @param {any[]} events newest first @param {AbortSignal} signal */
async function drawTrack(canvas, events, signal) {
  const located = events.filter((one) => one.position).toReversed();
  if (!located.length) return;
  const zones = [...new Set(located.map((one) => one.zone).filter((zone) => zone?.type === "geofence").map((zone) => zone.id))].slice(0, 50);
  const fences = (await Promise.all(zones.map((id) => get(`/v1/geofences/${encodeURIComponent(id)}`).catch(() => null)))).filter(Boolean);
  if (signal.aborted) return;
  const map = await openMap(canvas, signal, { remember: false });
  const line = located.map((one) => [one.position.lon, one.position.lat]);
  const points = located.map((one) => ({ type: "Feature", properties: { id: `${one.kind} ${clock(one.occurred_at)}` }, geometry: { type: "Point", coordinates: [one.position.lon, one.position.lat] } }));
  const features = fences.map(drawn);
  const put = (/** @type {string} */ source, /** @type {any[]} */ list_) => /** @type {maplibre.GeoJSONSource} */ (map.getSource(source)).setData({ type: "FeatureCollection", features: list_ });
  put("fences", features);
  put("devices", points);
  if (line.length > 1) put("trails", [{ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line } }]);
  const box = boxOf([...features, ...points]);
  if (box) map.fitBounds(box, { padding: 40, maxZoom: 17, duration: 0 });
}

/** @param {string} device @param {string} trigger */
function link(device, trigger) {
  return `/explain?${new URLSearchParams({ device, ...(trigger ? { trigger } : {}) })}`;
}

/** An instant as a local date-time field wants it. @param {string} instant */
function local(instant) {
  const date = new Date(instant);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
