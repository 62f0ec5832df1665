"""The worker processes that are alive, and which pairs each of them works on.

Every process beats about once a second. A beat is a hint for sharing the work: leases alone decide who works on a
pair. The `workers` keys hold live processes only, since each beat removes those that have been silent.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from eventlog.clock import redis_ms
from eventlog.handler_faults import Fault, packed, unpacked
from eventlog.reading import readable
from eventlog.text import bounded

if TYPE_CHECKING:
    from eventlog.log import EventLog

BEAT_S = 1.0
LIFE_MS = 4_000  # of a beat


@dataclass(frozen=True)
class Part:
    """What one process does for one handler.

    Attributes:
        held: lanes that it works on and keeps.
        ending: lanes in which it starts nothing more, and whose lease it still has.
        outdated: only newer code may go on with some of its events.
        per_s: deliveries settled per second, lately.
    """

    held: frozenset[int] = frozenset()
    ending: frozenset[int] = frozenset()
    outdated: bool = False
    per_s: float = 0.0


@dataclass(frozen=True)
class Condition:
    """The health of a process, as its last beat reported it.

    Attributes:
        loop_lag_s: longest delay of its event loop, lately.
        leases_lost: drains that lost their lease, since it started.
        faulty: plugins and handlers that could not be loaded or made ready.
    """

    loop_lag_s: float = 0.0
    leases_lost: int = 0
    faulty: int = 0


FINE = Condition()


@dataclass(frozen=True)
class Process:
    """A live worker process, as its last beat described it.

    Attributes:
        name: `host:pid:random`.
        queue: the RQ queue that it serves.
        age_ms: time since that beat.
        free: further pairs that it can work on at the same time.
        parts: by the name of each handler that it serves.
        release: version of this program; empty if an earlier one beats.
        faults: what it cannot run.
        condition: None if an earlier release beats.
    """

    name: str
    age_ms: int
    free: int
    parts: Mapping[str, Part]
    queue: str = ""
    release: str = ""
    faults: tuple[Fault, ...] = ()
    condition: Condition | None = None

    @property
    def label(self) -> str:
        """Return `host:pid`, for people and metrics."""
        return self.name.rpartition(":")[0]


@dataclass(frozen=True)
class View:
    """The answer to a beat.

    Attributes:
        processes: those of the same queue, the beating one included.
        due: lanes by handler, of pairs that wait for a process.
        outdated: handlers for which newer code is declared.
    """

    processes: list[Process]
    due: Mapping[str, frozenset[int]] = field(default_factory=dict)
    outdated: frozenset[str] = frozenset()


async def beat(
    log: EventLog,
    queue: str,
    process: str,
    free: int,
    parts: Mapping[str, Part],
    versions: Mapping[str, str],
    faults: Sequence[Fault] = (),
    condition: Condition = FINE,
) -> View:
    """Report what a process works on, and return what all processes of its queue reported.

    Args:
        process: `host:pid:random`.
        versions: of the code, by the name of each handler that it serves.
        faults: handlers and plugins that it cannot run.
    """
    says: dict[str, object] = {"free": free, "parts": {name: _packed(part) for name, part in parts.items()}}
    how = [round(condition.loop_lag_s, 4), condition.leases_lost, condition.faulty]
    says |= {"release": _release(), "how": how}
    if faults:
        says["faults"] = packed(faults)
    asked: list[str | int] = [log.prefix, queue, process, LIFE_MS, json.dumps(says)]
    for item in versions.items():
        asked += item
    there, raw_due, outdated = await log.scripts.present(args=asked)
    due = defaultdict(set)
    for pair in raw_due:
        name, _, lane = pair.decode("utf-8", "replace").rpartition("|")
        due[name].add(int(lane))
    return View(
        _readable((queue, *said) for said in there),
        {name: frozenset(lanes) for name, lanes in due.items()},
        frozenset(name.decode() for name in outdated),
    )


async def leave(log: EventLog, queue: str, process: str) -> None:
    """Note that a process stops, so that the others take over."""
    await log.scripts.present(args=[log.prefix, queue, process, LIFE_MS, ""])


async def present(log: EventLog) -> list[Process]:
    """Return the live processes of all queues, sorted by name."""
    now_ms = redis_ms(await log.redis.time())
    beats = await log.redis.zrange(
        log.key("workers:beats"), now_ms - LIFE_MS, "+inf", byscore=True, withscores=True
    )
    said = await log.redis.hmget(log.key("workers"), [member for member, _ in beats]) if beats else []
    return sorted(
        _readable(
            (*_names_of(member), now_ms - int(at_ms), raw)
            for (member, at_ms), raw in zip(beats, said, strict=True)
            if raw is not None
        ),
        key=lambda process: process.name,
    )


def served_names(processes: Iterable[Process]) -> frozenset[str]:
    """Return the names of the handlers that at least one of these processes serves."""
    return frozenset(name for process in processes for name in process.parts)


async def pairs_by_process(log: EventLog) -> dict[str, dict[str, int]]:
    """Return, by handler, how many of its pairs each live process works on (`host:pid` → number)."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for process in await present(log):
        for handler, part in process.parts.items():
            found[handler][process.label] += len(part.held | part.ending)
    return {handler: dict(counts) for handler, counts in found.items()}


async def settled_per_s(log: EventLog) -> dict[str, float]:
    """Return, by handler, how many deliveries all live processes settle per second, lately."""
    found: Counter[str] = Counter()
    for process in await present(log):
        for handler, part in process.parts.items():
            found[handler] += part.per_s  # type: ignore[assignment]
    return dict(found)


def _packed(part: Part) -> list[object]:
    return [sorted(part.held), sorted(part.ending), int(part.outdated), round(part.per_s, 1)]


def _names_of(member: bytes) -> tuple[str, bytes]:
    queue, _, name = member.rpartition(b"|")
    return queue.decode("utf-8", "replace"), name


def _readable(beats: Iterable[tuple[str, bytes, int, bytes]]) -> list[Process]:
    """Return what beats say; one that no worker wrote says nothing."""
    return [process for beat in beats if (process := readable(_process, *beat)) is not None]


def _process(queue: str, name: bytes, age_ms: int, raw: bytes) -> Process:
    said = json.loads(raw)
    parts = {
        # What a later release adds to a part is ignored.
        handler: Part(frozenset(part[0]), frozenset(part[1]), bool(part[2]), part[3])
        for handler, part in said["parts"].items()
    }
    release, faults = bounded(str(said.get("release", ""))), unpacked(said.get("faults"))
    how = said.get("how")
    condition = None if how is None else Condition(float(how[0]), int(how[1]), int(how[2]))
    return Process(name.decode(), age_ms, said["free"], parts, queue, release, faults, condition)


@cache
def _release() -> str:
    try:
        return version("ampeco-receiver")
    except PackageNotFoundError:
        return ""
