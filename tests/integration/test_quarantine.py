"""The quarantine: what its commands show, and that a retry makes one event of a body, whatever is killed."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
from types import FrameType
from typing import Any

import pytest

from eventlog.inspection.events import list_events, read_counts
from eventlog.log import EventLog, Unreadable
from eventlog.operation.quarantine import QuarantineFilter, newest, quarantined
from eventlog.record import StoredEvent
from handlers import Context, Event, Raw, handler
from handlers.internal import QuarantineAdded
from tests.cli import Cli
from tests.harness import declaration, drained, on_log, opened

RECEIVED_MS = 1_764_000_000_000
SECRET = "Erika Mustermann"


def packed(number: int = 1, **fields: Any) -> bytes:
    """Return a body that this version reads, as a version before left it in the quarantine."""
    document = {
        "notification": "SessionUpdateNotification",
        "session": {"id": number, "userName": SECRET},
        "lastUpdatedAt": "2025-11-24T10:00:00Z",
        **fields,
    }
    return gzip.compress(json.dumps(document).encode(), mtime=0)


def unreadable(body: bytes, reason: str = "not-json", **fields: Any) -> Unreadable:
    return Unreadable(body, reason, RECEIVED_MS, "12345678", **fields)


class Site:
    """A log, and what lies in it."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix

    def put(self, *elements: Unreadable) -> list[str]:
        async def put(log: EventLog) -> list[str]:
            return [answer.event_id or "" for answer in (await log.append(elements)).answers]

        return self.on_log(put)

    def on_log(self, work: Any) -> Any:
        return on_log(self.url, self.prefix, work)

    @property
    def left(self) -> list[str]:
        return [one.stream_id for one in self.on_log(lambda log: newest(log, QuarantineFilter(), limit=100))]

    @property
    def events(self) -> list[StoredEvent]:
        found: list[StoredEvent] = self.on_log(list_events)
        return found[::-1]


@pytest.fixture
def site(valkey, prefix) -> Site:
    site = Site(valkey.url, prefix)
    site.on_log(lambda log: log.claim("", ""))
    return site


@pytest.fixture
def cli(capsys, monkeypatch, site) -> Cli:
    return Cli(capsys, monkeypatch, site.url, site.prefix)


def test_it_is_listed_newest_first_without_bodies(cli, site):
    ids = site.put(
        unreadable(b"??"), unreadable(packed(), encoding="gzip"), unreadable(b"[1]", "not-an-object")
    )
    rows = cli.json("quarantine", "list")
    assert [row["id"] for row in rows] == ids[::-1]
    assert rows[1] == {
        "id": ids[1],
        "reason": "not-json",
        "received_at": "2025-11-24T16:00:00.000Z",
        "bytes": len(packed()),
        "encoding": "gzip",
        "key_id": "12345678",
    }
    code, out, _ = cli("quarantine", "list", "--reason", "not-an-object")
    assert (code, out.count("\n")) == (0, 2)
    assert [row["id"] for row in cli.json("quarantine", "list", "--limit", "1", "--before", ids[2])] == [
        ids[1]
    ]
    assert cli.json("quarantine", "list", "--until", "2h ago") == []
    assert len(cli.json("quarantine", "list", "--since", "2h ago")) == 3
    assert cli("quarantine", "list", "--before", "x")[0] == 2


def test_one_is_shown_with_what_a_retry_would_make_of_it(cli, site):
    bad, good = site.put(unreadable(b"[1]", "not-an-object"), unreadable(packed(7), encoding="gzip"))
    code, out, _ = cli("quarantine", "show", good)
    assert code == 0
    assert "session:7" in out
    assert SECRET not in out
    shown = cli.json("quarantine", "show", good)
    assert (shown["readable_now"], shown["type"], shown["key"]) == (
        True,
        "SessionUpdateNotification",
        "session:7",
    )
    shown = cli.json("quarantine", "show", bad, "--body")
    assert (shown["readable_now"], shown["reason_now"], shown["body"]) == (False, "not-an-object", "[1]")
    code, _, err = cli("quarantine", "show", "1-1")
    assert code == 2
    assert "quarantine list" in err
    assert "can be read now" in cli("explain", good)[1]


