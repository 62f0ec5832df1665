"""What happened in one run, as plain data: what was sent, stored, run, settled, what struck and who stepped in.

Times are seconds of CLOCK_MONOTONIC, the same in all processes of a machine. The order of attempts is the order of
their lines in the record, since every line is one appending write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple


class Sent(NamedTuple):
    """One notification; `accepted_s` is None when no 2xx was ever seen for it."""

    key: str
    n: int
    type: str
    sent_s: float
    accepted_s: float | None


class Stored(NamedTuple):
    """One event in the log; of a timer, its name and the event that set it."""

    event_id: str
    type: str
    key: str
    n: int
    timer: tuple[str, str] = ("", "")

    @property
    def lane(self) -> int:
        return int(self.event_id.partition("-")[0])

    @property
    def order(self) -> tuple[int, int]:
        _, ms, seq = self.event_id.split("-")
        return int(ms), int(seq)


@dataclass(slots=True)
class Run:
    """One attempt.

    Attributes:
        began_at, ended_at: places of its lines in the record; the second is None when its process died of it.
        replayed: the handler saw `event.replayed`: an operator asked for it again.
    """

    handler: str
    event_id: str
    key: str
    n: int
    attempt: int
    pid: int
    began_at: int
    began_s: float
    ended_at: int | None = None
    ended_s: float | None = None
    outcome: str = ""
    result: str = ""
    replayed: bool = False
    type: str = ""

    def __str__(self) -> str:
        end = "no end" if self.ended_s is None else f"to {self.ended_s:.3f} {self.outcome}"
        again = " replayed" if self.replayed else ""
        return (
            f"line {self.began_at}: {self.handler} {self.event_id} {self.key} n={self.n} "
            f"attempt {self.attempt}{again} pid {self.pid} from {self.began_s:.3f} {end}"
        )


class Effect(NamedTuple):
    """A once-only step that was really carried out."""

    scope: str
    step: str
    token: str
    pid: int


class Ended(NamedTuple):
    """A delivery that is settled, as the history of the log has it.

    Attributes:
        at_ms: when, by the clock of Redis.
    """

    handler: str
    event_id: str
    outcome: str
    reason: str
    at_ms: int = 0


class Letter(NamedTuple):
    """A dead letter that lies there at the end."""

    handler: str
    event_id: str


class Kept(NamedTuple):
    """What is left of a lane at the end, and how many events it ever had."""

    added: int
    event_ids: frozenset[str]


class Hold(NamedTuple):
    """A handler was kept from starting anything: paused, or away under another name.

    Attributes:
        asked_s, confirmed_s: when the command began, and when it said that it was done; None when it never did.
        lifting_s, lifted_s: the same of the command that ended it.
    """

    handler: str
    kind: Literal["pause", "rename"]
    asked_s: float
    confirmed_s: float | None
    lifting_s: float
    lifted_s: float


class Again(NamedTuple):
    """An operator asked for events of a handler once more: a replay of kept ones, or a retry of the dead.

    Attributes:
        asked_ms, asked_s, ended_ms: when the command began, by both clocks, and when it was over.
        completed: it said that it had done all of it.
        from_ms, to_ms, type, key: of a replay, what it means; '' = any.
        chosen: of a completed replay, the events that it means and that were still kept when it was over.
    """

    handler: str
    kind: Literal["replay", "retry"]
    asked_ms: int
    asked_s: float
    ended_ms: int
    completed: bool
    from_ms: int = 0
    to_ms: int = 0
    type: str = ""
    key: str = ""
    chosen: frozenset[str] = frozenset()

    def means(self, event: Stored) -> bool:
        """Whether a replay means this event."""
        arrived_ms = event.order[0]
        return (
            self.from_ms <= arrived_ms <= self.to_ms
            and self.type in ("", event.type)
            and self.key in ("", event.key)
        )


class Position(NamedTuple):
    """What the log says of a handler at the end."""

    waiting: int
    open: int
    dead: int
    stats: Mapping[str, int]


class Span(NamedTuple):
    """From when to when, of a process or of everything (`pid` 0)."""

    from_s: float
    to_s: float
    pid: int = 0


class Strike(NamedTuple):
    """What was done to the deployment.

    Attributes:
        held: pairs, each `<handler>|<lane>`, whose lease was lost by it.
    """

    at_s: float
    kind: str
    pid: int = 0
    held: frozenset[str] = frozenset()


@dataclass
class Story:
    """All of it.

    Attributes:
        sent: per entity in the order of sending; the next one goes out when the answer to the one before is known.
        log: every event there ever was, every lane in its own order; of which `kept` is left at the end.
        letters: dead letters at the end.
        holds, agains: what the operator on call did.
        clock_ms: what to add to the monotonic clock, in milliseconds, to have the clock of Redis.
        widened_ms: when the log had the types that the next version of the code wants, by the clock of Redis; None
            when it was never deployed.
        stops: when processes were stopped.
        outages: when Redis was not there, or no process could reach it.
        lives, helpers: when worker processes ran, and those that they started.
        ups: process id of a worker -> when it had come up.
        timer_ends, states: ends of the handler of timers, and what it keeps of each entity at the end.
    """

    sent: list[Sent] = field(default_factory=list)
    log: list[Stored] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    kept: dict[int, Kept] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    agains: list[Again] = field(default_factory=list)
    clock_ms: float = 0.0
    widened_ms: int | None = None
    strikes: list[Strike] = field(default_factory=list)
    stops: list[Span] = field(default_factory=list)
    outages: list[Span] = field(default_factory=list)
    lives: list[Span] = field(default_factory=list)
    helpers: list[Span] = field(default_factory=list)
    ups: dict[int, float] = field(default_factory=dict)
    timer_ends: list[Ended] = field(default_factory=list)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)


def stored(lane: int, stream_id: bytes, fields: Mapping[bytes, bytes]) -> Stored:
    """An event as it lies in its lane."""
    body = json.loads(fields[b"b"])
    timer = (body.get("name", ""), body.get("setBy", ""))
    n = int(body.get("n", 0))
    return Stored(f"{lane}-{stream_id.decode()}", fields[b"t"].decode(), fields[b"k"].decode(), n, timer)


def read_timers(lines: Iterable[bytes]) -> dict[str, tuple[str, str]]:
    """Event id -> name and setting event, of the timers that a handler was given."""
    return {rest[0]: (rest[1], rest[2]) for what, *rest in map(json.loads, lines) if what == "t"}


def read_record(lines: Iterable[bytes]) -> tuple[list[Run], list[Effect]]:
    """Attempts in the order they began, and the effects of once-only steps."""
    runs: dict[str, Run] = {}
    effects: list[Effect] = []
    for at, line in enumerate(lines, 1):
        what, *rest = json.loads(line)
        if what == "b":
            run, handler, event_id, key, n, attempt, pid, seconds, replayed, type_ = rest
            runs[run] = Run(
                handler, event_id, key, n, attempt, pid, at, seconds, replayed=replayed, type=type_
            )
        elif what == "e":
            run, _, seconds, outcome, result = rest
            found = runs[run]
            found.ended_at, found.ended_s, found.outcome, found.result = at, seconds, outcome, result
        elif what == "x":
            effects.append(Effect(*rest))
    return list(runs.values()), effects
