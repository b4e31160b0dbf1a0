/** How a message looks when it arrives: a sketch of the three platforms, from the exact payload. */

import { badge, fill, h } from "./dom.js";

/** @typedef {{payload?: any, size: number, limit: number, unit?: string, degraded?: string[], error?: string}} Platform */

const PHONES = /** @type {const} */ ([["apns", "iPhone", "ios"], ["fcm", "Android", "android"], ["webpush", "Browser", "web"]]);

/**
 * The previews of a rendered message.
 * @param {HTMLElement} place
 * @param {any} message as it is configured
 * @param {any | null} preview the answer of /v1/messages/preview; null if there is none
 */
export function drawPhones(place, message, preview) {
  const shown = { ...message, title: preview?.title ?? message.title, subtitle: preview?.subtitle ?? message.subtitle, body: preview?.body ?? message.body };
  fill(place, PHONES.map(([name, words, look]) => phone(shown, words, look, preview?.platforms?.[name])),
    preview ? others(preview.platforms) : null);
}

/** @param {any} message @param {string} words @param {string} look @param {Platform} [platform] */
function phone(message, words, look, platform) {
  const size = platform && !platform.error ? `${platform.size ?? 0} of ${platform.limit} bytes` : "";
  const lost = platform?.degraded?.length ? `Left out to fit: ${platform.degraded.join(", ")}` : "";
  return h("div", { class: `phone ${look}` }, h("b", {}, words),
    platform?.error ? h("div", { class: "push" }, badge("rejected"), h("p", {}, platform.error)) : push(message, "now"),
    h("small", {}, [size, lost].filter(Boolean).join(". ")));
}

/**
 * One notification. Pictures are named, not loaded: the console asks nobody but its gateway.
 * @param {any} message @param {string} when @param {(action: any) => void} [onAction]
 */
export function push(message, when, onAction) {
  const media = message.image_url || message.video_url || message.audio_url || message.media?.[0]?.url;
  const actions = message.actions ?? [];
  return h("div", { class: "push" },
    h("header", {}, h("span", {}, "Your app"), h("span", {}, when)),
    message.title ? h("h4", {}, message.title) : null,
    message.subtitle ? h("p", {}, h("b", {}, message.subtitle)) : null,
    message.body ? h("p", {}, message.body) : null,
    media ? h("div", { class: "media" }, `▣ ${media}`) : null,
    message.carousel?.length ? h("div", { class: "media" }, `▣▣▣ ${message.carousel.length} cards`) : null,
    actions.length ? h("div", { class: "actions" }, actions.map((/** @type {any} */ one) =>
      onAction ? h("button", { onclick: () => onAction(one) }, one.title) : h("span", {}, one.title))) : null);
}

/** @param {Record<string, Platform>} platforms */
function others(platforms) {
  const rows = Object.entries(platforms).filter(([name]) => !PHONES.some(([known]) => known === name));
  return h("details", {}, h("summary", {}, "All payloads"),
    [...PHONES.map(([name]) => /** @type {[string, Platform]} */ ([name, platforms[name]])), ...rows].map(([name, one]) => one &&
      h("details", {}, h("summary", {}, `${name}: ${one.error ? "cannot be sent" : `${one.size ?? 0} of ${one.limit} ${one.unit ?? "bytes"}`}`),
        h("pre", {}, one.error ?? (typeof one.payload === "string" ? one.payload : JSON.stringify(one.payload, null, 2))))));
}
