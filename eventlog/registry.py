"""The registered handlers: declare them, list them with their positions, and find which types they want."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from eventlog.lag import NO_LAG, lags_of
from eventlog.reading import object_of, whole

if TYPE_CHECKING:
    from eventlog.log import EventLog

LOOP_GUARD = "loop-guard"  # `stats` counter of deliveries that wait because of it, and why they say they do
KEY_FAILED = "key-failed"  # `stats` counter of settled deliveries for which `key=` gave no key
LATENCY_BOUNDS_MS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1_000, 2_000, 5_000,
                      10_000, 30_000, 60_000, 300_000, 3_600_000)  # fmt: skip
SETTLED_WITHIN = (
    "ms<="  # prefix of the `stats` counters of deliveries by the time from acceptance to their end
)
RAN_WITHIN = "ran<="  # the same by how long an attempt ran; the one over all bounds ends with nothing
RAN_US = "ran-us"  # `stats` counter: microseconds of all attempts
RUN_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000)
FAILED = "failed:"  # prefix of the `stats` counters of attempts that did not succeed, by reason
CALL = "call:"  # prefix of the `stats` counters of calls to AMPECO: `call:<operation>|<status class>|<bound in ms>`
CALL_MS = "call-ms:"  # the same of their duration: `call-ms:<operation>|<status class>`
CALL_BOUNDS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
MISFIT = "misfit:"  # prefix of the `stats` counters that end with a notification type
MEASURES = (SETTLED_WITHIN, RAN_WITHIN, RAN_US, FAILED, CALL, CALL_MS, MISFIT)
"""Prefixes of the `stats` counters that count something other than outcomes of deliveries."""

_KEEP_VERSION_MS = 600_000


@dataclass(frozen=True)
class Declaration:
    """What a worker declares about one handler when it starts.

    Attributes:
        version: of the code, so that old and new workers can run side by side.
        types: notification types it wants; `*` for all.
        start: where a handler that is new to this log begins.
        isolation: `process` when it runs in processes of its own.
        serves: whether the declaring worker runs it; otherwise it only has the code.
        key: names what makes the handler's own keys; with another one, what was remembered by the old keys is lost.
    """

    name: str
    version: str
    types: tuple[str, ...]
    queue: str
    order: str
    start: Literal["now", "oldest"]
    isolation: str | None = None
    serves: bool = True
    key: str | None = None

    def to_json(self) -> str:
        """Return the part that the log stores as it is."""
        values: dict[str, Any] = {"types": sorted(self.types), "queue": self.queue, "order": self.order}
        further = {"isolation": self.isolation, "key": self.key}
        return json.dumps({**values, **{name: value for name, value in further.items() if value}})


@dataclass(frozen=True)
class HandlerPosition:
    """A registered handler and its progress.

    Attributes:
        served_ms: when a worker that runs it declared it last; 0 when none ever did.
        versions: code versions that workers declared recently, including the newest.
        waiting: wanted events that no attempt has settled or put into `open`: its lag.
        waiting_is_exact: otherwise housekeeping still counts them, and `waiting` is an upper bound.
        open: events that are running, waiting for a retry, or parked.
        retrying: those of `open` that are due at a time of their own: retries and replays.
        parked: those of `open` that wait behind an earlier one of their key; not exact during an upgrade.
        oldest_age_s: age of the oldest wanted event that is not settled; None when there is none.
        oldest_is_exact: otherwise `oldest_age_s` is an upper bound.
        waiting_age_s: for how long the first of `waiting` has waited, at most; None without one.
        key: names what makes the handler's own keys; None for the entity's key.
        stats: settled deliveries by outcome (`done`, `skipped`, `dead`), `retried`, the latency histogram
            (`ms<=N`), that of attempts (`ran<=N`), failed attempts by reason, calls to AMPECO, and payloads with
            fields that do not fit, by type (`misfit:<type>`).
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
    served_ms: int = 0
    waiting_is_exact: bool = True
    oldest_age_s: float | None = None
    oldest_is_exact: bool = True
    key: str | None = None
    retrying: int = 0
    parked: int = 0
    waiting_age_s: float | None = None


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
    return (await declared(log, declarations, again=again, keep_version_ms=keep_version_ms)).ignored


@dataclass(frozen=True)
class Declared:
    """The answer of the log to declarations.

    Attributes:
        ignored: names that were not registered, because they are retired or were renamed.
        elsewhere: handler -> queue that counts, because another worker declared the same version for it.
        dropped: handlers of which this is a new version that wants less than the one before it.
    """

    ignored: frozenset[str]
    elsewhere: Mapping[str, str]
    dropped: tuple[str, ...] = ()


