"""Finds the keys of open events when a drain begins. The author's code that makes a key may kill the process.

Redis knows what was handed out before its key is asked for, so a death there counts like one of an attempt.
Open events were handed out long ago, perhaps to other code. A drain notes in Redis that it asks for their keys. Where
that note is still there, the next drain asks for one key at a time, each counted in its record before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from eventlog.attempt_notes import with_note
from eventlog.clock import now_ms
from eventlog.lease import Lease, Settlement
from eventlog.record import AttemptNote, OpenRecord, StoredEvent
from workers.delivery.handler_key import HandlerKey
from workers.delivery.outcomes import Outcome
from workers.drain.suspects import MAX_CRASHES, WORKER_DIED

_WHAT = "key= of the handler"


async def ask_one_by_one(
    lease: Lease, key_of: Callable[[StoredEvent], HandlerKey], records: Sequence[OpenRecord]
) -> None:
    """Ask for the key of each open event, with a death counted in its record meanwhile.

    Raises:
        LeaseLost: the caller must stop.
    """
    survived: list[OpenRecord] = []
    for record in records:
        if record.crashes >= MAX_CRASHES:
            continue
        crashes = record.crashes + 1
        note = AttemptNote(now_ms(), WORKER_DIED, f"{_WHAT} ({crashes} of {MAX_CRASHES})")
        log = with_note(record.log, note)
        await lease.step(Settlement(puts=[*survived, replace(record, crashes=crashes, log=log)]))
        key_of(record.event)
        survived = [record]
    await lease.step(Settlement(puts=survived))


def key_after_deaths(record: OpenRecord) -> HandlerKey | None:
    """Return the end of an open event whose key killed a process as often as may be; None for any other."""
    if record.crashes < MAX_CRASHES:
        return None
    return HandlerKey(record.event.key, dead=Outcome("dead", WORKER_DIED, _WHAT))
