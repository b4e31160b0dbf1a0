"""The senders of all tenants' credentials, made when first needed.

A tenant's credentials are read again every ``RELOAD_MS``; a changed one gets a new sender and a new
gate (its version is part of the gate's name), so that a repaired credential works at once whatever
its predecessor's breaker says. Replaced senders are closed when their sends have ended.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.document import Document
from gateway.inbox import Inboxes, InboxSender
from gateway.kinds import credential as kind
from gateway.log import get_logger
from gateway.registry import Registry
from senders.credentials import ApnsCredential, Credential, WebhookCredential
from senders.flow import DEFAULT_LIMITS, GateLimits
from senders.model import Sender, SenderError, Target
from senders.network import NetworkPolicy
from senders.registry import build_sender
from senders.token_cache import TokenCache
from senders.vault import Vault

_log = get_logger(__name__)

RELOAD_MS = 1_000
CLOSE_AFTER_S = 60.0  # longer than any send may take
LIMITS: dict[str, GateLimits] = {
    "fcm": GateLimits(rate_per_s=10_000),  # 600,000 a minute and project
    "sms": GateLimits(most_in_flight=50),
    "email": GateLimits(most_in_flight=20),
    "whatsapp": GateLimits(most_in_flight=80, rate_per_s=80),
    "inbox": GateLimits(first_in_flight=200),
}


class Chosen(NamedTuple):
    """A sender for a target, and the gate it stands behind."""

    sender: Sender
    gate: str
    limits: GateLimits


class _Held(NamedTuple):
    id: str
    version: int
    credential: Credential
    sender: Sender


class SenderPool:
    """Finds the sender for a target; ``load`` a tenant before asking for its senders."""

    def __init__(
        self,
        registry: Registry,
        *,
        vault: Vault,
        inboxes: Inboxes,
        tokens: TokenCache,
        policy: NetworkPolicy,
        clock: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._vault = vault
        self._inboxes = inboxes
        self._tokens = tokens
        self._policy = policy
        self._clock = clock
        self._held: dict[str, dict[str, _Held]] = {}
        self._loaded_at: dict[str, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def load(self, tenant: str) -> None:
        """Read the tenant's credentials unless that was done a moment ago."""
        now = self._clock()
        if now - self._loaded_at.get(tenant, -RELOAD_MS) < RELOAD_MS:
            return
        page = await self._registry.page(tenant, "credentials", limit=1000)
        before = self._held.get(tenant, {})
        after = {one: self._hold(tenant, one, document, before) for one, document in page.items}
        self._held[tenant] = {one: held for one, held in after.items() if held is not None}
        self._loaded_at[tenant] = now
        for held in before.values():
            if after.get(held.id) is not held:
                self._close_later(held.sender)

    def find(self, tenant: str, target: Target) -> Chosen | None:
        """The sender for this target; None: the tenant has no credential for it."""
        if target.provider == "inbox":
            sender = InboxSender(self._inboxes, tenant, self._clock)
            return Chosen(sender, f"{tenant}/inbox", LIMITS["inbox"])
        held = _best(self._held.get(tenant, {}), target)
        if held is None:
            return None
        gate = f"{tenant}/{held.id}@{held.version}"
        if target.provider in ("webpush", "webhook"):
            # Each push service and each receiver fails on its own.
            gate += f"/{urlsplit(target.address).netloc}"
        return Chosen(held.sender, gate, LIMITS.get(target.provider, DEFAULT_LIMITS))

    async def close(self) -> None:
        """Close all senders."""
        for task in self._closing:
            task.cancel()
        held = [one.sender for senders in self._held.values() for one in senders.values()]
        self._held.clear()
        await asyncio.gather(*(sender.close() for sender in held))

    def _hold(
        self, tenant: str, credential_id: str, document: Document, before: Mapping[str, _Held]
    ) -> _Held | None:
        known = before.get(credential_id)
        if known is not None and known.version == document.version:
            return known
        try:
            credential = kind.unseal(self._vault, tenant, credential_id, document.doc)
            sender = build_sender(credential, token_cache=self._tokens, network_policy=self._policy)
        except (SenderError, ValueError) as error:
            _log.error("credential_unusable", tenant=tenant, id=credential_id, error=str(error))
            return None
        return _Held(credential_id, document.version, credential, sender)

    def _close_later(self, sender: Sender) -> None:
        async def close() -> None:
            try:
                await asyncio.sleep(CLOSE_AFTER_S)
            finally:
                await sender.close()

        task = asyncio.create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _best(held: Mapping[str, _Held], target: Target) -> _Held | None:
    """The credential made for this target, by app and environment, else the plain one."""
    fitting = [one for one in held.values() if _fits(one.credential, target)]
    if len(fitting) == 1:
        return fitting[0]
    return max(
        fitting,
        key=lambda one: (_closeness(one.credential, target), one.id == target.provider),
        default=None,
    )


def _fits(credential: Credential, target: Target) -> bool:
    if type(credential).__struct_config__.tag != target.provider:
        return False
    if isinstance(credential, ApnsCredential):
        return credential.environment in ("", target.environment)
    return not isinstance(credential, WebhookCredential) or bool(target.address or credential.url)


def _closeness(credential: Credential, target: Target) -> int:
    if not isinstance(credential, ApnsCredential):
        return 0
    is_same_app = bool(target.app) and credential.topic == target.app
    return 2 * is_same_app + bool(credential.environment)
