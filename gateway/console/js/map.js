/**
 * The map: an own style without tiles (unless the operator names some), geofences by viewport,
 * devices with trails. It loads nothing from elsewhere.
 */

import * as maplibre from "maplibre-gl";
import { currentSession, get, list } from "./api.js";
import { tell, throttle } from "./dom.js";
import { boxOf, drawn } from "./shapes.js";

const MOST_FENCES = 3000;
const MOST_DEVICES = 2000;
const TRAIL = 12;
const PLACE = "map-place";

/** @returns {boolean} */
function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** @returns {any} a MapLibre style */
function style() {
  const dark = isDark();
  const { tiles } = currentSession();
  const ink = dark ? "#9fb4d8" : "#33507f";
  const collection = { type: "FeatureCollection", features: [] };
  return {
    version: 8,
    sources: {
      land: { type: "geojson", data: "/console/vendor/land.json" },
      graticule: { type: "geojson", data: collection },
      fences: { type: "geojson", data: collection, promoteId: "id" },
      trails: { type: "geojson", data: collection },
      devices: { type: "geojson", data: collection },
      ...(tiles ? { tiles: { type: "raster", tiles: [tiles], tileSize: 256 } } : {}),
    },
    layers: [
      { id: "water", type: "background", paint: { "background-color": dark ? "#0e1622" : "#dde7f2" } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": dark ? "#161e2a" : "#f4f5f0" } },
      { id: "coast", type: "line", source: "land", paint: { "line-color": dark ? "#34455f" : "#a9b9cf" } },
      { id: "graticule", type: "line", source: "graticule", paint: { "line-color": ink, "line-opacity": 0.13 } },
      ...(tiles ? [{ id: "tiles", type: "raster", source: "tiles" }] : []),
      { id: "corridors", type: "line", source: "fences", filter: ["==", ["geometry-type"], "LineString"],
        layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-color": "#2f6fed", "line-opacity": 0.25,
          "line-width": ["interpolate", ["exponential", 2], ["zoom"], 0, ["get", "width"], 24, ["*", ["get", "width"], 2 ** 24]] } },
      { id: "fences", type: "fill", source: "fences", filter: ["==", ["geometry-type"], "Polygon"],
        paint: { "fill-color": "#2f6fed", "fill-opacity": ["case", ["boolean", ["feature-state", "hit"], false], 0.5, 0.18] } },
      { id: "edges", type: "line", source: "fences", filter: ["==", ["geometry-type"], "Polygon"],
        paint: { "line-color": dark ? "#7ba4ff" : "#2056d8", "line-width": 1.5 } },
      { id: "trails", type: "line", source: "trails",
        paint: { "line-color": dark ? "#f2c14e" : "#b36b00", "line-width": 2, "line-opacity": 0.55 } },
      { id: "devices", type: "circle", source: "devices",
        paint: { "circle-radius": 5, "circle-color": dark ? "#f2c14e" : "#d97706", "circle-stroke-color": dark ? "#10141b" : "#fff", "circle-stroke-width": 1.5 } },
      { id: "names", type: "symbol", source: "fences", minzoom: 14.5,
        layout: { "text-field": ["get", "name"], "text-size": 12, "text-max-width": 9 },
        paint: { "text-color": dark ? "#dbe5f7" : "#1c3260", "text-halo-color": dark ? "#10141b" : "#fff", "text-halo-width": 1.4 } },
    ],
  };
}

/**
 * A map in an element; it is removed when the signal aborts. Resolves when it can be drawn upon.
 * @param {HTMLElement} place @param {AbortSignal} signal
 * @param {{remember?: boolean}} [more] whether it opens where the viewer last was
 */
export async function openMap(place, signal, { remember = true } = {}) {
  const remembered = remember ? JSON.parse(localStorage.getItem(PLACE) ?? "null") : null;
  const map = new maplibre.Map({
    container: place, style: style(), attributionControl: false,
    center: remembered?.center ?? [10, 30], zoom: remembered?.zoom ?? 1.3, renderWorldCopies: false,
  });
  signal.addEventListener("abort", () => map.remove());
  map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibre.ScaleControl({}), "bottom-right");
  if (remember) map.on("moveend", () => localStorage.setItem(PLACE, JSON.stringify({ center: map.getCenter().toArray(), zoom: map.getZoom() })));
  await new Promise((resolve) => map.once("load", resolve));
  const grid = () => /** @type {any} */ (map.getSource("graticule"))?.setData(graticule(map));
  map.on("moveend", grid);
  grid();
  return map;
}

