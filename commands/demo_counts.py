"""Counts what a simulated tenant sent, what the log took and what the handlers did, and checks that it adds up.

Pure: numbers in, findings out. It knows nothing of processes, of Redis or of how numbers are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventlog.inspection.events import LogCounts
from eventlog.internal import GAP_CLOSED, is_wanted
from eventlog.registry import HandlerPosition

_BOUND = "ms<="


@dataclass(frozen=True)
class HandlerTally:
    """One handler.

    Attributes:
        wanted: events in the log that it wants, those of our own making included.
        retried: attempts that were put off or failed, and were made again.
        latencies: settled deliveries by upper bound of the time since acceptance, in ms.
    """

    name: str
    wanted: int
    done: int = 0
    skipped: int = 0
    dead: int = 0
    retried: int = 0
    latencies: Mapping[int, int] = field(default_factory=dict)

    @property
    def handled(self) -> int:
        return self.done + self.skipped

    @property
    def lag(self) -> int:
        """Events that are not settled yet; not below zero, since the numbers are read one after the other."""
        return max(0, self.wanted - self.handled - self.dead)


@dataclass(frozen=True)
class Tally:
    """Everything, at one moment.

    Attributes:
        sent: different notifications; `resent` of them were sent again because a handler asked for it.
        delivered, pending, failed, dropped: what became of them at the simulator; `failed` = given up.
        answers: attempts by what was answered: a status, or why there was no answer.
        accepted: events in the log, without those of our own making.
        gaps: outages of the receiver that it found.
    """

    sent: int = 0
    delivered: int = 0
    pending: int = 0
    failed: int = 0
    dropped: int = 0
    resent: int = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    actions: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    gaps: int = 0
    handlers: Sequence[HandlerTally] = ()

    @property
    def refused(self) -> dict[str, int]:
        """Answers other than 2xx, by status."""
        return {said: n for said, n in self.answers.items() if said.isdigit() and not said.startswith("2")}

    @property
    def unanswered(self) -> int:
        """Attempts while the receiver was stopped."""
        return sum(n for said, n in self.answers.items() if not said.isdigit())

    @property
    def welcomed(self) -> int:
        """Answers that mean that the event was accepted."""
        return sum(n for said, n in self.answers.items() if said.isdigit() and said.startswith("2"))


def count(
    tenant: Mapping[str, Any],
    log: LogCounts,
    positions: Iterable[HandlerPosition],
    *,
    forged: Mapping[str, int] | None = None,
) -> Tally:
    """Put the numbers of all sides together.

    Args:
        tenant: the simulator's state, read before the log's counts.
        forged: answers to notifications with a wrong signature.
    """
    answers = dict(tenant["answers"])
    for said, n in (forged or {}).items():
        answers[said] = answers.get(said, 0) + n
    arrived = {**log.by_type, **log.internal}
    return Tally(
        **{name: tenant[name] for name in ("sent", "delivered", "pending", "failed", "dropped", "resent")},
        answers=dict(sorted(answers.items())),
        actions=tenant["action_counts"],
        accepted=log.accepted,
        duplicates=log.duplicates,
        quarantined=log.quarantined,
        gaps=log.internal.get(GAP_CLOSED, 0),
        handlers=tuple(_of_handler(position, arrived) for position in positions),
    )


def _of_handler(position: HandlerPosition, arrived: Mapping[str, int]) -> HandlerTally:
    stats = position.stats
    return HandlerTally(
        position.name,
        sum(n for name, n in arrived.items() if is_wanted(position.types, name)),
        done=stats.get("done", 0),
        skipped=stats.get("skipped", 0),
        dead=max(position.dead, stats.get("dead", 0)),
        retried=stats.get("retried", 0),
        latencies={int(k.removeprefix(_BOUND)): n for k, n in stats.items() if k.startswith(_BOUND)},
    )


def shortfalls(tally: Tally, expected: Iterable[str]) -> list[str]:
    """List what is missing: notifications that have not arrived, and events of each `expected` handler."""
    found = []
    if not tally.sent:
        found.append("nothing was sent")
    for what, n in (("on their way", tally.pending), ("given up", tally.failed), ("dropped", tally.dropped)):
        if n:
            found.append(f"{n} of {tally.sent} notifications did not arrive: {what}")
    known = tally.accepted + tally.duplicates + tally.quarantined
    if known < max(tally.welcomed, tally.delivered):
        found.append(f"{tally.welcomed} were answered as accepted, but only {known} are in the log")
    if tally.quarantined:
        found.append(f"{tally.quarantined} could not be read and are in quarantine")
    present = {handler.name for handler in tally.handlers}
    found += [f"handler {name} is not there" for name in expected if name not in present]
    for handler in tally.handlers:
        if handler.handled != handler.wanted:
            found.append(f"{handler.name} handled {handler.handled} of {handler.wanted} events")
        if handler.dead:
            found.append(f"{handler.name} gave up on {handler.dead} events")
    return found


def within_ms(latencies: Mapping[int, int], share: float) -> int | None:
    """Return the bound under which this share of deliveries stayed (0.5: the median); None without deliveries."""
    seen, wanted = 0, share * sum(latencies.values())
    for bound, n in sorted(latencies.items()):
        seen += n
        if seen >= wanted:
            return bound
    return None
