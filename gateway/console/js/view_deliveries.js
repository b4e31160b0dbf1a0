/** Numbers: what was decided, what was sent, what became of it; dead letters; CSV. */

import { call, csv, download, get, ifThere, list, may } from "./api.js";
import { chart } from "./chart.js";
import { badge, empty, fill, h, select, tell, time, toast } from "./dom.js";

const MOST_STEPS = 5000;
const HOUR_MS = 3_600_000;
const SPANS = /** @type {[string, string][]} */ ([["1", "the last hour"], ["24", "the last day"], ["168", "the last week"]]);
const SHOWN = 100;
const RECEIPTS = ["delivered", "shown", "opened", "action"];

/** @type {import("./app.js").View} */
export async function view(place, signal) {
  const span = select(SPANS, localStorage.getItem("span") ?? "1", { "aria-label": "Time", onchange: () => { localStorage.setItem("span", span.value); draw().catch(tell); } });
  const body = h("div", {});
  place.append(h("div", { class: "page" },
    h("div", { class: "row" }, h("h1", { class: "grow" }, "Numbers"), h("label", { class: "check" }, "of", span), h("button", { onclick: () => draw().catch(tell) }, "Refresh")), body));

  /** @type {AbortController} */
  let drawing = new AbortController();
  signal.addEventListener("abort", () => drawing.abort());
  async function draw() {
    drawing.abort();
    drawing = new AbortController();
    const now = drawing.signal;
    const since = new Date(Date.now() - Number(span.value) * HOUR_MS).toISOString();
    const [stats, steps, dead] = await Promise.all([
      get("/v1/stats", { since }, now),
      list("/v1/deliveries", { after: since }, MOST_STEPS, now),
      ifThere(get("/v1/dead-letters", { limit: 50 }, now)),
    ]);
    if (now.aborted) return;
    if (!Object.keys(stats.events).length && !steps.items.length) {
      return fill(body, h("div", { class: "card" }, empty("Nothing happened in this time", "Choose a longer time, or make something happen in ", h("a", { href: "/try" }, "Try it"), ".")));
    }
    fill(body, figures(stats, steps.items, dead), charts(steps, since, now),
      funnels(stats, steps), dead?.items.length ? deadLetters(dead, () => draw().catch(tell)) : null, table(steps));
  }
  await draw();
}

/** @param {Record<string, number>} counts */
const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

/** @param {any} stats @param {any[]} steps @param {any} dead */
function figures(stats, steps, dead) {
  const decisions = /** @type {Record<string, number>[]} */ (Object.values(stats.decisions));
  const sent = decisions.reduce((all, one) => all + (one.sent ?? 0), 0);
  const opened = steps.filter((one) => one.state === "opened").length;
  const shown = { Events: sum(stats.events), Decisions: decisions.reduce((all, one) => all + sum(one), 0), Sent: sent, Opened: opened, "Dead letters": dead?.total ?? 0, Devices: stats.devices, Geofences: stats.documents.geofences };
  return h("div", {}, h("div", { class: "figures" }, Object.entries(shown).map(([name, value]) => h("div", { class: "figure" }, h("small", {}, name), h("b", {}, value.toLocaleString())))),
    stats.is_complete ? null : h("p", { class: "note" }, "More happened in this time than is counted here."));
}

/** @param {{items: any[], isMore: boolean}} steps @param {string} since @param {AbortSignal} signal */
function charts({ items, isMore }, since, signal) {
  if (!items.length) return null;
  const from = isMore ? Date.parse(items.at(-1).at) : Date.parse(since);
  const width_ms = [60_000, 300_000, 900_000, HOUR_MS, 6 * HOUR_MS].find((one) => (Date.now() - from) / one <= 60) ?? 24 * HOUR_MS;
  const start = Math.floor(from / width_ms);
  const buckets = Math.floor(Date.now() / width_ms) - start + 1;
  const count = (/** @type {string[]} */ states) => {
    const counts = new Array(buckets).fill(0);
    for (const one of items) if (states.includes(one.state)) counts[Math.floor(Date.parse(one.at) / width_ms) - start] += 1;
    return counts;
  };
  const at_s = Array.from({ length: buckets }, (_, i) => ((start + i) * width_ms) / 1000);
  const unit = width_ms < HOUR_MS ? `${width_ms / 60_000} min` : `${width_ms / HOUR_MS} h`;
  const series = { sent: count(["sent"]), suppressed: count(["suppressed"]), "shown or opened": count(["shown", "opened"]), failed: count(["dead", "undeliverable", "unknown"]), retries: count(["retrying"]) };
  const used = Object.fromEntries(Object.entries(series).filter(([name, values]) => name === "sent" || values.some(Boolean)));
  return h("div", { class: "card" }, h("h2", {}, `Pushes in ${unit}`), isMore ? h("p", { class: "note" }, `The latest ${items.length.toLocaleString()} steps.`) : null, chart(at_s, used, `Pushes in ${unit}`, signal));
}

