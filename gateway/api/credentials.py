"""Provider credentials: written, never read back.

The id says what it is for: ``apns``, ``fcm``, ``webpush`` ... is the tenant's default of that type;
another id with a ``type`` in the body is one more credential of that type.
"""

import asyncio
from typing import Any

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.api.caller import NO_STORE, Call, answer, not_found, now_ms
from gateway.api.resources import Resource, audited, caller_of, document_routes, services_of
from gateway.egress import network_policy
from gateway.errors import Problem
from gateway.kinds import credential
from gateway.times import rfc3339
from senders.model import InvalidCredential
from senders.registry import dry_run
from senders.vault import CannotOpen

CHECK_TIMEOUT_S = 20.0

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


@post(
    "/v1/credentials/{document_id:str}/check",
    operation_id="check_credential",
    tags=["credentials"],
    status_code=200,
)
async def check_credential(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Try a stored credential as far as its provider allows without sending a message.

    Keys are read, an access token is fetched, a mail server is logged in to. `ok` tells whether it
    works, `detail` what is wrong.
    """
    services, tenant = services_of(request), caller_of(request).tenant
    stored = await services.registry.get(tenant, CREDENTIALS.kind, document_id)
    if stored is None:
        raise not_found(CREDENTIALS.noun, document_id)
    try:
        found = credential.unseal(services.vault, tenant, document_id, stored.doc)
        policy = network_policy(services.settings)
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            detail = await dry_run(found, network_policy=policy)
    except (CannotOpen, InvalidCredential) as error:
        detail = str(error)
    except TimeoutError:
        detail = f"the provider did not answer within {CHECK_TIMEOUT_S:g} s"
    await audited(request, "check", CREDENTIALS, document_id, stored.version)
    body = {"ok": not detail, "detail": detail, "checked_at": rfc3339(now_ms())}
    return answer(body, headers=NO_STORE)


ROUTES: list[HTTPRouteHandler] = [*document_routes(CREDENTIALS), check_credential]
