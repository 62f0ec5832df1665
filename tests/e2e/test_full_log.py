"""A full log at night, by the runbook alone: `status` says what to do, and nothing that was accepted is lost."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import redis

from eventlog.connection.embedded import EmbeddedServer
from tests.cli import Cli
from tests.door import Door, door
from tests.harness import soon, worker
from tests.meta.repository import ROOT

HANDLERS = """
import os
from handlers import Context, Event, Raw, handler

FILE = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@handler("idle", on=["receiver.started"], start="oldest")
async def idle(event: Event[Raw], ctx: Context) -> None:
    pass

@handler("recorder", on=["SessionUpdateNotification"], start="oldest")
async def recorder(event: Event[Raw], ctx: Context) -> None:
    os.write(FILE, event.key.encode() + b"\\n")
"""
LIMIT = {"AWR_LOG_MAX_BYTES": str(1 << 20)}
RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"


class Sender:
    """Sends events of one session each, and knows which were accepted."""

    def __init__(self, front: Door) -> None:
        self._front = front
        self._sent = 0
        self.accepted: Counter[str] = Counter()

    def is_accepted(self) -> bool:
        self._sent += 1
        session = {"id": self._sent, "status": "active"}
        body = {"notification": "SessionUpdateNotification", "session": session, "text": "x" * 40_000}
        status = self._front.post(json.dumps(body).encode()).status
        assert status in (202, 503)
        if status == 202:
            self.accepted[f"session:{self._sent}"] += 1
        return status == 202


def advised(cause: str, name: str) -> list[str]:
    """Return the command that the runbook's table of a full log advises for a cause, for the handler `name`."""
    section = RUNBOOK.read_text().partition("\n## The log is full\n")[2].partition("\n## ")[0]
    (row,) = [line for line in section.splitlines() if line.partition(" | ")[0].endswith(cause)]
    (command,) = re.findall(r"`(.+?)`", row)
    return command.replace("NAME", name).split()


def test_the_runbook_frees_a_full_log(valkey: EmbeddedServer, prefix: str, cli: Cli, tmp_path: Path) -> None:
    file, record, log = tmp_path / "mine.py", tmp_path / "record", tmp_path / "worker.log"
    file.write_text(HANDLERS.format(record=str(record)))

    def measured_now() -> None:
        """Let housekeeping measure the log now, not within 10 s."""
        with redis.Redis.from_url(valkey.url) as client:
            client.delete(f"{prefix}keeper")

    def is_refused() -> bool:
        measured_now()
        return not sender.is_accepted()

    environ = {**LIMIT, "AWR_HANDLERS_ALLOW": "idle,recorder"}
    with door(valkey.url, prefix, LIMIT) as front, worker(valkey.url, prefix, [file], environ, log):
        sender = Sender(front)
        soon(lambda: b"worker.started" in log.read_bytes())
        assert cli("handlers", "pause", "recorder", "--reason", "a deploy")[0] == 0
        soon(is_refused)
        soon(lambda: front.ready()["reasons"] == ["log-full"])
        seen = cli.json("status")
        full, paused = seen["needs_attention"]
        assert "AWR_LOG_MAX_BYTES" in full
        assert "recorder is furthest behind" in full
        command = advised("of a handler that is paused", "recorder")
        assert paused.startswith(f"recorder is paused (a deploy): `{' '.join(command)}`")
        assert len(seen["receivers"]) == 1
        assert front.metric("awr_log_full") == 1
        assert cli("doctor")[0] == 1

        assert cli(*command)[0] == 0
        measured_now()
        soon(sender.is_accepted, every_s=0.1)
        soon(lambda: Counter(record.read_text().split()) == sender.accepted, every_s=0.1)
        soon(lambda: front.metric("awr_log_full") == 0)
