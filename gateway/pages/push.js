// Subscribes this browser to pushes for one device. The device's token comes behind the '#' of the
// address (#token=...), which no server sees, and is kept for this tab alone.
"use strict";

const state = document.getElementById("state");
const button = document.getElementById("switch");
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token");
let registered; // a promise: this page is outside the worker's scope, so `ready` would never come

function show(text, label, act) {
  state.textContent = text;
  button.hidden = !label;
  button.textContent = label || "";
  button.onclick = act && (() => attempt(act));
}

async function attempt(act) {
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    show(`That did not work: ${error.message}`, "Try again", look);
  } finally {
    button.disabled = false;
  }
}

async function call(method, path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
  return answer.status === 204 ? null : answer.json();
}

function bytes(base64url) {
  const base64 = base64url.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

async function subscribe() {
  if ((await Notification.requestPermission()) !== "granted") return look();
  const registration = await registered;
  const { public_key } = await call("GET", "/v1/web-push/key");
  const options = { userVisibleOnly: true, applicationServerKey: bytes(public_key) };
  const subscription = await registration.pushManager.subscribe(options);
  await call("PUT", "/v1/web-push/subscription", subscription.toJSON());
  return look();
}

async function unsubscribe() {
  const registration = await registered;
  const subscription = await registration.pushManager.getSubscription();
  if (subscription) {
    await call("DELETE", `/v1/web-push/subscription?${new URLSearchParams({ endpoint: subscription.endpoint })}`);
    await subscription.unsubscribe();
  }
  return look();
}

async function look() {
  if (!("serviceWorker" in navigator && "PushManager" in window)) {
    return show("This browser cannot receive pushes here. On an iPhone, add this page to the home screen first.");
  }
  if (!token) return show("Open this page by the link that you were given.");
  const registration = await navigator.serviceWorker.register("/push/sw.js");
  registered = active(registration);
  if (Notification.permission === "denied") {
    return show("Notifications of this page are blocked in the browser's settings.");
  }
  const subscription = await registration.pushManager.getSubscription();
  if (!subscription) return show("Notifications are off.", "Turn on", subscribe);
  // Again on every visit: push services change addresses, and the gateway may have dropped one.
  await call("PUT", "/v1/web-push/subscription", subscription.toJSON());
  return show("Notifications are on.", "Turn off", unsubscribe);
}

function active(registration) {
  const worker = registration.active || registration.waiting || registration.installing;
  return new Promise((resolve) => {
    const settle = () => worker.state === "activated" && resolve(registration);
    worker.addEventListener("statechange", settle);
    settle();
  });
}

attempt(look);
