"""What a handler needs is opened again until it succeeds, and closed by the task that opened it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from eventlog.handler_faults import Fault
from handlers import Context, Event, Raw, handler
from handlers.discovery import Found
from workers.delivery import opening
from workers.delivery.attempt import Runtime
from workers.delivery.opening import Opening


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(opening, "LIFESPAN_S", 0.05)
    monkeypatch.setattr(opening, "_CANCEL_S", 0.05)


class Scene:
    """One handler that is opened, and what came of it."""

    def __init__(self, **options: Any) -> None:
        @handler("h", on=["*"], **options)
        async def h(event: Event[Raw], ctx: Context) -> None: ...

        self.item = Found(h, "s", "1")
        self.ready: list[Runtime] = []
        self.faults: list[Fault] = []

    def run(self, work: Callable[[Opening], Awaitable[None]]) -> None:
        async def opened() -> None:
            made = Opening(self.item, self.ready.append, self.faults.append)
            try:
                async with asyncio.timeout(60):
                    await work(made)
            finally:
                await made.close()

        asyncio.run(opened())


async def holds(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


class Unsteady:
    """A lifespan that fails some times, then begins."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.tasks: list[object] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[str]:
        if self.errors:
            raise self.errors.pop(0)
        self.tasks.append(asyncio.current_task())
        yield "open"
        self.tasks.append(asyncio.current_task())


def lifespan(made: Callable[[], Any]) -> Any:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        async with made() as state:
            yield state

    return lifespan


def test_a_lifespan_that_fails_is_opened_again_and_each_fault_is_reported_once():
    flaky = Unsteady(*(OSError("a secret") for _ in range(3)), KeyError("another"), SystemExit(1))
    scene = Scene(lifespan=lifespan(flaky))

    async def work(made: Opening) -> None:
        await holds(lambda: scene.ready)
        assert made.fault is None
        assert scene.ready[0].state == "open"

    scene.run(work)
    assert [(fault.reason, fault.error) for fault in scene.faults] == [
        ("lifespan-failed", name) for name in ("OSError", "KeyError", "SystemExit")
    ]
    assert all(__file__ in fault.where and fault.next_ms is not None for fault in scene.faults)
    assert len({fault.since_ms for fault in scene.faults}) == 1, "it was faulty all the time"
    assert flaky.tasks[0] is flaky.tasks[1], "a task group must end in the task that began it"


class Missing(BaseSettings, env_prefix="OPENING_TEST_"):
    token: str


def test_a_missing_setting_is_named_and_not_tried_again():
    scene = Scene(settings=Missing)

    async def work(made: Opening) -> None:
        await made.tried.wait()
        await asyncio.sleep(0.02)
        assert made.fault is not None

    scene.run(work)
    (fault,) = scene.faults
    assert (fault.reason, fault.next_ms, fault.is_of_settings) == ("settings-missing", None, True)
    assert "OPENING_TEST_TOKEN is not set" in fault.error


def test_a_lifespan_that_refuses_to_be_cancelled_is_reported_and_left_behind():
    @asynccontextmanager
    async def stubborn() -> AsyncIterator[None]:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await done.wait()
                return
        yield

    scene = Scene(lifespan=stubborn)
    done = asyncio.Event()

    async def work(made: Opening) -> None:
        await made.tried.wait()
        assert made.fault is not None
        assert (made.fault.reason, made.fault.next_ms) == ("lifespan-hangs", None)
        await made.close()
        done.set()

    scene.run(work)


def test_a_lifespan_that_held_the_loop_is_not_opened_again_while_events_are_at_work(monkeypatch):
    monkeypatch.setattr(opening, "_BLOCKS_S", 0.02)

    @asynccontextmanager
    async def blocks() -> AsyncIterator[None]:
        time.sleep(0.03)
        raise OSError
        yield

    scene = Scene(lifespan=blocks)

    async def work(made: Opening) -> None:
        await made.tried.wait()

    scene.run(work)
    (fault,) = scene.faults
    assert (fault.reason, fault.next_ms) == ("lifespan-failed", None)


def test_a_lifespan_that_ends_by_itself_is_a_fault():
    @asynccontextmanager
    async def ends() -> AsyncIterator[None]:
        async def fails() -> None:
            raise OSError

        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            yield

    scene = Scene(lifespan=ends)

    async def work(made: Opening) -> None:
        await holds(lambda: made.fault)

    scene.run(work)
    assert [fault.reason for fault in scene.faults] == ["lifespan-ended"]
