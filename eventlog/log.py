"""The event log as the door, the command line and the ticker use it: append, look, count, declare.

Draining has its own module (`lease.py`). Everything here is one script or one plain read; Redis errors pass
through as they are, because only the caller knows what an unknown outcome means to it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import redis.asyncio

from eventlog.clock import rfc3339
from eventlog.connection.pipeline import Channel
from eventlog.duplicates import hash_of_entity
from eventlog.errors import LogMismatch
from eventlog.record import StoredEvent, decode_event
from eventlog.scripts import Scripts

GAP_CLOSED = "receiver.gap.closed"
MAX_BATCH = 256
MISFIT = "misfit:"  # begins the counters of `stats` that a notification type ends

_WAKE_THROTTLE_MS = 5_000
_KEEP_VERSION_MS = 600_000
_OLDEST_REDIS = 7
_MAX_LAG = 10_000
_KEY_RULES = "key_rules"


class NewEvent(NamedTuple):
    """A verified and parsed notification on its way into the log.

    Attributes:
        key_id: which key verified it; empty when that is not known. Copies of it by another key are then not paired.
        duplicates: `drop` when the payload carries a time of its own: an equal body is the same event while nothing
            else of its type and entity was accepted. `mark` when it carries none: two equal bodies can be two real
            events. `again` when we append it once more ourselves: then the nonce alone decides.
        nonce: 12 bytes that tell this event from every other. An append that is repeated with the same nonce within
            120 s has no effect.
    """

    type: str
    key: str | None
    body: bytes
    received_at_ms: int
    key_id: str
    duplicates: Literal["drop", "mark", "again"]
    mark: str = ""
    traceparent: str = ""
    nonce: bytes = b""


class Unreadable(NamedTuple):
    """A verified body that could not be parsed; kept in the quarantine with its reason."""

    body: bytes
    reason: str
    received_at_ms: int
    key_id: str


Element: TypeAlias = NewEvent | Unreadable


class Answer(NamedTuple):
    """What became of one element.

    Attributes:
        event_id: set when it was accepted or quarantined.
        reason: why it was refused; of a duplicate a `DuplicateReason`.
    """

    outcome: Literal["accepted", "duplicate", "quarantined", "refused"]
    event_id: str | None = None
    reason: str | None = None


class AppendReply(NamedTuple):
    """Answers in the order of the elements, and the queues whose workers should be woken."""

    answers: list[Answer]
    wake: list[str]


class Hole(NamedTuple):
    """The door was shut between these moments (Unix ms, the clock of Redis)."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True)
class Declaration:
    """What a worker says of one handler when it starts.

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
        values: dict[str, Any] = {"types": sorted(self.types), "queue": self.queue, "order": self.order}
        return json.dumps({**values, "isolation": self.isolation} if self.isolation else values)


@dataclass(frozen=True)
class HandlerPosition:
    """A registered handler and how far it is.

    Attributes:
        versions: of its code that workers declared lately, the newest included.
        waiting: events after its cursors, wanted or not, counted up to 10,000 a lane; its lag at most.
        open: events that are running, waiting for a retry, or parked.
        stats: settled deliveries by outcome (`done`, `skipped`, `dead`), `retried`, the counts of the latency
            histogram (`ms<=N`), and by type those of payloads with fields that do not fit (`misfit:<type>`).
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


@dataclass(frozen=True)
class LogCounts:
    """Totals since the log was made.

    Attributes:
        by_type: accepted events per notification type.
        internal: events this service made itself, per type; they are not among the accepted.
        duplicates_by_reason: `DuplicateReason` -> how many; those of earlier versions have none.
    """

    accepted: int
    duplicates: int
    quarantined: int
    by_type: Mapping[str, int]
    internal: Mapping[str, int] = field(default_factory=dict)
    duplicates_by_reason: Mapping[str, int] = field(default_factory=dict)


