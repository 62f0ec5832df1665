"""What tests of the log and the workers share: events to append, a log to look at, conditions to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from eventlog.clock import now_ms
from eventlog.connection.connect import connect
from eventlog.lease import Lease
from eventlog.lease_messages import Taken
from eventlog.log import EventLog, NewEvent
from eventlog.registry import Declaration, HandlerPosition
from handlers.declaration import Handler
from workers.delivery.attempt import Runtime
from workers.drain.dispatcher import Dispatcher

VERSION = "v1"
PATIENCE_S = 60.0
"""How long tests wait for what should come at once: this machine may also run other tests."""
_T = TypeVar("_T")


def event(type: str = "SessionUpdateNotification", key: str | None = "session:1", **data: Any) -> NewEvent:
    """A new event whose body carries `data`; its payload is a session where the type wants one."""
    body: dict[str, Any] = {"notification": type, **data}
    if type.startswith("Session") and "session" not in body:
        body["session"] = {"id": (key or "session:0").partition(":")[2], "status": "active"}
    return NewEvent(type, key, json.dumps(body).encode(), now_ms(), "00000000", "mark")


@contextlib.asynccontextmanager
async def opened(url: str, prefix: str, lanes: int = 4, **options: Any) -> AsyncIterator[EventLog]:
    """A log on a server."""
    async with connect(url) as client:
        yield EventLog(client, prefix=prefix, lanes=lanes, **options)


def on_log(url: str, prefix: str, work: Callable[[EventLog], Awaitable[_T]], **options: Any) -> _T:
    """Open a log, and return what `work` makes of it. For tests that are not in an event loop."""

    async def run() -> _T:
        async with opened(url, prefix, **options) as log:
            return await work(log)

    return asyncio.run(run())


def declaration(handler: Handler, **changes: Any) -> Declaration:
    """What a worker would declare for a handler."""
    values: dict[str, Any] = {
        "name": handler.name,
        "version": VERSION,
        "types": handler.types,
        "queue": handler.served_by,
        "order": handler.order,
        "start": handler.start,
        "isolation": handler.isolation,
        "key": handler.key_name,
    }
    return Declaration(**{**values, **changes})


async def drained(
    log: EventLog, *handlers: Handler, until: Callable[[], bool] | None = None, version: str = VERSION
) -> Dispatcher:
    """Run handlers in this process until nothing is due (or `until` holds), as a worker's loop would."""
    dispatcher = Dispatcher(log, "default", {h.name: Runtime(h, version) for h in handlers})
    deadline = time.monotonic() + PATIENCE_S
    while await dispatcher.work() or (until is not None and not until()):
        assert time.monotonic() < deadline, "the events were not handled in time"
    await dispatcher.stop()
    return dispatcher


@contextlib.asynccontextmanager
async def at_work(log: EventLog, *handlers: Handler) -> AsyncIterator[Dispatcher]:
    """Run handlers in this process inside the block; then let them finish."""
    dispatcher = Dispatcher(log, "default", {h.name: Runtime(h, VERSION) for h in handlers})

    async def work() -> None:
        while not dispatcher.stopping:
            await dispatcher.work()

    working = asyncio.create_task(work())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
        await working


async def taken(log: EventLog, handler: str = "h", lane: int = 0) -> tuple[Lease, Taken]:
    """Take the lease of a pair, as a drain does."""
    lease = Lease(log, handler, lane, "default")
    start = await lease.take()
    assert start is not None
    return lease, start


async def position(log: EventLog, name: str) -> HandlerPosition:
    """Where one handler is."""
    return next(found for found in await log.handlers() if found.name == name)


async def eventually(
    holds: Callable[[], Awaitable[bool]], *, within_s: float = PATIENCE_S, every_s: float = 0.02
) -> None:
    """Wait for a condition, not for a time."""
    deadline = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(every_s)


def soon(holds: Callable[[], bool], *, within_s: float = PATIENCE_S, every_s: float = 0.02) -> None:
    """The same outside of an event loop."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(every_s)


class Worker:
    """A real worker process with handlers from files. A setting given as None is left out."""

    def __init__(
        self, url: str, prefix: str, files: Iterable[Path], environ: Mapping[str, str | None], log: Path
    ) -> None:
        loads = [part for path in files for part in ("--load", str(path))]
        self._stderr = log.open("ab")
        wanted: dict[str, str | None] = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWR_", "RQ_"))},
            "AWR_REDIS_URL": url,
            "AWR_KEY_PREFIX": prefix,
            "AWR_LANES": "4",
            "AWR_REGISTER": "off",
            "AWR_HANDLERS_ALLOW": "recorder",
            **environ,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "commands", "worker", "--child", *loads],
            stdin=subprocess.PIPE,
            stderr=self._stderr,
            env={name: value for name, value in wanted.items() if value is not None},
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> int:
        """Stop it with SIGTERM; return the exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.resume()
            self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._stderr.close()


@contextlib.contextmanager
def throttled(process_id: int, *, share: float) -> Iterator[None]:
    """Let a process run for a share of every 100 ms only, like a small quota of processor time."""
    done = threading.Event()

    def strike() -> None:
        while not done.is_set():
            os.kill(process_id, signal.SIGSTOP)
            done.wait(0.1 * (1 - share))
            os.kill(process_id, signal.SIGCONT)
            done.wait(0.1 * share)

    striking = threading.Thread(target=strike, daemon=True)
    striking.start()
    try:
        yield
    finally:
        done.set()
        striking.join(5)


@contextlib.contextmanager
def worker(
    url: str, prefix: str, files: Iterable[Path], environ: Mapping[str, str | None], log: Path
) -> Iterator[Worker]:
    running = Worker(url, prefix, files, environ, log)
    try:
        yield running
    finally:
        running.close()
