"""Sentinel replaces a killed master under a receiver and a worker: nothing replicated is lost, and both go on."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.door import Door, door
from tests.e2e.test_worker_deaths import RECORDER
from tests.harness import PATIENCE_S, Worker, opened, position, soon, worker
from tests.watched import SERVICE, Deployment, follows, watched

KEYS = 8
AT_ONCE = 24  # events of one part of the story: three an entity, a second and a half of work


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two replicas: a new master has one at once, so `min-replicas-to-write 1` refuses no event."""
    folder = tmp_path_factory.mktemp("failover")
    with watched(folder, replicas=2, sentinels=3, min_replicas=1, down_after_ms=3000) as made:
        yield made


class Story:
    """What was sent and answered, and what the handler wrote down."""

    def __init__(self, url: str, prefix: str, front: Door, record: Path) -> None:
        self._url = url
        self._prefix = prefix
        self._front = front
        self._record = record
        self._next = 0
        self.accepted: list[int] = []
        self.answers: Counter[int] = Counter()

    def send(self, count: int) -> None:
        """Events in order, each until it is accepted, as AMPECO would."""
        for n in range(self._next, self._next + count):
            deadline = time.monotonic() + PATIENCE_S
            while not self._sent(n):
                assert time.monotonic() < deadline, f"not accepted in time: {self.answers}"
                time.sleep(0.05)
            self.accepted.append(n)
        self._next += count

    def _sent(self, n: int) -> bool:
        body = {"notification": "x.changed", "sessionId": str(1 + n % KEYS), "n": n}
        status = self._front.post(json.dumps(body).encode()).status
        self.answers[status] += 1
        return status == 202

    def lines(self) -> list[list[object]]:
        if not self._record.exists():
            return []
        return [json.loads(line) for line in self._record.read_bytes().splitlines()]

    def runs(self) -> Counter[object]:
        """How often each event was handled to the end."""
        return Counter(n for what, _, n, _ in self.lines() if what == "end")

    def all_handled(self) -> bool:
        return self.runs().keys() >= set(self.accepted)

    def all_settled(self) -> bool:
        async def ask() -> bool:
            async with opened(self._url, self._prefix) as log:
                found = await position(log, "recorder")
                return (found.waiting, found.open) == (0, 0)

        return asyncio.run(ask())

    def in_order(self) -> bool:
        """No attempt starts once a later event of its entity has."""
        furthest: dict[object, int] = {}
        for what, key, n, _ in self.lines():
            assert isinstance(n, int)
            if what == "start":
                if n < furthest.get(key, -1):
                    return False
                furthest[key] = n
        return True


@pytest.fixture
def cast(deployment: Deployment, prefix: str, tmp_path: Path) -> Iterator[tuple[Story, Door, Worker]]:
    file = tmp_path / "recorder.py"
    file.write_text(RECORDER.replace('on=["*"]', 'on=["x.changed"]'))
    record = tmp_path / "record.jsonl"
    environ = {"RECORD_TO": str(record), "TAKES_S": "0.5"}
    with (
        worker(deployment.url, prefix, [file], environ, tmp_path / "worker.log") as hands,
        door(deployment.url, prefix) as front,
    ):
        yield Story(deployment.url, prefix, front, record), front, hands


def both_live(front: Door, hands: Worker) -> None:
    """Neither process had to be started again, and both end cleanly on SIGTERM."""
    soon(lambda: front.get("/health/ready").status == 200)
    assert hands.process.poll() is None
    assert (hands.stop(), front.stop()) == (0, 0)


def replicated(deployment: Deployment) -> bool:
    master = deployment.master()
    return all(follows(server, master) for server in deployment.servers if server is not master)


def test_a_killed_master_costs_503_and_nothing_that_was_replicated(
    deployment: Deployment, cast: tuple[Story, Door, Worker]
) -> None:
    story, front, hands = cast
    story.send(AT_ONCE)
    settled = set(story.accepted)
    soon(story.all_handled)
    soon(story.all_settled)
    soon(lambda: replicated(deployment))

    def is_at_work() -> bool:
        story.send(AT_ONCE)
        soon(lambda: replicated(deployment))
        return not story.all_handled()

    soon(is_at_work)  # the master has to die while the worker is at work
    assert set(story.answers) == {202}
    old = deployment.master()
    old.kill()
    story.send(AT_ONCE)
    assert set(story.answers) == {202, 503}
    soon(lambda: deployment.master() is not old)  # a sentinel may hear of it later than the receiver
    soon(story.all_handled)
    old.start()
    soon(lambda: follows(old, deployment.master()))
    refused = story.answers[503]
    story.send(AT_ONCE)
    assert story.answers[503] == refused
    soon(story.all_handled)
    assert story.in_order()
    runs = story.runs()
    assert {n: runs[n] for n in settled if runs[n] != 1} == {}, (
        "settled and replicated before the master died"
    )
    assert max(runs.values()) <= 3, "at least once, and not for ever"
    both_live(front, hands)


def test_a_master_that_is_demoted_alive_is_left_by_receiver_and_worker(
    deployment: Deployment, cast: tuple[Story, Door, Worker]
) -> None:
    story, front, hands = cast
    story.send(KEYS)
    soon(story.all_handled)
    soon(story.all_settled)
    soon(deployment.whole)
    # Writes to a master during its demotion are lost, so the test writes nothing that matters meanwhile.
    old = deployment.master()
    deployment.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", SERVICE)
    soon(lambda: deployment.master() is not old and old.replication()["role"] == "slave")
    story.send(AT_ONCE)
    soon(story.all_handled)
    assert set(story.runs().values()) == {1}
    assert story.in_order()
    both_live(front, hands)
