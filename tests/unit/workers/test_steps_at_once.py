"""A handler with a backlog makes room for steps of others, and one that is alone never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from workers.drain.steps_at_once import AT_ONCE, StepsAtOnce


class Steps:
    """Steps that last until the test ends them."""

    def __init__(self) -> None:
        self.now_s = 10.0
        self.gate = StepsAtOnce(clock_s=lambda: self.now_s)
        self.under_way: list[str] = []
        self._ends: list[tuple[str, asyncio.Event]] = []

    def begin(self, handler: str) -> asyncio.Task[None]:
        async def step() -> None:
            async with self.gate.one(handler):
                end = asyncio.Event()
                self.under_way.append(handler)
                self._ends.append((handler, end))
                await end.wait()
                self.under_way.remove(handler)

        return asyncio.create_task(step())

    def end(self, handler: str) -> None:
        place = next(n for n, (name, _) in enumerate(self._ends) if name == handler)
        self._ends.pop(place)[1].set()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def crowd(self, steps: int) -> None:
        """Begin a step of `live`, and then so many of `a`."""
        self.begin("live")
        await self.settle()
        for _ in range(steps):
            self.begin("a")
        await self.settle()


def in_loop(check: Callable[[Steps], Any]) -> None:
    async def run() -> None:
        steps = Steps()
        await check(steps)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(run())


def test_a_handler_that_is_alone_has_as_many_steps_as_it_wants():
    async def check(steps: Steps) -> None:
        for _ in range(3 * AT_ONCE):
            steps.begin("a")
        await steps.settle()
        assert len(steps.under_way) == 3 * AT_ONCE

    in_loop(check)


def test_beside_another_handler_it_has_a_few_and_the_next_ones_follow_in_order():
    async def check(steps: Steps) -> None:
        await steps.crowd(3 * AT_ONCE)
        assert steps.under_way.count("a") == AT_ONCE
        for left in range(2 * AT_ONCE, 0, -1):
            steps.end("a")
            await steps.settle()
            assert steps.under_way.count("a") == AT_ONCE, f"{left} waited"
        steps.begin("live")
        await steps.settle()
        assert steps.under_way.count("live") == 2, "the other one does not wait for it"

    in_loop(check)


def test_steps_that_end_together_make_room_for_no_more_than_they_took():
    async def check(steps: Steps) -> None:
        await steps.crowd(4 * AT_ONCE)
        for _ in range(3):
            for _ in range(AT_ONCE):
                steps.end("a")
            await steps.settle()
            assert steps.under_way.count("a") == AT_ONCE

    in_loop(check)


def test_those_that_wait_go_on_together_once_the_other_handler_has_nothing_to_do():
    async def check(steps: Steps) -> None:
        await steps.crowd(3 * AT_ONCE)
        steps.now_s += 1.0
        steps.end("a")
        await steps.settle()
        assert steps.under_way.count("a") == 3 * AT_ONCE - 1

    in_loop(check)


def test_the_limit_ends_soon_after_the_other_handler_has_nothing_to_do():
    async def check(steps: Steps) -> None:
        steps.begin("live")
        await steps.settle()
        steps.now_s += 1.0
        for _ in range(2 * AT_ONCE):
            steps.begin("a")
        await steps.settle()
        assert steps.under_way.count("a") == 2 * AT_ONCE

    in_loop(check)


def test_a_step_that_is_cancelled_while_it_waits_takes_nobodys_place():
    async def check(steps: Steps) -> None:
        await steps.crowd(AT_ONCE)
        gone, next_one = steps.begin("a"), steps.begin("a")
        await steps.settle()
        gone.cancel()
        steps.end("a")
        await steps.settle()
        assert steps.under_way.count("a") == AT_ONCE
        assert not next_one.done()
        for _ in range(AT_ONCE):
            steps.end("a")
        await steps.settle()
        assert steps.under_way.count("a") == 0
        assert next_one.done()

    in_loop(check)


def test_a_place_that_was_given_to_a_cancelled_step_goes_on_to_the_next():
    async def check(steps: Steps) -> None:
        await steps.crowd(AT_ONCE)
        gone, next_one = steps.begin("a"), steps.begin("a")
        await steps.settle()
        steps.end("a")
        await asyncio.sleep(0)
        gone.cancel()  # its turn has come, and it has not run yet
        await steps.settle()
        assert steps.under_way.count("a") == AT_ONCE
        assert not next_one.done()

    in_loop(check)
