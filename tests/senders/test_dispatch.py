"""Dispatch on a real Redis with a recording sender: endings, order, faults, stopping."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from redis.asyncio import Redis

from senders.dispatch import Dispatcher, Limits
from senders.model import (
    Ambiguous,
    Delivered,
    Lane,
    Misconfigured,
    Outcome,
    Rejected,
    Rendered,
    RetryAfter,
    Target,
    Unregistered,
)
from senders.outbox import Outbox, Room
from senders.pushes import (
    FollowUp,
    NoTarget,
    Observer,
    Prepared,
    Ready,
    Settled,
    Split,
    Suppressed,
    Unusable,
    Wait,
)
from senders.sending import SendLimits
from senders.settlement import Claimed

TAGS = ["{s:00}", "{s:01}"]
FAR = 4_000_000_000_000


class Note(msgspec.Struct):
    """A push of these tests. ``to`` says what the application or the provider does with it."""

    id: str
    to: str
    attempt: int = 0
    channel: int = 0


def pack(*ids: str, to: str = "ok") -> list[bytes]:
    return [msgspec.json.encode(Note(name, to)) for name in ids]


def read(payload: bytes) -> Note:
    return msgspec.json.decode(payload, type=Note)


class Recorder:
    """A provider that answers by the address, and remembers what it was sent, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.answers: dict[str, list[Outcome]] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, message: Rendered, target: Target) -> Outcome:
        self.seen.append(message.id)
        await self.gate.wait()
        match target.address:
            case "raises":
                raise RuntimeError("a defect")
            case "hangs":
                await asyncio.sleep(60)
        answers = self.answers.get(message.id, [])
        return answers.pop(0) if answers else Delivered()

    async def close(self) -> None: ...


class Notes:
    """The application's side of dispatch, in memory."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.ended: list[tuple[str, str, str]] = []
        self.waited: set[str] = set()
        self.broken = 0
        self.follow_ups: dict[str, FollowUp] = {}

    async def prepare(self, batch: Sequence[Claimed]) -> Sequence[Prepared]:
        return [self._prepare(entry) for entry in batch]

    def _prepare(self, entry: Claimed) -> Prepared:
        note = read(entry.payload)
        match note.to:
            case "suppressed":
                return Suppressed("no_consent")
            case "wait" if note.id not in self.waited:
                self.waited.add(note.id)
                return Wait(note.id, 1, "quiet_hours")
            case "nobody":
                return NoTarget("no_target") if not note.channel else self._ready(entry, note)
            case "nowhere":
                return NoTarget("no_target")
            case "split":
                return Split(tuple(pack(f"{note.id}#0", f"{note.id}#1")))
            case "unusable":
                return Unusable("no such trigger")
            case "poison":
                raise ValueError("cannot be prepared")
        return self._ready(entry, note)

    def _ready(self, entry: Claimed, note: Note) -> Ready:
        message = Rendered(note.id, "title", "body", 1 if note.to == "late" else FAR, entry.lane)
        target = Target("apns", note.to)
        follow_up = self.follow_ups.get(note.id)
        gate = f"{entry.tenant}/apns"
        return Ready(
            note.id, message, target, self.recorder, gate, note.attempt, follow_up=follow_up
        )

    def again(self, payload: bytes, attempt: int) -> bytes:
        note = read(payload)
        note.attempt = attempt
        return msgspec.json.encode(note)

    def advance(self, payload: bytes, reason: str) -> bytes | None:
        note = read(payload)
        if note.channel:
            return None
        note.channel = 1
        return msgspec.json.encode(note)

    async def settled(self, batch: Sequence[Settled]) -> None:
        if self.broken:
            self.broken -= 1
            raise ConnectionError("the storage is away")
        for one in batch:
            self.ended.append((read(one.claimed.payload).id, one.ending, one.reason))


class Watcher(Observer):
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.closed: list[str] = []

    def failed(self, what: str, error: Exception) -> None:
        self.failures.append(f"{what}: {error}")

    def gate_closed(self, gate: str, until: int) -> None:
        self.closed.append(gate)


class Bench:
    """One dispatcher with everything around it."""

    def __init__(self, client: Any, limits: Limits) -> None:
        self.client = client
        self.recorder = Recorder()
        self.notes = Notes(self.recorder)
        self.watcher = Watcher()
        self.outbox = Outbox(client, TAGS, "one", takeover_ms=400)
        self.dispatcher = Dispatcher(
            self.outbox,
            self.notes,
            limits=limits,
            random=lambda: 0.001,
            observer=self.watcher,
        )

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for a condition while the dispatcher runs."""
        async with asyncio.timeout(10):
            while not is_true():  # noqa: ASYNC110 - conditions of a running system, not events
                await asyncio.sleep(0.005)

    async def ended(self, count: int) -> list[tuple[str, str, str]]:
        """The first endings, sorted, when there are so many and nothing is in flight."""
        await self.until(lambda: len(self.notes.ended) >= count and not self.dispatcher.in_flight)
        return sorted(self.notes.ended)


