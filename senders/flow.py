"""How much may be sent through one credential at once.

Model: a gate stands before every credential (or push origin, or webhook host). Behind it, waiting
pushes queue by lane; three things decide whether the next one goes: concurrency (additive increase,
multiplicative decrease, with a slow start as in TCP), a token bucket where the provider publishes a
rate, and a circuit breaker. Transactional pushes always go first, and marketing leaves a part of
the concurrency free for them.

Sans-IO: time is an argument, in epoch milliseconds; nothing here sleeps.
"""

from collections import deque
from typing import Generic, NamedTuple, TypeVar

from senders.model import Ambiguous, Lane, Misconfigured, Outcome, RetryAfter

T = TypeVar("T")

AUTH_COOLDOWN_MS = 60_000
LONGEST_COOLDOWN_MS = 900_000
SHRINK_EVERY_MS = 1_000  # one answer to one congestion, not one per failed request


class GateLimits(NamedTuple):
    """The bounds of one gate."""

    most_in_flight: int = 1000
    first_in_flight: int = 16
    rate_per_s: float | None = None
    window: int = 20  # outcomes that the breaker looks back on
    failures: int = 10  # of them, to open
    cooldown_ms: int = 2_000


DEFAULT_LIMITS = GateLimits()


class Concurrency:
    """How many sends may be in flight: grows while all goes well, halves when told to slow down."""

    def __init__(self, first: int, most: int) -> None:
        self._limit = float(min(first, most))
        self._most = most
        self._is_slow_start = True
        self._shrunk_at = 0

    @property
    def limit(self) -> int:
        """The number of sends that may be in flight; at least 1."""
        return int(self._limit)

    def grow(self, in_flight: int) -> None:
        """A send went well. An unused limit says nothing, so it does not grow."""
        if 2 * in_flight >= self._limit:
            step = 1.0 if self._is_slow_start else 1.0 / self._limit
            self._limit = min(self._limit + step, self._most)

    def shrink(self, now: int) -> None:
        """The provider throttles or fails."""
        if now - self._shrunk_at >= SHRINK_EVERY_MS:
            self._shrunk_at = now
            self._is_slow_start = False
            self._limit = max(1.0, self._limit / 2)


