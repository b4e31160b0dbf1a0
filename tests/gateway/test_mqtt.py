"""The MQTT subscriber: topics and settings apart, then a real broker where one is installed."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from litestar.testing import TestClient
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.config import ConfigError, Settings
from gateway.keys import KeyStore
from gateway.mqtt import Broker, Subscriber, parse_broker, parse_routes, read_message

AT = 1_760_000_000_000
WAIT_S = 10.0
BEACON = "iBeacon:e5ca1ade-f007-ba11-0000-000000000000-6-19"


@pytest.mark.parametrize(
    ("expected", "topic"),
    [
        (("owntracks", None), "owntracks/Jane/phone"),
        (("owntracks", None), "owntracks/Jane/phone/event"),
        (("openmqttgateway", "till"), "home/till/BTtoMQTT/AABBCCDDEEFF"),
        (("espresense", "kitchen"), "espresense/devices/x/kitchen"),
        (("ruuvi", None), "ruuvi/AA:BB/CC:DD"),
        (None, "espresense/rooms/kitchen"),
        (None, "home/till/SYStoMQTT"),
        (None, "zigbee2mqtt/lamp"),
        (None, "espresense/devices/x/kitchen/more"),
    ],
)
def test_topics_choose_the_adapter(expected: tuple[str, str | None] | None, topic: str) -> None:
    """The topic also says who heard it."""
    found = read_message(parse_routes(()), topic, b"{}", AT)
    assert expected == (found and (found[0].name, found[1].receiver_id))


def test_a_topic_names_the_owntracks_device() -> None:
    """The same device as over HTTP, and km/h as from an app."""
    body = json.dumps({"_type": "location", "lat": 1, "lon": 2, "tst": AT // 1000, "vel": 36})
    found = read_message(parse_routes(()), "owntracks/Jane/Phone", body.encode(), AT)
    assert found is not None
    ping = found[0].parse(found[1]).pings[0]
    assert ("jane-phone", 10.0) == (ping.device_id, ping.speed_mps)


@pytest.mark.parametrize(
    ("expected", "url"),
    [
        (Broker("b", 1883, None, None, False), "mqtt://b"),
        (Broker("b", 8883, "u", "p@", True), "mqtts://u:p%40@b"),
        (Broker("::1", 1884, None, None, False), "mqtt://[::1]:1884"),
    ],
)
def test_broker_urls(expected: Broker, url: str) -> None:
    """Ports and TLS by scheme; passwords may be escaped."""
    assert expected == parse_broker(url)


@pytest.mark.parametrize("url", ["http://b", "b:1883", "mqtt://"])
def test_wrong_broker_urls(url: str) -> None:
    """The error says what the URL should be."""
    with pytest.raises(ConfigError, match="mqtt://"):
        parse_broker(url)


@pytest.mark.parametrize("topic", ["a/#", "a/#=nope", "=minew"])
def test_wrong_topics(topic: str) -> None:
    """The error names the topic, and the formats there are."""
    with pytest.raises(ConfigError, match="owntracks"):
        parse_routes([topic])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """The port of a real broker."""
    binary = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if binary is None:
        pytest.skip("mosquitto is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([binary, "-c", str(config)], stderr=subprocess.DEVNULL)
    until(lambda: answers(port))
    yield port
    process.terminate()
    process.wait(10)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Any) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: it does not in time.
    """
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def make_keys(url: str) -> str:
    client = Redis.from_url(url)
    made = await KeyStore(client).create("acme", ["manage", "read"], time.time_ns() // 1_000_000)
    await client.aclose()
    return made.text


async def publish(port: int, messages: list[tuple[str, Any]], *, retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for topic, body in messages:
            await client.publish(topic, json.dumps(body), qos=1, retain=retain)


def test_messages_of_a_real_broker(broker: int, clean_redis_url: str, tmp_path: Path) -> None:
    """A phone enters a geofence and a beacon zone by MQTT alone; retained messages are old news."""
    key = asyncio.run(make_keys(clean_redis_url))
    settings = Settings(
        data_dir=tmp_path,
        redis_url=clean_redis_url,
        background=False,
        mqtt_url=f"mqtt://127.0.0.1:{broker}",
        mqtt_tenant="acme",
    )
    now_s = int(time.time())
    here = {"_type": "location", "lat": 48.85, "lon": 2.29, "acc": 5, "tst": now_s}
    heard = {"mac": "aabbccddeeff", "id": BEACON, "rssi": -50, "rssi@1m": -59}
    old = ("owntracks/old/phone", {"_type": "nonsense"})
    asyncio.run(publish(broker, [old], retain=True))
    with TestClient(create_app(settings)) as client:
        headers = {"Authorization": f"Bearer {key}"}
        for path, document in SET_UP.items():
            assert client.put(path, json=document, headers=headers).status_code < 300

        def kinds() -> set[tuple[str, str]]:
            found = client.get("/v1/events", headers=headers).json()["items"]
            return {(one["device_id"], one["zone"]["id"]) for one in found}

        def tried() -> bool:
            asyncio.run(
                publish(
                    broker,
                    [
                        ("owntracks/jane/phone", here),
                        ("espresense/devices/x/kitchen", heard),
                        ("owntracks/bob/phone", {"_type": "rubbish"}),
                    ],
                )
            )
            return {("jane-phone", "store"), ("tag-1", "kitchen")} <= kinds()

        until(tried)
        bad = client.get("/v1/quarantine", headers=headers).json()["items"]
        assert {"the _type 'rubbish' is not known"} == {one["reason"] for one in bad}


SET_UP: dict[str, Any] = {
    "/v1/geofences/store": {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [2.29, 48.85]},
        "properties": {"radius_m": 200, "policy": {"preset": "immediate"}},
    },
    "/v1/beacons/kitchen": {"receivers": ["kitchen"], "policy": {"preset": "immediate"}},
    "/v1/devices/tag-1": {
        "transmitters": ["ibeacon:e5ca1ade-f007-ba11-0000-000000000000:6:19"],
    },
}


def test_a_broker_without_a_tenant_is_refused() -> None:
    """Nobody would own the messages."""
    with pytest.raises(ConfigError, match="mqtt_tenant"):
        Subscriber(Settings(mqtt_url="mqtt://b"))
