"""The quarantine without its bodies, page by page. A call reads a bounded number of entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eventlog.log import EventLog
from eventlog.operation.quarantine import Quarantined
from eventlog.reading import arrived_ms

LOOKS: Final = 2_000  # entries that one call may read

_MOST_SLUG = 100
_IDS = 500


@dataclass(frozen=True)
class Heads:
    """A page of entries, newest first.

    Attributes:
        rows: without their bytes.
        looked: entries that were read.
        fitting: entries among them with the reason that was asked for.
        last: stream id of the last one that was read; empty when there was none.
        is_complete: everything was read.
    """

    rows: tuple[Quarantined, ...]
    looked: int
    fitting: int
    last: str
    is_complete: bool


async def heads(
    log: EventLog, *, reason: str = "", first: str = "", last: str = "", before: str = "", limit: int
) -> Heads:
    """Return the newest entries.

    Args:
        reason: only for this reason; empty for all.
        first, last: stream ids, both inclusive; empty for no bound.
        before: stream id; the entries that are older than it.
        limit: most rows; 0 to count alone.
    """
    high = f"({before}" if before else last or "+"
    scanned, is_all, looked, fitting, found = await log.scripts.quarantine_heads(
        args=[log.prefix, high, first or "-", LOOKS, limit, reason]
    )
    return Heads(tuple(map(_head, found)), looked, fitting, scanned.decode(), bool(is_all))


async def ids(log: EventLog, *, reason: str, first: str, last: str, most: int) -> list[str]:
    """Return the stream ids of entries, in order of arrival; at most the newest `most`."""
    found: list[str] = []
    before = ""
    while len(found) < most:
        size = min(_IDS, most - len(found))
        page = await heads(log, reason=reason, first=first, last=last, before=before, limit=size)
        found += [row.stream_id for row in page.rows]
        if page.is_complete:
            break
        before = page.last
    return found[::-1]


def _head(found: Any) -> Quarantined:
    raw_id, reason, received, key_id, marks, encoding, size = found
    stream_id = raw_id.decode()
    return Quarantined(
        stream_id,
        _slug(reason),
        arrived_ms(received, stream_id),
        _slug(key_id),
        b"",
        tuple(mark for mark in _slug(marks).split(",") if mark),
        _slug(encoding),
        size,
    )


def _slug(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")[:_MOST_SLUG]
