"""Dead letters: found by what they are, tried again in order and only once, thrown away and counted."""

from __future__ import annotations

import asyncio

import pytest

from eventlog.errors import UnknownName
from eventlog.log import EventLog
from eventlog.operation import dead_letters
from eventlog.operation.dead_letters import DeadFilter
from eventlog.record import id_order
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from tests.harness import at_work, declaration, drained, event, eventually, position

A, B = "SessionUpdateNotification", "never.seen"


class Recorder:
    """A handler that gives up while the test wants it to, and remembers what it ran."""

    def __init__(self, name: str = "h", *, order: str = "entity") -> None:
        self.ran: list[int] = []
        self.gives_up = True

        @handler(name, on=["*"], order=order)
        async def h(event: Event[Raw], ctx: Context) -> None:
            if self.gives_up:
                raise GiveUp("broken" if event.payload.data["n"] % 2 else "other")
            assert ctx.attempt == 1
            assert event.replayed
            self.ran.append(event.payload.data["n"])

        self.handler = h


async def all_dead(log: EventLog, recorder: Recorder, *events) -> None:
    await log.declare([declaration(recorder.handler)])
    await log.append(list(events))
    await drained(log, recorder.handler)
    assert (await position(log, recorder.handler.name)).dead == len(events)
    recorder.gives_up = False


