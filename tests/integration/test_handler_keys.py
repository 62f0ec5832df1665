"""Keys of a handler's own (`key=`): order, once-only steps, misfits and counters on a real log."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ampeco.notifications import HardwareStatus
from eventlog.log import EventLog, NewEvent
from handlers import Context, Event, Retry, handler
from tests.harness import at_work, declaration, drained, event, eventually, position
from tests.integration.test_drain_takeover import died, lost


def by_evse(event: Event[HardwareStatus]) -> str | None:
    return event.payload.evse_id


def status(evse: int | None, n: int, **data: Any) -> NewEvent:
    at = f"2026-11-29T12:00:{n:02}Z"
    sent = {"chargePointId": 12, "evseId": evse, "hardwareStatus": "faulted", "timestamp": at, **data}
    return event("HardwareStatusNotification", "charge-point:12", **sent)


def test_an_evse_that_waits_holds_up_no_other_one_of_its_charge_point(with_lane):
    began: list[tuple[str | None, int]] = []

    @handler("h", key=by_evse)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        evse = event.payload.evse_id
        began.append((evse, ctx.attempt))
        if evse == "1" and ctx.attempt == 1 and len(began) == 1:
            raise Retry("later", after_s=0.5)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(1, 1), status(1, 2), status(2, 3)])
        await drained(log, h, until=lambda: len(began) == 4)
        # The second event of EVSE 1 waits behind the retry of the first, that of EVSE 2 does not.
        assert began == [("1", 1), ("2", 1), ("1", 2), ("1", 1)]
        declared = json.loads((await log.redis.hgetall(log.key("handlers")))[b"h|v1"])["declaration"]
        assert declared["key"] == f"{__name__}.by_evse"

    with_lane(check)


def test_two_evses_of_a_charge_point_run_side_by_side_and_one_never_does(with_lane):
    running: set[str | None] = set()
    most = 0

    @handler("h", key=by_evse)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        nonlocal most
        assert event.payload.evse_id not in running
        running.add(event.payload.evse_id)
        most = max(most, len(running))
        await asyncio.sleep(0.02)
        running.discard(event.payload.evse_id)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(n % 2 + 1, n) for n in range(8)])
        await drained(log, h)
        assert (most, (await position(log, "h")).stats["done"]) == (2, 8)

    with_lane(check)


def test_a_step_per_entity_is_one_per_key(with_lane):
    called: list[str] = []
    remembered: list[bool] = []

    @handler("h", key=by_evse)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        await ctx.once("tell", lambda: called.append(str(event.payload.evse_id)), per="entity")
        remembered.append(ctx.remembered("tell"))

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(evse, n) for n, evse in enumerate((1, 2, 1, None))])
        await drained(log, h)
        assert sorted(called) == ["1", "2", "None"]
        assert sorted(remembered) == [False, False, False, True]
        assert await log.redis.exists(log.key("ledger", "h", "charge-point:12/1")) == 1

    with_lane(check)


def test_a_key_that_reads_a_misfit_is_dead_unless_its_event_is_filtered(with_lane):
    @handler(
        "h", key=lambda event: str(event.payload.timestamp), where=lambda event: event.payload.evse_id == "1"
    )
    async def h(event: Event[HardwareStatus], ctx: Context) -> None: ...

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(1, 1, timestamp="odd"), status(2, 2, timestamp="odd"), status(1, 3)])
        await drained(log, h)
        stats = (await position(log, "h")).stats
        assert (stats["done"], stats["skipped"], stats["dead"]) == (1, 1, 1)
        ((_, letter),) = await log.redis.xrange(log.key("dead", "h"))
        assert letter[b"reason"] == b"payload-mismatch"
        assert b"test_handler_keys.py" in letter[b"trace"]

    with_lane(check)


def test_a_key_that_fails_is_the_entity_and_is_counted(with_lane):
    order: list[str | None] = []

    def odd(event: Event[HardwareStatus]) -> str:
        return {"1": "one"}[event.payload.evse_id or ""]

    @handler("h", key=odd)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        order.append(event.payload.evse_id)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(evse, n) for n, evse in enumerate((2, 3, 1, 2))])
        await drained(log, h)
        assert [evse for evse in order if evse != "1"] == ["2", "3", "2"]
        assert (await position(log, "h")).stats["key-failed"] == 3

    with_lane(check)


def test_latest_settles_the_newest_status_of_each_evse(with_lane):
    ran: list[tuple[str | None, str | None]] = []
    first_may_end = asyncio.Event()

    @handler("h", order="latest", concurrency=1)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        ran.append((event.payload.evse_id, event.payload.hardware_status))
        await first_may_end.wait()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])

        async def begun() -> bool:
            return bool(ran)

        async def one_gave_way() -> bool:
            return (await position(log, "h")).stats.get("superseded") == 1

        async with at_work(log, h):
            await log.append([status(1, 1)])
            await eventually(begun)
            states = ((1, "preparing"), (2, "charging"), (1, "available"))
            await log.append(
                [status(evse, n, hardwareStatus=state) for n, (evse, state) in enumerate(states, 2)]
            )
            await eventually(one_gave_way)
            first_may_end.set()
        await drained(log, h)
        assert sorted(ran[1:]) == [("1", "available"), ("2", "charging")]

    with_lane(check)


def test_after_a_death_the_newest_of_each_key_is_still_handled_and_in_order(with_lane):
    """Until what was left at work is done, keys are not asked for before an attempt."""
    ran: list[tuple[str | None, str | None]] = []

    @handler("h", order="latest", key=by_evse)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        ran.append((event.payload.evse_id, event.payload.hardware_status))
        if len(ran) == 1:
            await asyncio.Event().wait()
        await ctx.once(f"seen {event.id}", lambda: None, per="entity")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(1, 1, hardwareStatus="preparing")])

        async def begun() -> bool:
            return bool(ran)

        async with at_work(log, h) as dispatcher:
            await eventually(begun)
            await died(dispatcher)
        await lost(log, "h")
        states = ((2, "charging"), (1, "charging"), (2, "available"))
        await log.append([status(evse, n, hardwareStatus=state) for n, (evse, state) in enumerate(states, 2)])
        await drained(log, h)
        assert ran[1] == ("1", "preparing")  # what was at work comes first
        assert dict(ran[1:]) == {"1": "charging", "2": "available"}
        found = await position(log, "h")
        assert (found.open, found.waiting, found.stats.get("dead", 0)) == (0, 0, 0)
        # Once-only steps have the handler's key all the same.
        assert await log.redis.exists(*(log.key("ledger", "h", f"charge-point:12/{n}") for n in (1, 2))) == 2

    with_lane(check)


def test_a_death_while_keys_of_open_events_were_asked_for_changes_nothing_where_no_key_kills(with_lane):
    began: list[tuple[str | None, int]] = []

    @handler("h", key=by_evse)
    async def h(event: Event[HardwareStatus], ctx: Context) -> None:
        began.append((event.payload.evse_id, ctx.attempt))
        if ctx.attempt == 1:
            raise Retry("later", after_s=0.5)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([status(1, 1), status(2, 2), status(1, 3)])

        async def both_wait() -> bool:
            return (await position(log, "h")).open == 3

        async with at_work(log, h):
            await eventually(both_wait)
        lane = log.lane_of("charge-point:12", b"")
        await log.redis.hset(log.key("asking"), f"h|{lane}", "token of a drain that died")
        await drained(log, h, until=lambda: len(began) == 6)
        found = await position(log, "h")
        assert (found.open, found.waiting, found.stats["done"], found.stats.get("dead", 0)) == (0, 0, 3, 0)
        assert [attempt for evse, attempt in began if evse == "1"] == [1, 2, 1, 2]
        assert await log.redis.hlen(log.key("asking")) == 0

    with_lane(check)
