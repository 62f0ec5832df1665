"""A dispatcher in this process drains a real log: order, retries, parking, dead letters, suspects, hand-back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from ampeco.notifications import NetworkStatus, SessionUpdate
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.record import OpenRecord, decode_open
from handlers import Context, Event, GiveUp, Raw, Retry, Skip, SyncContext, handler
from receiver.metrics import exposition
from tests.harness import VERSION, at_work, declaration, drained, event, eventually, position
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

Check = Callable[[EventLog], Awaitable[None]]


async def lose_lease(log: EventLog, name: str, lane: int) -> None:
    """As if its holder had died and its time had run out."""
    await log.redis.delete(log.key("lease", name, lane))
    await log.redis.zadd(log.key("due", "default"), {f"{name}|{lane}": 0})


def test_every_event_reaches_every_handler_that_wants_it(with_log):
    got: dict[str, list[int]] = {"all": [], "updates": []}

    @handler("all", on=["*"])
    async def everything(event: Event[Raw], ctx: Context) -> None:
        got["all"].append(event.payload.data["n"])

    @handler("updates")
    async def updates(event: Event[SessionUpdate], ctx: Context) -> None:
        got["updates"].append(int(event.payload.session.id))

    async def check(log: EventLog) -> None:
        await log.declare([declaration(everything), declaration(updates)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(1, 51)])
        await log.append([event("never.seen", key=None, n=n) for n in range(51, 61)])
        await drained(log, everything, updates)
        assert sorted(got["all"]) == list(range(1, 61))
        assert sorted(got["updates"]) == list(range(1, 51))
        for found in await log.handlers():
            assert (found.waiting, found.open, found.dead) == (0, 0, 0)

    with_log(check)


def test_events_of_one_entity_run_in_order_and_one_at_a_time(with_log):
    started: dict[str, list[int]] = {}
    at_work: set[str] = set()
    most = 0

    @handler("ordered", on=["*"])
    async def ordered(event: Event[Raw], ctx: Context) -> None:
        nonlocal most
        assert event.key is not None
        assert event.key not in at_work
        at_work.add(event.key)
        most = max(most, len(at_work))
        started.setdefault(event.key, []).append(event.payload.data["n"])
        await asyncio.sleep(0.001 * (event.payload.data["n"] % 3))
        at_work.discard(event.key)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(ordered)])
        await log.append([event(key=f"session:{n % 7}", n=n) for n in range(210)])
        await drained(log, ordered)
        assert all(numbers == sorted(numbers) for numbers in started.values())
        assert sum(map(len, started.values())) == 210
        assert most > 1, "different entities should run together"

    with_log(check)


def test_a_retry_holds_back_its_own_entity_and_no_other(with_log):
    ran: list[str] = []

    @handler("flaky", on=["*"])
    async def flaky(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        ran.append(f"{name}#{ctx.attempt}")
        if name == "a1" and ctx.attempt < 3:
            raise Retry("busy", after_s=0.2)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(flaky)])
        await log.append(
            [
                event(key="session:a", name="a1"),
                event(key="session:a", name="a2"),
                event(key="session:b", name="b1"),
            ]
        )
        await drained(log, flaky, until=lambda: "a2#1" in ran)
        assert ran.index("b1#1") < ran.index("a1#2")
        assert [r for r in ran if r.startswith("a")] == ["a1#1", "a1#2", "a1#3", "a2#1"]
        found = await position(log, "flaky")
        assert (found.open, found.waiting, found.stats["retried"], found.stats["done"]) == (0, 0, 2, 3)

    with_log(check)


def test_events_that_arrive_behind_a_retry_are_parked_and_run_after_it(with_log):
    ran: list[int] = []
    may_pass = False

    @handler("blocked", on=["*"])
    async def blocked(event: Event[Raw], ctx: Context) -> None:
        if not may_pass:
            raise Retry("not yet", after_s=0.3, counts=False)
        ran.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        nonlocal may_pass
        await log.declare([declaration(blocked)])
        await log.append([event(n=0)])
        await drained(log, blocked)
        await log.append([event(n=n) for n in range(1, 40)])
        await drained(log, blocked)
        found = await position(log, "blocked")
        assert (found.waiting, found.open) == (0, 40)
        may_pass = True
        await drained(log, blocked, until=lambda: len(ran) == 40)
        assert ran == list(range(40))

    with_log(check)


def test_without_order_a_retry_holds_back_nothing(with_log):
    ran: list[int] = []

    @handler("unordered", on=["*"], order="none")
    async def unordered(event: Event[Raw], ctx: Context) -> None:
        if event.payload.data["n"] == 0 and ctx.attempt == 1:
            raise Retry("later", after_s=0.3)
        ran.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(unordered)])
        await log.append([event(n=n) for n in range(5)])
        await drained(log, unordered, until=lambda: len(ran) == 5)
        assert sorted(ran) == list(range(5))
        assert ran[-1] == 0

    with_log(check)


def test_not_yet_spends_no_attempt(with_log):
    attempts: list[int] = []

    @handler("early", on=["*"], max_attempts=2)
    async def early(event: Event[Raw], ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 4:
            raise Retry("too early", after_s=0.01, counts=False)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(early)])
        await log.append([event()])
        await drained(log, early, until=lambda: len(attempts) == 4)
        found = await position(log, "early")
        assert (attempts, found.dead, found.stats["done"]) == ([1, 1, 1, 1], 0, 1)

    with_log(check)


NETWORK = "NetworkStatusNotification"


async def _dead(log: EventLog, name: str) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await log.redis.xrange(log.key("dead", name))]


def test_what_is_given_up_is_dead_with_its_reason_and_frees_its_entity(with_log):
    ran: list[str] = []

    @handler("judge", on=["*"], max_attempts=1)
    async def judge(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["name"])
        match event.payload.data["name"]:
            case "give-up":
                raise GiveUp("never")
            case "skip":
                raise Skip("not mine")
            case "fail":
                raise RuntimeError("secret text of a stranger")
            case "cancel":
                raise asyncio.CancelledError
            case "exit":
                raise SystemExit(3)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(judge)])
        await log.append([event(name=name) for name in ("give-up", "skip", "fail", "cancel", "exit", "last")])
        await drained(log, judge)
        assert ran == ["give-up", "skip", "fail", "cancel", "exit", "last"]
        dead = await _dead(log, "judge")
        assert [d[b"reason"] for d in dead] == [b"gave-up", *[b"attempts-exhausted"] * 3]
        assert b"RuntimeError" in dead[1][b"trace"]
        assert b"test_drain.py" in dead[1][b"trace"]
        assert b"secret text" not in b"".join(dead[1].values())
        found = await position(log, "judge")
        assert (found.stats["done"], found.stats["skipped"], found.stats["dead"]) == (1, 1, 4)

    with_log(check)


def test_a_payload_without_its_identity_is_dead_at_once(with_log):
    called = []

    @handler("typed")
    async def typed(event: Event[NetworkStatus], ctx: Context) -> None:
        called.append(event.id)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(typed)])
        await log.append([event(NETWORK, None, chargePointId={"not": "an id"})])
        await drained(log, typed)
        assert [d[b"reason"] for d in await _dead(log, "typed")] == [b"payload-mismatch"]
        assert called == []

    with_log(check)


def test_a_field_that_does_not_fit_costs_what_reads_it_and_is_counted_by_type(with_log):
    seen = []

    @handler("lenient")
    async def lenient(event: Event[NetworkStatus], ctx: Context) -> None:
        seen.append((event.misfits, event.payload.charge_point_id))

    @handler("reading")
    async def reading(event: Event[NetworkStatus], ctx: Context) -> None:
        seen.append(event.payload.network_status)

    @handler("strict", strict=True)
    async def strict(event: Event[NetworkStatus], ctx: Context) -> None:
        seen.append(event.id)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(each) for each in (lenient, reading, strict)])
        odd = event(
            NETWORK, "charge-point:1", chargePointId=1, networkStatus=[], timestamp="2026-11-24T10:00:00Z"
        )
        await log.append([odd])
        for each in (lenient, reading, strict):
            await drained(log, each)
            found = await position(log, each.name)
            assert found.stats[f"misfit:{NETWORK}"] == 1
            assert (await exposition(log)).decode().count(
                f'handler="{each.name}",type="{NETWORK}"}} 1.0'
            ) == 1
        assert seen == [(("networkStatus",), "1")]
        assert await _dead(log, "lenient") == []
        for name in ("reading", "strict"):
            (letter,) = await _dead(log, name)
            assert (letter[b"reason"], b"networkStatus" in letter[b"record"]) == (b"payload-mismatch", True)

    with_log(check)


def test_an_attempt_that_takes_too_long_is_ended_and_retried(with_log):
    attempts = []

    @handler("slow", on=["*"], timeout_s=0.1, max_attempts=1)
    async def slow(event: Event[Raw], ctx: Context) -> None:
        attempts.append(ctx.attempt)
        await asyncio.sleep(60)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(slow)])
        await log.append([event()])
        await drained(log, slow)
        assert [d[b"reason"] for d in await _dead(log, "slow")] == [b"attempts-exhausted"]
        assert attempts == [1]

    with_log(check)


def test_a_plain_function_runs_in_a_thread_with_its_own_context(with_log):
    threads = []

    @handler("plain")
    def plain(event: Event[SessionUpdate], ctx: SyncContext) -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        threads.append((event.payload.session.id, ctx.attempt))

    async def check(log: EventLog) -> None:
        await log.declare([declaration(plain)])
        await log.append([event(key="session:9")])
        await drained(log, plain)
        assert threads == [("9", 1)]

    with_log(check)


def test_slow_events_hold_back_neither_the_lane_nor_other_handlers(with_log):
    slow_done, quick_done = [], []
    may_end = asyncio.Event()

    @handler("slow", on=["*"], timeout_s=120)
    async def slow(event: Event[Raw], ctx: Context) -> None:
        if event.payload.data["n"] == 0:
            await may_end.wait()
        slow_done.append(event.payload.data["n"])

    @handler("quick", on=["*"])
    async def quick(event: Event[Raw], ctx: Context) -> None:
        quick_done.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        one_lane = EventLog(log.redis, prefix=log.prefix, lanes=1)
        await one_lane.declare([declaration(slow), declaration(quick)])
        await one_lane.append([event(key=f"session:{n}", n=n) for n in range(100)])

        async def all_but_the_slow_one() -> bool:
            found = await position(one_lane, "slow")
            return found.stats.get("done", 0) == 99 and found.waiting == 0 and len(quick_done) == 100

        async with at_work(one_lane, slow, quick):
            # Settled in Redis while the first event of the lane is still at work: the cursor has passed it.
            await eventually(all_but_the_slow_one)
            assert 0 not in slow_done
            assert (await position(one_lane, "slow")).open == 1
            may_end.set()
        assert (await position(one_lane, "slow")).stats["done"] == 100

    with_log(check)


def test_a_handler_works_on_no_more_events_at_once_than_it_says(with_log):
    at_work, most = 0, 0

    @handler("capped", on=["*"], concurrency=3)
    async def capped(event: Event[Raw], ctx: Context) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.005)
        at_work -= 1

    async def check(log: EventLog) -> None:
        await log.declare([declaration(capped)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(60)])
        await drained(log, capped)
        assert most == 3
        assert (await position(log, "capped")).stats["done"] == 60

    with_log(check)


def test_a_polite_stop_hands_back_what_did_not_run_and_nothing_is_suspected(with_log):
    ran: list[int] = []
    gate = asyncio.Event()

    @handler("stopped", on=["*"], timeout_s=5)
    async def stopped(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        if len(ran) == 1:
            gate.set()
            await asyncio.sleep(0.3)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(stopped)])
        await log.append([event(n=n) for n in range(20)])
        dispatcher = Dispatcher(log, "default", {"stopped": Runtime(stopped, VERSION)})
        working = asyncio.create_task(dispatcher.work())
        await gate.wait()
        await dispatcher.stop()
        await working
        assert ran == [0], "what ran may finish, nothing new may start"
        lane = log.lane_of("session:1", b"")
        start = await Lease(log, "stopped", lane, "default").take()
        assert start is not None
        assert start.cur == start.runto
        await lose_lease(log, "stopped", lane)
        await drained(log, stopped)
        assert ran == list(range(20))

    with_log(check)


def test_after_a_death_the_event_that_may_have_caused_it_runs_alone_and_is_counted(with_log):
    ran: list[tuple[int, int]] = []
    at_work = 0

    @handler("survivor", on=["*"])
    async def survivor(event: Event[Raw], ctx: Context) -> None:
        nonlocal at_work
        at_work += 1
        assert at_work == 1 or event.payload.data["n"] >= 5, "suspects run one at a time"
        ran.append((event.payload.data["n"], ctx.attempt))
        await asyncio.sleep(0.002)
        at_work -= 1

    async def check(log: EventLog) -> None:
        one_lane = EventLog(log.redis, prefix=log.prefix, lanes=1)
        await one_lane.declare([declaration(survivor)])
        await one_lane.append([event(key=f"session:{n}", n=n) for n in range(5)])
        dead = Lease(one_lane, "survivor", 0, "default")
        start = await dead.take()
        assert start is not None
        await dead.step(Settlement(), after=start.cur, count=5)
        await lose_lease(one_lane, "survivor", 0)
        await one_lane.append([event(key=f"session:{n}", n=n) for n in range(5, 10)])
        await drained(one_lane, survivor)
        assert ran == [(n, 1) for n in range(10)], "a crash is not an attempt"
        found = await position(one_lane, "survivor")
        assert (found.stats["done"], found.open, found.waiting) == (10, 0, 0)

    with_log(check)


@pytest.mark.parametrize("blocked", [False, True], ids=["worker-died", "loop-blocked"])
def test_an_event_that_killed_three_workers_is_dead_and_its_entity_goes_on(with_log, blocked: bool):
    ran: list[int] = []

    @handler("poisoned", on=["*"])
    async def poisoned(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(poisoned)])
        await log.append([event(n=0), event(n=1)])
        lane = log.lane_of("session:1", b"")
        dead = Lease(log, "poisoned", lane, "default")
        start = await dead.take()
        assert start is not None
        read = await dead.step(Settlement(), after=start.cur, count=1)
        put = OpenRecord(read.events[0], "running", crashes=2)
        await dead.step(Settlement(cur=read.scanned, puts=[put]))
        await lose_lease(log, "poisoned", lane)
        if blocked:
            said = json.dumps(["x.py:3 in f", "loop-blocked\nx.py:3 in f"])
            event_id = read.events[0].event_id
            await log.scripts.blocked(args=[log.prefix, "poisoned", event_id, said, 60_000, 10])
        await drained(log, poisoned)
        assert ran == [1]
        (letter,) = await _dead(log, "poisoned")
        reason, trace = (b"loop-blocked", b"loop-blocked\nx.py:3 in f") if blocked else (b"worker-died", b"")
        assert (letter[b"reason"], letter[b"trace"]) == (reason, trace)
        detail = decode_open(lane, b"1-0", letter[b"record"]).log[-1].detail
        assert detail == ("x.py:3 in f (3 of 3)" if blocked else "3 of 3")

    with_log(check)


def test_code_that_is_not_the_newest_settles_nothing_it_does_not_know(with_log):
    ran: list[str] = []

    @handler("rolling", on=["old.type"])
    async def old_code(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.type)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(old_code, version="v1")])
        await asyncio.sleep(0.002)
        await log.declare([declaration(old_code, version="v2", types=("old.type", "new.type"))])
        await log.append([event("old.type", n=1), event("new.type", n=2), event("old.type", n=3)])
        await drained(log, old_code)
        assert ran == ["old.type"]
        found = await position(log, "rolling")
        assert found.waiting + found.open == 2

    with_log(check)


def test_a_lane_with_much_to_do_shares_a_handlers_concurrency_with_the_others(with_log):
    ran: list[str] = []

    @handler("one", on=["*"], concurrency=1)
    async def one_at_a_time(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.key or "")
        await asyncio.sleep(0.003)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(one_at_a_time)])
        keys = [f"session:{n}" for n in range(3_000)]
        busy = [key for key in keys if log.lane_of(key, b"") == 0][:600]
        other = next(key for key in keys if log.lane_of(key, b"") == 1)
        for at in range(0, len(busy), 100):
            await log.append([event(key=key) for key in busy[at : at + 100]])
        await log.append([event(key=other)])
        await drained(log, one_at_a_time, until=lambda: len(ran) == len(busy) + 1)
        assert ran.index(other) < len(busy) - 100

    with_log(check)
