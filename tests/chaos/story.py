"""What happened in one run, as plain data: what was sent, stored, run, settled, and what struck meanwhile.

Times are seconds of CLOCK_MONOTONIC, the same in all processes of a machine. The order of attempts is the order of
their lines in the record, since every line is one appending write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Sent(NamedTuple):
    """One notification; `accepted_s` is None when no 2xx was ever seen for it."""

    key: str
    n: int
    type: str
    sent_s: float
    accepted_s: float | None


class Stored(NamedTuple):
    """One event in the log."""

    event_id: str
    type: str
    key: str
    n: int

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

    def __str__(self) -> str:
        end = "no end" if self.ended_s is None else f"to {self.ended_s:.3f} {self.outcome}"
        return (
            f"line {self.began_at}: {self.handler} {self.event_id} {self.key} n={self.n} "
            f"attempt {self.attempt} pid {self.pid} from {self.began_s:.3f} {end}"
        )


class Effect(NamedTuple):
    """A once-only step that was really carried out."""

    scope: str
    step: str
    token: str
    pid: int


class Ended(NamedTuple):
    """A delivery that is settled, as the history of the log has it."""

    handler: str
    event_id: str
    outcome: str
    reason: str


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
        sent: per entity in the order of sending; the next one goes out when the fate of the one before is known.
        log: every lane in its own order.
        stops: when processes were stopped.
        outages: when Redis was not there, or nobody got through to it.
        lives, helpers: when worker processes ran, and those that they started.
        ups: process id of a worker -> when it had come up.
    """

    sent: list[Sent] = field(default_factory=list)
    log: list[Stored] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    strikes: list[Strike] = field(default_factory=list)
    stops: list[Span] = field(default_factory=list)
    outages: list[Span] = field(default_factory=list)
    lives: list[Span] = field(default_factory=list)
    helpers: list[Span] = field(default_factory=list)
    ups: dict[int, float] = field(default_factory=dict)


def read_record(lines: Iterable[bytes]) -> tuple[list[Run], list[Effect]]:
    """Attempts in the order they began, and the effects of once-only steps."""
    runs: dict[str, Run] = {}
    effects: list[Effect] = []
    for at, line in enumerate(lines, 1):
        what, *rest = json.loads(line)
        if what == "b":
            run, handler, event_id, key, n, attempt, pid, seconds = rest
            runs[run] = Run(handler, event_id, key, n, attempt, pid, at, seconds)
        elif what == "e":
            run, _, seconds, outcome, result = rest
            found = runs[run]
            found.ended_at, found.ended_s, found.outcome, found.result = at, seconds, outcome, result
        else:
            effects.append(Effect(*rest))
    return list(runs.values()), effects
