"""What is at work on the log now: code versions that workers declare, and RQ's queues and workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eventlog.log import EventLog
from eventlog.registry import read_registered

_DECLARED_MS = 180_000  # workers declare their handlers once a minute


@dataclass(frozen=True)
class Queue:
    """One queue of wake-ups.

    Attributes:
        waiting: wake-ups in it.
        workers: RQ workers that registered for it and are alive.
    """

    name: str
    waiting: int
    workers: int


async def versions_now(log: EventLog, now_ms: int) -> dict[str, tuple[str, ...]]:
    """Return, by handler, the code versions that workers declared within the last three minutes."""
    found: dict[str, list[str]] = {}
    for field, raw in (await log.redis.hgetall(log.key("handlers"))).items():
        name, _, version = field.decode("utf-8", "replace").partition("|")
        record = read_registered(raw)
        if record is not None and record["last_seen"] >= now_ms - _DECLARED_MS:
            found.setdefault(name, []).append(version)
    return {name: tuple(sorted(versions)) for name, versions in sorted(found.items())}


async def rq_queues(log: EventLog) -> list[Queue]:
    """Return the queues that handlers are in, sorted by name. RQ's keys begin with the log's prefix."""
    raw = await log.redis.smembers(log.key("queues"))
    names = sorted(name.decode() for name in raw)
    async with log.redis.pipeline(transaction=False) as asked:
        for name in names:
            asked.llen(log.key("rq", "queue", name))
            asked.smembers(log.key("rq", "workers", name))
        answers = await asked.execute() if names else []
    found = []
    for name, waiting, workers in zip(names, answers[::2], answers[1::2], strict=True):
        # A killed worker stays in the set until another one removes it; its own key ends by itself.
        alive = await log.redis.exists(*workers) if workers else 0
        found.append(Queue(name, waiting, alive))
    return found


def awake(queues: Iterable[Queue]) -> frozenset[str]:
    """Return the names of the queues that have an RQ worker."""
    return frozenset(queue.name for queue in queues if queue.workers)


def mixed(versions: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the handlers of which more than one version is at work."""
    return {name: those for name, those in versions.items() if len(those) > 1}
