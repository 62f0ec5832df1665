"""Measure what the log takes in Redis, kind by kind.

What senders, authors or time can make grow is counted here. What is not counted is bounded by the number of handlers,
lanes and processes; "What bounds each key" in the README lists both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eventlog.duplicates import own_keys
from eventlog.log import EventLog
from eventlog.reading import whole

_SAMPLES = 20  # for tables whose fields all have about one size
_LEDGER_PAGE = 2_000  # keys of Redis that one count looks at
_TABLES = (
    "added", "asking", "attempted", "audit", "audit:done", "away", "blocked", "budget", "budget:users", "counted",
    "counts", "cur",
    "door", "dropped", "earlier", "fresh", "gaps", "gen", "handlers", "heard", "held", "left", "minuted",
    "minutes", "newest", "paused", "queues", "registration", "released", "replays", "replicas", "retired",
    "rotation", "routes", "runto", "shapes", "since", "subscription", "tenant", "timers", "unwanted",
    "usual", "wants", "workers", "workers:beats",
)  # fmt: skip


class Sizes(NamedTuple):
    """Bytes of each kind, and of Redis.

    Attributes:
        duplicates: what recognizes duplicates.
        history: how deliveries ended.
        steps: ledgers of once-only steps, as the last complete count found them.
        states: what handlers keep of entities, as the same count found it.
        timers: of handlers, that are pending.
        tables: counters, declarations, positions and gaps.
    """

    events: int
    open: int
    dead: int
    quarantine: int
    duplicates: int
    history: int
    steps: int
    states: int
    timers: int
    tables: int
    used_memory: int
    max_memory: int

    @property
    def taken(self) -> int:
        return sum(self[:10])


async def measure(
    log: EventLog,
    handlers: Sequence[str],
    window: Sequence[Sequence[str]],
    *,
    steps: int,
    states: int,
    at_ms: int,
) -> Sizes:
    """Measure each kind. Streams are counted in full, node by node, since their ends can differ.

    Args:
        window: names of the keys of the duplicate window, by part.
        steps, states: bytes of both (`count_ledgers`).
    """
    pairs = [(name, lane) for name in handlers for lane in range(log.lanes)]
    kinds: Mapping[str, list[str]] = {
        "events": [log.key("events", lane) for lane in range(log.lanes)],
        "open": [log.key("open", *pair) for pair in pairs],
        "dead": [log.key("dead", name) for name in handlers],
        "quarantine": [log.key("quarantine")],
        "duplicates": [
            log.key(name) for name in (*own_keys(at_ms), *(key for part in window for key in part))
        ],
        "history": [log.key("history", *pair) for pair in pairs],
        "timers": [log.key(kind, *pair) for pair in pairs for kind in ("timers", "timersdue")],
        "tables": [log.key(name) for name in _TABLES] + [log.key("stats", name) for name in handlers],
    }
    async with log.redis.pipeline(transaction=False) as asked:
        for kind, keys in kinds.items():
            for key in keys:
                asked.memory_usage(key, samples=_SAMPLES if kind in ("open", "duplicates", "timers") else 0)
        asked.info("memory")
        *taken, memory = await asked.execute()
    sizes, at = {}, 0
    for kind, keys in kinds.items():
        sizes[kind] = sum(size or 0 for size in taken[at : at + len(keys)])
        at += len(keys)
    limits = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
    return Sizes(**sizes, steps=steps, states=states, used_memory=limits[0], max_memory=limits[1])


async def bytes_of_parts(log: EventLog, window: Sequence[Sequence[str]]) -> list[int]:
    """Return the bytes of each part of the duplicate window."""
    async with log.redis.pipeline(transaction=False) as asked:
        for part in window:
            for key in part:
                asked.memory_usage(log.key(key), samples=_SAMPLES)
        taken = iter(await asked.execute() if window else ())
    return [sum(next(taken) or 0 for _ in part) for part in window]


class Ledgers(NamedTuple):
    """What the ledgers and the states of entities take, and how far the count that is under way has come.

    Attributes:
        bytes: of all ledgers, as the last complete round found them; more, if this round has found more already.
        state_bytes: of all states, in the same way.
    """

    bytes: int
    cursor: int
    found: int
    state_bytes: int
    states_found: int

    @property
    def fields(self) -> dict[str, int]:
        """Return the fields of the `standing` record from which the next count goes on."""
        return {
            "steps": self.bytes,
            "steps_cursor": self.cursor,
            "steps_found": self.found,
            "states": self.state_bytes,
            "states_found": self.states_found,
        }


async def count_ledgers(log: EventLog) -> Ledgers:
    """Look at some more keys for ledgers of once-only steps and states of entities.

    Both have one key per event or entity, so one count looks at a page of Redis's keys only. Its place lies in the
    log, since another process may count next.
    """
    stored = await log.redis.hmget(log.key("standing"), *Ledgers(0, 0, 0, 0, 0).fields)
    known, cursor, found, known_states, states = (max(0, whole(value) or 0) for value in stored)
    head, state_head = log.key("ledger", "").encode(), log.key("state", "").encode()
    cursor, keys = await log.redis.scan(cursor, match=log.key("[ls]*"), count=_LEDGER_PAGE)
    keys = [key for key in keys if key.startswith((head, state_head))]
    async with log.redis.pipeline(transaction=False) as asked:
        for key in keys:
            asked.memory_usage(key, samples=0)
        sizes = await asked.execute() if keys else []
    for key, size in zip(keys, sizes, strict=True):
        if key.startswith(head):
            found += size or 0
        else:
            states += size or 0
    if int(cursor) == 0:
        return Ledgers(found, 0, 0, states, 0)
    return Ledgers(max(known, found), int(cursor), found, max(known_states, states), states)
