"""The gaps: times in which events may have been lost, why, and the state of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from eventlog.gap_records import NEVER_SENT, NO_RECEIVER
from eventlog.log import EventLog
from eventlog.reading import readable

State = Literal["open", "closed", "unproven"]
_STATES: Mapping[str, State] = {"open": "open", "closed": "closed", "unproven": "unproven"}


class Check(NamedTuple):
    """The result of comparing one type with a listing of AMPECO.

    Attributes:
        changed: resources that changed in the gap.
        seen: those of which an event arrived.
        reconstructed: those of which an event was made.
    """

    changed: int
    seen: int
    reconstructed: int


@dataclass(frozen=True)
class Gap:
    """A span of time whose events may be missing.

    Attributes:
        from_ms, to_ms: when it began and ended, or was noticed.
        types: that may be missing.
        reason: slug of why; see `gap_records.py`.
        events: how many are missing at least; None if unknown.
        id: names the record.
        event_id: of its `receiver.gap.closed`; None for a gap without one, and in records of older code.
        state: `open` while a resend or a check is outstanding; then `closed` when every type is proven, else
            `unproven`.
        waits: why it is still open, in words; empty when that is not known yet.
        resend: what became of the request for a resend, in words; empty before it ended, and in older records.
        ready_ms: since when nothing of a resend is outstanding; None before.
        checks: what the listings said, by type.
        unproven: why nothing is proven, by type.
        done_ms: when it was closed, or left unproven.
        text: the record as it lies in Redis.
    """

    from_ms: int
    to_ms: int
    types: tuple[str, ...]
    reason: str = NO_RECEIVER
    events: int | None = None
    id: str = ""
    event_id: str | None = None
    state: State = "open"
    waits: str = ""
    resend: str = ""
    ready_ms: int | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    unproven: Mapping[str, str] = field(default_factory=dict)
    done_ms: int | None = None
    text: str = field(default="", repr=False)

    @property
    def is_final(self) -> bool:
        """Return whether no resend of AMPECO brings what is missing."""
        return self.reason in NEVER_SENT

    def covers(self, ms: int) -> bool:
        """Return whether the gap includes a moment."""
        return self.from_ms <= ms <= self.to_ms


async def recorded_gaps(log: EventLog) -> list[Gap]:
    """Return all gaps, the oldest first. A record that cannot be read is left out."""
    return _readable((await log.redis.hgetall(log.key("gaps"))).items())


class NewestGaps(NamedTuple):
    """A part of the gaps.

    Attributes:
        gaps: the oldest first.
        recorded: how many there are in all.
        fitting: how many there are before the time that was asked for.
    """

    gaps: list[Gap]
    recorded: int
    fitting: int


async def newest_gaps(log: EventLog, *, before: str = "", most_bytes: int) -> NewestGaps:
    """Return the newest gaps.

    Args:
        before: a time (Unix ms), or the id of a gap; those that began before it.
        most_bytes: of their records.
    """
    recorded, fitting, *found = await log.scripts.newest_gaps(args=[log.prefix, before, most_bytes])
    return NewestGaps(_readable(zip(found[::2], found[1::2], strict=True)), recorded, fitting)


def _readable(records: Iterable[tuple[bytes, bytes]]) -> list[Gap]:
    texts = ((name.decode(errors="replace"), text.decode(errors="replace")) for name, text in records)
    gaps = (readable(_read, *each) for each in texts)
    return sorted((gap for gap in gaps if gap is not None), key=lambda gap: (gap.from_ms, gap.id))


def _read(name: str, text: str) -> Gap:
    record = json.loads(text)
    return Gap(
        _ms(record["from"]),
        _ms(record["to"]),
        tuple(map(str, record["types"])),
        record.get("reason") or NO_RECEIVER,  # older code gave outages none
        record.get("events"),
        id=name,
        event_id=record.get("event"),
        state=_STATES.get(record.get("state"), "open"),
        waits=record.get("waits") or "",
        resend=record.get("resend") or "",
        ready_ms=record.get("ready"),
        checks={of: Check(*numbers) for of, numbers in (record.get("checks") or {}).items()},
        unproven=dict(record.get("unproven") or {}),
        done_ms=record.get("done"),
        text=text,
    )


def changed(gap: Gap, changes: Mapping[str, Any]) -> Gap:
    """Return a gap with some members of its record replaced, by the names that they have there."""
    text = json.dumps({**json.loads(gap.text), **changes}, separators=(",", ":"))
    return _read(gap.id, text)


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
