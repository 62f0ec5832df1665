"""An event that kills each worker that tries it becomes dead with a reason. All others are handled."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.record import decode_open
from eventlog.schedule import recompute
from handlers.discovery import discover
from tests.harness import declaration, event, on_log, position, soon, worker

POISONED = """
import os
from handlers import Context, Event, Raw, handler

@handler("poisoned", on=["*"], start="oldest")
async def poisoned(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data["n"] == 5:
        os._exit(9)
"""
BY_ITS_KEY = """
import os
from handlers import Context, Event, Raw, handler

def key(event: Event[Raw]) -> int:
    if event.payload.data["n"] == 5:
        os._exit(9)
    return event.payload.data["n"] % 2

@handler("poisoned", on=["*"], start="oldest", key=key)
async def poisoned(event: Event[Raw], ctx: Context) -> None: ...
"""

ENVIRON = {"AWR_HANDLERS_ALLOW": "poisoned"}
WAITS = """
from handlers import Context, Event, Raw, Retry, handler

@handler("poisoned", on=["*"], start="oldest")
async def poisoned(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data["n"] == 5:
        raise Retry("later", after_s=600)
"""


async def leases_run_out(log: EventLog) -> None:
    for lane in range(log.lanes):
        await log.redis.delete(log.key("lease", "poisoned", lane))
    await log.redis.delete(log.key("due", "default"))  # which says when they run out
    await recompute(log)


async def letters(log: EventLog):
    return await log.redis.xrange(log.key("dead", "poisoned"))


@pytest.mark.parametrize(
    ("code", "deaths"),
    [
        pytest.param(POISONED, 3, id="attempt"),
        pytest.param(BY_ITS_KEY, 4, id="key"),  # the first time it is not known which event it was
    ],
)
def test_an_event_that_ends_its_process_three_times_is_dead(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path, code: str, deaths: int
):
    file = tmp_path / "poisoned.py"
    file.write_text(code)
    (found,) = discover(load=[str(file)], allow=["poisoned"]).found

    def in_log(work):
        return on_log(valkey.url, prefix, work)

    async def fill(log: EventLog) -> None:
        await log.declare([declaration(found.handler)])
        await log.append([event("t", f"session:{n % 4}", n=n) for n in range(20)])

    in_log(fill)
    for _ in range(deaths):
        with worker(valkey.url, prefix, [file], ENVIRON, tmp_path / "worker.log") as running:
            assert running.process.wait(60) == 9
        in_log(leases_run_out)
    with worker(valkey.url, prefix, [file], ENVIRON, tmp_path / "worker.log") as last:
        soon(lambda: in_log(lambda log: position(log, "poisoned")).stats.get("done", 0) == 19)
        assert last.stop() == 0
    ((_, fields),) = in_log(letters)
    assert fields[b"reason"] == b"worker-died"
    letter = decode_open(0, b"1-0", fields[b"record"])
    assert b'"n": 5' in letter.event.body
    assert [note.outcome for note in letter.log] == ["worker-died"] * 3


def test_an_open_event_whose_key_ends_the_process_after_a_deploy_is_dead_and_the_lane_goes_on(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
):
    """The first death says that a key did it, the next three which one."""
    file = tmp_path / "poisoned.py"
    file.write_text(WAITS)
    (found,) = discover(load=[str(file)], allow=["poisoned"]).found

    def in_log(work):
        return on_log(valkey.url, prefix, work)

    def stat(name: str) -> int:
        return in_log(lambda log: position(log, "poisoned")).stats.get(name, 0)

    async def fill(log: EventLog, at: int = 0) -> None:
        await log.append([event("t", "session:1", n=n) for n in range(at, at + 8)])

    in_log(lambda log: log.declare([declaration(found.handler)]))
    in_log(fill)
    with worker(valkey.url, prefix, [file], ENVIRON, tmp_path / "worker.log") as before:
        soon(lambda: (stat("done"), stat("retried")) == (5, 1))
        assert before.stop() == 0
    file.write_text(BY_ITS_KEY)
    in_log(lambda log: fill(log, at=8))
    for _ in range(4):
        with worker(valkey.url, prefix, [file], ENVIRON, tmp_path / "worker.log") as running:
            assert running.process.wait(60) == 9
        in_log(leases_run_out)
    with worker(valkey.url, prefix, [file], ENVIRON, tmp_path / "worker.log") as last:
        soon(lambda: stat("done") == 15)
        assert last.stop() == 0
    ((_, fields),) = in_log(letters)
    assert fields[b"reason"] == b"worker-died"
    letter = decode_open(0, b"1-0", fields[b"record"])
    assert b'"n": 5' in letter.event.body
    assert [note.outcome for note in letter.log] == ["retry-asked", *["worker-died"] * 4]
