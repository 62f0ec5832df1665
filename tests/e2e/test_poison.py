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

    async def leases_run_out(log: EventLog) -> None:
        for lane in range(log.lanes):
            await log.redis.delete(log.key("lease", "poisoned", lane))
        await log.redis.delete(log.key("due", "default"))  # which says when they run out
        await recompute(log)

    async def dead(log: EventLog):
        return await log.redis.xrange(log.key("dead", "poisoned"))

    in_log(fill)
    environ = {"AWR_HANDLERS_ALLOW": "poisoned"}
    for _ in range(deaths):
        with worker(valkey.url, prefix, [file], environ, tmp_path / "worker.log") as running:
            assert running.process.wait(60) == 9
        in_log(leases_run_out)
    with worker(valkey.url, prefix, [file], environ, tmp_path / "worker.log") as last:
        soon(lambda: in_log(lambda log: position(log, "poisoned")).stats.get("done", 0) == 19)
        assert last.stop() == 0
    ((_, fields),) = in_log(dead)
    assert fields[b"reason"] == b"worker-died"
    letter = decode_open(0, b"1-0", fields[b"record"])
    assert b'"n": 5' in letter.event.body
    assert [note.outcome for note in letter.log] == ["worker-died"] * 3
