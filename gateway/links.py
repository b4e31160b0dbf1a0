"""What a phone needs to answer a push: signed, so that nothing has to be looked up to believe it.

A receipt's token proves one push of one device. An action's token carries everything itself, for it
is posted alone, and ends after the push does.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote_plus

from senders.tokens import is_proof, prove, sign, verify
from triggers.model import Push

ACTION_LIFETIME_MS = 30 * 86_400_000  # a message may lie in the tray for long


class ActionClaims(NamedTuple):
    """What a button's token says."""

    tenant: str
    device_id: str
    push_id: str
    action_id: str


class PushLinks:
    """The links of one push (``senders.render.Links``)."""

    def __init__(self, base_url: str, key: bytes, push: Push) -> None:
        self._base_url = base_url
        self._key = key
        self._of = (push.tenant, push.device_id, push.id)
        self._expires_at = push.expires_at

    def receipt(self) -> tuple[str, str]:
        """Token and URL for receipts; the URL says whose push it is."""
        tenant, device_id, _ = self._of
        whose = f"tenant={quote_plus(tenant)}&device={quote_plus(device_id)}"
        token = prove("receipt", _subject(*self._of), self._key)
        return token, f"{self._base_url}/v1/receipts?{whose}"

    def action(self, action_id: str) -> tuple[str, str]:
        """Token and URL for one button."""
        ends_at = self._expires_at + ACTION_LIFETIME_MS
        token = sign("action", (*self._of, action_id), self._key, expires_at=ends_at)
        return token, f"{self._base_url}/v1/actions/{token}"


def is_receipt(
    token: str, tenant: str, device_id: str, push_id: str, keys: Sequence[bytes]
) -> bool:
    """Whether the token was made for this push of this device."""
    return is_proof("receipt", _subject(tenant, device_id, push_id), token, keys)


def read_action(token: str, keys: Sequence[bytes], now: int) -> ActionClaims:
    """What a button's token says.

    Raises:
        InvalidToken: not ours, or past its end.
    """
    tenant, device_id, push_id, action_id = verify("action", token, keys, now=now)
    return ActionClaims(tenant, device_id, push_id, action_id)


def _subject(tenant: str, device_id: str, push_id: str) -> str:
    return f"{tenant}/{device_id}/{push_id}"
