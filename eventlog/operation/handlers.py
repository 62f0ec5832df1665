"""Change a handler's position: pause, resume, rename, retire.

A rename or retirement first pauses the handler and waits until workers give back its lanes. Running attempts may
finish, and nothing settles under a name that is about to go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from eventlog.errors import ChangeRefused, LogError, UnknownName
from eventlog.internal import HANDLER_PAUSED, InternalEvent, internal_event, key_of_handler
from eventlog.log import EventLog
from eventlog.reading import readable
from eventlog.registry import HandlerPosition, handler_names
from eventlog.text import bounded

GIVE_BACK_S = 45.0

_LOOK_S = 0.1
_PAGE = 500
_BY_KEY = ("ledger", "state")  # kinds with a Redis key for each event or entity


@dataclass(frozen=True)
class Pause:
    """Why a handler is paused.

    Attributes:
        reason: text given with the pause; may be empty.
        ends_in: `rename` or `retire` while that is unfinished.
    """

    since_ms: int
    reason: str
    ends_in: str = ""


async def pauses(log: EventLog) -> dict[str, Pause]:
    """Return the paused handlers by name."""
    found = await log.redis.hgetall(log.key("paused"))
    return {
        name.decode("utf-8", "replace"): readable(_pause, value) or Pause(0, "")
        for name, value in found.items()
    }


def _pause(value: bytes) -> Pause:
    record = json.loads(value)
    return Pause(int(record["since_ms"]), bounded(record.get("reason") or ""), str(record.get("ends_in", "")))


async def pause(log: EventLog, name: str, *, reason: str, now_ms: int) -> None:
    """Pause a handler: no attempt starts, running ones may finish.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: it is being renamed or retired.
    """
    await _refuse_while_moving(log, name)
    event = internal_event(HANDLER_PAUSED, key_of_handler(name), {"handler": name, "reason": reason})
    await _write_pause(log, name, {"since_ms": now_ms, "reason": bounded(reason)}, event)


async def resume(log: EventLog, name: str) -> bool:
    """Resume a paused handler; False when it was not paused.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: it is being renamed or retired.
    """
    await _refuse_while_moving(log, name)
    answer = await log.scripts.resume(args=[log.prefix, name, log.lanes])
    if answer == b"unknown":
        raise await unknown_handler(log, name)
    return bool(answer == b"resumed")


async def rename(log: EventLog, old: str, new: str, *, now_ms: int, give_back_s: float = GIVE_BACK_S) -> None:
    """Move all that the log knows about a handler to another name. After an interruption, call it again.

    Raises:
        UnknownName: no handler of the old name is registered.
        ChangeRefused: the new name has its own position, or a worker does not give back a lane in time.
    """
    await _refuse_taken(log, new)
    # Until the rename is done, no worker may start under the new name: its ledger still moves.
    await log.redis.hset(log.key("retired"), new, _note(now_ms, renamed_to=old))
    try:
        await _refuse_taken(log, new)
        before = await _hold(log, old, f"rename to {new}", now_ms, give_back_s)
    except LogError:
        await log.redis.hdel(log.key("retired"), new)
        raise
    for kind in _BY_KEY:
        theirs, ours = log.key(kind, old).encode(), log.key(kind, new).encode()
        async for key in _keys_of(log, kind, old):
            with contextlib.suppress(ResponseError):  # its time was over
                await log.redis.rename(key, ours + key.removeprefix(theirs))
    note = _note(now_ms, renamed_to=new)
    kept = json.dumps(before) if before else ""
    answer = await log.scripts.rename(args=[log.prefix, old, new, log.lanes, note, kept])
    await _finished(log, old, answer)


async def retire(log: EventLog, name: str, *, now_ms: int, give_back_s: float = GIVE_BACK_S) -> None:
    """Remove a handler: position, open records, dead letters, history, ledger, timers and states.

    After an interruption, call it again.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: a worker does not give back a lane in time.
    """
    if not await is_retired(log, name):
        await _hold(log, name, "retire", now_ms, give_back_s)
        answer = await log.scripts.retire(args=[log.prefix, name, log.lanes, _note(now_ms)])
        await _finished(log, name, answer)
    for kind in _BY_KEY:
        async for key in _keys_of(log, kind, name):
            await log.redis.unlink(key)


async def is_retired(log: EventLog, name: str) -> bool:
    """Return whether a handler was retired, and no worker has declared it since. Keys of it may be left."""
    note = await log.redis.hget(log.key("retired"), name)
    is_back = await log.redis.hexists(log.key("newest"), name)
    return note is not None and b"renamed_to" not in note and not is_back


async def released_types(log: EventLog) -> frozenset[str]:
    """Return the types that only retired handlers wanted; the notification subscription may drop them."""
    return frozenset(name.decode() for name in await log.redis.smembers(log.key("released")))


async def position_of(log: EventLog, name: str, *, measure: bool = True) -> HandlerPosition:
    """Return the position of a handler; UnknownName if it is not registered.

    Args:
        measure: find the lag, too.
    """
    found = next((one for one in await log.handlers(measure=measure) if one.name == name), None)
    if found is None:
        raise await unknown_handler(log, name)
    return found


async def unknown_handler(log: EventLog, name: str) -> UnknownName:
    """Return the error that lists the registered handlers."""
    known = await handler_names(log)
    return UnknownName(
        f"no handler {name!r} is registered in this log; there are: {', '.join(known) or 'none'}", name, known
    )


async def _refuse_taken(log: EventLog, name: str) -> None:
    if await log.redis.hexists(log.key("newest"), name):
        raise ChangeRefused(
            f"{name} has a position of its own; `handlers retire {name}` first, while no worker runs it"
        )


async def _hold(log: EventLog, name: str, ends_in: str, now_ms: int, give_back_s: float) -> Any:
    """Pause a handler and wait until none of its lanes is held; return the pause before, if any."""
    raw = await log.redis.hget(log.key("paused"), name)
    before = json.loads(raw) if raw else None
    if before and before.get("ends_in"):
        if before["ends_in"] != ends_in:
            raise _moving(name, before["ends_in"])
        before = before["before"]
    await _write_pause(
        log, name, {"since_ms": now_ms, "reason": ends_in, "ends_in": ends_in, "before": before}
    )
    leases = [log.key("lease", name, lane) for lane in range(log.lanes)]
    for _ in range(max(1, round(give_back_s / _LOOK_S))):
        if not await log.redis.exists(*leases):
            return before
        await asyncio.sleep(_LOOK_S)
    if before:
        await _write_pause(log, name, before)
    else:
        await log.scripts.resume(args=[log.prefix, name, log.lanes])
    raise _not_given_back(name)


async def _finished(log: EventLog, name: str, answer: bytes) -> None:
    match answer:
        case b"renamed" | b"retired":
            return
        case b"unknown":
            raise await unknown_handler(log, name)
        case _:  # another command resumed it in the meantime
            raise _not_given_back(name)


async def _refuse_while_moving(log: EventLog, name: str) -> None:
    found = (await pauses(log)).get(name)
    if found is not None and found.ends_in:
        raise _moving(name, found.ends_in)


async def _write_pause(
    log: EventLog, name: str, value: dict[str, Any], event: InternalEvent | None = None
) -> None:
    announced = event.arguments(log) if event else ()
    if await log.scripts.pause(args=[log.prefix, name, json.dumps(value), *announced]) == b"unknown":
        raise await unknown_handler(log, name)


async def _keys_of(log: EventLog, kind: str, name: str) -> AsyncIterator[bytes]:
    """Yield the keys of a handler. Prefixes and names hold no character that is special in a pattern."""
    async for key in log.redis.scan_iter(match=log.key(kind, name, "*"), count=_PAGE):
        yield key


def _note(now_ms: int, **more: str) -> str:
    return json.dumps({"v": 1, "at_ms": now_ms, **more})


def _moving(name: str, ends_in: str) -> ChangeRefused:
    return ChangeRefused(f"a {ends_in} of {name} was begun and not finished; do that again first")


def _not_given_back(name: str) -> ChangeRefused:
    return ChangeRefused(f"a worker still holds a lane of {name}; stop the workers that run it, or try again")
