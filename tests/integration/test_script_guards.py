"""What each guard of the scripts is for: a call that comes late, twice, or from a process that lost its lease."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventlog.errors import LeaseLost, UnknownRecord
from eventlog.lease import MARGIN_S, TTL_S, Lease, Settlement, clock_s
from eventlog.log import EventLog
from eventlog.operation import dead_letters
from eventlog.operation.dead_letters import DeadFilter
from eventlog.operation.reopen import Again, reopen
from eventlog.record import DeadLetter, OpenRecord
from eventlog.step_ledger import Scope, StepLedger
from handlers import Context, Event, GiveUp, Raw, handler
from tests.harness import declaration, drained, event, position, taken


@handler("h", on=["*"], start="oldest")
async def h(event: Event[Raw], ctx: Context) -> None: ...


async def with_events(log: EventLog, count: int) -> None:
    await log.declare([declaration(h)])
    await log.append([event(key=f"session:{n}", n=n) for n in range(count)])


async def cursor(log: EventLog) -> str:
    return str((await log.redis.hget(log.key("cur"), "h|0")).decode())


async def lease_ends(log: EventLog) -> None:
    await log.redis.delete(log.key("lease", "h", 0))


# I3: one drain settles, and the one that lost its lease does not


def test_a_step_of_a_lost_lease_is_refused_also_under_the_next_number(with_lane):
    """Each drain counts its steps from 1, so the number of a late one may be the next of the drain that took over."""

    async def check(log: EventLog) -> None:
        await with_events(log, 3)
        lost, start = await taken(log)
        read = await lost.step(Settlement(), after=start.cur, count=3)
        await lease_ends(log)
        winner, _ = await taken(log)
        await winner.step(Settlement())
        assert winner._seq == lost._seq == 1
        with pytest.raises(LeaseLost):
            await lost.step(Settlement(cur=read.scanned, stats={"done": 3}))
        assert await cursor(log) == start.cur
        assert (await position(log, "h")).stats == {}
        assert (await winner.step(Settlement(), after=start.cur, count=3)).events == read.events

    with_lane(check)


def test_a_step_that_arrives_after_a_later_one_is_not_applied(with_lane):
    """A call whose connection was given up may still lie in a buffer, and run after the steps that followed it."""

    async def check(log: EventLog) -> None:
        await with_events(log, 3)
        lease, start = await taken(log)
        read = await lease.step(Settlement(), after=start.cur, count=3)
        first, *_, last = (one.stream_id for one in read.events)
        await lease.step(Settlement(cur=first, stats={"done": 1}))
        await lease.step(Settlement(cur=last, stats={"done": 2}))
        lease._seq -= 2
        with pytest.raises(LeaseLost):
            await lease.step(Settlement(cur=first, stats={"done": 1}))
        assert await cursor(log) == last
        assert (await position(log, "h")).stats == {"done": 3}

    with_lane(check)


def test_a_take_that_arrives_after_a_step_does_not_begin_the_count_again(with_lane):
    async def check(log: EventLog) -> None:
        await with_events(log, 1)
        lease, start = await taken(log)
        read = await lease.step(Settlement(), after=start.cur, count=1)
        late = Lease(log, "h", 0, "default")
        late._token = lease.token
        assert await late.take() is None
        lease._seq -= 1
        again = await lease.step(Settlement(stats={"done": 1}), after=start.cur, count=1)
        assert again.events == read.events
        assert (await position(log, "h")).stats == {}, "this number was applied before"

    with_lane(check)


def test_nothing_runs_under_a_lease_that_another_process_may_have(with_lane, monkeypatch):
    """The time counts from the sending: Redis may have renewed long before its answer arrived."""

    async def check(log: EventLog) -> None:
        await with_events(log, 1)
        lease, start = await taken(log)
        call = log.channel.call

        async def slow(*arguments: Any, **options: Any) -> Any:
            reply = await call(*arguments, **options)
            await asyncio.sleep(0.3)
            return reply

        monkeypatch.setattr(log.channel, "call", slow)
        for again in (lease.take, lambda: lease.step(Settlement(), after=start.cur, count=1)):
            lease.renewed_s = 0.0
            sent_s = clock_s()
            await again()
            assert lease.deadline_s <= sent_s + 0.2 + TTL_S - MARGIN_S
            left_s = await log.redis.pttl(log.key("lease", "h", 0)) / 1000
            assert lease.deadline_s - clock_s() < left_s - MARGIN_S / 2, (
                "clocks drift, and a call takes its time"
            )

    with_lane(check)


# I2: one state, also where a script fails half-way


def test_an_event_that_cannot_be_written_as_dead_stays_open(with_lane):
    """A script that fails is not rolled back, so it removes what is open only when the dead letter is there."""

    async def check(log: EventLog) -> None:
        await with_events(log, 2)
        lease, start = await taken(log)
        read = await lease.step(Settlement(), after=start.cur, count=2)
        put = OpenRecord(read.events[0], "retry", due_ms=1, attempts=1)
        await lease.step(Settlement(cur=read.events[0].stream_id, puts=[put]))
        await log.redis.set(log.key("dead", "h"), "no stream")
        ends = Settlement(
            cur=read.scanned, dels=[put.event.stream_id], dead=[DeadLetter(put, "gave-up")], stats={"dead": 1}
        )
        with pytest.raises(UnknownRecord):
            await lease.step(ends)
        assert await log.redis.hkeys(log.key("open", "h", 0)) == [put.event.stream_id.encode()]
        assert await cursor(log) == put.event.stream_id
        assert not await log.redis.exists(log.key("stats", "h"))

    with_lane(check)


def test_a_settled_retry_leaves_no_time_behind(with_lane):
    """Else the pair would be due for an event that has ended."""

    async def check(log: EventLog) -> None:
        await with_events(log, 1)
        lease, start = await taken(log)
        read = await lease.step(Settlement(), after=start.cur, count=1)
        put = OpenRecord(read.events[0], "retry", due_ms=1, attempts=1)
        await lease.step(Settlement(cur=read.scanned, puts=[put]))
        assert await log.redis.zcard(log.key("opendue", "h", 0)) == 1
        await lease.step(Settlement(cur=read.scanned, dels=[put.event.stream_id]))
        assert await log.redis.zcard(log.key("opendue", "h", 0)) == 0

    with_lane(check)


def test_a_letter_that_two_operators_retry_runs_once(with_lane):
    """The second one has read the letter, too; its event has ended again when the retry is made."""
    ran: list[int] = []

    @handler("h", on=["*"], start="oldest")
    async def gives_up(event: Event[Raw], ctx: Context) -> None:
        ran.append(event.payload.data["n"])
        if len(ran) == 1:
            raise GiveUp("broken")

    async def check(log: EventLog) -> None:
        await log.declare([declaration(gives_up)])
        await log.append([event(n=1)])
        await drained(log, gives_up)
        (entry,) = await dead_letters.newest(log, DeadFilter(), limit=1)
        again = [Again(OpenRecord(entry.letter.record.event, "replay", replayed=True), entry.stream_id)]
        assert await reopen(log, "h", 0, again) == ["put"]
        await drained(log, gives_up)
        assert await reopen(log, "h", 0, again) == ["gone"]
        await drained(log, gives_up)
        assert ran == [1, 1]

    with_lane(check)


def test_what_died_ahead_of_the_cursor_can_be_retried_and_is_settled_no_more(with_lane):
    """An earlier event still runs, so the cursor has not passed the dead one."""

    async def check(log: EventLog) -> None:
        await with_events(log, 2)
        lease, start = await taken(log)
        _, ahead = (await lease.step(Settlement(), after=start.cur, count=2)).events
        letter = DeadLetter(OpenRecord(ahead, "running"), "gave-up")
        await lease.step(Settlement(dead=[letter], ahead=[ahead.stream_id]))
        (entry,) = await dead_letters.newest(log, DeadFilter(), limit=1)
        again = Again(OpenRecord(ahead, "replay", replayed=True), entry.stream_id)
        assert await reopen(log, "h", 0, [again]) == ["put"]
        await lease_ends(log)
        _, found = await taken(log)
        assert [one.event.stream_id for one in found.open] == [ahead.stream_id]
        assert not found.ahead

    with_lane(check)


# I7: a recorded step is known for as long as it was promised, counted from its last use


def test_a_ledger_lives_on_with_each_use(with_lane):
    async def check(log: EventLog) -> None:
        await with_events(log, 1)
        lease, _ = await taken(log)
        steps, scope = StepLedger(log, lease, hold_s=5), Scope("session:1", lasting=True)
        key = log.key("ledger", "h", "session:1")

        async def is_kept_for_long() -> bool:
            left_ms = await log.redis.pttl(key)
            await log.redis.pexpire(key, 60_000)  # time passes
            return bool(left_ms > 86_400_000)

        assert (await steps.begin(scope, "mail", "n1", again=False)).state == "begun"
        assert await is_kept_for_long()
        assert await steps.finish(scope, "mail", "n1", "1", "")
        assert await is_kept_for_long()
        assert (await steps.begin(scope, "mail", "n2", again=False)).state == "done"
        assert await is_kept_for_long()

    with_lane(check)