def test_a_retry_keeps_arrival_key_and_marks_and_handlers_get_it_once(cli, site):
    seen: list[Event[Raw]] = []

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        seen.append(event)

    site.on_log(lambda log: log.declare([declaration(h)]))
    (good,) = site.put(unreadable(packed(7), mark="stale", encoding="gzip"))
    assert cli.json("quarantine", "retry", good)["result"] == {
        "events": 1,
        "duplicates": 0,
        "gone": 0,
        "refused": 0,
        "unreadable": 0,
    }
    (event,) = site.events
    assert (event.body, event.received_at_ms, event.key_id) == (packed(7), RECEIVED_MS, "12345678")
    assert event.marks == ("quarantined", "stale", "encoding=gzip")
    assert (event.key, event.encoding) == ("session:7", "gzip")
    assert event.occurred_at is not None
    assert site.left == []
    code, _, err = cli("quarantine", "retry", good)
    assert code == 2
    assert "no body" in err
    site.on_log(lambda log: drained(log, h))
    assert [(event.raw, event.key) for event in seen] == [(packed(7), "session:7")]
    counts = site.on_log(read_counts)
    assert (counts.accepted, counts.quarantined) == (1, 1)


def test_a_selection_is_planned_first_and_what_cannot_be_read_stays(cli, site):
    ids = site.put(
        unreadable(packed(1)), unreadable(b"??"), unreadable(packed(2)), unreadable(b"[]", "not-an-object")
    )
    code, out, err = cli("quarantine", "retry", "--reason", "not-json")
    assert code == 0
    assert "3 selected, 2 can be read now" in out
    assert "2 become SessionUpdateNotification" in out
    assert "--yes" in err
    assert (site.left, site.events) == (ids[::-1], [])
    found = cli.json("quarantine", "retry", "--since", "2h ago", "--yes")
    assert found["plan"]["unreadable"] == {"not-json": 1, "not-an-object": 1}
    assert (found["result"]["events"], found["result"]["unreadable"]) == (2, 2)
    assert sorted(event.key or "" for event in site.events) == ["session:1", "session:2"]
    assert site.left == [ids[3], ids[1]]
    assert cli("quarantine", "retry")[0] == 2
    assert cli("quarantine", "retry", "1-1", "--reason", "x")[0] == 2


def test_the_same_body_twice_is_one_event(cli, site):
    site.put(unreadable(packed(1)), unreadable(packed(1)))
    found = cli.json("quarantine", "retry", "--reason", "not-json", "--yes")["result"]
    assert (found["events"], found["duplicates"]) == (1, 1)
    assert len(site.events) == 1
    assert site.left == []


def test_discarding_is_planned_first_too(cli, site):
    ids = site.put(unreadable(b"1"), unreadable(b"2"), unreadable(b"3"))
    assert cli.json("quarantine", "discard", ids[0])["result"] == {"discarded": 1}
    code, out, err = cli("quarantine", "discard", "--reason", "not-json")
    assert code == 0
    assert "2 to discard" in out
    assert "--yes" in err
    assert len(site.left) == 2
    assert "discarded 2" in cli("quarantine", "discard", "--reason", "not-json", "--yes")[1]
    assert site.left == []


def test_a_full_log_keeps_them_in_the_quarantine(cli, site):
    ids = site.put(unreadable(packed(1)))
    site.on_log(lambda log: log.redis.set(log.key("full"), "by the test"))
    code, _, err = cli("quarantine", "retry", *ids)
    assert code == 1
    assert "1 were refused" in err
    assert (site.left, site.events) == (ids, [])


def test_another_set_of_entity_keys_is_refused(cli, site, tmp_path, monkeypatch):
    ids = site.put(unreadable(packed(1)))
    site.on_log(lambda log: log.redis.hset(log.key("tenant"), "key_rules", "other"))
    code, _, err = cli("quarantine", "retry", *ids)
    assert code == 2
    assert "AWR_ENTITY_KEYS_FILE" in err
    assert (site.left, site.events) == (ids, [])


def test_entries_of_the_version_before_are_read(cli, site):
    async def put(log: EventLog) -> None:
        fields = {"v": "1", "reason": "not-json", "b": packed(3), "r": str(RECEIVED_MS), "s": "k"}
        await log.redis.xadd(log.key("quarantine"), fields)

    site.on_log(put)
    (row,) = cli.json("quarantine", "list")
    assert (row["reason"], row["encoding"]) == ("not-json", None)
    assert cli.json("quarantine", "retry", row["id"])["result"]["events"] == 1
    assert site.events[0].marks == ("quarantined", "encoding=gzip")


