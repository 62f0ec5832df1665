"""What `/metrics` says of the log as a whole, and that promtool finds nothing wrong with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from commands.child_metrics import ChildProcesses
from eventlog.log import EventLog
from eventlog.operation.handlers import pause
from eventlog.presence import Condition, Part, beat
from handlers import Context, Event, GiveUp, Raw, Retry, handler
from receiver.metrics import LogExposition, Metrics, exposition
from tests.harness import at_work, declaration, drained, event, eventually, opened


@handler("mail", on=["*"], start="oldest")
async def mail(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data["n"] == 0:
        raise GiveUp("no address")
    if event.payload.data["n"] == 99:
        raise Retry("later", after_s=600)


@handler("forks", on=["*"], start="oldest", isolation="process")
async def forks(event: Event[Raw], ctx: Context) -> None: ...


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


async def shown(log: EventLog) -> dict[tuple[str, ...], float]:
    return samples(await exposition(log))


def test_handlers_workers_and_redis_are_there(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(mail), declaration(forks)])
        await log.append([event(n=n, key=f"session:{n}") for n in range(5)])
        found = await shown(log)
        assert found["awr_handler_served", "mail"] == 0, "it is declared, and no process runs it"
        assert found["awr_handler_served", "forks"] == 1, "its process comes when there is work"
        assert found["awr_workers_live", "default"] == 0
        await drained(log, mail)
        how = Condition(loop_lag_s=0.25, leases_lost=3, faulty=1)
        await beat(log, "default", "host:1:ab", 4, {"mail": Part()}, {"mail": "v1"}, condition=how)
        await beat(log, "default", "host:2:cd", 4, {}, {})
        found = await shown(log)
        assert found["awr_worker_loop_lag_seconds", "host:1"] == 0.25
        assert found["awr_worker_leases_lost_total", "host:1"] == 3
        assert found["awr_worker_faulty_plugins", "host:1"] == 1
        assert found["awr_worker_faulty_plugins", "host:2"] == 0
        assert found["awr_log_events_total", "SessionUpdateNotification"] == 5
        assert found["awr_log_events_total", "(other)"] == 0
        assert 0 <= time.time() - found["awr_last_event_timestamp_seconds",] < 60
        assert found["awr_handler_dead", "mail"] == 1
        assert found["awr_handler_served", "mail"] == 1
        assert found["awr_workers_live", "default"] == 2
        assert found["awr_handler_paused", "mail"] == 0
        assert found["awr_handler_settled_seconds_bucket", "mail", "+Inf"] == 5
        assert found["awr_handler_settled_seconds_bucket", "mail", "3600"] == 5
        assert found["awr_redis_memory_used_bytes",] > 0
        assert found["awr_redis_persistence_ok",] == 1
        await pause(log, "mail", reason="later", now_ms=1)
        assert (await shown(log))["awr_handler_paused", "mail"] == 1

    on_each_server(check)


def test_what_waits_for_a_retry_is_told_from_what_is_parked_behind_it(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(mail)])
        await log.append([event(n=99), event(n=1), event(n=2)])

        async def is_open() -> bool:
            return (await shown(log))["awr_handler_open", "mail"] == 3

        async with at_work(log, mail):
            await eventually(is_open)
        found = await shown(log)
        assert found["awr_handler_retrying", "mail"] == 1
        assert found["awr_handler_parked", "mail"] == 2

    on_each_server(check)


def test_each_child_is_shown_while_it_runs():
    registry = CollectorRegistry()
    registry.register(ChildProcesses(lambda: {"worker-1": os.getpid(), "worker-2": None, "worker-3": 2**22}))
    found = samples(generate_latest(registry))
    assert found["awr_child_resident_memory_bytes", "worker-1"] > 1_000_000
    assert found["awr_child_cpu_seconds_total", "worker-1"] > 0
    assert {child for _, child in found} == {"worker-1"}


def test_wake_ups_that_wait_are_counted_by_queue(on_each_server):
    async def check(log: EventLog) -> None:
        await log.declare([declaration(mail)])
        await log.redis.rpush(log.key("rq", "queue") + ":default", "a", "b")
        assert (await shown(log))["awr_rq_queue_jobs", "default"] == 2

    on_each_server(check)


def test_a_receiver_shows_the_log_too_and_answers_while_redis_is_away(valkey, prefix):
    async def check() -> None:
        metrics = Metrics()
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(mail)])
            found = samples(await metrics.exposition(LogExposition(log, size=False)))
            assert found["awr_redis_up",] == 1
            assert found["awr_handler_waiting", "mail"] == 0
        async with opened("redis://127.0.0.1:1", prefix) as log:
            found = samples(await metrics.exposition(LogExposition(log, size=False)))
        assert found["awr_redis_up",] == 0
        assert "process_resident_memory_bytes" in {name for name, *_ in found}

    asyncio.run(check())


def test_no_series_is_named_twice_and_none_tells_when_it_was_created(valkey, prefix):
    async def check() -> bytes:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(mail)])
            return await Metrics().exposition(LogExposition(log, size=False))

    text = asyncio.run(check())
    families = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert b"_created" not in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian's package prometheus)")
def test_promtool_finds_no_fault(valkey, prefix):
    async def check() -> bytes:
        async with opened(valkey.url, prefix) as log:
            await log.declare([declaration(mail), declaration(forks)])
            await log.append([event(n=1)])
            await drained(log, mail)
            await beat(log, "default", "host:1:ab", 4, {"mail": Part()}, {"mail": "v1"})
            called = Counter({"call:charge-point.reset|2xx|10": 1, "call-ms:charge-point.reset|2xx": 7})
            await log.redis.hset(log.key("stats", "mail"), mapping={**called, "failed:error": 1})
            registry = CollectorRegistry()
            registry.register(ChildProcesses(lambda: {"worker-1": os.getpid()}))
            shown = await Metrics().exposition(LogExposition(log, size=False))
            return shown + generate_latest(registry)

    text = asyncio.run(check())
    assert b"awr_api_call_seconds_bucket" in text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
