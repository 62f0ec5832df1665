"""Turns of the event loop: counted in events and rounds."""

from __future__ import annotations

import asyncio
from collections import Counter

from workers.drain.turns import Turns


class Clock:
    """Each event takes a millisecond, and nothing else takes any time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.order: list[str] = []

    async def never_waits(self, turns: Turns, handler: str, events: int) -> None:
        while events:
            if turns.may_go_on(handler, self.now_s):
                self.order.append(handler)
                self.now_s += 0.001
                events -= 1
            else:
                await turns.next(handler)


def run(*work: tuple[str, int]) -> Clock:
    clock, turns = Clock(), Turns()

    async def all_of_it() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for handler, events in work:
                group.create_task(clock.never_waits(turns, handler, events))

    asyncio.run(all_of_it())
    return clock


def test_many_drains_of_one_handler_take_no_more_than_one_of_another():
    clock = run(*[("many", 100)] * 16, ("one", 100))
    until = max(place for place, handler in enumerate(clock.order) if handler == "one")
    counts = Counter(clock.order[: until + 1])
    assert counts["one"] == 100
    assert counts["many"] < 130


def test_a_handler_alone_keeps_the_loop_for_its_turn():
    clock = run(("alone", 50))
    assert len(clock.order) == 50


def test_a_task_that_has_begun_finishes_a_small_batch_before_the_others_wait_for_another_turn():
    turns = Turns()

    async def work() -> None:
        assert turns.may_go_on("one", 0.0)
        assert not turns.may_go_on("one", 0.0045), "a task that has not begun"
        assert turns.may_go_on("one", 0.0045, begun=True)
        assert not turns.may_go_on("one", 0.006, begun=True)

    asyncio.run(work())


def test_all_come_to_an_end_though_some_are_cancelled():
    async def work() -> None:
        clock, turns = Clock(), Turns()
        tasks = [asyncio.create_task(clock.never_waits(turns, f"h{n % 3}", 200)) for n in range(9)]
        while len(clock.order) < 100:
            await asyncio.sleep(0)
        for task in tasks[:5]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks[5:]), 60)

    asyncio.run(work())


def test_another_handler_has_its_turn_within_a_few_rounds_of_the_loop():
    async def work() -> None:
        clock, turns = Clock(), Turns()
        backlog = [asyncio.create_task(clock.never_waits(turns, "backlog", 10_000)) for _ in range(16)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        live = asyncio.create_task(clock.never_waits(turns, "live", 1))
        before = len(clock.order)
        await live
        assert len(clock.order) - before <= 4 * 5, "four rounds, each with one turn of at most five events"
        for task in backlog:
            task.cancel()

    asyncio.run(work())
