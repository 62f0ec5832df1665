"""RQ is used one way everywhere: JSON, one queue per worker, short maintenance, and nothing kept of what is gone."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest
import redis
from rq.serializers import JSONSerializer

from eventlog.connection.embedded import EmbeddedServer
from eventlog.waker import enqueue
from eventlog.wakeups import ForkingWorker, OneQueueWorker, WakeUpWorker
from tests.meta.repository import MODULES, ROOT

PICKLES = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}


def _workers(url: str, queue: str) -> list[OneQueueWorker]:
    return [WakeUpWorker(url, queue), ForkingWorker(url, queue, longest_s=60)]


def test_workers_and_queues_speak_json_and_workers_have_one_queue(valkey: EmbeddedServer):
    for worker in _workers(valkey.url, "q"):
        (queue,) = worker.queues
        assert worker.serializer is queue.serializer is JSONSerializer
        assert worker.maintenance_interval <= 30
        assert worker.scheduler is None


def test_a_wake_up_is_written_as_json_and_kept_for_a_minute_at_most(valkey: EmbeddedServer):
    with redis.Redis.from_url(valkey.url) as client:
        enqueue(client, ["json-or-not"])
        (worker, _) = _workers(valkey.url, "json-or-not")
        (job,) = worker.queues[0].jobs
        stored = client.hgetall(job.key)
        assert JSONSerializer.loads(job.data)[0] == "workers.jobs.drain"
        assert stored[b"result_ttl"] == stored[b"failure_ttl"] == b"0"
        assert 0 < client.ttl(job.key) <= 60
        job.delete()


@pytest.mark.parametrize("kind", [0, 1], ids=["in its process", "forking"])
def test_the_registration_of_a_killed_worker_goes_with_the_next_maintenance(
    valkey: EmbeddedServer, kind: int
):
    killed, other = (_workers(valkey.url, f"killed-{kind}")[kind] for _ in range(2))
    killed.register_birth()
    other.register_birth()
    with redis.Redis.from_url(valkey.url) as client:
        assert 0 < client.ttl(killed.key) <= 90  # so long it is listed
        client.delete(killed.key)
    other.run_maintenance_tasks()
    assert type(other).all_keys(other.connection, other.queues[0]) == [other.key]
    other.register_death()


NEVER_ENDS = """
import sys, time
from eventlog import wakeups as jobs

jobs.attach(lambda: time.sleep(600))
jobs.ForkingWorker(sys.argv[1], "never-ends", longest_s=0.5).wake_up()
print("ended")
"""


def test_a_fork_that_outlives_its_time_is_killed(valkey: EmbeddedServer, prefix: str):
    command = [sys.executable, "-c", NEVER_ENDS, valkey.url]
    environ = {**os.environ, "RQ_KEY_PREFIX": f"{prefix}rq"}
    ran = subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.endswith("ended\n")
    assert "it outlived its time" in ran.stdout + ran.stderr


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def test_two_modules_use_rq_and_name_json_wherever_rq_would_choose_otherwise():
    for path in MODULES:
        source = path.read_text()
        if not any(word in source for word in {"rq", *PICKLES}):
            continue  # parsing is what takes time
        tree = ast.parse(source)
        names = _imports(tree)
        assert not {name.partition(".")[0] for name in names} & PICKLES, path
        if path not in (ROOT / "eventlog/waker.py", ROOT / "eventlog/wakeups.py"):
            # Others may know how a stop is asked for, and nothing else of it.
            assert {name for name in names if name.partition(".")[0] == "rq"} <= {"rq.exceptions"}, path
            continue
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        choosing = [ast.unparse(call) for call in calls if ast.unparse(call.func) in ("Queue", "Job.fetch")]
        assert choosing
        assert all("serializer=JSONSerializer" in call for call in choosing)
