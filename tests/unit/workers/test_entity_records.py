"""What a drain knows of entities: read once, changed on top, and forgotten only where Redis has it too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from ampeco.notifications import SessionUpdate
from eventlog.entity_records import DropTimer, EntityRecord, PendingTimer, PutState, PutTimer
from eventlog.lease import Lease
from eventlog.record import StoredEvent
from handlers import Context, Event, Raw, Timer, handler
from workers.drain import entity_records
from workers.drain.entity_records import EntityRecords, records_for
from workers.drain.entry import Entry

KEY = "session:1"


@handler("h", entity_state=dict)
async def h(event: Event[SessionUpdate | Timer], ctx: Context) -> None: ...


class FakeLease:
    """Answers what Redis would, and counts the calls."""

    def __init__(self, **records: EntityRecord) -> None:
        self.records = {f"session:{name[1:]}": record for name, record in records.items()}
        self.asked: list[list[str]] = []

    async def kept(self, keys: Sequence[str], *, timers: bool, states: bool) -> dict[str, EntityRecord]:
        assert (timers, states) == (True, True)
        self.asked.append(list(keys))
        return {key: self.records.get(key, EntityRecord()) for key in keys}


def entry(key: str | None = KEY, *, type: str = "SessionUpdateNotification", body: Any = None) -> Entry:
    event = StoredEvent(0, "1-0", type, key, json.dumps(body or {}).encode(), 0)
    return Entry(event, key)


def timer(generation: str, name: str = "check", key: str = KEY) -> Entry:
    body = {"notification": "receiver.timer:h", "name": name, "generation": generation}
    return entry(key, type="receiver.timer:h", body=body)


def records(lease: FakeLease) -> EntityRecords:
    return EntityRecords(cast("Lease", lease), h)


def test_a_handler_that_keeps_nothing_has_no_records():
    @handler("plain", on=["*"])
    async def plain(event: Event[Raw], ctx: Context) -> None: ...

    assert records_for(cast("Lease", FakeLease()), plain) is None
    assert records_for(cast("Lease", FakeLease()), h) is not None


def test_a_batch_is_read_in_one_call_and_each_key_once():
    lease = FakeLease()
    known = records(lease)

    async def check() -> None:
        await known.preload(["session:1", None, "session:2", "session:1"])
        await known.preload(["session:2"])
        await known.notes(entry("session:1"))
        await known.notes(entry("session:3"))

    asyncio.run(check())
    assert lease.asked == [["session:1", "session:2"], ["session:3"]]


def test_changes_are_seen_by_the_next_event_and_are_sent_once():
    known = records(FakeLease(s1=EntityRecord(state='{"n":1}')))

    async def check() -> None:
        first = await known.notes(entry())
        first.later("check", 60, None)
        first.write({"n": 2})
        first.close()
        known.keep(entry(), first)
        second = await known.notes(entry())
        assert second.read() == {"n": 2}
        assert second.cancel("check")
        known.keep(entry(), second)
        changes = known.changes()
        assert [type(change) for change in changes] == [PutTimer, PutState, DropTimer]
        assert known.changes() == ()

    asyncio.run(check())


@pytest.mark.parametrize(("generation", "is_over"), [("now", False), ("before", True)])
def test_a_timer_of_another_generation_is_over(generation, is_over):
    pending = PendingTimer("check", 1, "now", "0-1-0", "", "")
    known = records(FakeLease(s1=EntityRecord((pending,))))

    async def check() -> None:
        await known.notes(timer(generation))
        assert known.is_over(timer(generation)) is is_over
        again = timer(generation)
        again.replayed = True
        assert known.is_over(again) is False
        known.end(timer(generation))
        notes = await known.notes(entry())
        assert notes.cancel("check") is is_over  # one that came to its end is not pending any more

    asyncio.run(check())


def test_what_redis_does_not_know_and_what_is_in_use_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(entity_records, "_MOST_BYTES", 0)
    lease = FakeLease()
    known = records(lease)

    async def check() -> None:
        changed = await known.notes(entry("session:1"))
        changed.write({"n": 1})
        changed.close()
        known.keep(entry("session:1"), changed)
        known.release(entry("session:1"))
        await known.notes(entry("session:2"))  # stays in use
        await known.notes(entry("session:3"))
        known.release(entry("session:3"))
        await known.preload(["session:4"])
        assert (await known.notes(entry("session:1"))).read() == {"n": 1}
        known.release(entry("session:1"))
        known.changes()  # on its way
        await known.preload(["session:5"])
        assert (await known.notes(entry("session:1"))).read() == {"n": 1}
        known.release(entry("session:1"))
        known.confirm()
        await known.preload(["session:6", "session:2", "session:1", "session:3"])

    asyncio.run(check())
    assert lease.asked[-1] == ["session:6", "session:3"]
    asyncio.run(known.preload(["session:1", "session:2"]))
    assert lease.asked[-1] == ["session:1"]
