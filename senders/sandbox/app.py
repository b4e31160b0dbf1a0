"""All emulators behind one RSGI application: route, judge, let faults happen, keep what arrived."""

import asyncio
import gc
import re
import time
from typing import Any

from senders.sandbox.apns import Apns
from senders.sandbox.certificates import Certificates
from senders.sandbox.connections import cut
from senders.sandbox.exchange import Accepted, Answer, Emulator, Request, json_answer
from senders.sandbox.faults import Fault, Faults
from senders.sandbox.fcm import Fcm, Oauth
from senders.sandbox.keys import Keys
from senders.sandbox.management import Management
from senders.sandbox.received import Received
from senders.sandbox.relay import ConnectionRule, Relay
from senders.sandbox.sms import Sms
from senders.sandbox.webhook import Webhook
from senders.sandbox.webpush import WebPush
from senders.sandbox.whatsapp import WhatsApp

DEFAULT_RETRY_AFTER_S = 5
HANG_S = 3600.0

_WHATSAPP_VERSION = re.compile(r"v\d+\.\d+\Z")


class Sandbox:
    """The state of all emulators, and ``answer``: what a request gets, before faults."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.keys = Keys()
        self.faults = Faults()
        self.received = Received()
        self._apns = Apns(self.keys)
        self._oauth = Oauth(self.keys)
        self._webpush = WebPush()
        self._management = Management(
            received=self.received,
            faults=self.faults,
            keys=self.keys,
            webpush=self._webpush,
            relay=relay,
            reset=self.reset,
        )
        self._emulators: dict[str, Emulator] = {
            "3": self._apns,
            "token": self._oauth,
            "v1": Fcm(self._oauth),
            "wpush": self._webpush,
            "webhook": Webhook(self.keys),
            "whatsapp": WhatsApp(self.keys),
            "2010-04-01": Sms(self.keys),
        }

    def reset(self) -> None:
        """Forget everything: messages, counts, faults, keys, tokens and subscriptions."""
        for part in (self.received, self.faults, self.keys):
            part.clear()
        for emulator in (self._apns, self._oauth, self._webpush):
            emulator.clear()
        self.relay.rule = ConnectionRule()

    def emulator(self, path: str) -> Emulator | None:
        """Return the provider that a path belongs to."""
        segment = path.split("/", 2)[1] if path.startswith("/") else ""
        if _WHATSAPP_VERSION.match(segment):
            segment = "whatsapp"
        return self._emulators.get(segment)

    def manage(self, request: Request) -> Answer:
        """Answer a call to the sandbox's own API, or to no provider at all."""
        if request.path.startswith("/_sandbox/"):
            return self._management.answer(request)
        return json_answer(404, {"detail": f"no provider serves {request.path}"})


class Application:
    """The RSGI application (granian's interface)."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the second port, and let the collector rest: measured, a sixth of each request."""
        loop.run_until_complete(self._sandbox.relay.start())
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Serve one request."""
        request = _request(scope, await protocol())
        emulator = self._sandbox.emulator(request.path)
        if emulator is None:
            answer = self._sandbox.manage(request)
            protocol.response_bytes(answer.status, answer.headers, answer.body)
            return
        answer = emulator.answer(request)
        received = self._sandbox.received
        if answer.accepted is not None:
            fault = self._sandbox.faults.meet(answer.accepted)
            if fault is not None:
                met = await self._meet(fault, emulator, answer, answer.accepted, scope)
                if met is None:
                    received.count_answer(emulator.provider, 0)
                    return
                answer = met
            if answer.accepted is not None:
                received.keep(answer.accepted)
        received.count_answer(emulator.provider, answer.status)
        protocol.response_bytes(answer.status, answer.headers, answer.body)

    async def _meet(
        self, fault: Fault, emulator: Emulator, answer: Answer, message: Accepted, scope: Any
    ) -> Answer | None:
        """Let a fault happen; ``None`` when no answer is to be given."""
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        if fault.action == "lose":
            self._sandbox.received.keep(message)
        if fault.action == "hang":
            await asyncio.sleep(HANG_S)
            return None
        if fault.action is not None:
            cut(scope.client)
            return None
        return _refused(fault, emulator, answer, message)


def create_application(port: int, relay_port: int, host: str, files: Certificates) -> Application:
    """Return a fresh sandbox to serve."""
    return Application(Sandbox(Relay(relay_port, port, host, files)))


def _refused(fault: Fault, emulator: Emulator, answer: Answer, message: Accepted) -> Answer:
    """What the fault makes of an answer; the answer itself if it was only slow."""
    status, reason = fault.status, fault.reason
    if fault.outcome is not None:
        status, reason = emulator.outcomes.get(fault.outcome, (500, fault.outcome))
    if status is None:
        return answer
    if reason is None:
        reason = next((name for code, name in emulator.outcomes.values() if code == status), "")
    refusal = emulator.refusal(status, reason, message.received_at, fault.since_at)
    retry_after_s = fault.retry_after_s
    if retry_after_s is None and status in (429, 503) and emulator.provider != "apns":
        retry_after_s = DEFAULT_RETRY_AFTER_S
    if retry_after_s is not None:
        refusal.headers.append(("retry-after", f"{retry_after_s:g}"))
    return refusal


def _request(scope: Any, body: bytes) -> Request:
    items = scope.headers.items()
    headers = dict(items)
    authority = scope.authority or headers.get("host", "")
    return Request(
        scope.method,
        scope.path,
        headers,
        body,
        int(time.time() * 1000),
        scope.query_string,
        f"{scope.scheme}://{authority}",
        len(headers) != len(items),
        scope.http_version,
    )
