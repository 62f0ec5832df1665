"""What is kept and what goes: never what a handler has not settled, and never more than there is room for."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from pathlib import Path

import pytest
import redis

from eventlog.chores import Chores
from eventlog.clock import now_ms
from eventlog.gap_records import MARGIN_MS, Gaps
from eventlog.heartbeat import Hole
from eventlog.history import Settled, encode, hash_of
from eventlog.housekeeping import _keep, tick_forever
from eventlog.inspection.arrivals import reaches_back_to
from eventlog.inspection.gaps import changed, recorded_gaps
from eventlog.log import EventLog, Unreadable
from eventlog.record import id_order
from eventlog.registry import Declaration
from eventlog.retention import Keep, keep
from eventlog.schedule import elected, recompute
from eventlog.scripts import source
from eventlog.usage import standing
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from receiver.metrics import exposition
from tests.door import door
from tests.harness import declaration, drained, event, opened, position, soon

MIB = 1 << 20
DAY_MS = 86_400_000


@handler("h", on=["*"])
async def settles(event: Event[Raw], ctx: Context) -> None:
    pass


def declared(name: str, types: tuple[str, ...] = ("*",)) -> Declaration:
    return Declaration(name, "v1", types, "default", "entity", "oldest")


async def put(log: EventLog, lane: int, ms: int, seq: int = 0, *, body: bytes = b"{}") -> str:
    """An event that arrived at a moment."""
    fields = {"v": 1, "t": "x", "k": "session:1", "b": body, "r": ms, "s": "", "m": ""}
    return str((await log.redis.xadd(log.key("events", lane), fields, id=f"{ms}-{seq}")).decode())


async def ids(log: EventLog, lane: int) -> list[str]:
    return [entry[0].decode() for entry in await log.redis.xrange(log.key("events", lane))]


async def move(log: EventLog, name: str, lane: int, to: str) -> None:
    await log.redis.hset(log.key("cur"), f"{name}|{lane}", to)


def test_events_go_when_they_are_old_and_settled(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declared("a"), declared("b")])
        now = now_ms()
        old = [await put(log, 0, now - 2 * DAY_MS + n) for n in range(250)]
        young = await put(log, 0, now - DAY_MS // 2)
        await keep(log, Keep())
        assert await ids(log, 0) == [*old, young]
        await move(log, "a", 0, young)
        await move(log, "b", 0, old[150])
        found = await keep(log, Keep())
        assert await ids(log, 0) == [*old[151:], young]
        assert found.oldest_ms == id_order(old[151])[0]
        await move(log, "b", 0, young)
        found = await keep(log, Keep())
        assert await ids(log, 0) == [young]
        assert (found.oldest_ms, found.given_up, found.full) == (now - DAY_MS // 2, 0, "")

    on_each_server(check)


def test_events_from_before_an_outage_are_kept_until_it_is_compared(on_each_server):
    """Otherwise nothing could be proven of an outage that was longer than events are kept."""

    async def check(log: EventLog) -> None:
        await log.declare([declared("a")])
        began, gaps = now_ms() - 2 * DAY_MS, Gaps(log)
        old, before = await put(log, 0, began - DAY_MS), await put(log, 0, began - 60_000)
        await move(log, "a", 0, before)
        await log.redis.hset(log.key("door"), "r", began)
        await gaps.note_comparer(began)
        await log.redis.hset(log.key("gaps"), mapping={"1": "no record", "x": "{}", "2": "[]"})
        await keep(log, Keep())
        assert await ids(log, 0) == [before], "no receiver has recorded the gap yet"
        assert 0 < await reaches_back_to(log) <= began - MARGIN_MS
        assert await log.close_gap("r", Hole(began, now_ms()), ["t"], None)
        await keep(log, Keep())
        assert before in await ids(log, 0)
        (gap,) = await recorded_gaps(log)
        await gaps.replace(gap.id, gap.text, changed(gap, {"state": "unproven"}).text)
        await keep(log, Keep())
        assert not {old, before} & {*await ids(log, 0)}

    on_each_server(check)


def test_without_backfill_an_outage_keeps_no_event(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declared("a")])
        began = now_ms() - 2 * DAY_MS
        await move(log, "a", 0, await put(log, 0, began - 60_000))
        await log.redis.hset(log.key("door"), "r", began)
        await keep(log, Keep())
        assert await ids(log, 0) == []

    on_each_server(check)


def test_it_is_known_up_to_when_events_may_be_gone(on_each_server):
    """Whoever compares what arrived with something else must not take what went for what never came."""

    async def check(log: EventLog) -> None:
        await log.declare([declared("a")])
        now = now_ms()
        old = [await put(log, lane, now - 2 * DAY_MS + n) for lane in (0, 1) for n in range(250)]
        for lane in (0, 1):
            await put(log, lane, now - 60_000)
            await move(log, "a", lane, old[-1])
        assert await reaches_back_to(log) == 0
        await keep(log, Keep())
        assert id_order(old[-1])[0] <= await reaches_back_to(log) <= now - DAY_MS
        for n in range(300):
            await put(log, 0, now - 50_000 + n)
        await move(log, "a", 0, f"{now}-0")
        await keep(log, Keep(max_bytes=20_000))
        kept = await ids(log, 0)
        assert now - 60_000 <= await reaches_back_to(log) <= id_order(kept[0])[0]

    on_each_server(check)


def test_the_first_unsettled_event_stays_also_within_a_millisecond(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declared("a")])
        ms = now_ms() - 2 * DAY_MS
        put_ = [await put(log, 0, ms, n) for n in range(5)]
        await move(log, "a", 0, put_[1])
        await keep(log, Keep())
        assert await ids(log, 0) == put_[2:]

    on_each_server(check)


def test_a_missing_position_keeps_everything(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declared("a"), declared("b")])
        kept = [await put(log, 0, 1_000 + n) for n in range(3)]
        await move(log, "a", 0, kept[-1])
        await log.redis.hdel(log.key("cur"), "b|0")
        await keep(log, Keep())
        assert await ids(log, 0) == kept

    on_each_server(check)


def test_without_handlers_only_age_counts(on_each_server):
    async def check(log: EventLog) -> None:
        now = now_ms()
        await put(log, 0, now - 2 * DAY_MS)
        young = [await put(log, 0, now - 1_000 + n, body=bytes(100_000)) for n in range(20)]
        found = await keep(log, Keep(max_bytes=MIB))
        assert await ids(log, 0) == young
        assert "no handler is registered" in found.full

    on_each_server(check)


def test_settled_events_go_early_when_there_is_no_room_and_the_oldest_first(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declared("a")])
        now = now_ms()
        mine = [
            [await put(log, lane, now - 4_000 + n, body=bytes(10_000)) for n in range(60)]
            for lane in range(4)
        ]
        for lane in range(3):
            await move(log, "a", lane, mine[lane][-1])
        found = await keep(log, Keep(max_bytes=2 * MIB))
        assert found.full == ""
        assert found.bytes <= 2 * MIB
        left = [await ids(log, lane) for lane in range(4)]
        assert left[3] == mine[3]  # not settled
        for lane in range(3):
            assert 0 < len(left[lane]) < 60
            assert left[lane] == mine[lane][-len(left[lane]) :]
        assert found.given_up == 240 - sum(map(len, left))

    on_each_server(check)


@pytest.mark.parametrize("seed", range(2))
def test_no_history_of_appends_settlements_and_trims_loses_an_event(log_url, prefix, seed):
    """Handlers come and go, fall behind, have events open or settled ahead; trims strike at any moment."""
    choose = random.Random(seed)
    attempts: dict[str, dict[str, int]] = {}
    settled: dict[str, set[str]] = {}

    def recorder(name: str):
        @handler(name, on=["*"], max_attempts=3, start="oldest")
        async def record(event: Event[Raw], ctx: Context) -> None:
            tries = attempts.setdefault(name, {})
            tries[event.id] = tries.get(event.id, 0) + 1
            if choose.random() < 0.3 and tries[event.id] < 3:
                raise Retry("again", after_s=0.01)
            assert len(event.raw) > 1_000
            settled.setdefault(name, set()).add(event.id)

        return record

    async def check() -> None:
        async with opened(log_url, prefix, lanes=2) as log:
            recorders = {name: recorder(name) for name in ("a", "b", "c")}
            registered: dict[str, int] = {}
            accepted: list[str] = []
            for _ in range(40):
                match choose.choice(("append", "append", "append", "drain", "trim", "trim", "register")):
                    case "append":
                        some = [
                            event(key=choose.choice((None, f"session:{choose.randrange(9)}")), n=uuid.uuid4().hex,
                                  text="x" * choose.randrange(1_000, 20_000))
                            for _ in range(choose.randrange(1, 30))
                        ]  # fmt: skip
                        accepted += [
                            answer.event_id for answer in (await log.append(some)).answers if answer.event_id
                        ]
                    case "drain" if registered:
                        await drained(log, recorders[choose.choice([*registered])])
                    case "trim":
                        await keep(
                            log,
                            Keep(hours=choose.choice((0, 24)), max_bytes=choose.choice((1, MIB, 1 << 30))),
                        )
                        await log.redis.delete(log.key("full"))
                    case "register":
                        name = choose.choice([*recorders])
                        if name not in registered:
                            registered[name] = len(accepted)
                            await log.declare([declaration(recorders[name])])
            for name in registered:
                await drained(log, recorders[name])
                unsettled = set(accepted[registered[name] :]) - settled.get(name, set())
                assert not unsettled
                await keep(log, Keep(hours=0, max_bytes=1))
            assert accepted

    asyncio.run(check())


def test_what_is_open_or_dead_has_its_body_when_its_event_is_gone(on_each_server):
    @handler("h", on=["*"])
    async def fails(event: Event[Raw], ctx: Context) -> None:
        if event.payload.data["n"] == 1:
            raise GiveUp("no")
        raise Retry("later", after_s=3_600)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(fails)])
        await log.append([event(key="session:1", n=1), event(key="session:2", n=2)])
        await drained(log, fails, until=lambda: True)
        found = await position(log, "h")
        assert (found.open, found.dead) == (1, 1)
        found = await keep(log, Keep(hours=0))
        assert [await ids(log, lane) for lane in range(4)] == [[]] * 4
        assert found.oldest_ms is None
        assert found.open > 0 < found.dead
        (lane,) = [lane for lane in range(4) if await log.redis.hlen(log.key("open", "h", lane))]
        (record,) = await log.redis.hvals(log.key("open", "h", lane))
        ((_, letter),) = await log.redis.xrange(log.key("dead", "h"))
        assert b'"n": 2' in record
        assert b'"n": 1' in letter[b"record"]

    on_each_server(check)


def test_the_log_goes_on_after_everything_in_it_was_trimmed(on_each_server):
    ran: list[int] = []

    @handler("h", on=["*"])
    async def records(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        ran.clear()
        await log.declare([declaration(records)])
        for n in range(3):
            await log.append([event(n=n)])
            await drained(log, records)
            await keep(log, Keep(hours=0))
            await recompute(log)
            await log.declare([declaration(records, name=f"new{n}")])
        assert ran == [0, 1, 2]

    on_each_server(check)


def test_unsettled_events_over_the_budget_shut_the_log_until_there_is_room(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(settles)])
        await log.append([event(n=n, text="x" * 100_000) for n in range(20)])
        rules = Keep(max_bytes=MIB)
        found = await keep(log, rules)
        assert found.given_up == 0
        assert "AWR_LOG_MAX_BYTES" in found.full
        assert "h is furthest behind" in found.full
        assert await standing(log) == found
        reply = await log.append([event(n=1), Unreadable(b"?", "not-json", now_ms(), "")])
        assert [(answer.outcome, answer.reason) for answer in reply.answers] == [("refused", "log-full")] * 2
        assert b"awr_log_full 1.0" in await exposition(log)
        await drained(log, settles)
        assert (await keep(log, rules)).full == ""
        reply = await log.append([event(n=2)])
        assert reply.answers[0].outcome == "accepted"
        shown = await exposition(log)
        assert b"awr_log_full 0.0" in shown
        assert b"awr_log_oldest_event_age_seconds" in shown

    on_each_server(check)


def test_a_full_log_names_the_handler_with_most_unsettled_events(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(settles), declaration(settles, name="idle", types=frozenset({"z"}))])
        await log.append([event(n=0)])
        await drained(log, settles)  # so "idle", which wants nothing, is further back in the lane
        await log.append([event(n=n, text="x" * 100_000) for n in range(20)])
        found = await keep(log, Keep(max_bytes=MIB))
        assert "h is furthest behind: 20 events wait for it, and 0 are open" in found.full

    on_each_server(check)


def test_handlers_that_want_nothing_make_room_in_a_full_log_at_once(on_each_server):
    """They pass what others have settled, which otherwise waits for the next minute."""

    @handler("idle", on=["z"])
    async def idle(event: Event[Raw], ctx: Context) -> None:
        pass

    async def check(log: EventLog) -> None:
        await log.declare([declaration(settles), declaration(idle)])
        await log.append([event(n=n, text="x" * 100_000) for n in range(20)])
        await drained(log, settles)
        rules = Keep(max_bytes=MIB)
        await _keep(log, rules, Chores())
        assert (await standing(log)).full
        await drained(log, idle)
        assert (await keep(log, rules)).full == ""

    on_each_server(check)


def test_dead_letters_count_and_are_never_trimmed(on_each_server):
    @handler("h", on=["*"])
    async def gives_up(event: Event[Raw], ctx: Context) -> None:
        raise GiveUp("no")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(gives_up)])
        await log.append([event(n=n, text="x" * 100_000) for n in range(20)])
        await drained(log, gives_up)
        found = await keep(log, Keep(hours=1, max_bytes=MIB))
        assert (await position(log, "h")).dead == 20
        assert found.dead > MIB
        assert "dead letters" in found.full

    on_each_server(check)


def test_the_quarantine_is_kept_for_a_week_and_within_a_tenth_of_the_budget(on_each_server):
    async def check(log: EventLog) -> None:
        stream = log.key("quarantine")
        await log.redis.xadd(stream, {"v": 1, "b": b"?"}, id=f"{now_ms() - 8 * DAY_MS}-0")
        kept = await log.redis.xadd(stream, {"v": 1, "b": b"?"}, id=f"{now_ms() - 6 * DAY_MS}-0")
        await keep(log, Keep())
        assert [entry[0] for entry in await log.redis.xrange(stream)] == [kept]
        for _ in range(30):
            last = await log.redis.xadd(stream, {"v": 1, "b": bytes(10_000)})
        found = await keep(log, Keep(max_bytes=MIB))
        assert found.quarantine <= MIB / 10 + 10_000
        assert (await log.redis.xrevrange(stream, count=1))[0][0] == last

    on_each_server(check)


def test_the_history_goes_after_its_days(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(settles)])
        await log.append([event(n=1)])
        await drained(log, settles)
        lane = log.lane_of("session:1", b"")
        stream = log.key("history", "h", lane)
        assert await log.redis.xlen(stream) == 1
        await keep(log, Keep(history_days=1))
        assert await log.redis.xlen(stream) == 1
        await keep(log, Keep(history_days=0))
        assert await log.redis.xlen(stream) == 0

    on_each_server(check)


def test_an_uneventful_delivery_takes_at_most_60_bytes_of_history(with_lane):
    """As it is when every delivery is a step of its own, and when a step settles many."""
    ran: list[str] = []

    @handler("h", on=["*"])
    async def records(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.id)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(records), declaration(settles, name="h2")])
        for _ in range(4):
            await log.append([event(key=f"session:{n}", n=n) for n in range(250)])
            await drained(log, records)
        assert len(ran) == 1_000
        batched = await log.redis.memory_usage(log.key("history", "h", 0), samples=0)
        assert batched / 1_000 <= 60
        for n in range(1_000):  # as `step` does it, one delivery at a time
            one = encode([Settled(f"{now_ms()}-{n}", hash_of(f"session:{n}"), "done")])
            await log.redis.xadd(log.key("history", "h2", 0), {"d": one})
        alone = await log.redis.memory_usage(log.key("history", "h2", 0), samples=0)
        assert alone / 1_000 <= 60

    with_lane(check)


SCRIPTS = sorted(path for path in Path("eventlog/scripts").glob("*.lua") if path.stem != "lib")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_but_those_that_append_runs_on_a_full_server(path):
    first = source(path.stem).splitlines()[0]
    appends = path.stem in ("append", "probe")
    assert ("allow-oom" in first) is not appends


def test_a_server_beyond_its_limit_is_still_drained_and_trimmed(server, prefix):
    """Redis refuses every plain write; the scripts of the log go on, and make room."""

    async def check() -> None:
        async with opened(server.url, prefix) as log:
            await log.declare([declaration(settles)])
            for _ in range(10):
                await log.append([event(n=n, text="x" * 50_000) for n in range(20)])
            used = (await log.redis.info("memory"))["used_memory"]
            await log.redis.config_set("maxmemory", used // 2)
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await log.redis.set(log.key("x"), "1")
            assert await elected(log, 10, "keeper")
            assert not await elected(log, 10, "keeper")
            found = await keep(log, Keep())
            assert "maxmemory" in found.full
            await drained(log, settles)
            assert (await position(log, "h")).stats["done"] == 200
            found = await keep(log, Keep())
            assert found.given_up > 0
            await log.redis.config_set("maxmemory", used)
            assert (await keep(log, Keep())).full == ""
            assert (await log.append([event(n=1)])).answers[0].outcome == "accepted"

    asyncio.run(check())


def test_every_process_may_tick_and_one_of_them_keeps(valkey, prefix):
    class Nobody:
        def wake(self, queues: list[str]) -> None:
            pass

    async def check() -> None:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declared("a")])
            old = await put(log, 0, 1_000)
            await move(log, "a", 0, old)
            stop = asyncio.Event()
            ticking = [asyncio.create_task(tick_forever(log, Nobody(), stop, Keep())) for _ in range(3)]
            while await standing(log) is None:
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*ticking)
            assert await ids(log, 0) == []

    asyncio.run(check())


def test_a_door_with_a_full_log_answers_503_until_it_is_drained(server, prefix):
    """A real receiver: the reason is in its health, its log and its metrics, and goes by itself."""

    def post(front, size: int = 100_000) -> int:
        body = {"notification": "x.changed", "sessionId": uuid.uuid4().hex, "text": "x" * size}
        return front.post(json.dumps(body).encode()).status

    async def declare() -> None:
        async with opened(server.url, prefix) as log:
            await log.declare([declaration(settles)])

    async def drain() -> None:
        async with opened(server.url, prefix) as log:
            await drained(log, settles)

    asyncio.run(declare())
    with (
        door(server.url, prefix, {"AWR_LOG_MAX_BYTES": str(MIB)}) as front,
        redis.Redis.from_url(server.url) as client,
    ):
        look = lambda: client.delete(f"{prefix}keeper")  # noqa: E731 - the next tick looks at once
        soon(lambda: client.exists(f"{prefix}keeper"))  # the first look is over, and the next one is far away
        assert {post(front) for _ in range(20)} == {202}

        def is_shut() -> bool:
            look()
            return front.get("/health/ready").status == 503

        soon(is_shut, every_s=0.2)
        answer = front.post(b'{"notification":"x.changed"}')
        assert (answer.status, answer.body) == (503, b"")
        assert int(answer.headers["retry-after"]) > 0
        report = front.ready()
        assert report["reasons"] == ["log-full"]
        assert "AWR_LOG_MAX_BYTES" in report["log"]["full"]
        assert report["log"]["bytes"] > MIB
        assert "AWR_LOG_MAX_BYTES" in front.line("log.full")["reason"]
        front.line("event.rejected", reason="log-full")
        assert front.metric("awr_log_full") == 1
        assert front.metric("awr_log_bytes") > MIB
        assert front.metric('awr_events_refused_total{reason="log-full"}') == 1
        beat = client.hvals(f"{prefix}door")
        asyncio.run(drain())

        def is_open() -> bool:
            look()
            return front.get("/health/ready").status == 200

        assert client.hvals(f"{prefix}door") == beat  # the time it was shut is a gap, if it is long
        soon(is_open, every_s=0.2)
        assert post(front) == 202
        front.line("log.has_room")
        assert front.metric("awr_log_full") == 0
        assert len(front.said("log.full")) == 1
