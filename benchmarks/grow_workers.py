"""What a second worker process gets of a backlog, and what both do together, with a handler of 1 ms processor time.

The share is that of the deliveries, counted by processor time: each delivery costs the same. The log is filled
before, so nothing else wants the cores.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks import logs, machine
from benchmarks.grow_handlers import BUSY
from benchmarks.used import Used, redis_s

ONE, TWO, SHARE = "busy handler, one process", "busy handler, two processes", "share of the second process"
PREFIX = "grow:"
_ALONE_S, _JOINS_S, _TOGETHER_S = 4.0, 5.0, 4.0
_BACKLOG = 60_000
_START_S = 60.0


def second_worker(url: str) -> dict[str, Used]:
    """Let a second process join one with a backlog, and compare five seconds later."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        asyncio.run(logs.fill(url, PREFIX, _BACKLOG))
        with worker(url) as first:
            _until_at_work(client, first)
            alone = _used(client, [first], _ALONE_S)
            with worker(url) as second:
                _until_at_work(client, second)
                time.sleep(_JOINS_S)
                before = machine.cpu_s(first) or 0.0, machine.cpu_s(second) or 0.0
                both = _used(client, [first, second], _TOGETHER_S)
                of_first = (machine.cpu_s(first) or 0.0) - before[0]
                of_second = (machine.cpu_s(second) or 0.0) - before[1]
    return {ONE: alone, TWO: both, SHARE: Used(of_second / max(0.01, of_first + of_second))}


@contextmanager
def worker(url: str) -> Iterator[int]:
    """A worker process on any core; yields its process id."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWR_")},
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_KEY_PREFIX": PREFIX,
        "AWR_HANDLERS_ALLOW": BUSY,
        "AWR_LOG_LEVEL": "error",
    }
    file = Path(__file__).with_name("grow_handlers.py")
    command = [sys.executable, "-m", "commands", "worker", "--child", "--load", str(file)]
    process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _until_at_work(client: redis.Redis, pid: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while not any(f":{pid}".encode() in name for name in client.hkeys(f"{PREFIX}workers")):
        if time.monotonic() > deadline_s:
            raise TimeoutError("a worker did not come up")
        time.sleep(0.05)


def _used(client: redis.Redis, pids: Sequence[int], seconds: float) -> Used:
    def reading() -> tuple[float, float, float]:
        return time.monotonic(), sum(machine.cpu_s(pid) or 0.0 for pid in pids), redis_s(client)

    first, began = done(client), reading()
    time.sleep(seconds)
    return Used.between(began, reading(), done(client) - first)


def done(client: redis.Redis) -> int:
    """Return how many deliveries came to their end."""
    return int(client.hget(f"{PREFIX}stats:{BUSY}", "done") or 0)
