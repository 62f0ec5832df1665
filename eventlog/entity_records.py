"""What handlers keep of entities: timers that call them later, and a small document of state.

A drain writes both in the step that settles an event (`step.lua`). Housekeeping moves timers that are due into their
lanes (`fire.lua`). Only the holder of a lane's lease changes the records of that lane, apart from the mark that a
timer has fallen due.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventlog.reading import object_of, readable

if TYPE_CHECKING:
    from eventlog.log import EventLog

TIMER: Final = "receiver.timer:"
"""What the types of timers begin with; the name of their handler follows. No sender can make one."""

STATE_MS: Final = 30 * 86_400_000  # after its last change
_MOST = 500  # timers that one script call moves
_CALLS = 20  # in one second
_PAGE = 500


class PutTimer(NamedTuple):
    """Set a timer, or replace one of its name.

    Attributes:
        key: of the handler for the event that sets it.
        entity: key of that event, which decides the lane.
        generation: distinguishes it from an earlier timer of its name.
        in_ms: milliseconds from the step, by the clock of Redis.
        event: id of the event that sets it.
        data: JSON text; empty for none.
    """

    key: str
    entity: str
    name: str
    generation: str
    in_ms: int
    event: str
    data: str

    def arguments(self) -> tuple[Any, ...]:
        return "timer", *self


class DropTimer(NamedTuple):
    """Remove a timer: it is cancelled, or its event came to its end.

    Attributes:
        generation: only the timer of this generation; empty for any.
    """

    key: str
    name: str
    generation: str = ""

    def arguments(self) -> tuple[Any, ...]:
        return "drop", *self


class PutState(NamedTuple):
    """Write the state of an entity.

    Attributes:
        document: JSON text; empty to remove it.
    """

    key: str
    document: str

    def arguments(self) -> tuple[Any, ...]:
        return "state", self.key, STATE_MS, self.document


Change = PutTimer | DropTimer | PutState


class PendingTimer(NamedTuple):
    """A timer that waits, or has fallen due and is not settled.

    Attributes:
        event_id: of the event that it became; empty before it is due.
        set_by: id of the event that set it.
        data: JSON text; empty for none.
    """

    name: str
    due_ms: int
    generation: str
    event_id: str
    set_by: str
    data: str


class EntityRecord(NamedTuple):
    """The state and the timers that a handler keeps of one key.

    Attributes:
        state: JSON text; empty when there is none.
    """

    timers: tuple[PendingTimer, ...] = ()
    state: str = ""


class TimerMark(NamedTuple):
    """What the body of a timer's event says about the timer."""

    name: str
    generation: str
    key: str


def entity_part(entity: str) -> str:
    """Return what a finer key of an entity begins with. What lies before its first slash is the entity."""
    return entity.replace("%", "%25").replace("/", "%2F")


def is_timer(type: str) -> bool:
    """Return whether an event of this type is a timer that fell due."""
    return type.startswith(TIMER)


def timer_mark(body: bytes, entity: str | None) -> TimerMark:
    """Read from the body of an event which timer it was."""
    found = object_of(body)
    name, generation, key = (str(found.get(each) or "") for each in ("name", "generation", "key"))
    return TimerMark(name, generation, key or entity or "")


def read_timers(raw: bytes) -> tuple[PendingTimer, ...]:
    """Return the timers of a record, the first to fall due first."""
    if not raw:
        return ()
    found = object_of(raw).get("t")
    read = (readable(_timer, *item) for item in found.items()) if isinstance(found, dict) else ()
    timers = [timer for timer in read if timer is not None]
    return tuple(sorted(timers, key=lambda timer: (timer.due_ms, timer.name)))


def _timer(name: str, record: Sequence[Any]) -> PendingTimer:
    due_ms, *rest = record
    return PendingTimer(name, int(due_ms), *rest[:4])


async def fire(log: EventLog) -> int:
    """Move the timers that are due into their lanes; return how many. `sweep` then wakes workers for them."""
    moved = 0
    for number in range(_CALLS):
        count, again = await log.scripts.fire(args=[log.prefix, _MOST, int(number == 0)])
        moved += count
        if not again:
            break
    return moved


async def records_of(log: EventLog, handler: str, keys: Mapping[str, int]) -> dict[str, EntityRecord]:
    """Return what a handler keeps of some keys.

    Args:
        keys: each with the lane of its entity.
    """
    found = {}
    for key, lane in keys.items():
        timers, state = await log.scripts.kept(args=[log.prefix, handler, lane, 1, 1, key])
        found[key] = EntityRecord(read_timers(timers), state.decode())
    return found


async def states(log: EventLog, handler: str) -> AsyncIterator[tuple[str, str, int]]:
    """Yield each state of a handler: its key, the document as JSON text, and how long it lives on, in ms."""
    head = log.key("state", handler, "")
    async for raw in log.redis.scan_iter(match=f"{head}*", count=_PAGE):
        async with log.redis.pipeline(transaction=False) as asked:
            asked.get(raw)
            asked.pttl(raw)
            document, left_ms = await asked.execute()
        if document is not None:
            yield raw.decode().removeprefix(head), document.decode(), left_ms
