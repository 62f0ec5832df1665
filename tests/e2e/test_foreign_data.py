"""Real processes on a log into which another client writes: none ends, and what can be done is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis

from eventlog.connection.embedded import EmbeddedServer
from tests.door import Door, door
from tests.harness import soon, worker

HANDLERS = """
import os
from handlers import Context, Event, Raw, handler

@handler("recorder", on=["*"], start="oldest")
async def recorder(event: Event[Raw], ctx: Context) -> None:
    with open(os.environ["REC_OUT"], "a") as out:
        out.write(f"{event.payload.data['n']}\\n")
"""
JUNK = (b"{", b"[]", b"\xff\xfe\n", b"9" * 400)
TABLES = (
    "counts", "standing", "added", "door", "replicas", "minutes", "attempted", "usual", "away", "held", "budget",
    "unwanted", "workers", "shapes", "gaps", "registration", "heard", "paused-by-nobody",
)  # fmt: skip


def post(receiver: Door, n: int) -> int:
    return receiver.post(json.dumps({"notification": "x", "n": n, "session": {"id": n}}).encode()).status


def spoil(client: Any, prefix: str, junk: bytes) -> None:
    """Fill what each table has with junk, and add some to it."""
    for table in TABLES:
        key = prefix + table
        client.hset(key, mapping=dict.fromkeys([*client.hkeys(key), b"alien", b"alien|0", b"\xff"], junk))
    for key, member in (("due:default", b"\xff"), ("timers", b"alien"), ("workers:beats", b"alien")):
        client.zadd(prefix + key, {member: 1})
    client.sadd(prefix + "fresh", junk)
    client.hset(f"{prefix}handlers", "alien|1", junk)


def test_no_process_ends_and_every_event_is_handled(
    valkey: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    file, out = tmp_path / "handlers_of_test.py", tmp_path / "out"
    file.write_text(HANDLERS)
    out.touch()
    with (
        redis.Redis.from_url(valkey.url) as client,
        door(valkey.url, prefix) as receiver,
        worker(valkey.url, prefix, [file], {"REC_OUT": str(out)}, tmp_path / "worker.log") as working,
    ):
        assert post(receiver, 0) == 202
        soon(lambda: out.read_text().split() == ["0"])
        for n, junk in enumerate(JUNK, 1):
            spoil(client, prefix, junk)
            assert post(receiver, n) == 202
            soon(lambda n=n: str(n) in out.read_text().split())
            assert receiver.get("/health/ready").status == 200
            assert receiver.metric("awr_redis_up") == 1
        receiver.line("log.unreadable")
        assert (receiver.process.poll(), working.process.poll()) == (None, None)
        assert sorted(out.read_text().split()) == ["0", "1", "2", "3", "4"]
        assert receiver.stop() == 0
        assert working.stop() == 0
        assert "Traceback" not in (tmp_path / "worker.log").read_text()
