"""An event loop in a thread of its own, and calls into it from the main thread, which receives the signals."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from typing import TypeVar

import structlog
import uvloop
from rq.exceptions import StopRequested

_JOIN_S = 5.0

_log = structlog.get_logger()
R = TypeVar("R")


class LoopThread:
    """A loop that runs from `start` to `stop`."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Run the loop."""
        self._thread.start()
        os.register_at_fork(after_in_child=self._forked)

    def call(self, work: Awaitable[R]) -> R:
        """Run work on the loop, and wait for it in the main thread.

        Raises:
            StopRequested: the work raised it. One that a signal raises meanwhile is dropped: what is under way
                ends by itself, soon.
        """

        async def awaited() -> R:
            return await work

        future = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        while True:
            try:
                return future.result()
            except StopRequested:
                if future.done():
                    raise

    def stop(self) -> None:
        """End the loop; give up after some seconds."""
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)

    def _forked(self) -> None:
        """In a copy of this process that a handler made: never go on with the loop.

        The copy has our connections and leases, too, and would settle what this process settles. One that runs a
        program, or that `multiprocessing` made, does not come back to the loop.
        """
        if threading.get_ident() == self._thread.ident:
            self._loop.call_soon(os._exit, 0)

    def _run(self) -> None:
        """Run the loop until it is stopped.

        A SystemExit or KeyboardInterrupt of any task also ends `run_forever`, for instance of a task that a handler
        started. Only that task ends, and all others go on, also after a handler stopped the loop.
        """
        while not self._stopped:
            try:
                self._loop.run_forever()
            except BaseException as error:  # noqa: BLE001
                _log.warning("worker.exit_ignored", error=type(error).__name__)
            else:
                if not self._stopped:
                    _log.warning("worker.exit_ignored", error="loop.stop()")
