// Shows pushes, opens what they point to, and tells the gateway what became of them.
//
// A push is Declarative Web Push JSON: {"web_push": 8030, "notification": {...}}. Everything that is
// posted goes to addresses that the push itself carries, so another site's worker can take this in:
// importScripts("https://gateway.example/push/sw.js").
"use strict";

const gatewayPush = {
  read(data) {
    try {
      const message = data.json();
      if (message.notification && message.notification.title) return message;
    } catch {
      // not ours: shown as it is, because a push that shows nothing costs the permission
    }
    return { notification: { title: data ? data.text().slice(0, 200) : "New message" } };
  },

  async received(data) {
    const message = gatewayPush.read(data);
    const { title, navigate, actions = [], ...options } = message.notification;
    options.data = { ...options.data, navigate };
    options.actions = actions.slice(0, Notification.maxActions || 0);
    const kinds = ["delivered"];
    try {
      await self.registration.showNotification(title, options);
      kinds.push("shown");
      if ("app_badge" in message && navigator.setAppBadge) await navigator.setAppBadge(message.app_badge);
    } finally {
      await gatewayPush.tell(options.data, ...kinds);
    }
  },

  async clicked(data, action) {
    const chosen = action ? (data.actions || {})[action] || {} : data;
    const told = action ? gatewayPush.post(chosen.url) : gatewayPush.tell(data, "opened");
    await Promise.all([told, gatewayPush.open(chosen.navigate || chosen.deep_link)]);
  },

  async open(url) {
    if (!/^https?:/.test(url || "")) return;
    const pages = await clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = pages.find((one) => one.url === url);
    try {
      await (page ? page.focus() : clients.openWindow(url));
    } catch (error) {
      console.warn("not opened", error.message);
    }
  },

  tell(data, ...kinds) {
    if (!data || !data.receipt_url) return undefined;
    const at = Date.now();
    const { push_id, receipt_token: token } = data;
    return gatewayPush.post(data.receipt_url, kinds.map((kind) => ({ push_id, token, kind, at, channel: "web_push" })));
  },

  async post(url, body) {
    if (!url) return;
    // no-cors and text: no preflight, wherever the worker lives; the answer says nothing of use.
    const request = { method: "POST", mode: "no-cors", credentials: "omit", keepalive: true };
    if (body) request.body = JSON.stringify(body);
    for (const pause of [1000, 5000, 0]) {
      try {
        await fetch(url, request);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  },
};

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
self.addEventListener("push", (event) => event.waitUntil(gatewayPush.received(event.data)));
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(gatewayPush.clicked(event.notification.data || {}, event.action));
});
self.addEventListener("notificationclose", (event) => {
  const told = gatewayPush.tell(event.notification.data, "dismissed");
  if (told) event.waitUntil(told);
});
