"""Events as they happen, by server-sent events.

Source: HTML Living Standard, section 9.2 (server-sent events).
"""

from collections.abc import AsyncIterator, Callable

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from litestar.response import Stream

from gateway.api.caller import Call
from gateway.api.events import event_filter
from gateway.api.resources import caller_of, services_of
from gateway.event_document import event_document
from gateway.live import Gap, Message
from triggers.model import Event

HEARTBEAT_S = 15.0
RETRY_MS = 3000
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
_decode = msgspec.json.Decoder(Event).decode


@get("/v1/events/stream", operation_id="stream_events", tags=["events"], opt={"scope": "read"})
async def stream_events(
    request: Call,
    *,
    device: FromQuery[str | None] = None,
    user: FromQuery[str | None] = None,
    zone: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
) -> Stream:
    """Follow events live (server-sent events).

    Each message is named after its kind, and its `id` is a place: a client that comes back with
    `Last-Event-ID` gets what it missed. A message named `gap` says that some events were lost to
    this client (`lost`: how many, if known). A comment is sent every 15 s without events.
    """
    keep = event_filter(kind, zone, device, user)
    place = request.headers.get("last-event-id") or None
    messages = services_of(request).live.listen(caller_of(request).tenant, place, HEARTBEAT_S)
    return Stream(_lines(messages, keep), headers=HEADERS, media_type="text/event-stream")


async def _lines(
    messages: AsyncIterator[Message | Gap | None], keep: Callable[[Event], bool]
) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MS
    async for message in messages:
        if message is None:
            yield b": still here\n\n"
        elif isinstance(message, Gap):
            yield _message("gap", message.place, msgspec.json.encode({"lost": message.lost}))
        else:
            event = _decode(message.payload)
            if keep(event):
                body = msgspec.json.encode(event_document(event))
                yield _message(event.kind.value, message.place, body)


def _message(name: str, place: str, data: bytes) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (place.encode(), name.encode(), data)


ROUTES: list[HTTPRouteHandler] = [stream_events]
