"""A handler that blocks the event loop ends its worker; the event says so, with the line of the handler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.schedule import recompute
from tests.harness import event, opened, position, soon, worker

BLOCKS = """
import os, time
from handlers import Context, Event, Raw, handler

def reads_a_slow_socket():
    time.sleep(60)

@handler("recorder", on=["*"], start="oldest")
async def blocks(event: Event[Raw], ctx: Context) -> None:
    if os.environ["BLOCKS"] == "1":
        reads_a_slow_socket()
"""
LINE = 1 + BLOCKS[: BLOCKS.index("time.sleep")].count("\n")


def test_the_line_that_blocked_the_loop_is_logged_and_kept_with_the_event(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
):
    file, log_file = tmp_path / "blocks.py", tmp_path / "worker.log"
    file.write_text(BLOCKS)

    def in_log(work: Callable[[EventLog], Any]) -> Any:
        async def run() -> Any:
            async with opened(valkey.url, prefix) as log:
                return await work(log)

        return asyncio.run(run())

    async def crashed(log: EventLog) -> None:
        """Let the lease run out, as if the event had killed two workers before."""
        lane = log.lane_of("session:1", b"")
        await log.redis.delete(log.key("lease", "recorder", lane), log.key("due", "default"))
        await recompute(log)

    environ = {"AWR_LOG_FORMAT": "json", "BLOCKS": "1"}
    with worker(valkey.url, prefix, [file], environ, log_file) as running:
        soon(lambda: b"worker.started" in log_file.read_bytes())
        (answer,) = in_log(lambda log: log.append([event("t", "session:1")])).answers
        assert running.process.wait(60) == 1
    lines = log_file.read_text().splitlines()
    (said,) = [json.loads(line) for line in lines if "worker.loop_blocked" in line]
    assert (said["handler"], said["event_id"], said["notification"]) == ("recorder", answer.event_id, "t")
    assert said["where"] == f"{file}:{LINE} in reads_a_slow_socket"
    assert said["lines"][1].endswith("in blocks")
    assert len(said["lines"]) == 2, "the lines of the handler, not those of the worker"
    assert not [line for line in lines if not line.startswith("{")], "one event, no raw stacks"

    in_log(crashed)
    with worker(valkey.url, prefix, [file], {**environ, "BLOCKS": "0"}, log_file) as running:
        soon(lambda: in_log(lambda log: position(log, "recorder")).stats.get("done", 0) == 1)
        assert running.stop() == 0
    (suspected,) = [
        json.loads(line) for line in log_file.read_text().splitlines() if "delivery.suspected" in line
    ]
    assert (suspected["reason"], suspected["where"]) == ("loop-blocked", said["where"])
    assert in_log(lambda log: log.redis.exists(log.key("blocked"))) == 0, "the note is taken"