def test_what_lies_in_redis_cannot_harm_the_terminal(cli, site):
    async def put(log: EventLog) -> None:
        evil = "\x1b[2J" + "x" * 10_000
        await log.redis.xadd(
            log.key("quarantine"),
            {"reason": evil, "e": evil, "m": "stale,\x1b", "r": "9" * 400, "s": b"\xff", "b": ""},
        )
        await log.redis.xadd(log.key("quarantine"), {"other": "fields"})

    site.on_log(put)
    for words in (("list",), ("retry", "--since", "2h ago"), ("discard", "--since", "2h ago")):
        code, out, _ = cli("quarantine", *words)
        assert code == 0
        assert "\x1b" not in out
        assert max(map(len, out.splitlines())) < 1000
    for row in cli.json("quarantine", "list"):
        code, out, _ = cli("quarantine", "show", row["id"])
        assert code == 0
        assert "\x1b" not in out


def test_redis_away_is_exit_code_3(cli, monkeypatch):
    monkeypatch.setenv("AWR_REDIS_URL", "unix:///missing.sock")
    for words in (("list",), ("show", "1-1"), ("retry", "1-1"), ("discard", "1-1")):
        assert cli("quarantine", *words)[0] == 3


def test_what_comes_in_is_announced_to_handlers_that_want_it(site):
    seen: list[Event[QuarantineAdded]] = []

    @handler("h")
    async def h(event: Event[QuarantineAdded], ctx: Context) -> None:
        seen.append(event)

    site.put(unreadable(b"before"))
    site.on_log(lambda log: log.declare([declaration(h)]))
    ids = site.put(*(unreadable(b"x%d" % n) for n in range(3)))
    site.on_log(lambda log: drained(log, h))
    (event,) = seen
    assert (event.payload.quarantine_id, event.payload.reason) == (ids[0], "not-json")
    assert (event.key, event.kind) == ("receiver:quarantine", "internal")

    async def later(log: EventLog) -> None:
        await log.redis.hset(log.key("told", "receiver.quarantine.added|receiver:quarantine"), "at", "1")

    site.on_log(later)
    site.put(unreadable(b"y"))
    site.on_log(lambda log: drained(log, h))
    assert [event.payload.held for event in seen] == [0, 2]


def test_an_announcement_wakes_its_queue(site):
    @handler("h", queue="other")
    async def h(event: Event[QuarantineAdded], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        assert (await log.append([unreadable(b"x")])).wake == ["other"]

    site.on_log(check)


def retried_until(site: Site, stream_id: str, line: int) -> bool:
    """Retry in a fork that is killed at the n-th line of ours; return whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    try:
        reached = 0

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal reached
            if "/eventlog/" not in frame.f_code.co_filename and "/commands/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                reached += 1
                if reached == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        retry_by_hand(site, stream_id)
    finally:
        os._exit(0)


def retry_by_hand(site: Site, stream_id: str) -> None:
    from commands.quarantine_plan import carried_out, planned
    from receiver.elements import ElementReader

    async def retry(log: EventLog) -> None:
        if await quarantined(log, stream_id) is not None:
            plan = await planned(log, ElementReader(), [stream_id], QuarantineFilter())
            await carried_out(log, plan, ElementReader())

    site.on_log(retry)


def test_killed_at_any_line_a_retry_makes_one_event(site):
    """Every fifth line, from before the connection until after the answer."""
    line, killed, early, late = 1, True, 0, 0
    while killed:
        (stream_id,) = site.put(unreadable(packed(line)))
        killed = retried_until(site, stream_id, line)
        before = sum(event.key == f"session:{line}" for event in site.events)
        assert before == (0 if site.left else 1), "in the one or in the other"
        early, late = early + (not before), late + before
        retry_by_hand(site, stream_id)
        assert sum(event.key == f"session:{line}" for event in site.events) == 1
        assert site.left == []
        line += 5
    assert early > 12
    assert late > 3


def test_two_retries_at_the_same_time_make_one_event_of_each(site):
    from commands.quarantine_plan import carried_out, planned
    from receiver.elements import ElementReader

    ids = site.put(*(unreadable(packed(n)) for n in range(1, 101)))

    async def retry(log: EventLog) -> dict[str, int]:
        plan = await planned(log, ElementReader(), ids, QuarantineFilter())
        return await carried_out(log, plan, ElementReader())

    async def both(log: EventLog) -> list[dict[str, int]]:
        async with opened(site.url, site.prefix) as other:
            return await asyncio.gather(retry(log), retry(other))

    one, two = site.on_log(both)
    assert one["events"] + two["events"] == 100
    assert sorted(event.key for event in site.on_log(lambda log: list_events(log, limit=500))) == sorted(
        f"session:{n}" for n in range(1, 101)
    )
