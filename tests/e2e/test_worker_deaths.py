"""Real worker processes are killed, paused and cut off in the middle of 1,000 events; a new one finishes them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.waker import Waker
from handlers.declaration import Handler
from handlers.discovery import discover
from tests.faulty_proxy import proxied
from tests.harness import Worker, declaration, event, opened, position, soon, worker

EVENTS, KEYS = 1_000, 40

RECORDER = """
import asyncio, json, os
from handlers import Context, Event, Raw, handler

FILE = os.open(os.environ["RECORD_TO"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(what, event):
    line = json.dumps([what, event.key, event.payload.data["n"], os.getpid()])
    os.write(FILE, line.encode() + b"\\n")

@handler("recorder", on=["*"], start="oldest")
async def record(event: Event[Raw], ctx: Context) -> None:
    note("start", event)
    await asyncio.sleep(float(os.environ.get("TAKES_S", "0.002")))
    note("end", event)
"""


class Scene:
    """A log with 1,000 events, a handler that writes down what it does, and workers to harm."""

    def __init__(self, server: EmbeddedServer, prefix: str, folder: Path) -> None:
        self.server = server
        self.prefix = prefix
        self.folder = folder
        self.record = folder / "record.jsonl"
        self.file = folder / "recorder.py"
        self.file.write_text(RECORDER)
        self._environ = {"RECORD_TO": str(self.record)}

    def worker(self, url: str | None = None, **environ: str) -> Iterator[Worker]:
        return worker(
            url or self.server.url,
            self.prefix,
            [self.file],
            {**self._environ, **environ},
            self.folder / "worker.log",
        )

    def handler(self, monkeypatch: pytest.MonkeyPatch) -> Handler:
        monkeypatch.setenv("RECORD_TO", str(self.folder / "not-ours.jsonl"))
        (found,) = discover(load=[str(self.file)], allow=["recorder"]).found
        return found.handler

    def lines(self) -> list[list[object]]:
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_bytes().splitlines()]

    def ended(self) -> int:
        return len({(key, n) for what, key, n, _ in self.lines() if what == "end"})


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(valkey, prefix, tmp_path)
    handler = scene.handler(monkeypatch)

    async def fill(log: EventLog) -> None:
        await log.declare([declaration(handler)])
        for first in range(0, EVENTS, 250):
            await log.append([event("t", f"session:{n % KEYS}", n=n) for n in range(first, first + 250)])

    in_log(scene, fill)
    return scene


def in_log(scene: Scene, work: Callable[[EventLog], object]) -> object:
    async def run() -> object:
        async with opened(scene.server.url, scene.prefix) as log:
            return await work(log)  # type: ignore[misc]

    return asyncio.run(run())


def finished(scene: Scene) -> Callable[[], bool]:
    def holds() -> bool:
        found = in_log(scene, lambda log: position(log, "recorder"))
        return (found.waiting, found.open) == (0, 0)

    return holds


def check_history(scene: Scene) -> None:
    """Nothing lost, per-entity order kept, and nothing dead."""
    assert scene.ended() == EVENTS
    furthest: dict[object, int] = {}
    for what, key, n, _ in scene.lines():
        if what == "start":
            # An attempt may be repeated after a death; it never starts once a later event of its entity has.
            assert n >= furthest.get(key, -1), f"{key}: {n} started after {furthest[key]}"
            furthest[key] = n
    found = in_log(scene, lambda log: position(log, "recorder"))
    assert (found.dead, found.stats["done"]) == (0, EVENTS)


def test_a_new_worker_finishes_after_kill_9(scene: Scene):
    chance = random.Random(1)
    for _ in range(2):
        before = scene.ended()
        with scene.worker() as running:
            soon(lambda before=before: scene.ended() > before + chance.randrange(50, 150))
            running.kill()
    with scene.worker() as last:
        soon(finished(scene))
        assert last.stop() == 0
    check_history(scene)


def test_a_worker_that_was_paused_past_its_lease_ends_instead_of_going_on(scene: Scene):
    with scene.worker(TAKES_S="0.2") as paused:
        soon(lambda: scene.ended() > 100)
        paused.pause()
        soon(lambda: state_of(paused) == "T")
        lines_before = len(scene.lines())
        assert scene.ended() < EVENTS, "it was paused too late to be at work"
        with scene.worker() as other:
            soon(finished(scene))
            assert other.stop() == 0
        paused.resume()
        assert paused.process.wait(60) != 0
        # What was in flight may still have ended, but nothing was started or settled under the lost lease.
        late = [what for what, _, _, pid in scene.lines()[lines_before:] if pid == paused.process.pid]
        assert "start" not in late
    check_history(scene)


def test_a_short_pause_changes_nothing(scene: Scene):
    with scene.worker(TAKES_S="0.05") as running:
        for _ in range(3):
            before = scene.ended()
            soon(lambda before=before: scene.ended() > before + 50)
            running.pause()
            soon(lambda: state_of(running) == "T")
            running.resume()
        soon(finished(scene))
        assert running.stop() == 0
    check_history(scene)
    assert len(scene.lines()) == 2 * EVENTS


def state_of(running: Worker) -> str:
    return Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_lost_replies_of_redis_lose_double_and_overtake_nothing(scene: Scene):
    path = scene.server.url.removeprefix("unix://")
    with proxied(path, seed=1, one_in=12) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        with scene.worker(url) as first:
            soon(lambda: scene.ended() > EVENTS // 4 and proxy.dropped > 5, within_s=60)
            first.kill()
        with scene.worker(url) as second:
            soon(finished(scene), within_s=60)
            proxy.faulty = False
            assert second.stop() == 0
        assert proxy.dropped > 10
    check_history(scene)


def test_a_worker_waits_for_redis_and_goes_on_by_itself_after_a_restart(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = EmbeddedServer(tmp_path / "store", appendfsync="always")
    scene = Scene(server, prefix, tmp_path)
    handler = scene.handler(monkeypatch)

    def append(first: int) -> None:
        async def fill(log: EventLog) -> None:
            await log.declare([declaration(handler)])
            await log.append([event("t", f"session:{n % KEYS}", n=n) for n in range(first, first + 100)])

        in_log(scene, fill)

    with scene.worker() as running:
        log_file = tmp_path / "worker.log"
        soon(lambda: b"redis.unreachable" in log_file.read_bytes())
        with server:
            append(0)
            soon(lambda: scene.ended() == 100)
        with server:
            append(100)
            soon(lambda: scene.ended() == 200)
            assert running.stop() == 0


def test_a_lost_wake_up_is_made_good_by_housekeeping(scene: Scene):
    """No RQ job is ever made for these events; the worker's own housekeeping finds them."""
    with scene.worker() as running:
        soon(finished(scene))

        async def append(log: EventLog) -> None:
            await log.append([event("t", "session:0", n=EVENTS)])
            await log.redis.delete(log.key("wake", "default"))

        in_log(scene, append)
        soon(lambda: scene.ended() == EVENTS + 1)
        assert running.stop() == 0


def test_doubled_and_late_wake_ups_change_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rq.queue.Queue.redis_queue_namespace_prefix", f"{scene.prefix}rq:queue:")
    monkeypatch.setattr("rq.job.Job.redis_job_namespace_prefix", f"{scene.prefix}rq:job:")
    waker = Waker(scene.server.url)
    with scene.worker() as running:
        for _ in range(50):
            waker.wake(["default", "default"])
        soon(finished(scene))
        waker.wake(["default"])
        assert running.stop() == 0
    waker.close()
    check_history(scene)
    assert len(scene.lines()) == 2 * EVENTS
