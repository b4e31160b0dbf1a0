"""Triggers: the rule (``triggers.trigger``) and its messages (``senders.message``) together."""

from typing import Any

import msgspec

from gateway.kinds.fields import check_same_id, without_read_only
from senders.message import parse_message
from senders.model import InvalidMessage
from triggers.model import InvalidTrigger
from triggers.trigger import Trigger, parse_trigger


def parse(trigger_id: str, document: dict[str, Any]) -> dict[str, Any]:
    """The stored form of a posted trigger: as posted, with its id.

    Raises:
        InvalidDocument: the id.
        InvalidTrigger: a field of the rule, or of a message, by JSON pointer.
    """
    document = {**without_read_only(document), "id": document.get("id", trigger_id)}
    check_same_id(document, trigger_id)
    parse_trigger(document)
    for index, variant in enumerate(document.get("variants", [])):
        try:
            parse_message(variant["message"])
        except InvalidMessage as error:
            pointer = f"/variants/{index}/message{error.pointer}"
            raise InvalidTrigger(pointer, error.detail) from None
    return document


def read(stored: bytes) -> Trigger:
    """A stored trigger."""
    return parse_trigger(msgspec.json.decode(stored))
