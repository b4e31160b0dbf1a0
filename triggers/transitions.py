"""The state machine as one table.

Theory
======

**Two clocks.** Whatever a device reports is judged in *event time*: the instant at which the
position was true. Processing time, the instant at which we learn of it, only says when a timer
must be looked at. So a batch that comes hours late gives the events it would have given live.

**One watermark.** Event time never runs backwards for a device. A ping at or before the watermark
changes nothing (it is *late*, or a *duplicate*), therefore the state is a function of the set of
accepted pings in event order, not of how they were packed, repeated or shuffled.

**Phases.** A device is OUTSIDE, ENTERING, INSIDE or EXITING each zone. ENTERING and EXITING are
doubts: there is evidence for a change, but not yet enough. A visit is open in INSIDE and EXITING.

**Signals.** Evidence and rules are first boiled down to one of seven signals (``machine``,
``beacon_presence``), and the table alone says what follows. A *leaning* signal is evidence that
needs company; how much company is counted per confirmation window. Two rules keep that count from
failing in practice: a fix that is inside by more than its own accuracy needs no company, and one
fix more than the required number, with nothing against it in between, confirms whatever time lies
between them; else a phone that reports every ten minutes could never leave.

**Timers are signals too.** SILENT is what remains when a zone's silence limit passes. Before a
ping at time t is judged, everything that was due up to t happens first, in event time, exactly as
if a timer had fired then. Whether the timer really fired first cannot be seen in the result, and
ids are deterministic, so both ways produce the same event.

**Dwell** is not a transition: it is reported while the phase is INSIDE, by the first fix at or
after the threshold that shows the device still there (then it is proven), or else by the timer
while the last evidence is fresh enough. A doubted visit (EXITING) never dwells by timer: its last
evidence says the device is out. If the doubt is dispelled the dwell is proven after all.

**When things occurred.** A confirmed enter occurred at the first fix of its confirming run, a
confirmed exit at the first fix outside; a dwell exactly at its threshold; an exit by silence when
the silence limit passed; a crossing at the interpolated instant.

**Approach rings** are zones of their own, whose edge lies ``within_m`` further out. They run
through the same table; their enter is the ``approach`` event, their exit is not reported.
"""

from enum import IntEnum

from triggers.state import Phase


class Signal(IntEnum):
    """What one input, or a timer, says about one zone."""

    IN = 0  # inside, sure enough
    LEAN_IN = 1  # inside, but more is needed to be sure
    OUT = 2  # outside, sure enough
    LEAN_OUT = 3  # outside, but more is needed to be sure
    UNSURE = 4  # says nothing
    SILENT = 5  # no evidence for longer than the zone allows
    REMOVED = 6  # the zone is gone


class Effect(IntEnum):
    """What a transition does besides changing the phase."""

    NOTHING = 0
    COUNT = 1  # one more fix for the pending change
    OPEN = 2  # the visit begins: enter
    STAY = 3  # fresh evidence for the open visit; a doubt, if any, is dispelled
    CLOSE = 4  # the visit ends: exit
    DROP = 5  # the pending enter is forgotten


OUTSIDE, ENTERING, INSIDE, EXITING = Phase
IN, LEAN_IN, OUT, LEAN_OUT, UNSURE, SILENT, REMOVED = Signal
NOTHING, COUNT, OPEN, STAY, CLOSE, DROP = Effect

Row = dict[Signal, tuple[Phase, Effect]]

TRANSITIONS: dict[Phase, Row] = {
    OUTSIDE: {
        IN: (INSIDE, OPEN),
        LEAN_IN: (ENTERING, COUNT),
        OUT: (OUTSIDE, NOTHING),
        LEAN_OUT: (OUTSIDE, NOTHING),
        UNSURE: (OUTSIDE, NOTHING),
        SILENT: (OUTSIDE, NOTHING),
        REMOVED: (OUTSIDE, NOTHING),
    },
    ENTERING: {
        IN: (INSIDE, OPEN),
        LEAN_IN: (ENTERING, COUNT),
        OUT: (OUTSIDE, DROP),
        LEAN_OUT: (OUTSIDE, DROP),
        UNSURE: (ENTERING, NOTHING),
        SILENT: (OUTSIDE, DROP),
        REMOVED: (OUTSIDE, DROP),
    },
    INSIDE: {
        IN: (INSIDE, STAY),
        LEAN_IN: (INSIDE, STAY),
        OUT: (OUTSIDE, CLOSE),
        LEAN_OUT: (EXITING, COUNT),
        UNSURE: (INSIDE, NOTHING),
        SILENT: (OUTSIDE, CLOSE),
        REMOVED: (OUTSIDE, CLOSE),
    },
    EXITING: {
        IN: (INSIDE, STAY),
        LEAN_IN: (INSIDE, STAY),
        OUT: (OUTSIDE, CLOSE),
        LEAN_OUT: (EXITING, COUNT),
        UNSURE: (EXITING, NOTHING),
        SILENT: (OUTSIDE, CLOSE),
        REMOVED: (OUTSIDE, CLOSE),
    },
}

# The same by position, for speed: TABLE[phase * len(Signal) + signal].
TABLE: tuple[tuple[int, int], ...] = tuple(
    (int(TRANSITIONS[phase][signal][0]), int(TRANSITIONS[phase][signal][1]))
    for phase in Phase
    for signal in Signal
)
