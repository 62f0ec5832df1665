"""A new version that wants less says once what still waits and will not come."""

from __future__ import annotations

import asyncio

from ampeco.notifications import SessionUpdate
from eventlog.clock import now_ms
from eventlog.log import EventLog
from eventlog.operation.handlers import rename, retire
from eventlog.registry import Declaration, declared
from eventlog.unwanted import count_unwanted, unwanted
from handlers import Context, Event, Raw, Retry, Timer, handler
from tests.cli import Cli
from tests.harness import declaration, drained, event, opened
from tests.integration.test_timers import fired


def wants(*types: str, version: str) -> Declaration:
    return Declaration("h", version, types, "default", "entity", "oldest")


def test_what_a_new_version_does_not_want_any_more_is_counted_and_shown(capsys, monkeypatch, valkey, prefix):
    async def check() -> str:
        async with opened(valkey.url, prefix) as log:
            assert (await declared(log, [wants("a", "b", version="v1")])).dropped == ()
            sent = [event(kind, f"session:{n}", n=n) for kind in ("a", "b", "c") for n in range(30)]
            answers = (await log.append(sent)).answers
            assert (await declared(log, [wants("a", version="v2")])).dropped == ("h",)
            found = await count_unwanted(log, "h")
            assert found is not None
            assert (found.version, found.waiting, found.is_exact) == ("v2", {"b": 30}, True)
            assert (await declared(log, [wants("a", version="v2")])).dropped == (), "once"
            await declared(log, [wants("a", version="v1")])  # v1 is still there; v2 is the newest
            return answers[30].event_id

    event_id = asyncio.run(check())
    cli = Cli(capsys, monkeypatch, valkey.url, prefix)
    (row,) = cli.json("handlers", "list")
    assert row["no_longer_wanted"]["waiting"] == {"b": 30}
    assert "version v2 does not want 30 events that waited at" in cli("handlers", "list")[1]

    async def old_version_is_gone() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([wants("a", version="v2")], keep_version_ms=-1)

    asyncio.run(old_version_is_gone())
    assert "not wanted any more: version v2, registered at" in cli("explain", event_id)[1]


def test_a_type_that_everything_covers_is_not_dropped_and_internal_ones_are(on_each_server):
    async def check(log: EventLog) -> None:
        await declared(log, [wants("a", "receiver.started", version="v1")])
        await declared(log, [wants("*", version="v2")])
        assert (await unwanted(log))["h"].types == {"receiver.started"}
        await log.append([event("a", "session:1"), event("b", "session:2")])
        assert (await declared(log, [wants("b", version="v3")])).dropped == ("h",)
        found = await count_unwanted(log, "h")
        assert found is not None
        assert found.waiting == {}, "v2 is still live, so a worker of it takes the others"
        await log.declare([wants("b", version="v3")], keep_version_ms=-1)
        found = await count_unwanted(log, "h")
        assert found is not None
        assert found.waiting == {"a": 1}
        await declared(log, [wants("a", "b", "*", version="v4")])
        assert await unwanted(log) == {}, "it wants them again"
        await declared(log, [wants("a", version="v5")])
        await retire(log, "h", now_ms=1)
        assert await unwanted(log) == {}

    on_each_server(check)


def test_events_that_wait_for_a_retry_are_counted_too_when_everything_was_wanted(with_lane):
    @handler("h", on=["*"], start="oldest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        raise Retry("later", after_s=600)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(kind, f"session:{n}", n=n) for kind in ("a", "b") for n in range(3)])
        await drained(log, h)
        await log.declare([wants("b", version="v2")], keep_version_ms=-1)
        found = await count_unwanted(log, "h")
        assert found is not None
        assert found.waiting == {"a": 3}

    with_lane(check)


def test_timers_that_fell_due_before_a_rename_are_still_wanted(with_lane):
    async def work(event: Event[SessionUpdate | Timer], ctx: Context) -> None:
        if isinstance(event.payload, SessionUpdate):
            ctx.later("check", 0)

    old, new = handler("old")(work), handler("new")(work)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old)])
        await log.append([event()])
        await drained(log, old)
        await fired(log)
        await rename(log, "old", "new", now_ms=now_ms())
        assert (await declared(log, [declaration(new, version="v2")])).dropped == ()
        assert await unwanted(log) == {}

    with_lane(check)
