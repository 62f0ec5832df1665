"""Events per second that one worker process settles with a handler that does nothing, and those of others."""

from __future__ import annotations

import asyncio
import json
import subprocess

import redis

from benchmarks import logs, machine, node, workers
from benchmarks.bodies import body

PREFIX = "benchmark:"

_TIME_LIMIT_S = 60.0


class Drains:
    """A filled log for our worker, and a queue of jobs for each of the others."""

    def __init__(self, redis_url: str, events: int, jobs: int) -> None:
        self._url = f"{redis_url}?db=2"
        self._others_url = f"{redis_url}?db=3"
        self._socket = redis_url.removeprefix("unix://")
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
        with workers.at_work(self._url, PREFIX, {workers.NOOP: name}):
            return asyncio.run(logs.settled_per_s(self._url, PREFIX, name, self._events, _TIME_LIMIT_S))

    def rq(self) -> float:
        """RQ's worker that does not fork, in burst mode; jobs per second."""
        return self._rq("work", self._jobs)

    def rq_forking(self) -> float:
        """RQ's worker as it comes, with a process for each job."""
        return self._rq("work-forking", self._jobs // 3)

    def _rq(self, how: str, jobs: int) -> float:
        with machine.measured(["benchmarks.peers", how, str(jobs), self._others_url], {}) as process:
            return self._said(process, jobs)

    def bullmq(self) -> float:
        """BullMQ's worker, 100 jobs at a time.

        Raises:
            NoNode: there is none here.
        """
        jobs = self._events // 4
        program = ("node", str(node.installed() / "worker.mjs"))
        with machine.measured([str(jobs), self._socket, "3"], {}, program=program) as process:
            return self._said(process, jobs, body(0))

    def _said(self, process: subprocess.Popen[bytes], jobs: int, told: bytes = b"") -> float:
        output, _ = process.communicate(told, timeout=_TIME_LIMIT_S)
        report = json.loads(output)
        if report["ran"] != jobs:
            raise RuntimeError(f"{report['ran']} of {jobs} jobs ran")
        with redis.Redis.from_url(self._others_url) as client:
            client.flushdb()
        return float(report["per_s"])
