"""Back up and restore as the runbook says: what is lost is said, and what the copy has as unsettled runs again."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer
from receiver.recollection import KEEP_S
from tests.door import Door, awr, door
from tests.harness import soon, worker

HANDLERS = """
import os
from handlers import Context, Event, Raw, handler

FILE = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@handler("recorder", on=["SessionUpdateNotification"], start="oldest")
async def recorder(event: Event[Raw], ctx: Context) -> None:
    os.write(FILE, event.key.encode() + b"\\n")
"""
BEFORE, OPEN, LOST, LATE = range(1, 6), range(6, 11), range(11, 16), range(16, 19)
"""Events by what the copy knows of them: settled, accepted, nothing, and nothing while receivers remember them."""


class Operator:
    """What the runbook lets an operator do."""

    def __init__(self, server: EmbeddedServer, folder: Path, prefix: str) -> None:
        self.server, self.prefix = server, prefix
        self._data, self._copy = folder / "valkey" / "appendonlydir", folder / "copy"
        self._record, self._file = folder / "record", folder / "recorder.py"
        self._file.write_text(HANDLERS.format(record=str(self._record)))
        self._lines = folder / "worker.log"

    def back_up(self) -> datetime:
        with redis.Redis.from_url(self.server.url) as client:
            client.config_set("auto-aof-rewrite-percentage", 0)
            shutil.copytree(self._data, self._copy)
            client.config_set("auto-aof-rewrite-percentage", 100)
        return datetime.now(UTC)

    def restore(self) -> None:
        self.server.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self._copy, self._data)
        self.server.start()

    def work_until(self, expected: Counter[str]) -> None:
        """Run a worker until the handler has run for these."""
        with worker(self.server.url, self.prefix, [self._file], {}, self._lines) as running:
            soon(lambda: self.ran() == expected, every_s=0.2)
            assert running.stop() == 0

    def ran(self) -> Counter[str]:
        return Counter(self._record.read_text().split()) if self._record.exists() else Counter()

    def gaps(self) -> list[dict[str, object]]:
        environ = {"AWR_REDIS_URL": self.server.url, "AWR_KEY_PREFIX": self.prefix, "AWR_LANES": "4"}
        done = awr("gaps", "list", "--json", environ=environ)
        return json.loads(done.out) if done.code == 0 else []


@pytest.fixture
def operator(tmp_path: Path, prefix: str) -> Iterator[Operator]:
    with EmbeddedServer(tmp_path / "valkey", appendfsync="always") as server:
        yield Operator(server, tmp_path, prefix)


def post(front: Door, numbers: range) -> None:
    for number in numbers:
        body = {"notification": "SessionUpdateNotification", "session": {"id": number, "status": "active"}}
        assert front.post(json.dumps(body).encode()).status == 202


def times(*ranges: range) -> Counter[str]:
    return Counter(f"session:{number}" for numbers in ranges for number in numbers)


def until_the_copy(operator: Operator, front: Door) -> datetime:
    post(front, BEFORE)
    operator.work_until(times(BEFORE))
    post(front, OPEN)
    copied_at = operator.back_up()
    operator.work_until(times(BEFORE, OPEN))
    post(front, LOST)
    time.sleep(KEEP_S + 1.5)  # no receiver remembers them now
    post(front, LATE)
    return copied_at


def test_receivers_that_stay_say_what_the_copy_lacks(operator: Operator) -> None:
    with door(operator.server.url, operator.prefix) as front:
        until_the_copy(operator, front)
        operator.restore()
        soon(lambda: bool(front.said("redis.rolled_back")))
        soon(lambda: front.get("/health/ready").status == 200)
        (gap,) = (gap for gap in operator.gaps() if gap["reason"] == "redis-rolled-back")
        # What came in the last second before the crash may not be counted, and is appended again.
        assert len(LOST) - len(LATE) <= gap["events_at_least"] <= len(LOST)  # type: ignore[operator]
        operator.work_until(times(BEFORE, OPEN, OPEN, LATE))


def test_without_a_process_that_stayed_the_time_since_the_copy_is_a_gap(operator: Operator) -> None:
    with door(operator.server.url, operator.prefix) as front:
        copied_at = until_the_copy(operator, front)
        front.stop()
    operator.restore()
    with door(operator.server.url, operator.prefix) as front:
        soon(lambda: bool(operator.gaps()), every_s=0.5)
        (gap,) = operator.gaps()
        assert (gap["reason"], gap["events_at_least"]) == ("no-receiver", None)
        assert datetime.fromisoformat(str(gap["from"])) <= copied_at
        assert gap["state"] != "closed", "it is not proven that nothing is missing"
        operator.work_until(times(BEFORE, OPEN, OPEN))
