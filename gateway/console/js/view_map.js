/** The map: geofences to draw, edit and import; devices and events as they happen. */

import { call, follow, get, may } from "./api.js";
import { badge, empty, fill, h, tell, time, toast } from "./dom.js";
import { newFence, openFence } from "./fence_panel.js";
import { Devices, Fences, openMap } from "./map.js";
import { Pencil } from "./pencil.js";

const MOST_LINES = 60;
const MEDIA = { json: "application/geo+json", geojson: "application/geo+json", kml: "application/vnd.google-earth.kml+xml", csv: "text/csv" };

/** @type {import("./app.js").View} */
export async function view(place, signal) {
  const canvas = h("div", { class: "map-canvas", role: "application", "aria-label": "Map of geofences and devices" });
  const tools = h("div", { class: "tools" });
  const strip = h("div", { class: "strip" }, "Loading …");
  const side = h("aside", { class: "side", "aria-label": "Details" });
  const mapPlace = h("div", { class: "map" }, canvas, tools, strip);
  place.append(h("div", { class: "split" }, mapPlace, side));

  const map = await openMap(canvas, signal);
  const fences = new Fences(map, signal, (shown, isMore) => {
    strip.textContent = isMore ? `The first ${shown.toLocaleString()} geofences here; zoom in for all` : `${shown.toLocaleString()} geofences in view`;
  });
  const devices = new Devices(map);
  const pencil = new Pencil(map, signal);
  const feed = h("ul", { class: "plain items", "aria-label": "Events" });
  const state = h("span", {}, badge("connecting"));
  const live = h("div", {}, h("div", { class: "row" }, h("h2", { class: "grow" }, "Events"), state), feed);

  const desk = {
    panel: side, pencil, fences,
    close() {
      pencil.end();
      fences.hidden = null;
      fences.draw();
      fill(side, live);
    },
  };

  drawTools(tools, desk);
  map.on("click", (event) => {
    if (pencil.draw.enabled) return;
    const [hit] = map.queryRenderedFeatures(event.point, { layers: ["devices", "fences", "corridors"] });
    if (!hit) return;
    const id = String(hit.properties.id);
    if (hit.layer.id === "devices") history.pushState(null, "", `/explain?device=${encodeURIComponent(id)}`), dispatchEvent(new PopStateEvent("popstate"));
    else openFence(desk, id).catch(tell);
  });
  for (const layer of ["devices", "fences", "corridors"]) {
    map.on("mouseenter", layer, () => { if (!pencil.draw.enabled) map.getCanvas().style.cursor = "pointer"; });
    map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
  }
  takeFiles(mapPlace, fences);
  place.addEventListener("keydown", (event) => { if (event.key === "Escape") desk.close(); });

  desk.close();
  await fences.findFirst();
  const past = (await get("/v1/events", { limit: 300 })).items;
  past.toReversed().forEach((/** @type {any} */ event) => devices.take(event));
  fill(feed, past.slice(0, MOST_LINES).map(line));
  if (!past.length) feed.append(h("li", {}, empty("No events yet", "Draw a geofence, then post pings, or drag a phone in ", h("a", { href: "/try" }, "Try it"), ".")));
  follow((event) => {
    devices.take(event);
    if (event.zone && fences.known.has(event.zone.id)) fences.flash(event.zone.id);
    feed.querySelector(".empty")?.closest("li")?.remove();
    feed.prepend(line(event));
    while (feed.childElementCount > MOST_LINES) feed.lastElementChild?.remove();
  }, signal, { onState: (isLive) => fill(state, badge(isLive ? "live" : "reconnecting")) });
}

/** @param {any} event */
function line(event) {
  const who = `/explain?device=${encodeURIComponent(event.device_id)}`;
  return h("li", {}, time(event.occurred_at), badge(event.kind),
    h("span", { class: "what" }, h("a", { href: who }, event.device_id), event.zone ? ` · ${event.zone.id}` : event.name ? ` · ${event.name}` : ""));
}

/** @param {HTMLElement} tools @param {import("./fence_panel.js").Desk} desk */
function drawTools(tools, desk) {
  if (!may("manage")) return;
  const file = h("input", { type: "file", hidden: true, accept: ".json,.geojson,.kml,.csv", "aria-label": "File of geofences", onchange: () => {
    if (file.files?.[0]) void importFile(file.files[0], desk.fences);
    file.value = "";
  } });
  const pen = (/** @type {"circle" | "polygon"} */ mode, /** @type {string} */ words, /** @type {string} */ how) => h("button", { onclick: () => {
    toast(how);
    desk.pencil.begin(mode, (feature) => newFence(desk, feature));
  } }, words);
  fill(tools,
    pen("circle", "○ Circle", "Click the centre, then the edge."),
    pen("polygon", "⬠ Polygon", "Click corner by corner; click the last one twice."),
    h("button", { onclick: () => file.click() }, "Import file"), file,
    h("a", { class: "button", href: "/v1/geofences/export?format=geojson", download: "geofences.json" }, "Export"));
}

/** @param {HTMLElement} place @param {Fences} fences */
function takeFiles(place, fences) {
  if (!may("manage")) return;
  place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("dropping"); });
  place.addEventListener("dragleave", () => place.classList.remove("dropping"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("dropping");
    const file = event.dataTransfer?.files[0];
    if (file) void importFile(file, fences);
  });
}

/** @param {File} file @param {Fences} fences */
async function importFile(file, fences) {
  const ending = /** @type {keyof MEDIA} */ (file.name.split(".").at(-1)?.toLowerCase() ?? "");
  const type = MEDIA[ending];
  if (!type) return toast(`${file.name} is none of GeoJSON, KML and CSV.`, { kind: "bad" });
  try {
    const report = await call("POST", "/v1/geofences/import", file, { headers: { "Content-Type": type } });
    const told = `${report.created} created, ${report.updated} updated, ${report.unchanged ?? 0} unchanged`;
    const first = report.errors?.[0];
    if (report.failed) toast(`${told}, ${report.failed} refused: ${first ? `${first.id ?? `entry ${first.index}`}: ${first.detail}` : ""}`, { kind: "bad" });
    else toast(told);
    localStorage.removeItem("map-place");
    await fences.findFirst();
  } catch (error) {
    tell(error);
  }
}