class Bucket:
    """A token bucket that holds one second of its rate."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_ms = rate_per_s / 1000
        self._most = max(1.0, rate_per_s)
        self._tokens = self._most
        self._at = 0

    def ready_at(self, now: int) -> int:
        """When the next token is there: ``now`` or later."""
        self._refill(now)
        return now if self._tokens >= 1 else now + int((1 - self._tokens) / self._rate_per_ms) + 1

    def take(self, now: int) -> None:
        """Spend one token."""
        self._refill(now)
        self._tokens -= 1

    def _refill(self, now: int) -> None:
        if now > self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate_per_ms)
            self._at = now


class Breaker:
    """Stops a credential that fails: at once when it is refused, else after some of many failures.

    After the cooldown one send is let through to probe; the next cooldown is twice as long.
    """

    def __init__(self, window: int, failures: int, cooldown_ms: int) -> None:
        self.open_until = 0
        self._recent: deque[bool] = deque(maxlen=window)
        self._failures = failures
        self._first_cooldown_ms = cooldown_ms
        self._cooldown_ms = cooldown_ms
        self._is_closed = True
        self._is_probing = False

    @property
    def is_closed(self) -> bool:
        """Whether sends flow freely."""
        return self._is_closed

    def allows(self, now: int) -> bool:
        """Whether a send may start now."""
        return self._is_closed or (now >= self.open_until and not self._is_probing)

    def start(self) -> None:
        """A send starts; a half-open breaker takes it for its probe."""
        self._is_probing = not self._is_closed

    def succeed(self) -> None:
        """A send went well. Answers to sends from before the breaker opened do not close it."""
        if self._is_closed:
            self._recent.append(True)
        elif self._is_probing:
            self._is_closed, self._is_probing = True, False
            self._cooldown_ms = self._first_cooldown_ms
            self._recent.clear()

    def fail(self, now: int, is_refused: bool = False) -> None:
        """A send failed; ``is_refused``: because the credential itself is wrong."""
        if self._is_closed:
            self._recent.append(False)
            if is_refused or self._recent.count(False) >= self._failures:
                self._open(now, is_refused)
        elif self._is_probing:
            self._cooldown_ms *= 2
            self._open(now, is_refused)

    def call_off(self) -> None:
        """A send did not take place after all; if it was the probe, another one may be."""
        self._is_probing = False

    def _open(self, now: int, is_refused: bool) -> None:
        least_ms = AUTH_COOLDOWN_MS if is_refused else 0
        self._cooldown_ms = min(max(self._cooldown_ms, least_ms), LONGEST_COOLDOWN_MS)
        self._is_closed, self._is_probing = False, False
        self.open_until = now + self._cooldown_ms


class Gate(Generic[T]):
    """What waits for one credential, and what may go."""

    def __init__(self, limits: GateLimits = DEFAULT_LIMITS) -> None:
        self.breaker = Breaker(limits.window, limits.failures, limits.cooldown_ms)
        self.concurrency = Concurrency(limits.first_in_flight, limits.most_in_flight)
        self.in_flight = 0
        self.used_at = 0
        self._bucket = Bucket(limits.rate_per_s) if limits.rate_per_s else None
        self._paused_until = 0
        self._marketing_in_flight = 0
        self._waiting: dict[Lane, deque[T]] = {"transactional": deque(), "marketing": deque()}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def join(self, item: T, lane: Lane) -> None:
        """Queue behind what waits in the same lane."""
        self._waiting[lane].append(item)

    def take(self, now: int) -> T | None:
        """The next item that may be sent now, counted as in flight; None: not now.

        Every item taken must be followed by ``leave``.
        """
        self.used_at = now
        lane = self._next_lane()
        if lane is None or self.opens_at(now) > now or not self.breaker.allows(now):
            return None
        self.breaker.start()
        if self._bucket:
            self._bucket.take(now)
        self.in_flight += 1
        self._marketing_in_flight += lane == "marketing"
        return self._waiting[lane].popleft()

    def opens_at(self, now: int) -> int:
        """When sending may go on, as far as the clock decides it: ``now`` or later."""
        closed_until = 0 if self.breaker.is_closed else self.breaker.open_until
        bucket_at = self._bucket.ready_at(now) if self._bucket else now
        return max(now, self._paused_until, closed_until, bucket_at)

    def leave(self, lane: Lane, outcome: Outcome | None, now: int) -> None:
        """A send has ended; its outcome adjusts the gate (None: it was called off)."""
        self._judge(outcome, now)
        self.in_flight -= 1
        self._marketing_in_flight -= lane == "marketing"

    def drain(self) -> list[T]:
        """Everything that waits, removed."""
        items = [item for queue in self._waiting.values() for item in queue]
        for queue in self._waiting.values():
            queue.clear()
        return items

    def _judge(self, outcome: Outcome | None, now: int) -> None:
        match outcome:
            case None:
                self.breaker.call_off()
            case Misconfigured():
                self.breaker.fail(now, is_refused=True)
            case RetryAfter(_, after_s, "credential", is_counted):
                self.concurrency.shrink(now)
                self._paused_until = max(self._paused_until, now + int(1000 * (after_s or 0)))
                self.breaker.fail(now) if is_counted else self.breaker.succeed()
            case Ambiguous():
                self.concurrency.shrink(now)
                self.breaker.fail(now)
            case _:
                self.concurrency.grow(self.in_flight)
                self.breaker.succeed()

    def _next_lane(self) -> Lane | None:
        limit = self.concurrency.limit
        if self._waiting["transactional"] and self.in_flight < limit:
            return "transactional"
        reserved = max(1, limit // 8) if limit > 1 else 0
        is_room = self.in_flight < limit and self._marketing_in_flight < limit - reserved
        return "marketing" if self._waiting["marketing"] and is_room else None
