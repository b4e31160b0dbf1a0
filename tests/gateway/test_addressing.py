"""Which channel and addresses a push takes."""

import pytest

from gateway.addressing import Addressed, address
from gateway.people import Party
from gateway.person import Device, User
from senders.model import Target

PHONE = Target("apns", "phone")
TABLET = Target("fcm", "tablet")
BROWSER = Target("webpush", "https://push.example/1")
MAIL = Target("email", "ada@example.com")
INBOX = Target("inbox", "u1")
ORDER = ("app_push", "web_push", "email", "webhook", "inbox")


def party(*own: Target, other: tuple[Target, ...] = (), user: tuple[Target, ...] = ()) -> Party:
    device = Device(id="d1", user_id="u1", targets=own)
    others = (Device(id="d2", targets=other),) if other else ()
    return Party(device, User(id="u1", targets=user), others)


CASES: list[tuple[str, Party, tuple[str, ...], int, str, Addressed | None]] = [
    ("the device's own", party(PHONE, TABLET), ORDER, 0, "", Addressed(0, (PHONE, TABLET))),
    ("another device's", party(BROWSER, other=(TABLET,)), ORDER, 0, "", Addressed(0, (TABLET,))),
    ("own before others", party(PHONE, other=(TABLET,)), ORDER, 0, "", Addressed(0, (PHONE,))),
    ("one of several", party(PHONE, TABLET), ORDER, 0, "tablet", Addressed(0, (TABLET,))),
    ("a later channel", party(PHONE, BROWSER), ORDER, 1, "", Addressed(1, (BROWSER,))),
    ("not allowed", party(PHONE, user=(MAIL,)), ("email", "inbox"), 0, "", Addressed(2, (MAIL,))),
    ("the user's inbox", party(), ("inbox",), 0, "", Addressed(4, (INBOX,))),
    ("the tenant's hook", party(), ("webhook",), 0, "", Addressed(3, (Target("webhook", ""),))),
    ("nothing left", party(PHONE), ("app_push",), 1, "", None),
    ("the one is gone", party(PHONE), ("app_push",), 0, "tablet", None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_nearest_holder_with_an_address_gets_the_push(
    case: tuple[str, Party, tuple[str, ...], int, str, Addressed | None],
) -> None:
    """In the trigger's order of channels, from where earlier ones were tried."""
    _, whom, allowed, start, target, expected = case
    assert expected == address(ORDER, allowed, start, whom, target)
