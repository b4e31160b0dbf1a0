"""What goes wrong on purpose: by the target's own name, or by a script.

A fault meets only requests that the provider would have accepted, so that a wrong request always
gets the provider's true reason.
"""

import re
from fnmatch import fnmatchcase
from itertools import count
from typing import Literal

import msgspec

from senders.sandbox.exchange import Accepted

Action = Literal["reset", "hang", "lose"]
YEAR_MS = 365 * 86_400_000
MAX_FLAKY = 100_000

# First four characters of a device token, all hexadecimal so that APNs takes them as tokens.
HEX_OUTCOMES = {
    "dead": "unregistered",
    "dea0": "long-gone",
    "dea1": "expired",
    "bad0": "invalid",
    "bad1": "mismatch",
    "bad2": "disallowed",
    "4030": "unauthorized",
    "4031": "stale-credential",
    "4290": "throttled",
    "5000": "error",
    "5030": "unavailable",
    "5031": "shutdown",
    "f1a0": "flaky",
    "51de": "slow",
    "4a96": "hang",
    "c105": "reset",
    "1057": "lose",
}
# Last four digits of telephone numbers +1 500 555 xxxx.
NUMBER_OUTCOMES = {
    "0410": "unregistered",
    "0400": "invalid",
    "0403": "disallowed",
    "0401": "unauthorized",
    "0429": "throttled",
    "0500": "error",
    "0503": "unavailable",
    "0999": "flaky",
    "0998": "slow",
    "0997": "hang",
    "0996": "reset",
    "0995": "lose",
}
OUTCOME_NAMES = frozenset(HEX_OUTCOMES.values())
SLOW_MS = 2_000

_NAMED = re.compile(rf"sandbox-({'|'.join(sorted(OUTCOME_NAMES, key=len, reverse=True))})(?:-|\Z)")
_NUMBER = re.compile(r"\+?1500555(\d{4})\Z")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scripted fault: which messages it meets, how often, and what happens to them.

    ``target`` is a pattern (``*`` and ``?``); ``every`` = n meets each n-th message only.
    ``outcome`` names a provider's own refusal; ``status`` and ``reason`` spell one out.
    """

    provider: str | None = None
    target: str | None = None
    every: int = 1
    times: int | None = None
    outcome: str | None = None
    status: int | None = None
    reason: str | None = None
    retry_after_s: float | None = None
    latency_ms: int = 0
    action: Action | None = None
    since_at: int | None = None  # when a dead target died, epoch ms


class InvalidFault(ValueError):
    """A fault that makes no sense; the text says which field and why."""


class _Script:
    """A fault and how often it has met a message."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.met = 0

    def meets(self, message: Accepted) -> bool:
        fault = self.fault
        if fault.provider not in (None, message.provider):
            return False
        if fault.target is not None and not fnmatchcase(message.target, fault.target):
            return False
        self.seen += 1
        if self.seen % fault.every or (fault.times is not None and self.met >= fault.times):
            return False
        self.met += 1
        return True


class Faults:
    """Scripts in the order they were added, then the target's own name."""

    def __init__(self) -> None:
        self._scripts: dict[int, _Script] = {}
        self._ids = count(1)
        self._flaky: set[str] = set()

    def add(self, fault: Fault) -> int:
        """Add a script; returns its id.

        Raises:
            InvalidFault: it does nothing, or a field is out of range.
        """
        effects = (fault.outcome, fault.status, fault.latency_ms or None, fault.action)
        if all(effect is None for effect in effects):
            raise InvalidFault("/status: give outcome, status, latency_ms or action")
        if fault.outcome is not None and fault.outcome not in OUTCOME_NAMES:
            raise InvalidFault(f"/outcome: must be one of {', '.join(sorted(OUTCOME_NAMES))}")
        if fault.every < 1 or fault.latency_ms < 0:
            raise InvalidFault("/every: must be 1 or more, and latency_ms 0 or more")
        if fault.status is not None and not 400 <= fault.status <= 599:
            raise InvalidFault("/status: must be 400 to 599")
        number = next(self._ids)
        self._scripts[number] = _Script(fault)
        return number

    def list(self) -> list[dict[str, object]]:
        """Return all scripts with how often each met a message."""
        return [
            {"id": number, "met": script.met, "fault": script.fault}
            for number, script in self._scripts.items()
        ]

    def remove(self, number: int) -> bool:
        """End a script; false if there is none."""
        return self._scripts.pop(number, None) is not None

    def clear(self) -> None:
        """End all scripts and forget flaky targets."""
        self._scripts.clear()
        self._flaky.clear()

    def meet(self, message: Accepted) -> Fault | None:
        """Return what happens to a message, ``None`` when it simply arrives."""
        for script in self._scripts.values():
            if script.meets(message):
                fault = script.fault
                return self._named(fault.outcome, message, fault) if fault.outcome else fault
        outcome = target_outcome(message.target)
        return None if outcome is None else self._named(outcome, message, Fault())

    def _named(self, outcome: str, message: Accepted, fault: Fault) -> Fault | None:
        change = msgspec.structs.replace
        match outcome:
            case "slow":
                return change(fault, outcome=None, latency_ms=fault.latency_ms or SLOW_MS)
            case "hang" | "reset" | "lose":
                return change(fault, outcome=None, action=outcome)
            case "long-gone":
                since_at = message.received_at - YEAR_MS
                return change(fault, outcome="unregistered", since_at=since_at)
            case "flaky":
                return self._first_time(message, change(fault, outcome="unavailable"))
            case _:
                return change(fault, outcome=outcome)

    def _first_time(self, message: Accepted, fault: Fault) -> Fault | None:
        key = f"{message.provider} {message.target}"
        if key in self._flaky:
            self._flaky.discard(key)
            return None
        if len(self._flaky) >= MAX_FLAKY:
            self._flaky.clear()
        self._flaky.add(key)
        return fault


def target_outcome(target: str) -> str | None:
    """Return the outcome that a target's own name asks for (docs/sandbox.md lists them)."""
    if target.startswith("sandbox-"):
        found = _NAMED.match(target)
        return found[1] if found else None
    if target[:7].endswith("1500555") or target.startswith("+1500555"):
        number = _NUMBER.match(target)
        if number:
            return NUMBER_OUTCOMES.get(number[1])
    return HEX_OUTCOMES.get(target[:4].lower()) if len(target) >= 64 else None
