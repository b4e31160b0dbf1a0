"""API keys, verification keys of device tokens, and the tokens themselves."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath

from gateway.api.caller import (
    NO_STORE,
    Call,
    answer,
    document_headers,
    expectation,
    not_found,
    now_ms,
    object_body,
)
from gateway.audit import Entry
from gateway.auth import Principal
from gateway.errors import Problem
from gateway.keys import KeyRecord, MadeKey, StoredKey
from gateway.kinds.fields import check_id, convert, without_read_only
from gateway.services import Services
from gateway.times import parse_instant, rfc3339
from gateway.tokens import JwtKey, check_jwt_key

ROTATION_OVERLAP_S = 86_400
MAX_OVERLAP_S = 30 * 86_400
TAGS = ["keys"]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new key may do."""

    scopes: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    expires_at: str | int | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key works beside the new one."""

    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_OVERLAP_S)] = ROTATION_OVERLAP_S


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a device token lives."""

    ttl_s: Annotated[int, msgspec.Meta(ge=60)] | None = None


def _caller(request: Call) -> tuple[Services, Principal]:
    return request.app.state.services, request.user


async def _audit(request: Call, action: str, kind: str, document_id: str) -> None:
    services, caller = _caller(request)
    entry = Entry(now_ms(), caller.key_id, action, kind, document_id)
    await services.audit.record(caller.tenant, entry)


@get("/v1/keys", operation_id="list_keys", tags=TAGS)
async def list_keys(request: Call) -> Response[bytes]:
    """List the tenant's API keys: all but the keys themselves."""
    services, caller = _caller(request)
    items = [_shown(key) for key in await services.keys.list(caller.tenant)]
    return answer({"items": items, "next_cursor": None}, headers=NO_STORE)


@post("/v1/keys", operation_id="create_key", tags=TAGS)
async def create_key(request: Call) -> Response[bytes]:
    """Make an API key. The answer's `key` is shown this once."""
    services, caller = _caller(request)
    wanted = convert(await object_body(request), NewKey)
    expires_at = _expiry(wanted.expires_at)
    try:
        made = await services.keys.create(
            caller.tenant, wanted.scopes, now_ms(), wanted.name, expires_at
        )
    except ValueError as error:
        raise Problem("invalid-document", str(error), errors=[_blame(error)]) from None
    await _audit(request, "create", "key", made.id)
    return answer(_made(made), status=201, headers=NO_STORE)


@post("/v1/keys/{key_id:str}/rotate", operation_id="rotate_key", tags=TAGS)
async def rotate_key(request: Call, key_id: FromPath[str]) -> Response[bytes]:
    """Make a new key with the same scopes; the old one works `overlap_s` longer (a day)."""
    services, caller = _caller(request)
    body = await object_body(request) if await request.body() else {}
    overlap_s = convert(body, Rotation).overlap_s
    made = await services.keys.rotate(caller.tenant, key_id, now_ms(), overlap_s)
    if made is None:
        raise not_found("active key", key_id)
    await _audit(request, "rotate", "key", key_id)
    return answer(_made(made), status=201, headers=NO_STORE)


@delete("/v1/keys/{key_id:str}", operation_id="revoke_key", tags=TAGS)
async def revoke_key(request: Call, key_id: FromPath[str]) -> None:
    """Revoke an API key. Every process refuses it within a second."""
    services, caller = _caller(request)
    if not await services.keys.revoke(caller.tenant, key_id, now_ms()):
        raise not_found("key", key_id)
    services.authenticator.forget()
    await _audit(request, "revoke", "key", key_id)


@get("/v1/jwt-keys", operation_id="list_jwt_keys", tags=TAGS)
async def list_jwt_keys(request: Call) -> Response[bytes]:
    """List the keys that verify the tenant's device tokens, without secrets."""
    services, caller = _caller(request)
    page = await services.registry.page(caller.tenant, "jwt_keys", limit=1000)
    items = [_shown_jwt_key(caller.tenant, one, found.doc) for one, found in page.items]
    return answer({"items": items, "next_cursor": None})


