"""A real log and a real worker for tests: an embedded Valkey, and drains in a thread with an event loop of its own.

Here order, retries, leases and the ledger in Redis are real, and so is the time. An event takes milliseconds, a retry
as long as it waits. Use `deliver` for all that one attempt shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from eventlog.clock import now_ms
from eventlog.connection.connect import connect
from eventlog.entity_records import fire
from eventlog.errors import UnknownName
from eventlog.inspection.explain import explain
from eventlog.log import EventLog, NewEvent
from eventlog.record import written_mark
from eventlog.registry import Declaration
from handlers.declaration import Handler
from handlers.event import Event
from handlers.testing.delivery import NOT_GIVEN, marks_of, ready
from handlers.testing.fake_ampeco import FakeAmpeco
from handlers.testing.outcome import Outcome
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

if TYPE_CHECKING:
    from ampeco.simulator.testing import Box

R = TypeVar("R")

_LANES = 4
_CHECK_S = 0.01
_FIRE_S = 0.05
_VERSION = "test"
_ENDS = {
    "done": "done",
    "skipped": "skipped",
    "filtered": "skipped",
    "not-wanted": "skipped",
    "superseded": "skipped",
    "dead": "dead",
}
"""State of a settled event -> kind of its outcome."""


class RealWorker:
    """One log with a worker on it. Start handlers, send events, and ask what became of them.

    Args:
        redis_url: of a server; each worker has a log of its own there.
    """

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._prefix = f"kit-{uuid.uuid4().hex[:10]}:"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="real-worker", daemon=True)
        self._thread.start()
        self._exits = contextlib.AsyncExitStack()
        self._log = self._call(self._open())
        self._runtimes: dict[str, Runtime] = {}
        self._working: dict[Dispatcher, asyncio.Task[None]] = {}
        self._firing: asyncio.Task[None] | None = None

    def start(
        self,
        handler: Handler,
        *,
        ampeco: FakeAmpeco | Box | None = None,
        settings: Any = NOT_GIVEN,
        state: Any = NOT_GIVEN,
    ) -> None:
        """Let the worker run a handler as well; arguments as those of `deliver`."""
        self._call(self._start(handler, ampeco or FakeAmpeco(), settings, state))

    def send(self, *events: Event[Any]) -> list[str]:
        """Append events to the log, as the receiver does, and return their ids in it."""
        return self._call(self._append(events))

    def outcome(self, event_id: str, handler: Handler, *, within_s: float = 10.0) -> Outcome:
        """Wait until an event is settled, and return its end.

        Args:
            event_id: as `send` returned it.

        Raises:
            TimeoutError: it is not settled in time; the text says where it is.
        """
        return self._call(self._settled(event_id, handler.name, within_s))

    def close(self) -> None:
        """Let attempts end, and stop."""
        self._call(self._stop())
        if self._firing is not None:
            self._loop.call_soon_threadsafe(self._firing.cancel)
        self._call(self._exits.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> EventLog:
        redis = connect(self._url)
        self._exits.push_async_callback(redis.aclose)
        return EventLog(redis, prefix=self._prefix, lanes=_LANES)

    async def _start(self, handler: Handler, ampeco: FakeAmpeco | Box, settings: Any, state: Any) -> None:
        await self._stop()
        runtime = await self._exits.enter_async_context(ready(handler, ampeco, settings, state))
        self._runtimes[handler.name] = runtime
        declaration = Declaration(
            name=handler.name,
            version=_VERSION,
            types=handler.types,
            queue=handler.queue,
            order=handler.order,
            start=handler.start,
            isolation=None,
            key=handler.key_name,
        )
        await self._log.declare([declaration])
        for queue in sorted({each.handler.queue for each in self._runtimes.values()}):
            served = {name: each for name, each in self._runtimes.items() if each.handler.queue == queue}
            dispatcher = Dispatcher(self._log, queue, served)
            self._working[dispatcher] = asyncio.create_task(_work(dispatcher))
        if self._firing is None:
            self._firing = asyncio.create_task(_fire(self._log))

    async def _stop(self) -> None:
        for dispatcher, working in self._working.items():
            await dispatcher.stop()
            await working
        self._working.clear()

    async def _append(self, events: tuple[Event[Any], ...]) -> list[str]:
        elements = [
            NewEvent(
                event.type,
                event.key,
                event.raw,
                round(event.received_at.timestamp() * 1000),
                "",
                "drop" if event.occurred_at is not None else "mark",
                written_mark(",".join(marks_of(event)), event.occurred_at),
            )
            for event in events
        ]
        answers = (await self._log.append(elements)).answers
        return [answer.event_id or f"{answer.outcome}: {answer.reason}" for answer in answers]

    async def _settled(self, event_id: str, name: str, within_s: float) -> Outcome:
        state = "nowhere"
        try:
            async with asyncio.timeout(within_s):
                while True:
                    with contextlib.suppress(UnknownName):
                        found = await explain(self._log, event_id, handler=name, now_ms=now_ms())
                        for fate in (fate for story in found.stories for fate in story.fates):
                            if (kind := _ENDS.get(state := fate.state)) is not None:
                                slug = fate.state if kind == "skipped" else fate.why
                                return Outcome(kind, fate.why or slug, slug=slug)  # type: ignore[arg-type]
                    await asyncio.sleep(_CHECK_S)
        except TimeoutError:
            raise TimeoutError(f"{event_id} is not settled after {within_s:g} s; it is {state}") from None


async def _fire(log: EventLog) -> None:
    """Move timers into their lanes, as the housekeeping of a worker process does once a second."""
    while True:
        await fire(log)
        await asyncio.sleep(_FIRE_S)


async def _work(dispatcher: Dispatcher) -> None:
    while not dispatcher.stopping:
        await dispatcher.work()
