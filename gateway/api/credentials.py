"""Provider credentials: written, never read back.

The id says what it is for: ``apns``, ``fcm``, ``webpush`` ... is the tenant's default of that type;
another id with a ``type`` in the body is one more credential of that type.
"""

from typing import Any

from litestar.handlers import HTTPRouteHandler

from gateway.api.caller import Call
from gateway.api.resources import Resource, caller_of, document_routes, services_of
from gateway.errors import Problem
from gateway.kinds import credential

EXAMPLE: dict[str, Any] = {
    "type": "apns",
    "team_id": "A1B2C3D4E5",
    "key_id": "F6G7H8J9K0",
    "private_key": "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
    "topic": "com.example.shop",
}


def _parse(request: Call, credential_id: str, document: dict[str, Any]) -> dict[str, Any]:
    vault, tenant = services_of(request).vault, caller_of(request).tenant
    return credential.parse(vault, tenant, credential_id, document)


def _show(document: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = document["shown"]
    return shown


def _not_patchable(_: dict[str, Any]) -> dict[str, Any]:
    raise Problem(
        "invalid-request",
        "A credential cannot be patched, for its secrets cannot be read back. "
        "PUT the whole credential.",
    )


CREDENTIALS = Resource(
    "credentials", "credential", _parse, EXAMPLE, show=_show, patchable=_not_patchable
)

ROUTES: list[HTTPRouteHandler] = document_routes(CREDENTIALS)