async def declared(
    log: EventLog,
    declarations: Sequence[Declaration],
    *,
    again: bool = False,
    keep_version_ms: int = _KEEP_VERSION_MS,
) -> Declared:
    """Register handlers as `declare` does, and return the log's whole answer."""
    arguments: list[Any] = [log.prefix, log.lanes, keep_version_ms, "1" if again else ""]
    for item in declarations:
        arguments += (item.name, item.version, item.to_json(), item.start, "1" if item.serves else "")
    ignored, elsewhere, dropped = await log.scripts.declare(args=arguments)
    pairs = [text.decode() for text in elsewhere]
    return Declared(
        frozenset(name.decode() for name in ignored),
        dict(zip(pairs[::2], pairs[1::2], strict=True)),
        tuple(name.decode() for name in dropped),
    )


def read_registered(raw: bytes) -> dict[str, Any] | None:
    """Return the record of a declared version; None for what no worker wrote (`read_declaration` in lib.lua)."""
    record = object_of(raw)
    declaration = record.get("declaration")
    if not isinstance(declaration, dict) or not isinstance(declaration.get("queue"), str):
        return None
    if not isinstance(declaration.get("types"), (list, dict)):  # Lua writes an empty list as an empty object
        return None
    if not all(isinstance(record.get(name), (int, float)) for name in ("first_seen", "last_seen")):
        return None
    return record


def served_ms(record: Mapping[str, Any]) -> int:
    """Return when a worker that runs a handler declared it last. Earlier releases recorded one time only."""
    return int(record.get("served", record.get("last_seen", 0)))


async def wanted_types(log: EventLog) -> frozenset[str]:
    """Return the union of the types that registered handlers want; `*` when one wants everything."""
    return frozenset(name.decode() for name in await log.redis.hkeys(log.key("routes")))


async def wants(log: EventLog) -> list[frozenset[str]]:
    """Return the types that each registered handler wants; `*` for everything."""
    return list((await wants_by_handler(log)).values())


async def wants_by_handler(log: EventLog) -> dict[str, frozenset[str]]:
    """Return, by the name of each registered handler, the types that it wants; `*` for everything."""
    found = await log.redis.hgetall(log.key("wants"))
    return {name.decode(): frozenset(types.decode().split("\n")) for name, types in found.items()}


async def handler_names(log: EventLog) -> list[str]:
    """Return the names of the registered handlers, sorted."""
    return sorted(name.decode("utf-8", "replace") for name in await log.redis.hkeys(log.key("newest")))


async def handlers(log: EventLog, *, measure: bool = True) -> list[HandlerPosition]:
    """Return every registered handler with its position, sorted by name.

    Args:
        measure: also find the lag. Otherwise it is 0.
    """
    newest = await log.redis.hgetall(log.key("newest"))
    raw = await log.redis.hgetall(log.key("handlers"))
    registry = {k.decode("utf-8", "replace"): read_registered(v) or {} for k, v in raw.items()}
    names = sorted(name.decode("utf-8", "replace") for name in newest)
    async with log.redis.pipeline(transaction=False) as asked:
        for name in names:
            asked.hgetall(log.key("stats", name))
            asked.xlen(log.key("dead", name))
        answers = await asked.execute(raise_on_error=False) if names else []
    lags = await lags_of(log, names) if measure else {}
    found = []
    for name, stats, dead in zip(names, answers[::2], answers[1::2], strict=True):
        stats = stats if isinstance(stats, dict) else {}  # an error, where another client spoiled the key
        version = newest.get(name.encode(), b"").decode("utf-8", "replace")
        record = registry.get(f"{name}|{version}", {})
        declaration = record.get("declaration", {})
        lag = lags.get(name, NO_LAG)
        found.append(
            HandlerPosition(
                name=name,
                version=version,
                types=tuple(declaration.get("types", ())),
                queue=declaration.get("queue", ""),
                order=declaration.get("order", ""),
                last_seen_ms=record.get("last_seen", 0),
                served_ms=served_ms(record),
                waiting=lag.waiting,
                waiting_is_exact=lag.waiting_is_exact,
                open=lag.open,
                retrying=lag.retrying,
                parked=lag.parked,
                oldest_age_s=lag.oldest_age_s,
                oldest_is_exact=lag.oldest_is_exact,
                waiting_age_s=lag.waiting_age_s,
                dead=dead if isinstance(dead, int) else 0,
                versions=tuple(sorted(of for n, _, of in (f.partition("|") for f in registry) if n == name)),
                stats={k.decode("utf-8", "replace"): whole(v) or 0 for k, v in stats.items()},
                isolation=declaration.get("isolation"),
                key=declaration.get("key"),
            )
        )
    return found
