"""The in-app inbox: what one item holds. Where items are kept is the application's matter."""

from typing import Any

import msgspec

from senders.model import Rendered, Target
from senders.payload import Payload, extras, fit, merge

LIMIT_BYTES = 16_384


def check_target(target: Target) -> None:
    """Check the owner of an inbox.

    Raises:
        ValueError: empty or too long.
    """
    if not 1 <= len(target.address) <= 256:
        raise ValueError("/address: the owner has 1 to 256 characters")


def inbox_item(rendered: Rendered) -> Payload:
    """The item as JSON: the words, everything apps read beside them, and when it expires.

    Raises:
        InvalidMessage: more than 16 KiB.
    """
    override = rendered.overrides.get("inbox") or {}

    def shape(message: Rendered) -> Any:
        return merge(item(message), override)

    body, degraded = fit(rendered, shape, LIMIT_BYTES)
    return Payload({"content-type": "application/json"}, body, len(body), degraded)


def item(rendered: Rendered) -> dict[str, Any]:
    """The message in full, as inbox and webhook show it."""
    found: dict[str, Any] = extras(rendered)
    found["id"] = found.pop("push_id")
    words = {
        "title": rendered.title,
        "subtitle": rendered.subtitle,
        "body": rendered.body,
        "group": rendered.group,
        "category": rendered.category,
        "collapse_key": rendered.collapse_key,
    }
    found.update({key: text for key, text in words.items() if text})
    found["lane"] = rendered.lane
    found["expires_at"] = rendered.expires_at
    return msgspec.to_builtins(found)  # type: ignore[no-any-return]
