"""Faults: handlers and plugins that a worker process cannot run, as its beats carry them.

A beat is read by every process of a queue once a second, so the number of faults and their texts are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from eventlog.text import bounded

if TYPE_CHECKING:
    from eventlog.presence import Process

MOST = 50  # faults of one process
_CHARS = 300
_VALUES, _TEXTS = 6, 4


class Fault(NamedTuple):
    """A handler that a process cannot run, or a plugin that it could not load.

    Attributes:
        name: of the handler; for a plugin that could not be loaded, its source.
        reason: slug: `not-loaded`, `name-clash`, `settings-missing`, `settings-invalid`, `settings-failed`,
            `lifespan-failed`, `lifespan-hangs`, `lifespan-ended`.
        error: class of the error, or what is wrong with the settings; no values.
        where: `file:line in function`; empty where no line is known.
        since_ms: when it was found, Unix time in milliseconds.
        next_ms: when the process tries again; None when only a restart helps.
    """

    name: str
    reason: str
    error: str
    where: str = ""
    since_ms: int = 0
    next_ms: int | None = None

    @property
    def text(self) -> str:
        """Return what is wrong, and where, as one line."""
        place = f" at {self.where}" if self.where else ""
        return f"{self.reason}: {self.error}{place}"

    @property
    def is_of_settings(self) -> bool:
        """Return whether settings are missing or wrong. They do not change while a process runs."""
        return self.reason in ("settings-missing", "settings-invalid")

    def is_like(self, other: Fault | None) -> bool:
        """Return whether another fault is the same, apart from its times."""
        return other is not None and self[:4] == other[:4]


class Faulty(NamedTuple):
    """A fault, the live processes (`host:pid`) that report it, and a queue that one of them serves."""

    fault: Fault
    processes: tuple[str, ...]
    queue: str


def packed(faults: Iterable[Fault]) -> list[list[Any]]:
    """Return faults as a beat carries them."""
    kept = sorted(faults, key=lambda fault: fault[:4])[:MOST]
    return [[*(bounded(text, _CHARS) for text in fault[:4]), fault.since_ms, fault.next_ms] for fault in kept]


def unpacked(said: object) -> tuple[Fault, ...]:
    """Return the faults of a beat. What is not a fault, or has another shape, is left out."""
    found = []
    for item in said[:MOST] if isinstance(said, list) else ():
        if not isinstance(item, list) or len(item) < _VALUES:
            continue
        name, reason, error, where, since_ms, next_ms = item[:_VALUES]
        texts = [bounded(text, _CHARS) for text in (name, reason, error, where) if isinstance(text, str)]
        if isinstance(since_ms, int) and isinstance(next_ms, int | None) and len(texts) == _TEXTS:
            found.append(Fault(texts[0], texts[1], texts[2], texts[3], since_ms, next_ms))
    return tuple(found)


def faulty_by_name(processes: Sequence[Process]) -> Mapping[str, Faulty]:
    """Return the faults that live processes report, by name of handler or source. The oldest one stands for all."""
    found: dict[str, Faulty] = {}
    for process in processes:
        for fault in process.faults:
            before = found.get(fault.name)
            oldest = fault if before is None or fault.since_ms < before.fault.since_ms else before.fault
            known = before.processes if before is not None else ()
            found[fault.name] = Faulty(oldest, (*known, process.label), process.queue)
    return dict(sorted(found.items()))
