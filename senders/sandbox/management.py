"""The sandbox's own API under ``/_sandbox/``: what arrived, faults, keys, subscriptions."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec

from senders.sandbox.exchange import NOT_JSON, Answer, Request, json_answer
from senders.sandbox.faults import OUTCOME_NAMES, Fault, Faults, InvalidFault
from senders.sandbox.keys import InvalidKey, KeyRegistration, Keys
from senders.sandbox.received import MAX_PAGE, Received
from senders.sandbox.relay import ConnectionRule, Relay
from senders.sandbox.webpush import SubscriptionRequest, WebPush

PREFIX = "/_sandbox/"


class InvalidQuery(ValueError):
    """A query parameter that cannot be."""


class Management:
    """Routes of ``/_sandbox/``."""

    def __init__(
        self,
        *,
        received: Received,
        faults: Faults,
        keys: Keys,
        webpush: WebPush,
        relay: Relay,
        reset: Callable[[], None],
    ) -> None:
        self._received = received
        self._faults = faults
        self._keys = keys
        self._webpush = webpush
        self._relay = relay
        self._reset = reset
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "health"): lambda _: json_answer(200, {"status": "ok"}),
            ("GET", "messages"): self._list_messages,
            ("DELETE", "messages"): self._clear_messages,
            ("GET", "stats"): lambda _: json_answer(200, received.stats()),
            ("GET", "faults"): lambda _: json_answer(200, {"items": faults.list()}),
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "keys"): self._register_key,
            ("POST", "subscriptions"): self._subscribe,
            ("GET", "connections"): lambda _: self._connection_rule(),
            ("PUT", "connections"): self._rule_connections,
            ("POST", "reset"): self._reset_all,
        }

    def answer(self, request: Request) -> Answer:
        """Answer a management call; errors are RFC 9457 problems."""
        name, _, rest = request.path[len(PREFIX) :].partition("/")
        try:
            if rest:
                return self._remove(request.method, name, rest)
            route = self._routes.get((request.method, name))
            if route is None:
                return _problem(404, f"no {request.method} {request.path} here")
            return route(request)
        except (InvalidFault, InvalidKey, InvalidQuery, *NOT_JSON) as error:
            return _problem(400, str(error))

    def _list_messages(self, request: Request) -> Answer:
        query = dict(parse_qsl(request.query))
        unknown = query.keys() - {"provider", "target", "after", "limit"}
        if unknown:
            raise InvalidQuery(f"{min(unknown)}: unknown; use provider, target, after, limit")
        page = self._received.page(
            query.get("provider"),
            query.get("target"),
            _whole(query, "after", 0),
            min(_whole(query, "limit", 100), MAX_PAGE),
        )
        return json_answer(200, page)

    def _clear_messages(self, _: Request) -> Answer:
        self._received.clear()
        return Answer(204, [])

    def _clear_faults(self, _: Request) -> Answer:
        self._faults.clear()
        return Answer(204, [])

    def _reset_all(self, _: Request) -> Answer:
        self._reset()
        return Answer(204, [])

    def _add_fault(self, request: Request) -> Answer:
        fault = msgspec.json.decode(request.body, type=Fault)
        return json_answer(201, {"id": self._faults.add(fault)})

    def _register_key(self, request: Request) -> Answer:
        self._keys.register(msgspec.json.decode(request.body, type=KeyRegistration))
        return Answer(204, [])

    def _subscribe(self, request: Request) -> Answer:
        wanted = msgspec.json.decode(request.body or b"{}", type=SubscriptionRequest)
        if wanted.outcome not in (None, *OUTCOME_NAMES):
            raise InvalidFault(f"/outcome: must be one of {', '.join(sorted(OUTCOME_NAMES))}")
        return json_answer(201, self._webpush.subscribe(wanted, request.origin))

    def _connection_rule(self) -> Answer:
        return json_answer(200, {"port": self._relay.port, "rule": self._relay.rule})

    def _rule_connections(self, request: Request) -> Answer:
        self._relay.rule = msgspec.json.decode(request.body, type=ConnectionRule)
        return self._connection_rule()

    def _remove(self, method: str, name: str, item: str) -> Answer:
        removed = False
        if (method, name) == ("DELETE", "subscriptions"):
            removed = self._webpush.unsubscribe(item)
        elif (method, name) == ("DELETE", "faults") and item.isdecimal():
            removed = self._faults.remove(int(item))
        return Answer(204, []) if removed else _problem(404, f"no {name} {item}")


def _whole(query: dict[str, str], name: str, default: int) -> int:
    value = query.get(name, str(default))
    if not re.fullmatch(r"\d{1,15}", value):
        raise InvalidQuery(f"{name}: must be a whole number, not {value!r}")
    return int(value)


def _problem(status: int, detail: str) -> Answer:
    document = {"type": "about:blank", "status": status, "detail": detail}
    return Answer(
        status, [("content-type", "application/problem+json")], msgspec.json.encode(document)
    )
