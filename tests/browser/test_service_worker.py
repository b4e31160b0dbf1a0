"""The web-push page and its service worker in a real browser: subscribed, shown, clicked, acted on.

Pushes are delivered over the DevTools protocol, which skips the push service and its encryption
(RFC 8291 is proved elsewhere). A click on a notification of the system cannot be made from
outside, so what the click handlers call is called in the worker itself.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from senders.model import Action, Rendered
from senders.webpush import webpush_payload

pytestmark = pytest.mark.browser

FAR = 4_000_000_000_000
ENDPOINT = "https://push.example/wpush/v2/abc"
# What a push service would answer; there is none to be reached from here.
SUBSCRIBING = """
(() => {
  const kept = "the subscription";
  const subscription = () => sessionStorage.getItem(kept) && {
    endpoint: ENDPOINT,
    toJSON: () => JSON.parse(sessionStorage.getItem(kept)),
    unsubscribe: async () => (sessionStorage.removeItem(kept), true),
  };
  PushManager.prototype.getSubscription = async () => subscription() || null;
  PushManager.prototype.subscribe = async (options) => {
    if (options.applicationServerKey.length !== 65) throw new Error("not a public key");
    sessionStorage.setItem(kept, JSON.stringify({endpoint: ENDPOINT, expirationTime: null, keys: {
      p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
      auth: "BTBZMqHH6r4Tts7J_aSIgg"}}));
    return subscription();
  };
})()
"""  # noqa: E501
VAPID = {
    "private_key": "IQ9Ur0ykXoHS9gzfYX0aBjy9lvdrjx_PFUXmie9YRcY",
    "subject": "mailto:a@b.example",
}


def push_until(worker: "Worker", data: str, is_done: Callable[[], bool], what: str) -> None:
    """Deliver a push, again every five seconds (as a push service would), until it took effect."""
    for _ in range(6):
        worker.deliver(data)
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            if is_done():
                return
            time.sleep(0.05)
    pytest.fail(f"waited for {what}")


class Worker:
    """The service worker's own session, and what it shows."""

    def __init__(self, browser: Any, page: Any) -> None:
        self._browser, self._page = browser, page
        page.call("ServiceWorker.enable")
        page.wait(
            "navigator.serviceWorker.getRegistration('/push/')"
            ".then(one => one?.active?.state === 'activated')"
        )
        url = page.origin + "/push/sw.js"
        targets = browser.call("Target.getTargets", filter=[{"type": "service_worker"}])
        where = context_of(page)
        (target,) = [
            one
            for one in targets["targetInfos"]
            if (one["url"], one["browserContextId"]) == (url, where)
        ]
        attached = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        browser.call("Runtime.enable", self._session)

    def js(self, expression: str) -> Any:
        """The value of an expression in the worker, awaited."""
        answer = self._browser.call(
            "Runtime.evaluate",
            self._session,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def deliver(self, data: str) -> None:
        """A push, as the push service would hand it over."""
        registrations = [
            registration
            for event in self._browser.events
            if event["method"] == "ServiceWorker.workerRegistrationUpdated"
            and event.get("sessionId") == self._page._session
            for registration in event["params"]["registrations"]
            if registration["scopeURL"].startswith(self._page.origin)
        ]
        self._page.call(
            "ServiceWorker.deliverPushMessage",
            origin=self._page.origin,
            registrationId=registrations[-1]["registrationId"],
            data=data,
        )

    def shown(self) -> list[dict[str, Any]]:
        """The notifications that are on show."""
        found: list[dict[str, Any]] = self.js(
            "registration.getNotifications().then(all => all.map("
            "({title, body, tag, data, actions}) => ({title, body, tag, data, actions})))"
        )
        return found


def context_of(page: Any) -> str:
    """The browser context of a tab: what it shares with no other."""
    return str(page.call("Target.getTargetInfo")["targetInfo"]["browserContextId"])


@pytest.fixture
def subscribed(chromium: Any, town: Any, page: Any) -> Iterator[Worker]:
    """A browser on the push page, allowed to notify, with the worker running."""
    town.put("/v1/credentials/webpush", VAPID)
    town.put("/v1/devices/web-1", {"user_id": "kim"})
    token = town.client.post("/v1/devices/web-1/token").json()["token"]
    chromium.call(
        "Browser.grantPermissions",
        permissions=["notifications"],
        origin=town.url,
        browserContextId=context_of(page),
    )
    source = SUBSCRIBING.replace("ENDPOINT", json.dumps(ENDPOINT))
    page.call("Page.addScriptToEvaluateOnNewDocument", source=source)
    page.open(f"/push#token={token}")
    page.wait_text("Notifications are off.")
    yield Worker(chromium, page)
    assert [] == page.faults()


def send(town: Any) -> tuple[str, str]:
    """A real push with real tokens: its id, and its web-push payload."""
    message = {"title": "Lunch", "body": "On us", "actions": [{"id": "later", "title": "Later"}]}
    body = {"device_id": "web-1", "message": message, "channels": ["inbox"]}
    push_id = town.client.post("/v1/notifications", json=body).json()["push_id"]
    path, found = "/v1/inbox?user=kim", None
    while found is None:
        items = town.client.get(path).json()["items"]
        found = next((one["message"] for one in items if one["id"] == push_id), None)
    rendered = Rendered(
        id=push_id,
        title=found["title"],
        body=found["body"],
        expires_at=FAR,
        actions=tuple(msgspec.convert(found["actions"], list[Action])),
        deep_link=f"{town.url}/push",
        receipt_token=found["receipt_token"],
        receipt_url=found["receipt_url"],
    )
    return push_id, webpush_payload(rendered, 0).body.decode()


def standing(town: Any, push_id: str) -> tuple[str, set[str]]:
    """Both axes of a push."""
    found = town.client.get(f"/v1/deliveries/{push_id}?device=web-1").json()
    return found.get("delivery", ""), set(found.get("engagement", ()))


def test_a_person_turns_notifications_on_and_off(town: Any, page: Any, subscribed: Worker) -> None:
    """The page subscribes with the tenant's key and registers the browser at the token's device."""
    page.press("Turn on")
    page.wait_text("Notifications are on.")
    (target,) = town.client.get("/v1/devices/web-1").json()["targets"]
    assert ("webpush", ENDPOINT) == (target["provider"], target["address"])
    assert "token" not in page.js("location.href")
    page.press("Turn off")
    page.wait_text("Notifications are off.")
    assert "targets" not in town.client.get("/v1/devices/web-1").json()
    assert {page.origin} == {"/".join(url.split("/")[:3]) for url in page.requests()}


def test_a_push_is_shown_clicked_and_acted_on(town: Any, page: Any, subscribed: Worker) -> None:
    """What is shown is what was written; receipts and the button's event reach the gateway."""
    push_id, data = send(town)
    push_until(
        subscribed, data, lambda: standing(town, push_id) == ("delivered", {"shown"}), "receipts"
    )
    (notification,) = subscribed.shown()
    assert ("Lunch", "On us", push_id) == (
        notification["title"],
        notification["body"],
        notification["tag"],
    )
    assert [("later", "Later")] == [
        (one["action"], one["title"]) for one in notification["actions"]
    ]
    with_it = "registration.getNotifications().then(([one]) => gatewayPush.{})"
    for call, engagement in (
        ("clicked(one.data, 'later')", {"shown", "action:later"}),
        ("clicked(one.data, '')", {"shown", "action:later", "opened"}),
        ("tell(one.data, 'dismissed')", {"shown", "action:later", "opened", "dismissed"}),
    ):
        subscribed.js(with_it.format(call))
        assert ("delivered", engagement) == standing(town, push_id)
    events = town.client.get("/v1/events?device=web-1&kind=custom").json()["items"]
    assert [("action:later", push_id)] == [
        (event["name"], event["properties"]["push_id"]) for event in events
    ]
    again, data = send(town)
    push_until(
        subscribed, data, lambda: standing(town, again) == ("delivered", {"shown"}), "receipts"
    )
    assert {push_id, again} == {one["tag"] for one in subscribed.shown()}


@pytest.mark.parametrize("data", ["plain words", '{"title": "not ours"}'])
def test_what_is_not_ours_is_shown_all_the_same(page: Any, subscribed: Worker, data: str) -> None:
    """A push that showed nothing would cost the permission."""
    push_until(
        subscribed,
        data,
        lambda: data in [one["title"] for one in subscribed.shown()],
        "a notification",
    )
