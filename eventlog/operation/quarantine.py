"""The quarantine: verified bodies that could not be read. A human can inspect, retry or discard them.

It moves elements that a caller made from a body back into the log, and does not know how a body is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from eventlog.errors import UnknownName
from eventlog.ids import STREAM_ID, end_before, id_order
from eventlog.log import EventLog, Readmitted
from eventlog.reading import arrived_ms
from eventlog.text import bounded

MARK: Final = "quarantined"
"""Mark of an event that lay in the quarantine before."""

_PAGE = 100
_SLUG_CHARS = 100


@dataclass(frozen=True)
class Quarantined:
    """A verified body that could not be read.

    Attributes:
        marks: as of the event that it may become, e.g. `stale`.
        encoding: what the sender's header said about it; not signed.
        size: of the body in bytes, also where it was left out.
    """

    stream_id: str
    reason: str
    received_at_ms: int
    key_id: str
    body: bytes
    marks: tuple[str, ...] = ()
    encoding: str = ""
    size: int = 0

    @property
    def stale(self) -> bool:
        """Return whether it was signed long before it arrived."""
        return "stale" in self.marks

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return what is kept of the headers that it came with."""
        return ((b"content-encoding", self.encoding.encode()),) if self.encoding else ()


@dataclass(frozen=True)
class QuarantineFilter:
    """Selects bodies; None means any. `since_ms` and `until_ms` (exclusive): when they were put there."""

    reason: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


async def quarantined(log: EventLog, stream_id: str) -> Quarantined | None:
    """Return a quarantined body by its id; None when there is none."""
    if not STREAM_ID.fullmatch(stream_id):
        return None
    page = await log.redis.xrange(log.key("quarantine"), min=stream_id, max=stream_id)
    return _entry(*page[0]) if page else None


async def by_id(log: EventLog, id: str) -> Quarantined:
    """Return a quarantined body by its id; UnknownName if there is none."""
    if (found := await quarantined(log, id)) is None:
        raise UnknownName(f"no body {id!r} is in the quarantine; `quarantine list` shows those that are")
    return found


async def newest(
    log: EventLog, wanted: QuarantineFilter, *, limit: int, before: str | None = None
) -> list[Quarantined]:
    """Return a page of bodies without their bytes, newest first, that follows the id `before`."""
    found: list[Quarantined] = []
    async for entry in _read(log, wanted, newest_first=True, last=before):
        found.append(replace(entry, body=b""))
        if len(found) == limit:
            break
    return found


async def matching(log: EventLog, wanted: QuarantineFilter) -> AsyncIterator[Quarantined]:
    """Yield every selected body, oldest first."""
    async for entry in _read(log, wanted):
        yield entry


async def readmit(log: EventLog, elements: Sequence[Readmitted]) -> Counter[str]:
    """Append events that were made of quarantined bodies, in this order.

    Each leaves the quarantine in the same change, so however often this is called, there is one event.

    Args:
        elements: at most 256.

    Returns:
        How many are `events` now, were `duplicates` of an event in the log, were `gone` (another command took them),
        or were `refused` by Redis. Those that are refused stay in the quarantine.
    """
    if not elements:
        return Counter()
    return Counter(_WORDS[answer.outcome] for answer in (await log.append(elements)).answers)


async def discard(log: EventLog, ids: Sequence[str]) -> int:
    """Discard bodies; return how many were still there."""
    discarded = 0
    for first in range(0, len(ids), _PAGE):
        discarded += int(await log.redis.xdel(log.key("quarantine"), *ids[first : first + _PAGE]))
    return discarded


_WORDS: Final[Mapping[str, str]] = {
    "accepted": "events",
    "duplicate": "duplicates",
    "gone": "gone",
    "refused": "refused",
}


async def _read(
    log: EventLog, wanted: QuarantineFilter, *, newest_first: bool = False, last: str | None = None
) -> AsyncIterator[Quarantined]:
    stream = log.key("quarantine")
    low = str(wanted.since_ms or "-")
    high = "+" if wanted.until_ms is None else end_before(wanted.until_ms)
    if last is not None and (wanted.until_ms is None or id_order(last) < (wanted.until_ms, 0)):
        high = f"({last}"
    while True:
        if newest_first:
            page = await log.redis.xrevrange(stream, max=high, min=low, count=_PAGE)
        else:
            page = await log.redis.xrange(stream, min=low, max=high, count=_PAGE)
        for raw_id, fields in page:
            entry = _entry(raw_id, fields)
            if wanted.reason in (None, entry.reason):
                yield entry
        if len(page) < _PAGE:
            return
        after = f"({page[-1][0].decode()}"
        low, high = (low, after) if newest_first else (after, high)


def _entry(raw_id: bytes, fields: Mapping[bytes, bytes]) -> Quarantined:
    """Read an entry. Entries of earlier versions have no marks and no encoding."""

    def text(name: bytes) -> str:
        return bounded(fields.get(name, b"").decode(errors="replace"), _SLUG_CHARS)

    stream_id, received, body = raw_id.decode(), fields.get(b"r", b""), fields.get(b"b", b"")
    return Quarantined(
        stream_id,
        text(b"reason"),
        arrived_ms(received, stream_id),
        text(b"s"),
        body,
        tuple(mark for mark in text(b"m").split(",") if mark),
        text(b"e"),
        len(body),
    )
