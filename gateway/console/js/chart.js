/** Lines over time, with uPlot. */

import UPlot from "uplot";
import { h } from "./dom.js";

const COLORS = ["#2f6fed", "#1c9a5b", "#d97706", "#c2255c", "#7048c8", "#0b8a9e"];

/**
 * A chart that follows the width of its place.
 * @param {number[]} at_s epoch seconds @param {Record<string, number[]>} series
 * @param {string} title @param {AbortSignal} signal
 */
export function chart(at_s, series, title, signal) {
  const place = h("div", { class: "chart" });
  const style = getComputedStyle(document.documentElement);
  const axis = { stroke: style.getPropertyValue("--soft").trim(), grid: { stroke: style.getPropertyValue("--line").trim(), width: 1 }, ticks: { show: false } };
  const options = {
    width: 300, height: 220, title: "", cursor: { drag: { x: false, y: false } },
    axes: [axis, { ...axis, size: 46 }], scales: { y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => /** @type {[number, number]} */ ([0, Math.max(4, max * 1.1)]) } },
    series: [{}, ...Object.keys(series).map((label, i) => ({ label, stroke: COLORS[i % COLORS.length], width: 2, fill: `${COLORS[i % COLORS.length]}18`, points: { show: at_s.length < 3 } }))],
  };
  const plot = new UPlot(/** @type {any} */ (options), [at_s, ...Object.values(series)], place);
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `${title}: ${Object.entries(series).map(([name, values]) => `${name} ${values.reduce((a, b) => a + b, 0)}`).join(", ")}`);
  const watch = new ResizeObserver(() => { if (place.clientWidth) plot.setSize({ width: place.clientWidth, height: 220 }); });
  watch.observe(place);
  signal.addEventListener("abort", () => { watch.disconnect(); plot.destroy(); });
  return place;
}
