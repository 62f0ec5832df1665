"""Remember calls of handlers for some minutes, so that an event that one of them caused is known as its echo.

A drain gets these calls with the events that it reads (step.lua). A loop of calls and echoes is bounded per entity.
This module does not know what a call does: callers name the entities that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from eventlog.log import EventLog

ECHO_MS = 180_000
"""How long after a call an event may be its echo."""

LOOP_MS = 600_000
"""Time within which the calls of a chain are counted, and for which they are remembered."""

KEPT = 8  # calls per entity
_MOST_ENTITIES = 4
_WORD_CHARS = 60


class RecentCall(NamedTuple):
    """One call of a handler that changes something.

    Attributes:
        at_ms: when it was about to leave (clock of Redis).
        operation: name of what was called.
        handler: who called it.
        event_id: the event that was handled.
        word: what the call asked for, as the caller names it; no free text.
    """

    at_ms: int
    operation: str
    handler: str
    event_id: str
    word: str = ""


class Held(NamedTuple):
    """A call that would be one too many.

    Attributes:
        entity: the entity whose chain is too long.
        calls: number of calls of that chain within `LOOP_MS`.
        wait_s: seconds until one of them is older than that.
    """

    entity: str
    calls: int
    wait_s: float


async def remember(
    log: EventLog,
    call: RecentCall,
    entities: Sequence[str],
    *,
    nonce: str,
    depth: int,
    echo_at_ms: int | None,
    lift: bool,
) -> Held | None:
    """Remember a call that is about to leave, unless its chain is too long.

    Args:
        call: its time is ignored; the clock of Redis counts.
        entities: what the call is about.
        nonce: names this call among those of its event; a repeated attempt of the event is the same call.
        depth: most calls of one chain within `LOOP_MS`, for each entity.
        echo_at_ms: when the call was made of which the handled event is the echo; None: it begins a chain.
        lift: an operator has lifted the bound: the chains of these entities begin again.

    Returns:
        Why it must not leave, in which case nothing was remembered.

    Raises:
        redis.RedisError, OSError: the outcome is unknown; repeating the call is harmless.
    """
    text = ";".join(
        (call.operation, call.handler, call.event_id, quote(call.word[:_WORD_CHARS], safe=""), nonce)
    )
    reply = await log.channel.call(
        log.scripts.act,
        [
            log.prefix, "remember", nonce, text, depth, LOOP_MS, KEPT,
            "" if echo_at_ms is None else echo_at_ms, int(lift), *entities[:_MOST_ENTITIES],
        ],
    )  # fmt: skip
    return Held(reply[0].decode(), reply[1], reply[2] / 1000) if reply else None


async def forget(log: EventLog, entities: Sequence[str], *, nonce: str) -> None:
    """Forget a call that certainly did nothing."""
    arguments = [log.prefix, "forget", nonce, "", 0, LOOP_MS, KEPT, "", 0, *entities[:_MOST_ENTITIES]]
    await log.channel.call(log.scripts.act, arguments)


def read_calls(text: bytes, at_ms: int) -> tuple[RecentCall, ...]:
    """Read the calls that the step script returns with one event. Leaves out what cannot be read.

    Returns:
        The calls that an event of this time may be the echo of, the newest first.
    """
    found = []
    for entry in text.decode("utf-8", "replace").split("|"):
        parts = entry.split(";")
        if len(parts) == 6 and parts[0].isdecimal() and 0 <= at_ms - int(parts[0]) <= ECHO_MS:
            found.append(RecentCall(int(parts[0]), parts[1], parts[2], parts[3], unquote(parts[4])))
    return tuple(found)


def calls_of(rows: Iterable[Sequence[object]]) -> tuple[RecentCall, ...]:
    """Read the calls that an open record stores.

    Raises:
        TypeError, ValueError: the rows have another shape.
    """
    return tuple(RecentCall(int(str(at)), *map(str, rest)) for at, *rest in rows)
