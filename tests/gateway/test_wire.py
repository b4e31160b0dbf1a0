"""Bodies of pings and sightings: shapes, errors, clocks."""

import msgspec
import pytest

from gateway.wire import PINGS, SIGHTINGS, BadEnvelopeError, check_time, event_time, to_ms

PING = {"device_id": "p1", "lat": 48.1, "lon": 11.5, "recorded_at": "2026-11-22T10:00:00Z"}
NOW = 1_790_000_000_000


@pytest.mark.parametrize(
    "body", [PING, [PING], {"pings": [PING]}], ids=["one", "array", "envelope"]
)
@pytest.mark.parametrize("format_", ["json", "msgpack"])
def test_the_three_shapes_mean_the_same(body: object, format_: str) -> None:
    """One object, an array, or {"pings": [...]}; JSON or MessagePack."""
    encode = msgspec.json.encode if format_ == "json" else msgspec.msgpack.encode
    items, indexes, refusals = PINGS.decode(encode(body), format_)  # type: ignore[arg-type]
    assert (["p1"], [0], []) == ([i.device_id for i in items], indexes, refusals)
    assert 1795341600000 == to_ms(items[0].recorded_at)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lat": 91}, ["<= 90", "$.lat"]),
        ({"lat": "48.1"}, ["Expected `float`", "$.lat"]),
        ({"lon": None}, ["$.lon"]),
        ({"recorded_at": "yesterday"}, ["RFC3339", "$.recorded_at"]),
        ({"recorded_at": "2026-11-22T10:00:00"}, ["timezone", "$.recorded_at"]),
        ({"device_id": ""}, ["length >= 1", "$.device_id"]),
        ({"acuracy_m": 5}, ["Unknown field `acuracy_m`", "did you mean `accuracy_m`"]),
        ({"accuracy_m": -1}, [">= 0", "$.accuracy_m"]),
    ],
)
def test_one_bad_ping_leaves_the_rest_and_says_which_field(change: dict, words: list[str]) -> None:
    """A refusal names the index and the field; the other pings are taken."""
    body = msgspec.json.encode([PING, {**PING, **change}, PING])
    items, indexes, refusals = PINGS.decode(body, "json")
    assert (2, [0, 2], [1]) == (len(items), indexes, [r.index for r in refusals])
    for word in words:
        assert word in refusals[0].detail


def test_nan_is_refused() -> None:
    """JSON knows no NaN, MessagePack does: neither gets through."""
    with pytest.raises(BadEnvelopeError):
        PINGS.decode(b'[{"device_id":"a","lat":NaN,"lon":1,"recorded_at":1}]', "json")
    body = msgspec.msgpack.encode([{**PING, "lat": float("nan")}])
    assert [0] == [r.index for r in PINGS.decode(body, "msgpack")[2]]


@pytest.mark.parametrize("body", [b"", b"nope", b"3", b'"x"', b"[1", b'{"pings": 3}', b"\xff\xfe"])
def test_an_unreadable_body_is_one_error(body: bytes) -> None:
    """Nothing is taken, and the message says what to send."""
    with pytest.raises(BadEnvelopeError):
        PINGS.decode(body, "json")


def test_deep_nesting_is_refused_in_bounded_memory() -> None:
    """A nesting bomb is an error like any other."""
    with pytest.raises(BadEnvelopeError):
        PINGS.decode(b"[" * 500_000, "json")


def test_too_many_items() -> None:
    """10,001 pings in one call are refused whole."""
    with pytest.raises(BadEnvelopeError, match="10001 items"):
        PINGS.decode(msgspec.json.encode([PING] * 10_001), "json")


def test_sightings_decode() -> None:
    """The same manner for sightings."""
    body = {"sightings": [{"receiver_id": "till", "beacon": "mac:aabbccddeeff", "rssi_dbm": -60}]}
    items, _, refusals = SIGHTINGS.decode(msgspec.json.encode(body), "json")
    assert (["till"], []) == ([i.receiver_id for i in items], refusals)


@pytest.mark.parametrize(
    ("recorded", "sent", "expected"),
    [
        (NOW - 5000, None, NOW - 5000),
        (NOW - 1024 * 7 * 86_400_000 - 3000, None, NOW - 3000),
        (NOW + 3_600_000 - 2000, NOW + 3_600_000, NOW - 2000),
        (NOW - 7_200_000, NOW - 3_600_000, NOW - 7_200_000),
    ],
    ids=["right", "gps week rollover", "an hour ahead", "behind: left alone"],
)
def test_event_time(recorded: int, sent: int | None, expected: int) -> None:
    """Clocks that are plainly wrong are corrected, others believed."""
    assert expected == event_time(recorded, sent, NOW)


def test_impossible_times_say_what_to_do() -> None:
    """Seconds instead of milliseconds, and the far future, are refused in words."""
    assert "milliseconds" in (check_time(NOW // 1000, NOW) or "")
    assert "future" in (check_time(NOW + 301_000, NOW) or "")
    assert check_time(NOW + 1000, NOW) is None
