"""Triggers: what is to happen when."""

from typing import Any

from litestar.handlers import HTTPRouteHandler

from gateway.api.caller import Call
from gateway.api.resources import Resource, document_routes
from gateway.kinds import trigger

EXAMPLE: dict[str, Any] = {
    "id": "lunch-offer",
    "enabled": True,
    "class": "marketing",
    "on": {"event": "dwell", "dwell_s": 300, "zones": {"tags": ["mall"]}},
    "audience": {"all": [{"attribute": "tier", "in": ["gold"]}]},
    "schedule": {
        "windows": [{"days": ["mon-fri"], "from": "11:30", "to": "14:00"}],
        "timezone": "zone",
    },
    "cooldown": {"per": "zone", "seconds": 86400},
    "channels": ["app_push", "web_push", "inbox"],
    "variants": [
        {
            "weight": 1,
            "message": {
                "title": "Hi {{ user.first_name | default: 'there' }}",
                "body": "Lunch is on us until two.",
                "deep_link": "shop://offers/7",
                "ttl_s": 3600,
            },
        }
    ],
}


def _parse(_: Call, trigger_id: str, document: dict[str, Any]) -> dict[str, Any]:
    return trigger.parse(trigger_id, document)


TRIGGERS = Resource("triggers", "trigger", _parse, EXAMPLE)

ROUTES: list[HTTPRouteHandler] = document_routes(TRIGGERS)
