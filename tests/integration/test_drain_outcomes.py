"""What a drain makes of order `latest`, filters and failures, and what it leaves in the history."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from ampeco.notifications import SessionUpdate
from eventlog.history import Settled, decode, hash_of
from eventlog.lease import Lease, Settlement
from eventlog.log import EventLog
from eventlog.record import decode_open
from handlers import Backoff, Context, Event, GiveUp, Raw, Retry, Skip, handler
from tests.harness import at_work, declaration, drained, event, eventually, position


async def history(log: EventLog, name: str) -> list[Settled]:
    entries = await log.redis.xrange(log.key("history", name, 0))
    return [item for _, fields in entries for item in decode(fields[b"d"])]


async def died_after_reading(log: EventLog, name: str, count: int) -> None:
    """A worker took the lease, read, and was killed."""
    lease = Lease(log, name, 0, "default")
    start = await lease.take()
    assert start is not None
    await lease.step(Settlement(), after=start.cur, count=count)
    await log.redis.delete(log.key("lease", name, 0))
    await log.redis.zadd(log.key("due", "default"), {f"{name}|0": 0})


def test_latest_handles_the_newest_of_what_waits_and_settles_the_rest_as_superseded(with_lane):
    ran: list[int] = []
    go_on = asyncio.Event()

    @handler("h", on=["*"], order="latest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        await go_on.wait()

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event("t", n=0)])

        async def first_runs() -> bool:
            return ran == [0]

        async def superseded() -> bool:
            return (await position(log, "h")).stats.get("superseded", 0) == 18

        async with at_work(log, h):
            await eventually(first_runs)
            await log.append([event("t", n=n) for n in range(1, 20)])
            await eventually(superseded)
            go_on.set()
        await drained(log, h)
        assert ran == [0, 19]
        found = await position(log, "h")
        assert (found.stats["done"], found.open, found.waiting, found.dead) == (2, 0, 0, 0)
        outcomes = [item.outcome for item in await history(log, "h")]
        assert (outcomes.count("superseded"), outcomes.count("done"), len(outcomes)) == (18, 2, 20)

    with_lane(check)


def test_latest_never_loses_the_newest_when_workers_die(with_lane):
    ran: list[int] = []

    @handler("h", on=["*"], order="latest")
    async def h(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        if event.payload.data["n"] < 6:
            raise Retry("later", after_s=3600)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        for n in range(6):
            await log.append([event("t", n=n)])
            await died_after_reading(log, "h", 10)
            await drained(log, h)
        assert ran == [0], "the newer one keeps the due time of the one it replaces"
        (data,) = (await log.redis.hgetall(log.key("open", "h", 0))).values()
        assert b'"n": 5' in decode_open(0, b"1-0", data).event.body
        assert (await position(log, "h")).stats["superseded"] == 5

    with_lane(check)


def test_a_filter_keeps_events_from_the_handler_and_its_errors_are_attempts(with_lane):
    ran: list[str] = []

    def wanted(event: Event[SessionUpdate]) -> bool:
        if event.payload.session.status == "broken":
            raise ValueError
        return event.payload.session.status == "active"

    @handler("h", where=wanted, max_attempts=1)
    async def h(event: Event[SessionUpdate], ctx: Context) -> None:
        ran.append(event.payload.session.id)

    def session(id: str, status: str) -> Any:
        return event(key=f"session:{id}", session={"id": id, "status": status})

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([session("1", "active"), session("2", "finished"), session("3", "broken")])
        await drained(log, h)
        assert ran == ["1"]
        found = await position(log, "h")
        assert (found.stats["done"], found.stats["skipped"], found.dead) == (1, 1, 1)
        assert {item.outcome for item in await history(log, "h")} == {"done", "filtered", "dead"}

    with_lane(check)


def test_the_history_tells_what_happened_and_stays_silent_where_nothing_did(with_lane):
    @handler("h", on=["*"], backoff=Backoff(0.001, 0.001))
    async def h(event: Event[Raw], ctx: Context) -> None:
        match event.payload.data["name"]:
            case "twice" if ctx.attempt == 1:
                raise RuntimeError("text of a stranger")
            case "skip":
                raise Skip("not mine")
            case "never":
                raise GiveUp("no such thing")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        names = ("plain", "twice", "skip", "never")
        reply = await log.append([event(key=f"session:{name}", name=name) for name in names])
        ids = [str(answer.event_id).partition("-")[2] for answer in reply.answers]
        await drained(log, h)
        told = {item.stream_id: item for item in await history(log, "h")}
        plain, twice, skip, never = (told[i] for i in ids)
        assert plain == Settled(ids[0], hash_of("session:plain"), "done")
        assert [(a.outcome, a.detail) for a in twice.attempts] == [("error", "RuntimeError"), ("done", "")]
        assert (skip.outcome, skip.reason, skip.attempts) == ("skipped", "not mine", ())
        assert (never.outcome, never.reason, never.attempts[0].detail) == ("dead", "gave-up", "no such thing")
        ((_, fields),) = await log.redis.xrange(log.key("dead", "h"))
        letter = decode_open(0, b"1-0", fields[b"record"])
        assert [note.outcome for note in letter.log] == ["gave-up"]

    with_lane(check)


def test_a_key_that_always_fails_does_not_slow_the_others(with_lane):
    done: set[int] = set()
    failed: list[int] = []

    @handler("h", on=["*"], concurrency=4)
    async def h(event: Event[Raw], ctx: Context) -> None:
        if event.key == "session:0":
            failed.append(ctx.attempt)
            raise RuntimeError
        done.add(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        await log.append([event(key=f"session:{n % 10}", n=n) for n in range(200)])

        async def others_are_done() -> bool:
            return len(done) == 180

        async with at_work(log, h):
            await eventually(others_are_done)
        assert len(failed) <= 2, "what is parked behind it is not tried, and takes nobody's place"

    with_lane(check)


def test_a_slow_handler_uses_its_whole_concurrency_and_delays_no_other(with_lane):
    started: list[int] = []
    quick_done: list[int] = []
    release = asyncio.Event()

    @handler("slow", on=["*"], concurrency=32)
    async def slow(event: Event[Raw], ctx: Context) -> None:
        started.append(event.payload.data["n"])
        await release.wait()

    @handler("quick", on=["*"])
    async def quick(event: Event[Raw], ctx: Context) -> None:
        quick_done.append(event.payload.data["n"])

    async def check(log: EventLog) -> None:
        await log.declare([declaration(slow), declaration(quick)])
        await log.append([event(key=f"session:{n}", n=n) for n in range(100)])

        async def full() -> bool:
            return len(started) == 32 and len(quick_done) == 100

        async with at_work(log, slow, quick):
            await eventually(full)
            release.set()

            async def all_done() -> bool:
                return (await position(log, "slow")).stats.get("done", 0) == 100

            await eventually(all_done)

    with_lane(check)


def test_much_that_is_parked_is_not_read_again_for_every_event_that_trickles_in(with_lane):
    ran: list[str] = []

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        if event.key == "session:stuck":
            raise Retry("not today", after_s=3600)
        ran.append(event.key or "")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])
        for _ in range(15):
            await log.append([event("t", "session:stuck") for _ in range(200)])
        call, taken = log.channel.call, 0

        async def counted(script: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal taken
            taken += script is log.scripts.take
            return await call(script, *arguments, **options)

        async def all_parked() -> bool:
            return (await position(log, "h")).open == 3_000

        async def has_run(events: int) -> bool:
            return len(ran) == events

        log.channel.call = counted  # type: ignore[method-assign]
        async with at_work(log, h):
            await eventually(all_parked)
            taken = 0
            for n in range(20):
                await log.append([event("t", f"session:{n}")])
                await eventually(partial(has_run, n + 1))
        assert taken <= 5

    with_lane(check)
