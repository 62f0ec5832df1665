"""A Redis that forgets its last events (as `everysec` allows) gets them again, each once; handlers see it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog.connection.embedded import EmbeddedServer
from eventlog.inspection.events import list_events, read_counts
from eventlog.log import Answer, Element, EventLog, NewEvent, Unreadable
from eventlog.record import StoredEvent
from receiver.metrics import Metrics
from receiver.recollection import KEEP_S, Recollection
from tests.door import Door, door
from tests.harness import opened, soon


def timed(number: int) -> NewEvent:
    body, nonce = b'{"at": %d}' % number, b"nonce%07d" % number
    return NewEvent("t", f"session:{number}", body, 1000 + number, "", "drop", nonce=nonce)


def timeless(number: int, body: bytes = b"{}") -> NewEvent:
    nonce = b"nonce%07d" % number
    return NewEvent("t", f"session:{number}", body, 1000 + number, "", "mark", "misfit", nonce=nonce)


AGAIN = ("maybe_repeat", "appended-again")


class Scene:
    """A recollection in front of a log, a clock, and a way to make Redis forget."""

    def __init__(self, server: EmbeddedServer, log: EventLog) -> None:
        self.server, self.log = server, log
        self.now_s = 0.0
        self.woken: list[str] = []
        self.metrics = Metrics()
        self.recollection = Recollection(log, self.woken.extend, self.metrics, clock=lambda: self.now_s)

    async def accept(self, *elements: Element) -> list[Answer]:
        reply = await self.recollection.append(elements)
        return reply.answers

    async def until_back(self) -> bool:
        while True:
            try:
                return await self.recollection.check()
            except (redis.RedisError, OSError):
                await asyncio.sleep(0.01)

    async def stored(self) -> list[StoredEvent]:
        while True:
            try:
                found = await list_events(self.log, limit=1000)
            except (redis.RedisError, OSError):  # the connection was to the server that was killed
                await asyncio.sleep(0.01)
            else:
                return sorted(found, key=lambda event: event.received_at_ms)

    @property
    def appended_again(self) -> float:
        return self.metrics.registry.get_sample_value("awr_events_appended_again_total") or 0.0


class Forgetting:
    """Cuts what the server wrote since then out of its file, as a crash of the machine would."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self._server = server
        (self._file,) = (folder / "valkey" / "appendonlydir").glob("*.incr.aof")
        with redis.Redis.from_url(server.url) as client:
            # While a slow disk syncs, the server holds back for up to two seconds what it writes to its file.
            soon(lambda: client.info("persistence")["aof_buffer_length"] == 0)
        self._size = self._file.stat().st_size

    def now(self) -> None:
        self._server.kill()
        with self._file.open("r+b") as file:
            file.truncate(self._size)
        self._server.start()


def play(server: EmbeddedServer, prefix: str, scenario: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), opened(server.url, prefix) as log:
            await log.claim("https://tenant", "")
            await scenario(Scene(server, log))

    asyncio.run(main())


def bodies(events: Sequence[StoredEvent]) -> list[bytes]:
    return [event.body for event in events]