def run(url: str, body: Callable[[Bench], Awaitable[None]], limits: Limits | None = None) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as client:
            bench = Bench(client, limits or Limits())
            running = asyncio.create_task(bench.dispatcher.run())
            try:
                await body(bench)
            finally:
                bench.dispatcher.stop()
                await running

    asyncio.run(main())


class Case(NamedTuple):
    """One push, what is said to it, and how it ends."""

    name: str
    lane: Lane
    to: str
    answers: list[Outcome]
    endings: list[tuple[str, str]]
    graves: int


CASES = [
    ("waits", "marketing", "wait", [], [("waiting", "quiet_hours"), ("sent", "")], 0),
    ("delivered", "marketing", "ok", [], [("sent", "")], 0),
    ("suppressed", "marketing", "suppressed", [], [("suppressed", "no_consent")], 0),
    ("expired", "marketing", "late", [], [("suppressed", "expired")], 0),
    ("unusable", "marketing", "unusable", [], [("dead", "no such trigger")], 1),
    (
        "transient, then delivered",
        "marketing",
        "ok",
        [RetryAfter("503"), RetryAfter("503")],
        [("retrying", "503"), ("retrying", "503"), ("sent", "")],
        0,
    ),
    ("ambiguous marketing", "marketing", "ok", [Ambiguous("reset")], [("unknown", "reset")], 0),
    (
        "ambiguous transactional",
        "transactional",
        "ok",
        [Ambiguous("reset")],
        [("retrying", "reset"), ("sent", "")],
        0,
    ),
    (
        "refused, then by the next channel",
        "marketing",
        "ok",
        [Rejected("too large")],
        [("next_channel", "too large"), ("sent", "")],
        0,
    ),
    (
        "refused by every channel",
        "marketing",
        "ok",
        [Rejected("a"), Rejected("b")],
        [("next_channel", "a"), ("dead", "b")],
        1,
    ),
    (
        "dead address everywhere",
        "marketing",
        "ok",
        [Unregistered("a"), Unregistered("b")],
        [("next_channel", "a"), ("undeliverable", "b")],
        0,
    ),
    (
        "no target, then the next channel",
        "marketing",
        "nobody",
        [],
        [("next_channel", "no_target"), ("sent", "")],
        0,
    ),
    (
        "no target anywhere",
        "marketing",
        "nowhere",
        [],
        [("next_channel", "no_target"), ("undeliverable", "no_target")],
        0,
    ),
]


@pytest.mark.parametrize("case", [Case(*row) for row in CASES], ids=lambda case: case.name)
def test_every_ending(clean_redis_url: str, case: Case) -> None:
    """Each answer leads through its endings, and leaves nothing in the outbox."""

    async def body(bench: Bench) -> None:
        bench.recorder.answers["n"] = list(case.answers)
        await bench.outbox.enqueue(1, case.lane, "acme", pack("n", to=case.to))
        await bench.ended(len(case.endings))
        assert case.endings == [ending[1:] for ending in bench.notes.ended]
        assert case.graves == await bench.client.xlen("{s:01}:dead:acme")
        assert 0 == await bench.client.xlen(f"{{s:01}}:outbox:{case.lane}:acme")
        assert 0 == await bench.outbox.delayed_count()
        assert [] == bench.watcher.failures

    run(clean_redis_url, body)


