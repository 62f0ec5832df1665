"""AMPECO as a handler meets it during an outage, and workers that live through one on a fast clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import httpx2

from ampeco.client import AsyncClient
from ampeco.repeating import RetryPolicy
from eventlog.connection.connect import end_tasks
from eventlog.log import EventLog
from eventlog.outages import Rules
from handlers import Handler
from tests.harness import VERSION
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher
from workers.process.prober import asked, probe_forever

FAST = Rules(first_s=0.1, longest_s=1.5, probe_s=3.0, catch_up_per_s=5_000.0)
"""Shorter pauses: the first is 0.1 s instead of 2 s, 20 times as fast; the longest 1.5 s instead of 5 min, 200 times.

So no factor holds for an outage. Measured: one of seven seconds has 6 or 7 probes, three of them after the longest
pause. One of half an hour with the real pauses has 12.
"""


class Ampeco:
    """A tenant that answers as it is told to.

    Attributes:
        mode: `ok`, a status, `nothing` (no answer in time) or `refused` (no connection).
        sick: parts of paths that are always answered with 500.
        requests: by method and mode, apart from probes.
        probes: by mode.
    """

    def __init__(self) -> None:
        self.mode = "ok"
        self.sick: frozenset[str] = frozenset()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.probes: Counter[str] = Counter()

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        if "/notifications/" in request.url.path:
            self.probes[self.mode] += 1
        else:
            self.requests[request.method, self.mode] += 1
        match self.mode:
            case "nothing":
                await asyncio.sleep(0.05)
                raise httpx2.ReadTimeout("no answer")
            case "refused":
                raise httpx2.ConnectError("refused")
            case "ok":
                sick = request.url.path.rsplit("/", 1)[-1] in self.sick
                return httpx2.Response(500 if sick else 200, json={"data": {}})
            case "pause":
                return httpx2.Response(503, headers={"Retry-After": "1"})
            case status:
                return httpx2.Response(int(status))

    def client(self) -> AsyncClient:
        return AsyncClient(
            "https://tenant.example",
            "token",
            transport=httpx2.MockTransport(self.answer),
            retry=RetryPolicy(attempts=1),
        )


@contextlib.asynccontextmanager
async def living(
    log: EventLog, ampeco: Ampeco, handlers: Sequence[Handler], *, rules: Rules = FAST, probes: bool = True
) -> AsyncIterator[Dispatcher]:
    """Run handlers in this process, with beats and probes, as a worker does."""
    async with ampeco.client() as client:
        runtimes = {each.name: Runtime(each, VERSION, client=client) for each in handlers}
        dispatcher = Dispatcher(log, "default", runtimes, rules=rules)

        async def work() -> None:
            while not dispatcher.stopping:
                await dispatcher.work()
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(work()), asyncio.create_task(dispatcher.look_forever())]
        if probes:
            ask = lambda: asked(client)  # noqa: E731
            tasks.append(asyncio.create_task(probe_forever(log, dispatcher.services, ask)))
        try:
            yield dispatcher
        finally:
            await dispatcher.stop()
            await end_tasks(tasks)