def test_what_was_forgotten_is_appended_again_and_the_rest_is_not(
    server: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.recollection.check()
        await scene.accept(timed(1), timeless(2))
        crash = Forgetting(server, tmp_path)
        await scene.accept(timed(3), timeless(4), timeless(5), Unreadable(b"nonsense", "not-json", 1006, ""))
        crash.now()
        assert len(await scene.stored()) == 2
        await scene.until_back()
        stored = await scene.stored()
        assert bodies(stored) == [b'{"at": 1}', b"{}", b'{"at": 3}', b"{}", b"{}"]
        assert [event.key for event in stored] == [f"session:{number}" for number in range(1, 6)]
        assert [event.marks for event in stored] == [
            (), ("misfit",), AGAIN, ("misfit", *AGAIN), ("misfit", *AGAIN),
        ]  # fmt: skip
        counts = await read_counts(scene.log)
        assert (counts.accepted, counts.quarantined, scene.appended_again) == (5, 1, 4)
        await scene.recollection.check()
        assert len(await scene.stored()) == 5

    play(server, prefix, scenario)


def test_a_restart_that_forgets_nothing_appends_nothing(server: EmbeddedServer, prefix: str) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.recollection.check()
        await scene.accept(timed(1), timeless(2), timeless(3))
        server.kill()
        server.start()
        assert await scene.until_back()
        assert not await scene.recollection.check()
        assert (len(await scene.stored()), scene.appended_again) == (3, 0)
        assert (await read_counts(scene.log)).duplicates == 0

    play(server, prefix, scenario)


def test_two_receivers_append_only_what_each_accepted_though_new_events_came_first(
    server: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    """The lane does not look shorter any more when it is looked at: only the new process gives it away."""

    async def scenario(one: Scene) -> None:
        other = Scene(server, one.log)
        for scene in (one, other):
            await scene.recollection.check()
        await one.accept(timeless(0))
        crash = Forgetting(server, tmp_path)
        await one.accept(timeless(1))
        await other.accept(timeless(2))
        crash.now()
        await other.until_back()
        await other.accept(timeless(3), timeless(1_000))
        await one.until_back()
        assert [event.received_at_ms for event in await one.stored()] == [1000, 1001, 1002, 1003, 2000]
        assert (one.appended_again, other.appended_again) == (1, 1)

    play(server, prefix, scenario)


def test_events_with_equal_bodies_that_were_forgotten_are_all_appended_again(
    server: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    """One receiver accepted a state and the same state later, another one what came between."""

    def state(name: bytes, number: int) -> NewEvent:
        return timed(1)._replace(body=name, received_at_ms=number, nonce=b"nonce%07d" % number)

    async def scenario(one: Scene) -> None:
        other = Scene(server, one.log)
        for scene in (one, other):
            await scene.recollection.check()
        await one.accept(state(b"zero", 0))
        crash = Forgetting(server, tmp_path)
        await one.accept(state(b"available", 1))
        await other.accept(state(b"faulted", 2))
        await one.accept(state(b"available", 3))
        crash.now()
        await one.until_back()
        await other.until_back()
        assert bodies(await one.stored()) == [b"zero", b"available", b"faulted", b"available"]
        assert (one.appended_again, other.appended_again) == (2, 1)

    play(server, prefix, scenario)


def test_it_remembers_for_as_long_as_redis_is_away_and_no_longer_than_needed(
    server: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.recollection.check()
        crash = Forgetting(server, tmp_path)
        await scene.accept(timed(1))
        scene.now_s = KEEP_S + 1
        await scene.recollection.check()  # the first is on disk by now
        await scene.accept(timed(2))
        scene.now_s += 3600
        crash.now()
        await scene.until_back()
        assert bodies(await scene.stored()) == [b'{"at": 2}']

    play(server, prefix, scenario)


def test_an_unknown_outcome_is_asked_for_again_and_appended_once(
    server: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.recollection.check()
        crash = Forgetting(server, tmp_path)
        unreadable = [Unreadable(b"x%d" % n, "not-json", 0, "") for n in range(100)]
        await scene.accept(timeless(1), timeless(2), timed(3), *unreadable)
        crash.now()
        append, answers_lost = scene.log.append, 1

        async def without_answer(elements: Sequence[Element]) -> Any:
            nonlocal answers_lost
            reply = await append(elements)
            if len(elements) < 64 and answers_lost:  # the first part is done
                answers_lost -= 1
                raise redis.TimeoutError
            return reply

        scene.log.append = without_answer  # type: ignore[method-assign]
        await scene.until_back()
        assert len(await scene.stored()) == 3
        assert answers_lost == 0
        assert (
            await read_counts(scene.log)
        ).quarantined == 100 + 39  # nobody can tell whether those were appended

    play(server, prefix, scenario)


def test_a_full_log_takes_them_when_there_is_room_again(
    server: EmbeddedServer, prefix: str, tmp_path: Path
) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.recollection.check()
        crash = Forgetting(server, tmp_path)
        await scene.accept(timeless(1))
        crash.now()
        with redis.Redis.from_url(server.url) as client:
            client.set(f"{prefix}full", "1")
            await scene.until_back()
            scene.now_s = KEEP_S * 2
            await scene.recollection.check()
            assert await scene.stored() == []
            client.delete(f"{prefix}full")
        await scene.recollection.check()
        assert len(await scene.stored()) == 1

    play(server, prefix, scenario)


def test_what_was_trimmed_is_not_appended_again(server: EmbeddedServer, prefix: str) -> None:
    """It is not in its lane either, but Redis has not forgotten that it was."""

    async def scenario(scene: Scene) -> None:
        await scene.recollection.check()
        await scene.accept(timed(1), timeless(2))
        for lane in range(scene.log.lanes):
            await scene.log.redis.xtrim(scene.log.key("events", lane), maxlen=0)
        server.kill()
        server.start()
        await scene.until_back()
        assert (await scene.stored(), scene.appended_again) == ([], 0)

    play(server, prefix, scenario)


def test_what_is_remembered_is_bounded(server: EmbeddedServer, prefix: str, tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        small = Recollection(scene.log, scene.woken.extend, scene.metrics, max_bytes=50)
        await small.check()
        crash = Forgetting(server, tmp_path)
        for number in range(10):
            await small.append([timeless(number, b"x" * 10)])
        crash.now()
        scene.recollection = small
        await scene.until_back()
        assert [event.received_at_ms for event in await scene.stored()] == [1005, 1006, 1007, 1008, 1009]

    play(server, prefix, scenario)


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_a_receiver_brings_back_what_its_redis_forgot(
    server: EmbeddedServer, prefix: str, tmp_path: Path, durability: str
) -> None:
    def post(front: Door, number: int) -> bytes:
        sent = json.dumps({"notification": "x.changed", "sessionId": str(number)}).encode()
        assert front.post(sent).status == 202
        return sent

    async def in_log() -> list[bytes]:
        async with opened(server.url, prefix) as log:
            return bodies(await list_events(log, limit=1000, type="x.changed"))

    with door(server.url, prefix, {"AWR_DURABILITY": durability}) as front:
        soon(lambda: front.get("/health/ready").status == 200)
        kept = post(front, 0)
        crash = Forgetting(server, tmp_path)
        accepted = {post(front, number) for number in range(1, 30)}
        os.kill(front.process.pid, signal.SIGSTOP)  # else it may have appended all of them before we look
        crash.now()
        assert asyncio.run(in_log()) == [kept]
        os.kill(front.process.pid, signal.SIGCONT)
        assert front.line("events.appended_again")["events"] == 29
        assert sorted(asyncio.run(in_log())) == sorted({kept, *accepted})
        assert front.metric("awr_events_appended_again_total") == 29


def test_what_could_not_be_appended_again_at_once_is_not_forgotten_over_newer_events(
    server: EmbeddedServer, prefix: str
) -> None:
    """The newer event moves the lane beyond the id that it had before."""

    async def scenario(scene: Scene) -> None:
        redis_ = scene.log.redis
        await scene.accept(timed(1))
        await scene.recollection.check()
        await redis_.flushdb()
        await redis_.set(scene.log.key("full"), "1")
        await scene.recollection.check()
        await redis_.delete(scene.log.key("full"))
        await scene.accept(timed(2)._replace(key="session:1"))
        await scene.recollection.check()
        assert [(one.body, one.marks) for one in await scene.stored()] == [
            (timed(1).body, AGAIN),
            (timed(2).body, ()),
        ]

    play(server, prefix, scenario)


def test_what_was_appended_again_is_remembered_as_long_as_what_is_new(
    server: EmbeddedServer, prefix: str
) -> None:
    """Redis may lose it a second time."""

    async def scenario(scene: Scene) -> None:
        await scene.accept(timed(1))
        await scene.recollection.check()
        for _ in range(3):
            scene.now_s += KEEP_S - 1
            await scene.log.redis.flushdb()
            await scene.recollection.check()
            assert bodies(await scene.stored()) == [timed(1).body]
            await scene.recollection.check()  # a second later

    play(server, prefix, scenario)
