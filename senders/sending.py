"""Sends what is ready, through the gates of its credentials.

A push waits in memory only while its gate opens soon; when a gate stays closed longer than
``hold_ms``, all that waits there goes back to the delayed set, so that one broken credential holds
no place that others could use.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from senders.conclude import Concluded, Work, bury, conclude, conclude_unsent, park
from senders.deadlines import Deadlines
from senders.flow import Gate
from senders.model import Ambiguous, Outcome
from senders.pushes import Observer, Pushes, Settled, Suppressed
from senders.retry import Random, Standing, decide, schedule_of

Clock = Callable[[], int]  # epoch milliseconds


class SendLimits(NamedTuple):
    """The bounds of sending."""

    timeout_s: float = 30.0
    hold_ms: int = 2_000
    park_spread: float = 0.5  # parked pushes come back over this part of the time they waited
    forget_gate_ms: int = 3_600_000


class Sending:
    """The gates and the sends in flight; every work that joins ends in one ``concluded`` call."""

    def __init__(
        self,
        pushes: Pushes,
        concluded: Callable[[Concluded], None],
        *,
        limits: SendLimits,
        clock: Clock,
        random: Random,
        observer: Observer,
    ) -> None:
        self._pushes = pushes
        self._concluded = concluded
        self._limits = limits
        self._clock = clock
        self._random = random
        self._observer = observer
        self._gates: dict[str, Gate[Work]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._sends: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(limits.timeout_s)

    def join(self, work: Work) -> None:
        """Queue at the gate of its credential. Call ``pump`` when the batch has joined."""
        name = work.ready.gate
        if name not in self._gates:
            self._gates[name] = Gate(work.ready.limits)
        self._gates[name].join(work, work.claimed.lane)

    def pump(self, name: str) -> None:
        """Start what may be sent now at this gate, and see that it goes on later."""
        gate, now = self._gates[name], self._clock()
        while work := gate.take(now):
            if 0 < work.ready.message.expires_at <= now:
                gate.leave(work.claimed.lane, None, now)
                expired = Suppressed("expired", "it waited too long for its provider")
                self._concluded(conclude_unsent(self._pushes, work.claimed, expired))
            else:
                send = asyncio.create_task(self._send(name, gate, work))
                self._sends.add(send)
                send.add_done_callback(self._sends.discard)
        if len(gate) and (opens_at := gate.opens_at(now)) > now:
            self._come_back(name, gate, opens_at, now)

    async def drain(self, timeout_s: float) -> list[Work]:
        """Let sends in flight end; returns the work that was not sent.

        Sends that do not end in time are called off and conclude nothing: whether they arrived is
        unknown, and their entries will be taken over.
        """
        unsent = [work for gate in self._gates.values() for work in gate.drain()]
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._sends:
            _, late = await asyncio.wait(self._sends, timeout=timeout_s)
            for send in late:
                send.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return unsent

    def forget_idle_gates(self) -> None:
        """Forget gates that nothing has passed for a long time."""
        before = self._clock() - self._limits.forget_gate_ms
        for name, gate in list(self._gates.items()):
            if not gate.in_flight and not len(gate) and gate.used_at < before:
                del self._gates[name]

    async def _send(self, name: str, gate: Gate[Work], work: Work) -> None:
        started_at = self._clock()
        was_closed = gate.breaker.is_closed
        try:
            outcome = await self._ask(work)
        except BaseException:
            gate.leave(work.claimed.lane, None, self._clock())
            raise
        gate.leave(work.claimed.lane, outcome, self._clock())
        now = self._clock()
        self._observer.sent(work.ready, outcome, now - started_at)
        if was_closed and not gate.breaker.is_closed:
            self._observer.gate_closed(name, gate.breaker.open_until)
        self._concluded(self._conclude(work, outcome, gate.opens_at(now), now))
        self.pump(name)

    def _conclude(self, work: Work, outcome: Outcome, opens_at: int, now: int) -> Concluded:
        try:
            verdict = decide(outcome, _standing(work), now, self._random)
            return conclude(self._pushes, work, outcome, verdict, self._spread(opens_at, now))
        except Exception as error:  # noqa: BLE001 - the application could not rewrite its payload
            self._observer.failed("conclude", error)
            reason = f"{type(error).__name__}: {error}"
            return bury(Settled(work.claimed, work.ready, "dead", reason, outcome))

    async def _ask(self, work: Work) -> Outcome:
        sender, message, target = work.ready.sender, work.ready.message, work.ready.target
        running = self._deadlines.start()
        try:
            return await sender.send(message, target)
        except asyncio.CancelledError:
            if not self._deadlines.is_late(running):
                raise
            return Ambiguous(f"no answer within {self._limits.timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - a sender's defect must not lose the push
            self._observer.failed("send", error)
            return Ambiguous(f"{type(error).__name__}: {error}")
        finally:
            self._deadlines.end(running)

    def _come_back(self, name: str, gate: Gate[Work], opens_at: int, now: int) -> None:
        if opens_at - now > self._limits.hold_ms:
            for work in gate.drain():
                until = self._spread(opens_at, now)
                self._concluded(park(work, until, "the credential is held back"))
        elif name not in self._timers:
            delay_s = (opens_at - now) / 1000
            loop = asyncio.get_running_loop()
            self._timers[name] = loop.call_later(delay_s, self._on_timer, name)

    def _on_timer(self, name: str) -> None:
        del self._timers[name]
        self.pump(name)

    def _spread(self, at: int, now: int) -> int:
        # All at once would find the gate half open: one would pass and the rest would park again.
        return at + int(self._random() * self._limits.park_spread * (at - now)) + 1


def _standing(work: Work) -> Standing:
    ready = work.ready
    return Standing(
        work.claimed.lane,
        ready.attempt,
        ready.message.expires_at,
        schedule_of(ready.target.provider),
    )
