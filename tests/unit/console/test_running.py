"""Acts that run in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import redis.exceptions

from console.running import MOST_AT_ONCE, Job, Running
from eventlog.errors import ChangeRefused


async def work(*steps: Mapping[str, int], error: Exception | None = None) -> AsyncIterator[Mapping[str, int]]:
    for step in steps:
        await asyncio.sleep(0)
        yield step
    if error is not None:
        raise error


async def ended(job: Job) -> Job:
    async with asyncio.timeout(60):
        while job.state == "running":
            await asyncio.sleep(0)
    return job


@pytest.mark.parametrize(
    ("error", "state", "why", "refusals"),
    [
        (None, "done", "", 0),
        (ChangeRefused("it makes no room"), "failed", "it makes no room", 1),
        (redis.exceptions.ConnectionError("away"), "failed", "Redis cannot be reached now", 0),
        (TimeoutError(), "failed", "Redis cannot be reached now", 0),
    ],
)
def test_an_act_says_how_it_ended_and_how_far_it_came(error, state: str, why: str, refusals: int) -> None:
    async def check() -> None:
        refused = []

        async def refuse() -> None:
            refused.append(True)

        running, job = Running(), Job("1-1", "Retry", 3, "dead")
        await running.begin(job, work({"put": 1}, {"put": 1, "gone": 1}, error=error), refuse)
        assert running.job("1-1") is job
        await ended(job)
        assert (job.state, job.passed) == (state, 2)
        assert why in job.why
        assert len(refused) == refusals

    asyncio.run(check())


def test_the_end_of_the_process_interrupts_an_act_and_it_says_so() -> None:
    running, job = Running(), Job("1-1", "Retry", 3, "dead")

    async def check() -> None:
        async def endless() -> AsyncIterator[Mapping[str, int]]:
            while True:
                await asyncio.sleep(0)
                yield {"put": 1}

        await running.begin(job, endless(), lambda: asyncio.sleep(0))
        while not job.done:
            await asyncio.sleep(0)

    asyncio.run(check())
    assert (job.state, job.why) == ("failed", "it was interrupted")


def test_old_acts_are_forgotten_and_few_run_at_once() -> None:
    async def check() -> None:
        running, held = Running(), asyncio.Event()

        async def waiting() -> AsyncIterator[Mapping[str, int]]:
            await held.wait()
            yield {}

        for n in range(MOST_AT_ONCE):
            assert not running.is_full
            await running.begin(Job(f"{n}-0", "", None, ""), waiting(), lambda: asyncio.sleep(0))
        assert running.is_full
        held.set()
        for n in range(300):
            job = Job(f"{n}-1", "", None, "")
            await running.begin(job, work(), lambda: asyncio.sleep(0))
            await ended(job)
        assert running.job("0-0") is None
        assert running.job("299-1") is not None

    asyncio.run(check())
