"""``gateway keys`` and ``gateway tenants``: what must exist before the API can be used."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import msgspec
from redis.asyncio import Redis

from gateway.audit import Audit, Entry
from gateway.cli import fail, setting_flags
from gateway.config import Settings
from gateway.data_dir import reachable_redis
from gateway.errors import Problem
from gateway.keys import KeyStore, StoredKey, check_tenant, parse_scopes
from gateway.redis_client import open_redis
from gateway.registry import Registry
from gateway.times import parse_instant, rfc3339

T = TypeVar("T")
WHERE = ("data_dir", "redis_url", "durability")


def with_redis(settings: Settings, work: Callable[[Redis], Awaitable[T]]) -> T:
    """Do something with the Redis of these settings; a private one runs as long if none does."""

    async def run(url: str) -> T:
        client = open_redis(url, settings.redis_timeout_s)
        try:
            return await work(client)
        finally:
            await client.aclose()

    with reachable_redis(settings) as url:
        return asyncio.run(run(url))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.group("keys")
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command("create")
@click.option("--tenant", required=True, help="Whom the key belongs to; made if new.")
@click.option(
    "--scopes", required=True, metavar="LIST", help="manage, read, ingest, receiver:<id>; by comma."
)
@click.option("--name", default="", help="What the key is for.")
@click.option("--expires-at", metavar="INSTANT", help="RFC 3339, or epoch milliseconds.")
@setting_flags(*WHERE)
def create_key(
    settings: Settings, tenant: str, scopes: str, name: str, expires_at: str | None
) -> None:
    """Make a key and print it, alone, this once."""

    async def work(client: Redis) -> str:
        await _make_tenant(client, tenant)
        now = _now_ms()
        made = await KeyStore(client).create(tenant, scopes.split(","), now, name, ends_at)
        await Audit(client).record(tenant, Entry(now, "cli", "create", "key", made.id))
        return made.text

    try:
        check_tenant(tenant)
        parse_scopes(scopes.split(","))
        ends_at = parse_instant(expires_at, "--expires-at") if expires_at else 0
    except (ValueError, Problem) as error:
        raise click.UsageError(str(error)) from None
    click.echo(with_redis(settings, work))


@keys.command("list")
@click.option("--tenant", required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(*WHERE)
def list_keys(settings: Settings, tenant: str, as_json: bool) -> None:
    """List a tenant's keys: all but the keys themselves."""
    found = with_redis(settings, lambda client: KeyStore(client).list(tenant))
    if as_json:
        click.echo(msgspec.json.encode([_row(key) for key in found]).decode())
        return
    for key in found:
        row = _row(key)
        state = "active" if row["active"] else "ended"
        scopes = ",".join(key.record.scopes)
        used = row["last_used_at"] or "never"
        click.echo(f"{key.id}  {state:6}  {scopes}  used {used}  {key.record.name}".rstrip())


@keys.command("revoke")
@click.argument("key_id")
@click.option("--tenant", required=True)
@setting_flags(*WHERE)
def revoke_key(settings: Settings, tenant: str, key_id: str) -> None:
    """Revoke a key by its id; every process refuses it within a second."""

    async def work(client: Redis) -> bool:
        now = _now_ms()
        is_revoked = await KeyStore(client).revoke(tenant, key_id, now)
        if is_revoked:
            await Audit(client).record(tenant, Entry(now, "cli", "revoke", "key", key_id))
        return is_revoked

    if not with_redis(settings, work):
        fail(f"Tenant {tenant!r} has no key {key_id!r}. See `gateway keys list`.")
    click.echo(f"Revoked {key_id}.", err=True)


@click.group("tenants")
def tenants() -> None:
    """Make, list and delete tenants."""


@tenants.command("create")
@click.argument("tenant")
@setting_flags(*WHERE)
def create_tenant(settings: Settings, tenant: str) -> None:
    """Make a tenant; one that exists stays as it is."""
    try:
        check_tenant(tenant)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with_redis(settings, lambda client: _make_tenant(client, tenant))
    click.echo(f"Tenant {tenant} is there.", err=True)


@tenants.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(*WHERE)
def list_tenants(settings: Settings, as_json: bool) -> None:
    """List the tenants."""

    async def work(client: Redis) -> list[str]:
        return await Registry(client).tenants_of("tenants")

    found = with_redis(settings, work)
    click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(found))


@tenants.command("delete")
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
@setting_flags(*WHERE)
def delete_tenant(settings: Settings, tenant: str, yes: bool) -> None:
    """Delete a tenant with everything kept of it: keys, configuration, devices, events."""
    from gateway.tenant_removal import remove_tenant

    try:
        check_tenant(tenant)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not yes:
        click.confirm(f"Delete tenant {tenant} and all its data for good?", abort=True, err=True)
    removed = with_redis(settings, lambda client: remove_tenant(client, tenant, _now_ms()))
    if not removed:
        fail(f"There is no tenant {tenant!r}. See `gateway tenants list`.")
    click.echo(f"Tenant {tenant} is gone ({removed} entries).", err=True)


def _row(key: StoredKey) -> dict[str, object]:
    record = key.record
    return {
        "id": key.id,
        "name": record.name,
        "scopes": record.scopes,
        "active": record.is_active(_now_ms()),
        "created_at": rfc3339(record.created_at),
        "expires_at": rfc3339(record.expires_at) if record.expires_at else None,
        "revoked_at": rfc3339(record.revoked_at) if record.revoked_at else None,
        "last_used_at": rfc3339(key.last_used_at) if key.last_used_at else None,
    }


async def _make_tenant(client: Redis, tenant: str) -> None:
    registry = Registry(client)
    if await registry.get(tenant, "tenants", tenant) is None:
        await registry.put(tenant, "tenants", tenant, b"{}", now=_now_ms())
