"""Numbers, times and ids as apps write them; and that no adapter fails on anything."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.secret import SecretBox

from gateway.ingest import owntracks, values
from gateway.ingest.formats import FORMATS
from gateway.ingest.model import BadRecord, Posted, UnreadableBody, clean_id
from gateway.wire import Ping

AT = 1_760_000_000_000


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (1.5, 1.5), (1.5, "1.5"), (1.5, " 1.5 "), (-1.0, -1), (None, None), (None, ""),
        (None, "null"), (None, "NaN"), (None, float("nan")), (None, "inf"), (None, True),
        (None, "1_0"), (None, []), (None, {}), (None, 10**400), (None, "9" * 41), (1e3, "1e3"),
    ],
)  # fmt: skip
def test_numbers(expected: float | None, value: object) -> None:
    """A finite number or nothing; a flag is no number."""
    assert expected == values.number(value)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (AT, 1_760_000_000), (AT, 1_760_000_000.0), (AT + 250, 1_760_000_000.25), (AT, AT),
        (AT, str(AT)), (AT, "1760000000"), (AT, "2025-10-09T08:53:20Z"),
        (AT, "2025-10-09T08:53:20.000Z"), (AT, "2025-10-09T10:53:20+02:00"),
        (AT, "2025-10-09T10:53:20 02:00"), (AT, "2025-10-09T01:53:20-0700"),
        (AT, "2025-10-09 08:53:20"), (AT, "2025-10-09T08:53:20"), (None, "yesterday"),
        (None, ""), (None, None), (None, {}), (None, "2025-13-01T00:00:00Z"),
        (-62_135_683_140_000, "0001-01-01T00:00:00+23:59"),
    ],
)  # fmt: skip
def test_times(expected: int | None, value: object) -> None:
    """Epoch seconds and milliseconds, with and without quotes, and ISO 8601 in its spellings."""
    assert expected == values.instant(value)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("phone", " phone "), ("7", 7), (None, ""), (None, None), (None, True), (None, 1.5),
        ("ab", "a\x00b"), ("x", "~x"), (None, "~~"), ("x" * 128, "x" * 300), (None, 10**200),
    ],
)  # fmt: skip
def test_ids(expected: str | None, value: object) -> None:
    """Ids fit those of pings, whatever the app called itself."""
    assert expected == clean_id(value)


@pytest.mark.parametrize("unknown", [None, "", -1, "-1", "NaN", "null", float("inf"), [], {}, True])
def test_unknown_has_many_spellings(unknown: object) -> None:
    """None of them fails the position, and none becomes a number."""
    ping = values.make_ping(
        "d", 1, 2, AT, accuracy_m=unknown, speed_mps=unknown, heading_deg=unknown, battery=unknown
    )
    assert (None,) * 4 == (ping.accuracy_m, ping.speed_mps, ping.heading_deg, ping.battery)


def test_an_accuracy_of_zero_is_unknown() -> None:
    """No phone is that sure."""
    assert values.make_ping("d", 1, 2, AT, accuracy_m=0).accuracy_m is None


@pytest.mark.parametrize("place", [(None, 1), (91, 1), (1, 181), (0, 0), ("x", 1), (True, 1)])
def test_no_position_is_a_bad_record(place: tuple[object, object]) -> None:
    """The reason names what was sent."""
    with pytest.raises(BadRecord):
        values.make_ping("d", *place, AT)


@pytest.mark.parametrize(
    ("expected", "claims", "changes"),
    [
        ("url", ("body",), {"device_id": "url"}),
        ("body", (None, "body"), {"user": "jane"}),
        ("jane", (None,), {"user": "jane"}),
        ("kid", (), {}),
    ],
)
def test_what_names_the_device(expected: str, claims: Any, changes: Any) -> None:
    """URL or token, then the body, then the user of Basic, then the key itself."""
    assert expected == Posted(b"", AT, fallback_id="kid", **changes).device(*claims)


# --- encrypted OwnTracks -------------------------------------------------------------------

MESSAGE = {"_type": "location", "lat": 48.85, "lon": 2.29, "tst": 1_759_999_990, "tid": "JJ"}


def sealed(passphrase: str, message: Any = MESSAGE) -> bytes:
    key = passphrase.encode().ljust(SecretBox.KEY_SIZE, b"\0")
    box = SecretBox(key).encrypt(json.dumps(message).encode())
    return json.dumps({"_type": "encrypted", "data": base64.b64encode(box).decode()}).encode()


def test_an_encrypted_message_is_opened() -> None:
    """The device's passphrase or the tenant's, whichever fits."""
    parsed = owntracks.parse(Posted(sealed("s3cret"), AT, passphrases=("other", "s3cret")))
    assert ["JJ"] == [ping.device_id for ping in parsed.pings]


@pytest.mark.parametrize(
    ("reason", "body", "passphrases"),
    [
        ("no passphrase", sealed("a"), ()),
        ("does not open", sealed("a"), ("b",)),
        ("not base64", b'{"_type":"encrypted","data":"%%"}', ("a",)),
        ("does not open", b'{"_type":"encrypted","data":"AAAA"}', ("a",)),
        ("does not open", b'{"_type":"encrypted"}', ("a",)),
        ("not an object", sealed("a", [1]), ("a",)),
    ],
)
def test_what_cannot_be_opened_is_a_bad_record(
    reason: str, body: bytes, passphrases: tuple[str, ...]
) -> None:
    """And the app is told that all is well, for it would go on for ever."""
    parsed = owntracks.parse(Posted(body, AT, passphrases=passphrases))
    assert (b"[]", []) == (parsed.reply.body, list(parsed.pings))
    assert reason in parsed.bad[0].reason


# --- whatever is posted --------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "_type", "lat", "lon", "latitude", "longitude", "tst", "timestamp", "location",
        "locations", "coords", "properties", "geometry", "coordinates", "data", "tags", "rssi",
        "mac", "address", "type", "gps", "points", "rssiSignature", "packets", "beacon", "id",
        "ibeaconUuid", "rawData", "gw_mac", "event", "battery", "activity", "device_info", "uuid",
        "servicedata", "servicedatauuid", "manufacturerdata", "advertisements", "current", "extras",
        "receiverId", "bdaddrs", "value", "encrypted",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    ["location", "beacon", "encrypted", "transition", "update_location", "visit", "020106", "1.5",
     "iBeacon:e5ca1ade-f007-ba11-0000-000000000000-6-99999", "\ud83d\ude00", "~", "NaN"]
)  # fmt: skip
ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=6)),
    max_leaves=20,
)


def assert_reads(body: bytes, query: dict[str, str]) -> None:
    for format_ in FORMATS.values():
        posted = Posted(body, AT, query=query, fallback_id="key", passphrases=("p",))
        try:
            parsed = format_.parse(posted)
        except UnreadableBody:
            continue
        assert 200 == parsed.reply.status
        for ping in parsed.pings:
            assert isinstance(ping, Ping)
            assert -90 <= ping.lat <= 90
            assert -180 <= ping.lon <= 180
            assert 1 <= len(ping.device_id) <= 128


@settings(max_examples=150, deadline=None)
@given(TREES, st.dictionaries(NAMES, st.text(max_size=8), max_size=3))
@example({"location": {"coords": None, "latitude": 1, "longitude": 1}}, {})
@example([[]], {})
@example({"locations": [None, {"geometry": {"coordinates": ["a", None]}, "properties": []}]}, {})
def test_no_tree_makes_an_adapter_fail(tree: Any, query: dict[str, str]) -> None:
    """JSON of any shape is read, or refused as a whole with the one error."""
    assert_reads(json.dumps(tree).encode(), query)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda b: b"\xbb\x01" + b)))
@example(b"[" * 5000)
@example(b"\xef\xbb\xbf{}")
@example(b"\xff" * 10)
@example(b"{" + b'"a":' * 2000)
def test_no_bytes_make_an_adapter_fail(body: bytes) -> None:
    """Likewise for what is no JSON at all."""
    assert_reads(body, {})
