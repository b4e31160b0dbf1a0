/** What a trigger would have done: played over recorded traffic or a file, nothing sent. */

import { call, get, ifThere, queryOf } from "./api.js";
import { chart } from "./chart.js";
import { badge, clock, field, fill, h, select, tell, toast } from "./dom.js";

const MEDIA = /** @type {Record<string, string>} */ ({ csv: "text/csv", gpx: "application/gpx+xml", geojson: "application/geo+json", ndjson: "application/x-ndjson", json: "application/json" });
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/**
 * @param {() => any} draft the trigger as it stands in the editor
 * @param {boolean} isStored whether files can be played, which take the stored trigger
 * @param {AbortSignal} signal
 */
export function backtestPanel(draft, isStored, signal) {
  const days = select([["1", "the last day"], ["7", "the last week"], ["30", "the last month"]], "7");
  const result = h("div", { role: "status" });
  const file = h("input", { type: "file", hidden: true, accept: ".csv,.gpx,.geojson,.ndjson,.json", "aria-label": "File of positions", onchange: () => {
    const chosen = file.files?.[0];
    file.value = "";
    if (chosen) void run(() => playFile(chosen));
  } });
  let ending = new AbortController();

  /** @param {() => Promise<any>} play */
  async function run(play) {
    ending.abort();
    ending = new AbortController();
    signal.addEventListener("abort", () => ending.abort());
    const started = Date.now();
    const words = h("span", { class: "grow" });
    const count = setInterval(() => { words.textContent = `Playing, ${Math.round((Date.now() - started) / 1000)} s …`; }, 250);
    fill(result, h("div", { class: "row" }, words, h("button", { onclick: () => { ending.abort(); fill(result); } }, "Stop")), h("progress", { "aria-label": "Playing" }));
    try {
      const report = await play();
      fill(result, report && show(report, signal));
    } catch (error) {
      fill(result);
      tell(error);
    } finally {
      clearInterval(count);
    }
  }

  const path = () => `/v1/triggers/${encodeURIComponent(draft().id)}/backtest`;
  /** @param {File} chosen */
  function playFile(chosen) {
    const type = MEDIA[chosen.name.split(".").at(-1)?.toLowerCase() ?? ""];
    if (!type) throw new Error("Choose a CSV, GPX, GeoJSON, NDJSON or JSON file.");
    return call("POST", path() + queryOf({ assume_reachable: "true", device: "backtest" }), chosen, { headers: { "Content-Type": type }, signal: ending.signal });
  }
  async function playRecorded() {
    const settings = await ifThere(get("/v1/settings"));
    if (settings && !settings.recording) {
      fill(result, h("p", {}, "Positions are not recorded yet. Recording keeps every position for some days; tell people so."),
        h("button", { onclick: () => call("PATCH", "/v1/settings", { recording: true }).then(() => { fill(result); toast("Recording from now on."); }, tell) }, "Record from now on"));
      return null;
    }
    const since = new Date(Date.now() - Number(days.value) * DAY_MS).toISOString();
    return call("POST", path(), { trigger: draft(), recorded: { since } }, { signal: ending.signal });
  }

  return h("div", { class: "card" }, h("h2", {}, "What would it have done?"),
    h("div", { class: "row end" }, field("Recorded traffic of", days), h("button", { onclick: () => run(playRecorded) }, "Play"),
      isStored ? h("button", { onclick: () => file.click() }, "Play a file") : null, file),
    h("p", { class: "note" }, `The same engine, nothing is sent. The recording is played with the trigger as it stands here${isStored ? ", a file with the saved one." : "."}`), result);
}

/** Every hour from the first to the last with pushes, and one on either side. @param {any[]} given @param {AbortSignal} signal */
function hours(given, signal) {
  const known = new Map(given.map((one) => [Date.parse(one.at), one]));
  const [first, last] = [Math.min(...known.keys()) - HOUR_MS, Math.max(...known.keys()) + HOUR_MS];
  const all = Array.from({ length: (last - first) / HOUR_MS + 1 }, (_, i) => first + i * HOUR_MS);
  const count = (/** @type {string} */ name) => all.map((at) => known.get(at)?.[name] ?? 0);
  return chart(all.map((at) => at / 1000), { pushes: count("pushes"), people: count("people") }, "Pushes by hour", signal);
}

/** @param {any} report @param {AbortSignal} signal */
function show(report, signal) {
  const reasons = Object.entries(report.reasons).sort((a, b) => Number(b[1]) - Number(a[1]));
  const { traffic } = report;
  return h("div", {},
    h("p", {}, h("b", {}, `${report.pushes.toLocaleString()} pushes to ${report.people.toLocaleString()} people`),
      `, of ${report.occasions.toLocaleString()} occasions in ${traffic.pings.toLocaleString()} positions of ${traffic.devices.toLocaleString()} devices.`),
    report.stopped ? h("p", { class: "wrong" }, `Ended early: ${report.stopped}`) : null,
    reasons.length ? h("div", { class: "row" }, reasons.map(([name, count]) => h("span", {}, badge(name), ` ${count}`))) : null,
    report.hours.length ? hours(report.hours, signal) : null,
    report.pushes_per_person.length ? h("p", { class: "note" }, report.pushes_per_person.map((/** @type {any} */ one) => `${one.people} people got ${one.pushes}`).join(", ")) : null,
    report.examples.length ? h("details", {}, h("summary", {}, "Examples"), h("ul", { class: "plain items" }, report.examples.map((/** @type {any} */ one) =>
      h("li", {}, h("time", {}, clock(one.at)), badge(one.result), h("span", { class: "what" }, [one.device_id, one.zone_id, one.detail].filter(Boolean).join(" · ")))))) : null);
}