class EventLog:
    """One log in one Redis.

    Args:
        redis: client without automatic retries (`connect.connect`).
        prefix: of every key.
        lanes: number of streams; fixed for the life of a log.
        duplicate_hours: how long an equal body is known again; 0 switches the look off.
        ledger_days: how long once-only steps are known after their event was settled.
        replicas: how many must have an event before its append counts.
    """

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        *,
        prefix: str = "awr:",
        lanes: int = 16,
        duplicate_hours: int = 24,
        ledger_days: int = 30,
        replicas: int = 0,
    ) -> None:
        # redis-py's annotations cannot say that replies are bytes, which ours always are.
        self.redis: Any = redis
        self.prefix = prefix
        self.lanes = lanes
        self.scripts = Scripts(redis)
        self.channel = Channel(redis)
        self.ledger_ms = ledger_days * 86_400_000
        self._duplicate_hours = duplicate_hours
        self._replicas = replicas
        self._throttle_ms = _WAKE_THROTTLE_MS
        self._keep_version_ms = _KEEP_VERSION_MS

    def key(self, *parts: object) -> str:
        """The full name of a key."""
        return self.prefix + ":".join(map(str, parts))

    def lane_of(self, key: str | None, digest: bytes) -> int:
        """Everything of one entity goes to one lane; an event without a key goes anywhere."""
        return zlib.crc32(key.encode() if key is not None else digest) % self.lanes

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        """Append a batch in one script call; each element has its own answer.

        Args:
            elements: at most 256.

        Raises:
            redis.RedisError, OSError: of no element anything is known (time-out), or the script was refused.
            NotReplicated: all of them are in the log, and too few replicas have them.
        """
        if len(elements) > MAX_BATCH:
            raise ValueError(f"at most {MAX_BATCH} elements in one append")
        arguments: list[Any] = [self.prefix, self._duplicate_hours, self._throttle_ms]
        lanes: list[int] = []
        for element in elements:
            if isinstance(element, NewEvent):
                digest = hashlib.sha256(element.body).digest()[:12]
                lane = self.lane_of(element.key, digest)
                lanes.append(lane)
                arguments += (
                    "e", lane, element.type, element.key or "", element.body, element.received_at_ms,
                    element.key_id, element.mark, digest, element.duplicates, element.traceparent, element.nonce,
                    hash_of_entity(element.type, element.key),
                )  # fmt: skip
            else:
                lanes.append(-1)
                arguments += (
                    "q", "", element.reason, "", element.body, element.received_at_ms,
                    element.key_id, "", "", "", "", "", "",
                )  # fmt: skip
        raw, wake = await self.channel.call(self.scripts.append, arguments, replicas=self._replicas)
        answers = [_answer(lane, reply) for lane, reply in zip(lanes, raw, strict=True)]
        return AppendReply(answers, [queue.decode() for queue in wake])

    # Whose log this is

    async def claim(self, tenant_url: str, rules_version: str) -> None:
        """Say whose log this is, or find that it is somebody else's.

        Raises:
            LogMismatch: another tenant, number of lanes or entity key rules, or a server that cannot hold a log.
        """
        await self._check_server()
        tenant = self.key("tenant")
        ours = {"url": tenant_url, "lanes": str(self.lanes), _KEY_RULES: rules_version}
        for name, value in ours.items():
            if value:
                await self.redis.hsetnx(tenant, name, value)
        known = {k.decode(): v.decode() for k, v in (await self.redis.hgetall(tenant)).items()}
        if tenant_url and known["url"] != tenant_url:
            raise LogMismatch(
                "AWR_TENANT_URL",
                f"the log under prefix {self.prefix!r} belongs to {known['url']}, not to {tenant_url}",
                "set AWR_KEY_PREFIX or AWR_REDIS_URL to a log of its own",
            )
        if known["lanes"] != str(self.lanes):
            raise LogMismatch(
                "AWR_LANES",
                f"the log has {known['lanes']} lanes, not {self.lanes}",
                f"set AWR_LANES={known['lanes']}; the number is fixed for the life of a log",
            )
        if rules_version and known[_KEY_RULES] != rules_version:
            unsettled = [one for one in await self.handlers() if one.waiting or one.open]
            if unsettled:
                named = ", ".join(f"{one.name} ({one.waiting + one.open})" for one in unsettled)
                raise LogMismatch(
                    "AWR_ENTITY_KEYS_FILE",
                    f"the log was written under entity key rules {known[_KEY_RULES]}, this program or its file has "
                    f"{rules_version}, and events are unsettled: {named}",
                    "stop the receivers, let workers of the version that ran before finish until `handlers list` "
                    "shows nothing waiting or open, then start this one",
                )
            await self.redis.hset(tenant, _KEY_RULES, rules_version)

    async def lanes_kept(self) -> int | None:
        """How many lanes the log was made with; None when nobody has claimed it yet."""
        found = await self.redis.hget(self.key("tenant"), "lanes")
        return int(found) if found else None

    async def _check_server(self) -> None:
        info = {**await self.redis.info("server"), **await self.redis.info("cluster")}
        if info.get("cluster_enabled"):
            raise LogMismatch(
                "AWR_REDIS_URL",
                "is a Redis Cluster, where one script cannot reach all of a log",
                "use a single Redis",
            )
        version = str(info.get("redis_version", "0"))
        if int(version.split(".")[0]) < _OLDEST_REDIS:
            raise LogMismatch(
                "AWR_REDIS_URL", f"is Redis {version}", f"use Redis {_OLDEST_REDIS}.0 or newer, or Valkey"
            )

    async def run_id(self) -> str:
        """Identity of the running Redis process; it changes with a restart or a failover."""
        info = await self.redis.info("server")
        return str(info["run_id"])

    async def ready(self) -> None:
        """Find out whether Redis answers and takes writes, and gives them to as many replicas as are asked for.

        Raises:
            redis.RedisError, OSError: it does not.
        """
        await self.channel.call(self.scripts.probe, [self.key("writable")], replicas=self._replicas)

    # Handlers

    async def declare(self, declarations: Sequence[Declaration], *, again: bool = False) -> frozenset[str]:
        """Register handlers, or say that they are still there; new ones get a cursor on every lane.

        Args:
            again: the caller only says that it is still there, which brings no retired handler back.

        Returns:
            Names that were not registered: they are retired, or were given up for another name.
        """
        arguments: list[Any] = [self.prefix, self.lanes, self._keep_version_ms, "1" if again else ""]
        for item in declarations:
            arguments += (item.name, item.version, item.to_json(), item.start)
        return frozenset(name.decode() for name in await self.scripts.declare(args=arguments))

    async def wanted_types(self) -> frozenset[str]:
        """Union of what the registered handlers want; contains `*` when one wants everything."""
        return frozenset(name.decode() for name in await self.redis.hkeys(self.key("routes")))

    async def wants(self) -> list[frozenset[str]]:
        """What each registered handler wants; `*` for everything."""
        found = await self.redis.hvals(self.key("wants"))
        return [frozenset(types.decode().split("\n")) for types in found]

    async def handler_names(self) -> list[str]:
        """Every registered handler, by name."""
        return sorted(name.decode() for name in await self.redis.hkeys(self.key("newest")))

    async def handlers(self, *, measure: bool = True) -> list[HandlerPosition]:
        """Every registered handler with its position, by name.

        Args:
            measure: count what waits for each, which reads it; without, `waiting` and `open` are 0.
        """
        newest = await self.redis.hgetall(self.key("newest"))
        registry = {
            k.decode(): json.loads(v) for k, v in (await self.redis.hgetall(self.key("handlers"))).items()
        }
        found = []
        for raw_name, raw_version in sorted(newest.items()):
            name, version = raw_name.decode(), raw_version.decode()
            record = registry.get(f"{name}|{version}", {})
            declaration = record.get("declaration", {})
            waiting = opened = 0
            for lane in range(self.lanes if measure else 0):
                after, in_open = await self._lag(name, lane)
                waiting += after
                opened += in_open
            stats = await self.redis.hgetall(self.key("stats", name))
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
                    dead=await self.redis.xlen(self.key("dead", name)),
                    versions=tuple(
                        sorted(of for n, _, of in (f.partition("|") for f in registry) if n == name)
                    ),
                    stats={k.decode(): int(v) for k, v in stats.items()},
                    isolation=declaration.get("isolation"),
                )
            )
        return found

    async def _lag(self, handler: str, lane: int) -> tuple[int, int]:
        cur = (await self.redis.hget(self.key("cur"), f"{handler}|{lane}") or b"0-0").decode()
        waiting = 0
        after = cur
        while waiting < _MAX_LAG:
            page = await self.redis.xrange(self.key("events", lane), min=f"({after}", count=1_000)
            waiting += len(page)
            if len(page) < 1_000:
                break
            after = page[-1][0].decode()
        ahead = await self.redis.scard(self.key("ahead", handler, lane))
        return max(0, waiting - ahead), await self.redis.hlen(self.key("open", handler, lane))

    # Waking

    async def sweep(self) -> list[str]:
        """Queues with a pair that is due and has nobody on it."""
        return [q.decode() for q in await self.scripts.sweep(args=[self.prefix, self._throttle_ms])]

    async def due(self, queue: str, handlers: Sequence[str], *, limit: int) -> list[tuple[str, int]]:
        """(handler, lane) pairs of these handlers that are due now."""
        pairs = await self.scripts.due(args=[self.prefix, queue, limit, *handlers])
        return [(name, int(lane)) for name, _, lane in (pair.decode().rpartition("|") for pair in pairs)]

    async def awake(self, queue: str) -> None:
        """A wake-up of this queue arrived: the next one need not be held back."""
        await self.redis.delete(self.key("wake", queue))

    async def recompute(self) -> int:
        """Rebuild the hint of who is due from the cursors; returns how many pairs were found due."""
        return int(await self.scripts.recompute(args=[self.prefix, self.lanes]))

    async def elected(self, seconds: float, role: str = "ticker") -> bool:
        """Whether the caller is the one to do something now; asked by every process, granted to one."""
        return bool(await self.scripts.elect(args=[self.key(role), int(seconds * 1000)]))

    # The door and its gaps

    async def beat(self, replica: str, *, hole_after_ms: int) -> Hole | None:
        """Note that the door is open and can write; a Hole when it was shut longer than `hole_after_ms`."""
        reply = await self.scripts.beat(args=[self.prefix, replica, hole_after_ms])
        return Hole(int(reply[0]), int(reply[1])) if reply else None

    async def close_gap(
        self, replica: str, hole: Hole, types: Sequence[str], callback_url: str | None
    ) -> tuple[str, list[str]] | None:
        """Append `receiver.gap.closed`, record the gap and beat, all in one script.

        Returns:
            The event's id and the queues to wake, or None when another replica closed this gap.
        """
        body = {
            "notification": GAP_CLOSED,
            "from": rfc3339(hole.from_ms),
            "to": rfc3339(hole.to_ms),
            "types": list(types),
            "callbackUrl": callback_url,
        }
        key = "receiver:door"
        text = json.dumps(body, separators=(",", ":"))
        lane = self.lane_of(key, b"")
        reply = await self.scripts.close_gap(
            args=[self.prefix, replica, hole.from_ms, hole.to_ms, lane, GAP_CLOSED, key, text, text]
        )
        if reply is None:
            return None
        return f"{lane}-{reply[0].decode()}", [queue.decode() for queue in reply[1]]

    # Looking

    async def counts(self) -> LogCounts:
        """Totals since the log was made."""
        raw = {k.decode(): int(v) for k, v in (await self.redis.hgetall(self.key("counts"))).items()}
        return LogCounts(
            accepted=raw.get("accepted", 0),
            duplicates=raw.get("duplicates", 0),
            quarantined=raw.get("quarantined", 0),
            by_type=_counted("accepted:", raw),
            internal=_counted("internal:", raw),
            duplicates_by_reason=_counted("duplicates:", raw),
        )

    async def event(self, event_id: str) -> StoredEvent | None:
        """A kept event by its id; None when there is none."""
        lane, _, stream_id = event_id.partition("-")
        ms, _, seq = stream_id.partition("-")
        if not all(part.isdecimal() for part in (lane, ms, seq)):
            return None
        page = await self.redis.xrange(self.key("events", lane), min=stream_id, max=stream_id)
        for raw_id, fields in page:
            return decode_event(int(lane), raw_id, [part for pair in fields.items() for part in pair])
        return None

    async def list_events(
        self, *, limit: int = 50, type: str | None = None, key: str | None = None
    ) -> list[StoredEvent]:
        """The newest events first, at most `limit`, filtered by exact type or entity key."""
        lanes = range(self.lanes) if key is None else (self.lane_of(key, b""),)
        found: list[StoredEvent] = []
        for lane in lanes:
            before, kept = "+", 0
            while kept < limit:
                page = await self.redis.xrevrange(self.key("events", lane), max=before, count=200)
                for stream_id, fields in page:
                    flat = [part for pair in fields.items() for part in pair]
                    event = decode_event(lane, stream_id, flat)
                    if (type is None or event.type == type) and (key is None or event.key == key):
                        found.append(event)
                        kept += 1
                if len(page) < 200:
                    break
                before = f"({page[-1][0].decode()}"
        found.sort(key=lambda event: event.order, reverse=True)
        return found[:limit]


def _counted(marker: str, counts: Mapping[str, int]) -> dict[str, int]:
    """The counters whose names start with a marker, without it."""
    return {name.removeprefix(marker): n for name, n in counts.items() if name.startswith(marker)}


def _answer(lane: int, reply: bytes) -> Answer:
    lead = reply[:1]
    if lead == b"=":
        return Answer("duplicate", reason=reply[1:].decode())
    if lead == b"q":
        return Answer("quarantined", reply[1:].decode())
    if lead == b"!":
        return Answer("refused", reason=_refusal(reply[1:]))
    return Answer("accepted", f"{lane}-{reply.decode()}")


def _refusal(message: bytes) -> str:
    """A Redis error as a stable slug."""
    return "log-full" if message.startswith((b"OOM", b"FULL")) else "log-refused"