def test_a_split_push_becomes_one_push_for_each_target(clean_redis_url: str) -> None:
    """Every part has its own id, attempts and ending."""

    async def body(bench: Bench) -> None:
        bench.recorder.answers["n#1"] = [RetryAfter("503")]
        await bench.outbox.enqueue(0, "marketing", "acme", pack("n", to="split"))
        assert [
            ("n", "split", ""),
            ("n#0", "sent", ""),
            ("n#1", "retrying", "503"),
            ("n#1", "sent", ""),
        ] == await bench.ended(4)

    run(clean_redis_url, body)


def test_a_follow_up_waits_until_it_is_canceled_or_due(clean_redis_url: str) -> None:
    """It is armed by the settling of a delivered push, in the same step."""

    async def body(bench: Bench) -> None:
        (late,) = pack("due")
        bench.notes.follow_ups = {
            "a": FollowUp("a/fallback", FAR, b"never"),
            "b": FollowUp("b/fallback", 1, late),
        }
        await bench.outbox.enqueue(0, "marketing", "acme", pack("a", "b"))
        assert ["a", "b", "due"] == [row[0] for row in await bench.ended(3)]
        assert ["a/fallback"] == await bench.outbox.cancel(0, ["a/fallback", "b/fallback"])

    run(clean_redis_url, body)


def test_a_broken_credential_parks_its_pushes_and_nobody_elses(clean_redis_url: str) -> None:
    """One refusal closes the gate; what waits goes to the delayed set, others flow."""

    async def body(bench: Bench) -> None:
        ids = [f"n{i:03}" for i in range(100)]
        bench.recorder.answers = {name: [Misconfigured("403")] for name in ids}
        await bench.outbox.enqueue(0, "marketing", "bad", pack(*ids))
        await bench.outbox.enqueue(0, "marketing", "good", pack(*(f"g{i}" for i in range(50))))
        ended = await bench.ended(150)
        assert {"parked"} == {ending for name, ending, _ in ended if name.startswith("n")}
        assert {"sent"} == {ending for name, ending, _ in ended if name.startswith("g")}
        assert 100 == await bench.outbox.delayed_count()
        assert ["bad/apns"] == bench.watcher.closed
        assert 16 >= sum(name.startswith("n") for name in bench.recorder.seen)

    run(clean_redis_url, body)


def test_a_senders_defect_and_a_hang_are_ambiguous(clean_redis_url: str) -> None:
    """A raising or hanging sender neither stops dispatch nor loses the push."""

    async def body(bench: Bench) -> None:
        await bench.outbox.enqueue(0, "marketing", "acme", pack("x", to="raises"))
        await bench.outbox.enqueue(0, "marketing", "acme", pack("y", to="hangs"))
        assert [
            ("x", "unknown", "RuntimeError: a defect"),
            ("y", "unknown", "no answer within 0.05 s"),
        ] == await bench.ended(2)
        assert ["send: a defect"] == bench.watcher.failures

    run(clean_redis_url, body, Limits(send=SendLimits(timeout_s=0.05)))


def test_a_poison_entry_hurts_nobody_and_ends_in_the_dead_letters(clean_redis_url: str) -> None:
    """Its batch is prepared one by one; it comes back by takeover until it has had its chances."""

    async def body(bench: Bench) -> None:
        await bench.outbox.enqueue(0, "marketing", "acme", pack("a"))
        await bench.outbox.enqueue(0, "marketing", "acme", pack("p", to="poison"))
        await bench.outbox.enqueue(0, "marketing", "acme", pack("b"))
        await bench.until(lambda: len(bench.notes.ended) == 3)
        assert [
            ("a", "sent", ""),
            ("b", "sent", ""),
            ("p", "dead", "delivered 3 times and never settled"),
        ] == await bench.ended(3)
        assert 1 == await bench.client.xlen("{s:00}:dead:acme")

    run(clean_redis_url, body, Limits(most_deliveries=2))


def test_storage_that_fails_for_a_while_delays_the_settling(clean_redis_url: str) -> None:
    """The record is tried again before the entry leaves the outbox."""

    async def body(bench: Bench) -> None:
        bench.notes.broken = 2
        await bench.outbox.enqueue(0, "marketing", "acme", pack("a"))
        assert [("a", "sent", "")] == await bench.ended(1)
        assert 2 == len(bench.watcher.failures)
        assert ["a"] == bench.recorder.seen

    run(clean_redis_url, body)


