"""Plans a retry of quarantined bodies, and carries it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventlog.log import EventLog
    from eventlog.operation.quarantine import Quarantined, QuarantineFilter
    from receiver.elements import ElementReader

_TOGETHER, _TOGETHER_BYTES = 64, 1 << 20
_NAMED = 20  # reasons and types that a plan names; senders choose the names of types


@dataclass
class Plan:
    """The selected bodies, and what a retry makes of them.

    Attributes:
        all_ids: in order of arrival.
        readable: ids of those that can be read now, in that order.
        types: of what those would become -> how many.
        reasons: why the others cannot be read now -> how many.
    """

    all_ids: list[str] = field(default_factory=list)
    readable: list[str] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return len(self.all_ids)

    def words(self) -> Iterator[str]:
        """Yield a line for each type and reason."""
        for name, n in _first(self.types).items():
            yield f"{n} become {name}"
        for reason, n in _first(self.reasons).items():
            yield f"{n} cannot be read: {reason}"

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        return {
            "count": self.count,
            "readable": len(self.readable),
            "types": _first(self.types),
            "unreadable": _first(self.reasons),
        }


async def planned(log: EventLog, reader: ElementReader, ids: Sequence[str], wanted: QuarantineFilter) -> Plan:
    """Read the selected bodies, one at a time, and plan a retry of each.

    Args:
        ids: those that are selected; empty to select by `wanted`.

    Raises:
        UnknownName: one of the ids is not in the quarantine.
    """
    from eventlog.log import NewEvent

    plan = Plan()
    async for entry in _selected(log, ids, wanted):
        plan.all_ids.append(entry.stream_id)
        element = reader.read(entry)
        if isinstance(element, NewEvent):
            plan.readable.append(entry.stream_id)
            plan.types[element.type] += 1
        else:
            plan.reasons[element.reason] += 1
    return plan


async def carried_out(log: EventLog, plan: Plan, reader: ElementReader) -> dict[str, int]:
    """Append what can be read as events.

    Returns:
        How many became `events`, were `duplicates`, were `gone`, were `refused` by Redis, or are `unreadable`.

    Raises:
        LogMismatch: the log has other entity key rules than this command, so events would get other keys.
    """
    from eventlog.log import NewEvent, Readmitted
    from eventlog.operation.quarantine import MARK, quarantined, readmit
    from eventlog.ownership import check_rules

    await check_rules(log, reader.rules.version)
    log.wake_throttle_ms = 1  # no worker is woken here, so nothing may hold back housekeeping
    done: Counter[str] = Counter(unreadable=len(plan.all_ids) - len(plan.readable))
    waiting: list[Readmitted] = []
    for stream_id in plan.readable:
        entry = await quarantined(log, stream_id)
        element = None if entry is None else reader.read(entry)
        if isinstance(element, NewEvent):
            event = element._replace(mark=f"{MARK},{element.mark}")
            waiting.append(Readmitted(stream_id, event))
        else:
            done["gone"] += 1
        if len(waiting) == _TOGETHER or sum(len(one.body) for one in waiting) > _TOGETHER_BYTES:
            done += await readmit(log, waiting)
            waiting = []
    done += await readmit(log, waiting)
    return {name: done[name] for name in ("events", "duplicates", "gone", "refused", "unreadable")}


async def _selected(
    log: EventLog, ids: Sequence[str], wanted: QuarantineFilter
) -> AsyncIterator[Quarantined]:
    from eventlog.operation.quarantine import by_id, matching

    if not ids:
        async for entry in matching(log, wanted):
            yield entry
    for one in dict.fromkeys(ids):
        yield await by_id(log, one)


def _first(counts: Counter[str]) -> dict[str, int]:
    """Return the most frequent names, and the rest under one name."""
    named = dict(counts.most_common(_NAMED))
    rest = counts.total() - sum(named.values())
    return {**named, "(other)": rest} if rest else named
