"""What the providers took: the latest messages, and exact counts of all answers."""

from collections import Counter, deque
from itertools import islice
from typing import Any

import msgspec

from senders.sandbox.exchange import Accepted

KEPT_MESSAGES = 200_000
MAX_PAGE = 10_000


class Received:
    """A ring of accepted messages, oldest first; each has a growing sequence number from 1."""

    def __init__(self, kept: int = KEPT_MESSAGES) -> None:
        self._messages: deque[Accepted] = deque(maxlen=kept)
        self._count = 0
        self._accepted: Counter[str] = Counter()
        self._answers: Counter[tuple[str, int]] = Counter()

    def keep(self, message: Accepted) -> None:
        """Keep a message, dropping the oldest when the ring is full."""
        self._messages.append(message)
        self._count += 1
        self._accepted[message.provider] += 1

    def count_answer(self, provider: str, status: int) -> None:
        """Count an answer; status 0 stands for a connection that got none."""
        self._answers[provider, status] += 1

    def clear(self) -> None:
        """Forget messages and counts; sequence numbers go on."""
        self._messages.clear()
        self._accepted.clear()
        self._answers.clear()

    def page(
        self,
        provider: str | None = None,
        target: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        """Return messages after a sequence number; ``next_cursor`` when more may follow."""
        first = self._count - len(self._messages) + 1
        skipped = max(0, after + 1 - first)
        items: list[dict[str, Any]] = []
        for offset, message in enumerate(islice(self._messages, skipped, None), skipped):
            if provider not in (None, message.provider) or target not in (None, message.target):
                continue
            if len(items) == limit:
                return {"items": items, "next_cursor": items[-1]["sequence"]}
            items.append({"sequence": first + offset, **msgspec.structs.asdict(message)})
        return {"items": items, "next_cursor": None}

    def stats(self) -> dict[str, Any]:
        """Return counts by provider: messages accepted, and answers by status (0: none given)."""
        answers: dict[str, dict[str, int]] = {}
        for (provider, status), number in sorted(self._answers.items()):
            answers.setdefault(provider, {})[str(status)] = number
        kept = len(self._messages)
        return {"accepted": dict(self._accepted), "answers": answers, "kept": kept}