/** @param {any} stats @param {{items: any[], isMore: boolean}} steps */
function funnels(stats, { items, isMore }) {
  const triggers = Object.entries(/** @type {Record<string, Record<string, number>>} */ (stats.decisions)).sort((a, b) => sum(b[1]) - sum(a[1]));
  const heard = (/** @type {string} */ id, /** @type {string} */ state) => new Set(items.filter((one) => one.trigger_id === id && one.state === state).map((one) => one.push_id.split("/")[0])).size;
  const rows = triggers.map(([id, results]) => {
    const [all, sent] = [sum(results), results.sent ?? 0];
    const reasons = Object.entries(results).filter(([name]) => name !== "sent").sort((a, b) => b[1] - a[1]);
    return h("tr", {},
      h("td", {}, h("a", { href: `/triggers?id=${encodeURIComponent(id)}` }, id), h("progress", { max: all, value: sent, title: `${sent} of ${all} sent`, "aria-label": `${sent} of ${all} sent` })),
      [all, sent, ...RECEIPTS.map((state) => heard(id, state))].map((one) => h("td", { class: "number" }, one.toLocaleString())),
      h("td", {}, h("div", { class: "row" }, reasons.map(([name, count]) => h("span", {}, badge(name), ` ${count.toLocaleString()}`)))));
  });
  const columns = ["trigger", "decided", "result", "count"];
  const flat = triggers.flatMap(([id, results]) => Object.entries(results).map(([result, count]) => ({ trigger: id, decided: sum(results), result, count })));
  return h("div", { class: "card scroll" },
    h("div", { class: "row" }, h("h2", { class: "grow" }, "From event to answer, by trigger"), h("button", { onclick: () => download("triggers.csv", csv(columns, flat), "text/csv") }, "CSV")),
    h("table", { class: "wide" }, h("thead", {}, h("tr", {}, h("th", {}, "Trigger"), ["Decided", "Sent", "Delivered", "Shown", "Opened", "Acted"].map((one) => h("th", { class: "number" }, one)), h("th", {}, "Not sent, because"))),
      h("tbody", {}, rows)),
    isMore ? h("p", { class: "note" }, "Delivered to acted: of the latest steps alone.") : null);
}

/** @param {any} dead @param {() => void} again */
function deadLetters(dead, again) {
  const act = async (/** @type {any} */ body) => {
    const done = await call("POST", "/v1/dead-letters/replay", body);
    toast(`${done.replayed} sent again.`);
    again();
  };
  return h("div", { class: "card scroll" },
    h("div", { class: "row" }, h("h2", { class: "grow" }, `${dead.total} dead letters`), may("manage") ? h("button", { onclick: () => act({ all: true }).catch(tell) }, "Send all again") : null),
    h("table", { class: "stack" }, h("tbody", {}, dead.items.map((/** @type {any} */ one) => h("tr", {},
      h("td", {}, time(one.died_at)), h("td", {}, one.push?.trigger_id ?? "unreadable"), h("td", {}, one.push ? h("a", { href: `/explain?device=${encodeURIComponent(one.push.device_id)}` }, one.push.device_id) : ""), h("td", {}, one.reason),
      h("td", {}, may("manage") ? h("button", { onclick: () => act({ ids: [one.id] }).catch(tell) }, "Send again") : null))))));
}

/** @param {{items: any[], isMore: boolean}} steps */
function table({ items }) {
  const states = [...new Set(items.map((one) => one.state))].sort();
  const rows = h("tbody", {});
  const chosen = select([["", "all steps"], ...states], "", { "aria-label": "Step", onchange: () => draw() });
  const kept = () => items.filter((one) => !chosen.value || one.state === chosen.value);
  function draw() {
    fill(rows, kept().slice(0, SHOWN).map((one) => h("tr", {},
      h("td", {}, time(one.at)), h("td", {}, badge(one.state)), h("td", {}, one.trigger_id || "direct"),
      h("td", {}, h("a", { href: `/explain?${new URLSearchParams({ device: one.device_id })}` }, one.device_id)), h("td", {}, one.channel ?? ""), h("td", {}, one.reason ?? ""))));
  }
  draw();
  const columns = ["at", "state", "trigger_id", "device_id", "user_id", "channel", "provider", "attempt", "reason", "push_id", "event_id"];
  return h("div", { class: "card scroll" },
    h("div", { class: "row" }, h("h2", { class: "grow" }, "Steps of pushes, newest first"), h("div", {}, chosen), h("button", { onclick: () => download("deliveries.csv", csv(columns, kept()), "text/csv") }, "CSV")),
    h("table", { class: "stack" }, h("thead", {}, h("tr", {}, ["At", "Step", "Trigger", "Device", "Channel", "Reason"].map((one) => h("th", {}, one)))), rows));
}
