"""What a backlog of one handler does to the others in the same process, in processor time of that process.

`python -m benchmarks.manners [events] [rounds]`: deliveries of a handler that waits four rounds of the event loop,
alone and beside a handler that never waits, and how late a live handler gets its events meanwhile. It is processor
time, since other processes may want the same cores; Redis's own time is left out of that. The time by the clock is
printed, too: it says something where others used little.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import statistics
import sys
from time import perf_counter, process_time

import structlog
import uvloop

from ampeco.notifications import SessionMeterValues
from benchmarks import valkey
from benchmarks.bodies import TYPE, body, session
from benchmarks.logs import opened
from benchmarks.others import Others
from commands.processes import keep_what_is_loaded
from eventlog.clock import now_ms
from eventlog.log import MAX_BATCH, EventLog, NewEvent
from eventlog.registry import Declaration
from eventlog.schedule import recompute
from handlers import Context, Event, Raw, handler
from handlers.declaration import Handler
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

WAITING_EVENTS, LIVE_EVENTS, LIVE_EVERY_S = 4_000, 400, 0.02


async def fill(log: EventLog, type: str, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, MAX_BATCH):
        await log.append([_event(type, n) for n in range(first, min(numbers.stop, first + MAX_BATCH))])


def _event(type: str, number: int) -> NewEvent:
    content = body(number).replace(TYPE.encode(), type.encode())
    return NewEvent(type, f"session:{session(number)}", content, now_ms(), "0", "mark")


class Round:
    """One run of a dispatcher with new cursors."""

    def __init__(self, log: EventLog, number: int, *, backlog: bool) -> None:
        self.log = log
        self._has_backlog = backlog
        self.done: dict[str, int] = {"fast": 0, "waits": 0}
        self.latencies_ms: list[float] = []  # in processor time of this process
        self.waited_ms: list[float] = []  # by the clock
        self._sent: dict[int, tuple[float, float]] = {}

        @handler(f"fast-{number}", start="oldest")
        async def fast(event: Event[SessionMeterValues], ctx: Context) -> None:
            self.done["fast"] += 1

        @handler(f"waits-{number}", on=["waits"], start="oldest")
        async def waits(event: Event[Raw], ctx: Context) -> None:
            for _ in range(4):
                await asyncio.sleep(0)
            self.done["waits"] += 1

        @handler(f"live-{number}", on=["live"], start="now")
        async def live(event: Event[Raw], ctx: Context) -> None:
            used_s, at_s = self._sent.pop(event.payload.data["meterValues"][0]["value"])
            self.latencies_ms.append((process_time() - used_s) * 1e3)
            self.waited_ms.append((perf_counter() - at_s) * 1e3)

        self.handlers: list[Handler] = [*([fast] if backlog else []), waits, live]

    async def run(self) -> tuple[float, float]:
        """Return deliveries per second of processor time: of the handler that waits, and of the backlog."""
        await self.log.declare(
            [Declaration(h.name, "1", h.types, "default", h.order, h.start) for h in self.handlers]
        )
        await recompute(self.log)
        dispatcher = Dispatcher(self.log, "default", {h.name: Runtime(h, "1") for h in self.handlers})

        async def work() -> None:
            while not dispatcher.stopping:
                await dispatcher.work()

        tasks = [asyncio.create_task(work()), asyncio.create_task(self._send())]
        began_s = process_time()
        while self.done["waits"] < WAITING_EVENTS * 3 // 4:
            await asyncio.sleep(0.001)
        took_s = process_time() - began_s
        waits = self.done["waits"] / took_s
        while self._has_backlog and len(self.latencies_ms) < LIVE_EVENTS:
            await asyncio.sleep(0.001)
        took_s = process_time() - began_s
        rates = waits, self.done["fast"] / took_s
        for task in tasks:
            task.cancel()
        await dispatcher.stop()
        return rates

    async def _send(self) -> None:
        for number in itertools.count(10_000_000):
            self._sent[1_000_000 + number] = process_time(), perf_counter()
            await self.log.append([_event("live", number)])
            await asyncio.sleep(LIVE_EVERY_S)


async def main(url: str, events: int, rounds: int) -> None:
    async with opened(url) as log:
        await fill(log, TYPE, range(events))
        await fill(log, "waits", range(events, events + WAITING_EVENTS))
        alone, beside, backlog, live, by_clock = [], [], [], [], []
        others = Others()
        for number in range(rounds):
            alone.append((await Round(log, 2 * number, backlog=False).run())[0])
            one = Round(log, 2 * number + 1, backlog=True)
            rates = await one.run()
            beside.append(rates[0])
            backlog.append(rates[1])
            live += one.latencies_ms
            by_clock += one.waited_ms
        print(
            f"waits alone {statistics.median(alone):,.0f}/s, beside {statistics.median(beside):,.0f}/s, ",
            end="",
        )
        print(f"backlog {statistics.median(backlog):,.0f}/s; {len(live)} live events: ", end="")
        for what, found in (("of processor time", live), ("by the clock", by_clock)):
            cuts = statistics.quantiles(found, n=100)
            print(f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms {what}", end="; ")
        print(f"load average {os.getloadavg()[0]:.2f}, others used {others.share():.2f} of a core")


if __name__ == "__main__":
    keep_what_is_loaded()  # as a worker does
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    options = [int(text) for text in sys.argv[1:]]
    with valkey.server() as server:
        uvloop.run(main(server, *(options or [300_000, 5])))
