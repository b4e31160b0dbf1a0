"""Every adapter on the payloads of ``fixtures/payloads``: what is read, and the exact reply."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.ingest.body import read_form
from gateway.ingest.formats import FORMATS
from gateway.ingest.model import Posted

FOLDER = Path(__file__).parents[2] / "fixtures" / "payloads"


def _cases() -> list[Any]:
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        document = json.loads(file.read_text("utf-8"))
        for case in document["cases"]:
            name = f"{file.stem}: {case['title']}"
            found.append(pytest.param(file.stem, document["received_at"], case, id=name))
    return found


def _body(case: dict[str, Any]) -> bytes:
    if "body" in case:
        return json.dumps(case["body"]).encode()
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    return str(case.get("form", case.get("text", ""))).encode()


def _told(items: Any) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in msgspec.to_builtins(one).items() if value is not None}
        for one in items
    ]


@pytest.mark.parametrize(("name", "received_at", "case"), _cases())
def test_a_payload_is_read_as_documented(name: str, received_at: int, case: dict[str, Any]) -> None:
    """Positions, sightings and bad records come out in our units, and the app hears its reply."""
    posted = Posted(
        body=_body(case),
        received_at=received_at,
        query=read_form(case.get("query", "").encode()),
        headers={key.lower(): value for key, value in case.get("headers", {}).items()},
        device_id=case.get("device_id"),
        receiver_id=case.get("receiver_id"),
        user=case.get("user"),
        fallback_id="key-1",
        speed_unit=case.get("speed_unit"),
    )
    expected = case["expected"]
    parsed = FORMATS[case.get("format", name)].parse(posted)
    assert expected["reply"] == parsed.reply.body.decode()
    assert (200, expected.get("headers", {})) == (parsed.reply.status, dict(parsed.reply.headers))
    assert expected.get("pings", []) == [pytest.approx(one) for one in _told(parsed.pings)]
    assert expected.get("sightings", []) == _told(parsed.sightings)
    assert expected.get("bad", []) == [bad.reason for bad in parsed.bad]


def test_every_format_has_payloads() -> None:
    """No adapter is without vectors."""
    assert {one.name for one in FORMATS.values()} - {"radar"} == {
        file.stem for file in FOLDER.glob("*.json")
    }
