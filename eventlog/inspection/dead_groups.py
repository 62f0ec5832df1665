"""Dead letters of a handler, grouped by reason and place in the code, and one letter. A call reads a bounded number.

No body leaves Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from eventlog.ids import STREAM_ID
from eventlog.inspection.search import find
from eventlog.log import EventLog
from eventlog.operation.dead_letters import DeadEntry, entry_of, unknown_letter
from eventlog.record import id_order
from eventlog.registry import handler_names

LOOKS: Final = 2_000  # letters that one call may read
NO_PLACE: Final = "-"

_GROUPS = 30
_SAMPLES = 3
_IDS = 500


@dataclass(frozen=True)
class Selected:
    """Selects letters of one handler; empty means any.

    Attributes:
        place: the line of code, as `Group.place` has it.
        first, last: stream ids, both inclusive.
    """

    handler: str
    reason: str = ""
    place: str = ""
    type: str = ""
    key: str = ""
    first: str = ""
    last: str = ""


class Sample(NamedTuple):
    """A letter of a group. Long types and keys are cut."""

    stream_id: str
    event_id: str
    type: str
    key: str


@dataclass(frozen=True)
class Group:
    """Letters with the same reason and place.

    Attributes:
        reason: empty for the letters of all groups beyond the bound.
        place: `file:line in function`, the innermost one outside installed packages; `NO_PLACE` without a trace.
        newest, oldest: their stream ids.
    """

    reason: str
    place: str
    count: int
    newest: str
    oldest: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Scan:
    """The result of one call.

    Attributes:
        groups: in the order of their newest letter.
        looked: letters that were read.
        fitting: how many of these are selected.
        last: stream id of the last one that was read; empty when there was none.
        is_complete: everything that is selected was read.
    """

    groups: tuple[Group, ...]
    looked: int
    fitting: int
    last: str
    is_complete: bool


async def counts(log: EventLog) -> dict[str, int]:
    """Return how many dead letters each registered handler has, sorted by name."""
    names = await handler_names(log)
    async with log.redis.pipeline(transaction=False) as asked:
        for name in names:
            asked.xlen(log.key("dead", name))
        return dict(zip(names, await asked.execute(), strict=True))


async def scan(
    log: EventLog,
    selected: Selected,
    *,
    before: str = "",
    looks: int = LOOKS,
    groups: int = _GROUPS,
    samples: int = _SAMPLES,
) -> Scan:
    """Group the selected letters, from the newest on.

    Args:
        before: stream id; the letters that are older than it.
        looks: letters that may be read.
        groups: most groups; one more holds the rest.
        samples: letters that are named of each group.
    """
    limits = (looks, groups, samples, 0)
    last, is_all, looked, fitting, found = await _call(log, selected, before, limits)
    return Scan(tuple(map(_group, found)), looked, fitting, last.decode(), bool(is_all))


async def letter_without_body(log: EventLog, handler: str, stream_id: str) -> tuple[DeadEntry, int]:
    """Return one letter without its body, and the size of that in bytes; UnknownName if there is none."""
    stream, give = log.key("dead", handler), ("event", "t", "k", "reason", "trace", "head(record)")
    if STREAM_ID.fullmatch(stream_id):
        async for found in find(log, stream, [], give, since=stream_id, most=1):
            if id_order(found.stream_id) != id_order(stream_id):
                break
            names = (b"event", b"t", b"k", b"reason", b"trace", b"record")
            fields = dict(zip(names, found.fields, strict=True))
            entry = entry_of(handler, found.stream_id.encode(), fields)
            return entry, found.size - len(fields[b"record"])
    raise unknown_letter(f"{handler}/{stream_id}")


async def ids(log: EventLog, selected: Selected, *, most: int) -> list[tuple[str, str]]:
    """Return stream id and event id of the selected letters, from the newest on; at most `most`."""
    found: list[tuple[str, str]] = []
    before = ""
    while len(found) < most:
        size = min(_IDS, most - len(found))
        last, is_all, _, _, page = await _call(log, selected, before, (LOOKS, 0, 0, size))
        found += [(_text(stream_id), _text(event_id)) for stream_id, event_id in page]
        if is_all:
            break
        before = last.decode()
    return found


async def _call(log: EventLog, selected: Selected, before: str, limits: tuple[int, int, int, int]) -> Any:
    """Read once; the limits are of letters, groups, samples and ids."""
    ends = (f"({before}" if before else selected.last or "+", selected.first or "-")
    fits = (selected.reason, selected.place, selected.type, selected.key)
    return await log.scripts.dead_scan(args=[log.prefix, selected.handler, *ends, *limits, *fits])


def _group(found: Any) -> Group:
    reason, place, count, newest, oldest, samples = found
    return Group(
        _text(reason),
        _text(place),
        count,
        _text(newest),
        _text(oldest),
        tuple(Sample(*map(_text, sample)) for sample in samples),
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
