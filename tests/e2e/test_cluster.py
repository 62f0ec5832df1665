"""A receiver and a worker on a cluster: commands, a failover, lost events, and a slot that moves under traffic."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from eventlog.connection.cluster import for_log
from tests.cli import Cli
from tests.cluster import Cluster, Move, cluster
from tests.door import Door, door
from tests.e2e.test_failover import Story
from tests.e2e.test_worker_deaths import RECORDER
from tests.harness import Worker, soon, worker
from tests.watched import Server

POISON = """
from handlers import GiveUp

@handler("picky", on=["x.changed"], start="oldest")
async def picky(event: Event[Raw], ctx: Context) -> None:
    if event.payload.data["n"] == 3 and not event.replayed:
        raise GiveUp("not this one")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


class Cast:
    """A receiver, a worker, and what was sent and handled."""

    def __init__(self, made: Cluster, prefix: str, front: Door, hands: Worker, record: Path) -> None:
        self.made, self.prefix, self.front, self.hands = made, prefix, front, hands
        self.story = Story(for_log(made.url, prefix), prefix, front, record)

    def owner(self) -> Server:
        return self.made.owner(self.prefix)

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Send events inside the block, each until it is accepted; at least one goes in before and after it."""
        stopping = threading.Event()

        def send() -> None:
            while not stopping.is_set():
                self.story.send(1)
                time.sleep(0.01)

        sending = threading.Thread(target=send)
        sending.start()
        begun = len(self.story.accepted)
        soon(lambda: len(self.story.accepted) > begun)
        try:
            yield
        finally:
            stopping.set()
            sending.join(60)
        assert not sending.is_alive()
        self.story.send(1)

    def ends_well(self) -> None:
        """Everything accepted is handled in order; both processes still run, and end cleanly on SIGTERM."""
        soon(self.story.all_handled)
        soon(self.story.all_settled)
        assert self.story.in_order()
        soon(lambda: self.front.get("/health/ready").status == 200)
        assert self.hands.process.poll() is None
        assert (self.hands.stop(), self.front.stop()) == (0, 0)


@pytest.fixture
def cast(made: Cluster, tmp_path: Path) -> Iterator[Callable[[str], Cast]]:
    """Raises the curtain, at a durability."""
    name = uuid.uuid4().hex[:10]  # the tag is added by the settings
    file, record = tmp_path / "recorder.py", tmp_path / "record.jsonl"
    file.write_text(RECORDER.replace('on=["*"]', 'on=["x.changed"]') + POISON)
    environ = {"RECORD_TO": str(record), "TAKES_S": "0.02", "AWR_HANDLERS_ALLOW": "recorder,picky"}
    soon(made.whole)
    with contextlib.ExitStack() as stack:

        def raised(durability: str) -> Cast:
            hands = stack.enter_context(
                worker(made.url, f"{name}:", [file], environ, tmp_path / "worker.log")
            )
            front = stack.enter_context(door(made.url, f"{name}:", {"AWR_DURABILITY": durability}))
            return Cast(made, f"{{{name}}}:", front, hands, record)

        yield raised


def test_commands_find_the_log(
    cast: Callable[[str], Cast], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = cast("replicated:1")
    command = Cli(capsys, monkeypatch, on.made.url, f"{on.prefix[1:-2]}:").json
    on.story.send(8)
    soon(on.story.all_handled)
    soon(on.story.all_settled)
    (letter,) = command("dead", "list")
    assert {one["name"] for one in command("handlers", "list")} == {"picky", "recorder"}
    assert len(command("events", "list")) == 8
    assert "not this one" in json.dumps(command("explain", letter["event"]))
    command("dead", "retry", letter["id"])
    command("handlers", "replay", "recorder", "--from", "1h ago", "--yes")
    soon(lambda: set(on.story.runs().values()) == {2})
    assert command("dead", "list") == []
    with redis.Redis(port=on.owner().port, decode_responses=True) as client:
        assert {key.partition(":")[0] for key in client.scan_iter(f"*{on.prefix[1:-2]}*")} == {on.prefix[:-1]}
    on.ends_well()


def test_a_failover_loses_nothing_that_a_replica_has(cast: Callable[[str], Cast]) -> None:
    on = cast("replicated:1")
    on.story.send(8)
    old, heir = on.owner(), on.made.replica(on.owner())
    with on.traffic():
        old.kill()
        soon(lambda: on.owner() is heir)
        old.start()  # the heir has no other replica, so events are refused until this one follows it
        before = len(on.story.accepted)
        soon(lambda: len(on.story.accepted) > before + 8)
    assert set(on.story.answers) == {202, 503}
    on.ends_well()


def test_events_that_the_new_owner_lacks_are_appended_again(cast: Callable[[str], Cast]) -> None:
    on = cast("always")
    on.story.send(8)
    soon(on.story.all_handled)
    soon(on.story.all_settled)
    old, heir = on.owner(), on.made.replica(on.owner())
    heir.client.config_set("masteruser", "unknown")  # so that it cannot connect again
    heir.client.config_set("masterauth", "unknown")
    heir.client.client_kill_filter(_type="master")
    soon(lambda: heir.replication()["master_link_status"] == "down")
    on.story.send(8)
    old.kill()
    soon(lambda: on.owner() is heir)
    on.front.line("events.appended_again")
    heir.client.config_set("masteruser", "")
    heir.client.config_set("masterauth", "")
    old.start()
    on.story.send(8)
    on.ends_well()


def test_a_slot_that_moves_loses_nothing(cast: Callable[[str], Cast]) -> None:
    """Key by key, as every server can, and then back at once, as Valkey 9 can."""
    on = cast("replicated:1")
    on.story.send(8)
    with on.traffic():
        move = Move(on.made, on.prefix)
        move.begin()
        soon(lambda: on.story.answers[503] > 0)
        for key in move.keys()[::2]:
            move.move(key)
        time.sleep(1)
        move.finish()
        assert on.owner() is move.target
        before = len(on.story.accepted)
        soon(lambda: len(on.story.accepted) > before + 8)
        move.back_at_once()
        assert on.owner() is move.source
    assert on.front.said("events.appended_again") == []
    on.ends_well()
