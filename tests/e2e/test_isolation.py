"""Handlers in processes of their own: what an event does to its process harms nothing else, and nothing stays."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer
from eventlog.log import EventLog
from eventlog.record import decode_open
from eventlog.schedule import recompute
from handlers.discovery import discover
from tests.e2e.process_tree import started
from tests.harness import Worker, declaration, event, on_log, position, soon, worker

HANDLERS = """
import asyncio, contextlib, ctypes, json, os, time
from handlers import Backoff, Context, Event, Raw, SyncContext, handler

FILE = os.open(os.environ["RECORD_TO"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
SOON = Backoff(base_s=0.01, cap_s=0.01)

def note(what, event, **more):
    line = json.dumps({"what": what, "key": event.key, "n": event.payload.data["n"], "pid": os.getpid(), **more})
    os.write(FILE, line.encode() + b"\\n")

async def stubborn():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

async def wild(event):
    match event.payload.data.get("do"):
        case "raise": raise RuntimeError
        case "exit": os._exit(9)
        case "crash": ctypes.string_at(0)
        case "eat": [bytearray(64 << 20) for _ in range(1_000)]
        case "wait": await asyncio.sleep(60)
        case "block": time.sleep(60)
        case "stay": await stubborn()
        case "take": await asyncio.sleep(1.0)

@contextlib.asynccontextmanager
async def resource():
    yield os.getpid()

@handler("fragile", on=["wild"], start="oldest", isolation="process", lifespan=resource,
         max_attempts=2, timeout_s=1.5, backoff=SOON)
async def fragile(event: Event[Raw], ctx: Context[None, int]) -> None:
    note("start", event)
    await wild(event)
    step = await ctx.once("step", lambda: os.getpid())
    note("end", event, step=step, opened=ctx.state)

@handler("threaded", on=["threaded"], start="oldest", isolation="process",
         max_attempts=2, timeout_s=0.3, backoff=SOON)
def threaded(event: Event[Raw], ctx: SyncContext) -> None:
    note("start", event)
    while event.payload.data.get("do") == "spin":
        pass
    note("end", event, step=ctx.once("step", os.getpid))

@handler("ordinary", on=["*"], start="oldest")
async def ordinary(event: Event[Raw], ctx: Context) -> None:
    note("ordinary", event)
"""
NAMES = ("fragile", "threaded", "ordinary")


class Scene:
    """A log and a worker with isolated handlers."""

    def __init__(self, server: EmbeddedServer, prefix: str, folder: Path) -> None:
        self.server = server
        self.prefix = prefix
        self.folder = folder
        self.record = folder / "record.jsonl"
        self.record.touch()
        self.file = folder / "isolated_handlers.py"
        self.file.write_text(HANDLERS)
        self.environ = {
            "RECORD_TO": str(self.record),
            "AWR_HANDLERS_ALLOW": ",".join(NAMES),
        }

    @property
    def settings(self) -> dict[str, str]:
        """For a whole `worker`, with the process that watches."""
        return {
            **self.environ,
            "AWR_REDIS_URL": self.server.url,
            "AWR_KEY_PREFIX": self.prefix,
            "AWR_LANES": "4",
            "AWR_REGISTER": "off",
            "AWR_ADMIN_PORT": "0",
        }

    def worker(self) -> Iterator[Worker]:
        return worker(self.server.url, self.prefix, [self.file], self.environ, self.folder / "worker.log")

    def declare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RECORD_TO", os.devnull)
        found = discover(load=[str(self.file)], allow=NAMES).found
        self.in_log(lambda log: log.declare([declaration(item.handler) for item in found]))

    def notes(self, what: str) -> list[dict[str, Any]]:
        lines = self.record.read_bytes().splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]

    def in_log(self, work: Callable[[EventLog], Any]) -> Any:
        return on_log(self.server.url, self.prefix, work)

    def append(self, *events: Any) -> None:
        self.in_log(lambda log: log.append(list(events)))

    def position(self, name: str) -> Any:
        return self.in_log(lambda log: position(log, name))

    def dead(self, name: str) -> dict[int, tuple[str, str]]:
        """Number of each dead event -> reason, and what was said last."""

        async def read(log: EventLog) -> list[Any]:
            return await log.redis.xrange(log.key("dead", name))

        found = {}
        for _, fields in self.in_log(read):
            letter = decode_open(0, b"1-0", fields[b"record"])
            found[json.loads(letter.event.body)["n"]] = (fields[b"reason"].decode(), letter.last_error)
        return found

    def leases_of_the_dead_run_out(self) -> None:
        """What takes six seconds otherwise."""

        async def end(log: EventLog) -> None:
            for name in ("fragile", "threaded"):
                for lane in range(log.lanes):
                    holder = await log.redis.hget(log.key("lease", name, lane), "holder")
                    if holder and not _runs(int(holder.rpartition(b":")[2])):
                        await log.redis.delete(log.key("lease", name, lane))
            await log.redis.delete(log.key("due", "default.isolated"))  # which says when they run out
            await recompute(log)

        self.in_log(end)


@pytest.fixture
def scene(valkey: EmbeddedServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(valkey, prefix, tmp_path)
    scene.declare(monkeypatch)
    return scene


def _runs(pid: int | None) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_whatever_an_event_does_to_its_process_it_is_dead_with_a_reason_and_all_others_are_handled(
    scene: Scene,
):
    deeds = ["raise", "exit", "crash", "eat", "wait"]
    wild = [event("wild", f"session:{n}", n=n, do=deed) for n, deed in enumerate(deeds)]
    behind = [event("wild", f"session:{n}", n=n + 10) for n in range(len(deeds))]
    beside = [event("wild", f"charge-point:{n}", n=n + 20) for n in range(10)]
    threads = [event("threaded", "session:1", n=30, do="spin"), event("threaded", "session:2", n=31)]
    scene.append(*wild, *behind, *beside, *threads)

    def settled() -> bool:
        scene.leases_of_the_dead_run_out()
        done = [scene.position(name).stats.get("done", 0) for name in NAMES]
        return done == [15, 1, 22] and [len(scene.dead(name)) for name in NAMES] == [5, 1, 0]

    with scene.worker() as running:
        soon(settled, within_s=60, every_s=0.3)
        assert running.stop() == 0
    assert scene.dead("fragile") == {
        0: ("attempts-exhausted", "RuntimeError"),
        1: ("worker-died", "worker-died"),
        2: ("worker-died", "worker-died"),
        3: ("attempts-exhausted", "out-of-memory"),
        4: ("attempts-exhausted", "timed-out"),
    }
    assert scene.dead("threaded") == {30: ("attempts-exhausted", "timed-out")}
    ended = scene.notes("end")
    lines = [json.loads(line) for line in scene.record.read_bytes().splitlines()]
    isolated = [(line["what"], line["n"]) for line in lines if line["what"] != "ordinary"]
    # Alone: nothing else began between the beginning and the end of an event.
    assert all(isolated[at - 1] == ("start", n) for at, (what, n) in enumerate(isolated) if what == "end")
    assert all(note["step"] == note["pid"] for note in ended)  # once-only steps know their event there, too
    assert all(note["opened"] == note["pid"] for note in ended if "opened" in note)
    assert not {note["pid"] for note in ended} & {note["pid"] for note in scene.notes("ordinary")}
    assert len({note["pid"] for note in scene.notes("ordinary")}) == 1  # the worker itself was never harmed
    with redis.Redis.from_url(scene.server.url) as client:
        kept = [key for key in client.scan_iter(f"{scene.prefix}rq:job:*") if client.ttl(key) == -1]
    assert kept == []


def test_one_that_blocks_its_event_loop_or_lets_nothing_cancel_it_ends_with_its_process(scene: Scene):
    blocking, stubborn = (event("wild", f"session:{n}", n=n, do=do) for n, do in ((1, "block"), (2, "stay")))
    scene.append(blocking, stubborn, event("wild", "session:4", n=4))  # each in a lane of its own

    def first(n: int) -> int | None:
        return next((note["pid"] for note in scene.notes("start") if note["n"] == n), None)

    with scene.worker() as running:
        soon(lambda: first(1) and first(2))
        soon(lambda: not _runs(first(1)) and not _runs(first(2)))
        soon(lambda: [note["n"] for note in scene.notes("end")] == [4])
        lines = (scene.folder / "worker.log").read_text().splitlines()
        assert any('"reason": "timed-out"' in line for line in lines)
        (blocked,) = (json.loads(line) for line in lines if "worker.loop_blocked" in line)
        assert (blocked["handler"], blocked["notification"]) == ("fragile", "wild")
        assert blocked["where"].endswith(" in wild")
        running.kill()


def test_a_polite_stop_lets_the_attempt_finish_and_the_next_worker_takes_over_at_once(
    scene: Scene, tmp: Path
):
    scene.append(event("wild", "session:1", n=1, do="take"), event("wild", "session:1", n=2))
    with started("worker", "--load", str(scene.file), tmp=tmp, **scene.settings) as command:
        soon(lambda: scene.notes("start"))
        # The one that watches, the worker, the one that forks, and the fork.
        assert len(command.running()) == 4
        command.ask_to_end()
        assert command.ends() == 0
        assert not command.running()
    assert [note["n"] for note in scene.notes("end")] == [1]

    async def leases(log: EventLog) -> int:
        return await log.redis.exists(*(log.key("lease", "fragile", lane) for lane in range(log.lanes)))

    assert scene.in_log(leases) == 0
    with scene.worker() as running:
        soon(lambda: [note["n"] for note in scene.notes("end")] == [1, 2])
        assert running.stop() == 0
    assert [note["n"] for note in scene.notes("start")] == [1, 2]


def test_it_goes_on_by_itself_after_a_restart_of_redis(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = EmbeddedServer(tmp_path / "store", appendfsync="always")
    scene = Scene(server, prefix, tmp_path)
    with server:
        scene.declare(monkeypatch)
        with scene.worker() as running:
            scene.append(event("wild", "session:1", n=1, do="take"), event("wild", "session:1", n=2))
            soon(lambda: scene.notes("start"))
            server.stop()
            with server:
                soon(lambda: {note["n"] for note in scene.notes("end")} == {1, 2})
                assert running.stop() == 0


def test_nothing_is_left_running_whichever_of_its_processes_is_killed(scene: Scene, tmp: Path):
    with started("worker", "--load", str(scene.file), tmp=tmp, **scene.settings) as command:
        scene.append(event("wild", "session:1", n=1, do="take"), event("wild", "session:2", n=2, do="take"))
        soon(lambda: scene.notes("start"))
        fork = scene.notes("start")[0]["pid"]
        os.kill(_parent(fork), signal.SIGKILL)
        soon(lambda: not _runs(fork))
        soon(lambda: {note["n"] for note in scene.notes("end")} == {1, 2})  # another one was started
        command.kill()
        command.leaves_nothing()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
