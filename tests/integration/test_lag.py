"""The lag of each handler: equal to a count of the events themselves, or shown as an upper bound until it is."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest

from eventlog.errors import LogMismatch
from eventlog.housekeeping import tick_forever
from eventlog.lag import Lag, count_waiting, lags_of
from eventlog.log import EventLog
from eventlog.operation import dead_letters
from eventlog.operation.dead_letters import DeadFilter
from eventlog.operation.handlers import pause, rename, resume, retire
from eventlog.operation.replay import Selection, begin, feed
from eventlog.record import id_order
from eventlog.registry import Declaration
from eventlog.retention import Keep
from handlers import Context, Event, Raw, Retry, handler
from tests.cli import Cli
from tests.harness import declaration, drained, event, eventually, on_log, opened, position
from tests.stepped_drain import SteppedDrain, as_earlier_code

TYPES = ("A", "B", "C")


def wants(name: str, *types: str, version: str = "v1", start: str = "now") -> Declaration:
    return Declaration(name, version, types, "default", "entity", start)  # type: ignore[arg-type]


async def counted_by_hand(log: EventLog, name: str) -> tuple[int, int, int | None, int | None]:
    """Waiting, open, and when the oldest of both and of those that wait was added (ms)."""
    types = set((await log.redis.hget(log.key("wants"), name)).decode().split("\n"))
    waiting = opened = 0
    oldest: list[int] = []
    waits: list[int] = []
    for lane in range(log.lanes):
        cur = (await log.redis.hget(log.key("cur"), f"{name}|{lane}")).decode()
        in_open = set(await log.redis.hkeys(log.key("open", name, lane)))
        left = in_open | await log.redis.smembers(log.key("ahead", name, lane))
        opened += len(in_open)
        oldest += [added_ms(event_id) for event_id in in_open]
        for event_id, fields in await log.redis.xrange(log.key("events", lane), min=f"({cur}"):
            if ("*" in types or fields[b"t"].decode() in types) and event_id not in left:
                waiting += 1
                waits.append(added_ms(event_id))
    return waiting, opened, min(oldest + waits, default=None), min(waits, default=None)


async def parked_by_hand(log: EventLog, name: str) -> tuple[int, bool]:
    """How many events are parked, and whether drains that count them had every lane."""
    parked, is_known = 0, True
    for lane in range(log.lanes):
        records = await log.redis.hvals(log.key("open", name, lane))
        parked += sum(json.loads(record.partition(b"\n")[0])["state"] == "parked" for record in records)
        is_known = is_known and bool(await log.redis.hexists(log.key("passed", name, lane), "parked"))
    return parked, is_known


def added_ms(event_id: bytes) -> int:
    return id_order(event_id.decode())[0]


async def judged(log: EventLog, name: str) -> Lag:
    """The lag as it is shown, after it was compared with a count by hand."""
    before_ms = await now_ms(log)
    found = (await lags_of(log, [name]))[name]
    after_ms = await now_ms(log)
    waiting, opened, oldest_ms, waits_ms = await counted_by_hand(log, name)
    assert found.open == opened
    assert found.waiting >= waiting, "an upper bound is never too small"
    if found.waiting_is_exact:
        assert found.waiting == waiting
    if oldest_ms is not None:
        assert found.oldest_age_s is not None
        assert round(found.oldest_age_s * 1000) >= before_ms - oldest_ms
        if found.oldest_is_exact:
            assert round(found.oldest_age_s * 1000) <= after_ms - oldest_ms
    elif found.waiting_is_exact:
        assert found.oldest_age_s is None
    if waits_ms is not None:
        assert found.waiting_age_s is not None
        assert round(found.waiting_age_s * 1000) >= before_ms - waits_ms
    elif found.waiting_is_exact:
        assert found.waiting_age_s is None
    return found


async def now_ms(log: EventLog) -> int:
    seconds, micros = await log.redis.time()
    return seconds * 1000 + micros // 1000


async def exact(log: EventLog, *names: str) -> list[Lag]:
    assert await count_waiting(log, names, most=None)
    found = [await judged(log, name) for name in names]
    assert all(lag.waiting_is_exact for lag in found)
    return found


@pytest.fixture
def on_lanes(log_url, prefix):
    """Run a check against a log of two lanes on each kind of server."""

    def run(check) -> None:
        on_log(log_url, prefix, check, lanes=2)

    return run


def test_it_counts_only_what_a_handler_wants_and_nothing_once_that_is_done(on_lanes):
    ran: list[int] = []

    @handler("h", on=["A"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(1)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h), wants("all", "*"), wants("none", "never")])
        await log.append([event("A" if n % 3 else "B", f"session:{n}") for n in range(30)])
        found = {one.name: one for one in await log.handlers()}
        assert [(found[name].waiting, found[name].waiting_is_exact) for name in ("all", "h", "none")] == [
            (30, True),
            (20, True),
            (0, True),
        ]
        assert found["all"].oldest_is_exact
        assert found["none"].oldest_age_s is None
        await drained(log, h)
        done = await position(log, "h")
        assert (len(ran), done.waiting, done.waiting_is_exact, done.oldest_age_s) == (20, 0, True, None)
        for name in found:
            await judged(log, name)

    on_lanes(check)


def test_an_event_that_is_tried_again_later_is_old_and_does_not_wait(on_lanes):
    """More workers would not help it: autoscalers and the alert for a backlog ask for what waits."""

    @handler("h", on=["A"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        raise Retry("not today", after_s=3600)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("A", "session:1")])
        assert (await judged(log, "h")).waiting_age_s is not None
        await drained(log, h)
        found = await judged(log, "h")
        assert found.oldest_age_s is not None
        assert (found.waiting, found.open, found.waiting_age_s) == (0, 1, None)

    on_lanes(check)


@pytest.mark.parametrize("seed", range(12))
def test_it_equals_a_count_by_hand_whatever_happens(valkey, prefix, seed):
    """Appends, steps, crashes, retries, replays and new declarations in any order, all by code that counts."""
    chance = Random(seed)

    async def check() -> None:
        async with opened(valkey.url, prefix, lanes=2) as log:
            await log.declare([wants("h", "A", "B")])
            held: dict[int, SteppedDrain] = {}
            for _ in range(120):
                await one_move(log, chance, held)
                found = await judged(log, "h")
                parked, is_known = await parked_by_hand(log, "h")
                assert found.parked == parked if is_known else found.parked >= parked
                if not found.waiting_is_exact and chance.random() < 0.3:
                    await count_waiting(log, ["h"], most=chance.choice((1, 40, 100_000)))
            for drain in held.values():
                await drain.crash()
            await exact(log, "h")

    asyncio.run(check())


async def one_move(log: EventLog, chance: Random, held: dict[int, SteppedDrain]) -> None:
    lane = chance.randrange(log.lanes)
    match chance.choice(("append", "append", "drain", "drain", "drain", "end", "declare", "again", "pause")):
        case "append":
            keys = ("session:1", "session:2", "session:3", None)
            await log.append(
                [event(chance.choice(TYPES), chance.choice(keys)) for _ in range(chance.randrange(9))]
            )
        case "drain" if lane in held:
            if not await held[lane].step(chance.choice(("work", "work", "sleep")), chance.randrange(9)):
                del held[lane]
        case "drain":
            drain = SteppedDrain(log, "h", lane, chance)
            if await drain.take():
                held[lane] = drain
        case "end" if lane in held:
            drain = held.pop(lane)
            if chance.random() < 0.5:
                await drain.step("release", 0)
            else:
                await drain.crash()
        case "declare" if chance.random() < 0.3:
            types = chance.choice((("A",), ("A", "B"), ("C", "B", "A"), ("*",)))
            await log.declare([wants("h", *types)])
            await let_go(held)
        case "again":
            if chance.random() < 0.5:
                letters = await dead_letters.matching(log, DeadFilter(handler="h"))
                await dead_letters.retry(log, letters[:3])
            else:
                replay = await begin(log, Selection("h", 0, 1 << 45, ("*",)), now_ms=1)
                async for _ in feed(log, replay, patience_s=0):
                    pass
            await let_go(held)
        case "pause":
            await pause(log, "h", reason="", now_ms=1)
            await resume(log, "h")


async def let_go(held: dict[int, SteppedDrain]) -> None:
    """A drain gives its lane back when another process changed what it took."""
    for lane in list(held):
        await held.pop(lane).step("release", 0)


def test_a_backlog_is_counted_again_when_the_wanted_types_change(on_lanes):
    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A")])
        await log.append([event(TYPES[n % 3], f"session:{n}") for n in range(90)])
        drain = SteppedDrain(log, "h", 0, Random(1))
        assert await drain.take()
        await drain.step(count=9)
        for types, expected in ((("A", "B"), 60), (("C",), 30), (("*",), 90)):
            await log.declare([wants("h", *types)])
            shown = await judged(log, "h")
            assert (shown.waiting, shown.waiting_is_exact) == (90, False)
            if drain is not None:
                assert not await count_waiting(log, ["h"], most=None), "it read by the earlier types"
                await drain.crash()
                drain = None
            assert (await exact(log, "h"))[0].waiting == expected

    on_lanes(check)


def test_slices_and_steps_may_take_turns(on_lanes, monkeypatch):
    """The cursor overtakes the count, events arrive, and both sides stay right."""
    monkeypatch.setattr("eventlog.lag._SLICE", 7)
    chance = Random(5)

    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A")])
        await log.append([event(TYPES[n % 3], f"session:{n}") for n in range(200)])
        await log.declare([wants("h", "A", "B")])
        drain = SteppedDrain(log, "h", 0, chance)
        assert await drain.take()
        for turn in range(60):
            if turn % 3 == 0:
                await log.append([event("B", f"session:{turn}")])
            await count_waiting(log, ["h"], most=1)
            await drain.step(count=chance.randrange(12))
            await judged(log, "h")
        await exact(log, "h")
        await drain.step(count=12)
        assert (await judged(log, "h")).waiting_is_exact

    on_lanes(check)


def test_a_new_handler_begins_now_or_at_the_oldest_event(on_lanes):
    async def check(log: EventLog) -> None:
        await log.append([event(TYPES[n % 3], f"session:{n}") for n in range(60)])
        await log.declare([wants("late", "A"), wants("early", "A", "B", start="oldest")])
        assert ((await judged(log, "late")).waiting, (await judged(log, "late")).waiting_is_exact) == (
            0,
            True,
        )
        assert not (await judged(log, "early")).waiting_is_exact
        late, early = await exact(log, "late", "early")
        assert (late.waiting, early.waiting) == (0, 40)
        assert early.oldest_is_exact

    on_lanes(check)


def test_renamed_it_keeps_its_lag_and_retired_it_leaves_none(on_lanes):
    async def check(log: EventLog) -> None:
        await log.declare([wants("old", "A"), wants("other", "B")])
        await log.append([event(TYPES[n % 3], f"session:{n}") for n in range(30)])
        await rename(log, "old", "new", now_ms=1)
        assert ((await judged(log, "new")).waiting, (await judged(log, "new")).waiting_is_exact) == (10, True)
        await retire(log, "new", now_ms=1)
        assert not await log.redis.keys(log.key("passed", "new", "*"))
        assert set(await log.redis.hkeys(log.key("counted"))) == {b"other"}
        await log.declare([wants("new", "A", "B")])
        assert ((await judged(log, "new")).waiting, (await judged(log, "new")).waiting_is_exact) == (0, True)

    on_lanes(check)


async def forget_counts(log: EventLog) -> None:
    """Make the log as code before the counts wrote it."""
    for pattern in ("added", "passed:*", "counted"):
        for key in await log.redis.keys(log.prefix + pattern):
            await log.redis.delete(key)


def test_a_log_of_earlier_code_is_counted_once(on_lanes):
    async def check(log: EventLog) -> None:
        await log.declare([wants("h", "A")])
        await log.append([event(TYPES[n % 3], f"session:{n}") for n in range(60)])
        drain = SteppedDrain(log, "h", 0, Random(3))
        assert await drain.take()
        for _ in range(4):
            await drain.step(count=9)
        await drain.crash()
        await forget_counts(log)
        shown = await judged(log, "h")
        assert not shown.waiting_is_exact
        assert not await count_waiting(log, ["h"], most=None), "until a worker declares what it wants"
        await log.declare([wants("h", "A")])
        await exact(log, "h")
        await log.append([event("A", f"session:{n}") for n in range(5)])
        assert (await judged(log, "h")).waiting_is_exact

    on_lanes(check)


@pytest.mark.parametrize("seed", range(8))
def test_earlier_code_beside_ours_makes_it_a_bound_until_it_is_counted_again(valkey, prefix, seed):
    """In a rolling deploy old receivers append and old workers step, and neither counts.

    In every second case only the workers are old.
    """
    chance = Random(seed)

    async def check() -> None:
        async with opened(valkey.url, prefix, lanes=2) as log:
            await log.declare([wants("h", "A", "B")])
            earlier = as_earlier_code(log)
            for _ in range(25):
                elements = [
                    event(chance.choice(TYPES), f"session:{n % 5}") for n in range(chance.randrange(9))
                ]
                await chance.choice((log, earlier if seed % 2 else log)).append(elements)
                await judged_mixed(log)
                lane = chance.randrange(log.lanes)
                drain = SteppedDrain(
                    log, "h", lane, chance, earlier=earlier if chance.random() < 0.5 else None
                )
                if await drain.take():
                    going = True
                    for _ in range(chance.randrange(1, 6)):
                        going = going and await drain.step(chance.choice(("work", "sleep")))
                    if going:
                        await drain.step("release", 0)
                await judged_mixed(log)
                if chance.random() < 0.3:
                    await exact(log, "h")
            await exact(log, "h")

    asyncio.run(check())


async def judged_mixed(log: EventLog) -> None:
    found = (await lags_of(log, ["h"]))["h"]
    waiting, opened, *_ = await counted_by_hand(log, "h")
    assert found.open == opened
    assert found.waiting >= waiting
    if found.waiting_is_exact:
        assert found.waiting == waiting


def test_falling_asleep_sets_right_whatever_is_wrong(on_lanes):
    @handler("h", on=["A"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        pass

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("A", f"session:{n}") for n in range(20)])
        for lane in range(log.lanes):
            await log.redis.hset(log.key("passed", "h", lane), "n", 12_345)
        shown = (await lags_of(log, ["h"]))["h"]
        assert (shown.waiting, shown.waiting_is_exact) == (20, False), "never negative"
        await drained(log, h)
        await log.append([event(kind, f"session:{n}") for n in range(7) for kind in ("A", "B")])
        assert (await judged(log, "h")).waiting == 7
        assert (await judged(log, "h")).waiting_is_exact

    on_lanes(check)


def test_new_key_rules_are_taken_once_no_wanted_event_is_left(on_lanes):
    async def check(log: EventLog) -> None:
        await log.claim("https://t.example", "rules-1")
        await log.append([event("B", f"session:{n}") for n in range(10)])
        await log.declare([wants("h", "A", start="oldest")])
        await log.claim("https://t.example", "rules-2")
        await log.append([event("A")])
        with pytest.raises(LogMismatch, match=r"h \(1\)"):
            await log.claim("https://t.example", "rules-3")

    on_lanes(check)


def test_housekeeping_counts_and_the_list_shows_a_bound_until_then(valkey, prefix, capsys, monkeypatch):
    class Waker:
        def wake(self, queues: list[str]) -> None: ...

    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([wants("h", "A")])
            await log.append([event(TYPES[n % 3], f"session:{n}") for n in range(30)])
            await log.declare([wants("h", "A", "B")])
            _, shown, _ = await asyncio.to_thread(cli, "handlers", "list")
            assert "≤ 30" in shown
            stop = asyncio.Event()
            rules = Keep(hours=24, max_bytes=1 << 30, history_days=7)
            keeping = asyncio.create_task(tick_forever(log, Waker(), stop, rules))

            async def counted() -> bool:
                return (await position(log, "h")).waiting_is_exact

            await eventually(counted)
            stop.set()
            await keeping
            assert (await judged(log, "h")).waiting == 20
            _, shown, _ = await asyncio.to_thread(cli, "handlers", "list")
            assert " 20 " in shown

    cli = Cli(capsys, monkeypatch, valkey.url, prefix)
    asyncio.run(check())
