"""Whose code holds up an event loop is found in its frames."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

from handlers import Context, Event, Raw, handler
from workers.delivery.stacks import inwards, line_in
from workers.delivery.timeouts import Timeouts, time_limited
from workers.drain.watchdog import blocked_in

frames: list[FrameType] = []


def blocks() -> None:
    frames.append(sys._getframe())


@handler("h", on=["*"])
async def starts_a_task(event: Event[Raw], ctx: Context) -> None:
    async def task() -> None:
        blocks()

    await asyncio.create_task(task())


@handler("waits", on=["*"])
async def waits(event: Event[Raw], ctx: Context) -> None:
    await asyncio.Event().wait()


def test_a_task_that_a_handler_started_is_known_by_its_file():
    frames.clear()
    made: Any = None
    asyncio.run(starts_a_task.function(made, made))
    found = blocked_in(frames[0], [starts_a_task])
    assert (found.handler, found.event_id) == ("h", "")
    assert found.where.endswith(" in blocks")
    assert [line.rpartition(" ")[2] for line in found.lines[:2]] == ["blocks", "task"]
    assert found.note.trace.splitlines()[0] == "loop-blocked"
    assert found.note.trace.splitlines()[-1] == found.where


def test_code_of_nobody_is_named_by_its_line():
    frames.clear()
    blocks()
    found = blocked_in(frames[0], [])
    assert (found.handler, found.where.endswith(" in blocks")) == ("", True)


def test_the_line_where_a_handler_waits_is_found_behind_its_time_limit():
    made: Any = None

    async def attempt() -> None:
        await time_limited(waits.function(made, made), Timeouts(60), lambda: None)

    async def check() -> str:
        task = asyncio.create_task(attempt())
        await asyncio.sleep(0)
        found = list(inwards(task.get_coro()))
        task.cancel()
        await asyncio.wait({task})
        return line_in(reversed(found), waits)

    where = asyncio.run(check())
    assert where.startswith(f"{__file__}:")
    assert where.endswith(" in waits")
