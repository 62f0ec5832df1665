"""Timers and states of a handler with finer keys (`key=`), on a real server: each key has its own."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from ampeco.notifications import HardwareStatus
from eventlog.entity_records import records_of
from eventlog.log import EventLog
from handlers import Context, Event, Timer, handler
from tests.cli import Cli
from tests.harness import at_work, declaration, drained, event, eventually, opened, position
from tests.integration.test_drain_takeover import died, lost
from tests.integration.test_entity_state import kept
from tests.integration.test_handler_keys import by_evse, status
from tests.integration.test_timers import fired, history, timer_keys

POINT = "charge-point:12"


class Seen(BaseModel):
    events: int = 0
    timers: int = 0


async def names_of_pending(log: EventLog, key: str) -> list[str]:
    found = await records_of(log, "h", {key: log.lane_of(POINT, b"")})
    return [timer.name for timer in found[key].timers]


def test_each_key_of_an_entity_has_its_own_timers_and_state(on_each_server):
    ran: list[tuple[str | None, Any, int]] = []

    @handler("h", key=by_evse, entity_state=Seen)
    async def h(event: Event[HardwareStatus | Timer], ctx: Context[None, None, Seen]) -> None:
        seen = ctx.entity_state or Seen()
        if isinstance(event.payload, Timer):
            ran.append((event.key, event.payload.data, seen.events))
            ctx.entity_state = Seen(events=seen.events, timers=seen.timers + 1)
        elif event.payload.hardware_status == "available":
            assert ctx.cancel_later("check")
        else:
            ctx.entity_state = Seen(events=seen.events + 1, timers=seen.timers)
            ctx.later("check", 0, event.payload.evse_id)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(evse, n) for n, evse in enumerate((1, 2, 2, None, 3))])
        await drained(log, h)
        await log.append([status(3, 5, hardwareStatus="available")])
        await drained(log, h)
        for key in (POINT, f"{POINT}/1", f"{POINT}/2"):
            assert await names_of_pending(log, key) == ["check"]
        assert await names_of_pending(log, f"{POINT}/3") == []
        await fired(log, 3)
        await drained(log, h)
        assert sorted(ran, key=str) == [(POINT, "1", 1), (POINT, "2", 2), (POINT, None, 1)]
        assert await kept(log) == {
            POINT: {"events": 1, "timers": 1},
            f"{POINT}/1": {"events": 1, "timers": 1},
            f"{POINT}/2": {"events": 2, "timers": 1},
            f"{POINT}/3": {"events": 1, "timers": 0},
        }
        assert await timer_keys(log) == []

    on_each_server(check)


def test_after_a_death_a_timer_still_has_its_key_and_one_that_is_over_does_not_run(with_lane):
    """Until what was left at work is done, keys are not asked for before an attempt."""
    ran: list[tuple[str, Any, int]] = []
    dies = True

    @handler("h", key=by_evse, entity_state=Seen)
    async def h(event: Event[HardwareStatus | Timer], ctx: Context[None, None, Seen]) -> None:
        seen = ctx.entity_state or Seen()
        if isinstance(event.payload, Timer):
            ran.append((event.payload.name, event.payload.data, seen.events))
            ctx.entity_state = Seen(events=seen.events, timers=seen.timers + 1)
            return
        if event.payload.hardware_status == "available":
            if dies:
                ran.append(("died", None, seen.events))
                await asyncio.Event().wait()
            assert ctx.cancel_later("check")
            ctx.later("again", 600)
        else:
            ctx.later("check", 0, event.payload.evse_id)
        ctx.entity_state = Seen(events=seen.events + 1, timers=seen.timers)

    async def check(log: EventLog) -> None:
        nonlocal dies
        await log.declare([declaration(h)])
        await log.append([status(1, 1), status(2, 2)])
        await drained(log, h)
        await log.append([status(2, 3, hardwareStatus="available")])

        async def begun() -> bool:
            return bool(ran)

        async with at_work(log, h) as dispatcher:
            await eventually(begun)
            await fired(log, 2)  # both stand behind the event at work
            await died(dispatcher)
        dies = False
        await lost(log, "h")
        await drained(log, h)
        assert ran[0] == ("died", None, 1)
        assert [each for each in ran[1:] if each[0] != "died"] == [("check", "1", 1)]
        assert await kept(log) == {
            f"{POINT}/1": {"events": 1, "timers": 1},
            f"{POINT}/2": {"events": 2, "timers": 0},
        }
        assert [each.outcome for each in await history(log, "h")].count("superseded") == 1
        assert await names_of_pending(log, f"{POINT}/1") == []
        assert await names_of_pending(log, f"{POINT}/2") == ["again"]
        found = await position(log, "h")
        assert (found.open, found.waiting, found.stats.get("dead", 0)) == (0, 0, 0)

    with_lane(check)


def test_a_timer_keeps_the_key_that_it_was_set_under_when_the_function_changes(with_lane):
    ran: list[Seen | None] = []

    async def work(event: Event[HardwareStatus | Timer], ctx: Context[None, None, Seen]) -> None:
        if isinstance(event.payload, Timer):
            ran.append(ctx.entity_state)
        else:
            ctx.entity_state = Seen(events=7)
            ctx.later("check", 0)

    before = handler("h", key=by_evse, entity_state=Seen)(work)
    after = handler("h", key=lambda event: event.payload.hardware_status, entity_state=Seen)(work)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(before)])
        await log.append([status(1, 1)])
        await drained(log, before)
        await fired(log)
        await log.declare([declaration(after, version="v2")])
        await drained(log, after, version="v2")
        assert ran == [Seen(events=7)]
        assert await timer_keys(log) == []

    with_lane(check)


def test_explain_shows_what_is_kept_under_each_key(capsys, monkeypatch, valkey, prefix):
    @handler("h", key=by_evse, entity_state=Seen)
    async def h(event: Event[HardwareStatus | Timer], ctx: Context[None, None, Seen]) -> None:
        if event.payload.evse_id != "2":
            ctx.entity_state = Seen(events=1)
        if event.payload.evse_id != "1":
            ctx.later("check", 600)

    async def fill() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            other = event("HardwareStatusNotification", "charge-point:123", chargePointId=123, evseId=4)
            await log.append([status(evse, n) for n, evse in enumerate((1, 2, None))] + [other])
            await drained(log, h)

    asyncio.run(fill())
    cli = Cli(capsys, monkeypatch, valkey.url, prefix)
    found = cli.json("explain", POINT)
    for asked in (POINT, found["events"][0]["id"]):
        kept = cli.json("explain", asked)["kept"]
        shown = [(one["key"], bool(one["state_bytes"]), len(one["timers"])) for one in kept]
        assert shown == [(None, True, 1), ("1", True, 0), ("2", False, 1)]
    assert found["kept_complete"]
    text = cli("explain", POINT)[1]
    assert "h: key '1', keeps a state of 23 bytes until " in text
    assert "h: key '2', timer 'check', set by " in text


def test_explain_says_when_an_entity_has_more_keys_than_it_reads(capsys, monkeypatch, valkey, prefix):
    @handler("h", key=by_evse, entity_state=Seen)
    async def h(event: Event[HardwareStatus], ctx: Context[None, None, Seen]) -> None:
        pass

    async def fill(keys: range) -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(h)])
            await log.redis.mset({log.key("state", "h", f"{POINT}/{n}"): "{}" for n in keys})

    cli = Cli(capsys, monkeypatch, valkey.url, prefix)
    asyncio.run(fill(range(200)))
    found = cli.json("explain", POINT)
    assert (len(found["kept"]), found["kept_complete"]) == (200, True)
    asyncio.run(fill(range(200, 201)))
    found = cli.json("explain", POINT)
    assert (len(found["kept"]), found["kept_complete"]) == (200, False)
    assert "more may be kept under keys of handlers (`key=`)" in cli("explain", POINT)[1]