def test_a_letter_says_what_happened_and_can_be_found_by_its_event(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await all_dead(log, recorder, event(n=1))
        (entry,) = await dead_letters.newest(log, DeadFilter(), limit=10)
        record = entry.letter.record
        assert (entry.letter.reason, record.last_error, record.event.key) == (
            "gave-up",
            "broken",
            "session:1",
        )
        assert record.attempts == 1
        for name in (entry.id, record.event.event_id):
            assert [found.id for found in await dead_letters.by_id(log, name)] == [entry.id]
        for unknown in ("h/1-1", "h/nonsense", "nobody/1-1", "0-1-1", "nonsense"):
            with pytest.raises(UnknownName, match="dead list"):
                await dead_letters.by_id(log, unknown)

    on_each_server(check)


def test_letters_are_found_by_reason_type_entity_and_time(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await all_dead(
            log, recorder, event(A, "session:1", n=1), event(A, "session:2", n=2), event(B, None, n=3)
        )
        everything = await dead_letters.matching(log, DeadFilter())
        assert len(everything) == 3
        middle = max(entry.since_ms for entry in everything)
        for wanted, count in (
            (DeadFilter(handler="h"), 3),
            (DeadFilter(reason="gave-up"), 3),
            (DeadFilter(reason="worker-died"), 0),
            (DeadFilter(type=A), 2),
            (DeadFilter(type=A, key="session:2"), 1),
            (DeadFilter(since_ms=middle + 1), 0),
            (DeadFilter(until_ms=middle + 1), 3),
            (DeadFilter(until_ms=everything[0].since_ms - 60_000), 0),
        ):
            assert len(await dead_letters.matching(log, wanted)) == count, wanted
            assert len(await dead_letters.newest(log, wanted, limit=9)) == count, wanted
        with pytest.raises(UnknownName, match="there are: h"):
            await dead_letters.matching(log, DeadFilter(handler="nobody"))

    on_each_server(check)


def test_pages_show_each_letter_once_the_newest_first(on_each_server):
    async def check(log: EventLog) -> None:
        one, two = Recorder("one"), Recorder("two")
        await all_dead(log, one, *(event(n=n, key=f"session:{n}") for n in range(7)))
        await all_dead(log, two, *(event(n=n, key=f"session:{n}") for n in range(6)))
        found, before = [], None
        while page := await dead_letters.newest(log, DeadFilter(), limit=4, before=before):
            found += page
            before = (page[-1].handler, page[-1].stream_id)
        assert len({entry.id for entry in found}) == len(found) == 13
        times = [id_order(entry.stream_id) for entry in found]
        assert times == sorted(times, reverse=True)

    on_each_server(check)


def test_tries_again_as_if_never_tried_in_the_order_of_the_events(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await all_dead(log, recorder, *(event(n=n) for n in range(40)))
        entries = await dead_letters.matching(log, DeadFilter())
        backwards = [*reversed(entries)]
        assert await dead_letters.retry(log, backwards) == {"put": 40, "gone": 0}
        found = await position(log, "h")
        assert (found.dead, found.open) == (0, 40)
        await drained(log, recorder.handler)
        assert recorder.ran == list(range(40))
        found = await position(log, "h")
        assert (found.dead, found.open, found.stats["replayed"]) == (0, 0, 40)

    on_each_server(check)


def test_a_letter_that_is_gone_is_not_tried_again(on_each_server):
    async def check(log: EventLog) -> None:
        recorder = Recorder()
        await all_dead(log, recorder, event(n=1), event(n=2, key="session:2"))
        refs = await dead_letters.matching(log, DeadFilter())
        assert await dead_letters.discard(log, refs[:1]) == 1
        assert await dead_letters.discard(log, refs[:1]) == 0
        told = await asyncio.gather(*(dead_letters.retry(log, refs) for _ in range(5)))
        assert sum(one.get("put", 0) for one in told) == 1
        await drained(log, recorder.handler)
        assert len(recorder.ran) == 1
        found = await position(log, "h")
        assert (found.dead, found.stats["discarded"], found.stats["dead"]) == (0, 1, 2)

    on_each_server(check)


def test_newer_events_of_the_entity_wait_behind_one_that_is_tried_again(on_each_server):
    """A worker is at work on the very lane when the letter comes back."""
    order: list[str] = []
    may_end = asyncio.Event()
    failing = True

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        name = event.payload.data["name"]
        if name == "old" and failing:
            raise GiveUp("broken")
        order.append(f"{name} begins")
        if name == "old":
            if ctx.attempt == 1:
                raise Retry("again", after_s=0.2)
        elif name == "slow":
            await may_end.wait()
        order.append(f"{name} ends")

    async def check(log: EventLog) -> None:
        nonlocal failing
        await log.declare([declaration(h)])
        await log.append([event(name="old"), event(name="slow")])

        async def slow_runs() -> bool:
            return order == ["slow begins"]

        async def all_done() -> bool:
            return order[-1:] == ["new ends"]

        async with at_work(log, h):
            await eventually(slow_runs)
            failing = False
            (entry,) = await dead_letters.matching(log, DeadFilter())
            await dead_letters.retry(log, [entry])
            await log.append([event(name="new")])
            await asyncio.sleep(0.1)
            assert order == ["slow begins"], "two of one entity would run at once"
            may_end.set()
            await eventually(all_done)
        assert order == [
            "slow begins", "slow ends", "old begins", "old begins", "old ends", "new begins", "new ends",
        ]  # fmt: skip

    on_each_server(check)


def test_nothing_is_lost_or_doubled_while_workers_drain_and_letters_come_back(on_each_server):
    ran: list[int] = []
    gave_up: set[int] = set()

    @handler("h", on=["*"])
    async def h(event: Event[Raw], ctx: Context) -> None:
        n = event.payload.data["n"]
        if n % 3 == 0 and n not in gave_up:
            gave_up.add(n)
            raise GiveUp("once")
        await asyncio.sleep(0)
        ran.append(n)

    async def check(log: EventLog) -> None:
        await log.declare([declaration(h)])

        async def all_ran() -> bool:
            entries = await dead_letters.matching(log, DeadFilter())
            await dead_letters.retry(log, entries)
            return len(ran) >= 600

        async with at_work(log, h), at_work(log, h):
            for start in range(0, 600, 100):
                await log.append([event(n=n, key=f"session:{n % 17}") for n in range(start, start + 100)])
                await all_ran()
            await eventually(all_ran)
        assert sorted(ran) == list(range(600))
        found = await position(log, "h")
        assert (found.open, found.dead, found.waiting) == (0, 0, 0)

    on_each_server(check)
