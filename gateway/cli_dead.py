"""``gateway dead``: pushes that were given up, listed, sent again, or deleted."""

from typing import Any

import click
import msgspec

from gateway.api_client import ApiClient, ApiError
from gateway.cli import api_options, fail

PAGE = 200


@click.group("dead")
def dead() -> None:
    """List, replay and purge pushes that were given up (dead letters)."""


@dead.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@api_options
def list_dead(limit: int, as_json: bool, url: str, key: str) -> None:
    """List dead letters, newest first, with their reasons."""
    items: list[dict[str, Any]] = []
    cursor = None
    while len(items) < limit:
        params = {"limit": min(PAGE, limit - len(items))} | ({"cursor": cursor} if cursor else {})
        body = _call(url, key, "GET", "/v1/dead-letters", params=params)
        items += body["items"]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    if as_json:
        click.echo(msgspec.json.encode(items).decode())
        return
    for item in items:
        push = item["push"] or {}
        who = f"{push.get('trigger_id', '?')} -> {push.get('device_id', '?')}"
        click.echo(f"{item['id']}  {item['died_at']}  {item['class']}  {who}  {item['reason']}")


@dead.command("replay")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are dead now.")
@api_options
def replay_dead(ids: tuple[str, ...], everything: bool, url: str, key: str) -> None:
    """Send dead letters again from the start: those with these IDS, or all."""
    _check(ids, everything)
    chosen = {"all": True} if everything else {"ids": list(ids)}
    body = _call(url, key, "POST", "/v1/dead-letters/replay", json=chosen)
    click.echo(f"{body['replayed']} replayed, {body['unreadable']} unreadable")


@dead.command("purge")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@api_options
def purge_dead(ids: tuple[str, ...], everything: bool, url: str, key: str) -> None:
    """Delete dead letters for good: those with these IDS, or all."""
    _check(ids, everything)
    params: dict[str, Any] = {"all": "true"} if everything else {"letter": list(ids)}
    body = _call(url, key, "DELETE", "/v1/dead-letters", params=params)
    click.echo(f"{body['purged']} purged")


def _check(ids: tuple[str, ...], everything: bool) -> None:
    if everything == bool(ids):
        raise click.UsageError("Name the ids of dead letters, or say --all.")


def _call(url: str, key: str, method: str, path: str, **more: Any) -> Any:
    client = ApiClient(url, key)
    try:
        return client.call(method, path, **more).json()
    except ApiError as error:
        fail(str(error))
    finally:
        client.close()
