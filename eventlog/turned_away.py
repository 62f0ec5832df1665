"""What the endpoint did not append: requests that it refused, by reason and time, and copies of events it dropped.

Receivers collect both and write them once a second. Both records are bounded and end by themselves. They are for
people, and no code decides by them. A call whose answer is lost may count twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from eventlog.reading import whole

if TYPE_CHECKING:
    from eventlog.log import EventLog

SLOT_MS: Final = 600_000
"""Refusals are counted per ten minutes."""

HOUR_MS: Final = 3_600_000
KEEP_HOURS: Final = 24
_LIFE_MS: Final = (KEEP_HOURS + 1) * HOUR_MS
_MOST_FIELDS: Final = 1_000  # of an hour: six slots, and reasons of our code
_MOST_COPIES: Final = 5_000


class Copy(NamedTuple):
    """A notification that was dropped, because the log has its event.

    Attributes:
        reason: a `DuplicateReason`.
        fingerprint: of its body, equal to that of the event.
    """

    type: str
    key: str | None
    reason: str
    received_at_ms: int
    key_id: str
    fingerprint: str


def fingerprint(body: bytes) -> str:
    """Return a hash that equal bodies share. Redis computes the same one."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


async def note(log: EventLog, refused: Mapping[tuple[int, str], int], copies: Sequence[Copy]) -> None:
    """Add to both records.

    Args:
        refused: counts by the beginning of a slot (Unix ms) and reason.

    Raises:
        redis.RedisError, OSError: it is unknown whether they were added.
    """
    arguments: list[str | int] = [log.prefix, _LIFE_MS, _MOST_FIELDS, _MOST_COPIES, len(refused)]
    for (slot_ms, reason), count in refused.items():
        arguments += (slot_ms // HOUR_MS, f"{slot_ms % HOUR_MS // SLOT_MS}|{reason}", count)
    for copy in copies:
        arguments += (
            copy.type, copy.key or "", copy.reason, copy.received_at_ms, copy.key_id, copy.fingerprint,
        )  # fmt: skip
    await log.scripts.note(args=arguments)


async def refused_between(log: EventLog, from_ms: int, to_ms: int) -> dict[str, int]:
    """Return the refusals of a time by reason, the most frequent first. Slots at its ends count as a whole."""
    return by_reason(await refused_slots(log, from_ms, to_ms))


async def refused_slots(log: EventLog, from_ms: int, to_ms: int) -> dict[int, dict[str, int]]:
    """Return the refusals of a time by the beginning of their slot (Unix ms) and by reason, the oldest first."""
    hours = range(from_ms // HOUR_MS, to_ms // HOUR_MS + 1)
    async with log.redis.pipeline(transaction=False) as asked:
        for hour in hours:
            asked.hgetall(log.key("refused", hour))
        tables = await asked.execute()
    found: dict[int, dict[str, int]] = {}
    for hour, table in zip(hours, tables, strict=True):
        for field, count in table.items():
            slot, _, reason = field.decode("utf-8", "replace").partition("|")
            number, counted = whole(slot), whole(count)
            if number is None or counted is None:
                continue
            begins_ms = hour * HOUR_MS + number * SLOT_MS
            if begins_ms + SLOT_MS > from_ms and begins_ms <= to_ms:
                found.setdefault(begins_ms, {})[reason] = counted
    return dict(sorted(found.items()))


def by_reason(slots: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """Add up refusals by reason, the most frequent first."""
    found: dict[str, int] = {}
    for counts in slots.values():
        for reason, count in counts.items():
            found[reason] = found.get(reason, 0) + count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