def test_a_record_that_never_works_does_not_hold_the_outbox(clean_redis_url: str) -> None:
    """After some tries the entry is settled anyway: sending it again would be worse."""

    async def body(bench: Bench) -> None:
        bench.notes.broken = 10_000
        await bench.outbox.enqueue(0, "marketing", "acme", pack("a"))
        await bench.until(lambda: bool(bench.recorder.seen) and not bench.dispatcher.in_flight)
        assert 0 == await bench.client.xlen("{s:00}:outbox:marketing:acme")

    run(clean_redis_url, body)


def test_a_transactional_push_overtakes_a_marketing_backlog(clean_redis_url: str) -> None:
    """Counted, not timed: few marketing pushes start between its arrival and its sending."""
    limits = Limits(most_in_flight=200, batch=50)

    async def body(bench: Bench) -> None:
        flood = pack(*(f"m{i}" for i in range(3000)))
        await bench.outbox.enqueue(0, "marketing", "acme", flood)
        await bench.until(lambda: len(bench.recorder.seen) > 300)
        before = len(bench.recorder.seen)
        await bench.outbox.enqueue(1, "transactional", "acme", pack("t"))
        await bench.until(lambda: "t" in bench.recorder.seen)
        assert bench.recorder.seen.index("t") - before < 2 * limits.most_in_flight
        await bench.ended(3001)

    run(clean_redis_url, body, limits)


def test_transactional_pushes_go_while_marketing_hangs(clean_redis_url: str) -> None:
    """A provider that answers nothing at all to marketing still has places for the other lane."""
    limits = Limits(most_in_flight=64, batch=32)

    async def body(bench: Bench) -> None:
        bench.recorder.gate.clear()
        await bench.outbox.enqueue(0, "marketing", "acme", pack(*(f"m{i}" for i in range(500))))
        await bench.until(lambda: len(bench.recorder.seen) >= 14)
        await bench.outbox.enqueue(0, "transactional", "acme", pack("t"))
        await bench.until(lambda: "t" in bench.recorder.seen)
        bench.recorder.gate.set()
        await bench.ended(501)

    run(clean_redis_url, body, limits)


def test_one_tenants_flood_does_not_delay_another(clean_redis_url: str) -> None:
    """A tenant whose provider hangs holds its share of places; the next one starts at once."""
    limits = Limits(most_in_flight=128, batch=64)

    async def body(bench: Bench) -> None:
        bench.recorder.gate.clear()
        await bench.outbox.enqueue(0, "marketing", "big", pack(*(f"b{i}" for i in range(2000))))
        await bench.until(lambda: bench.dispatcher.in_flight >= 40)
        await bench.outbox.enqueue(0, "marketing", "small", pack(*(f"s{i}" for i in range(10))))
        await bench.until(lambda: sum(name[0] == "s" for name in bench.recorder.seen) == 10)
        bench.recorder.gate.set()
        await bench.ended(2010)

    run(clean_redis_url, body, limits)


def test_stopping_finishes_what_is_in_flight_and_hands_back_the_rest(clean_redis_url: str) -> None:
    """After ``run`` returns nothing is pending: sent pushes are settled, unsent ones claimable."""

    async def main() -> None:
        async with Redis.from_url(clean_redis_url) as client:
            bench = Bench(client, Limits())
            await bench.outbox.enqueue(0, "marketing", "acme", pack(*(f"m{i}" for i in range(100))))
            bench.recorder.gate.clear()
            running = asyncio.create_task(bench.dispatcher.run())
            await bench.until(lambda: bench.dispatcher.in_flight == 100)
            bench.dispatcher.stop()
            asyncio.get_running_loop().call_later(0.05, bench.recorder.gate.set)
            await running
            sent = {name for name, ending, _ in bench.notes.ended if ending == "sent"}
            assert sent == set(bench.recorder.seen)
            left = await Outbox(client, TAGS, "two").claim(Room(9999, 9999))
            assert 100 - len(sent) == len(left)
            assert 0 < len(sent) < 100

    asyncio.run(main())
