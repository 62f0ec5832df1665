"""A client of Redis that writes RQ's keys by hand makes no worker run code, and stops none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer
from tests.e2e.process_tree import Command, started
from tests.e2e.test_isolation import Scene
from tests.harness import event, soon

QUEUES = ("default", "default.isolated")
REGISTRIES = ("wip", "failed", "finished", "deferred", "scheduled", "canceled", "ready")
CANARY = """
import os
def run(*args, **kwargs):
    open(os.environ["CANARY"], "a").write("ran\\n")
run()
"""


class Forger:
    """Writes RQ's keys as any client of this Redis can."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._rq = f"{prefix}rq"
        self._made = 0

    def key(self, *parts: str) -> str:
        return ":".join((self._rq, *parts))

    def job(self, queue: str, function: str = "forged_canary.run", **fields: Any) -> str:
        """Store a job with these fields, in no queue; its id."""
        self._made += 1
        name = f"forged-{queue.replace('.', '-')}-{self._made}"
        data = zlib.compress(json.dumps([function, None, [queue], {}]).encode())
        stored = {"data": data, "origin": queue, "timeout": "1", "status": "queued", **fields}
        self._client.hset(self.key("job", name), mapping=stored)
        return name

    def everything(self, queue: str) -> None:
        """Forge jobs, entries of the queue and registries, and the switches that are not jobs."""
        ours, canary = "workers.jobs.drain", "forged_canary.run"
        jobs = [
            self.job(queue),
            self.job(queue, "os.system"),
            *(
                self.job(queue, ours, **{f"{at}_callback_name": canary})
                for at in ("success", "failure", "stopped")
            ),
            self.job(queue, ours, repeats_left="3", repeat_intervals="[0]"),
            self.job(queue, ours, retries_left="3", retry_intervals="[0]"),
            self.job(queue, ours, meta="{", result="x", serializer="forged_canary"),
            self.job(
                queue, ours, webhooks=json.dumps([{"url": "http://127.0.0.1:1", "job_status": "finished"}])
            ),
            self.job(queue, ours, data=b"not packed"),
            self.job(queue, ours, data=b"x" * 5_000_000),
            self.job(queue, ours, worker_name="x", group_id="g", enqueued_at="never", ttl="x", timeout="1"),
        ]
        parent = self.job(queue, ours)
        self._client.sadd(self.key("job", parent, "dependents"), self.job(queue))
        for kind in ("success", "failure", "stopped"):
            self.registered(
                queue, self.job(queue, ours, **{f"{kind}_callback_name": canary, "status": "started"})
            )
        self._client.rpush(
            self.key("queue", queue), *jobs, parent, "no such job", "../x", b"\xff", "x" * 1_000_000
        )
        self._client.set(self.key("suspended"), "1")

    def registered(self, queue: str, name: str) -> None:
        """Put a job wherever RQ's maintenance looks for abandoned ones."""
        for registry in REGISTRIES:
            self._client.zadd(self.key(registry, queue), {name: 1, f"{name}:execution": 1})
        self._client.rpush(self.key("queue", queue, "intermediate"), name)
        self._client.set(self.key("queue", queue, "intermediate", "first_seen", name), "1")
        self._client.sadd(self.key("groups"), "g")
        self._client.sadd(self.key("group", "g"), name)

    def unusable(self) -> None:
        """Replace every key of RQ that is not a job by a text."""
        for key in list(self._client.scan_iter(f"{self._rq}:*")):
            if b":job:" not in key:
                self._client.set(key, "unusable")
        for queue in QUEUES:
            for key in (
                self.key("queue", queue),
                self.key("workers", queue),
                self.key("queues"),
                self.key("workers"),
            ):
                self._client.set(key, "unusable")


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(valkey, prefix, tmp_path)
    scene.declare(monkeypatch)
    (tmp_path / "forged_canary.py").write_text(CANARY)
    environ = {"PYTHONPATH": str(tmp_path), "CANARY": str(tmp_path / "canary")}
    subprocess.run(
        [sys.executable, "-P", "-c", "import forged_canary"], env={**os.environ, **environ}, check=True
    )
    (tmp_path / "canary").unlink()  # so much for what it would leave
    scene.environ |= environ
    return scene


def test_forged_jobs_and_switches_run_nothing_and_stop_nothing(scene: Scene, tmp: Path) -> None:
    with redis.Redis.from_url(scene.server.url) as client:
        forger = Forger(client, scene.prefix)
        for queue in QUEUES:
            forger.everything(queue)
        with started("worker", "--load", str(scene.file), tmp=tmp, **scene.settings) as command:
            _works(scene, 1)
            for queue in QUEUES:
                forger.everything(queue)
                command.says(rf"\"{re.escape(queue)}\", \"reason\": .*wake_up\.refused")
                soon(lambda queue=queue: not client.llen(forger.key("queue", queue)))
            command.says(r"wake_up\.suspension_ignored")
            _works(scene, 2)
            forger.unusable()
            _works(scene, 3)
            assert client.pubsub_channels(f"{scene.prefix}rq*") == []  # so no command reaches a worker
            _ended(command)
    assert not (scene.folder / "canary").exists()


def _works(scene: Scene, n: int) -> None:
    scene.append(event("wild", f"session:{n}", n=n))
    soon(lambda: {n} <= {note["n"] for note in scene.notes("end")})
    soon(lambda: {n} <= {note["n"] for note in scene.notes("ordinary")})


def _ended(command: Command) -> None:
    assert "process.ended" not in command.stdout + command.stderr  # none had to be started again
    command.ask_to_end()
    assert command.ends() == 0