/** @param {maplibre.Map} map meridians and parallels about an eighth of the view apart */
function graticule(map) {
  const bounds = map.getBounds();
  const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  const steps = [30, 10, 5, 1, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001];
  const step = steps.find((one) => (east - west) / one > 5) ?? 0.001;
  const lines = [];
  for (let lon = Math.ceil(west / step) * step; lon <= east; lon += step) lines.push([[lon, south], [lon, north]]);
  for (let lat = Math.ceil(south / step) * step; lat <= north; lat += step) lines.push([[west, lat], [east, lat]]);
  return { type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates: lines } };
}

/** The geofences of a map, loaded for what is in view. */
export class Fences {
  /** @type {Map<string, any>} by id, as the API gave them */
  known = new Map();
  #loading = new AbortController();
  /** @type {string | null} */
  hidden = null;

  /**
   * @param {maplibre.Map} map @param {AbortSignal} signal
   * @param {(shown: number, isMore: boolean) => void} [onShown]
   */
  constructor(map, signal, onShown) {
    this.map = map;
    this.onShown = onShown;
    map.on("moveend", throttle(() => { if (!signal.aborted) void this.load(); }, 150));
    signal.addEventListener("abort", () => this.#loading.abort());
  }

  /** Goes to where the geofences are, unless the viewer has been somewhere before. */
  async findFirst() {
    if (localStorage.getItem(PLACE) && (await this.load())) return;
    const box = boxOf((await get("/v1/geofences", { limit: 300 })).items.map(drawn));
    if (box) this.map.fitBounds(box, { padding: 60, maxZoom: 16, duration: 0 });
    else this.draw();
  }

  /** Loads what is in view; answers how many there are. */
  async load() {
    this.#loading.abort();
    this.#loading = new AbortController();
    const bounds = this.map.getBounds();
    const wide = bounds.getEast() - bounds.getWest() >= 360;
    const west = wide ? -180 : wrapped(bounds.getWest());
    const east = wide ? 180 : wrapped(bounds.getEast());
    const bbox = [west, Math.max(-90, bounds.getSouth()), east, Math.min(90, bounds.getNorth())];
    try {
      const query = { bbox: bbox.map((one) => one.toFixed(6)).join(",") };
      const { items, isMore } = await list("/v1/geofences", query, MOST_FENCES, this.#loading.signal);
      this.known = new Map(items.map((one) => [one.id, one]));
      this.draw();
      this.onShown?.(items.length, isMore);
      return items.length;
    } catch (error) {
      tell(error);
      return 0;
    }
  }

  draw() {
    const features = [...this.known.values()].filter((one) => one.id !== this.hidden).map(drawn);
    /** @type {any} */ (this.map.getSource("fences"))?.setData({ type: "FeatureCollection", features });
  }

  /** Lights a geofence up for a moment. @param {string} id */
  flash(id) {
    const target = { source: "fences", id };
    this.map.setFeatureState(target, { hit: true });
    setTimeout(() => { if (this.map.getSource("fences")) this.map.setFeatureState(target, { hit: false }); }, 1500);
  }
}

/** Devices where they last were, and how they got there. */
export class Devices {
  /** @type {Map<string, [number, number][]>} */
  #trails = new Map();

  /** @param {maplibre.Map} map */
  constructor(map) {
    this.map = map;
    this.draw = throttle(() => this.#draw(), 200);
  }

  /** @param {any} event */
  take(event) {
    if (!event.position) return;
    const trail = this.#trails.get(event.device_id) ?? [];
    this.#trails.delete(event.device_id); // the map keeps the order of arrival
    this.#trails.set(event.device_id, [...trail, /** @type {[number, number]} */ ([event.position.lon, event.position.lat])].slice(-TRAIL));
    if (this.#trails.size > MOST_DEVICES) this.#trails.delete([...this.#trails.keys()][0]);
    this.draw();
  }

  #draw() {
    if (!this.map.getSource("devices")) return;
    const all = [...this.#trails.entries()];
    const features = (/** @type {any[]} */ list) => ({ type: "FeatureCollection", features: list });
    const feature = (/** @type {string} */ id, /** @type {any} */ geometry) => ({ type: "Feature", properties: { id }, geometry });
    /** @type {any} */ (this.map.getSource("devices")).setData(features(
      all.map(([id, trail]) => feature(id, { type: "Point", coordinates: trail.at(-1) }))));
    /** @type {any} */ (this.map.getSource("trails")).setData(features(
      all.filter(([, trail]) => trail.length > 1).map(([id, trail]) => feature(id, { type: "LineString", coordinates: trail }))));
  }
}

/** @param {number} lon */
function wrapped(lon) {
  return ((((lon + 180) % 360) + 360) % 360) - 180;
}

export { maplibre };
