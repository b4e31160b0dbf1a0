"""A subscriber that feeds a broker's messages to the adapters (extra ``mqtt``).

For receivers and phones that speak MQTT alone: OwnTracks, OpenMQTTGateway and Theengs, ESPresense,
Ruuvi. No broker is run here. All processes share one subscription (MQTT 5, ``$share``), so each
message is taken once. Retained messages are old news and ignored. What cannot be committed now is
tried again; but the broker counts a message as delivered before it is committed, so what must
survive a crash of the gateway comes over HTTP.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from gateway import metrics
from gateway.api.ingest import take
from gateway.auth import Principal
from gateway.config import ConfigError, Settings
from gateway.errors import Problem, problem_of
from gateway.ingest.formats import FORMATS, Format
from gateway.ingest.model import Posted
from gateway.log import get_logger
from gateway.pipeline import now_ms
from gateway.services import Services

_log = get_logger(__name__)

GROUP = "gateway"
RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
TRIES = 10
MAX_IN_FLIGHT = 256
MAX_QUEUED = 20_000
QOS = 1
DEFAULT_TOPICS: Mapping[str, str] = {
    "owntracks/#": "owntracks",
    "home/+/BTtoMQTT/#": "openmqttgateway",
    "espresense/devices/+/+": "espresense",
    "ruuvi/+/+": "ruuvi",
}


class Route(NamedTuple):
    """Messages of a topic filter, and their format."""

    filter: str
    format: Format

    def rest(self, topic: str) -> list[str] | None:
        """The levels behind the filter's fixed beginning; None if the topic does not match."""
        wanted, levels = self.filter.split("/"), topic.split("/")
        if not _matches(wanted, levels):
            return None
        fixed = next((i for i, one in enumerate(wanted) if one in "+#"), len(wanted))
        return levels[fixed:]


class Broker(NamedTuple):
    """Where to connect."""

    host: str
    port: int
    user: str | None
    password: str | None
    is_tls: bool


def parse_routes(topics: Sequence[str]) -> list[Route]:
    """The routes of ``filter=format`` settings; the usual ones where none are set.

    Raises:
        ConfigError: one is not of this form, or names no format.
    """
    named = [topic.rpartition("=")[::2] for topic in topics] or list(DEFAULT_TOPICS.items())
    for filter_, format_ in named:
        if not filter_ or format_ not in FORMATS:
            raise ConfigError(
                f"mqtt_topics: {filter_}={format_} is not <topic filter>=<format>; formats are "
                f"{', '.join(FORMATS)}."
            )
    return [Route(filter_, FORMATS[format_]) for filter_, format_ in named]


def parse_broker(url: str) -> Broker:
    """The broker of ``mqtt://user:password@host:port`` or ``mqtts://...``.

    Raises:
        ConfigError: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ConfigError("mqtt_url must be mqtt://[user:password@]host[:port] or mqtts://...")
    is_tls = parts.scheme == "mqtts"
    return Broker(
        parts.hostname,
        parts.port or (8883 if is_tls else 1883),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
        is_tls,
    )


def read_message(
    routes: Sequence[Route], topic: str, payload: bytes, received_at: int
) -> tuple[Format, Posted] | None:
    """A message as a post of its format: the topic says who sent or heard it. None: not ours."""
    for route in routes:
        rest = route.rest(topic)
        if rest is not None:
            posted = Posted(payload, received_at, fallback_id="mqtt")
            return route.format, _addressed(posted, route.format.name, rest)
    return None


class Subscriber:
    """Follows a broker for ever; see the module.

    Raises:
        ConfigError: the settings cannot be, or the extra ``mqtt`` is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.mqtt_tenant:
            raise ConfigError("mqtt_url is set, so mqtt_tenant must name whose messages they are.")
        try:
            import aiomqtt
        except ImportError:
            raise ConfigError("mqtt_url needs the extra: install trigger-gateway[mqtt].") from None
        self._aiomqtt = aiomqtt
        self._broker = parse_broker(settings.mqtt_url)
        self._routes = parse_routes(settings.mqtt_topics)
        self._principal = Principal(settings.mqtt_tenant, frozenset({"ingest"}), "mqtt")
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._running: set[asyncio.Task[None]] = set()  # outlive a lost connection

    async def follow(self, services: Services) -> None:
        """Connect, subscribe, take messages; connect again when the broker is lost."""
        try:
            wait_s = RETRY_S
            while True:
                try:
                    async with self._client() as client:
                        for route in self._routes:
                            await client.subscribe(f"$share/{GROUP}/{route.filter}", qos=QOS)
                        _log.info("mqtt_connected", host=self._broker.host)
                        wait_s = RETRY_S
                        await self._take_all(services, client)
                except self._aiomqtt.MqttError as error:
                    metrics.FAILURES.labels("mqtt").inc()
                    _log.warning("mqtt_lost", error=str(error), retry_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_RETRY_S)
        finally:
            for task in self._running:
                task.cancel()

    async def _take_all(self, services: Services, client: Any) -> None:
        async for message in client.messages:
            if message.retain:
                continue
            await self._slots.acquire()
            taking = self._take(services, str(message.topic), message.payload)
            task = asyncio.get_running_loop().create_task(taking)
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _client(self) -> Any:
        broker = self._broker
        return self._aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            protocol=self._aiomqtt.ProtocolVersion.V5,
            tls_context=ssl.create_default_context() if broker.is_tls else None,
            max_queued_incoming_messages=MAX_QUEUED,
        )

    async def _take(self, services: Services, topic: str, payload: Any) -> None:
        try:
            found = read_message(self._routes, topic, bytes(payload or b""), now_ms())
            if found is not None:
                await self._commit(services, *found)
        except Exception as error:  # noqa: BLE001 - one message must not end the others
            metrics.FAILURES.labels("mqtt").inc()
            _log.error("mqtt_message_failed", error=type(error).__name__)
        finally:
            self._slots.release()

    async def _commit(self, services: Services, format_: Format, posted: Posted) -> None:
        """Take the message; while the gateway cannot store it, try again."""
        for attempt in range(TRIES):
            try:
                await take(services, self._principal, format_, posted)
                return
            except Exception as error:
                problem = error if isinstance(error, Problem) else problem_of(error)
                if problem is None:
                    raise
                if problem.status != 503:
                    return  # unreadable, and quarantined
            await asyncio.sleep(min(RETRY_S * 2**attempt, LONGEST_RETRY_S))
        metrics.FAILURES.labels("mqtt").inc()
        _log.warning("mqtt_message_dropped", tries=TRIES)


def _matches(wanted: Sequence[str], levels: Sequence[str]) -> bool:
    """Whether a topic's levels match a filter's (MQTT 5, section 4.7.1)."""
    for i, one in enumerate(wanted):
        if one == "#":
            return True
        if i >= len(levels) or one not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


def _addressed(posted: Posted, format_: str, rest: list[str]) -> Posted:
    """The post with what the topic says of its sender."""
    if format_ == "owntracks" and len(rest) >= 2:
        return posted._replace(headers={"x-limit-u": rest[0], "x-limit-d": rest[1]})
    if format_ == "openmqttgateway" and rest:
        return posted._replace(receiver_id=rest[0])
    if format_ == "espresense" and rest:
        return posted._replace(receiver_id=rest[-1])
    if format_ == "ruuvi" and rest:
        return posted._replace(query={"address": rest[-1]})
    return posted
