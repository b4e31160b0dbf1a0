"""Tenants: the settings document, which holds the house rules (``triggers.tenant``)."""

import re
from typing import Any

from gateway.kinds.fields import InvalidDocument, check_policy, without_read_only
from triggers.tenant import parse_tenant_rules

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_name(name: str) -> str:
    """A tenant's name: small letters, digits, dash and underscore, at most 63.

    Raises:
        InvalidDocument: it is something else.
    """
    if not NAME.fullmatch(name):
        raise InvalidDocument(
            "/id", f"{name!r} is not a tenant's name: a-z, 0-9, - and _, at most 63 characters"
        )
    return name


def parse(document: dict[str, Any]) -> dict[str, Any]:
    """The stored form of posted settings: as posted.

    Raises:
        InvalidTrigger: the field that is wrong, by JSON pointer.
        InvalidDocument: a number of the policy that cannot be.
    """
    stored = {name: value for name, value in without_read_only(document).items() if name != "id"}
    check_policy(parse_tenant_rules(stored).policy)
    return stored
