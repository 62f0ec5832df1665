"""A worker that is stopped as its start ends stops politely."""

from __future__ import annotations

import asyncio
import signal

from structlog.testing import capture_logs

from workers.config import WorkerConfig
from workers.process.loop_work import LoopWork
from workers.process.rq_loop import Stopping


def test_a_stop_in_the_last_step_of_the_start_is_no_fault(valkey, prefix):
    stopping, signals = Stopping(), []
    config = WorkerConfig(
        redis_url=valkey.url,
        prefix=prefix,
        lanes=1,
        queue="handlers",
        tenant_url="https://t.example",
        api_token=lambda: None,
        rules_version="",
    )

    async def check() -> None:
        work = LoopWork(config, stopping, on_ready=lambda _: stopping.set())
        try:
            await work.open([], [])
            for _ in range(10):
                await asyncio.sleep(0)  # tasks that have nothing to do any more end
            await work.stop()
        finally:
            await work.close()
        assert not work.recycles

    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    try:
        with capture_logs() as lines:
            asyncio.run(check())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopping.is_set()
    assert signals == []
    assert not [line for line in lines if line["event"] == "worker.recycling"]
