"""What operators changed by hand: who, what, by which plan, and how many events, letters or bodies.

An act is written before it is carried out, so that nothing is changed without a trace. The newest acts are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from eventlog.ids import STREAM_ID, end_before
from eventlog.reading import whole
from eventlog.record import id_order
from eventlog.text import bounded

if TYPE_CHECKING:
    from eventlog.log import EventLog

MOST_ACTS: Final = 10_000

_VERSION: Final = 1
_PAGE: Final = 200
_LOGGED_AT_ONCE: Final = 50
_TEXT_CHARS: Final = 200
_ITEMS: Final = 20  # of a list in a plan, and names in it
_UNREADABLE: Final = "(written by another version)"


@dataclass(frozen=True)
class Act:
    """One act.

    Attributes:
        user: name of the user at the operating system, or the name given at the log-in with a token.
        host: machine or pod.
        via: `cli` or `console`.
        what: the command, e.g. `dead retry`.
        plan: what was selected, as it was asked for.
        count: how many events, letters or bodies it was about; None where that makes no sense.
        done: how many of them it has changed so far; None where that is not counted.
        id: id of its record, once that is written; begins with the time, Unix ms.
        token: id of the token that gave the right to act; empty at the command line.
    """

    user: str
    host: str
    via: str
    what: str
    plan: Mapping[str, Any]
    count: int | None = None
    id: str = ""
    done: int | None = None
    token: str = ""

    @property
    def at_ms(self) -> int:
        return id_order(self.id)[0]


async def write(log: EventLog, act: Act, *, is_counted: bool = False) -> str:
    """Write down an act that is about to be carried out; return its id. A full Redis takes it too.

    Args:
        is_counted: what the act changes is counted with each change, so that it is known when the act stops half-way.
    """
    document = {
        "v": _VERSION,
        "user": bounded(act.user, _TEXT_CHARS),
        "host": bounded(act.host, _TEXT_CHARS),
        "via": act.via,
        "what": act.what,
        "plan": _bounded_plan(act.plan),
        "count": act.count,
        "token": act.token,
    }
    text = json.dumps(document, separators=(",", ":"))
    written: bytes = await log.scripts.audit(args=[log.prefix, MOST_ACTS, text, int(is_counted)])
    return written.decode()


async def take_back(log: EventLog, id: str) -> None:
    """Remove an act that was refused, unless a part of it was carried out."""
    if not whole(await log.redis.hget(log.key("audit:done"), id)):
        await log.redis.xdel(log.key("audit"), id)


async def newest(
    log: EventLog,
    *,
    limit: int,
    before: str | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> list[Act]:
    """Return the newest acts first.

    Args:
        before: an id; the page after it.
        since_ms, until_ms: when they were done, the end exclusive.
    """
    high = "+" if until_ms is None else end_before(until_ms)
    if before is not None and (until_ms is None or id_order(before) < (until_ms, 0)):
        high = f"({before}"
    found: list[Act] = []
    while len(found) < limit:
        size = min(_PAGE, limit - len(found))
        page = await log.redis.xrevrange(log.key("audit"), max=high, min=str(since_ms or "-"), count=size)
        found += await _counted(
            log, [_read(raw_id.decode(), fields.get(b"d", b"")) for raw_id, fields in page]
        )
        if len(page) < size:
            break
        high = f"({page[-1][0].decode()}"
    return found


async def by_id(log: EventLog, id: str) -> Act | None:
    """Return the act with this id; None if it is not kept."""
    page = await log.redis.xrange(log.key("audit"), min=id, max=id) if STREAM_ID.fullmatch(id) else []
    found = await _counted(log, [_read(raw_id.decode(), fields.get(b"d", b"")) for raw_id, fields in page])
    return found[0] if found else None


async def unlogged(log: EventLog) -> list[Act]:
    """Return acts that no process has logged yet, each to one process only."""
    entries = await log.scripts.audit_unlogged(args=[log.prefix, _LOGGED_AT_ONCE])
    return [_read(raw_id.decode(), text) for raw_id, text in entries]


async def _counted(log: EventLog, acts: list[Act]) -> list[Act]:
    """Return the acts, each with the number of changes it has made so far."""
    if not acts:
        return []
    done = await log.redis.hmget(log.key("audit:done"), [act.id for act in acts])
    return [replace(act, done=whole(n)) for act, n in zip(acts, done, strict=True)]


def _read(id: str, text: bytes) -> Act:
    try:
        found = json.loads(text)
        if found["v"] != _VERSION:
            raise ValueError("another version")
        plan = found["plan"] if isinstance(found["plan"], dict) else {}
        found.setdefault("token", "")  # older code did not write it
        user, host, via, what, token = (
            bounded(str(found[name]), _TEXT_CHARS) for name in ("user", "host", "via", "what", "token")
        )
        count = found["count"] if type(found["count"]) is int else None
        return Act(user, host, via, what, _bounded_plan(plan), count, id, token=token)
    except (KeyError, RecursionError, TypeError, ValueError):
        return Act("", "", "", _UNREADABLE, {}, None, id)


def _bounded_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan without what was not asked for, with short texts and lists."""
    chosen = {name: value for name, value in plan.items() if value not in (None, "", (), [], False)}
    return {bounded(str(name), _TEXT_CHARS): _bounded(value) for name, value in list(chosen.items())[:_ITEMS]}


def _bounded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        shown = [_bounded(item) for item in value[:_ITEMS]]
        return shown if len(value) <= _ITEMS else [*shown[:-1], f"and {len(value) - _ITEMS + 1} more"]
    return value if isinstance(value, bool | int | float) else bounded(str(value), _TEXT_CHARS)
