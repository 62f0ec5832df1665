"""What a second worker process gets of a backlog, and what both do together, with a handler of 1 ms processor time.

The share is that of the deliveries, counted by processor time: each delivery costs the same.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks import logs, machine
from benchmarks.grow_handlers import BUSY
from benchmarks.report import Bound, Ratio, Series

_PREFIX = "grow:"
_ALONE_S, _JOINS_S, _TOGETHER_S = 4.0, 5.0, 4.0
_BACKLOG = 60_000
_START_S = 60.0


def second_worker(redis_url: str, rounds: int) -> tuple[list[Series], list[Ratio | Bound]]:
    """Let a second process join one with a backlog, and compare five seconds later."""
    url = f"{redis_url}?db=10"
    one, two, lacking = Series("busy handler, one process"), Series("busy handler, two processes"), []
    for _ in range(rounds):
        with redis.Redis.from_url(url) as client:
            client.flushdb()
            asyncio.run(logs.fill(url, _PREFIX, _BACKLOG))
            with _worker(url) as first:
                _until_at_work(client, first)
                one.per_s.append(_done_per_s(client, _ALONE_S))
                with _worker(url) as second:
                    _until_at_work(client, second)
                    time.sleep(_JOINS_S)
                    before = machine.cpu_s(first) or 0.0, machine.cpu_s(second) or 0.0
                    two.per_s.append(_done_per_s(client, _TOGETHER_S))
                    used = (
                        (machine.cpu_s(first) or 0.0) - before[0],
                        (machine.cpu_s(second) or 0.0) - before[1],
                    )
                    lacking.append(100 - 100 * used[1] / sum(used))
    return [one, two], [
        Ratio("two processes / one, busy handler", two.per_s, one.per_s, 1.7),
        Bound("share of the first worker, per cent, 5 s after", lacking, 60.0),
    ]


@contextmanager
def _worker(url: str) -> Iterator[int]:
    """A worker process on any core; yields its process id."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWR_")},
        "AWR_REDIS_URL": url,
        "AWR_REGISTER": "off",
        "AWR_KEY_PREFIX": _PREFIX,
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
    while not any(f":{pid}".encode() in name for name in client.hkeys(f"{_PREFIX}workers")):
        if time.monotonic() > deadline_s:
            raise TimeoutError("a worker did not come up")
        time.sleep(0.05)


def _done_per_s(client: redis.Redis, seconds: float) -> float:
    def done() -> int:
        return int(client.hget(f"{_PREFIX}stats:{BUSY}", "done") or 0)  # type: ignore[arg-type]

    before, since_s = done(), time.monotonic()
    time.sleep(seconds)
    return (done() - before) / (time.monotonic() - since_s)
