"""The event log in one Redis: append to it, and reach its parts.

Redis errors pass through unchanged, because only the caller knows what an unknown outcome means for it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import redis.asyncio

from eventlog import heartbeat, internal, ownership, readiness, registry, schedule
from eventlog.connection.pipeline import Channel
from eventlog.duplicates import hash_of_entity
from eventlog.scripts import ROUTE, Scripts
from eventlog.text import bounded

MAX_BATCH = 256

_WAKE_THROTTLE_MS = 5_000


class NewEvent(NamedTuple):
    """A verified and parsed notification on its way into the log.

    Attributes:
        key_id: the key that verified it. When it is unknown (empty), copies by another key are not paired with it.
        duplicates: `drop` when the payload carries its own time. An equal body is then the same event, unless another
            one of its type and entity was accepted since. `mark` when it carries none: two equal bodies can be two
            real events. `again` when we append it a second time ourselves: the nonce alone decides.
        nonce: 12 bytes that identify this event. Repeating an append with the same nonce within 120 s has no effect.
        digest: decides whether a body is equal, where that is not the body itself: of the text of an encoded body.
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
    digest: bytes = b""


class Unreadable(NamedTuple):
    """A verified body that could not be parsed. The quarantine keeps it with the reason.

    Attributes:
        mark: as of the event that it may become.
        encoding: what the sender's header said about it.
    """

    body: bytes
    reason: str
    received_at_ms: int
    key_id: str
    mark: str = ""
    encoding: str = ""


class Readmitted(NamedTuple):
    """A quarantined body that can be read now. It leaves the quarantine in the change that appends it."""

    stream_id: str
    event: NewEvent

    @property
    def body(self) -> bytes:
        return self.event.body


Element: TypeAlias = NewEvent | Unreadable | Readmitted


class Answer(NamedTuple):
    """The result of appending one element.

    Attributes:
        outcome: `gone` when the quarantine no longer had it.
        event_id: set when it was accepted or quarantined.
        reason: why it was refused or quarantined; for a duplicate, a `DuplicateReason`.
    """

    outcome: Literal["accepted", "duplicate", "quarantined", "refused", "gone"]
    event_id: str | None = None
    reason: str | None = None


class AppendReply(NamedTuple):
    """One answer per element, in order.

    Attributes:
        wake: queues whose workers to wake.
        fault: what Redis said of a key beside the events that it cannot use; empty when nothing is wrong.
    """

    answers: list[Answer]
    wake: list[str]
    fault: str = ""


class EventLog:
    """One log in one Redis.

    Args:
        redis: client without automatic retries (`connect.connect`).
        prefix: starts every key.
        lanes: number of streams; fixed for the life of a log.
        duplicate_hours: how long an equal body is recognized; 0 switches the check off.
        ledger_days: how long once-only steps are kept after their event was settled.
        replicas: how many replicas must have an event before its append counts.
        may_evict: whether the operator accepts that this Redis may delete events (`AWR_EVICTING_REDIS`).
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
        may_evict: bool = False,
    ) -> None:
        # redis-py's annotations cannot say that replies are bytes, which ours always are.
        self.redis: Any = redis
        self.prefix = prefix
        self.lanes = lanes
        self.scripts = Scripts(redis, self.key(ROUTE))
        self.channel = Channel(redis, self.key(ROUTE))
        self.wake_throttle_ms = _WAKE_THROTTLE_MS
        self.ledger_ms = ledger_days * 86_400_000
        self._duplicate_hours = duplicate_hours
        self.replicas = replicas
        self.may_evict = may_evict

    # Each module defines its part. Other rooms reach these through the log.
    claim = ownership.claim
    declare = registry.declare
    handlers = registry.handlers
    wanted_types = registry.wanted_types
    wants = registry.wants
    due = schedule.due
    awake = schedule.awake
    ready = readiness.ready
    beat = heartbeat.beat
    close_gap = heartbeat.close_gap
    announce = internal.announce

    def key(self, *parts: object) -> str:
        """Return the full name of a key."""
        return self.prefix + ":".join(map(str, parts))

    def lane_of(self, key: str | None, digest: bytes) -> int:
        """Return the lane of an entity key. An event without a key is spread by its digest."""
        return zlib.crc32(key.encode() if key is not None else digest) % self.lanes

    async def append(self, elements: Sequence[Element]) -> AppendReply:
        """Append a batch in one script call. Each element gets its own answer.

        Args:
            elements: at most 256.

        Raises:
            redis.RedisError, OSError: the outcome of every element is unknown, or Redis refused the script.
            NotReplicated: all of them are in the log, but too few replicas have them.
        """
        if len(elements) > MAX_BATCH:
            raise ValueError(f"at most {MAX_BATCH} elements in one append")
        arguments: list[Any] = [self.prefix, self._duplicate_hours, self.wake_throttle_ms]
        lanes: list[int] = []
        for element in elements:
            if isinstance(element, Unreadable):
                lanes.append(-1)
                arguments += (
                    "q", self.lane_of(internal.QUARANTINE, b""), element.reason, element.encoding, element.body,
                    element.received_at_ms, element.key_id, element.mark, "", "", "", "", "",
                )  # fmt: skip
                continue
            if isinstance(element, Readmitted):
                kind, event, last = "r", element.event, element.stream_id
            else:
                kind, event, last = "e", element, element.traceparent
            digest = event.digest or digest_of(event.body)
            lane = self.lane_of(event.key, digest)
            lanes.append(lane)
            arguments += (
                kind, lane, event.type, event.key or "", event.body, event.received_at_ms,
                event.key_id, event.mark, digest, event.duplicates, last, event.nonce,
                hash_of_entity(event.type, event.key),
            )  # fmt: skip
        raw, wake, *faults = await self.channel.call(self.scripts.append, arguments, replicas=self.replicas)
        answers = [_answer(*each) for each in zip(elements, lanes, raw, strict=True)]
        said = bounded(b" ".join(faults).decode("utf-8", "replace"))
        return AppendReply(answers, [queue.decode() for queue in wake], said)


def digest_of(text: bytes) -> bytes:
    """Return what the log remembers of a body, so that an equal one is known."""
    return hashlib.sha256(text).digest()[:12]


def _answer(element: Element, lane: int, reply: bytes) -> Answer:
    if reply == b"gone":
        return Answer("gone")
    lead = reply[:1]
    if lead == b"=":
        return Answer("duplicate", reason=reply[1:].decode())
    if lead == b"q":
        reason = element.reason if isinstance(element, Unreadable) else None
        return Answer("quarantined", reply[1:].decode(), reason)
    if lead == b"!":
        return Answer("refused", reason=_refusal(reply[1:]))
    return Answer("accepted", f"{lane}-{reply.decode()}")


def _refusal(message: bytes) -> str:
    """Return a stable slug for a Redis error."""
    return "log-full" if message.startswith((b"OOM", b"FULL")) else "log-refused"
