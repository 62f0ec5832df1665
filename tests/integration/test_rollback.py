"""A log that went back is noticed and recorded once as a gap; what receivers appended again is none."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from commands.demo_stack import free_port
from eventlog import rollback
from eventlog.clock import now_ms
from eventlog.connection.embedded import EmbeddedServer, server_binary
from eventlog.inspection.events import list_events
from eventlog.inspection.gaps import Check, recorded_gaps
from eventlog.log import EventLog, NewEvent
from eventlog.registry import Declaration
from eventlog.retention import Keep, keep
from eventlog.rollback import RollbackWatch
from receiver.backfill import Backfill
from receiver.gap_keeper import GapKeeper
from receiver.metrics import Metrics
from tests.cli import Cli
from tests.harness import event, eventually, opened, soon
from tests.integration.test_backfill import SESSION, Api, ago, arrived, session

LANES = 4


class Snapshots:
    """A Valkey that keeps what it last saved, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self._port), "--dir", str(self._folder), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([str(server_binary()), *options], stdout=subprocess.DEVNULL)
        soon(self._answers)

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    def save(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.save()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture
def snapshots(tmp_path: Path) -> Iterator[Snapshots]:
    server = Snapshots(tmp_path)
    server.start()
    yield server
    server.kill()


def some(first: int, count: int = 10, **changes: object) -> list[NewEvent]:
    return [
        event("t", f"session:{n}", n=n)._replace(nonce=b"%012d" % n, **changes)  # type: ignore[arg-type]
        for n in range(first, first + count)
    ]


async def gaps(log: EventLog) -> list[dict[str, object]]:
    return [json.loads(text) for text in (await log.redis.hgetall(log.key("gaps"))).values()]


async def looked(watch: RollbackWatch) -> None:
    """Look until the watch has made up its mind."""

    async def decided() -> bool:
        await watch.look()
        return not watch.waits

    await watch.look()
    await eventually(decided, every_s=0.2)


async def gone_back(snapshots: Snapshots, log: EventLog) -> tuple[RollbackWatch, RollbackWatch, str]:
    """Save after ten events, accept ten more, and come back with the first ten; two processes saw all of it.

    Returns:
        What the processes saw, and the id of an event that was lost, of `session:10`.
    """
    watches = RollbackWatch(log), RollbackWatch(log)
    await log.append(some(0))
    await watches[0].look()
    snapshots.save()
    await asyncio.sleep(0.01)
    answers = (await log.append(some(10))).answers
    for watch in watches:
        await watch.look()
    snapshots.kill()
    snapshots.start()
    return *watches, answers[0].event_id or ""


def test_a_restored_backup_is_recorded_once_with_how_many_and_since_when(
    snapshots: Snapshots, prefix: str
) -> None:
    async def check() -> None:
        async with opened(snapshots.url, prefix, LANES) as log:
            before_ms = now_ms()
            first, second, _ = await gone_back(snapshots, log)
            await _again(log)
            await looked(first)
            await looked(second)
            await looked(RollbackWatch(log))
            (gap,) = await gaps(log)
            assert (gap["reason"], gap["events"]) == ("redis-rolled-back", 10)
            assert gap["from"] < gap["to"]  # type: ignore[operator]
            assert int((await log.redis.hkeys(log.key("gaps")))[0]) >= before_ms

    with capture_logs() as lines:
        asyncio.run(check())
    (line,) = [line for line in lines if line["event"] == "redis.rolled_back"]
    assert line["events_at_least"] == 10


def test_explain_says_that_the_log_went_back_and_may_have_lost_what_is_asked_for(
    snapshots: Snapshots, prefix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose() -> str:
        async with opened(snapshots.url, prefix, LANES) as log:
            await log.claim("", "")
            first, _, lost = await gone_back(snapshots, log)
            await _again(log)
            await looked(first)
            return lost

    lost = asyncio.run(lose())
    cli = Cli(capsys, monkeypatch, snapshots.url, prefix)
    noticed = (
        r"the log went back, noticed \S+Z: at least 10 events since \S+Z are missing \(redis-rolled-back\); "
    )
    for asked, expected, words in (
        (lost, 1, "it may be among them"),
        ("session:10", 1, "it may be among them"),
        ("session:1", 0, "events of this entity may be among them"),
    ):
        code, out, err = cli("explain", asked)
        assert (code, err) == (expected, "")
        assert re.search(noticed + words, out), out
    (gap,) = json.loads(cli("explain", lost, "--json")[1])["gaps"]
    assert (gap["reason"], gap["events_at_least"], gap["may_have_lost_it"]) == ("redis-rolled-back", 10, True)


async def _again(log: EventLog) -> None:
    """The first call after a restart loads the script, on a connection that the restart has cut."""

    async def answers() -> bool:
        try:
            await log.ready()
        except (redis.RedisError, OSError):
            return False
        return True

    await eventually(answers)


def test_what_receivers_append_again_is_no_rollback(snapshots: Snapshots, prefix: str) -> None:
    async def check() -> None:
        async with opened(snapshots.url, prefix, LANES) as log:
            first, *_ = await gone_back(snapshots, log)
            await _again(log)
            await first.look()
            await log.append(some(10, duplicates="again"))
            await looked(first)
            assert await gaps(log) == []

    asyncio.run(check())


def test_new_events_do_not_hide_a_rollback(snapshots: Snapshots, prefix: str) -> None:
    """After a restart of all, lanes have later ids than ever; the count of accepted events still went back."""

    async def check() -> None:
        async with opened(snapshots.url, prefix, LANES) as log:
            first, *_ = await gone_back(snapshots, log)
            await _again(log)
            await log.append(some(100, 4))
            await looked(first)
            (gap,) = await gaps(log)
            assert gap["events"] == 6  # at least

    asyncio.run(check())


def test_a_cursor_ahead_of_its_lane_proves_it_after_a_restart(valkey: EmbeddedServer, prefix: str) -> None:
    async def check() -> None:
        async with opened(valkey.url, prefix, LANES) as log:
            await log.append(some(0))
            await RollbackWatch(log).look()
            assert await gaps(log) == []
            await log.redis.hset(log.key("cur"), "h|1", f"{now_ms() + 60}-0")
            await asyncio.sleep(0.1)
            await RollbackWatch(log).look()
            await RollbackWatch(log).look()
            (gap,) = await gaps(log)
            assert (gap["reason"], gap["events"]) == (rollback.REASON, None)

    asyncio.run(check())


def test_events_with_ids_ahead_of_the_clock_are_kept_by_their_arrival(
    valkey: EmbeddedServer, prefix: str
) -> None:
    async def check() -> None:
        async with opened(valkey.url, prefix, 1) as log:
            hour_ms, ahead_ms = 3_600_000, now_ms() + 86_400_000
            for number, age_h in enumerate((5, 3, 1, 0)):
                fields = {
                    "v": "1",
                    "t": "t",
                    "k": "",
                    "b": "{}",
                    "r": now_ms() - age_h * hour_ms,
                    "s": "",
                    "m": "",
                }
                await log.redis.xadd(log.key("events", 0), fields, id=f"{ahead_ms}-{number}")
            await keep(log, Keep(hours=2))
            left = await log.redis.xrange(log.key("events", 0))
            assert [int(found[0].partition(b"-")[2]) for found in left] == [2, 3]

    asyncio.run(check())


def test_what_was_answered_with_2xx_and_then_lost_is_brought_back_by_a_backfill(
    snapshots: Snapshots, prefix: str
) -> None:
    async def check() -> None:
        async with opened(snapshots.url, prefix, LANES) as log:
            await log.declare([Declaration("h", "v1", (SESSION,), "default", "entity", "oldest")])
            times = {number: ago(30) for number in range(1, 11)}
            await log.append([arrived(number, times[number]) for number in range(1, 6)])
            watch = RollbackWatch(log)
            await watch.look()
            snapshots.save()
            await log.append([arrived(number, times[number]) for number in range(6, 11)])
            await watch.look()
            snapshots.kill()
            snapshots.start()
            await _again(log)
            await looked(watch)
            api = Api([session(number, at) for number, at in times.items()])
            ahead_ms = [0]
            keeper = GapKeeper(
                log,
                Backfill(log, lambda: api, lambda queues: None),
                (SESSION,),
                after_s=1,
                metrics=Metrics(),
                is_open=lambda: True,
                clock=lambda: now_ms() + ahead_ms[0],
            )
            await keeper.check()
            ahead_ms[0] = 2_000
            await keeper.check()
            (gap,) = await recorded_gaps(log)
            assert (gap.reason, gap.state, gap.checks) == (
                rollback.REASON,
                "closed",
                {SESSION: Check(10, 5, 5)},
            )
            kept = await list_events(log, type=SESSION)
            assert len({found.key for found in kept}) == len(kept) == 10

    asyncio.run(check())
