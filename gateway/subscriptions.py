"""Web-push subscriptions that browsers register themselves, and the key they subscribe with."""

from typing import Final

import msgspec

from gateway.kinds import credential as kind
from gateway.people import People
from gateway.person import MAX_TARGETS, Device
from gateway.registry import Registry
from senders.credentials import WebPushCredential, vapid_public_key
from senders.model import SenderError, Target
from senders.vault import Vault

PROVIDER: Final = "webpush"


class TooManyTargets(ValueError):
    """The device has as many addresses as it can have."""


async def public_key(registry: Registry, vault: Vault, tenant: str) -> str | None:
    """The tenant's VAPID public key (RFC 8292), in base64url; None without a usable credential.

    With several credentials it is that of the one named ``webpush``, which dispatch prefers, too.
    """
    page = await registry.page(tenant, "credentials", limit=1000)
    listed = sorted(page.items, key=lambda item: (item[0] != PROVIDER, item[0]))
    for credential_id, document in listed:
        if kind.read(document.doc).type != PROVIDER:
            continue
        try:
            found = kind.unseal(vault, tenant, credential_id, document.doc)
        except (SenderError, ValueError):
            continue
        if isinstance(found, WebPushCredential):
            return vapid_public_key(found)
    return None


async def subscribe(people: People, tenant: str, device_id: str, target: Target, now: int) -> None:
    """Add a subscription to a device, which is made if it is new; known ones are registered anew.

    Raises:
        TooManyTargets: the device has too many addresses.
        VersionConflict: other writers never stop.
    """

    def change(device: Device) -> Device:
        kept = tuple(one for one in device.targets if not _is_same(one, target.address))
        if len(kept) >= MAX_TARGETS:
            raise TooManyTargets(f"the device has {len(kept)} addresses; at most {MAX_TARGETS}")
        fresh = msgspec.structs.replace(target, registered_at=now)
        return msgspec.structs.replace(device, targets=(*kept, fresh))

    if await people.update_device(tenant, device_id, change, now=now) is None:
        await people.put_device(tenant, change(Device(id=device_id)), now=now, expected="absent")


async def unsubscribe(people: People, tenant: str, device_id: str, endpoint: str, now: int) -> bool:
    """Take a subscription from a device; whether it had it."""
    target = Target(PROVIDER, endpoint)
    return await people.drop_target(tenant, "devices", device_id, target, 0, now=now)


def _is_same(target: Target, endpoint: str) -> bool:
    return (target.provider, target.address) == (PROVIDER, endpoint)
