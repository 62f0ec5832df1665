"""A handler's position, changed by hand: pause, resume, rename, retire.

Whoever changes one has the workers give back its lanes first, and waits for that: what runs may finish, and nothing
settles under a name that is going away. It knows nothing of handlers' code, and decides nothing by itself.
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
from eventlog.log import EventLog
from eventlog.registry import handler_names

GIVE_BACK_S = 45.0

_LOOK_S = 0.1
_PAGE = 500


@dataclass(frozen=True)
class Pause:
    """Why a handler stands still.

    Attributes:
        reason: in the words of whoever paused it; may be empty.
        ends_in: `rename` or `retire` when that was begun and not finished.
    """

    since_ms: int
    reason: str
    ends_in: str = ""


async def pauses(log: EventLog) -> dict[str, Pause]:
    """The paused handlers, by name."""
    found = await log.redis.hgetall(log.key("paused"))
    return {name.decode(): _pause(value) for name, value in found.items()}


async def pause(log: EventLog, name: str, *, reason: str, now_ms: int) -> None:
    """Let nobody start anything more of a handler; what runs may finish.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: it is being renamed or retired.
    """
    await _refuse_while_moving(log, name)
    await _write_pause(log, name, {"since_ms": now_ms, "reason": reason})


async def resume(log: EventLog, name: str) -> bool:
    """Let a paused handler go on; False when it was not paused.

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
    """Move all that the log knows of one handler to another name. Cut off half-way, it can be called again.

    Raises:
        UnknownName: no handler of the old name is registered.
        ChangeRefused: the new name has a position of its own, or a worker does not give back a lane in time.
    """
    await _refuse_taken(log, new)
    # Until it is done nobody may begin under the new name: its ledger is on the way.
    await log.redis.hset(log.key("retired"), new, _note(now_ms, renamed_to=old))
    try:
        await _refuse_taken(log, new)
        before = await _hold(log, old, f"rename to {new}", now_ms, give_back_s)
    except LogError:
        await log.redis.hdel(log.key("retired"), new)
        raise
    theirs, ours = log.key("ledger", old).encode(), log.key("ledger", new).encode()
    async for key in _ledger_keys(log, old):
        with contextlib.suppress(ResponseError):  # its time was over
            await log.redis.rename(key, ours + key.removeprefix(theirs))
    note = _note(now_ms, renamed_to=new)
    answer = await log.scripts.rename(args=[log.prefix, old, new, log.lanes, note, _text(before)])
    await _finished(log, old, answer)


async def retire(log: EventLog, name: str, *, now_ms: int, give_back_s: float = GIVE_BACK_S) -> None:
    """Forget a handler: position, what is open and dead, its history and its ledger.

    Raises:
        UnknownName: no such handler is registered.
        ChangeRefused: a worker does not give back a lane in time.
    """
    await _hold(log, name, "retire", now_ms, give_back_s)
    answer = await log.scripts.retire(args=[log.prefix, name, log.lanes, _note(now_ms)])
    await _finished(log, name, answer)
    async for key in _ledger_keys(log, name):
        await log.redis.unlink(key)


async def released_types(log: EventLog) -> frozenset[str]:
    """Types that only retired handlers wanted: the notification subscription may give them up."""
    return frozenset(name.decode() for name in await log.redis.smembers(log.key("released")))


async def unknown_handler(log: EventLog, name: str) -> UnknownName:
    """The error that says which handlers there are."""
    known = await handler_names(log)
    return UnknownName(
        f"no handler {name!r} is registered in this log; there are: {', '.join(known) or 'none'}"
    )


async def _refuse_taken(log: EventLog, name: str) -> None:
    if await log.redis.hexists(log.key("newest"), name):
        raise ChangeRefused(
            f"{name} has a position of its own; `handlers retire {name}` first, while no worker runs it"
        )


async def _hold(log: EventLog, name: str, ends_in: str, now_ms: int, give_back_s: float) -> Any:
    """Pause a handler and wait until no lane of it is held; returns what was paused before."""
    raw = await log.redis.hget(log.key("paused"), name)
    before = json.loads(raw) if raw else None
    if before and before.get("ends_in"):
        if before["ends_in"] != ends_in:
            raise _moving(name, before["ends_in"])
        before = before["before"]
    await _write_pause(
        log, name, {"since_ms": now_ms, "reason": ends_in, "ends_in": ends_in, "before": before}
    )
    for _ in range(max(1, round(give_back_s / _LOOK_S))):
        if not await _held(log, name):
            return before
        await asyncio.sleep(_LOOK_S)
    await _let_go(log, name, before)
    raise _not_given_back(name)


async def _finished(log: EventLog, name: str, answer: bytes) -> None:
    match answer:
        case b"renamed" | b"retired":
            return
        case b"unknown":
            raise await unknown_handler(log, name)
        case _:  # somebody else let it go on meanwhile
            raise _not_given_back(name)


async def _let_go(log: EventLog, name: str, before: Any) -> None:
    if before:
        await _write_pause(log, name, before)
    else:
        await log.scripts.resume(args=[log.prefix, name, log.lanes])


async def _refuse_while_moving(log: EventLog, name: str) -> None:
    found = (await pauses(log)).get(name)
    if found is not None and found.ends_in:
        raise _moving(name, found.ends_in)


async def _write_pause(log: EventLog, name: str, value: dict[str, Any]) -> None:
    if await log.scripts.pause(args=[log.prefix, name, json.dumps(value)]) == b"unknown":
        raise await unknown_handler(log, name)


async def _held(log: EventLog, name: str) -> bool:
    leases = [log.key("lease", name, lane) for lane in range(log.lanes)]
    return bool(await log.redis.exists(*leases))


async def _ledger_keys(log: EventLog, name: str) -> AsyncIterator[bytes]:
    """Neither prefixes nor names hold a character that a pattern would take for more than itself."""
    async for key in log.redis.scan_iter(match=log.key("ledger", name, "*"), count=_PAGE):
        yield key


def _pause(value: bytes) -> Pause:
    record = json.loads(value)
    return Pause(record["since_ms"], record.get("reason") or "", record.get("ends_in", ""))


def _note(now_ms: int, **more: str) -> str:
    return json.dumps({"v": 1, "at_ms": now_ms, **more})


def _text(before: Any) -> str:
    return json.dumps(before) if before else ""


def _moving(name: str, ends_in: str) -> ChangeRefused:
    return ChangeRefused(f"a {ends_in} of {name} was begun and not finished; do that again first")


def _not_given_back(name: str) -> ChangeRefused:
    return ChangeRefused(f"a worker still holds a lane of {name}; stop the workers that run it, or try again")