@put("/v1/jwt-keys/{key_id:str}", operation_id="put_jwt_key", tags=TAGS)
async def put_jwt_key(request: Call, key_id: FromPath[str]) -> Response[bytes]:
    """Register a key that verifies device tokens.

    `{"algorithm": "ES256", "public_key": "-----BEGIN PUBLIC KEY-----…"}`, RS256 likewise, or
    `{"algorithm": "HS256", "secret": "…"}`. Tokens name it in their header: `kid` =
    `<tenant>/<id>`.
    """
    services, caller = _caller(request)
    check_id(key_id)
    body = without_read_only(await object_body(request))
    body.pop("id", None)
    key = check_jwt_key(convert(body, JwtKey))
    stored = await services.registry.get(caller.tenant, "jwt_keys", key_id)
    version = stored.version if stored else 0
    written = await services.registry.put(
        caller.tenant,
        "jwt_keys",
        key_id,
        msgspec.json.encode(key),
        now=now_ms(),
        expected=expectation(request, version),
    )
    services.authenticator.forget()
    await _audit(request, "replace" if version else "create", "jwt_key", key_id)
    shown = _shown_jwt_key(caller.tenant, key_id, written.doc)
    return answer(shown, status=200 if version else 201, headers=document_headers(written))


@delete("/v1/jwt-keys/{key_id:str}", operation_id="delete_jwt_key", tags=TAGS)
async def delete_jwt_key(request: Call, key_id: FromPath[str]) -> None:
    """Delete a verification key; its tokens are refused within some seconds."""
    services, caller = _caller(request)
    if not await services.registry.delete(caller.tenant, "jwt_keys", key_id, now=now_ms()):
        raise not_found("verification key", key_id)
    services.authenticator.forget()
    await _audit(request, "delete", "jwt_key", key_id)


@post(
    "/v1/devices/{device_id:str}/token",
    operation_id="mint_device_token",
    tags=TAGS,
    opt={"scope": "manage"},
)
async def mint_device_token(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """Mint a token for one device, to be handed to the phone: intake and receipts only."""
    services, caller = _caller(request)
    check_id(device_id)
    body = await object_body(request) if await request.body() else {}
    settings = services.settings
    ttl_s = convert(body, TokenRequest).ttl_s or settings.device_token_ttl_s
    if ttl_s > settings.device_token_max_ttl_s:
        raise Problem(
            "invalid-document",
            f"ttl_s is {ttl_s}; at most {settings.device_token_max_ttl_s}.",
            errors=[("#/ttl_s", f"at most {settings.device_token_max_ttl_s}")],
        )
    now = now_ms()
    token = services.tokens.mint(caller.tenant, device_id, ttl_s, now)
    await _audit(request, "mint", "device_token", device_id)
    minted = {"token": token, "device_id": device_id, "expires_at": rfc3339(now + ttl_s * 1000)}
    return answer(minted, status=201, headers=NO_STORE)


def _expiry(given: str | int | None) -> int:
    try:
        return 0 if given is None else parse_instant(str(given), "expires_at")
    except Problem as problem:
        why = [("#/expires_at", problem.detail)]
        raise Problem("invalid-document", problem.detail, errors=why) from None


def _instant(at: int) -> str | None:
    return rfc3339(at) if at else None


def _made(made: MadeKey) -> dict[str, Any]:
    return {**_record(made.id, made.record), "key": made.text}


def _shown(key: StoredKey) -> dict[str, Any]:
    return {**_record(key.id, key.record), "last_used_at": _instant(key.last_used_at)}


def _record(kid: str, record: KeyRecord) -> dict[str, Any]:
    return {
        "id": kid,
        "name": record.name,
        "scopes": list(record.scopes),
        "created_at": _instant(record.created_at),
        "expires_at": _instant(record.expires_at),
        "revoked_at": _instant(record.revoked_at),
        "active": record.is_active(now_ms()),
    }


def _shown_jwt_key(tenant: str, key_id: str, doc: bytes) -> dict[str, Any]:
    key = msgspec.json.decode(doc, type=JwtKey)
    shown = {"id": key_id, "kid": f"{tenant}/{key_id}", "algorithm": key.algorithm}
    return {**shown, "public_key": key.public_key} if key.public_key else shown


def _blame(error: ValueError) -> tuple[str, str]:
    text = str(error)
    return ("#/expires_at" if text.startswith("expires_at") else "#/scopes"), text


ROUTES = [
    list_keys,
    create_key,
    rotate_key,
    revoke_key,
    list_jwt_keys,
    put_jwt_key,
    delete_jwt_key,
    mint_device_token,
]
