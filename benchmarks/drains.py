"""Events per second that one worker process settles with a handler that does nothing, and RQ with a job for each."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import redis

from benchmarks import logs, machine, noop_handler

PREFIX = "benchmark:"

_TIME_LIMIT_S = 60.0


class Drains:
    """A filled log for our worker, and a queue of jobs for RQ's."""

    def __init__(self, redis_url: str, events: int, jobs: int) -> None:
        self._url = f"{redis_url}?db=2"
        self._rq_url = f"{redis_url}?db=3"
        self._events = events
        self._jobs = jobs
        self._runs = 0
        asyncio.run(logs.fill(self._url, PREFIX, events))

    def ours(self) -> float:
        """The worker process, draining the whole log under a handler that is new to it; events per second.

        Raises:
            TimeoutError: it did not settle everything in time.
        """
        self._runs += 1
        name = f"noop-{self._runs}"
        environ = {
            "AWR_REDIS_URL": self._url,
            "AWR_REGISTER": "off",
            "AWR_KEY_PREFIX": PREFIX,
            "AWR_HANDLERS_ALLOW": name,
            "AWR_PLUGINS_STRICT": "true",
            "AWR_LOG_LEVEL": "warning",
            noop_handler.NAME: name,
        }
        file = Path(__file__).with_name("noop_handler.py")
        with machine.measured(["receiver", "worker", "--child", "--load", str(file)], environ):
            return asyncio.run(logs.settled_per_s(self._url, PREFIX, name, self._events, _TIME_LIMIT_S))

    def rq(self) -> float:
        """RQ's worker that does not fork, in burst mode; jobs per second."""
        with machine.measured(["benchmarks.peers", "work", str(self._jobs), self._rq_url], {}) as process:
            output, _ = process.communicate(timeout=_TIME_LIMIT_S)
        report = json.loads(output)
        if report["ran"] != self._jobs:
            raise RuntimeError(f"RQ ran {report['ran']} of {self._jobs} jobs")
        with redis.Redis.from_url(self._rq_url) as client:
            client.flushdb()
        return float(report["per_s"])
