"""The loop of a worker process: what a handler does to it does not end it, and no copy of it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from tests.harness import PATIENCE_S
from workers.process.loop_thread import LoopThread


def test_a_handler_that_stops_the_loop_does_not_end_it() -> None:
    loop = LoopThread()
    loop.start()

    async def stops() -> None:
        asyncio.get_running_loop().stop()

    async def goes_on() -> int:
        await asyncio.sleep(0)
        return 5

    loop.call(stops())
    assert loop.call(goes_on()) == 5
    loop.stop()


def test_a_copy_that_a_handler_forks_ends_with_its_first_wait() -> None:
    loop = LoopThread()
    loop.start()

    async def forks() -> int:
        return os.fork()

    child = loop.call(forks())
    ended, deadline = 0, time.monotonic() + PATIENCE_S / 6
    try:
        while not ended and time.monotonic() < deadline:
            ended, _ = os.waitpid(child, os.WNOHANG)
            time.sleep(0.02)
        assert ended
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        loop.stop()
