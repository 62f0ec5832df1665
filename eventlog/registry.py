"""The registered handlers: declare them, list them with their positions, and tell which types they want."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from eventlog.log import EventLog

MISFIT = "misfit:"  # prefix of the `stats` counters that end with a notification type

_KEEP_VERSION_MS = 600_000
_MAX_LAG = 10_000
_PAGE = 1_000


@dataclass(frozen=True)
class Declaration:
    """What a worker declares about one handler when it starts.

    Attributes:
        version: of the code, so that old and new workers can run side by side.
        types: notification types it wants; `*` for all.
        start: where a handler that is new to this log begins.
        isolation: `process` when it runs in processes of its own.
    """

    name: str
    version: str
    types: tuple[str, ...]
    queue: str
    order: str
    start: Literal["now", "oldest"]
    isolation: str | None = None

    def to_json(self) -> str:
        """Return the part that the log stores as it is."""
        values: dict[str, Any] = {"types": sorted(self.types), "queue": self.queue, "order": self.order}
        return json.dumps({**values, "isolation": self.isolation} if self.isolation else values)


@dataclass(frozen=True)
class HandlerPosition:
    """A registered handler and its progress.

    Attributes:
        versions: code versions that workers declared recently, including the newest.
        waiting: events after its cursors, wanted or not, counted up to 10,000 per lane. Its lag is at most this.
        open: events that are running, waiting for a retry, or parked.
        stats: settled deliveries by outcome (`done`, `skipped`, `dead`), `retried`, the latency histogram
            (`ms<=N`), and payloads with fields that do not fit, by type (`misfit:<type>`).
    """

    name: str
    version: str
    types: tuple[str, ...]
    queue: str
    order: str
    last_seen_ms: int
    waiting: int
    open: int
    dead: int
    versions: tuple[str, ...] = ()
    stats: Mapping[str, int] = field(default_factory=dict)
    isolation: str | None = None


async def declare(
    log: EventLog,
    declarations: Sequence[Declaration],
    *,
    again: bool = False,
    keep_version_ms: int = _KEEP_VERSION_MS,
) -> frozenset[str]:
    """Register handlers, or renew their registration. A new handler gets a cursor on every lane.

    Args:
        again: only renew; a retired handler stays retired.
        keep_version_ms: how long the declaration of an older version counts after it was last renewed.

    Returns:
        Names that were not registered, because they are retired or were renamed.
    """
    arguments: list[Any] = [log.prefix, log.lanes, keep_version_ms, "1" if again else ""]
    for item in declarations:
        arguments += (item.name, item.version, item.to_json(), item.start)
    return frozenset(name.decode() for name in await log.scripts.declare(args=arguments))


async def wanted_types(log: EventLog) -> frozenset[str]:
    """Return the union of the types that registered handlers want; `*` when one wants everything."""
    return frozenset(name.decode() for name in await log.redis.hkeys(log.key("routes")))


async def wants(log: EventLog) -> list[frozenset[str]]:
    """Return the types that each registered handler wants; `*` for everything."""
    found = await log.redis.hvals(log.key("wants"))
    return [frozenset(types.decode().split("\n")) for types in found]


async def handler_names(log: EventLog) -> list[str]:
    """Return the names of the registered handlers, sorted."""
    return sorted(name.decode() for name in await log.redis.hkeys(log.key("newest")))


async def handlers(log: EventLog, *, measure: bool = True) -> list[HandlerPosition]:
    """Return every registered handler with its position, sorted by name.

    Args:
        measure: count the events that wait for each handler, which reads them. Otherwise `waiting` and `open` are 0.
    """
    newest = await log.redis.hgetall(log.key("newest"))
    registry = {k.decode(): json.loads(v) for k, v in (await log.redis.hgetall(log.key("handlers"))).items()}
    found = []
    for raw_name, raw_version in sorted(newest.items()):
        name, version = raw_name.decode(), raw_version.decode()
        record = registry.get(f"{name}|{version}", {})
        declaration = record.get("declaration", {})
        waiting = opened = 0
        for lane in range(log.lanes if measure else 0):
            after, in_open = await _lag(log, name, lane)
            waiting += after
            opened += in_open
        stats = await log.redis.hgetall(log.key("stats", name))
        found.append(
            HandlerPosition(
                name=name,
                version=version,
                types=tuple(declaration.get("types", ())),
                queue=declaration.get("queue", ""),
                order=declaration.get("order", ""),
                last_seen_ms=record.get("last_seen", 0),
                waiting=waiting,
                open=opened,
                dead=await log.redis.xlen(log.key("dead", name)),
                versions=tuple(sorted(of for n, _, of in (f.partition("|") for f in registry) if n == name)),
                stats={k.decode(): int(v) for k, v in stats.items()},
                isolation=declaration.get("isolation"),
            )
        )
    return found


async def _lag(log: EventLog, handler: str, lane: int) -> tuple[int, int]:
    after = (await log.redis.hget(log.key("cur"), f"{handler}|{lane}") or b"0-0").decode()
    waiting = 0
    while waiting < _MAX_LAG:
        page = await log.redis.xrange(log.key("events", lane), min=f"({after}", count=_PAGE)
        waiting += len(page)
        if len(page) < _PAGE:
            break
        after = page[-1][0].decode()
    ahead = await log.redis.scard(log.key("ahead", handler, lane))
    return max(0, waiting - ahead), await log.redis.hlen(log.key("open", handler, lane))
